//! Starts an orchestrator as a daemon, and is that daemon's first function.
//!
//! `copo up` runs this same binary as `copo orchestrate`, with one pipe: a line on it says "ready", or what went wrong.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use copo_orchestrator::config;
use copo_orchestrator::layout::{self, Layout};
use copo_orchestrator::plan::Plan;
use copo_orchestrator::runtime::{self, Begin, RunOptions, notify};
use copo_proto::env;

use super::args::Orchestrate;
use super::failure::{FAILED, Failure, Outcome, USAGE};
use super::find;

/// What the daemon says ([`notify::starter`]) when its server answers.
const READY: &str = "ready";
/// What stands in front of the reason why it never will.
const ERROR: &str = "error ";

/// Starts the orchestrator of `plan` and returns once its server answers.
pub fn launch(plan: &Plan, layout: &Layout, names: &[String]) -> Result<Child, Failure> {
    let cannot = |error: io::Error| Failure::io(format!("start the orchestrator of {}", plan.application), &error);
    layout::prepare(layout).map_err(|error| Failure::new(FAILED, error.to_string()))?;
    let log = open_log(&layout.orchestrator_log()).map_err(cannot)?;
    let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
    command.arg("orchestrate").arg("--config").arg(&plan.config_path).arg("--").args(names);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    // Absolute, whatever it was here: the daemon leaves this folder.
    command.env(env::HOME, layout.home());
    detach(&mut command);
    let mut child = command.spawn().map_err(cannot)?;
    match wait_until_ready(&mut child).map_err(cannot)? {
        Ok(()) => Ok(child),
        Err(reason) => {
            // It has said its last word; what it still does is end.
            let _ = child.wait();
            let log = layout.orchestrator_log();
            Err(Failure::new(FAILED, reason.unwrap_or_else(|| died_silently(&plan.application, &log))))
        }
    }
}

fn died_silently(application: &str, log: &Path) -> String {
    format!("cannot start the orchestrator of {application}: it ended at once; its last words are in {}", log.display())
}

fn open_log(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Reads the daemon's one line: ready, the reason why not, or nothing at all.
fn wait_until_ready(child: &mut Child) -> io::Result<Result<(), Option<String>>> {
    let Some(stdout) = child.stdout.take() else { return Ok(Err(None)) };
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let line = line.trim_end();
    if line == READY {
        return Ok(Ok(()));
    }
    Ok(Err(line.strip_prefix(ERROR).map(str::to_owned)))
}

/// `copo orchestrate`: becomes the daemon and runs until everything is stopped.
pub fn orchestrate(orchestrate: &Orchestrate) -> Outcome {
    leave_the_terminal().map_err(|error| Failure::io("leave the terminal", &error))?;
    let notify = notify::starter();
    match start(orchestrate) {
        Ok((plan, layout)) => {
            let options = RunOptions { begin: Begin::Up(orchestrate.names.clone()), notify };
            match runtime::run(plan, layout, options) {
                Ok(0) => Ok(()),
                Ok(code) => Err(Failure::silent(code)),
                Err(error) => Err(Failure::new(FAILED, error.to_string())),
            }
        }
        Err(failure) => {
            notify(Err(failure.message.clone().unwrap_or_default()));
            Err(failure)
        }
    }
}

fn start(orchestrate: &Orchestrate) -> Result<(Plan, Layout), Failure> {
    let home = find::home()?;
    let plan = config::load(&orchestrate.config, &home).map_err(|error| Failure::new(USAGE, error.to_string()))?;
    let layout = Layout::new(&home, &plan.application);
    Ok((plan, layout))
}

#[cfg(unix)]
fn detach(_command: &mut Command) {
    // The daemon makes its own session, first thing.
}

#[cfg(windows)]
fn detach(command: &mut Command) {
    use std::os::windows::process::CommandExt;
    use windows_sys::Win32::System::Threading::{CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW};
    // A console of its own, without a window: children that write to one have one, and Ctrl-C in the starter's does not
    // reach them.
    command.creation_flags(CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP);
    keep_own_streams();
}

/// A new process gets every handle that may be inherited, whatever its own streams are: whoever reads our output to its
/// end would wait for the daemon's.
#[cfg(windows)]
fn keep_own_streams() {
    use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};
    use windows_sys::Win32::System::Console::{GetStdHandle, STD_ERROR_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE};
    for stream in [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE] {
        // SAFETY: a stream that is not there (null or invalid) is refused; one that is, is this process's own.
        unsafe { SetHandleInformation(GetStdHandle(stream), HANDLE_FLAG_INHERIT, 0) };
    }
}

/// Its own session, no terminal, and no folder kept busy.
#[cfg(unix)]
fn leave_the_terminal() -> io::Result<()> {
    match rustix::process::setsid() {
        // Who leads a group already (started by hand from a shell) cannot, and need not.
        Ok(_) | Err(rustix::io::Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    std::env::set_current_dir("/")
}

#[cfg(windows)]
fn leave_the_terminal() -> io::Result<()> {
    Ok(())
}

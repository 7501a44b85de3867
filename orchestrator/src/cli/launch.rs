//! Starts an orchestrator as a daemon, and is that daemon's first function.
//!
//! `copo up` runs this same binary as `copo orchestrate`, with one pipe: a line on it says "ready", or what went wrong.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use clap::Args;
use copo_orchestrator::config;
#[cfg(target_os = "linux")]
use copo_orchestrator::keeper::Arguments;
use copo_orchestrator::layout::{self, Layout};
use copo_orchestrator::plan::Plan;
use copo_orchestrator::runtime::{self, Begin, RunOptions, notify};
use copo_proto::env;

use super::failure::{FAILED, Failure, Outcome, USAGE};
use super::find;

/// What `copo orchestrate` is started with.
#[derive(Debug, Args)]
pub struct Orchestrate {
    /// Absolute path of the copo.toml.
    #[arg(long)]
    pub config: PathBuf,
    /// In place of a copo.toml that is broken just now.
    #[arg(long)]
    pub last_config: Option<PathBuf>,
    /// Its stdin is the socket of its keeper.
    #[arg(long)]
    pub kept: bool,
    /// It takes the place of one that is gone.
    #[arg(long)]
    pub resume: bool,
    /// Names as given to `up`.
    pub names: Vec<String>,
}

/// What the daemon says ([`notify::starter`]) when its server answers.
const READY: &str = "ready";
/// What stands in front of the reason why it never will.
const ERROR: &str = "error ";

/// What the daemon's one line said: ready, the reason why not, or nothing at all.
pub type Word = io::Result<Result<(), Option<String>>>;

/// An orchestrator that has been started, and whose server may not answer yet.
pub struct Starting {
    child: Child,
    stdout: Option<ChildStdout>,
    application: String,
    log: PathBuf,
}

/// Starts the orchestrator of `plan` and returns once its server answers.
pub fn launch(plan: &Plan, layout: &Layout, names: &[String]) -> Result<Child, Failure> {
    let mut starting = begin(plan, layout, names)?;
    let word = starting.word()();
    starting.finish(word)
}

/// Starts the orchestrator of `plan`.
pub fn begin(plan: &Plan, layout: &Layout, names: &[String]) -> Result<Starting, Failure> {
    let cannot = |error: io::Error| Failure::io(format!("start the orchestrator of {}", plan.application), &error);
    layout::prepare(layout).map_err(|error| Failure::new(FAILED, error.to_string()))?;
    let log = open_log(&layout.orchestrator_log()).map_err(cannot)?;
    let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
    command.args(words(plan, layout, names));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    // Absolute, whatever it was here: the daemon leaves this folder.
    command.env(env::HOME, layout.home());
    detach(&mut command);
    let mut child = command.spawn().map_err(cannot)?;
    let (stdout, log) = (child.stdout.take(), layout.orchestrator_log());
    Ok(Starting { child, stdout, application: plan.application.clone(), log })
}

impl Starting {
    /// What waits for its word.
    pub fn word(&mut self) -> impl FnOnce() -> Word + Send + use<> {
        let stdout = self.stdout.take();
        move || wait_until_ready(stdout)
    }

    /// It has said its word.
    pub fn finish(mut self, word: Word) -> Result<Child, Failure> {
        match word.map_err(|error| Failure::io(format!("start the orchestrator of {}", self.application), &error))? {
            Ok(()) => Ok(self.child),
            Err(reason) => {
                // It has said its last word; what it still does is end.
                let _ = self.child.wait();
                Err(Failure::new(FAILED, reason.unwrap_or_else(|| died_silently(&self.application, &self.log))))
            }
        }
    }

    /// Asks it to end, or ends it, while it is starting.
    pub fn end(&mut self, kill: bool) {
        #[cfg(unix)]
        if let (true, Ok(pid)) = (!kill || cfg!(target_os = "linux"), i32::try_from(self.child.id())) {
            use rustix::process::{Pid, Signal, kill_process};
            // A keeper ends what it has begun to start; killed itself it would leave that behind.
            let signal = if kill { Signal::QUIT } else { Signal::TERM };
            // It has not been waited for, so the number is its own.
            let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, signal));
            return;
        }
        #[cfg(windows)]
        let _ = kill; // There is nothing gentler: it has no console, and no server yet.
        let _ = self.child.kill();
    }
}

/// On Linux a keeper is started, and starts the orchestrator.
#[cfg(target_os = "linux")]
fn words(plan: &Plan, layout: &Layout, names: &[String]) -> Vec<OsString> {
    let names = names.iter().map(OsString::from).collect();
    Arguments::new(&plan.config_path, &layout.keeper(), names).of_keeper(&[], &[])
}

#[cfg(not(target_os = "linux"))]
fn words(plan: &Plan, _layout: &Layout, names: &[String]) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["orchestrate".into(), "--config".into(), plan.config_path.clone().into()];
    words.push("--".into());
    words.extend(names.iter().map(OsString::from));
    words
}

fn died_silently(application: &str, log: &Path) -> String {
    format!("cannot start the orchestrator of {application}: it ended at once; its last words are in {}", log.display())
}

fn open_log(path: &Path) -> io::Result<File> {
    layout::private_file().append(true).open(path)
}

/// Reads the daemon's one line.
fn wait_until_ready(stdout: Option<ChildStdout>) -> Word {
    let Some(stdout) = stdout else { return Ok(Err(None)) };
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
            let names = orchestrate.names.clone();
            let options = RunOptions {
                begin: if orchestrate.resume { Begin::Resume(names) } else { Begin::Up(names) },
                #[cfg(target_os = "linux")]
                keeper: if orchestrate.kept { Some(leave_stdin().map_err(no_keeper)?) } else { None },
                notify,
            };
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
    let last = orchestrate.last_config.as_ref().filter(|_| orchestrate.resume);
    let loaded = config::load(&orchestrate.config, &home);
    // What runs goes on as it was while its file is being edited.
    let plan = match (loaded, last) {
        (Ok(plan), _) => plan,
        (Err(error), Some(last)) if last.exists() => {
            eprintln!("copo: {error}; going on with {}", last.display());
            let plan = config::load_copy(last, &orchestrate.config, &home).map_err(unusable)?;
            let layout = Layout::new(&home, &plan.application);
            return Ok((plan, layout));
        }
        (Err(error), _) => return Err(unusable(error)),
    };
    let layout = Layout::new(&home, &plan.application);
    let copied = layout::prepare(&layout).and_then(|()| config::keep_copy(&orchestrate.config, &layout));
    if let Err(error) = copied {
        eprintln!("copo: cannot copy {}: {error}", orchestrate.config.display());
    }
    Ok((plan, layout))
}

fn unusable(error: config::ConfigError) -> Failure {
    Failure::new(USAGE, error.to_string())
}

/// The keeper's socket stands where stdin was; no child is to have it.
#[cfg(target_os = "linux")]
fn leave_stdin() -> io::Result<std::os::fd::OwnedFd> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(socket)
}

#[cfg(target_os = "linux")]
fn no_keeper(error: io::Error) -> Failure {
    Failure::io("speak to the keeper", &error)
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

//! `copo upgrade`: puts another binary in the place of the running orchestrator; what it runs notices nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use copo::v1;
use copo::v1::request::Kind;
use copo_orchestrator::runtime::STATE_FORM;
use serde_json::Value;

use super::args::Place;
use super::control;
use super::failure::{FAILED, Failure, Outcome};
use super::find::{self, Target};
use super::output::Out;

/// What can be typed after `copo upgrade`.
#[derive(Debug, Args)]
pub struct Upgrade {
    /// The binary [default: this one].
    #[arg(long, value_name = "PATH")]
    pub binary: Option<PathBuf>,
}

/// The next orchestrator answers within this time, or something is wrong: one that hangs is given up by the keeper after
/// half of it, and the old one is back.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A binary that may take over.
struct Successor {
    path: PathBuf,
    version: String,
    /// The newest form of state that it reads.
    state_form: u64,
}

/// `copo upgrade [--binary PATH]`
pub fn run(place: &Place, upgrade: &Upgrade) -> Outcome {
    let target = find::target(place)?;
    let client = target.connect()?;
    let before = control::status(&client)?;
    let successor = match &upgrade.binary {
        Some(path) => asked(path)?,
        None => own()?,
    };
    let (application, path) = (&before.application, successor.path.display());
    if u64::from(before.state_form) > successor.state_form {
        let (form, reads, version) = (before.state_form, successor.state_form, &successor.version);
        let why = format!("its state has form {form}, and {path} (version {version}) reads up to form {reads}");
        return Err(Failure::new(FAILED, format!("cannot upgrade {application}: {why}")));
    }
    let binary = successor
        .path
        .to_str()
        .ok_or_else(|| Failure::new(FAILED, format!("cannot upgrade {application}: the path {path} is not UTF-8")))?;
    control::done(&client, Kind::Upgrade(v1::Upgrade { binary: binary.to_owned() }), None)?;
    drop(client);
    let after = next(&target, &before)?;
    if after.version != successor.version || !runs(after.pid, &successor.path) {
        let (log, version) = (target.layout.orchestrator_log(), &after.version);
        let why = format!("{path} did not start, and version {version} goes on; see {}", log.display());
        return Err(Failure::new(FAILED, format!("cannot upgrade {application}: {why}")));
    }
    let mut out = Out::new();
    out.line(&format!("{} -> {} ({application}, pid {})", before.version, after.version, after.pid))?;
    out.flush()
}

fn own() -> Result<Successor, Failure> {
    let path = std::env::current_exe().map_err(|error| Failure::io("find this binary", &error))?;
    Ok(Successor { path, version: env!("CARGO_PKG_VERSION").to_owned(), state_form: STATE_FORM.into() })
}

/// Another binary says itself what it is.
fn asked(path: &Path) -> Result<Successor, Failure> {
    let cannot = |why: &str| Failure::new(FAILED, format!("cannot upgrade to {}: {why}", path.display()));
    let path = std::path::absolute(path).map_err(|error| cannot(&error.to_string()))?;
    // Outside of any application: only its own version is asked for.
    let mut command = Command::new(&path);
    command.args(["version", "--json", "-f", "/nowhere/copo.toml"]);
    let said = command.output().map_err(|error| cannot(&error.to_string()))?;
    let said: Value = serde_json::from_slice(&said.stdout).map_err(|_| cannot("it is no copo"))?;
    let version = said["version"].as_str().ok_or_else(|| cannot("it is no copo"))?.to_owned();
    let state_form = said["state_form"].as_u64();
    let state_form = state_form.ok_or_else(|| cannot(&format!("version {version} takes over from nobody")))?;
    Ok(Successor { path, version, state_form })
}

/// Is this the binary that the process runs? Where that cannot be told, it is believed to be.
fn runs(pid: u32, binary: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |path: &Path| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
        let running = identity(Path::new(&format!("/proc/{pid}/exe")));
        running.is_none() || running == identity(binary)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (pid, binary);
        true
    }
}

/// The state of the orchestrator that follows.
fn next(target: &Target, before: &v1::OrchestratorStatus) -> Result<v1::OrchestratorStatus, Failure> {
    let since = Instant::now();
    while since.elapsed() < ANSWER_WITHIN {
        let status = target.connect_if_up()?.and_then(|client| control::status(&client).ok());
        match status.filter(|status| status.pid != before.pid) {
            Some(status) => return Ok(status),
            None => thread::sleep(LOOK_AGAIN),
        }
    }
    let why = format!("no orchestrator answers; see {}", target.layout.orchestrator_log().display());
    Err(Failure::new(FAILED, format!("cannot upgrade {}: {why}", before.application)))
}

//! Starting a program in a process group of its own, with its output going into one pipe.
//!
//! [`Spawner::spawn`] is the one door: how a platform makes a process stands behind it, and nobody else knows.

#[cfg(unix)]
mod attributes;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod clone;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

#[cfg(unix)]
pub(super) use attributes::Attributes;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) use clone::{Cloner, Ends};
#[cfg(unix)]
pub(super) use unix::{OutputEnd, OutputReader, StdinEnd, StdinWriter};
#[cfg(windows)]
pub(super) use windows::{OutputEnd, OutputReader, StdinEnd, StdinWriter};

#[cfg(unix)]
use unix as sys;
#[cfg(windows)]
use windows as sys;

#[cfg(target_os = "linux")]
use super::cgroup::Cgroup;
use super::child::Child;
use super::environment::Environment;
use super::group::Group;
use crate::plan::Stdin;

/// All there is to know to start a program.
#[derive(Debug)]
pub(super) struct Launch {
    /// The program as configured: absolute, or a bare name to be found on PATH.
    pub program: PathBuf,
    /// The script, when there is one; it is the first argument.
    pub script: Option<PathBuf>,
    /// What follows.
    pub args: Vec<String>,
    /// Working folder.
    pub cwd: PathBuf,
    /// The whole environment.
    pub env: Environment,
    /// Where its stdin comes from.
    pub stdin: Stdin,
    /// As whom it runs, and its limits.
    #[cfg(unix)]
    pub attributes: Attributes,
    /// Where it is born, and all that it starts stays.
    #[cfg(target_os = "linux")]
    pub cgroup: Option<Cgroup>,
}

/// Is shown our ends of a child's pipes before its program starts.
pub(super) type Hold<'a> = dyn Fn(&OutputEnd, Option<&StdinEnd>) + 'a;

/// A program that runs.
#[derive(Debug)]
pub(super) struct Spawned {
    /// Its process id.
    pub pid: u32,
    /// To wait for its end.
    pub child: Child,
    /// It and what it starts.
    pub group: Group,
    /// What it writes to stdout and stderr.
    pub output: OutputEnd,
    /// What it reads, under [`Stdin::Attach`].
    pub stdin: Option<StdinEnd>,
}

/// Why a program could not be started, "<what>: <why>".
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(super) struct SpawnError {
    /// Why.
    pub reason: String,
    /// Trying again would not help.
    pub is_final: bool,
}

impl SpawnError {
    pub(super) fn lasting(reason: String) -> Self {
        Self { reason, is_final: true }
    }

    /// Out of processes, descriptors or memory: that may be over soon.
    fn passing(program: &Path, error: &io::Error) -> Self {
        Self { reason: format!("{}: {}", program.display(), why(error)), is_final: false }
    }
}

/// What kept a program from running, as a platform finds it.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// The program, its folder, or a lack of room.
    Program(io::Error),
    /// Something that it was to be given: "cannot set its user: …".
    #[cfg(unix)]
    Attribute(String),
}

impl From<io::Error> for Obstacle {
    fn from(error: io::Error) -> Self {
        Self::Program(error)
    }
}

/// Starts programs.
#[derive(Debug)]
pub(super) struct Spawner {
    sys: sys::Spawner,
}

impl Spawner {
    /// To be made early, while few descriptors are open; raises the limit of them.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { sys: sys::Spawner::new()? })
    }

    /// Starts a program; `hold` is shown our ends of its pipes before.
    pub(super) fn spawn(&self, launch: &Launch, hold: &Hold<'_>) -> Result<Spawned, SpawnError> {
        let program = find(launch)?;
        if let Some(script) = launch.script.as_deref().filter(|script| !script.exists()) {
            return Err(SpawnError::lasting(format!("{}: no such file", script.display())));
        }
        self.sys.spawn(&program, launch, hold).map_err(|obstacle| match obstacle {
            Obstacle::Program(error) => explain(launch, &program, &error),
            #[cfg(unix)]
            Obstacle::Attribute(reason) => SpawnError::lasting(reason),
        })
    }
}

/// The program's path: one without a slash is looked for on the PATH the child will have.
fn find(launch: &Launch) -> Result<PathBuf, SpawnError> {
    let program = &launch.program;
    if program.components().count() > 1 {
        return Ok(program.clone());
    }
    let path = launch.env.get("PATH").unwrap_or_else(|| OsStr::new("/usr/local/bin:/usr/bin:/bin"));
    let folders = std::env::split_paths(path).map(|folder| launch.cwd.join(folder));
    let found = folders
        .flat_map(|folder| suffixes(program).iter().map(move |suffix| (folder.clone(), *suffix)))
        .find_map(|(folder, suffix)| {
            let mut name = OsString::from(program);
            name.push(suffix);
            Some(folder.join(name)).filter(|candidate| is_program(candidate))
        });
    found.ok_or_else(|| SpawnError::lasting(format!("{}: no such program on PATH", program.display())))
}

/// What may follow the program's name in its file's.
#[cfg(unix)]
fn suffixes(_program: &Path) -> &'static [&'static str] {
    &[""]
}

/// A file without one of these is no program for Windows, even where one of that name lies beside it (as with `npm`).
#[cfg(windows)]
fn suffixes(program: &Path) -> &'static [&'static str] {
    const PROGRAMS: &[&str] = &[".com", ".exe", ".bat", ".cmd"];
    let name = program.as_os_str().to_string_lossy().to_ascii_lowercase();
    if PROGRAMS.iter().any(|suffix| name.ends_with(suffix)) { &[""] } else { PROGRAMS }
}

#[cfg(unix)]
fn is_program(candidate: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    candidate.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(windows)]
fn is_program(candidate: &Path) -> bool {
    candidate.is_file()
}

/// Finds out what an error of the system means; it says "not found" of the program, its interpreter and the folder alike.
fn explain(launch: &Launch, program: &Path, error: &io::Error) -> SpawnError {
    if !launch.cwd.is_dir() {
        return SpawnError::lasting(format!("no such folder: {}", launch.cwd.display()));
    }
    let reason = match error.kind() {
        io::ErrorKind::NotFound if program.exists() => "its interpreter is missing (see its first line)",
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "no such file",
        io::ErrorKind::PermissionDenied if program.is_dir() => "it is a folder",
        io::ErrorKind::PermissionDenied if program.is_file() && !is_program(program) => "it is not executable",
        io::ErrorKind::PermissionDenied => "permission denied",
        io::ErrorKind::InvalidInput => "an argument or a variable holds a NUL byte",
        io::ErrorKind::ArgumentListTooLong => "its arguments and environment are too long",
        _ if is_no_program(error) => "it is no program this system can run",
        _ => return SpawnError::passing(program, error),
    };
    SpawnError::lasting(format!("{}: {reason}", program.display()))
}

#[cfg(unix)]
fn is_no_program(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOEXEC)
}

#[cfg(windows)]
fn is_no_program(error: &io::Error) -> bool {
    error.raw_os_error() == Some(windows_sys::Win32::Foundation::ERROR_BAD_EXE_FORMAT as i32)
}

/// The error's text without the number that the library appends.
pub(super) fn why(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(all(test, unix))]
#[path = "tests.rs"]
mod tests;

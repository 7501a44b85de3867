//! One application under test: its folder, its COPO_HOME, its copo.toml, and the command line to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::build;
use crate::wait::eventually_some;

/// An application in a temporary folder; everything it started is gone when this is dropped.
pub struct App {
    folder: TempDir,
    application: String,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; 128 + signal when one ended it.
    pub code: i32,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Ran {
    /// Fails the test unless the command succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless the command ended with this exit code.
    #[track_caller]
    pub fn fails_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Standard output as one JSON document.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|why| panic!("not JSON ({why}): {}", self.stdout))
    }

    /// Standard output as one JSON document a line.
    #[track_caller]
    #[must_use]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|why| panic!("not JSON ({why}): {line}"));
        self.stdout.lines().map(parse).collect()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        #[cfg(unix)]
        let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
        #[cfg(not(unix))]
        let signal: Option<i32> = None;
        Self {
            code: output.status.code().unwrap_or_else(|| 128 + signal.unwrap_or(0)),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl App {
    /// An application named `t` with this copo.toml (without its `application` line). `{puppet}` in it stands for the
    /// puppet's path.
    #[must_use]
    pub fn new(config: &str) -> Self {
        let app = Self { folder: short_folder(), application: "t".to_owned() };
        app.configure(config);
        app
    }

    /// A copy of the example of this name, as its files stand in the sources.
    #[must_use]
    pub fn example(name: &str) -> Self {
        let app = Self { folder: short_folder(), application: name.to_owned() };
        copy(&build::workspace().join("examples").join(name), app.folder());
        app
    }

    /// Writes the copo.toml anew.
    pub fn configure(&self, config: &str) {
        let config = config.replace("{puppet}", &build::puppet().display().to_string());
        self.write("copo.toml", &format!("application = \"t\"\n{config}"));
    }

    /// The application's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the application's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// COPO_HOME.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.path("h")
    }

    /// A path in the application's part of COPO_HOME.
    #[must_use]
    pub fn state(&self, name: &str) -> PathBuf {
        self.home().join(&self.application).join(name)
    }

    /// The Server's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.state("orchestrator/sock")
    }

    /// Writes a file into the application's folder.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("the folder can be made");
        std::fs::write(path, text).expect("the application's folder is writable");
    }

    /// Reads a file of the application's folder; empty when it is not there.
    #[must_use]
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The lines of an instance's log.
    #[must_use]
    pub fn log(&self, internal_name: &str) -> Vec<String> {
        let bytes = std::fs::read(self.state(&format!("logs/{internal_name}.log"))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }

    /// `copo` with these arguments, in the application's folder, not yet run.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(build::copo());
        build::strip_cargo_environment(&mut command);
        for name in ["COPO_SOCKET", "COPO_APPLICATION", "COPO_PROCESS", "COPO_RUN", "COPO_TOKEN"] {
            command.env_remove(name);
        }
        command.args(args).current_dir(self.folder()).env("COPO_HOME", self.home()).stdin(Stdio::null());
        command
    }

    /// Runs `copo` with these arguments to its end.
    pub fn copo(&self, args: &[&str]) -> Ran {
        self.command(args).output().expect("copo can be run").into()
    }

    /// Runs `copo` with this on its standard input.
    pub fn copo_with_input(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(args);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("copo");
        let mut stdin = child.stdin.take().expect("it was asked for");
        std::io::Write::write_all(&mut stdin, input).expect("copo reads its standard input");
        drop(stdin);
        child.wait_with_output().expect("copo ends").into()
    }

    /// Starts `copo` with these arguments; its output is piped.
    #[must_use]
    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("copo can be run")
    }

    /// `copo up -d`.
    pub fn up(&self) {
        self.copo(&["up", "-d"]).ok();
    }

    /// `copo ps --json`, by internal name.
    #[must_use]
    pub fn ps(&self) -> BTreeMap<String, Value> {
        let all = self.copo(&["ps", "--json"]).ok().json();
        let named = |process: &Value| (process["internal_name"].as_str().expect("a name").to_owned(), process.clone());
        all.as_array().expect("an array").iter().map(named).collect()
    }

    /// State of an instance as `ps` says it.
    #[must_use]
    pub fn state_of(&self, internal_name: &str) -> String {
        self.ps().get(internal_name).and_then(|process| process["state"].as_str()).unwrap_or("absent").to_owned()
    }

    /// Waits until an instance is in this state, and returns what `ps` says of it.
    #[track_caller]
    pub fn wait_state(&self, internal_name: &str, state: &str) -> Value {
        eventually_some(&format!("{internal_name} is {state}"), || {
            self.ps().remove(internal_name).filter(|process| process["state"] == state)
        })
    }

    /// Pid of an instance's current run.
    #[track_caller]
    #[must_use]
    pub fn pid(&self, internal_name: &str) -> u32 {
        let pid = self.ps()[internal_name]["pid"].as_u64().unwrap_or_else(|| panic!("{internal_name} has no pid"));
        u32::try_from(pid).expect("a pid")
    }

    /// Pid of the running orchestrator.
    #[track_caller]
    #[must_use]
    pub fn orchestrator_pid(&self) -> u32 {
        let version = self.copo(&["version", "--json"]).ok().json();
        u32::try_from(version["orchestrator"]["pid"].as_u64().expect("an orchestrator runs")).expect("a pid")
    }

    /// Kills the orchestrator with -9 and waits until another one answers, of itself.
    #[cfg(target_os = "linux")]
    pub fn kill_orchestrator(&self) {
        let pid = self.orchestrator_pid();
        kill_9(pid);
        crate::eventually("another orchestrator answers", || self.running_orchestrator().is_some_and(|now| now != pid));
    }

    /// Pid of the running orchestrator, if one runs.
    #[must_use]
    pub fn running_orchestrator(&self) -> Option<u32> {
        let version = self.copo(&["version", "--json"]).ok().json();
        version["orchestrator"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
    }

    /// Pid of the orchestrator's keeper.
    #[track_caller]
    #[must_use]
    pub fn keeper_pid(&self) -> u32 {
        // A keeper that takes another's place writes its number into the same file, which is its lock.
        eventually_some("a keeper has written its pid", || {
            std::fs::read_to_string(self.state("orchestrator/keeper")).ok()?.trim().parse().ok()
        })
    }

    /// All reports there are, oldest first.
    #[must_use]
    pub fn reports(&self) -> Vec<Value> {
        self.copo(&["reports", "--json"]).ok().json_lines()
    }

    /// The events reported of an instance, oldest first.
    #[must_use]
    pub fn events(&self, internal_name: &str) -> Vec<String> {
        let of_it = |report: &Value| report["facts"]["internal_name"] == internal_name;
        let event = |report: &Value| report["facts"]["event"].as_str().unwrap_or_default().to_owned();
        self.reports().iter().filter(|report| of_it(report)).map(event).collect()
    }

    /// All records there are, oldest first.
    #[must_use]
    pub fn records(&self) -> Vec<Value> {
        self.copo(&["udd", "tail", "--from", "first", "--no-follow", "--json"]).ok().json_lines()
    }

    /// `copo down`.
    pub fn down(&self) {
        self.copo(&["down"]).ok();
    }
}

/// A socket path has little room: the folder lies right under the temporary folder, with a short name.
fn short_folder() -> TempDir {
    tempfile::Builder::new().prefix("cp").rand_bytes(6).tempdir().expect("a temporary folder")
}

/// Copies a folder, without what building it left there.
fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("the example is there") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_name() == "out" || entry.file_name() == "node_modules" {
            continue;
        }
        if entry.file_type().expect("a type").is_dir() {
            std::fs::create_dir_all(&target).expect("the folder can be made");
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("the file can be copied");
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // A failed test must not leave processes behind; a passed one has nothing left to stop.
        let down = self.command(&["down", "-t", "0"]).output();
        if !std::thread::panicking() {
            let ran: Ran = down.expect("copo can be run").into();
            assert!(matches!(ran.code, 0 | 2), "copo down: {} {}", ran.code, ran.stderr);
        }
    }
}

/// Is a process of this pid there (a zombie does not count)?
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return !Path::new("/proc/self/stat").exists() && signal_zero(pid);
    };
    let is_zombie = stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']));
    // Its first thread may have ended while others still hold its files and locks.
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    !is_zombie || threads > 1
}

#[cfg(unix)]
fn signal_zero(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

#[cfg(not(unix))]
fn signal_zero(_pid: u32) -> bool {
    false
}

/// Kills a process that the test started (through copo), with -9.
#[cfg(unix)]
pub fn kill_9(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("not 0");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("the process is there");
}

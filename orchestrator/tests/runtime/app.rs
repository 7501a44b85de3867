//! One application under test.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use copo_orchestrator::layout::Layout;
use copo_orchestrator::runtime::{self, Begin, RunOptions, notify};
use copo_orchestrator::{config, signal};
use serde_json::Value;

/// Set for the process that is to be the orchestrator: path of its copo.toml.
pub const ORCHESTRATE: &str = "COPO_TEST_ORCHESTRATE";
/// How long a fact may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);

/// Is the orchestrator.
pub fn orchestrate(config: &Path) {
    let home = PathBuf::from(std::env::var_os("COPO_HOME").expect("the test sets it"));
    let plan = config::load(config, &home).unwrap_or_else(|error| panic!("{error:?}"));
    let layout = Layout::new(&home, &plan.application);
    let options = RunOptions {
        begin: Begin::Up(Vec::new()),
        #[cfg(target_os = "linux")]
        keeper: None,
        notify: notify::starter(),
    };
    if runtime::run(plan, layout, options).is_err() {
        std::process::exit(1);
    }
}

/// An application: its folder, and its orchestrator while there is one.
pub struct App {
    folder: tempfile::TempDir,
    pub layout: Layout,
    orchestrator: Option<Child>,
}

impl App {
    /// An application "app" with this copo.toml, not started.
    pub fn new(processes: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let layout = Layout::new(&folder.path().join("home"), "app");
        let app = Self { folder, layout, orchestrator: None };
        app.configure(processes);
        app
    }

    /// The same, started.
    pub fn up(processes: &str) -> Self {
        let mut app = Self::new(processes);
        app.start(&[]);
        app
    }

    pub fn configure(&self, processes: &str) {
        fs::write(self.config(), format!("application = \"app\"\n{processes}")).expect("written");
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("copo.toml")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the orchestrator and waits until it is ready; `wrapper` is a command that execs its arguments.
    pub fn start(&mut self, wrapper: &[&str]) {
        let (orchestrator, said) = self.try_start(wrapper);
        assert_eq!(said, "ready");
        self.orchestrator = Some(orchestrator);
    }

    /// Starts an orchestrator; what it said of its start.
    pub fn try_start(&self, wrapper: &[&str]) -> (Child, String) {
        let own = std::env::current_exe().expect("known");
        let mut words: Vec<OsString> = wrapper.iter().map(OsString::from).collect();
        words.push(own.into());
        words.extend(["orchestrate", "--exact", "--nocapture", "--test-threads=1"].map(OsString::from));
        let mut orchestrator = Command::new(&words[0])
            .args(&words[1..])
            .env(ORCHESTRATE, self.config())
            .env("COPO_HOME", self.layout.home())
            .env("COPO_TOKEN", "of someone else")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let stdout = BufReader::new(orchestrator.stdout.take().expect("piped"));
        let lines = stdout.lines().map_while(Result::ok);
        // libtest's own words come before.
        let said = lines.map(|line| line.rsplit("... ").next().unwrap_or_default().to_owned());
        let mut said = said.filter(|line| line == "ready" || line.starts_with("error "));
        let said = said.next().unwrap_or_default();
        (orchestrator, said)
    }

    /// Process id of the orchestrator.
    pub fn pid(&self) -> u32 {
        self.orchestrator.as_ref().expect("started").id()
    }

    /// Asks the orchestrator to end, and waits until it has.
    pub fn down(&mut self) -> ExitStatus {
        kill("SIGTERM", self.pid().cast_signed());
        self.wait()
    }

    /// Waits for the orchestrator's end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut orchestrator = self.orchestrator.take().expect("started");
        until("the orchestrator has ended", || orchestrator.try_wait().expect("waited for"))
    }

    /// Kills the orchestrator alone.
    pub fn crash(&mut self) {
        kill("SIGKILL", self.pid().cast_signed());
        self.wait();
    }

    /// The newest reports, oldest first.
    pub fn reports(&self) -> Vec<Value> {
        let Ok(text) = fs::read(self.layout.reports()) else { return Vec::new() };
        let document: Value = serde_json::from_slice(&text).expect("a whole document");
        document["reports"].as_array().expect("a list").clone()
    }

    /// The facts of all reports of this event, about this instance.
    pub fn facts(&self, event: &str, internal_name: &str) -> Vec<Value> {
        let facts = self.reports().into_iter().map(|report| report["facts"].clone());
        facts.filter(|facts| facts["event"] == event && facts["internal_name"] == internal_name).collect()
    }

    /// Waits for the first report of this event about this instance.
    pub fn reported(&self, event: &str, internal_name: &str) -> Value {
        until(&format!("{event} of {internal_name}"), || self.facts(event, internal_name).into_iter().next())
    }

    /// What an instance has written; empty when it has no log.
    pub fn log(&self, internal_name: &str) -> String {
        fs::read_to_string(self.layout.log(internal_name)).unwrap_or_default()
    }

    /// Waits until an instance has written so many lines.
    pub fn lines(&self, internal_name: &str, count: usize) -> Vec<String> {
        until(&format!("{count} lines of {internal_name}"), || {
            let log = self.log(internal_name);
            let lines: Vec<_> = log.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
            (lines.len() >= count).then(|| lines.iter().map(|line| line.trim_end().to_owned()).collect())
        })
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let Some(mut orchestrator) = self.orchestrator.take() else { return };
        // A failed test leaves nothing behind either: each run's group is there until its pid file is gone.
        let groups: Vec<i32> = fs::read_dir(self.layout.pids())
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| fs::read_to_string(entry.path()).ok()?.trim().parse().ok())
            .collect();
        let _ = orchestrator.kill();
        let _ = orchestrator.wait();
        let _ = runtime::sweep(&self.layout, false);
        for group in groups {
            kill("SIGKILL", -group);
        }
        if std::thread::panicking() {
            eprintln!("reports: {:#?}", self.reports());
            eprintln!("log: {}", fs::read_to_string(self.layout.orchestrator_log()).unwrap_or_default());
        }
    }
}

/// Waits until something is there.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long until: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until something holds.
pub fn holds(what: &str, mut look: impl FnMut() -> bool) {
    until(what, || look().then_some(()));
}

/// Sends a signal; false when there is nobody of this number.
pub fn kill(name: &str, pid: i32) -> bool {
    let number = signal::number(name).expect("a signal");
    // SAFETY: no memory is touched.
    unsafe { libc::kill(pid, number) == 0 }
}

/// Is there a process of this number that is more than a zombie?
pub fn lives(pid: i32) -> bool {
    // SAFETY: no memory is touched; 0 only asks.
    let is_there = unsafe { libc::kill(pid, 0) == 0 };
    let status = fs::read_to_string(format!("/proc/{pid}/stat"));
    is_there && !status.is_ok_and(|status| status.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

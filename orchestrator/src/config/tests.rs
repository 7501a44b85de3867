//! copo.toml in, Plan or error text out.

mod errors;
mod names;
mod readiness;
mod schema;
mod terminal;
mod triggers;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::plan::*;
use crate::supervisor::cron::Schedule;

const FOLDER: &str = if cfg!(windows) { r"C:\weather" } else { "/weather" };
const HOME: &str = if cfg!(windows) { r"C:\Users\kim\.copo" } else { "/home/kim/.copo" };

fn config_path() -> PathBuf {
    Path::new(FOLDER).join(FILE_NAME)
}

fn in_folder(path: &str) -> PathBuf {
    Path::new(FOLDER).join(path).components().collect()
}

/// The Plan of a text, or its problems as a person reads them.
fn plan_of(text: &str) -> Result<Plan, String> {
    let told = |found| ConfigError::at(Path::new(FILE_NAME), text, found).to_string();
    check(text, config_path(), Path::new(HOME)).map_err(told)
}

/// The plan of one process `a` whose table holds these lines; a process `b` stands beside it.
fn process_of(lines: &str) -> ProcessSpec {
    let text = format!(
        "application = 'weather'\n[process.a]\nexecutable_path = 'a'\n{lines}\n[process.b]\nexecutable_path = 'b'"
    );
    plan_of(&text).unwrap_or_else(|problems| panic!("{lines}: {problems}")).processes.remove(0)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A process of which only the name and the program are written.
fn plain(name: &str, executable_path: &str) -> ProcessSpec {
    ProcessSpec {
        name: name.to_owned(),
        groups: Vec::new(),
        executable_path: PathBuf::from(executable_path),
        file_path: None,
        args: Vec::new(),
        cwd: PathBuf::from(FOLDER),
        env: BTreeMap::new(),
        env_file: None,
        extra_env: ExtraEnv::default(),
        depends_on: Vec::new(),
        trigger: Trigger::OnStart,
        catch_up: None,
        jitter: Duration::ZERO,
        run_timeout: None,
        overlap: Overlap::Skip,
        max_instances: 10,
        replicas: 1,
        ready: Readiness::Started,
        startup: None,
        liveness: None,
        progress: None,
        watchdog: None,
        notify: false,
        ready_timeout: seconds(60),
        restart: RestartPolicy::OnFailure,
        backoff: default_backoff(),
        restart_limit: None,
        on_dependence_restart: OnDependenceRestart::Ignore,
        significant: false,
        success_exit_codes: vec![0],
        stop_signal: "SIGTERM".to_owned(),
        stop_grace: seconds(10),
        control: false,
        log: LogSpec { size: 10 << 20, files: 5 },
        stdin: Stdin::Null,
        attributes: Attributes::default(),
    }
}

fn default_backoff() -> Backoff {
    let initial = Duration::from_millis(500);
    Backoff { initial, factor: 2.0, max: seconds(30), reset: seconds(60), jitter: 0.0 }
}

fn probe(check: Check, interval: u64, failures: u32) -> Probe {
    let (timeout, initial_delay) = (seconds(1), Duration::ZERO);
    Probe { check, interval: seconds(interval), timeout, successes: 1, failures, initial_delay }
}

fn address(host: &str, port: u16) -> Address {
    Address { host: host.to_owned(), port }
}

fn http(host: &str, port: u16, target: &str) -> Check {
    Check::Http { address: address(host, port), target: target.to_owned() }
}

fn default_context() -> ContextSpec {
    ContextSpec {
        headers: None,
        durability: Durability::Crash,
        retain: Retain { records: 1_000_000, bytes: 256 << 20, age: seconds(604_800), keys: 10_000, reports: 100_000 },
        when_full: WhenFull::Trim,
        wait_limit: seconds(5),
        max_record: 64 << 20,
    }
}

#[test]
fn what_is_not_written_has_its_default() {
    let plan = plan_of("application = 'weather'\n[process.station]\nexecutable_path = 'station'");

    assert_eq!(
        plan,
        Ok(Plan {
            application: "weather".to_owned(),
            config_path: config_path(),
            context: default_context(),
            log_total: None,
            processes: vec![plain("station", "station")],
        })
    );
}

const COMPLETE: &str = include_str!("tests/complete.toml");

#[test]
fn everything_that_is_written_is_in_the_plan() {
    let gate = |process, condition| Dependence { process: PrcId(process), condition };
    let station = ProcessSpec {
        executable_path: in_folder("bin/station"),
        args: vec!["--hz".to_owned(), "$RATE".to_owned()],
        groups: vec!["sources".to_owned(), "outside".to_owned()],
        env: [("RATE", "10"), ("EMPTY", "")].map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        env_file: Some(in_folder("station.env")),
        extra_env: ExtraEnv {
            secrets: ["RATE".to_owned()].into(),
            secret_files: [("DB_PASSWORD".to_owned(), in_folder("/run/secrets/db"))].into(),
            port: Some(Port { env: "HTTP_PORT".to_owned(), base: Some(5000) }),
        },
        cwd: in_folder("data"),
        replicas: 3,
        ready: Readiness::Sdk,
        ready_timeout: seconds(300),
        restart: RestartPolicy::Always,
        backoff: Backoff { initial: seconds(1), factor: 1.5, max: seconds(10), reset: seconds(3600), jitter: 0.25 },
        restart_limit: Some(RestartLimit { restarts: 3, window: seconds(600), then: LimitReached::Shutdown }),
        significant: true,
        success_exit_codes: vec![0, 3],
        stop_signal: "SIGINT".to_owned(),
        stop_grace: seconds(2),
        control: true,
        log: LogSpec { size: 1 << 20, files: 2 },
        stdin: Stdin::Attach,
        attributes: Attributes { memory: Some(1 << 30), cpu: Some(1.5), ..Attributes::default() },
        ..plain("station", "")
    };
    let clean = ProcessSpec {
        file_path: Some(in_folder("clean.py")),
        depends_on: vec![gate(0, Condition::Ready), gate(2, Condition::Succeeded)],
        on_dependence_restart: OnDependenceRestart::Restart,
        startup: Some(probe(Check::Log(Pattern::Text("up".to_owned())), 1, 30)),
        ready: Readiness::Probe(Probe {
            interval: seconds(2),
            timeout: seconds(3),
            successes: 4,
            initial_delay: seconds(6),
            ..probe(http("127.0.0.1", 8080, "/health"), 2, 5)
        }),
        liveness: Some(probe(Check::Exec { program: in_folder("alive"), args: vec!["-q".to_owned()] }, 10, 3)),
        progress: Some(Probe { timeout: seconds(5), initial_delay: seconds(5), ..probe(Check::Progress, 5, 4) }),
        watchdog: Some(seconds(7)),
        notify: true,
        ..plain("clean", "python3")
    };
    let backup = ProcessSpec {
        ready: Readiness::Probe(probe(Check::Tcp(address("db", 5432)), 1, 3)),
        startup: Some(probe(Check::Log(Pattern::Regex("^up$".to_owned())), 1, 30)),
        executable_path: in_folder("/usr/bin/backup"),
        trigger: Trigger::Manual,
        restart: RestartPolicy::No,
        ..plain("backup", "")
    };
    let daily = ProcessSpec {
        file_path: Some(in_folder("/opt/daily.mjs")),
        trigger: Trigger::Cron(Schedule::parse("0 6 * * *", Some("Europe/Vienna")).expect("a schedule")),
        catch_up: Some(CatchUp { window: seconds(3600), runs: CatchUpRuns::All }),
        jitter: seconds(30),
        run_timeout: Some(seconds(600)),
        overlap: Overlap::Allow,
        max_instances: 4,
        restart: RestartPolicy::No,
        ..plain("daily", "node")
    };
    let publish = ProcessSpec {
        depends_on: vec![gate(0, Condition::Ready), gate(3, Condition::Started)],
        trigger: Trigger::DependenceFinish { sources: vec![PrcId(3), PrcId(2)], on: FinishKind::Finished },
        overlap: Overlap::Queue,
        restart: RestartPolicy::No,
        ..plain("publish", "publish")
    };
    let context = ContextSpec {
        headers: Some(vec!["station".to_owned(), "celsius".to_owned()]),
        durability: Durability::Power,
        retain: Retain { records: 10, bytes: 1024, age: seconds(5400), keys: 3, reports: 4 },
        when_full: WhenFull::Wait,
        wait_limit: Duration::from_millis(250),
        max_record: 1024,
    };

    let plan = plan_of(COMPLETE).expect("a plan");

    let processes = vec![station, clean, backup, daily, publish];
    let (application, config_path) = ("weather".to_owned(), config_path());
    assert_eq!(plan, Plan { application, config_path, context, log_total: Some(2 << 30), processes });
}

#[test]
fn a_partial_table_keeps_the_other_defaults() {
    let process = process_of("backoff = { initial = '1m' }\nlog.files = 2\nrestart_limit.restarts = 1");

    // The longest delay is never shorter than the first.
    assert_eq!(process.backoff, Backoff { initial: seconds(60), max: seconds(60), ..default_backoff() });
    let limit = RestartLimit { restarts: 1, window: seconds(60), then: LimitReached::GiveUp };
    assert_eq!(process.restart_limit, Some(limit));
    assert_eq!(process.log, LogSpec { size: 10 << 20, files: 2 });
}

#[test]
fn processes_stand_in_the_order_of_the_file() {
    let names = ["zeta", "alpha", "mid"];
    let tables = names.map(|name| format!("[process.{name}]\nexecutable_path = '{name}'\n"));
    let plan = plan_of(&format!("application = 'weather'\n{}", tables.concat())).expect("a plan");

    assert_eq!(plan.processes.iter().map(|process| process.name.as_str()).collect::<Vec<_>>(), names);
}

#[test]
fn how_a_text_is_stored_does_not_matter() {
    let plan = plan_of("application = 'weather'\n[process.a]\nexecutable_path = 'a'\n").expect("a plan");

    let stored = "\u{feff}application = 'weather'\r\n[process.a]\r\nexecutable_path = 'a'\r\n";

    assert_eq!(plan_of(stored), Ok(plan));
}

#[test]
fn an_application_without_processes_is_one() {
    assert_eq!(plan_of("application = 'weather'").map(|plan| plan.processes), Ok(Vec::new()));
}

#[test]
fn the_starter_loads() {
    let plan = plan_of(STARTER).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(plan.processes.len(), 2);

    // And so it does with all that is commented out there.
    let is_key = |key: &str| key.trim_end().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let is_example = |text: &str| text.starts_with('[') || text.split_once('=').is_some_and(|(key, _)| is_key(key));
    let uncomment = |line| str::strip_prefix(line, "# ").filter(|text| is_example(text)).unwrap_or(line);
    let uncommented = STARTER.lines().map(uncomment).collect::<Vec<_>>().join("\n");
    let plan = plan_of(&uncommented).unwrap_or_else(|problems| panic!("{problems}\n{uncommented}"));
    assert_eq!(plan.processes.len(), 6);
}

#[test]
fn a_file_is_loaded_from_wherever_it_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let below = folder.path().join("below");
    fs::create_dir(&below).expect("a folder");
    fs::write(folder.path().join(FILE_NAME), "application = 'weather'").expect("a file");

    let found = find(&below).expect("found upwards");
    let plan = load(&found, Path::new(HOME)).expect("a plan");
    let again = load(&below.join("..").join(FILE_NAME), Path::new(HOME)).expect("a plan");

    assert_eq!(found, folder.path().join(FILE_NAME));
    assert!(plan.config_path.is_absolute());
    assert_eq!(plan, again, "two ways to the same file are the same file");
    assert_eq!(find(Path::new("/nonexistent/for/sure")), None);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(FILE_NAME);
    let told = |path: &Path| load(path, Path::new(HOME)).expect_err("no plan").to_string();

    assert_eq!(told(&path), format!("{}: cannot read the file: there is no such file", path.display()));
    fs::write(&path, b"application = 'weather'\n# \xff").expect("a file");
    assert_eq!(told(&path), format!("{}:2:3: cannot read the file: it is not UTF-8 from here", path.display()));
    #[cfg(unix)]
    assert_eq!(told(folder.path()), format!("{}: cannot read the file: it is a folder", folder.path().display()));
}

//! Stopping: one process, the application, and from the terminal, with real processes.
#![cfg(unix)]

use copo_tests::app::is_alive;
use copo_tests::{App, eventually, eventually_some};

const SLEEPER: &str = r#"
[process.a]
executable_path = "{puppet}"
args = ["print", "hello", "sleep"]
"#;

#[test]
fn stop_asks_then_kills_and_the_whole_group_goes() {
    let app = App::new(
        r#"
[process.polite]
executable_path = "{puppet}"
args = ["on-term", "4", "print", "up", "sleep"]
[process.stubborn]
executable_path = "{puppet}"
args = ["ignore-term", "grandchild", "sleep"]
stop_grace = "100ms"
[process.leader]
executable_path = "{puppet}"
args = ["grandchild", "sleep"]
"#,
    );
    app.up();
    eventually("they are up", || {
        [app.log("polite-1"), app.log("stubborn-1"), app.log("leader-1")].iter().all(|log| log.len() == 1)
    });
    let pid = |name: &str| app.log(name)[0].parse::<u32>().expect("the grandchild's pid");
    let (of_stubborn, of_leader) = (pid("stubborn-1"), pid("leader-1"));

    app.copo(&["stop", "polite", "stubborn", "leader"]).ok();

    for name in ["polite-1", "stubborn-1", "leader-1"] {
        assert_eq!(app.state_of(name), "stopped");
    }
    assert_eq!(app.ps()["polite-1"]["exit_code"], 4);
    assert_eq!(app.ps()["stubborn-1"]["signal"], "SIGKILL");
    assert!(!is_alive(of_stubborn) && !is_alive(of_leader), "stopped means the whole group is gone");
    app.copo(&["stop", "polite"]).ok();
}

#[test]
fn what_a_dead_main_process_leaves_in_its_group_is_killed_before_the_next_run() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["grandchild", "wait-file", "go", "exit", "0"]
"#,
    );
    app.up();
    let grandchild =
        eventually_some("the grandchild's pid", || app.log("a-1").first().and_then(|line| line.parse().ok()));
    assert!(is_alive(grandchild));
    app.write("go", "");
    app.wait_state("a-1", "finished");
    assert!(!is_alive(grandchild));
}

#[test]
fn down_stops_in_reverse_dependency_order() {
    let app = App::new(
        r#"
[process.db]
executable_path = "{puppet}"
args = ["sleep"]
[process.api]
executable_path = "{puppet}"
args = ["sleep"]
depends_on = ["db"]
[process.web]
executable_path = "{puppet}"
args = ["sleep"]
depends_on = ["api"]
"#,
    );
    app.copo(&["up", "-d", "--wait"]).ok();
    app.down();
    let reports: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(app.state("reports.json")).expect("it is there")).expect("JSON");
    let order: Vec<&str> = reports["reports"]
        .as_array()
        .expect("an array")
        .iter()
        .filter(|report| report["facts"]["event"] == "stopped")
        .filter_map(|report| report["facts"]["internal_name"].as_str())
        .collect();
    assert_eq!(order, ["web-1", "api-1", "db-1"]);
}

#[test]
fn a_run_that_is_not_ready_in_time_is_ended_and_said() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["sleep"]
ready = "sdk"
ready_timeout = "50ms"
restart = "no"
"#,
    );
    app.up();
    app.wait_state("a-1", "failed");
    assert!(app.events("a-1").contains(&"not_ready".to_owned()));
}

#[test]
fn a_stopped_process_stays_stopped_until_it_is_started() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["sleep"]
restart = "always"
"#,
    );
    app.copo(&["up", "-d", "--wait"]).ok();
    let first = app.pid("a-1");
    app.copo(&["stop", "a"]).ok();
    assert_eq!(app.state_of("a-1"), "stopped");
    app.copo(&["start", "a"]).ok();
    app.wait_state("a-1", "running");
    assert_ne!(app.pid("a-1"), first);
    app.copo(&["start", "a"]).ok();
    let second = app.pid("a-1");
    app.copo(&["restart", "a-1"]).ok();
    app.wait_state("a-1", "running");
    assert_ne!(app.pid("a-1"), second);
}

#[test]
fn kill_sends_the_signal_named() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["sleep"]
restart = "no"
"#,
    );
    app.copo(&["up", "-d", "--wait"]).ok();
    app.copo(&["kill", "-s", "NOSUCH", "a"]).fails_with(2);
    app.copo(&["kill", "-s", "SIGUSR1", "a"]).ok();
    assert_eq!(app.wait_state("a-1", "failed")["signal"], "SIGUSR1");
    app.copo(&["kill", "-s", "TERM", "a"]).fails_with(3);
    app.copo(&["kill", "-s", "TERM", "nobody"]).fails_with(4);
}

#[test]
fn a_run_that_watches_for_stop_gets_the_event_before_the_signal() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["ready", "wait-stop", "print", "asked", "exit", "0"]
ready = "sdk"
stop_grace = "60s"
stop_signal = "SIGCONT"
"#,
    );
    app.copo(&["up", "-d", "--wait"]).ok();
    // The signal says nothing to this run: only the event can end it before the grace is over.
    app.copo(&["stop", "a"]).ok();
    assert_eq!(app.log("a-1"), ["asked"]);
    assert_eq!(app.ps()["a-1"]["exit_code"], 0);
}

#[test]
fn exit_on_ends_the_application_with_the_runs_code() {
    let app = App::new(
        r#"
[process.job]
executable_path = "{puppet}"
args = ["exit", "9"]
restart = "no"
[process.side]
executable_path = "{puppet}"
args = ["sleep"]
"#,
    );
    app.copo(&["up", "--exit-on", "job"]).fails_with(9);
    app.copo(&["ps"]).fails_with(5);
}

#[test]
fn foreground_up_shows_logs_and_stops_in_order_at_ctrl_c() {
    let app = App::new(SLEEPER);
    let child = app.spawn(&["up"]);
    app_is_up(&app);
    let run = app.pid("a-1");
    eventually("it printed", || app.log("a-1") == ["hello"]);
    signal(child.id(), rustix::process::Signal::INT);
    let output = child.wait_with_output().expect("copo ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.lines().any(|line| line.contains("a-1") && line.contains("hello")), "{shown}");
    assert!(!is_alive(run));
    app.copo(&["ps"]).fails_with(5);
}

#[test]
fn a_killed_foreground_up_leaves_the_application_running() {
    let app = App::new(SLEEPER);
    let mut child = app.spawn(&["up"]);
    app_is_up(&app);
    let run = app.pid("a-1");
    child.kill().expect("it runs");
    child.wait().expect("it was started here");
    assert!(is_alive(run));
    assert_eq!(app.state_of("a-1"), "running");
}

fn app_is_up(app: &App) {
    eventually("the application is up", || app.copo(&["ps", "--json"]).code == 0);
    app.wait_state("a-1", "running");
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("not 0");
    rustix::process::kill_process(pid, signal).expect("the process is there");
}

#[test]
fn the_orchestrator_signalled_to_end_stops_everything_in_order() {
    let app = App::new(SLEEPER);
    app.copo(&["up", "-d", "--wait"]).ok();
    let (run, orchestrator) = (app.pid("a-1"), app.orchestrator_pid());
    signal(orchestrator, rustix::process::Signal::TERM);
    eventually("both are gone", || !is_alive(run) && !is_alive(orchestrator));
}

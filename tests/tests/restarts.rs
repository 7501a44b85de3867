//! Restarts with sense: limits, dependents that follow, and processes with which the application ends.
#![cfg(unix)]

use std::time::{Duration, Instant};

use copo_tests::app::{is_alive, kill_9};
use copo_tests::{App, eventually};

#[test]
fn one_restart_too_many_is_given_up_and_said() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["append", "runs", "x", "exit", "4"]
backoff = { initial = "1ms", factor = 1, jitter = 1.0 }
restart_limit = { restarts = 3, window = "1h" }
"#,
    );
    app.up();
    let status = app.wait_state("a-1", "failed");
    assert_eq!((&status["exit_code"], &status["restarts"]), (&4.into(), &3.into()), "{status}");
    assert_eq!(app.read("runs").lines().count(), 4);
    let reports = app.reports();
    let failed = reports.iter().find(|report| report["facts"]["event"] == "failed").expect("it is reported");
    let reason = failed["facts"]["reason"].as_str().expect("a reason");
    assert!(reason.contains("given up after 3 restarts") && reason.contains("exit code 4"), "{reason}");

    app.copo(&["start", "a"]).ok();
    eventually("a person's start counts anew", || app.read("runs").lines().count() == 8);
    app.wait_state("a-1", "failed");
}

#[test]
fn keeping_on_trying_goes_on_at_the_cap() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["append", "runs", "x", "exit", "4"]
backoff = { initial = "1ms", max = "1h" }
restart_limit = { restarts = 1, then = "keep_trying" }
"#,
    );
    app.up();
    eventually("it ran twice", || app.read("runs").lines().count() == 2);
    app.wait_state("a-1", "backoff");
    let reports = app.reports();
    let backoff = reports.iter().find(|report| report["facts"]["event"] == "backoff").expect("it is reported");
    assert!(backoff["facts"]["reason"].as_str().is_some_and(|reason| reason.contains("3600s")), "{backoff}");
}

const SHUTDOWN: &str = r#"
[process.a]
executable_path = "{puppet}"
args = ["wait-file", "go", "exit", "4"]
restart_limit = { restarts = 1, window = "1h", then = "shutdown" }
[process.b]
executable_path = "{puppet}"
args = ["pid", "sleep"]
"#;

#[test]
fn the_application_ends_with_exit_code_1_when_restarts_are_no_use() {
    let app = App::new(SHUTDOWN);
    let up = app.spawn(&["up"]);
    eventually("b runs", || app.log("b-1").len() == 1);
    let b: u32 = app.log("b-1")[0].parse().expect("a pid");
    app.write("go", "");

    let ended = up.wait_with_output().expect("copo ends");

    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(!is_alive(b));
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("given up after 1 restart"), "{said}");
    app.copo(&["ps"]).fails_with(5);
}

/// `a` depends on `db` as these lines say.
fn on_db(lines: &str) -> App {
    let app = App::new(&format!(
        r#"
[process.db]
executable_path = "{{puppet}}"
args = ["ready", "sleep"]
ready = "sdk"
[process.a]
executable_path = "{{puppet}}"
args = ["append", "runs", "x", "sleep"]
depends_on = ["db"]
{lines}
"#
    ));
    app.copo(&["up", "-d", "--wait"]).ok();
    app
}

#[test]
fn what_depends_on_a_restarted_process_is_restarted_after_it() {
    let app = on_db("on_dependence_restart = 'restart'");
    let before = app.pid("a-1");
    kill_9(app.pid("db-1"));
    eventually("a runs anew", || app.ps()["a-1"]["pid"].as_u64().is_some_and(|pid| pid != u64::from(before)));
    app.wait_state("a-1", "running");
    eventually("it ran twice", || app.read("runs").lines().count() == 2);
    let events: Vec<String> = app.reports().iter().map(of_a_report).collect();
    let place = |event: &str| events.iter().rposition(|e| e == event).unwrap_or_else(|| panic!("{event}: {events:?}"));
    assert!(place("db-1 ready") < place("a-1 starting"), "{events:?}");
    let reports = app.reports();
    let stopping = reports.iter().find(|report| report["facts"]["event"] == "stopping").expect("it was asked to stop");
    assert!(stopping["facts"]["reason"].as_str().is_some_and(|why| why.contains("db-1")), "{stopping}");
}

fn of_a_report(report: &serde_json::Value) -> String {
    let facts = &report["facts"];
    let text = |key: &str| facts[key].as_str().unwrap_or_default().to_owned();
    format!("{} {}", text("internal_name"), text("event"))
}

#[test]
fn what_depends_on_an_ended_process_is_stopped_or_left_alone() {
    let app = on_db("on_dependence_restart = 'stop'");
    app.copo(&["restart", "db"]).ok();
    app.wait_state("a-1", "stopped");
    app.wait_state("db-1", "running");

    let app = on_db("");
    let pid = app.pid("a-1");
    app.copo(&["restart", "db"]).ok();
    app.wait_state("db-1", "running");
    assert_eq!(app.pid("a-1"), pid);
}

/// The significant process ends as this puppet says, once `go` is there; `b` would run for ever.
fn significant(end: &str) -> App {
    App::new(&format!(
        r#"
[process.test]
executable_path = "{{puppet}}"
args = ["wait-file", "go", {end}]
restart = "no"
significant = true
success_exit_codes = [0, 5]
[process.b]
executable_path = "{{puppet}}"
args = ["print", "up", "sleep"]
"#
    ))
}

#[test]
fn up_ends_with_the_exit_code_of_the_significant_process() {
    for (end, code) in [("'exit', '0'", 0), ("'exit', '3'", 3), ("'exit', '5'", 5), ("'abort'", 128 + 6)] {
        let app = significant(end);
        let up = app.spawn(&["up"]);
        eventually("b runs", || app.log("b-1") == ["up"]);
        app.write("go", "");
        let ended = up.wait_with_output().expect("copo ends");
        assert_eq!(ended.status.code(), Some(code), "{end}: {ended:?}");
        app.copo(&["ps"]).fails_with(5);
    }
}

#[test]
fn up_wait_ends_with_it_too_and_a_person_who_stops_it_gets_0() {
    let app = App::new(
        r#"
[process.test]
executable_path = "{puppet}"
args = ["exit", "7"]
restart = "no"
significant = true
ready = "sdk"
[process.b]
executable_path = "{puppet}"
args = ["sleep"]
"#,
    );
    app.copo(&["up", "-d", "--wait"]).fails_with(7);
    let began = Instant::now();
    app.down();
    assert!(began.elapsed() < Duration::from_secs(30), "it goes down by itself");

    let app = significant("'exit', '3'");
    let up = app.spawn(&["up"]);
    eventually("b runs", || app.log("b-1") == ["up"]);
    app.copo(&["stop", "test"]).ok();
    app.wait_state("b-1", "running");
    app.down();
    assert_eq!(up.wait_with_output().expect("copo ends").status.code(), Some(0));
}

//! An orchestrator that is killed is followed by one that takes over all it had.
#![cfg(target_os = "linux")]

use copo_tests::app::{is_alive, kill_9};
use copo_tests::{App, eventually, eventually_some};

/// Kills the orchestrator, and has another one.
fn another(app: &App) {
    let orchestrator = app.orchestrator_pid();
    kill_9(orchestrator);
    eventually("it is gone", || !is_alive(orchestrator));
    app.copo(&["up", "-d", "--wait"]).ok();
}

fn pid_in_log(app: &App, name: &str) -> u32 {
    eventually_some("a pid in the log", || app.log(name).first().and_then(|line| line.parse::<u32>().ok()))
}

#[test]
fn what_a_killed_orchestrator_left_is_adopted_as_it_was() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["grandchild", "ready", "sleep"]
ready = "sdk"
[process.crashed]
executable_path = "{puppet}"
args = ["wait-file", "crash", "wait-file", "go", "exit", "7"]
backoff = { initial = "1ms" }
[process.headless]
executable_path = "{puppet}"
args = ["grandchild", "wait-file", "go", "exit", "0"]
restart = "no"
"#,
    );
    app.copo(&["up", "-d"]).ok();
    eventually("a is ready", || app.ps()["a-1"]["ready"] == true);
    app.wait_state("crashed-1", "running");
    kill_9(app.pid("crashed-1"));
    eventually("it was restarted", || app.ps()["crashed-1"]["restarts"] == 1);
    app.wait_state("crashed-1", "running");
    let of_a = pid_in_log(&app, "a-1");
    let of_headless = pid_in_log(&app, "headless-1");
    let before = app.ps();
    let (orchestrator, leader) = (app.orchestrator_pid(), app.pid("headless-1"));
    kill_9(orchestrator);
    eventually("it is gone", || !is_alive(orchestrator));
    app.write("go", "");
    eventually("one main process ends meanwhile", || !is_alive(leader));

    app.copo(&["up", "-d", "--wait"]).ok();

    assert_eq!(app.ps()["a-1"], before["a-1"], "pid, start time, readiness and all");
    assert_eq!(app.ps()["crashed-1"], before["crashed-1"]);
    assert!(is_alive(of_a));
    eventually("what a leader that ended had left is gone", || !is_alive(of_headless));
    let events = app.events("a-1");
    assert_eq!(events.iter().filter(|event| *event == "started").count(), 1, "{events:?}");
    assert_eq!(events.last().map(String::as_str), Some("adopted"));
    let late = app
        .reports()
        .into_iter()
        .find(|report| report["facts"]["event"] == "exited" && report["facts"]["internal_name"] == "headless-1");
    let late = late.expect("its end is reported");
    assert!(late["facts"]["reason"].as_str().is_some_and(|reason| reason.contains("no orchestrator")), "{late}");
    app.write("crash", "");
    eventually("how it ended is known", || app.ps()["crashed-1"]["exit_code"] == 7);
}

#[test]
fn an_adopted_run_is_stopped_in_order() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["on-term", "3", "grandchild", "sleep"]
"#,
    );
    app.copo(&["up", "-d", "--wait"]).ok();
    let grandchild = pid_in_log(&app, "a-1");
    let pid = app.pid("a-1");
    another(&app);
    assert_eq!(app.pid("a-1"), pid);
    app.copo(&["stop", "a"]).ok();
    assert!(!is_alive(pid) && !is_alive(grandchild));
    assert_eq!(app.ps()["a-1"]["exit_code"], 3);
    app.copo(&["start", "a"]).ok();
    app.wait_state("a-1", "running");
    another(&app);
    app.down();
    assert!(!app.state("orchestrator/state").exists() && !app.state("pids/a-1.pid").exists());
}

#[test]
fn what_copo_toml_has_no_more_is_stopped_and_reported() {
    let kept = "[process.kept]\nexecutable_path = \"{puppet}\"\nargs = [\"sleep\"]\n";
    let app = App::new(&format!(
        "{kept}[process.gone]\nexecutable_path = \"{{puppet}}\"\nargs = [\"on-term\", \"3\", \"sleep\"]\n"
    ));
    app.copo(&["up", "-d", "--wait"]).ok();
    let (kept_pid, gone) = (app.pid("kept-1"), app.pid("gone-1"));
    app.configure(kept);
    another(&app);
    eventually("it is stopped", || !is_alive(gone));
    assert_eq!(app.pid("kept-1"), kept_pid);
    eventually("it is reported", || app.events("gone-1").ends_with(&["exited".to_owned(), "stopped".to_owned()]));
    assert_eq!(app.ps().len(), 1);
}

//! `@group` as a name.
#![cfg(unix)]

use copo_tests::App;

/// db and api are the backend, web is not.
const THREE: &str = r#"
[process.db]
executable_path = "{puppet}"
args = ["print", "db says hello", "report", "of db", "sleep"]
groups = ["backend", "all"]
[process.api]
executable_path = "{puppet}"
args = ["print", "api says hello", "sleep"]
groups = ["backend", "all"]
replicas = 2
[process.web]
executable_path = "{puppet}"
args = ["print", "web says hello", "sleep"]
groups = ["all"]
"#;

fn states(app: &App) -> Vec<(String, String)> {
    let state = |process: &serde_json::Value| process["state"].as_str().expect("a state").to_owned();
    app.ps().iter().map(|(name, process)| (name.clone(), state(process))).collect()
}

fn are(app: &App, state: &str, names: &[&str]) {
    let those: Vec<String> = states(app).into_iter().filter(|(_, is)| is == state).map(|(name, _)| name).collect();
    assert_eq!(those, names);
}

#[test]
fn a_group_stops_starts_and_restarts_as_one() {
    let app = App::new(THREE);
    app.copo(&["up", "-d", "--wait"]).ok();
    app.copo(&["stop", "@backend"]).ok();
    are(&app, "running", &["web-1"]);
    app.copo(&["start", "@backend"]).ok();
    app.copo(&["wait", "@backend", "--timeout", "60"]).ok();
    let before = [app.pid("db-1"), app.pid("api-2"), app.pid("web-1")];
    app.copo(&["restart", "@backend"]).ok();
    app.copo(&["wait", "@all", "--timeout", "60"]).ok();
    let after = [app.pid("db-1"), app.pid("api-2"), app.pid("web-1")];
    assert!(before[0] != after[0] && before[1] != after[1] && before[2] == after[2], "{before:?} {after:?}");
    app.copo(&["kill", "-s", "KILL", "@backend"]).ok();
    app.wait_state("db-1", "running");
    app.copo(&["scale", "@backend=3"]).ok();
    assert!(app.ps().contains_key("db-3") && app.ps().contains_key("api-3"));
}

#[test]
fn up_brings_up_a_group_and_what_it_depends_on() {
    let app = App::new(THREE);
    app.copo(&["up", "-d", "--wait", "@backend"]).ok();
    are(&app, "running", &["api-1", "api-2", "db-1"]);
    are(&app, "idle", &["web-1"]);
}

#[test]
fn ps_logs_and_reports_show_a_group_with_and_without_an_orchestrator() {
    let app = App::new(THREE);
    app.copo(&["up", "-d", "--wait"]).ok();
    copo_tests::wait::eventually("all have written", || {
        ["db-1", "api-1", "api-2", "web-1"].iter().all(|name| !app.log(name).is_empty())
    });
    let ps = app.copo(&["ps", "@backend", "--json"]).ok().json();
    let names: Vec<_> = ps.as_array().expect("an array").iter().map(|p| p["internal_name"].as_str()).collect();
    assert_eq!(names, [Some("db-1"), Some("api-1"), Some("api-2")]);
    assert_eq!(ps[0]["groups"], serde_json::json!(["backend", "all"]));
    assert!(!app.copo(&["ps", "web"]).ok().stdout.contains("db-1"));

    let look = || {
        let logs = app.copo(&["logs", "@backend"]).ok().stdout;
        assert!(logs.contains("db says") && logs.contains("api says") && !logs.contains("web says"), "{logs}");
        let reports = app.copo(&["reports", "--process", "@backend"]).ok().stdout;
        assert!(reports.contains("of db") && reports.contains("api-2") && !reports.contains("web-1"), "{reports}");
    };
    look();
    app.down();
    look();
}

#[test]
fn a_group_that_is_not_there_is_no_such_name() {
    let app = App::new(THREE);
    app.copo(&["up", "-d", "@bakend"]).fails_with(4);
    app.up();
    for args in [
        &["start", "@bakend"][..],
        &["stop", "@bakend"],
        &["restart", "@bakend"],
        &["wait", "@bakend"],
        &["kill", "@bakend"],
        &["trigger", "@bakend"],
        &["ps", "@bakend"],
        &["logs", "@bakend"],
        &["reports", "--process", "@bakend"],
        &["scale", "@bakend=2"],
    ] {
        let ran = app.copo(args).fails_with(4);
        assert!(ran.stderr.contains("@bakend"), "{args:?}: {}", ran.stderr);
    }
    let stop = app.copo(&["stop", "@bakend"]).fails_with(4);
    assert!(stop.stderr.contains("is @backend meant?"), "{}", stop.stderr);
}

#[test]
fn exit_on_a_group_ends_with_the_first_of_it() {
    let app = App::new(
        r#"
[process.one]
executable_path = "{puppet}"
args = ["exit", "7"]
groups = ["tests"]
restart = "no"
[process.two]
executable_path = "{puppet}"
args = ["sleep"]
groups = ["tests"]
"#,
    );
    app.copo(&["up", "--exit-on", "@tests"]).fails_with(7);
}

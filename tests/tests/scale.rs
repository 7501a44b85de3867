//! `copo scale`: instances that come and go.
#![cfg(unix)]

use copo_tests::App;
use copo_tests::app::is_alive;
use copo_tests::wait::eventually;
use serde_json::json;

const SLEEPER: &str = "[process.web]\nexecutable_path = \"{puppet}\"\nargs = [\"print\", \"up\", \"sleep\"]\n";

fn names(app: &App) -> Vec<String> {
    app.ps().into_keys().collect()
}

#[test]
fn scaling_starts_and_stops_the_highest_numbers_and_leaves_the_others_alone() {
    let app = App::new(SLEEPER);
    app.copo(&["up", "-d", "--wait"]).ok();
    let first = app.pid("web-1");

    let up = app.copo(&["scale", "web=3", "--json"]).ok();
    assert_eq!(up.json(), json!([{ "process": "web", "from": 1, "to": 3 }]));
    app.wait_state("web-2", "running");
    let third = app.wait_state("web-3", "running")["pid"].as_u64().expect("a pid");
    assert!(app.state("web-3/stdio").exists());
    eventually("web-3 has written its log", || app.log("web-3") == ["up"]);

    let down = app.copo(&["scale", "web=1"]).ok();
    assert_eq!(down.stdout, "web: 3 → 1 instance\n");
    // The answer comes when they are gone.
    assert!(!is_alive(u32::try_from(third).expect("a pid")));
    assert_eq!(names(&app), ["web-1"]);
    assert_eq!(app.pid("web-1"), first);
    eventually("the socket is gone", || !app.state("web-3/stdio").exists());
    assert_eq!(app.log("web-3"), ["up"], "what it wrote can still be read");
    app.copo(&["logs", "web-3"]).ok();
    app.copo(&["start", "web-3"]).fails_with(4);
}

#[test]
fn none_is_a_number_too() {
    let app = App::new(SLEEPER);
    app.copo(&["up", "-d", "--wait"]).ok();
    app.copo(&["scale", "web=0"]).ok();
    assert_eq!(app.copo(&["ps", "--json"]).ok().json(), json!([]));
    app.copo(&["scale", "web=0", "--json"]).ok();
    app.copo(&["scale", "web=2"]).ok();
    app.wait_state("web-2", "running");
    app.down();
}

#[test]
fn wrong_numbers_and_names_are_told() {
    let app = App::new(SLEEPER);
    app.copo(&["scale", "web=2"]).fails_with(5);
    app.up();
    for (to, code) in [("web", 2), ("web=x", 2), ("web=-1", 2), ("web=10001", 2), ("nobody=1", 4), ("@none=1", 4)] {
        let ran = app.copo(&["scale", to]).fails_with(code);
        assert!(ran.stderr.contains(to.split('=').next().expect("a name")), "{to}: {}", ran.stderr);
    }
    let instance = app.copo(&["scale", "web-1=2"]).fails_with(2);
    assert!(instance.stderr.contains("cannot scale web-1: it is an instance"), "{}", instance.stderr);
}

#[test]
fn a_run_scales_only_with_control() {
    let script = |control: &str| {
        format!(
            "[process.web]\nexecutable_path = \"{{puppet}}\"\nargs = [\"sleep\"]\n\
             [process.script]\nexecutable_path = \"sh\"\nargs = [\"-c\", \"copo scale web=2; exit $?\"]\n\
             restart = \"no\"\n{control}\n"
        )
    };
    let app = App::new(&script(""));
    app.up();
    assert_eq!(app.wait_state("script-1", "failed")["exit_code"], 1);
    assert!(app.log("script-1").join("\n").contains("control = true"));
    assert_eq!(names(&app), ["script-1", "web-1"]);
    app.down();

    app.configure(&script("control = true"));
    app.up();
    app.wait_state("script-1", "finished");
    app.wait_state("web-2", "running");
}

#[test]
fn a_process_that_is_stopped_scales_by_new_instances_only() {
    let app = App::new(SLEEPER);
    app.copo(&["up", "-d", "--wait"]).ok();
    app.copo(&["stop", "web"]).ok();
    app.copo(&["scale", "web=2"]).ok();
    app.wait_state("web-2", "running");
    assert_eq!(app.state_of("web-1"), "stopped");
}

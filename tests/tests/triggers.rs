//! All four triggers, with real processes.
#![cfg(unix)]

use copo_tests::{App, eventually};

#[test]
fn a_manual_process_runs_when_asked_with_the_arguments_given() {
    let app = App::new(
        r#"
[process.job]
executable_path = "{puppet}"
args = ["exit"]
trigger_type = "manual"
[process.say]
executable_path = "{puppet}"
args = ["args", "one"]
trigger_type = "manual"
"#,
    );
    app.up();
    assert_eq!(app.state_of("job-1"), "idle");
    app.copo(&["trigger", "job", "--wait", "--", "6"]).fails_with(6);
    app.copo(&["trigger", "job", "--wait", "--", "0"]).ok();
    app.copo(&["trigger", "say", "--wait", "--", "two three", "$HOME"]).ok();
    assert_eq!(app.log("say-1"), ["one|two three|$HOME"]);
    app.copo(&["trigger", "nobody"]).fails_with(4);
}

#[test]
fn triggering_what_runs_is_a_conflict_unless_it_queues_or_replaces() {
    let app = App::new(
        r#"
[process.skip]
executable_path = "{puppet}"
args = ["append", "skip", "x", "wait-file", "go"]
trigger_type = "manual"
[process.queue]
executable_path = "{puppet}"
args = ["append", "queue", "x", "wait-file", "go"]
trigger_type = "manual"
overlap = "queue"
[process.replace]
executable_path = "{puppet}"
args = ["append", "replace", "x", "wait-file", "go"]
trigger_type = "manual"
overlap = "replace"
[process.allow]
executable_path = "{puppet}"
args = ["append", "allow", "x", "wait-file", "go"]
trigger_type = "manual"
overlap = "allow"
max_instances = 2
"#,
    );
    app.up();
    let runs = |name: &str| app.read(name).lines().count();
    for name in ["skip", "queue", "replace", "allow"] {
        app.copo(&["trigger", name]).ok();
        eventually("the first run", || runs(name) == 1);
    }
    let said = app.copo(&["trigger", "skip"]).fails_with(1);
    assert!(said.stderr.contains("skip"), "{}", said.stderr);
    app.copo(&["trigger", "queue"]).ok();
    app.copo(&["trigger", "replace"]).ok();
    eventually("the run is replaced", || runs("replace") == 2);
    app.copo(&["trigger", "allow"]).ok();
    eventually("a second instance", || runs("allow") == 2);
    app.copo(&["trigger", "allow"]).fails_with(1);
    assert_eq!(runs("queue"), 1);

    app.write("go", "");

    eventually("the queued run follows", || runs("queue") == 2);
    app.wait_state("queue-1", "finished");
    assert_eq!((runs("skip"), runs("replace"), runs("allow")), (1, 2, 2));
}

#[test]
fn cron_fires_tells_the_time_it_was_scheduled_for_and_skips_while_it_runs() {
    let app = App::new(
        r#"
[process.tick]
executable_path = "{puppet}"
args = ["env", "COPO_SCHEDULED_TIME"]
trigger_type = "cron"
trigger_definition = "* * * * * *"
[process.long]
executable_path = "{puppet}"
args = ["append", "long", "x", "sleep"]
trigger_type = "cron"
trigger_definition = "* * * * * *"
[process.yearly]
executable_path = "{puppet}"
trigger_type = "cron"
trigger_definition = "@yearly"
timezone = "Europe/Vienna"
"#,
    );
    app.up();
    eventually("three ticks", || app.log("tick-1").len() >= 3);
    let times: Vec<u64> = app.log("tick-1").iter().map(|line| line.parse().expect("microseconds")).collect();
    assert!(times.windows(2).all(|pair| pair[1] > pair[0]), "{times:?}");
    assert!(times.iter().all(|time| time % 1_000_000 == 0), "{times:?}");
    let is_skipped =
        |report: &serde_json::Value| report["facts"]["event"] == "skipped" && report["facts"]["process"] == "long";
    eventually("the overlapping one is skipped, and said", || app.reports().iter().any(is_skipped));
    assert_eq!(app.read("long").lines().count(), 1);
    let yearly = &app.ps()["yearly-1"];
    assert_eq!(yearly["state"], "idle");
    assert!(yearly["next_run"].as_u64().is_some(), "{yearly}");
}

#[test]
fn dependence_finish_fires_once_each_time_all_sources_have_finished() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["exit", "0"]
trigger_type = "manual"
[process.b]
executable_path = "{puppet}"
args = ["exit"]
trigger_type = "manual"
[process.good]
executable_path = "{puppet}"
args = ["append", "good", "x"]
trigger_type = "dependence_finish"
depends_on = ["a", "b"]
[process.bad]
executable_path = "{puppet}"
args = ["append", "bad", "x"]
trigger_type = "dependence_finish"
trigger_definition = "failed"
depends_on = ["a", "b"]
[process.any]
executable_path = "{puppet}"
args = ["append", "any", "x"]
trigger_type = "dependence_finish"
trigger_definition = "finished"
depends_on = ["a", "b"]
[process.chained]
executable_path = "{puppet}"
args = ["append", "chained", "x"]
trigger_type = "dependence_finish"
depends_on = ["any"]
"#,
    );
    app.up();
    let runs = |name: &str| app.read(name).lines().count();
    let run = |name: &str, code: &str| app.copo(&["trigger", name, "--wait", "--", code]);
    app.copo(&["trigger", "a", "--wait"]).ok();
    app.copo(&["trigger", "a", "--wait"]).ok();
    assert_eq!((runs("good"), runs("any")), (0, 0), "b has not finished yet");

    run("b", "1").fails_with(1);
    eventually("failed and finished fire", || (runs("bad"), runs("any")) == (1, 1));
    eventually("and what follows them", || runs("chained") == 1);
    assert_eq!(runs("good"), 0);

    run("b", "0").ok();
    eventually("b's newer finish makes the first pair good", || runs("good") == 1);
    app.copo(&["trigger", "a", "--wait"]).ok();
    eventually("both again since it last fired", || runs("any") == 2);
    assert_eq!(runs("bad"), 1);
}

#[test]
fn a_stop_is_no_finish() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["on-term", "0", "print", "up", "sleep"]
[process.after]
executable_path = "{puppet}"
args = ["append", "after", "x"]
trigger_type = "dependence_finish"
trigger_definition = "finished"
depends_on = ["a"]
[process.marker]
executable_path = "{puppet}"
args = ["exit", "0"]
trigger_type = "manual"
"#,
    );
    app.up();
    eventually("a is up", || app.log("a-1") == ["up"]);
    app.copo(&["stop", "a"]).ok();
    app.copo(&["trigger", "marker", "--wait"]).ok();
    assert_eq!(app.state_of("after-1"), "idle");
    assert_eq!(app.read("after"), "");
}

#[test]
fn a_gate_holds_a_dependence_finish_run_back() {
    let app = App::new(
        r#"
[process.gate]
executable_path = "{puppet}"
args = ["wait-file", "go", "ready", "sleep"]
ready = "sdk"
[process.a]
executable_path = "{puppet}"
args = ["exit", "0"]
[process.after]
executable_path = "{puppet}"
args = ["append", "after", "x"]
trigger_type = "dependence_finish"
depends_on = ["a", { process = "gate", condition = "ready" }]
"#,
    );
    app.up();
    app.wait_state("a-1", "finished");
    app.wait_state("after-1", "waiting");
    assert_eq!(app.read("after"), "");
    app.write("go", "");
    app.wait_state("after-1", "finished");
    assert_eq!(app.read("after").lines().count(), 1);
}

#[test]
fn starting_one_by_name_starts_what_it_depends_on() {
    let app = App::new(
        r#"
[process.db]
executable_path = "{puppet}"
args = ["sleep"]
[process.web]
executable_path = "{puppet}"
args = ["sleep"]
depends_on = ["db"]
[process.other]
executable_path = "{puppet}"
args = ["sleep"]
"#,
    );
    app.copo(&["up", "-d", "--wait", "web"]).ok();
    app.wait_state("web-1", "running");
    assert_eq!(app.state_of("db-1"), "running");
    assert_ne!(app.state_of("other-1"), "running");
    app.copo(&["start", "other"]).ok();
    app.wait_state("other-1", "running");
}

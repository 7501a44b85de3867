//! `copo up` on a running application, `copo diff`, and what `copo restart` says of a file that has changed.
#![cfg(unix)]

use copo_tests::app::is_alive;
use copo_tests::{App, eventually};
use serde_json::{Value, json};

/// Processes that run until they are stopped.
fn sleepers(processes: &[(&str, &str)]) -> String {
    let table = |(name, lines): &(&str, &str)| {
        format!(
            "[process.{name}]\nexecutable_path = \"{{puppet}}\"\nargs = [\"print\", \"{name} is up\", \"sleep\"]\n{lines}\n"
        )
    };
    processes.iter().map(table).collect()
}

fn running(processes: &[(&str, &str)]) -> App {
    let app = App::new(&sleepers(processes));
    app.copo(&["up", "-d", "--wait"]).ok();
    app
}

fn names(app: &App) -> Vec<String> {
    app.ps().into_keys().collect()
}

/// What `copo diff` lists: "restart web".
fn differences(app: &App) -> Vec<String> {
    let diff = app.copo(&["diff", "--json"]);
    let changes = diff.json();
    let changes = changes.as_array().expect("an array");
    assert_eq!(diff.code, i32::from(!changes.is_empty()), "1 says that there is a difference");
    let text = |value: &Value| value.as_str().unwrap_or("context").to_owned();
    changes.iter().map(|change| format!("{} {}", text(&change["change"]), text(&change["process"]))).collect()
}

#[test]
fn only_what_changed_restarts() {
    let app = running(&[("a", ""), ("b", ""), ("old", "")]);
    assert_eq!(differences(&app), Vec::<String>::new());
    let before = [app.pid("a-1"), app.pid("b-1"), app.pid("old-1")];

    app.configure(&sleepers(&[("a", ""), ("b", "env = { X = \"1\" }"), ("new", "")]));
    assert_eq!(differences(&app), ["restart b", "add new", "remove old"]);
    assert_eq!([app.pid("a-1"), app.pid("b-1"), app.pid("old-1")], before, "diff changes nothing");

    let up = app.copo(&["up", "-d"]).ok();
    for told in ["~ b restarts", "env.X: (not set) → \"1\"", "+ new is new", "- old stops"] {
        assert!(up.stderr.contains(told), "{told}: {}", up.stderr);
    }
    assert_eq!(up.stdout, "");
    // The answer comes when it is done.
    assert_eq!(names(&app), ["a-1", "b-1", "new-1"]);
    assert!(!is_alive(before[1]) && !is_alive(before[2]));
    assert_eq!(app.pid("a-1"), before[0]);
    app.wait_state("b-1", "running");
    app.wait_state("new-1", "running");
    assert!(!app.state("old-1/stdio").exists() && app.state("new-1/stdio").exists());
    assert_eq!(app.log("old-1"), ["old is up"], "its log stays");

    assert_eq!(differences(&app), Vec::<String>::new());
    assert!(app.copo(&["up", "-d"]).ok().stderr.contains("nothing to change"));
    let reports = app.reports();
    let config = reports.iter().filter(|report| report["facts"]["event"] == "config").collect::<Vec<_>>();
    assert_eq!(config.len(), 1, "{config:?}");
    assert!(
        config[0]["report_buff"].as_str().is_some_and(|text| text.contains("b restarts, new is new, old is no more"))
    );
}

#[test]
fn what_is_removed_stops_after_what_depends_on_it() {
    let app = running(&[("db", ""), ("web", "depends_on = [\"db\"]"), ("other", "")]);
    app.configure(&sleepers(&[("other", "")]));
    app.copo(&["up", "-d"]).ok();
    assert_eq!(names(&app), ["other-1"]);
    let ends: Vec<String> = app
        .reports()
        .iter()
        .filter(|report| report["facts"]["event"] == "exited")
        .map(|report| report["facts"]["process"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(ends, ["web", "db"]);
}

#[test]
fn what_needs_no_restart_holds_at_once() {
    let app = running(&[("a", "")]);
    let pid = app.pid("a-1");
    app.configure(&sleepers(&[("a", "restart = \"always\"\nstop_grace = \"3s\"\nlog = { size = \"1KiB\" }")]));
    let diff = app.copo(&["diff"]).fails_with(1);
    assert!(diff.stdout.starts_with("= a changes without a restart\n"), "{}", diff.stdout);
    assert!(diff.stdout.contains("    stop_grace: 10s → 3s\n"), "{}", diff.stdout);
    app.copo(&["up", "-d"]).ok();
    assert_eq!(app.pid("a-1"), pid);
    assert_eq!(differences(&app), Vec::<String>::new());
}

#[test]
fn a_schedule_and_a_trigger_change_while_it_waits() {
    let job =
        |lines: &str| format!("[process.job]\nexecutable_path = \"{{puppet}}\"\nargs = [\"exit\", \"0\"]\n{lines}\n");
    let app = App::new(&job("trigger_type = \"cron\"\ntrigger_definition = \"0 0 1 1 *\""));
    app.up();
    let first = app.ps()["job-1"]["next_run"].clone();
    app.configure(&job("trigger_type = \"cron\"\ntrigger_definition = \"* * * * * *\""));
    app.copo(&["up", "-d"]).ok();
    assert_ne!(app.ps()["job-1"]["next_run"], first);
    app.wait_state("job-1", "finished");
    app.configure(&job("trigger_type = \"manual\""));
    app.copo(&["up", "-d"]).ok();
    assert!(app.ps()["job-1"]["next_run"].is_null());
}

#[test]
fn a_broken_file_changes_nothing() {
    let app = running(&[("a", "")]);
    let pid = app.pid("a-1");
    app.configure("[process.a]\nexecutable = \"x\"\n");
    for args in [&["up", "-d"][..], &["diff"], &["up"]] {
        let ran = app.copo(args).fails_with(2);
        assert!(ran.stderr.contains("copo.toml:3:1: cannot use the key \"executable\""), "{}", ran.stderr);
    }
    assert_eq!(app.pid("a-1"), pid);
    app.configure(&sleepers(&[("a", "")]));
}

#[test]
fn another_file_is_refused() {
    let app = running(&[("a", "")]);
    app.write("other/copo.toml", "application = \"t\"\n");
    let orchestrator = app.orchestrator_pid().to_string();
    for command in [&["up", "-d"][..], &["up"], &["diff"]] {
        let ran = app.copo(&[&["-f", "other/copo.toml"], command].concat()).fails_with(1);
        assert!(ran.stderr.contains(&orchestrator), "{}", ran.stderr);
        assert!(ran.stderr.contains(&app.path("copo.toml").canonicalize().expect("it is there").display().to_string()));
    }
}

#[test]
fn diff_needs_an_orchestrator() {
    App::new(&sleepers(&[("a", "")])).copo(&["diff"]).fails_with(5);
}

#[test]
fn names_bring_up_only_those() {
    let app = App::new(&sleepers(&[("a", ""), ("b", ""), ("c", "depends_on = [\"b\"]")]));
    app.copo(&["up", "-d", "a"]).ok();
    app.wait_state("a-1", "running");
    assert_eq!(app.state_of("b-1"), "idle");
    let pid = app.pid("a-1");
    app.copo(&["up", "-d", "--wait", "c"]).ok();
    assert_eq!([app.state_of("b-1"), app.state_of("c-1")], ["running", "running"]);
    assert_eq!(app.pid("a-1"), pid);
    app.copo(&["up", "-d", "nobody"]).fails_with(4);
    app.copo(&["stop", "b", "c"]).ok();
    app.copo(&["up", "-d", "--wait"]).ok();
    assert_eq!([app.state_of("b-1"), app.state_of("c-1")], ["running", "running"], "up brings up what was stopped");
}

#[test]
fn what_has_finished_runs_again_only_when_it_changed() {
    let job = |number: u8| {
        let append = format!("\"append\", \"ran\", \"{number}\"");
        format!("[process.job]\nexecutable_path = \"{{puppet}}\"\nargs = [{append}]\n")
    };
    let app = App::new(&job(1));
    app.copo(&["up", "-d", "--wait"]).ok();
    app.wait_state("job-1", "finished");
    app.copo(&["up", "-d", "--wait"]).ok();
    app.configure(&job(2));
    app.copo(&["up", "-d", "--wait"]).ok();
    eventually("it has run again", || app.read("ran") == "1\n2\n");
}

#[test]
fn the_file_wins_over_scale() {
    let app = running(&[("a", "replicas = 2")]);
    let first = app.pid("a-1");
    app.copo(&["scale", "a=4"]).ok();
    assert_eq!(differences(&app), ["scale a"]);
    app.copo(&["up", "-d"]).ok();
    assert_eq!(names(&app), ["a-1", "a-2"]);
    assert_eq!(app.pid("a-1"), first);
}

#[test]
fn the_context_changes_as_far_as_it_can() {
    let app = App::new("[context]\nheaders = [\"one\"]\n");
    app.up();
    app.configure("[context]\nheaders = [\"one\", \"two\"]\nretain = { records = 2 }\ndurability = \"memory\"\n");
    let up = app.copo(&["up", "-d"]).ok();
    assert!(up.stderr.contains("! [context] cannot change while it is up"), "{}", up.stderr);
    assert!(up.stderr.contains("durability: crash → memory"), "{}", up.stderr);
    assert_eq!(app.copo(&["udd", "headers"]).ok().stdout, "one\ntwo\n");
    for n in 0..5 {
        app.copo(&["udd", "send", &n.to_string()]).ok();
    }
    assert_eq!(app.records().len(), 2);
    let left = app.copo(&["diff", "--json"]).fails_with(1).json();
    let setting = json!([{ "key": "durability", "from": "crash", "to": "memory" }]);
    assert_eq!(left, json!([{ "change": "needs_down", "process": null, "settings": setting }]));
}

#[test]
fn restart_warns_of_a_file_that_has_changed_and_does_not_apply_it() {
    let app = running(&[("a", "")]);
    assert_eq!(app.copo(&["restart", "a"]).ok().stderr, "");
    app.configure(&sleepers(&[("a", "env = { X = \"1\" }")]));
    let restarted = app.copo(&["restart", "a"]).ok();
    assert!(restarted.stderr.contains("copo.toml has changed"), "{}", restarted.stderr);
    assert_eq!(differences(&app), ["restart a"], "it was not applied");
    app.configure("[process.a]\n");
    let restarted = app.copo(&["restart", "a"]).ok();
    assert!(restarted.stderr.contains("executable_path is missing"), "{}", restarted.stderr);
    app.configure(&sleepers(&[("a", "")]));
}

#[test]
fn a_foreground_up_follows_what_ran_and_a_signal_only_detaches() {
    let app = running(&[("a", "")]);
    app.configure(&sleepers(&[("a", ""), ("b", "")]));
    let up = app.spawn(&["up"]);
    app.wait_state("b-1", "running");
    eventually("b has written", || app.log("b-1") == ["b is up"]);
    let pid = rustix::process::Pid::from_raw(i32::try_from(up.id()).expect("a pid")).expect("not 0");
    // It hears the signal only once it follows; its first words say so.
    let mut up = up;
    let mut stderr = std::io::BufReader::new(up.stderr.take().expect("piped"));
    let mut told = String::new();
    std::io::BufRead::read_line(&mut stderr, &mut told).expect("stderr is read");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is there");
    std::io::Read::read_to_string(&mut stderr, &mut told).expect("stderr is read");
    let ended = up.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(0), "{told}");
    assert!(told.contains("+ b is new") && told.contains("detached"), "{told}");
    assert_eq!([app.state_of("a-1"), app.state_of("b-1")], ["running", "running"]);
}

#[test]
fn a_foreground_guest_ends_with_the_application() {
    let app = running(&[("a", "")]);
    let up = app.spawn(&["up"]);
    app.configure(&sleepers(&[("a", ""), ("late", "")]));
    app.copo(&["up", "-d", "--wait"]).ok();
    app.down();
    let ended: copo_tests::Ran = up.wait_with_output().expect("it ends").into();
    ended.ok();
}

//! Starting and restarting, with real processes.
#![cfg(unix)]

use copo_tests::app::{is_alive, kill_9};
use copo_tests::{App, eventually};

const SLEEPER: &str = r#"
[process.a]
executable_path = "{puppet}"
args = ["print", "hello", "sleep"]
"#;

#[test]
fn up_starts_what_starts_with_the_application_and_down_leaves_nothing() {
    let app = App::new(SLEEPER);
    app.up();
    app.wait_state("a-1", "running");
    let (child, orchestrator) = (app.pid("a-1"), app.orchestrator_pid());
    eventually("the log holds what it printed", || app.log("a-1") == ["hello"]);
    assert_eq!(std::fs::read_to_string(app.state("pids/a-1.pid")).expect("a pid file").trim(), child.to_string());

    app.down();

    assert!(!is_alive(child) && !is_alive(orchestrator));
    assert!(!app.socket().exists() && !app.state("pids/a-1.pid").exists());
    app.copo(&["ps"]).fails_with(5);
    app.down();
}

#[test]
fn a_second_up_finds_the_running_one_and_one_of_another_file_is_refused() {
    let app = App::new(SLEEPER);
    app.up();
    let pid = app.orchestrator_pid();
    let second = app.copo(&["up", "-d"]).ok();
    assert!(second.stderr.contains("nothing to change"), "{}", second.stderr);
    assert_eq!(app.orchestrator_pid(), pid);

    app.write("other/copo.toml", "application = \"t\"\n");
    let other = app.copo(&["up", "-d", "-f", "other/copo.toml"]).fails_with(1);
    assert!(other.stderr.contains(&pid.to_string()) && other.stderr.contains("copo.toml"), "{}", other.stderr);
}

#[test]
fn two_ups_at_once_make_one_orchestrator() {
    let app = App::new(SLEEPER);
    let children = [0; 4].map(|_| app.spawn(&["up", "-d"]));
    let codes = children.map(|child| child.wait_with_output().expect("copo ends").status.code());
    assert_eq!(codes, [Some(0); 4], "one starts it, the others find it running");
    app.wait_state("a-1", "running");
    let started = |report: &serde_json::Value| report["facts"]["event"] == "orchestrator_started";
    assert_eq!(app.reports().iter().filter(|report| started(report)).count(), 1);
    assert_eq!(app.events("a-1").iter().filter(|event| *event == "started").count(), 1);
}

#[test]
fn a_killed_process_is_started_again_and_the_others_never_notice() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["sleep"]
[process.b]
executable_path = "{puppet}"
args = ["sleep"]
"#,
    );
    app.copo(&["up", "-d", "--wait"]).ok();
    let (a, b) = (app.pid("a-1"), app.pid("b-1"));

    kill_9(a);

    eventually("a runs anew", || app.ps()["a-1"]["pid"].as_u64().is_some_and(|pid| pid != u64::from(a)));
    assert_eq!(app.pid("b-1"), b);
    assert_eq!(app.ps()["a-1"]["restarts"], 1);
    let reports = app.reports();
    let exited = reports.iter().find(|report| report["facts"]["event"] == "exited").expect("its end is reported");
    assert_eq!((&exited["facts"]["internal_name"], &exited["facts"]["signal"]), (&"a-1".into(), &"SIGKILL".into()));
}

#[test]
fn restart_policies_are_kept() {
    let app = App::new(
        r#"
[process.never]
executable_path = "{puppet}"
args = ["exit", "3"]
restart = "no"
[process.done]
executable_path = "{puppet}"
args = ["exit", "0"]
[process.odd]
executable_path = "{puppet}"
args = ["exit", "7"]
success_exit_codes = [0, 7]
[process.again]
executable_path = "{puppet}"
args = ["append", "again", "x", "exit", "1"]
backoff = { initial = "1ms", max = "5ms" }
[process.always]
executable_path = "{puppet}"
args = ["append", "always", "x", "exit", "0"]
restart = "always"
backoff = { initial = "1ms", max = "5ms" }
"#,
    );
    app.up();
    assert_eq!(app.wait_state("never-1", "failed")["exit_code"], 3);
    app.wait_state("done-1", "finished");
    assert_eq!(app.wait_state("odd-1", "finished")["exit_code"], 7);
    eventually("restarts on failure", || app.read("again").lines().count() > 3);
    eventually("restarts always", || app.read("always").lines().count() > 3);
}

#[test]
fn backoff_grows_and_is_shown() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["exit", "1"]
backoff = { initial = "1h" }
"#,
    );
    app.up();
    let status = app.wait_state("a-1", "backoff");
    assert_eq!(status["restarts"], 1, "the first restart comes at once");
    assert!(app.events("a-1").contains(&"backoff".to_owned()));
    app.copo(&["start", "a"]).ok();
    eventually("start does not wait for the delay", || {
        app.ps()["a-1"]["run"] != status["run"]
            || app.events("a-1").iter().filter(|event| *event == "started").count() > 2
    });
}

#[test]
fn an_executable_that_is_not_there_fails_alone() {
    let app = App::new(
        r#"
[process.ghost]
executable_path = "./ghost"
[process.a]
executable_path = "{puppet}"
args = ["sleep"]
"#,
    );
    app.up();
    app.wait_state("ghost-1", "failed");
    app.wait_state("a-1", "running");
    let reports = app.reports();
    let failed = reports.iter().find(|report| report["facts"]["event"] == "spawn_failed").expect("it is reported");
    assert!(failed["facts"]["reason"].as_str().is_some_and(|reason| reason.contains("ghost")), "{failed}");
}

#[test]
fn a_dependent_waits_says_why_and_starts_when_it_may() {
    let app = App::new(
        r#"
[process.db]
executable_path = "{puppet}"
args = ["wait-file", "go", "ready", "sleep"]
ready = "sdk"
[process.web]
executable_path = "{puppet}"
args = ["sleep"]
depends_on = ["db"]
"#,
    );
    app.up();
    let waiting = app.wait_state("web-1", "waiting");
    assert!(waiting["waiting_for"].as_str().is_some_and(|why| why.contains("db")), "{waiting}");
    assert_eq!(app.state_of("db-1"), "starting");
    app.write("go", "");
    app.wait_state("web-1", "running");
    assert_eq!(app.wait_state("db-1", "running")["ready"], true);
}

#[test]
fn up_wait_ends_when_all_is_ready_and_fails_when_only_a_person_could_help() {
    let app = App::new(
        r#"
[process.hand]
executable_path = "{puppet}"
args = ["sleep"]
trigger_type = "manual"
[process.web]
executable_path = "{puppet}"
args = ["sleep"]
depends_on = ["hand"]
"#,
    );
    app.copo(&["up", "-d", "--wait"]).fails_with(1);
    app.copo(&["start", "hand"]).ok();
    app.copo(&["wait", "web", "--for", "ready"]).ok();
    app.copo(&["wait", "web", "--for", "finished", "--timeout", "0.05"]).fails_with(124);
}

#[test]
fn replicas_are_instances_of_their_own() {
    let app = App::new(
        r#"
[process.w]
executable_path = "{puppet}"
args = ["env", "COPO_PROCESS", "sleep"]
replicas = 3
"#,
    );
    app.copo(&["up", "-d", "--wait"]).ok();
    for n in 1..=3 {
        let name = format!("w-{n}");
        eventually("each knows its name", || app.log(&name) == [name.as_str()]);
    }
    app.copo(&["stop", "w-2"]).ok();
    assert_eq!((app.state_of("w-1").as_str(), app.state_of("w-2").as_str()), ("running", "stopped"));
}

#[test]
fn a_child_has_a_clean_environment() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["env", "COPO_APPLICATION", "env", "COPO_PROCESS", "env", "COPO_SOCKET", "env", "COPO_STRAY", "env", "FROM_FILE", "env", "FROM_TABLE", "cwd", "sleep"]
env_file = "a.env"
env = { FROM_TABLE = "$HOME stays" }
"#,
    );
    app.write("a.env", "FROM_FILE=\"one two\"\nFROM_TABLE=loses\n");
    let mut up = app.command(&["up", "-d"]);
    assert!(up.env("COPO_STRAY", "x").status().expect("copo runs").success());
    let folder = app.folder().canonicalize().expect("it is there").display().to_string();
    let socket = app.socket().display().to_string();
    eventually("it printed all", || app.log("a-1").len() == 7);
    assert_eq!(app.log("a-1"), ["t", "a-1", socket.as_str(), "(not set)", "one two", "$HOME stays", folder.as_str()]);
}

#[test]
fn a_child_starts_with_default_signals() {
    let app = App::new(
        r#"
[process.a]
executable_path = "grep"
args = ["-E", "^Sig(Blk|Ign):", "/proc/self/status"]
"#,
    );
    if !std::path::Path::new("/proc/self/status").exists() {
        return;
    }
    app.up();
    app.wait_state("a-1", "finished");
    let sigpipe = 1u64 << 12;
    for line in app.log("a-1") {
        let mask = u64::from_str_radix(line.split_whitespace().nth(1).expect("a mask"), 16).expect("hexadecimal");
        assert_eq!(mask & if line.starts_with("SigBlk") { u64::MAX } else { sigpipe }, 0, "{line}");
    }
}

#[test]
fn waiting_for_a_record_ends_when_it_comes() {
    let app = App::new(SLEEPER);
    app.up();
    app.copo(&["wait", "--record", "done/x", "--timeout", "0.05"]).fails_with(124);
    let waiter = app.spawn(&["wait", "--record", "done/x", "--timeout", "60"]);
    app.copo(&["udd", "send", "--key", "done/x", "yes"]).ok();
    assert!(waiter.wait_with_output().expect("copo ends").status.success());
}

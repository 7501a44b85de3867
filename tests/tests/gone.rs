//! Stopped means gone: whatever a run has started, and wherever that went, is gone with it.
#![cfg(target_os = "linux")]

use std::process::Command;

use copo_tests::app::{is_alive, kill_9};
use copo_tests::{App, eventually};

/// Leaves behind one in its group, one in a session of its own, and two daemons; all hold its stdout and ignore SIGTERM.
const LEAVER: &str = r#"
[process.a]
executable_path = "{puppet}"
args = ["grandchild", "stray", "daemon", "bare-stray", "print", "up", "sleep"]
backoff = { initial = "1ms", max = "5ms" }
"#;

/// The pids that the run of this number, from 1, has printed.
fn left_behind(app: &App, run: usize) -> Vec<u32> {
    let ups = || app.log("a-1").iter().filter(|line| *line == "up").count();
    eventually(&format!("run {run} is up"), || ups() == run);
    let log = app.log("a-1");
    let of_run = log.split(|line| line == "up").nth(run - 1).expect("it is there");
    of_run.iter().map(|line| line.parse().expect("a pid")).collect()
}

fn assert_gone(pids: &[u32]) {
    let alive: Vec<_> = pids.iter().filter(|pid| is_alive(**pid)).collect();
    assert!(!pids.is_empty() && alive.is_empty(), "still there: {alive:?}");
}

/// A stop, a crash, a restart and a down, each with nothing left of the run before.
fn everything_goes(app: &App, at_a_crash: usize) {
    let first = left_behind(app, 1);
    assert_eq!(first.iter().filter(|pid| is_alive(**pid)).count(), 4);

    app.copo(&["stop", "a"]).ok();
    assert_gone(&first);

    app.copo(&["start", "a"]).ok();
    let second = left_behind(app, 2);
    kill_9(app.pid("a-1"));
    let third = left_behind(app, 3);
    assert_gone(&second[..at_a_crash]);

    app.copo(&["restart", "a"]).ok();
    assert_gone(&third);

    let fourth = left_behind(app, 4);
    app.down();
    assert_gone(&fourth);
    assert_gone(&second);
}

#[test]
fn sessions_and_daemons_go_with_their_run() {
    let app = App::new(LEAVER);
    app.up();
    everything_goes(&app, 4);
}

/// As on a machine where no cgroup can be made: in a mount namespace of its own without any.
#[test]
fn sessions_and_daemons_go_with_their_run_where_there_are_no_cgroups() {
    let app = App::new(LEAVER);
    let copo = app.command(&["up", "-d"]);
    let script = "grep -E '^[^ ]+ [^ ]+ cgroup2 ' /proc/mounts | cut -d' ' -f2 | xargs -r -n1 umount -l && exec \"$@\"";
    let mut hidden = Command::new("unshare");
    hidden.args(["-m", "sh", "-c", script, "sh"]).arg(copo.get_program()).args(copo.get_args());
    hidden.current_dir(app.folder()).env("COPO_HOME", app.home());
    let is_allowed = Command::new("unshare").args(["-m", "true"]).output().is_ok_and(|output| output.status.success());
    if !is_allowed {
        eprintln!("skipped: cgroups can be hidden by root only");
        return;
    }
    let output = hidden.output().expect("unshare runs");
    assert!(output.status.success(), "{output:?}");
    // One that has emptied its environment, and whose parent nobody signalled, is found at the end of the application.
    everything_goes(&app, 3);

    // Those of a run that was taken over may be anybody's children.
    let output = hidden.output().expect("unshare runs");
    assert!(output.status.success(), "{output:?}");
    let last = left_behind(&app, 5);
    app.kill_orchestrator();
    app.copo(&["stop", "a"]).ok();
    assert_gone(&last[..3]);
    app.down();
    assert_gone(&last);
}

#[test]
fn a_run_ends_whoever_still_holds_its_stdout() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["daemon", "print", "last words", "exit", "0"]
"#,
    );
    app.up();
    app.wait_state("a-1", "finished");
    let log = app.log("a-1");
    assert_eq!(log.last().map(String::as_str), Some("last words"));
    assert!(!is_alive(log[0].parse().expect("a pid")));
}

#[test]
fn down_names_who_keeps_it_waiting() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["ignore-term", "print", "up", "sleep"]
"#,
    );
    app.up();
    eventually("it is up", || app.log("a-1") == ["up"]);
    let pid = app.pid("a-1");
    let down = app.copo(&["down", "-t", "4"]).ok();
    let expected = format!("waiting for a-1 (pid {pid}, ");
    assert!(down.stderr.contains(&expected) && down.stderr.contains("ignore-term"), "{}", down.stderr);
}

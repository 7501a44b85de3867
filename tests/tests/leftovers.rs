//! What an orchestrator finds when the one before it was killed, and names that `up` does not know.
#![cfg(target_os = "linux")]

use copo_tests::app::{is_alive, kill_9};
use copo_tests::{App, eventually};

#[test]
fn down_ends_what_a_killed_orchestrator_left() {
    let app = App::new("[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"sleep\"]\n");
    app.copo(&["up", "-d", "--wait"]).ok();
    let (child, orchestrator) = (app.pid("a-1"), app.orchestrator_pid());
    kill_9(orchestrator);
    eventually("it is gone", || !is_alive(orchestrator));
    assert!(is_alive(child));
    app.down();
    assert!(!is_alive(child) && !app.socket().exists() && !app.state("pids/a-1.pid").exists());
}

#[test]
fn purge_leaves_the_same_whether_something_is_up_or_not() {
    let app = App::new("[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"sleep\"]\n");
    for is_up in [true, false] {
        app.copo(&["up", "-d", "--wait"]).ok();
        app.copo(&["udd", "send", "x"]).ok();
        if !is_up {
            app.down();
            assert!(app.state("reports.json").exists() && app.state("orchestrator/context").exists());
        }
        app.copo(&["down", "--purge"]).ok();
        let kept: Vec<_> = std::fs::read_dir(app.state("orchestrator")).expect("it is there").collect();
        assert!(!app.state("reports.json").exists() && !app.state("orchestrator/context").exists(), "{is_up} {kept:?}");
        assert!(!app.state("reports.json.new").exists());
    }
    app.copo(&["-a", "never", "down", "--purge"]).ok();
    assert!(!app.home().join("never").exists());
}

#[test]
fn up_refuses_names_that_mean_nothing_and_starts_nothing() {
    let app = App::new("[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"sleep\"]\n");
    for name in ["nobody", "a-2", "a-0", "@nobody"] {
        let refused = app.copo(&["up", "-d", name]).fails_with(4);
        assert!(refused.stderr.contains(name), "{}", refused.stderr);
        app.copo(&["up", "-d", "a", name]).fails_with(4);
        app.copo(&["up", "--exit-on", name]).fails_with(4);
    }
    app.copo(&["ps"]).fails_with(5);
    app.copo(&["up", "-d", "--wait", "a-1"]).ok();
}

#[test]
fn a_child_dies_of_the_file_size_limit_and_the_orchestrator_does_not() {
    let app = App::new(
        r#"
[process.a]
executable_path = "grep"
args = ["-E", "^Sig(Blk|Ign|Cgt):", "/proc/self/status"]
"#,
    );
    app.up();
    app.wait_state("a-1", "finished");
    let has = |line: &str| {
        let mask = u64::from_str_radix(line.split_whitespace().nth(1).expect("a mask"), 16).expect("hexadecimal");
        mask & 1 << (libc::SIGXFSZ - 1) != 0
    };
    assert!(app.log("a-1").iter().all(|line| !has(line)), "{:?}", app.log("a-1"));
    let status = std::fs::read_to_string(format!("/proc/{}/status", app.orchestrator_pid())).expect("it runs");
    let handled = status.lines().filter(|line| line.starts_with("SigCgt:") || line.starts_with("SigIgn:"));
    assert!(handled.into_iter().any(has), "{status}");
}

#[test]
fn a_childs_path_ends_with_the_folder_of_copo() {
    let app = App::new("[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"env\", \"PATH\"]\n");
    let folder = copo_tests::build::copo().parent().expect("a file lies in a folder").display().to_string();
    let mut up = app.command(&["up", "-d"]);
    assert!(up.env("PATH", format!("{folder}:/usr/bin:/bin")).status().expect("copo runs").success());
    app.wait_state("a-1", "finished");
    assert_eq!(app.log("a-1"), [format!("{folder}:/usr/bin:/bin:{folder}")]);
}

#[test]
fn up_right_after_a_kill_does_not_mistake_the_dead_for_running() {
    let app = App::new("");
    app.up();
    for _ in 0..20 {
        let (keeper, orchestrator) = (app.keeper_pid(), app.orchestrator_pid());
        kill_9(keeper);
        kill_9(orchestrator);
        app.up();
    }
}

//! A thousand processes: what one more costs.
#![cfg(target_os = "linux")]

use copo_tests::app::is_alive;
use copo_tests::data::comes_to_rest;
use copo_tests::{App, eventually};

fn threads_of(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").count()
}

#[test]
fn a_thousand_processes_cost_no_thread_and_no_wakeup_and_go_together() {
    let app = App::new("[process.many]\nexecutable_path = \"sleep\"\nargs = [\"1000\"]\n");
    app.copo(&["up", "-d", "--wait"]).ok();
    let orchestrator = app.orchestrator_pid();
    comes_to_rest(orchestrator);
    let threads = threads_of(orchestrator);

    app.copo(&["scale", "many=1000"]).ok();
    let running = || app.ps().values().filter(|process| process["state"] == "running").count();
    eventually("all of them run", || running() == 1000);
    comes_to_rest(orchestrator);
    // What a thread is started for, such as to open a file, has ended: none of a thousand has one of its own.
    assert!(threads_of(orchestrator) <= threads, "{} threads, {threads} for one process", threads_of(orchestrator));

    let pids: Vec<u32> =
        app.ps().values().filter_map(|process| process["pid"].as_u64()).map(|pid| pid as u32).collect();
    assert_eq!(pids.len(), 1000);
    app.down();
    assert!(pids.iter().all(|pid| !is_alive(*pid)), "down has left some");
}

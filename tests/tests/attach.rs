//! Processes with a terminal of their own, and terminals attached to them.
#![cfg(unix)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use copo_tests::terminal::AtTerminal;
use copo_tests::{App, eventually};

#[test]
fn a_process_has_a_terminal_whose_output_is_logged() {
    let app = App::new(
        r#"
[process.shell]
executable_path = "{puppet}"
args = ["terminal", "wait-size", "80x24", "cat", "print", "over"]
tty = true
restart = "no"
"#,
    );
    app.up();
    eventually("it prints", || app.log("shell-1").len() == 2);
    let mut stdio = UnixStream::connect(app.state("shell-1/stdio")).expect("the process's stdio");
    stdio.write_all(b"hello\n").expect("it is taken");
    let mut shown = [0; 14];
    stdio.read_exact(&mut shown).expect("it comes back");
    assert_eq!(&shown, b"hello\r\nhello\r\n", "the terminal's echo, and what cat prints");
    // No bytes more: as Ctrl-D at the start of a line.
    stdio.shutdown(std::net::Shutdown::Write).expect("shut down");
    app.wait_state("shell-1", "finished");
    let log = std::fs::read(app.state("logs/shell-1.log")).expect("a log");
    assert_eq!(String::from_utf8_lossy(&log), "true true true\r\n80x24\r\nhello\r\nhello\r\nover\r\n");
    assert!(!app.state("shell-1/tty").is_symlink(), "the terminal is gone");
}

#[test]
fn nothing_is_lost_of_what_was_written_just_before_the_end() {
    let app = App::new(
        r#"
[process.many]
executable_path = "{puppet}"
args = ["lines", "20000"]
tty = true
"#,
    );
    app.up();
    app.wait_state("many-1", "finished");
    let log = std::fs::read_to_string(app.state("logs/many-1.log")).expect("a log");
    assert_eq!(log, (0..20_000).map(|i| format!("line {i}\r\n")).collect::<String>());
}

#[test]
fn stopped_means_gone_with_a_terminal_too() {
    let app = App::new(
        r#"
[process.shell]
executable_path = "{puppet}"
args = ["grandchild", "on-term", "3", "sleep"]
tty = true
"#,
    );
    app.copo(&["up", "-d", "--wait"]).ok();
    eventually("it prints its grandchild's pid", || app.log("shell-1").len() == 1);
    let grandchild: u32 = app.log("shell-1")[0].trim().parse().expect("a pid");
    app.copo(&["stop", "shell"]).ok();
    assert_eq!(app.ps()["shell-1"]["exit_code"], 3, "SIGTERM came to the group");
    assert!(!copo_tests::app::is_alive(grandchild));
}

#[test]
fn a_terminal_stands_for_the_one_it_is_attached_to() {
    let app = App::new(
        r#"
[process.shell]
executable_path = "{puppet}"
args = ["wait-size", "100x30", "wait-size", "120x40", "cat"]
tty = true
"#,
    );
    app.copo(&["up", "-d", "--wait"]).ok();
    let mut person = AtTerminal::spawn_sized(app.command(&["attach", "shell"]), 100, 30);
    person.shows("Ctrl-] detaches");
    eventually("it has learned the size", || app.log("shell-1").len() == 1);
    person.resize(120, 40);
    person.shows("120x40");
    person.presses("typed\r");
    // Once by the process's terminal as it was typed, once by cat; not by the person's.
    person.shows("typed\r\ntyped\r\n");
    assert!(!person.is_cooked());

    person.presses("\x1d");

    assert_eq!(person.child.wait().expect("it was started here").code(), Some(0));
    assert!(person.is_cooked(), "the terminal is as before");
    assert_eq!(app.ps()["shell-1"]["state"], "running");

    // Ctrl-C is the process's, which dies of it; the next run's terminal is as large.
    let mut person = AtTerminal::spawn_sized(app.command(&["attach", "shell"]), 100, 30);
    person.shows("Ctrl-] detaches");
    let before = app.ps()["shell-1"]["pid"].clone();
    person.ctrl_c();
    person.shows("100x30");
    assert_ne!(app.ps()["shell-1"]["pid"], before);
    let pid = rustix::process::Pid::from_raw(person.child.id().cast_signed()).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is told to end");
    assert_eq!(person.child.wait().expect("it was started here").code(), Some(0));
    assert!(person.is_cooked(), "the terminal is as before after a signal");
}

#[test]
#[cfg(target_os = "linux")]
fn a_terminal_hangs_up_when_the_orchestrator_is_killed_and_the_next_run_has_one_again() {
    let app = App::new(
        r#"
[process.shell]
executable_path = "{puppet}"
args = ["terminal", "cat"]
tty = true
"#,
    );
    app.copo(&["up", "-d", "--wait"]).ok();
    eventually("it prints", || app.log("shell-1").len() == 1);
    let before = app.pid("shell-1");
    copo_tests::app::kill_9(app.orchestrator_pid());
    eventually("it has ended", || !copo_tests::app::is_alive(before));
    app.copo(&["up", "-d", "--wait"]).ok();
    eventually("the next run prints", || app.log("shell-1") == ["true true true"; 2]);
    assert_ne!(app.pid("shell-1"), before);
}

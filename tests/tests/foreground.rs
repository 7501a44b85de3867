//! `up` and `down` as a person at a terminal meets them: waiting, impatience, and who holds everything up.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use copo_tests::app::is_alive;
use copo_tests::{App, eventually};
use rustix::process::{Pid, Signal};

/// Ignores what asks it to stop, for as long as a test may take.
const STUBBORN: &str = r#"
[process.a]
executable_path = "{puppet}"
args = ["ignore-term", "print", "up", "sleep"]
stop_grace = "1h"
"#;

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("not 0");
    rustix::process::kill_process(pid, signal).expect("the process is there");
}

fn is_up(app: &App) -> u32 {
    eventually("it is up", || app.log("a-1") == ["up"]);
    app.pid("a-1")
}

#[test]
fn the_second_ctrl_c_kills() {
    let app = App::new(STUBBORN);
    let up = app.spawn(&["up"]);
    let run = is_up(&app);
    signal(&up, Signal::INT);
    app.wait_state("a-1", "stopping");
    assert!(is_alive(run));
    signal(&up, Signal::INT);
    up.wait_with_output().expect("copo ends");
    assert!(!is_alive(run));
    app.copo(&["ps"]).fails_with(5);
}

#[test]
fn a_closed_terminal_stops_the_application_in_order() {
    for asked in [Signal::HUP, Signal::TERM] {
        let app = App::new("[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"print\", \"up\", \"sleep\"]\n");
        let up = app.spawn(&["up"]);
        let run = is_up(&app);
        signal(&up, asked);
        up.wait_with_output().expect("copo ends");
        assert!(!is_alive(run), "{asked:?}");
        app.copo(&["ps"]).fails_with(5);
    }
}

#[test]
fn down_names_who_blocks_and_ends_with_its_patience() {
    let app = App::new(STUBBORN);
    app.copo(&["up", "-d", "--wait"]).ok();
    let run = is_up(&app);
    let mut down = app.command(&["down"]).stderr(Stdio::piped()).spawn().expect("copo runs");
    let said = BufReader::new(down.stderr.take().expect("it is piped")).lines().next().expect("a line").expect("UTF-8");
    assert!(said.contains("a-1"), "{said}");
    assert!(is_alive(run));
    app.copo(&["down", "-t", "0"]).ok();
    assert!(down.wait().expect("copo ends").success());
    assert!(!is_alive(run));
}

#[test]
fn up_wait_ends_with_what_became_of_it() {
    // Before it is ready: what counts as ready once it is started may be found running still.
    let failing = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["exit", "3"]
ready = "sdk"
restart = "no"
"#,
    );
    let said = failing.copo(&["up", "-d", "--wait"]).fails_with(1);
    assert!(said.stderr.contains("cannot") && said.stderr.contains("code 3"), "{}", said.stderr);
    assert_eq!(failing.state_of("a-1"), "failed");

    let never = App::new("[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"sleep\"]\nready = \"sdk\"\n");
    never.copo(&["up", "-d", "--wait", "--wait-timeout", "0.05"]).fails_with(124);
    assert_eq!(never.state_of("a-1"), "starting", "the application goes on");
}

#[test]
fn a_reader_that_has_gone_ends_a_command_quietly() {
    let app = App::new("[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"lines\", \"50000\"]\n");
    app.up();
    app.wait_state("a-1", "finished");
    for args in [&["logs"][..], &["logs", "-f"], &["logs", "--json"], &["schema"]] {
        let mut copo = app.spawn(args);
        let mut out = BufReader::with_capacity(64, copo.stdout.take().expect("it is piped"));
        out.read_line(&mut String::new()).expect("a line");
        drop(out);
        let ran = copo.wait_with_output().expect("copo ends");
        assert_eq!((ran.status.code(), String::from_utf8_lossy(&ran.stderr).as_ref()), (Some(0), ""), "{args:?}");
    }
}

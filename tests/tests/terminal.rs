//! `up` as a person at a terminal sees it: colours, Ctrl-C while it runs and while it is still starting.
#![cfg(unix)]

use std::process::Command;

use copo_tests::app::is_alive;
use copo_tests::terminal::AtTerminal;
use copo_tests::{App, eventually};

const TWO: &str = r#"
[process.one]
executable_path = "{puppet}"
args = ["print", "from one", "sleep"]
[process.two]
executable_path = "{puppet}"
args = ["print", "from two", "sleep"]
"#;

/// A terminal that has colours and says nothing about them.
fn at_terminal(app: &App, args: &[&str]) -> Command {
    let mut command = app.command(args);
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm-256color");
    command
}

/// What stands in front of the name on the line that ends with this.
fn prefix<'a>(shown: &'a str, name: &str, text: &str) -> &'a str {
    let line = shown.lines().find(|line| line.trim_end().ends_with(text)).expect("it is shown");
    line.split(name).next().expect("there is something or nothing before it")
}

#[test]
fn up_at_a_terminal_colours_each_name_and_ctrl_c_stops() {
    let app = App::new(TWO);
    let mut up = AtTerminal::spawn(at_terminal(&app, &["up"]));
    up.shows("from one");
    let shown = up.shows("from two").to_owned();
    let colours = [prefix(&shown, "one-1", "from one"), prefix(&shown, "two-1", "from two")];
    assert!(colours.iter().all(|colour| colour.starts_with("\u{1b}[")), "{shown:?}");
    assert_ne!(colours[0], colours[1], "each has its own");
    let runs = [app.pid("one-1"), app.pid("two-1")];
    up.ctrl_c();
    let (code, shown) = up.end();
    assert_eq!(code, 0, "{shown}");
    assert!(runs.iter().all(|run| !is_alive(*run)));
    app.copo(&["ps"]).fails_with(5);
}

#[test]
fn no_color_is_respected_at_a_terminal() {
    let app = App::new(TWO);
    let mut command = at_terminal(&app, &["up"]);
    command.env("NO_COLOR", "1");
    let mut up = AtTerminal::spawn(command);
    up.shows("from one");
    up.shows("from two");
    let mut ps = at_terminal(&app, &["ps"]);
    ps.env("NO_COLOR", "1");
    let (_, table) = AtTerminal::spawn(ps).end();
    assert!(table.contains("one-1") && !table.contains('\u{1b}'), "{table:?}");
    up.ctrl_c();
    let (code, shown) = up.end();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn an_orchestrator_that_cannot_start_says_why_and_leaves_nothing() {
    let app = App::new(TWO);
    // Where the context's folder should be, there is a file.
    app.write("h/t/orchestrator/context", "");
    for args in [&["up"][..], &["up", "-d"], &["up", "--wait"]] {
        let ran = app.copo(args).fails_with(1);
        assert!(ran.stderr.contains("cannot") && ran.stderr.contains("context"), "{}", ran.stderr);
        app.copo(&["ps"]).fails_with(5);
    }
    std::fs::remove_file(app.path("h/t/orchestrator/context")).expect("it is there");
    app.up();
}

/// Pids of the processes whose command line names this folder's copo.toml as an orchestrator's.
#[cfg(target_os = "linux")]
fn orchestrators(app: &App) -> Vec<u32> {
    let config = app.path("copo.toml").canonicalize().expect("it is there").display().to_string();
    let pids =
        std::fs::read_dir("/proc").expect("it is there").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_it = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("orchestrate\0") && line.contains(&config)
    };
    pids.filter_map(|name| name.parse().ok()).filter(is_it).filter(|pid| is_alive(*pid)).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_ends_an_orchestrator_that_hangs_while_it_starts() {
    let app = App::new(TWO);
    std::fs::create_dir_all(app.segments()).expect("the folder can be made");
    // Whoever opens a pipe without a writer waits for one: as a disk that does not answer.
    let pipe = app.segments().join("meta");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo can be run").success());
    let mut up = AtTerminal::spawn(at_terminal(&app, &["up"]));
    eventually("the orchestrator hangs", || orchestrators(&app).len() == 1);
    up.ctrl_c();
    up.shows("once more kills");
    up.ctrl_c();
    let (code, shown) = up.end();
    assert_eq!(code, 1, "{shown}");
    eventually("nothing is left", || orchestrators(&app).is_empty());
    std::fs::remove_file(pipe).expect("it is there");
    app.up();
}

#[cfg(target_os = "linux")]
#[test]
fn an_orchestrator_that_dies_while_it_starts_is_said() {
    let app = App::new(TWO);
    std::fs::create_dir_all(app.segments()).expect("the folder can be made");
    let pipe = app.segments().join("meta");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo can be run").success());
    for args in [&["up"][..], &["up", "-d"]] {
        let up = app.spawn(args);
        eventually("the orchestrator hangs", || orchestrators(&app).len() == 1);
        orchestrators(&app).into_iter().for_each(copo_tests::app::kill_9);
        let ran: copo_tests::Ran = up.wait_with_output().expect("copo ends").into();
        let ran = ran.fails_with(1);
        assert!(ran.stderr.contains("cannot start the orchestrator of t"), "{}", ran.stderr);
        app.copo(&["ps"]).fails_with(5);
    }
    std::fs::remove_file(pipe).expect("it is there");
}

//! Every exit code that the command line promises, command by command: 1 failed, 2 usage, 3 not running, 4 no such name,
//! 5 no orchestrator, 124 timed out.
#![cfg(unix)]

use copo_tests::App;

const CONFIG: &str = r#"
[process.run]
executable_path = "{puppet}"
args = ["sleep"]
[process.hand]
executable_path = "sh"
args = ["-c", "exit $0"]
trigger_type = "manual"
[process.late]
executable_path = "{puppet}"
args = ["sleep"]
trigger_type = "manual"
ready = "sdk"
"#;

/// Each command, and its exit code while the application is up.
const UP: &[(&[&str], i32)] = &[
    (&["up", "-d", "nobody"], 4),
    (&["up", "--exit-on", "nobody"], 4),
    (&["up", "--wait-timeout", "1"], 2),
    (&["up", "--exit-on", "run", "-d"], 2),
    (&["wait", "nobody"], 4),
    (&["wait"], 2),
    (&["wait", "run", "--for", "something"], 2),
    (&["wait", "run", "--record", "k"], 2),
    (&["wait", "run"], 0),
    (&["wait", "run", "--for", "finished", "--timeout", "0.01"], 124),
    (&["wait", "--record", "never", "--timeout", "0.01"], 124),
    (&["wait", "--record", "/no/key", "--timeout", "1"], 2),
    (&["start", "nobody"], 4),
    (&["start"], 2),
    (&["start", "run"], 0),
    (&["stop", "nobody"], 4),
    (&["stop", "run-2"], 4),
    (&["stop", "hand"], 0),
    (&["stop", "hand"], 0),
    (&["start", "hand"], 0),
    (&["restart", "nobody"], 4),
    (&["restart", "run"], 0),
    (&["trigger", "nobody"], 4),
    (&["trigger", "run"], 1),
    (&["trigger", "hand", "--wait", "--", "0"], 0),
    (&["trigger", "hand", "--wait", "--", "77"], 77),
    (&["kill", "nobody"], 4),
    (&["kill", "-s", "NOSUCH", "run"], 2),
    (&["kill", "hand"], 3),
    (&["kill", "-s", "CONT", "run"], 0),
    (&["logs", "nobody"], 4),
    (&["logs", "--json", "--no-prefix"], 2),
    (&["attach", "nobody"], 4),
    (&["attach", "hand"], 3),
    (&["udd", "get"], 4),
    (&["udd", "get", "--key", "/bad"], 2),
    (&["udd", "send", "--key", "bad//key", "x"], 2),
    (&["udd", "send", "--lines", "x"], 2),
    (&["udd", "send", "--key", "k", "x"], 0),
    (&["udd", "send", "--key", "k", "--expect-seq", "0", "x"], 1),
    (&["udd", "get", "--key", "other"], 4),
    (&["udd", "tail", "--from", "nowhere"], 2),
    (&["udd", "tail", "--key", "a/**b"], 2),
    (&["udd", "tail", "--from", "first", "--no-follow"], 0),
    (&["udd", "headers", "a"], 0),
    (&["udd", "purge"], 0),
    (&["udd"], 2),
    (&["report", "x"], 0),
    (&["reports"], 0),
    (&["ps", "nobody"], 4),
    (&["version"], 0),
    (&["check"], 0),
    (&["init"], 1),
    (&["completions", "noshell"], 2),
    (&["-f", "no.toml", "ps"], 2),
    (&["-a", "not/a/name", "ps"], 2),
    (&["-a", "other", "ps"], 5),
    (&["frobnicate"], 2),
];

fn check(app: &App, table: &[(&[&str], i32)]) {
    for (args, code) in table {
        let ran = app.copo(args);
        assert_eq!(ran.code, *code, "copo {}: {}{}", args.join(" "), ran.stdout, ran.stderr);
        // Data to stdout, everything else to stderr. Another program's code is handed on without a word.
        let is_handed_on = args.contains(&"--wait") && *code == 77;
        assert_eq!(ran.stderr.is_empty(), *code == 0 || is_handed_on, "copo {}: {}", args.join(" "), ran.stderr);
        assert!(*code == 0 || ran.stdout.is_empty(), "copo {}: {}", args.join(" "), ran.stdout);
    }
}

#[test]
fn every_command_ends_as_promised_while_the_application_is_up() {
    let app = App::new(CONFIG);
    app.copo(&["up", "-d", "--wait"]).ok();
    check(&app, UP);
    // A signal that ends a triggered run is 128 and its number.
    let mut waiting = app.spawn(&["trigger", "late", "--wait"]);
    app.wait_state("late-1", "starting");
    app.copo(&["kill", "-s", "KILL", "late"]).ok();
    assert_eq!(waiting.wait().expect("copo ends").code(), Some(137));
}

#[test]
fn without_an_orchestrator_all_but_three_say_so() {
    let app = App::new(CONFIG);
    let nobody: [&[&str]; 19] = [
        &["ps"],
        &["wait", "run"],
        &["wait", "--record", "k"],
        &["start", "run"],
        &["stop", "run"],
        &["restart", "run"],
        &["trigger", "run"],
        &["kill", "run"],
        &["attach", "run"],
        &["udd", "send", "x"],
        &["udd", "send", "--lines"],
        &["udd", "get"],
        &["udd", "tail"],
        &["udd", "headers"],
        &["udd", "headers", "a"],
        &["udd", "purge"],
        &["report", "x"],
        &["reports", "-f"],
        &["trigger", "run", "--wait"],
    ];
    for is_known in [false, true] {
        for args in nobody {
            check(&app, &[(args, 5)]);
        }
        check(&app, &[(&["check"], 0), (&["down"], 0), (&["version"], 0), (&["schema"], 0)]);
        // What was never started has neither logs nor reports; what was has both, with or without an orchestrator.
        let code = i32::from(!is_known);
        check(&app, &[(&["logs"], code), (&["reports"], code)]);
        app.copo(&["up", "-d", "--wait"]).ok();
        app.down();
    }
    app.copo(&["down", "--purge"]).ok();
    assert_eq!(app.copo(&["reports"]).ok().stdout, "", "what was purged is no failure");
}

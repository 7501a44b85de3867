//! From up to down: starting, ending, stopping, and the files that say so.

use std::fs;

use copo_orchestrator::runtime::lock::{Holder, holder};
use serde_json::Value;

use crate::app::{App, holds, kill, lives, until};

/// A process of one line of shell.
fn sh(name: &str, script: &str, more: &str) -> String {
    format!("[process.{name}]\nexecutable_path = \"/bin/sh\"\nargs = [\"-c\", '''{script}''']\n{more}\n")
}

#[test]
fn a_process_that_fails_is_restarted_as_a_new_run_and_its_end_is_reported() {
    let app = App::up(&sh("web", "echo $COPO_RUN; exit 3", "backoff = { initial = \"1ms\" }"));

    let ends = until("three ends", || Some(app.facts("exited", "web-1")).filter(|ends| ends.len() >= 3));

    assert!(ends.iter().all(|end| end["exit_code"] == 3));
    let runs = app.lines("web-1", 3);
    for (end, run) in ends.iter().zip(&runs) {
        assert_eq!(end["run"], Value::from(run.as_str()));
    }
    assert_ne!(runs[0], runs[1]);
}

#[test]
fn a_signal_that_ends_a_process_is_named() {
    let app = App::up(&sh("web", "kill -9 $$", "restart = \"no\""));
    assert_eq!(app.reported("exited", "web-1")["signal"], "SIGKILL");
    app.reported("failed", "web-1");
}

#[test]
fn a_child_finds_its_own_copo_variables_and_no_others() {
    let process = sh("web", "env", "env = { GREETING = \"hello\" }\nenv_file = \"web.env\"");
    let mut app = App::new(&process);
    fs::write(app.folder().join("web.env"), "GREETING=overruled\nFROM_FILE=yes\n").expect("written");
    app.start(&[]);
    app.reported("finished", "web-1");

    let log = app.log("web-1");
    let value = |name: &str| log.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned);

    assert_eq!(value("GREETING").as_deref(), Some("hello"));
    assert_eq!(value("FROM_FILE").as_deref(), Some("yes"));
    assert_eq!(value("COPO_APPLICATION").as_deref(), Some("app"));
    assert_eq!(value("COPO_PROCESS").as_deref(), Some("web-1"));
    assert_eq!(value("COPO_SOCKET"), app.layout.socket().to_str().map(str::to_owned));
    assert_eq!(value("COPO_HOME"), app.layout.home().to_str().map(str::to_owned));
    assert_eq!(value("COPO_TEST_ORCHESTRATE"), None);
    let token = value("COPO_TOKEN").expect("a token");
    assert!(token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{token}");
    let binary = std::env::current_exe().expect("known");
    let folder = binary.parent().and_then(|folder| folder.to_str()).expect("a folder");
    assert!(value("PATH").is_some_and(|path| path.ends_with(folder)));
}

#[cfg(target_os = "linux")]
#[test]
fn a_child_inherits_no_ignored_and_no_blocked_signal() {
    // The limit of open files is set a moment after the start: the shell looks until it is its own again.
    let script = "grep Sig /proc/self/status; until grep -q 'open files  *100 ' /proc/$$/limits; do :; done";
    let mut app = App::new(&sh("web", script, ""));
    app.start(&["/bin/sh", "-c", "trap '' HUP USR1 CHLD; ulimit -Sn 100; exec \"$0\" \"$@\""]);
    app.reported("finished", "web-1");

    let log = app.log("web-1");

    let set = |name: &str| log.lines().find_map(|line| u64::from_str_radix(line.strip_prefix(name)?.trim(), 16).ok());
    assert_eq!(set("SigBlk:"), Some(0));
    // 32 and 33 are glibc's own; its posix_spawn leaves them ignored in every program it starts.
    assert_eq!(set("SigIgn:").map(|ignored| ignored & !(0b11 << 31)), Some(0));
}

#[test]
fn down_stops_in_reverse_order_of_dependence() {
    // The signal goes to the group: the shell would say of its sleep that it was terminated.
    let script = "exec 2>/dev/null; trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    let processes =
        [sh("db", script, ""), sh("api", script, "depends_on = [\"db\"]"), sh("web", script, "depends_on = [\"api\"]")];
    let mut app = App::up(&processes.concat());
    app.lines("web-1", 1);

    assert!(app.down().success());

    let stopped = app.reports().into_iter().map(|report| report["facts"].clone());
    let stopped: Vec<_> =
        stopped.filter(|facts| facts["event"] == "stopped").map(|facts| facts["process"].clone()).collect();
    assert_eq!(stopped, ["web", "api", "db"]);
    assert_eq!(app.lines("db-1", 2), ["up", "bye"]);
    assert_eq!(app.reports().last().map(|last| last["facts"]["event"].clone()), Some("orchestrator_stopped".into()));
}

#[test]
fn stopped_means_that_the_whole_group_is_gone() {
    let stubborn = "sh -c 'trap \"\" TERM; while :; do sleep 0.05; done' & echo $!; exec sleep 1000";
    let mut app = App::up(&sh("web", stubborn, "stop_grace = \"5s\""));
    let grandchild: i32 = app.lines("web-1", 1)[0].parse().expect("a pid");
    assert!(lives(grandchild));

    assert!(app.down().success());

    assert!(!lives(grandchild));
}

#[test]
fn a_second_signal_to_the_orchestrator_kills() {
    let mut app = App::up(&sh("web", "trap '' TERM; echo up; while :; do sleep 0.05; done", "stop_grace = \"1h\""));
    app.lines("web-1", 1);
    kill("SIGTERM", app.pid().cast_signed());
    app.reported("stopping", "web-1");

    assert!(app.down().success());

    assert_eq!(app.facts("exited", "web-1")[0]["signal"], "SIGKILL");
}

#[test]
fn what_a_process_leaves_in_its_group_is_killed_when_it_ends() {
    let app = App::up(&sh("web", "trap '' TERM; sleep 1000 & echo $!", ""));
    app.reported("finished", "web-1");

    let left: i32 = app.lines("web-1", 1)[0].parse().expect("a pid");

    holds("the one left behind is gone", || !lives(left));
}

#[cfg(target_os = "linux")]
#[test]
fn orphans_of_a_living_group_are_reaped() {
    // The inner shell starts a process and ends: its child is an orphan, and ends soon.
    let app = App::up(&sh("web", "sh -c 'sleep 0.01 & echo $!'; exec sleep 1000", ""));

    let orphan = &app.lines("web-1", 1)[0];

    holds("the orphan is reaped", || !fs::exists(format!("/proc/{orphan}")).expect("known"));
}

#[test]
fn files_are_there_while_it_runs_and_gone_afterwards() {
    let mut app = App::up(&sh("web", "echo $$; exec sleep 1000", ""));
    let pid = app.lines("web-1", 1)[0].clone();
    let (socket, stdio) = (app.layout.socket(), app.layout.stdio("web-1"));

    holds("the pid file is written", || {
        fs::read_to_string(app.layout.pid("web-1")).is_ok_and(|text| text == format!("{pid}\n"))
    });
    assert!(socket.exists() && stdio.exists());

    assert!(app.down().success());

    assert!(!socket.exists() && !stdio.exists() && !app.layout.pid("web-1").exists());
    assert_eq!(holder(&app.layout).expect("readable"), None);
}

#[test]
fn a_cron_run_is_told_the_time_it_was_scheduled_for() {
    let schedule = "trigger_type = \"cron\"\ntrigger_definition = \"* * * * * *\"";
    let app = App::up(&sh("tick", "echo $COPO_SCHEDULED_TIME", schedule));

    let times: Vec<u64> = app.lines("tick-1", 2).iter().map(|line| line.parse().expect("a time")).collect();

    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    assert!(times.iter().all(|time| time.is_multiple_of(1_000_000)), "{times:?}");
    let started = app.reported("started", "tick-1");
    assert!(
        app.reports()
            .iter()
            .any(|report| report["facts"] == started && report["report_time"].as_u64() >= Some(times[0]))
    );
}

#[test]
fn a_second_orchestrator_is_refused_and_names_the_first() {
    let app = App::up(&sh("web", "exec sleep 1000", ""));
    let first = Holder { pid: app.pid(), config_path: app.config() };
    assert_eq!(holder(&app.layout).expect("readable"), Some(first));

    let (mut second, said) = app.try_start(&[]);

    let pid = app.pid();
    let from = app.config();
    let from = from.display();
    assert_eq!(said, format!("error cannot start the orchestrator of app: it runs already, pid {pid}, from {from}"));
    assert_eq!(second.wait().expect("waited for").code(), Some(1));
    assert!(app.layout.socket().exists());
}

#[test]
fn a_killed_orchestrator_does_not_keep_the_next_one_from_starting() {
    let mut app = App::up(&sh("web", "echo $$; exec sleep 1000", ""));
    let left: i32 = app.lines("web-1", 1)[0].parse().expect("a pid");
    app.crash();
    kill("SIGKILL", -left);

    app.start(&[]);

    assert_eq!(app.lines("web-1", 2).len(), 2);
    assert!(app.down().success());
}

#[test]
fn a_program_that_is_not_there_fails_alone_and_says_why() {
    let missing = "[process.gone]\nexecutable_path = \"./gone\"\n";
    let app = App::up(&format!("{missing}{}", sh("web", "echo here; exec sleep 1000", "")));

    let failed = app.reported("failed", "gone-1");
    app.lines("web-1", 1);

    let reason = format!("cannot start gone-1: {}: no such file", app.folder().join("gone").display());
    assert_eq!(app.reported("spawn_failed", "gone-1")["reason"], Value::from(reason));
    assert_eq!(failed["process"], "gone");
    assert_eq!(app.facts("spawn_failed", "gone-1").len(), 1);
    app.reported("started", "web-1");
}

#[test]
fn reports_json_is_whole_at_any_moment() {
    let app = App::up(&sh("web", "exit 1", "backoff = { initial = \"1ms\", max = \"1ms\" }"));
    let mut looks = 0;

    // `reports` fails on half a document.
    let newest = until("a hundred reports", || {
        looks += 1;
        app.reports().last().filter(|last| last["seq"].as_u64() > Some(100)).cloned()
    });

    assert!(looks > 10);
    let document: Value =
        serde_json::from_slice(&fs::read(app.layout.reports()).expect("there")).expect("a whole document");
    assert!(document["last_report"].as_u64() >= newest["report_time"].as_u64());
}

#[cfg(target_os = "linux")]
#[test]
fn an_idle_orchestrator_does_not_wake_up() {
    let app = App::up(&sh("web", "exec sleep 1000", "replicas = 3"));
    app.reported("started", "web-3");
    let wakeups = || -> u64 {
        let threads = fs::read_dir(format!("/proc/{}/task", app.pid())).expect("readable").flatten();
        let statuses = threads.map(|thread| fs::read_to_string(thread.path().join("status")).expect("readable"));
        let counts = statuses.map(|status| {
            let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).expect("there");
            count.trim().parse::<u64>().expect("a number")
        });
        counts.sum()
    };

    holds("half a second without a wakeup", || {
        let before = wakeups();
        std::thread::sleep(std::time::Duration::from_millis(500));
        wakeups() == before
    });
}

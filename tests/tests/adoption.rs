//! An orchestrator that is killed is followed by one that takes over all it had.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

use copo_tests::app::{is_alive, kill_9};
use copo_tests::{App, eventually, eventually_some};
use rustix::process::{Pid, Signal};

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("not 0");
    rustix::process::kill_process(pid, signal).expect("the process is there");
}

fn pid_in_log(app: &App, name: &str) -> u32 {
    eventually_some("a pid in the log", || app.log(name).first().and_then(|line| line.parse::<u32>().ok()))
}

/// Kills the orchestrator while its keeper sleeps, does something, and lets the keeper go on.
fn while_away(app: &App, what: impl FnOnce()) {
    let (keeper, orchestrator) = (app.keeper_pid(), app.orchestrator_pid());
    signal(keeper, Signal::STOP);
    kill_9(orchestrator);
    eventually("it is gone", || !is_alive(orchestrator));
    what();
    signal(keeper, Signal::CONT);
    eventually("another one answers", || app.running_orchestrator().is_some_and(|now| now != orchestrator));
}

/// Nobody is left to start another one: the next `up` takes over.
fn kill_both(app: &App) {
    let (keeper, orchestrator) = (app.keeper_pid(), app.orchestrator_pid());
    kill_9(keeper);
    kill_9(orchestrator);
    eventually("both are gone", || !is_alive(keeper) && !is_alive(orchestrator));
}

/// Every line that a numbering process has written stands in its log once, in order.
#[track_caller]
fn check_numbered(app: &App, name: &str) -> usize {
    let lines = app.log(name);
    let wanted = (0..lines.len()).map(|n| format!("line {n}"));
    let wrong = lines.iter().zip(wanted).position(|(line, wanted)| *line != wanted);
    assert_eq!(wrong, None, "{:?}", wrong.map(|at| &lines[at.saturating_sub(1)..(at + 2).min(lines.len())]));
    lines.len()
}

const ENDING: &str = r#"
[process.a]
executable_path = "{puppet}"
args = ["grandchild", "ready", "sleep"]
ready = "sdk"
[process.crashed]
executable_path = "{puppet}"
args = ["wait-file", "crash", "exit", "7"]
backoff = { initial = "1ms" }
[process.headless]
executable_path = "{puppet}"
args = ["grandchild", "wait-file", "go", "exit", "5"]
restart = "no"
[process.follows]
executable_path = "{puppet}"
args = ["print", "it has failed"]
depends_on = ["headless"]
trigger_type = "dependence_finish"
trigger_definition = "failed"
"#;

#[test]
fn what_runs_is_adopted_as_it_was_and_an_end_nobody_saw_is_known_exactly() {
    for both in [false, true] {
        let app = App::new(ENDING);
        app.copo(&["up", "-d"]).ok();
        eventually("a is ready", || app.ps()["a-1"]["ready"] == true);
        kill_9(app.wait_state("crashed-1", "running")["pid"].as_u64().map(|pid| pid as u32).expect("a pid"));
        eventually("it was restarted", || app.ps()["crashed-1"]["restarts"] == 1);
        app.wait_state("crashed-1", "running");
        let (of_a, of_headless) = (pid_in_log(&app, "a-1"), pid_in_log(&app, "headless-1"));
        let (before, leader) = (app.ps(), app.pid("headless-1"));
        let end = || {
            app.write("go", "");
            eventually("a main process ends meanwhile", || !is_alive(leader));
        };

        if both {
            kill_both(&app);
            end();
            app.copo(&["up", "-d"]).ok();
        } else {
            while_away(&app, end);
        }

        assert_eq!(app.ps()["a-1"], before["a-1"], "pid, start time, readiness and all");
        assert_eq!(app.ps()["crashed-1"], before["crashed-1"]);
        eventually("what a leader that ended had left is gone", || !is_alive(of_headless));
        assert!(is_alive(of_a));
        let events = app.events("a-1");
        assert_eq!(events.iter().filter(|event| *event == "started").count(), 1, "{events:?}");
        assert_eq!(events.last().map(String::as_str), Some("adopted"));
        let is_late = |report: &serde_json::Value| {
            report["facts"]["event"] == "exited" && report["facts"]["internal_name"] == "headless-1"
        };
        let late = eventually_some("its end is reported", || app.reports().into_iter().find(is_late));
        assert!(late["facts"]["reason"].as_str().is_some_and(|reason| reason.contains("no orchestrator")), "{late}");
        if !both {
            assert_eq!(late["facts"]["exit_code"], 5, "{late}");
        }
        eventually("it fires its trigger", || app.log("follows-1") == ["it has failed"]);
        app.write("crash", "");
        eventually("how it ended is known", || app.ps()["crashed-1"]["exit_code"] == 7);
    }
}

#[test]
fn an_adopted_run_is_stopped_in_order() {
    let app = App::new(
        "[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"on-term\", \"3\", \"grandchild\", \"sleep\"]\n",
    );
    app.copo(&["up", "-d", "--wait"]).ok();
    let (grandchild, pid) = (pid_in_log(&app, "a-1"), app.pid("a-1"));
    app.kill_orchestrator();
    assert_eq!(app.pid("a-1"), pid);
    app.copo(&["stop", "a"]).ok();
    assert!(!is_alive(pid) && !is_alive(grandchild));
    assert_eq!(app.ps()["a-1"]["exit_code"], 3);
    app.kill_orchestrator();
    assert_eq!(app.state_of("a-1"), "stopped", "what a person has stopped stays so");
    app.copo(&["start", "a"]).ok();
    app.wait_state("a-1", "running");
    app.kill_orchestrator();
    let keeper = app.keeper_pid();
    app.down();
    assert!(!is_alive(keeper));
    assert!(!app.state("orchestrator/state").exists() && !app.state("pids/a-1.pid").exists());
}

#[test]
fn what_copo_toml_has_no_more_is_stopped_and_reported_and_a_broken_file_changes_nothing() {
    let kept = "[process.kept]\nexecutable_path = \"{puppet}\"\nargs = [\"sleep\"]\n";
    let gone = "[process.gone]\nexecutable_path = \"{puppet}\"\nargs = [\"on-term\", \"3\", \"sleep\"]\n";
    let app = App::new(&format!("{kept}{gone}"));
    app.copo(&["up", "-d", "--wait"]).ok();
    let (of_kept, of_gone) = (app.pid("kept-1"), app.pid("gone-1"));
    app.configure("[process.kept\n");
    app.kill_orchestrator();
    assert_eq!((app.pid("kept-1"), app.pid("gone-1")), (of_kept, of_gone));
    app.configure(kept);
    app.kill_orchestrator();
    eventually("it is stopped", || !is_alive(of_gone));
    assert_eq!(app.pid("kept-1"), of_kept);
    eventually("it is reported", || app.events("gone-1").ends_with(&["exited".to_owned(), "stopped".to_owned()]));
    assert_eq!(app.ps().len(), 1);
}

const WRITING: &str = r#"
[process.writer]
executable_path = "{puppet}"
args = ["lines-until", "over"]
log = { size = "64MiB", files = 20 }
restart = "no"
[process.turning]
executable_path = "{puppet}"
args = ["lines-until", "over"]
log = { size = "1GiB" }
restart = "no"
[process.sender]
executable_path = "{puppet}"
args = ["send-until", "over"]
restart = "no"
[process.talk]
executable_path = "{puppet}"
args = ["cat"]
stdin = "attach"
"#;

/// Lets the writers and the sender come to their end, and checks that nothing is lost and nothing doubled.
fn check_all_is_there(app: &App, pids: &BTreeMap<String, serde_json::Value>) {
    for name in ["writer-1", "turning-1", "sender-1", "talk-1"] {
        assert_eq!(app.ps()[name]["pid"], pids[name]["pid"], "{name} runs on");
    }
    app.write("over", "");
    for name in ["writer-1", "turning-1", "sender-1"] {
        assert_eq!(app.wait_state(name, "finished")["exit_code"], 0);
    }
    assert!(check_numbered(app, "turning-1") > 1000);
    let sent: Vec<String> =
        app.records().iter().filter_map(|record| record["udd_buff"].as_str().map(str::to_owned)).collect();
    let wanted: usize = app.read("sent").trim().parse().expect("a count");
    assert_eq!(sent, (0..wanted).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn nothing_written_or_sent_is_lost_or_doubled_by_any_kill() {
    let app = App::new(WRITING);
    app.copo(&["up", "-d", "--wait"]).ok();
    let before = app.ps();
    for _ in 0..5 {
        app.kill_orchestrator();
    }
    let (keeper, orchestrator) = (app.keeper_pid(), app.orchestrator_pid());
    kill_9(keeper);
    eventually("there are others", || {
        app.keeper_pid() != keeper && app.running_orchestrator().is_some_and(|now| now != orchestrator)
    });
    app.kill_orchestrator();
    while_away(&app, || {});
    check_all_is_there(&app, &before);
}

/// The numbers of the lines that `flood` has written, over all files of a log.
fn flooded(app: &App, name: &str) -> Vec<u64> {
    let path = |age: u32| if age == 0 { format!("logs/{name}.log") } else { format!("logs/{name}.log.{age}") };
    let files = (0..).map(|age| app.state(&path(age))).take_while(|path| path.exists());
    let mut files: Vec<_> = files.map(|path| std::fs::read(path).expect("readable")).collect();
    files.reverse();
    let number = |line: &[u8]| {
        assert!(line.len() == 100 && line[99] == b'\n', "a whole line: {:?}", String::from_utf8_lossy(line));
        std::str::from_utf8(&line[..12]).expect("text").parse().expect("a number")
    };
    files.iter().flat_map(|file| file.chunks(100).map(number)).collect()
}

#[test]
fn nothing_is_lost_or_doubled_of_what_is_written_at_full_speed() {
    const LINES: u64 = 3_000_000;
    let app = App::new(&format!(
        r#"
[process.flood]
executable_path = "{{puppet}}"
args = ["flood", "{LINES}"]
log = {{ size = "30MB", files = 100 }}
restart = "no"
replicas = 2
"#
    ));
    app.up();
    let mut kills = 0;
    while app.ps().values().any(|process| process["state"] != "finished") {
        let orchestrator = app.orchestrator_pid();
        let written = || std::fs::metadata(app.state("logs/flood-1.log")).map_or(0, |found| found.len());
        let before = written();
        eventually("it writes, or is done", || written() != before || app.state_of("flood-1") == "finished");
        kill_9(orchestrator);
        eventually("another one answers", || app.running_orchestrator().is_some_and(|now| now != orchestrator));
        kills += 1;
    }
    eprintln!("{kills} kills");
    assert!(kills >= 3, "{kills}");
    for name in ["flood-1", "flood-2"] {
        let numbers = flooded(&app, name);
        let wrong = numbers.iter().zip(0..).position(|(number, wanted)| *number != wanted);
        assert_eq!((wrong, numbers.len() as u64), (None, LINES), "{name}: {:?}", wrong.map(|at| &numbers[at..at + 2]));
    }
}

#[test]
fn another_binary_takes_the_orchestrators_place_under_load() {
    let app = App::new(WRITING);
    app.copo(&["up", "-d", "--wait"]).ok();
    let (before, keeper) = (app.ps(), app.keeper_pid());
    let another = app.path("another-copo");
    std::fs::copy(copo_tests::build::copo(), &another).expect("it can be copied");
    for _ in 0..3 {
        let orchestrator = app.orchestrator_pid();
        let said = app.copo(&["upgrade", "--binary", "another-copo"]).ok().stdout;
        assert!(said.contains("->"), "{said}");
        let exe = std::fs::read_link(format!("/proc/{}/exe", app.orchestrator_pid())).expect("it runs");
        assert_eq!((exe.file_name(), app.keeper_pid()), (another.file_name(), keeper));
        assert_ne!(app.orchestrator_pid(), orchestrator);
        let of_keeper = std::fs::read_link(format!("/proc/{keeper}/exe")).expect("it runs");
        assert_eq!(of_keeper.file_name(), another.file_name());
        app.copo(&["upgrade"]).ok();
    }
    assert!(app.events("writer-1").iter().filter(|event| *event == "adopted").count() >= 6);
    check_all_is_there(&app, &before);
}

#[test]
fn an_upgrade_to_what_cannot_take_over_is_refused() {
    let app = App::new("[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"sleep\"]\n");
    app.copo(&["upgrade"]).fails_with(5);
    app.copo(&["up", "-d", "--wait"]).ok();
    let (orchestrator, a) = (app.orchestrator_pid(), app.pid("a-1"));
    let older = |form: &str| {
        app.write("older", &format!("#!/bin/sh\necho '{{\"version\":\"0.0.1\"{form}}}'\n"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(app.path("older"), mode).expect("it is ours");
    };
    older(",\"state_form\":0");
    let refused = app.copo(&["upgrade", "--binary", "older"]).fails_with(1);
    assert!(refused.stderr.contains("form 0") && refused.stderr.contains("0.0.1"), "{}", refused.stderr);
    older("");
    app.copo(&["upgrade", "--binary", "older"]).fails_with(1);
    app.copo(&["upgrade", "--binary", "nowhere"]).fails_with(1);
    assert_eq!((app.orchestrator_pid(), app.pid("a-1")), (orchestrator, a));
    // It says that it could, and then cannot: the old one goes on.
    older(",\"state_form\":99");
    let failed = app.copo(&["upgrade", "--binary", "older"]).fails_with(1);
    assert!(failed.stderr.contains("cannot upgrade"), "{}", failed.stderr);
    assert_eq!(app.pid("a-1"), a);
}

#[test]
fn a_foreground_up_goes_on_with_the_next_orchestrator() {
    let app = App::new(
        "[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"wait-file\", \"go\", \"print\", \"late\", \"sleep\"]\n",
    );
    let mut up = app.spawn(&["up"]);
    let stderr = up.stderr.take().expect("it is piped");
    let (say, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| say.send(line))
    });
    eventually("it is up", || app.running_orchestrator().is_some());
    app.wait_state("a-1", "running");
    app.kill_orchestrator();
    app.write("go", "");
    eventually("it writes", || app.log("a-1") == ["late"]);
    app.copo(&["stop", "a"]).ok();
    eventually("it tells what happens", || said.try_iter().any(|line| line.contains("stopped")));
    app.down();
    let output = up.wait_with_output().expect("copo ends");
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("late"), "{output:?}");
}

#[test]
fn two_hundred_processes_are_taken_over_at_once() {
    let app = App::new("[process.many]\nexecutable_path = \"sleep\"\nargs = [\"1000\"]\nreplicas = 200\n");
    app.copo(&["up", "-d", "--wait"]).ok();
    let before = app.ps();
    let (start, orchestrator) = (std::time::Instant::now(), app.orchestrator_pid());
    kill_9(orchestrator);
    eventually("another one answers", || app.running_orchestrator().is_some_and(|now| now != orchestrator));
    eprintln!("200 processes: another orchestrator answers after {:?}", start.elapsed());
    assert_eq!(app.ps(), before);
}

/// With a keeper that reaps them, with one that is too busy to, and with none.
#[test]
fn a_hundred_adopted_processes_go_with_all_they_have_started_whoever_reaps_them() {
    for how in ["kept", "stopped", "both", "nobody"] {
        let app = App::new(
            "[process.many]\nexecutable_path = \"{puppet}\"\nargs = [\"grandchild\", \"sleep\"]\nreplicas = 100\n",
        );
        app.copo(&["up", "-d", "--wait"]).ok();
        let before = app.ps();
        let own = (1..=100).map(|n| before[&format!("many-{n}")]["pid"].as_u64().expect("it runs") as u32);
        let all: Vec<u32> = own.chain((1..=100).map(|n| pid_in_log(&app, &format!("many-{n}")))).collect();
        match how {
            "both" => {
                kill_both(&app);
                app.copo(&["up", "-d"]).ok();
            }
            "nobody" => kill_both(&app),
            _ => app.kill_orchestrator(),
        }
        let keeper = (how == "stopped").then(|| app.keeper_pid());
        keeper.iter().for_each(|keeper| signal(*keeper, Signal::STOP));
        if how != "nobody" {
            app.copo(&["stop", "many"]).ok();
            assert!(app.ps().values().all(|process| process["state"] == "stopped"), "{how}");
        }
        keeper.iter().for_each(|keeper| signal(*keeper, Signal::CONT));
        let start = std::time::Instant::now();
        app.down();
        eprintln!("{how}: down after {:?}", start.elapsed());
        assert_eq!(all.iter().filter(|pid| is_alive(**pid)).count(), 0, "{how}");
    }
}

#[test]
fn an_idle_keeper_is_small_and_does_not_wake_up() {
    let app = App::new("[process.a]\nexecutable_path = \"sleep\"\nargs = [\"1000\"]\n");
    app.copo(&["up", "-d", "--wait"]).ok();
    let keeper = app.keeper_pid();
    copo_tests::data::comes_to_rest(keeper);
    assert!(copo_tests::data::memory_of(keeper) < 4 << 20, "{}", copo_tests::data::memory_of(keeper));
    signal(keeper, Signal::HUP);
    signal(keeper, Signal::INT);
    signal(keeper, Signal::TERM);
    eventually("it passes the request on, and ends with everything", || !is_alive(keeper));
    app.copo(&["ps"]).fails_with(5);
}

#[test]
fn an_adopted_run_can_be_attached_to_and_its_stdin_be_closed() {
    let app = App::new(
        "[process.talk]\nexecutable_path = \"{puppet}\"\nargs = [\"cat\"]\nstdin = \"attach\"\nrestart = \"no\"\n",
    );
    app.copo(&["up", "-d", "--wait"]).ok();
    app.kill_orchestrator();
    let ran = app.copo_with_input(&["attach", "talk"], b"hello\n").ok();
    assert_eq!(ran.stdout, "hello\n");
    app.wait_state("talk-1", "finished");
    assert_eq!(app.log("talk-1"), ["hello"]);
}

//! Promises of the command line and of the files that no other story holds.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use copo_tests::app::{is_alive, kill_9};
use copo_tests::{App, eventually, eventually_some};
use rustix::process::Signal;

const STUBBORN: &str = r#"
[process.stubborn]
executable_path = "{puppet}"
args = ["ignore-term", "print", "up", "sleep"]
stop_grace = "1h"
"#;

fn signal(pid: u32, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("not 0");
    rustix::process::kill_process(pid, signal).expect("the process is there");
}

fn end_of(child: &mut Child) -> ExitStatus {
    eventually_some("copo ends", || child.try_wait().expect("it was started here"))
}

fn stubborn_is_up(app: &App) -> u32 {
    eventually("it ignores SIGTERM", || app.log("stubborn-1") == ["up"]);
    app.pid("stubborn-1")
}

#[test]
fn down_names_who_blocks_and_t_overrides_the_grace() {
    let app = App::new(STUBBORN);
    app.up();
    let pid = stubborn_is_up(&app);
    let mut first = app.spawn(&["down"]);
    app.wait_state("stubborn-1", "stopping");
    let (said, heard) = std::sync::mpsc::channel();
    let stderr = first.stderr.take().expect("piped");
    std::thread::spawn(move || {
        for line in std::io::BufRead::lines(std::io::BufReader::new(stderr)).map_while(Result::ok) {
            let _ = said.send(line);
        }
    });
    let line = heard.recv_timeout(Duration::from_secs(60)).expect("it says who blocks");
    assert!(line.contains("stubborn-1") && line.contains(&pid.to_string()), "{line}");
    assert!(end_of(&mut app.spawn(&["down", "-t", "0"])).success());
    assert!(end_of(&mut first).success() && !is_alive(pid));
}

#[test]
fn a_second_ctrl_c_kills() {
    let app = App::new(STUBBORN);
    let mut child = app.spawn(&["up"]);
    eventually("the application is up", || app.copo(&["ps"]).code == 0);
    let pid = stubborn_is_up(&app);
    signal(child.id(), Signal::INT);
    app.wait_state("stubborn-1", "stopping");
    assert!(is_alive(pid));
    signal(child.id(), Signal::INT);
    assert!(end_of(&mut child).success() && !is_alive(pid));
}

#[test]
fn a_lost_terminal_stops_the_application_in_order() {
    for number in [Signal::HUP, Signal::TERM] {
        let app = App::new("[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"sleep\"]\n");
        let mut child = app.spawn(&["up"]);
        eventually("the application is up", || app.copo(&["ps"]).code == 0);
        app.wait_state("a-1", "running");
        let pid = app.pid("a-1");
        signal(child.id(), number);
        assert!(end_of(&mut child).success() && !is_alive(pid));
        app.copo(&["ps"]).fails_with(5);
    }
}

#[test]
fn exit_on_tells_of_a_signal_as_a_shell_does() {
    let app = App::new("[process.job]\nexecutable_path = \"sh\"\nargs = [\"-c\", \"kill -9 $$\"]\nrestart = \"no\"\n");
    app.copo(&["up", "--exit-on", "job"]).fails_with(137);
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let app = App::new("[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"lines\", \"100000\"]\n");
    app.up();
    app.wait_state("a-1", "finished");
    let mut child = app.command(&["logs"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("copo runs");
    let mut first = [0; 16];
    std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut first).expect("there are lines");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("copo ends");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_copo_keeps_is_for_its_owner_alone() {
    let app = App::new("[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"print\", \"x\", \"sleep\"]\n");
    app.up();
    app.wait_state("a-1", "running");
    eventually("it is reported", || app.state("reports.json").exists() && app.log("a-1").len() == 1);
    let (mut folders, mut seen) = (vec![app.home()], 0);
    while let Some(folder) = folders.pop() {
        assert_eq!(mode(&folder), Some(0o700), "{folder:?}");
        for entry in std::fs::read_dir(&folder).expect("it is there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // What is replaced by rename may be gone again.
            assert!(matches!(mode(&path), None | Some(0o600)), "{path:?}: {:o}", mode(&path).unwrap_or_default());
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen} files: sock, log, lock, pid, run, stdio, log and reports at least");
}

fn mode(path: &std::path::Path) -> Option<u32> {
    std::fs::symlink_metadata(path).ok().map(|file| file.permissions().mode() & 0o7777)
}

#[test]
fn a_home_with_spaces_serves_as_well() {
    let app = App::new("[process.a]\nexecutable_path = \"sh\"\nargs = [\"-c\", \"copo udd send --key k v\"]\n");
    let home = app.path("a home");
    let copo = |args: &[&str]| app.command(args).env("COPO_HOME", &home).output().expect("copo runs");
    assert!(copo(&["up", "-d", "--wait"]).status.success());
    assert!(copo(&["wait", "a", "--for", "finished", "--timeout", "60"]).status.success());
    assert_eq!(copo(&["udd", "get", "--key", "k"]).stdout, b"v\n");
    assert!(home.join("t/orchestrator/sock").exists());
    assert!(copo(&["down"]).status.success());
}

#[test]
fn two_hundred_processes_start_and_end_together() {
    let app = App::new("[process.w]\nexecutable_path = \"{puppet}\"\nargs = [\"sleep\"]\nreplicas = 200\n");
    app.copo(&["up", "-d", "--wait"]).ok();
    let pids: Vec<u32> =
        app.ps().values().filter_map(|process| process["pid"].as_u64()).map(|pid| pid as u32).collect();
    assert_eq!(pids.len(), 200);
    app.down();
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
    assert_eq!(std::fs::read_dir(app.state("pids")).expect("it is there").count(), 0);
}

#[test]
fn a_line_without_an_end_is_kept_whole() {
    let app = App::new(
        "[process.a]\nexecutable_path = \"sh\"\nargs = [\"-c\", \"head -c 30000000 /dev/zero | tr '\\\\0' x\"]\n",
    );
    app.up();
    app.wait_state("a-1", "finished");
    let files = std::fs::read_dir(app.state("logs")).expect("it is there").map(|entry| entry.expect("an entry"));
    let logs = files.filter(|file| !file.file_name().to_string_lossy().contains(".times"));
    let total: u64 = logs.map(|file| file.metadata().expect("it is there").len()).sum();
    assert_eq!(total, 30_000_000);
    assert_eq!(app.copo(&["ps"]).code, 0);
}

#[test]
fn a_configuration_is_read_however_an_editor_saved_it() {
    let app = App::new("");
    app.write("copo.toml", "\u{feff}application = \"t\"\r\n[process.a]\r\nexecutable_path = \"true\"\r\n");
    app.copo(&["check"]).ok();
    app.write("copo.toml", "");
    let ran = app.copo(&["check"]).fails_with(2);
    assert!(ran.stderr.contains("application"), "{}", ran.stderr);
    app.write("copo.toml", "application = \"t\"\n");
}

#[test]
fn what_is_reported_of_a_run_is_exact() {
    let app = App::new("[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"exit\", \"7\"]\nrestart = \"no\"\n");
    app.up();
    app.wait_state("a-1", "failed");
    let of_it: Vec<_> = app.reports().into_iter().filter(|report| report["facts"]["internal_name"] == "a-1").collect();
    let events: Vec<_> = of_it.iter().map(|report| report["facts"]["event"].as_str().expect("an event")).collect();
    assert_eq!(events, ["starting", "started", "exited", "failed"]);
    for report in &of_it {
        assert_eq!((&report["sent_by"], &report["facts"]["process"]), (&"orchestrator".into(), &"a".into()));
        assert_eq!(report["facts"]["run"], of_it[0]["facts"]["run"]);
        assert!(report["facts"].get("signal").is_none());
        let has_ended = ["exited", "failed"].map(serde_json::Value::from).contains(&report["facts"]["event"]);
        assert_eq!(report["facts"].get("exit_code").is_some(), has_ended, "{report}");
    }
    assert_eq!(of_it[2]["facts"]["exit_code"], 7);
    assert!(of_it[1]["facts"]["pid"].is_u64());
}

#[test]
fn reports_json_is_whole_after_a_kill_and_not_written_too_often() {
    let app = App::new("");
    app.up();
    let path = app.state("reports.json");
    let inode = || std::fs::metadata(&path).map(|file| std::os::unix::fs::MetadataExt::ctime_nsec(&file)).ok();
    let client =
        copo::Client::options().socket(app.socket().display().to_string()).name("t").connect().expect("it answers");
    let (start, mut changes, mut last) = (Instant::now(), 0, None);
    while start.elapsed() < Duration::from_secs(1) {
        client.meta_report(b"x").and_then(|()| client.flush()).expect("it is taken");
        let now = inode();
        changes += u32::from(now != last);
        last = now;
    }
    assert!((2..=12).contains(&changes), "{changes} in {:?}", start.elapsed());
    let orchestrator = app.orchestrator_pid();
    kill_9(orchestrator);
    eventually("it is gone", || !is_alive(orchestrator));
    let text = std::fs::read_to_string(&path).expect("it is there");
    serde_json::from_str::<serde_json::Value>(&text).expect("it is whole");
}

#[test]
fn env_wins_over_env_file_which_wins_over_what_is_inherited() {
    let config = |env: &str| {
        format!(
            r#"
[process.a]
executable_path = "{{puppet}}"
args = ["env", "A", "env", "B", "env", "C", "env", "COPO_PROCESS"]
env_file = "e"
env = {{ {env} }}
"#
        )
    };
    let app = App::new(&config("COPO_PROCESS = \"forged\""));
    app.write("e", "A=file\nB=\"file\nof lines\"\nCOPO_PROCESS=forged\n");
    let refused = app.copo(&["check"]).fails_with(2);
    assert!(refused.stderr.contains("COPO_PROCESS"), "{}", refused.stderr);
    app.configure(&config("A = \"env\""));
    assert!(app.command(&["up", "-d"]).env("B", "own").env("C", "own").status().expect("copo runs").success());
    app.wait_state("a-1", "finished");
    assert_eq!(app.log("a-1"), ["env", "file", "of lines", "own", "a-1"]);
}

#[test]
fn a_dependence_on_replicas_needs_all_of_them() {
    let app = App::new(
        r#"
[process.w]
executable_path = "sh"
args = ["-c", "while [ ! -e $COPO_PROCESS ]; do sleep 0.01; done; exit $(cat $COPO_PROCESS)"]
replicas = 2
restart = "no"
[process.good]
executable_path = "true"
depends_on = [{ process = "w", condition = "succeeded" }]
[process.any]
executable_path = "true"
depends_on = [{ process = "w", condition = "finished" }]
"#,
    );
    app.up();
    app.write("new", "0");
    std::fs::rename(app.path("new"), app.path("w-1")).expect("renamed");
    app.wait_state("w-1", "finished");
    assert_eq!((app.state_of("good-1").as_str(), app.state_of("any-1").as_str()), ("waiting", "waiting"));
    app.write("new", "1");
    std::fs::rename(app.path("new"), app.path("w-2")).expect("renamed");
    app.wait_state("any-1", "finished");
    assert_eq!(app.state_of("good-1"), "waiting");
    std::fs::write(app.path("w-2"), "0").expect("written");
    app.copo(&["start", "w-2"]).ok();
    let finished =
        eventually_some("it may start", || Some(app.ps()["good-1"]["state"].clone()).filter(|s| s == "finished"));
    assert_eq!(finished, "finished");
}

#[test]
fn a_schedule_that_comes_round_again_queues_or_replaces_as_it_says() {
    let app = App::new(
        r#"
[process.replace]
executable_path = "{puppet}"
args = ["append", "starts", "x", "sleep"]
trigger_type = "cron"
trigger_definition = "* * * * * *"
overlap = "replace"
[process.queue]
executable_path = "{puppet}"
args = ["append", "queued", "x", "wait-file", "go"]
trigger_type = "cron"
trigger_definition = "* * * * * *"
overlap = "queue"
"#,
    );
    app.up();
    // Each start of the one is the end of the one before; of the other a second waits, and a third is passed over.
    eventually("it was replaced twice", || app.read("starts").lines().count() >= 3);
    eventually("a third was passed over", || {
        let is_skip =
            |report: &serde_json::Value| report["facts"]["event"] == "skipped" && report["facts"]["process"] == "queue";
        app.reports().iter().any(is_skip)
    });
    assert_eq!(app.read("queued").lines().count(), 1);
    app.write("go", "");
    eventually("the one that waited has run", || app.read("queued").lines().count() >= 2);
    assert!(!app.events("replace-1").contains(&"failed".to_owned()), "to be replaced is no failure");
}

#[test]
fn up_with_a_name_starts_that_and_what_it_needs() {
    let sleeper = |name: &str, more: &str| {
        format!("[process.{name}]\nexecutable_path = \"{{puppet}}\"\nargs = [\"sleep\"]\n{more}\n")
    };
    let app = App::new(&(sleeper("db", "") + &sleeper("api", "depends_on = [\"db\"]") + &sleeper("other", "")));
    app.copo(&["up", "-d", "--wait", "api"]).ok();
    let states = ["db-1", "api-1", "other-1"].map(|name| app.state_of(name));
    assert_eq!(states, ["running", "running", "idle"], "nobody has stopped the third");
    app.copo(&["stop", "other"]).ok();
    assert_eq!(app.state_of("other-1"), "stopped");
}

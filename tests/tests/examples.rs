//! The examples, run as their READMEs say, and what they show.
#![cfg(unix)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use copo_tests::app::{is_alive, kill_9};
use copo_tests::{App, build, eventually, eventually_some};
use serde_json::Value;

#[test]
fn hello_greets_the_world_the_moon_and_the_sun() {
    let app = App::example("hello");
    let mut up = app.spawn(&["up"]);
    let mut shown = String::new();
    let mut out = up.stdout.take().expect("it is piped");
    let mut buffer = [0; 4096];
    while !shown.contains("hello, sun") {
        let n = out.read(&mut buffer).expect("copo writes");
        assert!(n > 0, "copo ended: {shown}");
        shown.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    let lines: Vec<&str> = shown.lines().filter(|line| line.contains("hello,")).collect();
    assert_eq!(lines, ["listener-1 | hello, world", "listener-1 | hello, moon", "listener-1 | hello, sun"]);
    let senders: Vec<Value> = app.records().iter().map(|record| record["sent_by"].clone()).collect();
    assert_eq!(senders, ["speaker-1"; 3]);
    app.wait_state("speaker-1", "finished");
    app.down();
    assert!(up.wait().expect("it was started here").success());
}

/// The tools polyglot needs; without one it is passed over on a developer's machine.
fn polyglot_can_run() -> bool {
    let missing =
        ["cc", "python3", "node", "npm"].into_iter().find(|tool| Command::new(tool).arg("--version").output().is_err());
    if let Some(tool) = missing {
        assert!(std::env::var_os("CI").is_none(), "there is no {tool} on this machine");
        eprintln!("polyglot: ignored, no {tool}");
    }
    missing.is_none()
}

/// Four builds from nothing, on a slow machine.
const BUILT_WITHIN: Duration = Duration::from_secs(1800);
const BUILDS: [&str; 4] = ["build-c-1", "build-rust-1", "build-python-1", "build-node-1"];
const WORKERS: [&str; 4] = ["sampler-1", "archive-1", "stats-1", "page-1"];

#[test]
fn polyglot_builds_itself_runs_outlives_kills_and_stops_cleanly() {
    if !polyglot_can_run() {
        return;
    }
    let app = App::example("polyglot");
    start(&app);
    let pids = WORKERS.map(|worker| app.pid(worker));

    let newest = |key: &str| app.copo(&["udd", "get", "--key", key]).stdout;
    let cpu: Value = serde_json::from_str(&newest("machine/cpu")).expect("JSON from the sampler");
    assert_eq!(cpu["unit"], "%");
    eventually("statistics are published", || newest("stats/cpu").contains("mean"));
    the_page_serves(&app);
    the_summary_is_written_and_the_archive_packed(&app);
    each_worker_is_started_again(&app);
    let after = WORKERS.map(|worker| app.pid(worker));
    assert!(pids.iter().all(|pid| !after.contains(pid)));
    the_archive_is_whole(&app);

    app.down();

    assert!(after.into_iter().all(|pid| !is_alive(pid)));
    let reports = app.reports();
    let stopped = |name: &str| {
        let at = |report: &Value| report["facts"]["event"] == "stopped" && report["facts"]["internal_name"] == name;
        reports.iter().position(at).unwrap_or_else(|| panic!("{name} is not reported stopped"))
    };
    assert!(["archive-1", "stats-1", "page-1"].iter().all(|worker| stopped(worker) < stopped("sampler-1")));
    assert!(WORKERS.iter().all(|worker| app.reports().iter().any(|report| report["sent_by"] == *worker)));
}

fn start(app: &App) {
    let mut up = app.command(&["up", "-d"]);
    up.env("POLYGLOT_ROOT", build::workspace()).env("POLYGLOT_PROFILE", "dev").env("PORT", "0");
    up.env("CARGO_TARGET_DIR", build::target());
    assert!(up.status().expect("copo can be run").success());
    let start = Instant::now();
    loop {
        let now = app.ps();
        // A download that failed once may do better the next time; a build that keeps failing will not.
        let has_failed = |name: &&str| now[*name]["restarts"].as_u64() > Some(2);
        let failed: Vec<&str> = BUILDS.into_iter().filter(has_failed).collect();
        let logs = || app.copo(&["logs", "-n", "40"]).stdout;
        assert!(failed.is_empty(), "{failed:?} failed: {}", logs());
        if WORKERS.iter().all(|worker| now[*worker]["ready"] == true) {
            return;
        }
        assert!(start.elapsed() < BUILT_WITHIN, "not built within {BUILT_WITHIN:?}: {}", logs());
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn the_page_serves(app: &App) {
    let address = eventually_some("the page's address is reported", || {
        let text = |report: &Value| report["report_buff"].as_str().unwrap_or_default().to_owned();
        app.reports()
            .iter()
            .rev()
            .map(text)
            .find_map(|text| Some(text.strip_prefix("page http://")?.trim_end_matches('/').to_owned()))
    });
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&address).expect("the page listens");
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("the request is taken");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    };
    assert!(get("/").contains("This machine, live"));
    eventually("the page has figures", || get("/newest").contains("machine/memory"));
}

fn the_summary_is_written_and_the_archive_packed(app: &App) {
    let before = app.events("compress-1").iter().filter(|event| *event == "finished").count();
    // Cron may have started it at this very moment: then its own run is as good.
    let triggered = app.copo(&["trigger", "summary", "--wait"]);
    assert!(matches!(triggered.code, 0 | 1), "{}", triggered.stderr);
    eventually("the summary is written", || app.read("out/summary.txt").contains("records"));
    eventually("what follows the summary has run", || {
        app.events("compress-1").iter().filter(|event| *event == "finished").count() > before
    });
}

fn each_worker_is_started_again(app: &App) {
    for killed in WORKERS {
        let others: Vec<(&str, u32)> =
            WORKERS.iter().filter(|name| **name != killed).map(|name| (*name, app.pid(name))).collect();
        let pid = app.pid(killed);
        kill_9(pid);
        eventually(&format!("{killed} runs and is ready anew"), || {
            let now = &app.ps()[killed];
            now["pid"].as_u64().is_some_and(|new| new != u64::from(pid)) && now["ready"] == true
        });
        assert!(others.iter().all(|(name, pid)| app.pid(name) == *pid), "the others never notice");
    }
}

/// Every record up to now stands in the CSV files once, although the archive was killed.
fn the_archive_is_whole(app: &App) {
    let wanted: Vec<u64> = app.records().iter().filter_map(|record| record["seq"].as_u64()).collect();
    let archived = || {
        let script = "for f in out/csv/*.csv out/csv/*.csv.gz; do [ -e \"$f\" ] || continue; case $f in *.gz) gzip -dc \"$f\" ;; *) cat \"$f\" ;; esac; done";
        let output = Command::new("sh").args(["-c", script]).current_dir(app.folder()).output().expect("sh runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().filter_map(|line| line.split(',').next()?.parse().ok()).collect::<Vec<u64>>()
    };
    eventually("the archive has them all", || archived().len() >= wanted.len());
    let mut archived = archived();
    archived.sort_unstable();
    archived.truncate(wanted.len());
    assert_eq!(archived, wanted);
}

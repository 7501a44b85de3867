//! Readiness and liveness as levels: probes of every kind, NOTIFY_SOCKET, the watchdog, and progress.
#![cfg(unix)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};

use copo_tests::app::{is_alive, kill_9};
use copo_tests::{App, eventually, eventually_some};
use serde_json::Value;

/// A server in this process whose answer can be changed.
struct Health {
    port: u16,
    status: Arc<AtomicU16>,
    asked: Arc<AtomicU32>,
    is_over: Arc<AtomicBool>,
}

impl Health {
    fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (status, asked) = (Arc::new(AtomicU16::new(status)), Arc::new(AtomicU32::new(0)));
        let is_over = Arc::new(AtomicBool::new(false));
        let health =
            Self { port, status: Arc::clone(&status), asked: Arc::clone(&asked), is_over: Arc::clone(&is_over) };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::Acquire) {
                    return;
                }
                let mut stream = stream.expect("a connection");
                let mut request = [0; 1024];
                let read = stream.read(&mut request).expect("a request");
                assert!(request[..read].starts_with(b"GET /health?x=1 HTTP/1.1\r\nHost: 127.0.0.1:"), "{request:?}");
                asked.fetch_add(1, Ordering::AcqRel);
                let status = status.load(Ordering::Acquire);
                // 0 stands for a server that hangs up.
                if status > 0 {
                    let answer = format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 2\r\n\r\nok");
                    let _ = stream.write_all(answer.as_bytes());
                }
            }
        });
        health
    }

    fn say(&self, status: u16) {
        self.status.store(status, Ordering::Release);
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Waits until an instance's reports hold this event, and returns the newest such.
#[track_caller]
fn reported(app: &App, internal_name: &str, event: &str) -> Value {
    eventually_some(&format!("{internal_name}: {event}"), || {
        let is_it =
            |report: &&Value| report["facts"]["internal_name"] == internal_name && report["facts"]["event"] == event;
        app.reports().iter().rev().find(is_it).map(|report| report["facts"].clone())
    })
}

fn reason(facts: &Value) -> String {
    facts["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn http_readiness_is_a_level_and_a_dependent_says_why_it_waits() {
    let health = Health::start(503);
    let app = App::new(&format!(
        r#"
[process.db]
executable_path = "{{puppet}}"
args = ["sleep"]
ready = {{ http = "http://127.0.0.1:{}/health?x=1", interval = "20ms", failures = 2 }}
[process.web]
executable_path = "{{puppet}}"
args = ["sleep"]
depends_on = ["db"]
"#,
        health.port
    ));
    app.up();
    let web = eventually_some("web says why", || {
        let web = app.wait_state("web-1", "waiting");
        web["waiting_for"]
            .as_str()
            .is_some_and(|why| why.contains("db is not ready") && why.contains("503"))
            .then_some(web)
    });
    assert!(web["waiting_for"].as_str().is_some_and(|why| why.contains("GET http://127.0.0.1:")), "{web}");
    let db = app.wait_state("db-1", "starting");
    assert_eq!(db["ready"], false);
    assert!(db["reason"].as_str().is_some_and(|why| why.contains("503")), "{db}");

    health.say(204);
    app.copo(&["wait", "web", "--for", "ready", "--timeout", "60"]).ok();
    let pid = app.pid("db-1");

    health.say(0);
    let lost = reported(&app, "db-1", "not_ready");
    assert!(reason(&lost).contains("the ready probe failed 2 times") && reason(&lost).contains("closed"), "{lost}");
    let db = app.wait_state("db-1", "running");
    assert_eq!((&db["ready"], &db["pid"]), (&false.into(), &pid.into()), "it is left alone: {db}");
    assert_eq!(app.state_of("web-1"), "running");
    app.copo(&["wait", "db", "--for", "ready", "--timeout", "0.05"]).fails_with(124);
    let shown = app.copo(&["ps"]).ok().stdout;
    assert!(shown.contains("STATUS") && shown.contains("the ready probe failed"), "{shown}");

    health.say(200);
    app.copo(&["wait", "db", "--for", "ready", "--timeout", "60"]).ok();
    assert_eq!(app.events("db-1"), ["starting", "started", "ready", "not_ready", "ready"]);
}

#[test]
fn a_timeout_is_not_readiness() {
    let app = App::new(
        r#"
[process.db]
executable_path = "{puppet}"
args = ["sleep"]
ready = { exec = ["sh", "-c", "echo not today; exit 3"], interval = "20ms" }
ready_timeout = "2s"
restart = "no"
[process.web]
executable_path = "{puppet}"
args = ["touch", "web ran"]
depends_on = ["db"]
"#,
    );
    let said = app.copo(&["up", "-d", "--wait"]).fails_with(1).stderr;
    assert!(said.contains("not ready within 2s: sh: exit code 3: not today"), "{said}");
    assert_eq!(app.state_of("db-1"), "failed");
    assert_eq!(app.events("db-1"), ["starting", "started", "not_ready", "stopping", "exited", "failed"]);
    assert!(!app.path("web ran").exists());
    assert!(app.ps()["db-1"]["reason"].as_str().is_some_and(|why| why.contains("not ready")), "{:?}", app.ps());
}

#[test]
fn tcp_is_ready_while_a_connection_is_taken() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let app = App::new(&format!(
        r#"
[process.a]
executable_path = "{{puppet}}"
args = ["sleep"]
ready = {{ tcp = "localhost:{port}", interval = "20ms", failures = 1 }}
"#
    ));
    app.up();
    eventually("it says why", || {
        app.ps()["a-1"]["reason"]
            .as_str()
            .is_some_and(|why| why.contains(&format!("tcp localhost:{port}: connection refused")))
    });
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free still");
    app.copo(&["wait", "a", "--for", "ready", "--timeout", "60"]).ok();
    drop(listener);
    reported(&app, "a-1", "not_ready");
}

#[test]
fn exec_runs_as_the_process_does_and_leaves_nothing_behind() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["print", "up", "sleep"]
cwd = "work"
env = { WANTED = "go" }
ready = { exec = ["./probe.sh", "one arg"], timeout = "300ms", interval = "20ms" }
"#,
    );
    let script = "#!/bin/sh\necho $$ \"$1\" \"$COPO_PROCESS\" >> probes\ncopo version >/dev/null || exit 9\ntest -e \"$WANTED\" || exec sleep 1000\n";
    app.write("probe.sh", script);
    app.write("work/x", "");
    std::process::Command::new("chmod")
        .args(["+x", "probe.sh"])
        .current_dir(app.folder())
        .status()
        .expect("chmod runs");
    app.up();
    eventually("it is asked again after a timeout", || app.read("work/probes").lines().count() > 1);
    let probes = app.read("work/probes");
    let words: Vec<&str> = probes.lines().next().expect("a line").splitn(2, ' ').collect();
    assert_eq!(words[1], "one arg a-1");
    let pid: u32 = words[0].parse().expect("a pid");
    eventually("who does not answer is killed", || !is_alive(pid));
    eventually("it says why", || {
        app.ps()["a-1"]["reason"].as_str().is_some_and(|why| why.contains("no answer within 300ms"))
    });
    app.write("work/go", "");
    app.copo(&["wait", "a", "--for", "ready", "--timeout", "60"]).ok();
    assert_eq!(app.log("a-1"), ["up"], "what a probe prints is none of the process's output");
}

#[test]
fn a_line_of_the_output_makes_ready() {
    for (probe, line) in
        [("log = \"ready to accept\"", "is ready to accept now"), ("log_regex = \"^port [0-9]+$\"", "port 80")]
    {
        let app = App::new(&format!(
            r#"
[process.a]
executable_path = "{{puppet}}"
args = ["print", "not ready to", "print", "accept port 8", "wait-file", "go", "print", "{line}", "sleep"]
ready = {{ {probe} }}
"#
        ));
        app.up();
        eventually("it has printed", || app.log("a-1").len() == 2);
        assert_eq!(app.state_of("a-1"), "starting");
        app.write("go", "");
        app.copo(&["wait", "a", "--for", "ready", "--timeout", "60"]).ok();
        assert_eq!(app.log("a-1").len(), 3);
    }
}

#[test]
fn a_run_that_is_not_alive_is_killed_and_restarted_and_that_is_said() {
    let health = Health::start(200);
    let app = App::new(&format!(
        r#"
[process.a]
executable_path = "{{puppet}}"
args = ["ignore-term", "append", "runs", "x", "sleep"]
stop_grace = "50ms"
startup = {{ exec = ["test", "-e", "started"], interval = "10ms", failures = 1000 }}
liveness = {{ http = "http://127.0.0.1:{}/health?x=1", interval = "20ms", failures = 3 }}
"#,
        health.port
    ));
    app.up();
    eventually("it runs", || app.read("runs").lines().count() == 1);
    assert_eq!((app.state_of("a-1").as_str(), health.asked.load(Ordering::Acquire)), ("starting", 0));
    app.write("started", "");
    app.copo(&["wait", "a", "--for", "ready", "--timeout", "60"]).ok();
    let pid = app.pid("a-1");
    eventually("it is asked", || health.asked.load(Ordering::Acquire) > 1);

    health.say(500);

    let stopping = reported(&app, "a-1", "stopping");
    assert!(
        reason(&stopping).contains("the liveness probe failed 3 times") && reason(&stopping).contains("500"),
        "{stopping}"
    );
    health.say(200);
    eventually("it is restarted", || app.read("runs").lines().count() == 2);
    assert!(!is_alive(pid));
    assert_eq!(reported(&app, "a-1", "exited")["signal"], "SIGKILL");
}

#[test]
fn sd_notify_makes_ready_and_says_what_it_does() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["env", "NOTIFY_SOCKET", "notify", "STATUS=loading 1 of 2", "wait-file", "go", "notify", "READY=1\nSTATUS=serving", "wait-file", "stop", "notify", "STOPPING=1\nSTATUS=saving", "wait-file", "end", "exit", "3"]
ready = "notify"
restart = "no"
[process.b]
executable_path = "{puppet}"
args = ["env", "NOTIFY_SOCKET", "sleep"]
depends_on = ["a"]
"#,
    );
    let mut up = app.command(&["up", "-d"]);
    assert!(up.env("NOTIFY_SOCKET", "/not/mine").env("WATCHDOG_USEC", "1").status().expect("copo runs").success());
    eventually("its status is shown", || app.ps()["a-1"]["status"] == "loading 1 of 2");
    assert_eq!((app.state_of("a-1").as_str(), app.state_of("b-1").as_str()), ("starting", "waiting"));

    // Nobody else is heard, though the socket is there for the taking.
    let socket = app.log("a-1")[0].clone();
    let stranger = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
    stranger.send_to(b"READY=1\nSTATUS=mine", &socket).expect("the message is taken");
    stranger.send_to(b"nonsense \xff\n\0", &socket).expect("the message is taken");
    app.write("go", "");
    eventually("its status is shown", || app.ps()["a-1"]["status"] == "serving");
    assert_eq!(app.events("a-1"), ["starting", "started", "ready"]);
    eventually("b has none", || app.log("b-1") == ["(not set)"]);
    let own_log = std::fs::read_to_string(app.state("orchestrator/log")).expect("the orchestrator's log");
    assert!(own_log.contains(&format!("pid {} is no process of run", std::process::id())), "{own_log}");

    app.write("stop", "");
    app.wait_state("a-1", "stopping");
    assert!(reason(&reported(&app, "a-1", "stopping")).contains("it says that it is stopping"));
    app.write("end", "");
    assert_eq!(app.wait_state("a-1", "failed")["exit_code"], 3);
    assert!(!std::path::Path::new(&socket).exists());
}

#[test]
fn a_helper_of_the_run_may_speak_for_it() {
    let app = App::new(
        r#"
[process.a]
executable_path = "sh"
args = ["-c", "'{puppet}' notify READY=1; exec '{puppet}' sleep"]
ready = "notify"
"#,
    );
    app.copo(&["up", "-d", "--wait", "--wait-timeout", "60"]).ok();
    assert_eq!(app.state_of("a-1"), "running");
}

#[cfg(target_os = "linux")]
#[test]
fn the_main_process_can_be_another_and_its_end_counts() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["main-child", "wait-file", "go", "exit", "0"]
ready = "notify"
restart = "no"
"#,
    );
    app.copo(&["up", "-d", "--wait", "--wait-timeout", "60"]).ok();
    let starter: u32 =
        std::fs::read_to_string(app.state("pids/a-1.pid")).expect("a pid file").trim().parse().expect("a pid");
    let main = app.pid("a-1");
    assert_ne!(main, starter);
    app.write("go", "");
    eventually("the one that was started has ended", || !is_alive(starter));
    assert_eq!((app.state_of("a-1").as_str(), app.pid("a-1")), ("running", main));

    kill_9(main);
    assert_eq!(app.wait_state("a-1", "failed")["signal"], "SIGKILL");
    app.copo(&["start", "a"]).ok();
    app.copo(&["wait", "a", "--for", "ready", "--timeout", "60"]).ok();
    let main = app.pid("a-1");
    app.copo(&["stop", "a"]).ok();
    eventually("stopped means gone, in a group of its own too", || !is_alive(main));
}

#[test]
fn a_missing_sign_of_life_is_the_end() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["env", "WATCHDOG_USEC", "append", "runs", "x", "notify", "READY=1", "feed", "5", "100", "touch", "fed", "sleep"]
watchdog = "2s"
"#,
    );
    app.up();
    eventually("it has fed its watchdog", || app.path("fed").exists());
    assert_eq!((app.log("a-1")[0].as_str(), app.read("runs").lines().count()), ("2000000", 1));
    let stopping = reported(&app, "a-1", "stopping");
    assert!(reason(&stopping).contains("no sign of life for 2s"), "{stopping}");
    eventually("it is restarted", || app.read("runs").lines().count() == 2);
}

#[test]
fn who_follows_records_and_reads_none_is_not_alive() {
    let app = App::new(
        r#"
[process.stuck]
executable_path = "{puppet}"
args = ["subscribe", "**", "ready", "sleep"]
ready = "sdk"
progress = "400ms"
[process.reader]
executable_path = "{puppet}"
args = ["follow", "**", "1000000"]
progress = "400ms"
"#,
    );
    app.copo(&["up", "-d", "--wait", "--wait-timeout", "60"]).ok();
    let (stuck, reader) = (app.pid("stuck-1"), app.pid("reader-1"));
    app.copo(&["udd", "send", "--key", "k", "something to read"]).ok();

    let stopping = reported(&app, "stuck-1", "stopping");
    assert!(reason(&stopping).contains("has read nothing of what it follows for 400ms"), "{stopping}");
    eventually("it is restarted", || app.ps()["stuck-1"]["pid"].as_u64().is_some_and(|pid| pid != u64::from(stuck)));
    assert_eq!(app.pid("reader-1"), reader, "who reads is left alone");
    eventually("it has read", || !app.log("reader-1").is_empty());
}

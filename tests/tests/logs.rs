//! What processes write: logs, rotation, stdio, and the command line that shows them.
#![cfg(unix)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use copo_tests::{App, eventually};

#[test]
fn a_log_holds_exactly_what_was_written() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["print", "one", "error", "two", "print", "three"]
"#,
    );
    app.up();
    app.wait_state("a-1", "finished");
    assert_eq!(std::fs::read(app.state("logs/a-1.log")).expect("a log"), b"one\ntwo\nthree\n");
    app.down();
    assert_eq!(app.copo(&["logs", "--no-prefix"]).ok().stdout, "one\ntwo\nthree\n", "it works after all has ended");
    assert_eq!(app.copo(&["logs", "a", "-n", "1", "--no-prefix"]).ok().stdout, "three\n");
    let json = app.copo(&["logs", "a", "--json"]).ok().json_lines();
    assert_eq!(json.len(), 3);
    assert!(app.copo(&["logs", "a-1", "-t"]).ok().stdout.lines().all(|line| line.contains("20") && line.contains(':')));
    app.copo(&["logs", "nobody"]).fails_with(4);
}

#[test]
fn rotation_keeps_whole_lines_and_only_so_many_files() {
    let app = App::new(
        r#"
[process.all]
executable_path = "{puppet}"
args = ["lines", "20000"]
log = { size = "64KiB", files = 10 }
[process.few]
executable_path = "{puppet}"
args = ["lines", "20000"]
log = { size = "16KiB", files = 2 }
"#,
    );
    app.up();
    app.wait_state("all-1", "finished");
    app.wait_state("few-1", "finished");
    let shown = app.copo(&["logs", "all", "--no-prefix"]).ok().stdout;
    assert_eq!(shown, (0..20_000).map(|i| format!("line {i}\n")).collect::<String>());
    let files = |name: &str| {
        let entries = std::fs::read_dir(app.state("logs")).expect("the folder of logs");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
        let mut names: Vec<String> = names.filter(|file| file.starts_with(&format!("{name}.log"))).collect();
        names.sort();
        names
    };
    assert!(files("all-1").len() > 1, "{:?}", files("all-1"));
    assert_eq!(files("few-1"), ["few-1.log", "few-1.log.1"]);
    for file in files("all-1") {
        let bytes = std::fs::read(app.state(&format!("logs/{file}"))).expect("a log");
        assert!(bytes.starts_with(b"line ") && bytes.ends_with(b"\n"), "{file} is cut inside a line");
    }
}

#[test]
fn all_logs_together_hold_no_more_than_they_may() {
    let app = App::new(
        r#"
log.total = "100KiB"
[process.first]
executable_path = "{puppet}"
args = ["lines", "20000"]
log = { size = "32KiB", files = 100 }
[process.then]
executable_path = "{puppet}"
args = ["lines", "5000"]
log = { size = "16KiB", files = 100 }
trigger_type = "dependence_finish"
depends_on = ["first"]
"#,
    );
    app.up();
    app.wait_state("then-1", "finished");
    let sizes = || {
        let entries = std::fs::read_dir(app.state("logs")).expect("the folder of logs");
        entries.map(|entry| entry.expect("an entry").metadata().expect("its size").len()).sum::<u64>()
    };
    // What the current file has got since its rotation comes on top.
    assert!(sizes() <= (100 + 16) * 1024, "{}", sizes());
    let shown = |name: &str| app.copo(&["logs", name, "--no-prefix"]).ok().stdout;
    assert!(shown("then").ends_with("line 4999\n") && shown("first").ends_with("line 19999\n"));
    assert!(shown("first").len() < 64 * 1024, "what is oldest has gone, whosesoever it is");
}

#[test]
fn logs_follow_across_processes() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["print", "first", "wait-file", "go", "print", "second", "sleep"]
"#,
    );
    app.up();
    eventually("it printed", || app.log("a-1") == ["first"]);
    let mut follower = app.spawn(&["logs", "-f"]);
    let mut out = follower.stdout.take().expect("it is piped");
    let mut shown = String::new();
    let mut read_until = |word: &str| {
        let mut buffer = [0; 4096];
        while !shown.contains(word) {
            let n = out.read(&mut buffer).expect("the follower writes");
            assert!(n > 0, "the follower ended: {shown}");
            shown.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
    };
    read_until("first");
    app.write("go", "");
    read_until("second");
    follower.kill().expect("it runs");
    follower.wait().expect("it was started here");
}

#[test]
fn stdio_shows_what_is_written_and_feeds_stdin() {
    let app = App::new(
        r#"
[process.echo]
executable_path = "{puppet}"
args = ["cat"]
stdin = "attach"
"#,
    );
    app.copo(&["up", "-d", "--wait"]).ok();
    let mut first = UnixStream::connect(app.state("echo-1/stdio")).expect("the process's stdio");
    let mut buffer = [0; 6];
    first.write_all(b"hello\n").expect("it is taken");
    first.read_exact(&mut buffer).expect("it comes back");
    assert_eq!(&buffer, b"hello\n");
    let mut second = UnixStream::connect(app.state("echo-1/stdio")).expect("any number of readers");
    // Whoever connects later reads from then on: wait until the second one hears.
    second.set_read_timeout(Some(std::time::Duration::from_millis(50))).expect("a timeout can be set");
    eventually("the second reader hears too", || {
        first.write_all(b"again\n").expect("it is taken");
        second.read(&mut buffer).is_ok_and(|n| n > 0)
    });
    assert!(app.log("echo-1").len() >= 2);
}

#[test]
fn attach_shows_live_output_and_refuses_what_does_not_run() {
    let app = App::new(
        r#"
[process.echo]
executable_path = "{puppet}"
args = ["cat"]
stdin = "attach"
[process.done]
executable_path = "true"
"#,
    );
    app.up();
    app.wait_state("echo-1", "running");
    app.wait_state("done-1", "finished");
    app.copo(&["attach", "done"]).fails_with(3);
    app.copo(&["attach", "nobody"]).fails_with(4);
    let ran = app.copo_with_input(&["attach", "echo"], b"over\n").ok();
    assert_eq!(ran.stdout, "over\n");
}

#[test]
fn a_grandchild_that_keeps_the_pipe_open_holds_nothing_up() {
    let app = App::new(
        r#"
[process.a]
executable_path = "sh"
args = ["-c", "echo said; setsid sleep 600 & echo $! ; exit 0"]
"#,
    );
    app.up();
    app.wait_state("a-1", "finished");
    let log = app.log("a-1");
    assert_eq!(log[0], "said");
    app.down();
    let stray: u32 = log[1].parse().expect("a pid");
    if copo_tests::app::is_alive(stray) {
        copo_tests::app::kill_9(stray);
    }
}

#[test]
fn following_goes_on_across_rotations_and_misses_no_line() {
    let app = App::new(
        r#"
[process.a]
executable_path = "sh"
args = ["-c", "i=0; while [ $i -lt 400 ]; do echo \"line $i of a log that is turned again and again\"; i=$((i+1)); [ $((i%20)) -ne 0 ] || while [ ! -e step-$i ]; do sleep 0.005; done; done; sleep 600"]
log = { size = "2KiB", files = 2 }
"#,
    );
    app.up();
    let mut follower = app.spawn(&["logs", "-f", "--no-prefix"]);
    let mut out = std::io::BufRead::lines(std::io::BufReader::new(follower.stdout.take().expect("it is piped")));
    for n in 0..400 {
        let line = out.next().expect("the follower goes on").expect("UTF-8");
        assert_eq!(line, format!("line {n} of a log that is turned again and again"));
        // The process writes on only when all before was shown: it is turned while followed, not before.
        if n % 20 == 19 {
            app.write(&format!("step-{}", n + 1), "");
        }
    }
    let rotated = std::fs::metadata(app.state("logs/a-1.log.1")).expect("it was turned").len();
    assert!(rotated > 0);
    follower.kill().expect("it runs");
    follower.wait().expect("it was started here");
}

#[test]
fn a_slow_follower_is_told_how_many_lines_it_missed_and_holds_nobody_up() {
    const LINES: u64 = 100_000;
    let app = App::new(&format!(
        r#"
[process.a]
executable_path = "{{puppet}}"
args = ["print", "line 0", "wait-file", "go", "lines", "{LINES}"]
log = {{ size = "16KiB", files = 1 }}
"#
    ));
    app.up();
    eventually("it printed", || app.log("a-1") == ["line 0"]);
    let mut follower = app.spawn(&["logs", "-f", "--no-prefix"]);
    let mut out = std::io::BufRead::lines(std::io::BufReader::new(follower.stdout.take().expect("it is piped")));
    let mut next = move || out.next().expect("it goes on").expect("UTF-8");
    assert_eq!(next(), "line 0");
    // Until it has ended nobody reads what the follower prints.
    app.write("go", "");
    app.wait_state("a-1", "finished");
    let (mut expected, mut gaps) = (0, Vec::new());
    while expected < LINES {
        let line = next();
        let number: u64 = line.strip_prefix("line ").and_then(|number| number.parse().ok()).expect("a whole line");
        assert!(number >= expected, "{number} after {expected}");
        gaps.extend(Some(number - expected).filter(|gap| *gap > 0));
        expected = number + 1;
    }
    follower.kill().expect("it runs");
    let told = follower.wait_with_output().expect("it was started here").stderr;
    let told = String::from_utf8(told).expect("UTF-8");
    let count = |line: &str| line.split_whitespace().find_map(|word| word.parse().ok());
    let counts: Vec<u64> = told.lines().filter(|line| line.contains("skipped")).filter_map(count).collect();
    assert_eq!(counts, gaps, "{told}");
    assert!(gaps.iter().sum::<u64>() > LINES / 2, "{gaps:?}");
}

#[test]
fn attach_shows_the_last_word_of_a_process_and_ends_with_it() {
    let app = App::new(
        r#"
[process.a]
executable_path = "sh"
args = ["-c", "read go; head -c 200000 /dev/zero | tr '\\0' x; echo; echo LAST"]
stdin = "attach"
[process.b]
executable_path = "sh"
args = ["-c", "echo hello; read go; echo bye; exit 1"]
stdin = "attach"
backoff = { initial = "1ms", max = "1ms" }
"#,
    );
    for _ in 0..5 {
        app.copo(&["up", "-d", "--wait"]).ok();
        let shown = app.copo_with_input(&["attach", "a"], b"go\n").ok().stdout;
        assert_eq!(shown.len(), 200_006, "{:?}", &shown[..shown.len().min(100)]);
        assert!(shown.ends_with("\nLAST\n"));
        app.down();
    }
    // A restart by policy is no rest: who is attached stays so.
    app.copo(&["up", "-d", "--wait"]).ok();
    let mut attached = app.command(&["attach", "b"]);
    attached.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut attached = attached.spawn().expect("copo runs");
    let mut input = attached.stdin.take().expect("it is piped");
    let mut out = std::io::BufRead::lines(std::io::BufReader::new(attached.stdout.take().expect("it is piped")));
    let mut says = |word: &str| while out.next().expect("it goes on").expect("UTF-8") != word {};
    // Whoever attaches may have missed the first hello.
    for _ in 0..3 {
        input.write_all(b"go\n").expect("it is taken");
        says("bye");
        says("hello");
    }
    app.copo(&["stop", "b"]).ok();
    assert!(out.next().is_none(), "a stop is one");
    assert!(attached.wait().expect("copo ends").success());
    app.copo(&["attach", "b"]).fails_with(3);
}

#[test]
#[cfg(target_os = "linux")]
fn a_log_that_takes_nothing_holds_nobody_up_and_is_gone_on_with() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["wait-file", "full", "flood", "20000", "touch", "over", "wait-file", "free", "print", "again",
        "wait-file", "gone", "print", "anew", "touch", "anew", "wait-file", "barred", "flood", "20000", "touch", "passed",
        "wait-file", "open", "print", "at last", "sleep"]
"#,
    );
    app.up();
    let (logs, log) = (app.state("logs"), app.state("logs/a-1.log"));
    let said = || app.read("h/t/orchestrator/log");
    std::os::unix::fs::symlink("/dev/full", &log).expect("the folder is ours");
    app.write("full", "");
    eventually("it has written all on a full disk", || app.path("over").exists());
    std::fs::remove_file(&log).expect("it is there");
    app.write("free", "");
    eventually("it is logged again", || app.log("a-1") == ["again"]);
    assert!(said().contains("cannot write the log of a-1: No space left on device"), "{}", said());
    eventually("it is said how much is lost", || {
        said().contains("the log of a-1 is written again; 2000000 bytes are lost")
    });

    std::fs::remove_dir_all(&logs).expect("it is ours");
    app.write("gone", "");
    eventually("there is a new log", || app.log("a-1") == ["anew"]);
    assert_eq!(app.copo(&["logs", "--no-prefix"]).ok().stdout, "anew\n");

    std::fs::remove_dir_all(&logs).expect("it is ours");
    std::fs::write(&logs, "in the way").expect("nothing else is there");
    app.write("barred", "");
    eventually("it has written all with no place for it", || app.path("passed").exists());
    std::fs::remove_file(&logs).expect("it is there");
    app.write("open", "");
    eventually("it is logged at last", || app.log("a-1") == ["at last"]);
    assert_eq!(said().matches("bytes are lost").count(), 2, "{}", said());
}

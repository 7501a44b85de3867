//! The shared context by the command line: records, headers, reports, and what survives.
#![cfg(unix)]

use std::time::{Duration, Instant};

use copo::v1::gap::Cause;
use copo::{From, Item, SubscribeOptions};
use copo_tests::app::{is_alive, kill_9};
use copo_tests::data::records;
use copo_tests::{App, eventually};

const QUIET: &str = r#"
[process.a]
executable_path = "{puppet}"
args = ["sleep"]
"#;

#[test]
fn records_come_back_in_order_with_who_sent_them() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["send", "k/1", "from a", "sleep"]
"#,
    );
    app.up();
    eventually("a's record is there", || app.records().len() == 1);
    app.copo(&["udd", "send", "--key", "k/2", "from a person"]).ok();
    app.copo(&["udd", "send", "no key"]).ok();
    app.copo_with_input(&["udd", "send", "-"], b"bytes \xff").ok();
    app.copo_with_input(&["udd", "send", "--lines", "-"], b"one\ntwo\n").ok();
    app.copo(&["udd", "send", "--lines", "no stdin"]).fails_with(2);
    let records = app.records();
    let field =
        |name: &str| records.iter().map(|record| record[name].as_str().unwrap_or("-").to_owned()).collect::<Vec<_>>();
    assert_eq!(field("sent_by"), ["a-1", "@cli", "@cli", "@cli", "@cli", "@cli"]);
    assert_eq!(field("key"), ["k/1", "k/2", "", "", "", ""]);
    assert_eq!(field("udd_buff"), ["from a", "from a person", "no key", "-", "one", "two"]);
    assert_eq!(records[3]["udd_buff_base64"], "Ynl0ZXMg/w==");
    let seqs: Vec<u64> = records.iter().map(|record| record["seq"].as_u64().expect("a seq")).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{seqs:?}");
    let times: Vec<u64> = records.iter().map(|record| record["sent_time"].as_u64().expect("a time")).collect();
    assert!(times.windows(2).all(|pair| pair[0] <= pair[1]), "{times:?}");
}

#[test]
fn get_gives_the_newest_of_a_key_or_of_all() {
    let app = App::new(QUIET);
    app.up();
    app.copo(&["udd", "get"]).fails_with(4);
    for (key, data) in [("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")] {
        app.copo(&["udd", "send", "--key", key, data]).ok();
    }
    assert_eq!(app.copo(&["udd", "get", "--key", "a"]).ok().stdout, "3\n");
    assert_eq!(app.copo(&["udd", "get"]).ok().stdout, "4\n");
    assert_eq!(app.copo(&["udd", "get", "--key", "a", "--json"]).ok().json()["udd_buff"], "3");
    app.copo(&["udd", "get", "--key", "c"]).fails_with(4);
    app.copo(&["udd", "send", "--key", "/bad", "x"]).fails_with(2);
}

#[test]
fn tail_follows_from_where_it_is_told_and_by_pattern() {
    let app = App::new(QUIET);
    app.up();
    for (key, data) in [("x/1", "one"), ("y/1", "two"), ("x/2", "three")] {
        app.copo(&["udd", "send", "--key", key, data]).ok();
    }
    let tail = |args: &[&str]| app.copo(&[&["udd", "tail"], args].concat()).ok().stdout;
    assert_eq!(tail(&["--from", "first", "--key", "x/*", "-n", "2"]), "one\nthree\n");
    assert_eq!(tail(&["--from", "first", "--no-follow"]), "one\ntwo\nthree\n");
    let seq = app.records()[1]["seq"].to_string();
    assert_eq!(tail(&["--from", &seq, "--no-follow"]), "two\nthree\n");
    let following = app.spawn(&["udd", "tail", "--key", "later", "-n", "1"]);
    let mut sent = 0;
    let mut following = Some(following);
    // `new` begins when the subscription stands: send until the follower has had one.
    eventually("the follower ends", || {
        app.copo(&["udd", "send", "--key", "later", "new"]).ok();
        sent += 1;
        following.as_mut().is_some_and(|child| child.try_wait().expect("it was started here").is_some())
    });
    let output = following.take().expect("it was kept").wait_with_output().expect("it ended");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "new\n");
    assert!(sent > 0);
}

#[test]
fn what_was_acknowledged_survives_a_killed_orchestrator() {
    let app = App::new("[context]\nretain = { records = 1000 }\n");
    app.up();
    let lines: String = (0..500).map(|i| format!("{i}\n")).collect();
    app.copo_with_input(&["udd", "send", "--key", "n", "--lines", "-"], lines.as_bytes()).ok();
    app.copo(&["udd", "headers", "one", "two"]).ok();
    let before = app.records();
    let pid = app.orchestrator_pid();

    app.kill_orchestrator();
    assert!(!is_alive(pid));

    assert_eq!(app.records(), before);
    assert_eq!(app.copo(&["udd", "headers"]).ok().stdout, "one\ntwo\n");
    app.copo(&["udd", "send", "more"]).ok();
    let after = app.records();
    assert_eq!(after.len(), 501);
    assert!(after[500]["seq"].as_u64() > before[499]["seq"].as_u64());
}

#[test]
fn memory_durability_begins_anew() {
    let app = App::new("[context]\ndurability = \"memory\"\n");
    app.up();
    app.copo(&["udd", "send", "x"]).ok();
    assert_eq!(app.records().len(), 1);
    app.down();
    app.up();
    assert_eq!(app.records().len(), 0);
}

#[test]
fn retention_keeps_the_newest_and_the_newest_of_each_key() {
    let app = App::new("[context]\nretain = { records = 10 }\n");
    app.up();
    app.copo(&["udd", "send", "--key", "old", "kept"]).ok();
    let lines: String = (0..100).map(|i| format!("{i}\n")).collect();
    app.copo_with_input(&["udd", "send", "--lines", "-"], lines.as_bytes()).ok();
    let data: Vec<String> =
        app.records().iter().map(|record| record["udd_buff"].as_str().expect("text").to_owned()).collect();
    assert_eq!(data, (90..100).map(|i| i.to_string()).collect::<Vec<_>>());
    assert_eq!(app.copo(&["udd", "get", "--key", "old"]).ok().stdout, "kept\n");
    let tail = app.copo(&["udd", "tail", "--from", "1", "--no-follow"]).ok();
    assert!(tail.stderr.contains("were passed over"), "the gap is told: {}", tail.stderr);
}

#[test]
fn a_record_is_gone_when_it_is_older_than_age_and_not_before_and_its_gap_is_told() {
    let age = Duration::from_secs(2);
    let app = App::new("[context]\nretain = { age = \"2s\" }\n");
    app.up();
    let client = app.client("t");
    // A busy machine may take longer to read it than it is kept: then it is tried again.
    let (seq, before) = (0..20)
        .find_map(|_| {
            let before = Instant::now();
            let seq = client.udd_send_key_sync("k", b"old").expect("it is taken");
            let is_there = records(&app.items()).iter().any(|record| record.seq == seq);
            let is_young = before.elapsed() < age;
            assert!(is_there || !is_young, "a record of {:?} is gone", before.elapsed());
            is_there.then_some((seq, before))
        })
        .expect("it can be read while it is young");
    // Nothing happens but that time goes by.
    eventually("it is gone", || records(&app.items()).is_empty());
    // The orchestrator's clock began a little later than this one, and both are read in their own way.
    assert!(before.elapsed() + Duration::from_millis(20) >= age, "gone after {:?}", before.elapsed());
    assert_eq!(app.records().len(), 0);
    let mut following = app.follow(&SubscribeOptions::default().from(From::Seq(seq)));
    let new = client.udd_send_sync(b"new").expect("it is taken");
    match following.next(Some(Duration::from_secs(60))).expect("it comes") {
        Item::Gap(gap) => {
            assert_eq!((gap.cause(), gap.first), (Cause::Trimmed, seq));
            assert!((seq..new).contains(&gap.last), "{gap:?}");
        }
        other => panic!("no gap, but {other:?}"),
    }
    assert!(matches!(following.next(Some(Duration::from_secs(60))), Ok(Item::Record(record)) if record.seq == new));
    let tail = app.copo(&["udd", "tail", "--from", &seq.to_string(), "--no-follow"]).ok();
    assert!(tail.stderr.contains("they are no longer kept"), "the gap is told: {}", tail.stderr);
    assert_eq!(app.copo(&["udd", "get", "--key", "k"]).ok().stdout, "old\n", "the newest of a key stays");
}

#[test]
fn purge_forgets_the_records_and_keeps_the_reports() {
    let app = App::new(QUIET);
    app.up();
    app.copo(&["udd", "send", "--key", "k", "x"]).ok();
    app.copo(&["report", "noted"]).ok();
    app.copo(&["udd", "purge"]).ok();
    assert_eq!(app.records().len(), 0);
    app.copo(&["udd", "get", "--key", "k"]).fails_with(4);
    assert!(app.reports().iter().any(|report| report["report_buff"] == "noted" && report["sent_by"] == "@cli"));
    app.copo(&["down", "--purge"]).ok();
    app.up();
    assert!(!app.reports().iter().any(|report| report["report_buff"] == "noted"));
}

#[test]
fn the_files_headers_win_when_the_file_has_changed() {
    let app = App::new("[context]\nheaders = [\"a\", \"b\"]\n");
    app.up();
    let headers = || app.copo(&["udd", "headers"]).ok().stdout;
    assert_eq!(headers(), "a\nb\n");
    app.copo(&["udd", "headers", "c"]).ok();
    assert_eq!(headers(), "c\n");
    app.down();
    app.up();
    assert_eq!(headers(), "c\n", "the file has not changed since it last won");
    app.down();
    app.configure("[context]\nheaders = [\"d\"]\n");
    app.up();
    assert_eq!(headers(), "d\n");
    assert!(app.reports().iter().any(|report| report["facts"]["event"] == "headers"));
}

#[test]
fn reports_json_is_whole_and_readable_without_an_orchestrator() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["ready", "sleep"]
ready = "sdk"
"#,
    );
    app.copo(&["up", "-d", "--wait"]).ok();
    app.copo(&["report", "one thing"]).ok();
    let path = app.state("reports.json");
    eventually("the file holds it", || {
        let whole: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap_or_default()).unwrap_or_default();
        whole["reports"]
            .as_array()
            .is_some_and(|reports| reports.iter().any(|report| report["report_buff"] == "one thing"))
    });
    app.down();
    let reports = app.reports();
    let events: Vec<&str> = reports.iter().filter_map(|report| report["facts"]["event"].as_str()).collect();
    for event in [
        "orchestrator_started",
        "starting",
        "started",
        "ready",
        "stopping",
        "exited",
        "stopped",
        "orchestrator_stopped",
    ] {
        assert!(events.contains(&event), "{event} is missing in {events:?}");
    }
    assert_eq!(events.last(), Some(&"orchestrator_stopped"));
    let whole: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).expect("it is there")).expect("JSON");
    assert_eq!(whole["last_report"], reports.last().expect("there are some")["report_time"]);
}

#[test]
fn a_runs_records_stand_before_its_end() {
    let app = App::new(
        r#"
[process.a]
executable_path = "{puppet}"
args = ["send-many", "1000", "exit", "0"]
"#,
    );
    app.up();
    app.wait_state("a-1", "finished");
    let records = app.records();
    assert_eq!(records.len(), 1000);
    let reports = app.reports();
    let exited = reports.iter().find(|report| report["facts"]["event"] == "exited").expect("its end is reported");
    assert!(records[999]["seq"].as_u64() < exited["seq"].as_u64());
}

#[test]
fn an_orchestrator_away_and_back_neither_loses_nor_doubles() {
    let app = App::new("");
    app.up();
    let client =
        copo::Client::options().socket(app.socket().display().to_string()).name("test").connect().expect("it answers");
    for i in 0..2000u32 {
        if i == 700 || i == 1400 {
            kill_9(app.orchestrator_pid());
            client.try_udd_send(i.to_string().as_bytes()).expect("the window has room while it is away");
            continue;
        }
        client.udd_send(i.to_string().as_bytes()).expect("the send is accepted");
    }
    client.flush().expect("all are acknowledged");
    let data: Vec<String> =
        app.records().iter().map(|record| record["udd_buff"].as_str().expect("text").to_owned()).collect();
    assert_eq!(data, (0..2000).map(|i| i.to_string()).collect::<Vec<_>>());
}

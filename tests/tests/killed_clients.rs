//! Clients that die by `kill -9` while records flow: what was acknowledged to them is there, once and in order, and who
//! follows goes on where it was.
#![cfg(unix)]

use std::collections::HashMap;
use std::time::Duration;

use copo_tests::app::kill_9;
use copo_tests::data::{gaps, records};
use copo_tests::{App, eventually, eventually_some};

const KILLS: u64 = 12;

const CLIENTS: &str = r#"
[context]
retain = { records = 100_000_000, bytes = "1GiB" }

[process.publisher]
executable_path = "{puppet}"
args            = ["send-numbers"]
replicas        = 2
restart         = "always"
backoff         = { initial = "1ms", max = "1ms" }

[process.reader]
executable_path = "{puppet}"
args            = ["follow-on", "numbers/**", "seen"]
restart         = "always"
backoff         = { initial = "1ms", max = "1ms" }
"#;

/// A record of `send-numbers`: which run sent it, and its number in that run.
fn run_and_number(data: &[u8]) -> (u32, u64) {
    let text = std::str::from_utf8(data).expect("text");
    let (pid, number) = text.split_once(' ').expect("a pid and a number");
    (pid.parse().expect("a pid"), number.parse().expect("a number"))
}

/// The highest number that each run was told to be stored; a run prints it once it knows.
fn acknowledged(app: &App) -> HashMap<u32, u64> {
    let mut told = HashMap::new();
    for name in ["publisher-1", "publisher-2"] {
        for line in app.log(name) {
            let (pid, number) = run_and_number(line.as_bytes());
            told.insert(pid, number);
        }
    }
    told
}

/// Kills it, and waits until another one stands in its place.
fn kill(app: &App, name: &str) {
    let pid = app.pid(name);
    kill_9(pid);
    eventually_some("another run", || {
        let next = app.ps().get(name)?["pid"].as_u64()?;
        (next != u64::from(pid)).then_some(())
    });
}

#[test]
fn killed_publishers_and_readers_lose_double_and_reorder_nothing() {
    let app = App::new(CLIENTS);
    app.up();
    let lines = || app.read("seen").lines().count();
    for round in 0..KILLS {
        // Records flow before each kill, and the moment is another one each time.
        let seen = lines();
        eventually("records flow", || lines() > seen + 100);
        std::thread::sleep(Duration::from_millis(round * 7 % 20));
        kill(&app, ["publisher-1", "reader-1", "publisher-2"][(round % 3) as usize]);
    }
    app.copo(&["stop", "publisher"]).ok();

    let items = app.items();
    assert_eq!(gaps(&items), Vec::<&copo::Gap>::new());
    let (mut next, mut last_seq) = (HashMap::<u32, u64>::new(), 0);
    for record in records(&items) {
        assert!(record.seq > last_seq, "Seq {} after {last_seq}", record.seq);
        last_seq = record.seq;
        let (pid, number) = run_and_number(&record.udd_buff);
        let expected = next.entry(pid).or_default();
        assert_eq!(number, *expected, "{} ({pid}) lost, doubled or reordered a record", record.sent_by);
        *expected += 1;
    }
    let told = acknowledged(&app);
    assert!(told.len() as u64 >= KILLS / 2, "the runs that were killed had sent something: {told:?}");
    for (pid, number) in told {
        assert!(next.get(&pid).is_some_and(|stored| *stored > number), "run {pid} was told that {number} is stored");
    }

    let stored: Vec<String> = records(&items).iter().map(|record| record.seq.to_string()).collect();
    eventually("the reader has seen all", || lines() >= stored.len());
    let seen: Vec<String> = app.read("seen").lines().map(str::to_owned).collect();
    assert!(seen == stored, "the reader saw {} of {} records, not each once and in order", seen.len(), stored.len());
}

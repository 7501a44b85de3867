//! kill -9 at any instant: a real process writes, is killed in the middle of it, and what it had acknowledged is there.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use copo_orchestrator::context::{Answer, Body, Context, Send};
use copo_orchestrator::plan::{ContextSpec, Durability, Retain, WhenFull};
use copo_proto::{Message, v1};

const FOLDER: &str = "COPO_TEST_FOLDER";
const CLIENT: [u8; 16] = [3; 16];

fn spec() -> ContextSpec {
    let age = Duration::from_secs(3600);
    ContextSpec {
        headers: None,
        durability: Durability::Crash,
        retain: Retain { records: 1_000_000, bytes: 8 << 20, age, keys: 10, reports: 1000 },
        when_full: WhenFull::Trim,
        wait_limit: Duration::from_secs(5),
        max_record: 1 << 20,
    }
}

fn data(number: u64) -> Vec<u8> {
    vec![number as u8; (number * 37 % 3000) as usize]
}

/// The process that is killed; it is a test only so that this binary can run it.
#[test]
#[ignore = "run by the other test, as a process of its own"]
fn writer() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let mut context = Context::open(Path::new(&folder), &spec(), "boot", 1).expect("opens");
    let mut number = context.join(&CLIENT, "token", 1).expect("joins").last_number;
    let mut out = std::io::stdout().lock();
    loop {
        let batch: Vec<(u64, Vec<u8>)> = (number + 1..number + 2 + number % 9).map(|n| (n, data(n))).collect();
        let body = |number: u64, data| match number % 5 {
            0 => Body::Meta { data },
            1 => Body::Udd { key: "k", data, expect_seq: None },
            _ => Body::Udd { key: "", data, expect_seq: None },
        };
        let sends: Vec<Send<'_>> = batch.iter().map(|(n, data)| Send { number: *n, body: body(*n, data) }).collect();
        let published = context.publish(1, &CLIENT, "writer-1", &sends);
        let Some(Answer::Ack(ack)) = published.answers.last() else { panic!("{published:?}") };
        number = ack.number;
        writeln!(out, "acknowledged {number}").and_then(|()| out.flush()).expect("the parent reads");
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9_and_the_log_stays_proven() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut log_id = None;
    for round in 0..8u64 {
        let acknowledged = write_and_kill(folder.path(), 200 + 131 * round);
        let mut context = Context::open(folder.path(), &spec(), "boot", 1).expect("opens");
        assert_eq!(context.findings(), [], "round {round}");
        assert_eq!(*log_id.get_or_insert(context.log_id()), context.log_id());
        let last = context.join(&CLIENT, "token", 1).expect("joins").last_number;
        assert!(last >= acknowledged, "{acknowledged} was acknowledged, {last} is there");
        assert_eq!(context.head(), last, "every number has one Seq, and no more");
        check(&mut context, last);
    }
}

/// Lets the writer acknowledge so many, kills it in the middle of more, and returns the last acknowledged number.
fn write_and_kill(folder: &Path, more: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "writer", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut number_of = move || {
        lines.by_ref().map_while(Result::ok).find_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok())
    };
    let first = number_of().expect("it writes");
    let mut last = first;
    while last < first + more {
        last = number_of().expect("it writes on");
    }
    child.kill().expect("killed");
    child.wait().expect("gone");
    while let Some(number) = number_of() {
        last = number;
    }
    last
}

fn check(context: &mut Context, last: u64) {
    let request = v1::Subscribe {
        from: Some(v1::subscribe::From::First(true)),
        records: true,
        reports: true,
        no_follow: true,
        ..Default::default()
    };
    let (mut cursor, _) = context.subscribe(1, &request).expect("subscribes");
    let mut newest = 0;
    loop {
        let batch = context.read(1, &mut cursor, 1 << 16);
        for mut slice in batch.slices {
            while !slice.is_empty() {
                let message = v1::ServerMessage::decode_length_delimited(&mut slice).expect("a frame");
                let (seq, got) = match message.kind.expect("said") {
                    v1::server_message::Kind::Record(record) => (record.seq, record.udd_buff),
                    v1::server_message::Kind::Report(report) => (report.seq, report.report_buff),
                    v1::server_message::Kind::End(_) => continue,
                    other => panic!("not expected: {other:?}"),
                };
                assert!(seq > newest && got == data(seq), "Seq {seq} after {newest}");
                newest = seq;
            }
        }
        if batch.end {
            break;
        }
    }
    assert_eq!(newest, last);
}

//! What is acknowledged stays: across kills of the orchestrator, a full disk, and damaged files.
#![cfg(unix)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use copo::{Client, ErrorCode, From, Item, SubscribeOptions};
use copo_tests::data::{client_at, gaps, records};
use copo_tests::{App, build, eventually};

const PUBLISHERS: usize = 3;

/// Sends until told to end; every tenth send is waited for. Returns how many it sent, and the Seqs it was told.
fn publish(client: &Client, is_over: &AtomicBool) -> (u64, HashMap<u64, u64>) {
    let (mut sent, mut told) = (0, HashMap::new());
    while !is_over.load(Ordering::Relaxed) {
        if sent % 10 == 9 {
            let seq = client.udd_send_sync(sent.to_string().as_bytes()).expect("it is taken");
            told.insert(sent, seq);
        } else {
            client.udd_send(sent.to_string().as_bytes()).expect("it is accepted");
        }
        sent += 1;
    }
    client.flush().expect("all are taken");
    (sent, told)
}

fn check_order(items: &[Item], published: &[(u64, HashMap<u64, u64>)]) {
    assert_eq!(gaps(items), Vec::<&copo::Gap>::new());
    let mut next = vec![0u64; published.len()];
    let mut last_seq = 0;
    for record in records(items) {
        assert!(record.seq > last_seq, "Seq {} after {last_seq}", record.seq);
        last_seq = record.seq;
        let publisher: usize = record.sent_by["@p".len()..].parse().expect("a publisher");
        let number: u64 = std::str::from_utf8(&record.udd_buff).expect("text").parse().expect("a number");
        assert_eq!(number, next[publisher], "{} lost, doubled or reordered a record", record.sent_by);
        next[publisher] += 1;
        if let Some(told) = published[publisher].1.get(&number) {
            assert_eq!(*told, record.seq, "the Seq that {} was told", record.sent_by);
        }
    }
    assert_eq!(next, published.iter().map(|(sent, _)| *sent).collect::<Vec<_>>());
}

#[test]
fn kills_at_any_moment_under_load_lose_double_and_reorder_nothing() {
    let app = App::new("[context]\nretain = { records = 100_000_000, bytes = \"1GiB\" }\n");
    app.up();
    let is_over = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|n| {
            let (client, is_over) = (app.client(&format!("p{n}")), Arc::clone(&is_over));
            std::thread::spawn(move || publish(&client, &is_over))
        })
        .collect();
    let mut subscription = app.follow(&SubscribeOptions::default().from(From::First));
    let reader = std::thread::spawn(move || {
        let mut items = Vec::new();
        while !matches!(items.last(), Some(Item::Record(record)) if record.udd_buff == "end") {
            items.push(subscription.next(None).expect("the subscription outlives the orchestrator"));
        }
        items.pop();
        items
    });
    for round in 0..20u64 {
        // The moment is what is tested: another one each time, while records flow.
        std::thread::sleep(Duration::from_millis(20 + round * 37 % 90));
        app.kill_orchestrator();
    }
    is_over.store(true, Ordering::Relaxed);
    let published: Vec<_> = publishers.into_iter().map(|thread| thread.join().expect("it ends well")).collect();
    check_order(&app.items(), &published);
    app.client("p0").udd_send_sync(b"end").expect("it is taken");
    check_order(&reader.join().expect("it ends well"), &published);
    assert!(!app.reports().iter().any(|report| report["facts"]["event"] == "damaged"), "a kill is no damage");
}

/// An orchestrator whose COPO_HOME is a file system of a few MiB of its own, which is gone with it.
struct SmallDisk {
    copo: Child,
    home: PathBuf,
}

impl SmallDisk {
    /// `None` where no file system can be mounted without being root.
    fn up(app: &App) -> Option<Self> {
        let can = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
        if !can.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: no file system can be mounted here");
            return None;
        }
        std::fs::create_dir_all(app.home()).expect("the folder can be made");
        let script = "mount -t tmpfs -o size=24m none \"$COPO_HOME\" && exec \"$0\" up";
        let mut inside = Command::new("unshare");
        inside.args(["-rm", "sh", "-c", script]).arg(build::copo()).current_dir(app.folder());
        inside.env("COPO_HOME", app.home()).stdin(std::process::Stdio::null());
        for (name, _) in app.command(&[]).get_envs().filter(|(_, value)| value.is_none()) {
            inside.env_remove(name);
        }
        let copo = inside.spawn().expect("unshare can be run");
        let home = PathBuf::from(format!("/proc/{}/root{}", copo.id(), app.home().display()));
        let disk = Self { copo, home };
        eventually("the orchestrator listens", || disk.socket().exists());
        Some(disk)
    }

    fn socket(&self) -> PathBuf {
        self.home.join("t/orchestrator/sock")
    }

    fn ballast(&self) -> PathBuf {
        self.home.join("ballast")
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.ballast()).expect("there is room for a name");
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.ballast()).expect("it is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.copo.id().cast_signed()).expect("not 0");
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.copo.wait();
    }
}

fn items_at(socket: &Path) -> Vec<Item> {
    let options = SubscribeOptions::default().from(From::First).no_follow();
    copo_tests::data::all_of(client_at(socket, "reader").udd_subscribe(&options).expect("it is granted"))
}

#[test]
fn a_full_disk_is_said_loses_nothing_and_is_over_when_there_is_room() {
    let app = App::new("[context]\nretain = { bytes = \"64MiB\" }\n");
    let Some(disk) = SmallDisk::up(&app) else { return };
    let client = client_at(&disk.socket(), "t");
    let record = |n: u32| format!("{n:0>60000}");
    for n in 0..5 {
        client.udd_send_sync(record(n).as_bytes()).expect("there is room");
    }
    disk.fill();
    let mut sent = 5;
    // What is left of the last segment is still taken; then the window fills, and then it is said.
    let error = loop {
        match client.udd_send_timeout("", record(sent).as_bytes(), Some(Duration::from_secs(30))) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 1000, "the disk holds 24 MiB");
    };
    assert_eq!(error.code(), ErrorCode::NoSpace, "{error}");
    assert_eq!(client.flush().map_err(|error| error.code()), Err(ErrorCode::NoSpace));
    client.udd_get(None).expect("reads go on").expect("a record");
    let before = records(&items_at(&disk.socket())).len();
    assert!((5..sent as usize).contains(&before), "{before} of {sent}");
    disk.make_room();
    eventually("what was kept is sent", || client.flush().is_ok());
    client.udd_send_sync(record(sent).as_bytes()).expect("there is room again");
    let items = items_at(&disk.socket());
    let stored: Vec<u32> = records(&items)
        .iter()
        .map(|record| std::str::from_utf8(&record.udd_buff).expect("text").parse().expect("a number"))
        .collect();
    assert_eq!(stored, (0..=sent).collect::<Vec<_>>());
}

/// An application that is down and whose log holds 400 records of 1 KiB, each a block of its own; and the log's id.
fn with_a_log() -> (App, Vec<u8>) {
    let app = App::new("");
    app.up();
    let client = app.client("t");
    for n in 0..400 {
        client.udd_send_sync(format!("{n:0>1024}").as_bytes()).expect("it is taken");
    }
    let log_id = app.follow(&SubscribeOptions::default()).log_id();
    client.close().expect("all is taken");
    app.down();
    (app, log_id)
}

fn first_segment(app: &App) -> PathBuf {
    app.segments().join("records-000000000001")
}

fn numbers(items: &[Item]) -> Vec<u64> {
    let number = |record: &&copo::UddRecord| std::str::from_utf8(&record.udd_buff).expect("text").parse().expect("one");
    records(items).iter().map(number).collect()
}

fn damage(app: &App) -> Vec<String> {
    let reason = |report: &serde_json::Value| report["facts"]["reason"].as_str().unwrap_or_default().to_owned();
    app.reports().iter().filter(|report| report["facts"]["event"] == "damaged").map(reason).collect()
}

#[test]
fn a_flipped_bit_in_the_middle_is_told_with_its_range_and_costs_that_alone() {
    let (app, log_id) = with_a_log();
    let path = first_segment(&app);
    let mut bytes = std::fs::read(&path).expect("it is there");
    bytes[200_000] ^= 1;
    std::fs::write(&path, bytes).expect("it is writable");
    app.up();
    let items = app.items();
    let [gap] = gaps(&items)[..] else { panic!("{:?}", gaps(&items)) };
    assert_eq!(gap.cause(), copo::v1::gap::Cause::Damaged);
    let kept = numbers(&items);
    let lost: Vec<u64> = (0..400).filter(|n| !kept.contains(n)).collect();
    assert_eq!(lost.len() as u64, gap.last + 1 - gap.first);
    assert_eq!(lost.len(), 1, "a block of one record is damaged");
    assert!(kept.is_sorted() && kept.len() + lost.len() == 400);
    let told = damage(&app);
    assert!(told.len() == 1 && told[0].contains(&format!("{} to {}", gap.first, gap.last)), "{told:?}");
    assert_eq!(app.follow(&SubscribeOptions::default()).log_id(), log_id, "the tail is proven");
}

#[test]
fn a_cut_file_is_told_and_its_log_is_another_one() {
    let (app, log_id) = with_a_log();
    let file = std::fs::OpenOptions::new().write(true).open(first_segment(&app)).expect("it is there");
    file.set_len(200_000).expect("it can be cut");
    app.up();
    let kept = numbers(&app.items());
    assert!(kept.len() > 100 && kept == (0..kept.len() as u64).collect::<Vec<_>>(), "{}", kept.len());
    assert_eq!(damage(&app).len(), 1);
    let options = SubscribeOptions::default().from(From::Seq(300)).log_id(log_id.clone()).no_follow();
    let items = copo_tests::data::all_of(app.follow(&options));
    assert!(matches!(&items[0], Item::Gap(gap) if gap.cause() == copo::v1::gap::Cause::LogReplaced), "{:?}", items[0]);
    assert_eq!(numbers(&items), kept, "it goes on from the new log's first");
    assert_eq!(app.client("t").udd_send_sync(b"500").map(|seq| seq > 0), Ok(true));
}

#[test]
fn an_older_copy_of_a_segment_is_told_to_end_too_early() {
    let app = App::new("");
    app.up();
    let client = app.client("t");
    for _ in 0..10 {
        client.udd_send_sync(b"old").expect("it is taken");
    }
    let copy = std::fs::read(first_segment(&app)).expect("it is there");
    let last = (0..10).map(|_| client.udd_send_sync(b"new").expect("it is taken")).max().expect("ten");
    let log_id = app.follow(&SubscribeOptions::default()).log_id();
    app.down();
    // The reports of the end would be newer than what is lost: they go back as well.
    let reports = app.segments().join("reports-000000000001");
    let mut reported = std::fs::read(&reports).expect("it is there");
    reported[64..].fill(0);
    std::fs::write(reports, reported).expect("it is writable");
    std::fs::write(first_segment(&app), copy).expect("it is writable");
    app.up();
    let told = damage(&app);
    assert!(told.len() == 1 && told[0].contains("ends too early"), "{told:?}");
    assert_ne!(app.follow(&SubscribeOptions::default()).log_id(), log_id);
    let seq = app.client("t").udd_send_sync(b"newest").expect("it is taken");
    assert!(seq > last, "Seq {seq} was given before");
    app.down();
    app.up();
    assert_eq!(damage(&app).len(), 1, "it is told once");
}

#[test]
fn a_log_keeps_its_id_over_stops_and_kills_and_not_when_it_is_deleted_or_in_memory() {
    let (app, log_id) = with_a_log();
    app.up();
    assert_eq!(app.follow(&SubscribeOptions::default()).log_id(), log_id);
    app.kill_orchestrator();
    assert_eq!(app.follow(&SubscribeOptions::default()).log_id(), log_id);
    app.down();
    std::fs::remove_dir_all(app.segments()).expect("it is there");
    app.up();
    let second = app.follow(&SubscribeOptions::default()).log_id();
    assert_ne!(second, log_id);
    app.down();
    app.configure("[context]\ndurability = \"memory\"\n");
    app.up();
    let third = app.follow(&SubscribeOptions::default()).log_id();
    app.down();
    app.up();
    assert!(third != second && app.follow(&SubscribeOptions::default()).log_id() != third);
}

#[test]
fn a_segment_that_cannot_be_opened_is_no_damage() {
    let (app, log_id) = with_a_log();
    let path = first_segment(&app);
    let aside = app.path("aside");
    std::fs::rename(&path, &aside).expect("it is there");
    // A folder in its place: no user, root included, can open it for writing.
    std::fs::create_dir(&path).expect("the place is free");
    assert_ne!(app.copo(&["up", "-d"]).code, 0, "it cannot know what is in there");
    std::fs::remove_dir(&path).expect("it was left where it is");
    std::fs::rename(&aside, &path).expect("the place is free");
    app.up();
    assert_eq!(app.follow(&SubscribeOptions::default()).log_id(), log_id);
    assert_eq!(numbers(&app.items()).len(), 400);
}

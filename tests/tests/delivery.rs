//! Readers and publishers that are slow, hostile or many cost the others nothing.
#![cfg(unix)]

use std::io::Write;
use std::time::{Duration, Instant};

use copo::v1::{gap::Cause, server_message::Kind};
use copo::{ErrorCode, From, Item, SubscribeOptions};
use copo_proto::{frame, v1};
use copo_tests::data::{comes_to_rest, gaps, memory_of, records, wakeups_of};
use copo_tests::peer::{Peer, numbered};
use copo_tests::{App, eventually};

const MIB: usize = 1024 * 1024;

/// A reader that has asked for all from the first and has read nothing but the grant.
fn silent_reader(app: &App) -> Peer {
    let mut peer = Peer::connect(&app.socket());
    peer.join(b"", "silent");
    let from = Some(v1::subscribe::From::First(true));
    let subscribe = v1::Subscribe { from, records: true, ..v1::Subscribe::default() };
    peer.say(&frame::to_vec(&v1::Request { id: 1, kind: Some(v1::request::Kind::Subscribe(subscribe)) }));
    assert!(matches!(peer.next(), Some(Kind::Response(_))));
    peer
}

#[test]
fn who_reads_nothing_delays_nobody_and_is_told_the_exact_gap() {
    let app = App::new("[context]\nretain = { bytes = \"2MiB\" }\n");
    app.up();
    let mut silent = silent_reader(&app);
    let mut fast = app.follow(&SubscribeOptions::default().from(From::First));
    let client = app.client("t");
    // Far more than the silent reader's socket holds.
    for n in 0..3000u32 {
        client.udd_send(&[n.to_le_bytes().as_slice(), &[0; 8192]].concat()).expect("nobody holds it up");
        if n % 100 == 99 {
            client.flush().expect("nobody holds it up");
            for _ in 0..100 {
                assert!(matches!(fast.next(Some(Duration::from_secs(30))), Ok(Item::Record(_))), "lost no record");
            }
        }
    }
    let (mut next, mut told, mut last) = (0, 0, 0);
    while last < 2999 {
        match silent.next() {
            Some(Kind::Record(record)) => {
                last = u32::from_le_bytes(*record.udd_buff.first_chunk().expect("a number"));
                assert!(last == 0 || record.seq == next, "a Seq is missing and no gap tells it");
                next = record.seq + 1;
            }
            Some(Kind::Gap(gap)) => {
                assert_eq!((gap.cause(), gap.first), (Cause::Trimmed, next));
                told += gap.last + 1 - gap.first;
                next = gap.last + 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!((500..3000).contains(&told), "{told} records are in the gap");
}

#[test]
fn with_wait_a_reader_that_stands_still_holds_publishers_for_the_limit_and_a_slow_one_loses_nothing() {
    let app = App::new("[context]\nwhen_full = \"wait\"\nwait_limit = \"700ms\"\nretain = { records = 20 }\n");
    app.up();
    let client = app.client("t");
    let mut slow = app.follow(&SubscribeOptions::default().from(From::First));
    let reader = std::thread::spawn(move || {
        let mut items = Vec::new();
        while items.len() < 300 {
            items.push(slow.next(Some(Duration::from_secs(30))).expect("it comes"));
            std::thread::sleep(Duration::from_millis(2)); // It is slow: that is the case here.
        }
        items
    });
    (0..300).for_each(|_| client.udd_send(&[0; 32 * 1024]).expect("it is taken"));
    client.flush().expect("the reader makes room");
    let items = reader.join().expect("it reads all");
    assert!(gaps(&items).is_empty() && records(&items).len() == 300);

    let mut silent = silent_reader(&app);
    let start = Instant::now();
    (0..300).for_each(|_| client.udd_send(&[0; 32 * 1024]).expect("it is taken"));
    client.flush().expect("the limit ends the wait");
    let waited = start.elapsed();
    assert!(waited > Duration::from_millis(650) && waited < Duration::from_secs(10), "{waited:?}");
    let told = std::iter::from_fn(|| silent.next()).find_map(|kind| match kind {
        Kind::Gap(gap) => Some(gap.cause()),
        _ => None,
    });
    assert_eq!(told, Some(Cause::Trimmed));
}

#[test]
fn a_client_id_is_one_connections_one_persons_and_has_no_holes() {
    let app = App::new("");
    app.up();
    let id = [7; 16];
    let mut first = Peer::connect(&app.socket());
    assert_eq!(first.join(&id, "a").last_number, 0);
    assert_eq!(first.send(1, b"one").acked().0, 1);
    let mut second = Peer::connect(&app.socket());
    assert_eq!(second.join(&id, "a").last_number, 1);
    assert_eq!(first.error(), ErrorCode::Replaced);
    // Sent again: dropped, and acknowledged with the Seq it has.
    let (number, seq) = second.send(1, b"one").acked();
    assert_eq!((number, second.send(2, b"two").acked()), (1, (2, seq + 1)));
    assert_eq!(Peer::connect(&app.socket()).hello_as(&id, "", "b").error(), ErrorCode::Conflict);
    assert_eq!(second.send(4, b"four").error(), ErrorCode::Malformed);
    assert_eq!(Peer::connect(&app.socket()).hello_as(&[8; 16], "", "a").send(9, b"nine").error(), ErrorCode::Expired);
    assert_eq!(app.records().len(), 2);
}

#[test]
fn the_largest_record_makes_the_round_and_one_byte_more_is_refused() {
    let app = App::new("");
    app.up();
    let client = app.client("t");
    let large: Vec<u8> = (0..64 * MIB).map(|i| (i / 7) as u8).collect();
    let seq = client.udd_send_key_sync("large", &large).expect("it is taken");
    assert!(client.udd_get(Some("large")).expect("it is there").is_some_and(|record| record.udd_buff == large[..]));
    let items = app.items();
    assert!(records(&items)[0].seq == seq && records(&items)[0].udd_buff == large[..]);
    let error = client.udd_send(&vec![0; 64 * MIB + 1]).expect_err("it is too large");
    assert_eq!(error.code(), ErrorCode::TooLarge);
    client.udd_send_sync(b"small").expect("nothing is broken");
}

#[test]
fn with_100_clients_and_nothing_to_do_it_never_wakes() {
    let app = App::new("[process.a]\nexecutable_path = \"{puppet}\"\nargs = [\"sleep\"]\n");
    app.up();
    let pid = app.orchestrator_pid();
    let clients: Vec<_> = (0..50).map(|_| app.client("idle")).collect();
    let readers: Vec<_> = (0..50).map(|_| silent_reader(&app)).collect();
    comes_to_rest(pid);
    drop((clients, readers));
}

#[test]
fn who_does_not_read_what_it_is_told_and_200_who_say_nothing_take_little_memory() {
    let app = App::new("[context]\nretain = { records = 1000 }\n");
    app.up();
    let pid = app.orchestrator_pid();
    let before = memory_of(pid);
    let idle: Vec<_> = (0..200u8)
        .map(|n| {
            let mut peer = Peer::connect(&app.socket());
            peer.join(&[n; 16], "idle");
            peer
        })
        .collect();
    let mut deaf = Peer::connect(&app.socket());
    deaf.join(&[255; 16], "deaf");
    deaf.stream.set_write_timeout(Some(Duration::from_secs(1))).expect("it can be set");
    // Requests with long answers, none of which is read, until the orchestrator reads no more.
    deaf.send(1, &vec![b'x'; 100_000]);
    let get = v1::Request { id: 3, kind: Some(v1::request::Kind::UddGet(v1::UddGet { key: None })) };
    let gets = frame::to_vec(&get).repeat(1000);
    let refused = (0..1000).any(|_| deaf.stream.write_all(&gets).is_err());
    assert!(refused, "a million requests were taken, and no answer read");
    let grown = memory_of(pid).saturating_sub(before);
    assert!(grown < 40 * MIB as u64, "{} MiB", grown >> 20);
    app.client("t").udd_send_sync(b"others go on").expect("it is taken");
    drop(idle);
}

#[test]
fn without_descriptors_it_goes_on_and_rests() {
    let app = App::new("");
    let plain = app.command(&[]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 64 && exec \"$0\" up -d"]).arg(copo_tests::build::copo());
    limited.current_dir(app.folder()).env("COPO_HOME", app.home());
    for (name, _) in plain.get_envs().filter(|(_, value)| value.is_none()) {
        limited.env_remove(name);
    }
    assert!(limited.status().expect("sh can be run").success());
    let client = app.client("t");
    client.udd_send_sync(b"one").expect("it is taken");
    let pid = app.orchestrator_pid();
    let peers: Vec<_> = (0..100).map(|_| Peer::connect(&app.socket())).collect();
    // More than a segment: a new one needs a descriptor for a moment.
    (0..60).for_each(|_| client.udd_send(&[0; 64 * 1024]).expect("the window holds it"));
    let before = wakeups_of(pid);
    std::thread::sleep(Duration::from_millis(500)); // What is measured is half a second.
    assert!(wakeups_of(pid) - before < 500, "it spins");
    drop(peers);
    eventually("it goes on by itself", || client.flush().is_ok());
    eventually("all are stored", || app.records().len() == 61);
}

/// A generator of numbers that needs nothing but its seed (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 as usize
    }
}

#[test]
fn two_thousand_streams_of_garbage_harm_nobody_and_leave_it_at_rest() {
    let app = App::new("");
    app.up();
    let (pid, client) = (app.orchestrator_pid(), app.client("t"));
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for round in 0..2000u32 {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&round.to_le_bytes());
        let hello = v1::Hello { min_version: 1, max_version: 1, client_id: id.to_vec().into(), ..v1::Hello::default() };
        let mut bytes = frame::to_vec(&hello);
        let kept = if round % 4 == 0 { 0 } else { bytes.len() };
        (1..6).for_each(|number| bytes.extend(numbered(number, b"valid until it is not")));
        let subscribe = v1::Subscribe { key_pattern: "a/*/**".into(), ..v1::Subscribe::default() };
        let kind = Some(v1::request::Kind::Subscribe(subscribe));
        bytes.extend(frame::to_vec(&v1::Request { id: 2, kind }));
        for _ in 0..=numbers.next() % 8 {
            let at = kept + numbers.next() % (bytes.len() - kept);
            bytes[at] = numbers.next() as u8;
        }
        bytes.truncate(bytes.len() - numbers.next() % 20);
        let peer = Peer::connect(&app.socket());
        let _ = (&peer.stream).write_all(&bytes); // It may be cut off before all is said.
    }
    client.udd_send_sync(b"still here").expect("it lives");
    assert_eq!(app.orchestrator_pid(), pid);
    comes_to_rest(pid);
}

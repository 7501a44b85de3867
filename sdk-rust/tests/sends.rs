//! Sends against a stand-in orchestrator that loses, refuses and garbles on demand.
#![cfg(unix)]

mod orchestrator;

use std::time::{Duration, Instant};

use copo::Send;
use copo::v1::ErrorCode;
use orchestrator::{Behaviour, Orchestrator, SOON, eventually};

fn code<T: std::fmt::Debug>(result: copo::Result<T>) -> ErrorCode {
    result.expect_err("an error").code()
}

fn small_window() -> Behaviour {
    Behaviour { window: Some((4, 1 << 20)), is_silent: true, ..Behaviour::default() }
}

#[test]
fn pipelined_records_and_reports_arrive_once_and_in_order_and_flush_waits_for_them() {
    let orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    for n in 0..20_000u32 {
        client.udd_send(&n.to_le_bytes()).expect("sent");
    }
    client.meta_report(b"done").expect("sent");
    client.flush().expect("flushed");
    let data = orchestrator.data();
    assert_eq!(data.len(), 20_001);
    assert!(data.iter().take(20_000).zip(0u32..).all(|(data, n)| data[..] == n.to_le_bytes()));
    assert!(orchestrator.state().numbers.iter().copied().eq(1..=20_001));
}

#[test]
fn several_threads_share_a_client() {
    let orchestrator = Orchestrator::start_with(Behaviour { window: Some((16, 1 << 20)), ..Behaviour::default() });
    let client = orchestrator.client();
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let client = client.clone();
            scope.spawn(move || {
                for n in 0..500u32 {
                    let data = [&[thread][..], &n.to_le_bytes()].concat();
                    if n % 50 == 0 {
                        client.udd_send_sync(&data).expect("stored");
                    } else {
                        client.udd_send(&data).expect("sent");
                    }
                }
            });
        }
    });
    client.flush().expect("flushed");
    let data = orchestrator.data();
    assert_eq!(data.len(), 2_000);
    for thread in 0..4u8 {
        let own = data.iter().filter(|data| data[0] == thread).map(|data| data[1..].to_vec());
        assert!(own.eq((0..500u32).map(|n| n.to_le_bytes().to_vec())));
    }
}

#[test]
fn others_come_between_the_sends_of_a_thread_that_makes_no_pause() {
    let orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    let streaming = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        let (others, is_streaming) = (client.clone(), || streaming.load(std::sync::atomic::Ordering::Relaxed));
        let count = scope.spawn(move || {
            let mut count = 0u32;
            while is_streaming() {
                let data = [&[1][..], &count.to_le_bytes()].concat();
                match count % 3 {
                    0 => others.udd_send(&data).expect("sent"),
                    1 => others.try_udd_send(&data).or_else(|_| others.udd_send(&data)).expect("sent"),
                    _ => drop(others.udd_send_sync(&data).expect("stored")),
                }
                count += 1;
                assert!(!others.internal_name().is_empty());
            }
            count
        });
        for n in 0..60_000u32 {
            let key = if n % 7 == 0 { "a/key" } else { "" };
            client.udd_send_key(key, &[&[0][..], &n.to_le_bytes()].concat()).expect("sent");
        }
        streaming.store(false, std::sync::atomic::Ordering::Relaxed);
        let count = count.join().expect("no panic");
        client.flush().expect("flushed");
        let data = orchestrator.data();
        for (thread, count) in [(0u8, 60_000), (1, count)] {
            let own = data.iter().filter(|data| data[0] == thread).map(|data| data[1..].to_vec());
            assert!(own.eq((0..count).map(|n| n.to_le_bytes().to_vec())));
        }
        assert!(orchestrator.state().numbers.iter().copied().eq(1..=60_000 + u64::from(count)));
    });
}

#[test]
fn what_was_sent_last_goes_without_another_call() {
    let orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    let mut sent = 0;
    for count in [1, 700, 10_000, 10_003, 3] {
        (0..count).for_each(|_| client.udd_send(&[0; 100]).expect("sent"));
        sent += count;
        eventually("all have come", || orchestrator.state().numbers.len() == sent);
    }
}

#[test]
fn a_record_larger_than_the_window_and_the_sockets_buffer_goes_alone() {
    let orchestrator = Orchestrator::start_with(Behaviour { window: Some((100, 1000)), ..Behaviour::default() });
    let client = orchestrator.client();
    let large = vec![7; 3 << 20];
    for _ in 0..3 {
        client.udd_send(b"small").expect("sent");
        client.udd_send(&large).expect("sent");
    }
    client.flush().expect("flushed");
    assert!(orchestrator.data().iter().map(Vec::len).eq([5, 3 << 20, 5, 3 << 20, 5, 3 << 20]));
    assert_eq!(code(client.udd_send(&vec![0; (4 << 20) + 1])), ErrorCode::TooLarge);
    assert_eq!(code(client.udd_send_key("/a", b"")), ErrorCode::InvalidKey);
}

#[test]
fn a_full_window_blocks_until_there_is_room() {
    let orchestrator = Orchestrator::start_with(small_window());
    let client = orchestrator.client();
    (0..4).for_each(|_| client.udd_send(b"x").expect("sent"));
    assert_eq!(code(client.try_udd_send(b"y")), ErrorCode::WouldBlock);
    assert_eq!(code(client.udd_send_timeout("", b"y", Some(Duration::from_millis(20)))), ErrorCode::TimedOut);
    assert_eq!(code(client.flush_timeout(Duration::from_millis(20))), ErrorCode::TimedOut);
    // All four were taken, though nothing was said about it; a new connection says it.
    orchestrator.until("all taken", |state| state.log.len() == 4);
    let blocked = std::thread::spawn({
        let client = client.clone();
        move || client.udd_send(b"y")
    });
    orchestrator.set(|behaviour| behaviour.is_silent = false);
    orchestrator.cut();
    blocked.join().expect("no panic").expect("sent");
    client.flush().expect("flushed");
    assert_eq!(orchestrator.state().numbers, [1, 2, 3, 4, 5]);
}

#[test]
fn after_a_lost_connection_exactly_the_unacknowledged_are_sent_again() {
    let orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    (0..3).for_each(|_| client.udd_send(b"x").expect("sent"));
    client.flush().expect("flushed");
    orchestrator.set(|behaviour| behaviour.cut_after = Some(1));
    (0..5).for_each(|_| client.udd_send(b"y").expect("sent"));
    client.flush().expect("flushed");
    let state = orchestrator.state();
    assert_eq!(state.log.len(), 8);
    assert_eq!(state.hellos.len(), 2);
    assert_eq!(state.hellos[0].client_id, state.hellos[1].client_id);
    // 4 and 5 were taken before the cut, so 6 is the first that goes again.
    let after = state.numbers.iter().rposition(|number| *number <= 5).expect("some");
    assert_eq!(state.numbers[after + 1..], [6, 7, 8]);
}

#[test]
fn sends_go_on_while_the_orchestrator_is_away_and_arrive_when_it_is_back() {
    let mut orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    client.udd_send_sync(b"0").expect("stored");
    orchestrator.stop();
    for n in 1..100u8 {
        client.udd_send(&[n]).expect("into the window");
    }
    assert_eq!(code(client.flush_timeout(Duration::from_millis(30))), ErrorCode::TimedOut);
    orchestrator.listen();
    client.flush().expect("flushed");
    assert_eq!(orchestrator.data().len(), 100);
}

#[test]
fn a_synchronous_send_gets_its_seq_also_when_the_acknowledgement_is_lost() {
    let orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    assert_eq!(client.udd_send_sync(b"a"), Ok(1));
    orchestrator.append(b"between");
    orchestrator.set(|behaviour| behaviour.cut_after = Some(0));
    assert_eq!(client.udd_send_key_sync("k", b"b"), Ok(3));
    assert_eq!(client.meta_report_sync(b"c"), Ok(4));
    assert_eq!(orchestrator.data().len(), 4);
}

#[test]
fn an_expected_seq_that_does_not_hold_is_a_conflict_of_that_send_alone() {
    let orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    let with = |expect_seq| Send { key: "k", data: b"x", expect_seq: Some(expect_seq), timeout: None };
    assert_eq!(client.send_sync(&with(0)), Ok(1));
    assert_eq!(code(client.send_sync(&with(0))), ErrorCode::Conflict);
    assert_eq!(client.send_sync(&with(1)), Ok(2));
    client.send(&with(1)).expect("sent");
    assert_eq!(code(client.flush()), ErrorCode::Conflict);
    client.flush().expect("told once");
}

#[test]
fn no_space_is_told_keeps_the_window_and_goes_on_when_there_is_room() {
    let orchestrator =
        Orchestrator::start_with(Behaviour { window: Some((4, 1 << 20)), is_full: true, ..Behaviour::default() });
    let client = orchestrator.client();
    client.udd_send(b"0").expect("into the window");
    assert_eq!(code(client.flush()), ErrorCode::NoSpace);
    (1..4u8).for_each(|n| client.udd_send(&[n]).expect("into the window"));
    assert_eq!(code(client.udd_send(b"x")), ErrorCode::NoSpace);
    assert_eq!(client.udd_get(None), Ok(None), "requests go on");
    orchestrator.make_room();
    eventually("room", || client.flush().is_ok());
    assert_eq!(orchestrator.data().len(), 4);
}

#[test]
fn fenced_is_final_for_writes_and_reads_go_on() {
    let orchestrator = Orchestrator::start_with(Behaviour { is_fenced: true, ..Behaviour::default() });
    let client = orchestrator.client();
    client.udd_send(b"x").expect("sent");
    assert_eq!(code(client.flush()), ErrorCode::Fenced);
    assert_eq!(code(client.udd_send(b"x")), ErrorCode::Fenced);
    assert_eq!(client.udd_get(None), Ok(None));
    assert_eq!(code(client.close()), ErrorCode::Fenced);
}

#[test]
fn garbage_costs_the_connection_and_nothing_else() {
    for garbage in [vec![0xff; 64], vec![3, 0xff, 0xff, 0xff], vec![0x80, 0x80, 0x80, 0x80, 0x20], vec![2, 0x12, 0x7f]]
    {
        let orchestrator = Orchestrator::start_with(Behaviour { garbage: Some(garbage), ..Behaviour::default() });
        let client = orchestrator.client();
        assert_eq!(client.udd_send_sync(b"x"), Ok(1));
        assert_eq!(orchestrator.state().hellos.len(), 2);
    }
}

#[test]
fn a_client_the_orchestrator_forgot_is_told_expired_and_goes_on_under_a_new_id() {
    let orchestrator = Orchestrator::start_with(Behaviour { is_silent: true, ..Behaviour::default() });
    let client = orchestrator.client();
    client.udd_send(b"x").expect("sent");
    orchestrator.until("taken", |state| state.log.len() == 1);
    orchestrator.set(|behaviour| behaviour.refuse = Some(ErrorCode::Expired));
    orchestrator.cut();
    orchestrator.until("refused", |state| state.hellos.len() >= 2);
    orchestrator.set(|behaviour| *behaviour = Behaviour::default());
    assert_eq!(code(client.flush()), ErrorCode::Expired);
    assert_eq!(client.udd_send_sync(b"y"), Ok(2));
    let state = orchestrator.state();
    assert_ne!(state.hellos.first().map(|hello| &hello.client_id), state.hellos.last().map(|hello| &hello.client_id));
}

#[test]
fn in_a_new_log_the_unacknowledged_are_sent_anew() {
    let mut orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    client.udd_send_sync(b"old").expect("stored");
    orchestrator.stop();
    client.udd_send(b"new").expect("into the window");
    orchestrator.replace_log();
    orchestrator.listen();
    client.flush().expect("flushed");
    assert_eq!(orchestrator.data(), [b"new"]);
}

#[test]
fn an_orchestrator_that_fails_inside_is_asked_again_ever_more_rarely() {
    let orchestrator = Orchestrator::start_with(Behaviour { is_broken: true, ..Behaviour::default() });
    let client = orchestrator.client();
    let begun = Instant::now();
    client.udd_send(b"a").expect("accepted");

    orchestrator.until("six attempts", |state| state.hellos.len() > 6);

    // 10, 20, 40, 80, 160, 320 ms lie between them.
    assert!(begun.elapsed() >= Duration::from_millis(600), "{:?}", begun.elapsed());
    orchestrator.set(|behaviour| behaviour.is_broken = false);
    // Until the next connection stands, the refusal is the answer.
    eventually("flushed", || client.flush_timeout(SOON).is_ok());
    assert_eq!(orchestrator.data(), [b"a"]);
}

/// A caller that waits for the acknowledgement of its record.
fn waiting(orchestrator: &Orchestrator, client: &copo::Client) -> std::thread::JoinHandle<copo::Result<u64>> {
    let (client, before) = (client.clone(), orchestrator.state().numbers.len());
    let caller = std::thread::spawn(move || client.udd_send_sync(b"waited for"));
    orchestrator.until("the send came", |state| state.numbers.len() > before);
    caller
}

#[test]
fn a_caller_that_waits_for_its_acknowledgement_hears_a_close() {
    let orchestrator = Orchestrator::start_with(small_window());
    let client = orchestrator.client();
    let caller = waiting(&orchestrator, &client);
    assert_eq!(code(client.close_timeout(Duration::from_millis(20))), ErrorCode::TimedOut);
    assert_eq!(code(caller.join().expect("no panic")), ErrorCode::Closed);
}

#[test]
fn a_caller_that_waits_for_its_acknowledgement_hears_a_stop() {
    let orchestrator = Orchestrator::start_with(small_window());
    let client = orchestrator.options().token("t").connect().expect("connected");
    assert_eq!(client.stop_requested(), Ok(false));
    let caller = waiting(&orchestrator, &client);
    orchestrator.request_stop();
    assert_eq!(code(caller.join().expect("no panic")), ErrorCode::Stopping);
    let _ = client.close_timeout(Duration::ZERO); // Nothing will be acknowledged.
}

#[test]
fn a_caller_that_waits_for_its_acknowledgement_gets_it_over_the_next_connection() {
    let orchestrator = Orchestrator::start_with(small_window());
    let client = orchestrator.client();
    let caller = waiting(&orchestrator, &client);
    orchestrator.set(|behaviour| behaviour.is_silent = false);
    orchestrator.cut();
    assert_eq!(caller.join().expect("no panic"), Ok(1));
}

#[test]
fn others_send_and_ask_while_a_caller_waits_for_its_acknowledgement() {
    let orchestrator = Orchestrator::start_with(Behaviour { is_silent: true, ..Behaviour::default() });
    let client = orchestrator.client();
    let caller = waiting(&orchestrator, &client);
    // More than a socket holds: what finds no room is written when there is some, whoever drives.
    for _ in 0..3 {
        client.udd_send(&[7; 300_000]).expect("sent");
    }
    client.udd_headers().expect("answered");
    orchestrator.until("all came", |state| state.log.len() == 4);
    orchestrator.set(|behaviour| behaviour.is_silent = false);
    client.udd_send(b"last").expect("sent");
    client.flush_timeout(SOON).expect("flushed");
    assert_eq!(caller.join().expect("no panic"), Ok(1));
}

#[test]
fn a_caller_waits_for_its_acknowledgement_no_longer_than_it_said() {
    let orchestrator = Orchestrator::start_with(small_window());
    let client = orchestrator.client();
    let begun = Instant::now();
    let send = Send { data: b"a", timeout: Some(Duration::from_millis(30)), ..Send::default() };
    assert_eq!(code(client.send_sync(&send)), ErrorCode::TimedOut);
    assert!(begun.elapsed() >= Duration::from_millis(30));
    let _ = client.close_timeout(Duration::ZERO); // Nothing will be acknowledged.
}

#[test]
fn large_records_arrive_whole_while_small_ones_are_sent_between_them() {
    let orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    let sizes: Vec<usize> = (0..60).map(|n| if n % 3 == 0 { 3_000_000 + n } else { n * 1_000 }).collect();
    for size in &sizes {
        client.udd_send(&vec![*size as u8; *size]).expect("sent");
    }
    client.flush().expect("flushed");
    let data = orchestrator.data();
    assert!(data.iter().map(Vec::len).eq(sizes.iter().copied()));
    assert!(data.iter().zip(sizes).all(|(data, size)| data.iter().all(|byte| *byte == size as u8)));
}

//! The client beside its sends, against a stand-in orchestrator that loses, refuses and garbles on demand.
#![cfg(unix)]

mod orchestrator;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use copo::Client;
use copo::v1::{self, ErrorCode, request, response};
use orchestrator::{Behaviour, Orchestrator, SOON, eventually};

fn code<T: std::fmt::Debug>(result: copo::Result<T>) -> ErrorCode {
    result.expect_err("an error").code()
}

fn small_window() -> Behaviour {
    Behaviour { window: Some((4, 1 << 20)), is_silent: true, ..Behaviour::default() }
}

#[test]
fn connecting_where_nobody_listens_fails_at_once() {
    let begun = Instant::now();
    assert_eq!(code(Client::options().socket("/nowhere/sock").connect()), ErrorCode::NoOrchestrator);
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_refusal_is_told_as_it_came() {
    let orchestrator =
        Orchestrator::start_with(Behaviour { refuse: Some(ErrorCode::Unauthorized), ..Behaviour::default() });
    assert_eq!(code(orchestrator.options().connect()), ErrorCode::Unauthorized);
}

#[test]
fn who_speaks_is_told_by_the_orchestrator() {
    let orchestrator = Orchestrator::start();
    let person = orchestrator.client();
    assert_eq!((person.internal_name().as_str(), person.run()), ("@test", None));
    let run = orchestrator.options().token("secret").connect().expect("connected");
    assert_eq!((run.internal_name().as_str(), run.run().as_deref()), ("worker-1", Some("run")));
    assert_eq!(run.max_record(), 4 << 20);
}

#[test]
fn requests_are_answered_and_errors_keep_their_code() {
    let orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    assert_eq!(client.udd_get(Some("k")), Ok(None));
    client.udd_send_key("k", b"v").expect("sent");
    let record = client.udd_get(Some("k")).expect("answered").expect("sent before it was asked for");
    assert_eq!((record.seq, &record.udd_buff[..], record.sent_by.as_str()), (1, &b"v"[..], "@test"));
    assert_eq!(client.udd_headers(), Ok(vec!["a".to_owned()]));
    client.udd_set_headers(&["b".into()]).expect("done");
    client.ready().expect("done");
    assert_eq!(code(client.call(request::Kind::Status(v1::Status {}), None)), ErrorCode::Forbidden);
    let (tx, rx) = mpsc::channel();
    client.on_response(request::Kind::Ps(v1::Ps {}), Box::new(move |answer| tx.send(answer).expect("sent")));
    assert_eq!(rx.recv_timeout(SOON).expect("called"), Ok(response::Kind::Done(v1::Done {})));
}

#[test]
fn a_request_lost_with_its_connection_is_closed_and_one_that_may_is_asked_again() {
    let orchestrator = Orchestrator::start_with(Behaviour { is_deaf: true, ..Behaviour::default() });
    let client = orchestrator.client();
    let ps = || request::Kind::Ps(v1::Ps {});
    assert_eq!(code(client.call(ps(), Some(Duration::from_millis(20)))), ErrorCode::TimedOut);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| client.call(ps(), None));
        orchestrator.until("heard", |state| state.requests.len() == 2);
        orchestrator.cut();
        assert_eq!(code(call.join().expect("no panic")), ErrorCode::Closed);
        let get = scope.spawn(|| client.udd_get(None));
        orchestrator.until("heard", |state| state.requests.len() == 3);
        orchestrator.set(|behaviour| behaviour.is_deaf = false);
        orchestrator.cut();
        assert_eq!(get.join().expect("no panic"), Ok(None));
    });
}

#[test]
fn a_stop_request_ends_what_waits_and_leaves_the_run_able_to_send_its_last() {
    let orchestrator = Orchestrator::start_with(small_window());
    let client = orchestrator.options().token("secret").connect().expect("connected");
    assert_eq!(client.stop_requested(), Ok(false));
    let (tx, rx) = mpsc::channel();
    client.on_stop(Box::new(move || tx.send(()).expect("sent"))).expect("watched");
    orchestrator.until("watched", |state| state.requests.len() == 1);
    (0..4).for_each(|_| client.udd_send(b"x").expect("sent"));
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| client.udd_send(b"y"));
        let waits = scope.spawn(|| client.wait_stop(None));
        orchestrator.until("all taken", |state| state.log.len() == 4);
        // A call that is not waiting yet when the stop comes would wait on, so let the stop come until it is.
        eventually("blocked", || {
            orchestrator.request_stop();
            client.stop_requested() == Ok(true)
        });
        assert_eq!(waits.join().expect("no panic"), Ok(true));
        orchestrator.set(|behaviour| behaviour.is_silent = false);
        if !blocked.is_finished() {
            orchestrator.cut();
        }
        let blocked = blocked.join().expect("no panic");
        assert!(blocked.is_ok() || code(blocked) == ErrorCode::Stopping);
    });
    rx.recv_timeout(SOON).expect("called");
    assert!(rx.recv_timeout(Duration::from_millis(20)).is_err(), "called twice");
    orchestrator.cut();
    client.udd_send_sync(b"last").expect("stored");
}

#[test]
fn a_blocked_send_returns_stopping() {
    let orchestrator = Orchestrator::start_with(small_window());
    let client = orchestrator.options().token("secret").connect().expect("connected");
    client.stop_requested().expect("watched");
    (0..4).for_each(|_| client.udd_send(b"x").expect("sent"));
    let (tx, rx) = mpsc::channel();
    // Runs its callback only after it was asked to wait: then the stop finds it waiting.
    client.on_window(Box::new(move |room| tx.send(room).expect("sent")));
    orchestrator.until("watched", |state| !state.requests.is_empty());
    orchestrator.request_stop();
    assert_eq!(code(rx.recv_timeout(SOON).expect("called")), ErrorCode::Stopping);
}

#[test]
fn the_stop_watch_is_asked_for_again_after_a_reconnect_and_never_by_a_person() {
    let orchestrator = Orchestrator::start();
    let client = orchestrator.options().token("secret").connect().expect("connected");
    assert_eq!(client.stop_requested(), Ok(false));
    orchestrator.until("watched", |state| state.requests.len() == 1);
    orchestrator.cut();
    orchestrator.until("watched again", |state| state.requests.len() == 2);
    orchestrator.request_stop();
    assert_eq!(client.wait_stop(Some(SOON)), Ok(true));

    let person = orchestrator.client();
    assert_eq!(person.wait_stop(Some(Duration::from_millis(10))), Ok(false));
    assert_eq!(orchestrator.state().requests.len(), 2);
}

#[test]
fn callbacks_are_called_exactly_once() {
    let orchestrator = Orchestrator::start_with(small_window());
    let client = orchestrator.client();
    let (tx, rx) = mpsc::channel();
    for n in 0..4u8 {
        let tx = tx.clone();
        client.udd_send_acked("", &[n], Box::new(move |seq| tx.send(("acked", seq)).expect("sent"))).expect("sent");
    }
    let never = Box::new(|_| panic!("called though refused"));
    assert_eq!(code(client.udd_send_acked("", b"x", never)), ErrorCode::WouldBlock);
    let to = |what| {
        let tx = tx.clone();
        Box::new(move |done: copo::Result<()>| tx.send((what, done.map(|()| 0))).expect("sent"))
    };
    client.on_window(to("window"));
    client.on_flushed(to("flushed"));
    orchestrator.until("all taken", |state| state.log.len() == 4);
    assert!(rx.try_recv().is_err());
    orchestrator.set(|behaviour| behaviour.is_silent = false);
    orchestrator.cut();
    let mut got: Vec<_> = (0..6).map(|_| rx.recv_timeout(SOON).expect("called")).collect();
    got.sort_by_key(|(what, seq)| (*what, seq.clone().unwrap_or_default()));
    let acked = (1..=4).map(|seq| ("acked", Ok(seq)));
    assert!(got.into_iter().eq(acked.chain([("flushed", Ok(0)), ("window", Ok(0))])));
    drop(client);
    drop(tx);
    assert_eq!(rx.recv_timeout(SOON), Err(mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn a_callback_may_use_the_client_and_even_panic() {
    let orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    let (tx, rx) = mpsc::channel();
    let inner = client.clone();
    let nested = move |seq: copo::Result<u64>| {
        assert_eq!(seq, Ok(1));
        tx.send(inner.udd_send_sync(b"nested")).expect("sent");
        panic!("a callback's own panic, expected by this test");
    };
    client.udd_send_acked("", b"x", Box::new(nested)).expect("sent");
    assert_eq!(rx.recv_timeout(SOON).expect("called"), Ok(2));
    assert_eq!(client.udd_send_sync(b"y"), Ok(3));
}

#[test]
fn dropping_the_last_clone_flushes_and_closing_ends_all_clones() {
    let orchestrator = Orchestrator::start();
    let client = orchestrator.client();
    (0..5_000).for_each(|_| client.udd_send(b"x").expect("sent"));
    drop(client);
    assert_eq!(orchestrator.data().len(), 5_000);

    let client = orchestrator.client();
    let clone = client.clone();
    client.udd_send(b"x").expect("sent");
    client.close().expect("closed");
    client.close().expect("closing again is no error");
    assert_eq!(orchestrator.data().len(), 5_001);
    assert_eq!(code(clone.udd_send(b"x")), ErrorCode::Closed);
    assert_eq!(code(clone.udd_get(None)), ErrorCode::Closed);
    assert_eq!(code(clone.flush()), ErrorCode::Closed);
}

#[test]
fn closing_wakes_whoever_waits() {
    let orchestrator = Orchestrator::start_with(Behaviour { is_deaf: true, ..Behaviour::default() });
    let client = orchestrator.client();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| client.call(request::Kind::Ps(v1::Ps {}), None));
        orchestrator.until("heard", |state| state.requests.len() == 1);
        client.close_timeout(Duration::from_millis(10)).expect("closed");
        assert_eq!(code(call.join().expect("no panic")), ErrorCode::Closed);
    });
}

#[test]
fn who_was_replaced_does_not_fight() {
    let orchestrator = Orchestrator::start_with(Behaviour { is_silent: true, ..Behaviour::default() });
    let client = orchestrator.client();
    client.udd_send(b"x").expect("sent");
    orchestrator.until("taken", |state| state.log.len() == 1);
    orchestrator.set(|behaviour| behaviour.refuse = Some(ErrorCode::Replaced));
    orchestrator.cut();
    assert_eq!(code(client.flush()), ErrorCode::Replaced);
    assert_eq!(code(client.udd_send(b"x")), ErrorCode::Replaced);
    assert_eq!(orchestrator.state().hellos.len(), 2);
}

//! The session fed by hand, without a socket.

mod model;

use copo_proto::Message;
use copo_proto::frame::Decoder;
use copo_proto::v1::server_message::Kind;
use copo_proto::v1::{Ack, Resume, SendFailed, Taken, Welcome, request};

use super::*;

const BOUNDS: Bounds = Bounds { sends: u32::MAX, bytes: u64::MAX };

fn welcome(log: u8, last_number: u64, taken: Vec<Taken>) -> Welcome {
    Welcome {
        log_id: vec![log; 16].into(),
        last_number,
        taken,
        max_record: 200_000,
        window: 8,
        window_bytes: 1_000,
        ..Welcome::default()
    }
}

fn connected() -> Session {
    let mut session = Session::new(BOUNDS);
    session.welcomed(&welcome(1, 0, vec![]), &mut Vec::new());
    session
}

fn udd(data: &[u8]) -> Body<'_> {
    Body::Udd { key: "", data, expect_seq: None }
}

fn push(session: &mut Session, count: u64) {
    for number in session.last() + 1..=session.last() + count {
        assert_eq!(session.push(&udd(b"x")), number);
    }
}

/// Everything that may go, as messages.
fn written(session: &mut Session) -> Vec<Request> {
    let mut decoder = Decoder::new(1 << 24);
    while let Some(bytes) = session.unwritten().map(<[u8]>::to_vec).filter(|bytes| !bytes.is_empty()) {
        decoder.buffer().extend_from_slice(&bytes);
        session.wrote(bytes.len());
    }
    let mut messages = Vec::new();
    while let Some(frame) = decoder.next_frame().expect("frames") {
        messages.push(Request::decode(frame).expect("a request"));
    }
    assert!(!decoder.is_mid_frame());
    messages
}

fn numbers(session: &mut Session) -> Vec<u64> {
    written(session).iter().filter_map(number_of).collect()
}

fn number_of(request: &Request) -> Option<u64> {
    match &request.kind {
        Some(request::Kind::UddSend(send)) => Some(send.number),
        Some(request::Kind::MetaSend(send)) => Some(send.number),
        _ => None,
    }
}

fn receive(session: &mut Session, kind: Kind) -> Vec<Event> {
    let mut events = Vec::new();
    session.receive(kind, &mut events).expect("a message that is in order");
    events
}

fn ack(number: u64, seq: u64) -> Kind {
    Kind::Ack(Ack { number, seq })
}

fn failed(number: u64, code: ErrorCode) -> Kind {
    Kind::SendFailed(SendFailed { number, code: code.into(), message: "cannot".into() })
}

#[test]
fn only_an_idle_line_is_written_at_once_and_an_acknowledgement_frees_the_rest() {
    let mut session = connected();
    session.push(&udd(b"a"));
    assert_ne!(session.should_write(), Due::No);
    assert_eq!(numbers(&mut session), [1]);
    session.push(&udd(b"b"));
    assert!(session.should_write() == Due::No && session.has_unwritten());
    assert_eq!(receive(&mut session, ack(1, 10)), [Event::Taken { first: 1, last: 1, first_seq: 10 }]);
    assert_ne!(session.should_write(), Due::No);
    assert_eq!(numbers(&mut session), [2]);
}

#[test]
fn the_window_is_bounded_in_records_and_in_bytes_but_takes_one_large_send_alone() {
    let mut session = connected();
    for _ in 0..8 {
        assert!(session.has_room(&udd(b"x")));
        session.push(&udd(b"x"));
    }
    assert!(!session.has_any_room());
    assert_eq!(numbers(&mut session).len(), 8);
    receive(&mut session, ack(7, 7));
    assert!(session.has_room(&udd(&[0; 900])) && !session.has_room(&udd(&[0; 1_000])));
    receive(&mut session, ack(8, 8));
    assert!(session.has_room(&udd(&[0; 100_000])));
    session.push(&udd(&[0; 100_000]));
    assert!(!session.has_any_room());
}

#[test]
fn what_could_not_be_sent_gets_no_number() {
    let session = connected();
    let code = |body: &Body<'_>| session.check(body).expect_err("refused").code();
    assert_eq!(code(&udd(&[0; 200_001])), ErrorCode::TooLarge);
    assert_eq!(code(&Body::Meta { data: &[0; 200_001] }), ErrorCode::TooLarge);
    assert_eq!(code(&Body::Udd { key: "a//b", data: b"", expect_seq: None }), ErrorCode::InvalidKey);
    assert_eq!(session.last(), 0);
}

#[test]
fn after_a_reconnect_exactly_the_unacknowledged_go_again_and_lost_acknowledgements_are_told() {
    let mut session = connected();
    push(&mut session, 5);
    assert_eq!(numbers(&mut session), [1, 2, 3, 4, 5]);
    receive(&mut session, ack(2, 20));
    session.disconnected();
    assert!(!session.has_unwritten());
    let mut events = Vec::new();
    let taken =
        vec![Taken { first_number: 1, first_seq: 19, count: 2 }, Taken { first_number: 3, first_seq: 30, count: 1 }];
    session.welcomed(&welcome(1, 3, taken), &mut events);
    assert_eq!(events, [Event::Taken { first: 3, last: 3, first_seq: 30 }]);
    assert_eq!(numbers(&mut session), [4, 5]);
}

#[test]
fn a_send_in_conflict_has_no_seq_and_those_around_it_have_theirs() {
    let mut session = connected();
    push(&mut session, 3);
    numbers(&mut session);
    let events = receive(&mut session, failed(2, ErrorCode::Conflict));
    assert!(matches!(events[..], [Event::Failed { number: 2, .. }]));
    let events = receive(&mut session, ack(3, 11));
    let seqs = [Event::Taken { first: 3, last: 3, first_seq: 11 }, Event::Taken { first: 1, last: 1, first_seq: 10 }];
    assert_eq!(events, seqs);
}

#[test]
fn no_space_keeps_the_window_lets_requests_pass_and_goes_on_with_resume() {
    let mut session = connected();
    push(&mut session, 4);
    session.push_request(1, &Request { id: 1, kind: Some(request::Kind::Ready(v1::Ready {})) });
    let first = session.unwritten().expect("frames").len() / 4;
    session.wrote(first * 2 + 3); // The third is half written.
    receive(&mut session, failed(2, ErrorCode::NoSpace));
    assert_eq!(session.refused().map(Error::code), Some(ErrorCode::NoSpace));
    // The rest of the third frame and the request go; no send does.
    let rest = session.unwritten().expect("the rest").to_vec();
    assert!(rest.len() < first + 6);
    session.wrote(rest.len());
    session.push_request(2, &Request { id: 2, kind: Some(request::Kind::Ready(v1::Ready {})) });
    session.push(&udd(b"x"));
    assert_eq!(written(&mut session).iter().map(|request| request.id).collect::<Vec<_>>(), [2]);
    receive(&mut session, Kind::Resume(Resume {}));
    assert!(session.refused().is_none());
    receive(&mut session, ack(1, 1));
    assert_eq!(numbers(&mut session), [2, 3, 4, 5]);
}

#[test]
fn fenced_is_final() {
    let mut session = connected();
    session.push(&udd(b"x"));
    numbers(&mut session);
    let events = receive(&mut session, failed(1, ErrorCode::Fenced));
    assert!(matches!(&events[..], [Event::AllFailed(error)] if error.code() == ErrorCode::Fenced));
    for _ in 0..2 {
        assert_eq!(session.take_error().expect_err("latched").code(), ErrorCode::Fenced);
    }
    session.push_request(1, &Request { id: 1, kind: Some(request::Kind::Ready(v1::Ready {})) });
    assert_eq!(written(&mut session).len(), 1, "reads go on");
}

#[test]
fn an_expired_client_is_told_once_and_begins_anew() {
    let mut session = connected();
    push(&mut session, 3);
    numbers(&mut session);
    receive(&mut session, ack(1, 1));
    session.disconnected();
    let mut events = Vec::new();
    session.expired(&mut events);
    assert!(matches!(&events[..], [Event::AllFailed(error)] if error.code() == ErrorCode::Expired));
    session.welcomed(&welcome(1, 0, vec![]), &mut events);
    assert_eq!(session.take_error().expect_err("latched").code(), ErrorCode::Expired);
    assert_eq!(session.take_error(), Ok(()));
    assert_eq!(session.push(&udd(b"y")), 4);
    assert_eq!(numbers(&mut session), [1]);
    assert_eq!(receive(&mut session, ack(1, 9)), [Event::Taken { first: 4, last: 4, first_seq: 9 }]);
}

#[test]
fn expiry_costs_nothing_that_never_went() {
    let mut session = connected();
    push(&mut session, 1);
    numbers(&mut session);
    receive(&mut session, ack(1, 1));
    session.disconnected();
    push(&mut session, 2);
    let mut events = Vec::new();
    session.expired(&mut events);
    session.welcomed(&welcome(1, 0, vec![]), &mut events);
    assert_eq!((events, session.take_error()), (vec![], Ok(())));
    assert_eq!(numbers(&mut session), [1, 2]);
}

#[test]
fn in_another_log_the_unacknowledged_go_again_under_the_numbers_it_expects() {
    let mut session = connected();
    push(&mut session, 3);
    numbers(&mut session);
    receive(&mut session, ack(2, 2));
    session.disconnected();
    session.welcomed(&welcome(2, 0, vec![]), &mut Vec::new());
    session.push(&udd(&[3]));
    assert_eq!(numbers(&mut session), [1, 2]);
    assert_eq!(receive(&mut session, ack(2, 7)), [Event::Taken { first: 3, last: 4, first_seq: 6 }]);
}

#[test]
fn an_acknowledgement_of_what_was_not_sent_loses_the_connection() {
    let mut session = connected();
    session.push(&udd(b"x"));
    assert!(session.receive(ack(1, 1), &mut Vec::new()).is_err(), "it was not even written");
    numbers(&mut session);
    assert!(session.receive(ack(2, 2), &mut Vec::new()).is_err());
    assert!(session.receive(ack(u64::MAX, 0), &mut Vec::new()).is_err());
    assert!(session.receive(ack(1, 1), &mut Vec::new()).is_ok());
}

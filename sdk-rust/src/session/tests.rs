//! The session against a model of the orchestrator, without a socket.

use std::collections::BTreeMap;

use copo_proto::frame::Decoder;
use copo_proto::v1::server_message::Kind;
use copo_proto::v1::{Ack, Resume, SendFailed, Taken, Welcome, request};
use proptest::prelude::*;

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
    assert!(session.should_write());
    assert_eq!(numbers(&mut session), [1]);
    session.push(&udd(b"b"));
    assert!(!session.should_write() && session.has_unwritten());
    assert_eq!(receive(&mut session, ack(1, 10)), [Event::Taken { first: 1, last: 1, first_seq: 10 }]);
    assert!(session.should_write());
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

/// What the session is connected to in the property below: takes sends in order, once, and tells so.
#[derive(Default)]
struct Model {
    decoder: Option<Decoder>,
    /// What was appended: the Seq is the place, from 1.
    log: Vec<(u64, Vec<u8>)>,
    last_number: u64,
    full: bool,
    refusing: bool,
    replies: Vec<Kind>,
}

impl Model {
    fn read(&mut self, bytes: &[u8]) {
        let decoder = self.decoder.as_mut().expect("connected");
        decoder.buffer().extend_from_slice(bytes);
        let mut acked = None;
        while let Some(frame) = self.decoder.as_mut().and_then(|decoder| decoder.next_frame().expect("frames")) {
            let request = Request::decode(frame).expect("a request");
            let Some(request::Kind::UddSend(send)) = request.kind else { continue };
            if self.refusing && (send.number > self.last_number + 1 || self.full) {
                continue;
            }
            if send.number <= self.last_number {
                continue;
            }
            assert_eq!(send.number, self.last_number + 1, "a hole");
            if self.full {
                self.refusing = true;
                self.replies.extend(acked.take());
                self.replies.push(failed(send.number, ErrorCode::NoSpace));
                continue;
            }
            self.refusing = false;
            self.last_number = send.number;
            if send.expect_seq.is_some() {
                self.replies.extend(acked.take());
                self.replies.push(failed(send.number, ErrorCode::Conflict));
                continue;
            }
            self.log.push((send.number, send.udd_buff.to_vec()));
            acked = Some(ack(send.number, self.log.len() as u64));
        }
        self.replies.extend(acked);
    }

    fn welcome(&mut self) -> Welcome {
        self.decoder = Some(Decoder::new(1 << 24));
        self.refusing = false;
        self.replies.clear();
        let each = self.log.iter().zip(1..);
        let taken = each.map(|((number, _), seq)| Taken { first_number: *number, first_seq: seq, count: 1 }).collect();
        welcome(1, self.last_number, taken)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Send { length: usize, conflicts: bool },
    Request,
    Write(usize),
    Deliver(usize),
    Disconnect { arrives: usize },
    Reconnect,
    Full(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (prop_oneof![9 => 0usize..200, 1 => 60_000usize..150_000], prop::bool::weighted(0.1))
            .prop_map(|(length, conflicts)| Step::Send { length, conflicts }),
        1 => Just(Step::Request),
        6 => prop_oneof![1usize..300, Just(1 << 20)].prop_map(Step::Write),
        4 => (0usize..4).prop_map(Step::Deliver),
        1 => (0usize..200).prop_map(|arrives| Step::Disconnect { arrives }),
        2 => Just(Step::Reconnect),
        1 => any::<bool>().prop_map(Step::Full),
    ]
}

struct Run {
    session: Session,
    model: Model,
    events: Vec<Event>,
    outcomes: BTreeMap<u64, Option<u64>>,
    sent: Vec<(Vec<u8>, bool)>,
}

impl Run {
    fn new() -> Self {
        let (session, model) = (connected(), Model { decoder: Some(Decoder::new(1 << 24)), ..Model::default() });
        Self { session, model, events: Vec::new(), outcomes: BTreeMap::new(), sent: Vec::new() }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Send { length, conflicts } => self.send(length, conflicts),
            Step::Request => {
                let ready = Request { id: 1, kind: Some(request::Kind::Ready(v1::Ready {})) };
                self.session.push_request(1, &ready);
            }
            Step::Write(limit) => self.write(limit),
            Step::Deliver(count) => self.deliver(count),
            Step::Disconnect { arrives } => {
                self.write(arrives);
                self.model.decoder = None;
                self.model.replies.clear();
                self.session.disconnected();
            }
            Step::Reconnect => self.reconnect(),
            Step::Full(full) => {
                if self.model.full && !full {
                    self.model.replies.push(Kind::Resume(Resume {}));
                }
                self.model.full = full;
            }
        }
        self.note();
    }

    fn send(&mut self, length: usize, conflicts: bool) {
        let data = vec![self.sent.len() as u8; length];
        let body = Body::Udd { key: "", data: &data, expect_seq: conflicts.then_some(7) };
        if self.session.has_room(&body) {
            assert_eq!(self.session.push(&body), self.sent.len() as u64 + 1, "no holes");
            self.sent.push((data, conflicts));
        }
    }

    fn write(&mut self, mut limit: usize) {
        while let Some(bytes) = self.session.unwritten().map(<[u8]>::to_vec) {
            let count = bytes.len().min(limit);
            if count == 0 {
                return;
            }
            self.model.read(&bytes[..count]);
            self.session.wrote(count);
            limit -= count;
        }
    }

    fn deliver(&mut self, count: usize) {
        let count = count.min(self.model.replies.len());
        for reply in self.model.replies.drain(..count) {
            self.session.receive(reply, &mut self.events).expect("in order");
        }
    }

    fn reconnect(&mut self) {
        if self.model.decoder.is_none() {
            let welcome = self.model.welcome();
            self.session.welcomed(&welcome, &mut self.events);
        }
    }

    fn note(&mut self) {
        for event in std::mem::take(&mut self.events) {
            let told: Vec<(u64, Option<u64>)> = match event {
                Event::Taken { first, last, first_seq } => (first..=last).zip((first_seq..).map(Some)).collect(),
                // What lies before all that is known to be stored may be a conflict, or long ago.
                Event::Unplaced { first, last, .. } => (first..=last).map(|number| (number, None)).collect(),
                Event::Failed { number, .. } => vec![(number, None)],
                other => panic!("not foreseen: {other:?}"),
            };
            for (number, seq) in told {
                assert!(self.outcomes.insert(number, seq).is_none(), "{number} was told twice");
            }
        }
    }

    fn finish(&mut self) {
        self.take(Step::Full(false));
        self.take(Step::Disconnect { arrives: 0 });
        self.take(Step::Reconnect);
        self.take(Step::Write(usize::MAX));
        self.take(Step::Deliver(usize::MAX));
    }
}

proptest! {
    #[test]
    fn every_send_is_stored_once_in_order_and_its_seq_told_whatever_is_lost(steps in prop::collection::vec(step(), 0..120)) {
        let mut run = Run::new();
        steps.into_iter().for_each(|step| run.take(step));
        run.finish();
        let stored: Vec<&Vec<u8>> = run.model.log.iter().map(|(_, data)| data).collect();
        let wanted: Vec<&Vec<u8>> = run.sent.iter().filter(|(_, conflicts)| !conflicts).map(|(data, _)| data).collect();
        prop_assert_eq!(stored, wanted);
        prop_assert_eq!(run.outcomes.len(), run.sent.len());
        for (number, seq) in run.outcomes {
            let (data, conflicts) = &run.sent[number as usize - 1];
            prop_assert_eq!(seq.is_none(), *conflicts);
            if let Some(seq) = seq {
                prop_assert_eq!(&run.model.log[seq as usize - 1], &(number, data.clone()));
            }
        }
        prop_assert_eq!(run.session.in_window(), 0);
        prop_assert_eq!(run.session.window.bytes(), 0);
        prop_assert!(!run.session.has_unwritten());
    }
}

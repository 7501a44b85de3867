//! The session against a model of the orchestrator, at random.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What the session is connected to: takes sends in order, once, and tells so.
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
    Send {
        length: usize,
        conflicts: bool,
    },
    /// As [`Step::Send`], the short way if that is open.
    SendPlain {
        length: usize,
    },
    Request,
    Write(usize),
    WriteChunks,
    Deliver(usize),
    Disconnect {
        arrives: usize,
    },
    Reconnect,
    Full(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (prop_oneof![9 => 0usize..200, 1 => 60_000usize..150_000], prop::bool::weighted(0.1))
            .prop_map(|(length, conflicts)| Step::Send { length, conflicts }),
        8 => (0usize..300).prop_map(|length| Step::SendPlain { length }),
        1 => Just(Step::Request),
        2 => Just(Step::WriteChunks),
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
        if !matches!(step, Step::SendPlain { .. }) {
            self.session.disarm();
        }
        match step {
            Step::Send { length, conflicts } => self.send(length, conflicts),
            Step::SendPlain { length } => self.send_plain(length),
            Step::WriteChunks => {
                while let Some(bytes) = self.session.unwritten_chunk().map(<[u8]>::to_vec).filter(|b| !b.is_empty()) {
                    self.model.read(&bytes);
                    self.session.wrote(bytes.len());
                }
                assert_ne!(self.session.should_write(), Due::Chunk);
            }
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

    fn send_plain(&mut self, length: usize) {
        let data = vec![self.sent.len() as u8; length];
        let has_room = self.session.has_room(&Body::Udd { key: "", data: &data, expect_seq: None });
        if self.session.push_quick("", &data) {
            assert!(has_room && self.session.should_write() == Due::No && self.session.is_in_flight());
            assert!(self.session.take_error().is_ok() && self.session.refused().is_none());
            assert_eq!(self.session.last(), self.sent.len() as u64 + 1, "no holes");
            self.sent.push((data, false));
        } else {
            self.session.disarm();
            self.send(length, false);
            self.session.arm(CHUNK);
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

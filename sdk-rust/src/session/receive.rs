//! What the wire brings: a new connection, acknowledgements, refusals.

use copo_proto::Message;
use copo_proto::v1::{self, ErrorCode, Request, Welcome, server_message};

use super::{Event, Session, encode};
use crate::error::{Error, Result};

impl Session {
    /// A connection stands. What the orchestrator took while its acknowledgements were lost is told; the rest goes
    /// again.
    pub(crate) fn welcomed(&mut self, welcome: &Welcome, events: &mut Vec<Event>) {
        self.window_sends = u64::from(welcome.window.min(self.bounds.sends).max(1));
        self.window_bytes = usize::try_from(welcome.window_bytes.min(self.bounds.bytes)).unwrap_or(usize::MAX).max(1);
        self.max_record = usize::try_from(welcome.max_record).unwrap_or(usize::MAX);
        let is_other_log = !self.log_id.is_empty() && self.log_id != welcome.log_id;
        self.log_id = welcome.log_id.clone();
        let taken = welcome.last_number.saturating_add(self.shift);
        if taken > self.last() {
            let message = "cannot go on: the orchestrator knows sends that this client never made";
            events.push(self.end(Error::new(ErrorCode::Internal, message)));
            return;
        }
        if taken >= self.acked {
            self.tell_taken(taken, &welcome.taken, events);
            self.advance(taken);
        } else if is_other_log {
            self.renumber(welcome.last_number);
        } else {
            self.expire(welcome.last_number, events);
        }
        self.connected = true;
    }

    /// The connection is gone. Returns the ids of the requests that have not gone and still will.
    pub(crate) fn disconnected(&mut self) -> Vec<u64> {
        self.connected = false;
        self.held = false;
        self.clear_urgent();
        self.window.rewind()
    }

    /// The orchestrator does not admit this client any more, because it was away too long. The next connection needs
    /// a new client_id.
    pub(crate) fn expired(&mut self, events: &mut Vec<Event>) {
        self.expire(0, events);
    }

    /// A message came. An error means that this connection is lost.
    pub(crate) fn receive(&mut self, message: server_message::Kind, events: &mut Vec<Event>) -> Result<()> {
        use server_message::Kind;
        match message {
            Kind::Ack(ack) => self.receive_ack(&ack, events)?,
            Kind::SendFailed(failed) => self.receive_failed(failed, events)?,
            Kind::Resume(_) => {
                self.held = false;
                self.refused = None;
            }
            Kind::StopRequested(_) => events.push(Event::Stop),
            Kind::Response(response) => events.push(Event::Response(response)),
            Kind::Error(error) => self.receive_error(Error::from_wire(error), events),
            Kind::Welcome(_) => return Err(malformed("a second Welcome came")),
            // They belong to subscriptions, which have connections of their own.
            Kind::Record(_) | Kind::Report(_) | Kind::Gap(_) | Kind::End(_) => {}
        }
        Ok(())
    }

    fn receive_ack(&mut self, ack: &v1::Ack, events: &mut Vec<Event>) -> Result<()> {
        let number = ack.number.saturating_add(self.shift);
        if number <= self.acked {
            return Ok(());
        }
        if self.window.last_written().is_none_or(|last| number > last) {
            return Err(malformed("an acknowledgement came for what was not sent"));
        }
        // Seqs are counted back from the one given; a send in conflict has none.
        let mut last = number;
        let mut seq = ack.seq;
        let conflicts = self.conflicts.iter().rev().copied().filter(|conflict| *conflict <= number);
        for stop in conflicts.chain([self.acked]) {
            let count = last - stop;
            if count > 0 {
                let first_seq = (seq + 1).checked_sub(count).ok_or_else(|| malformed("a Seq is too small"))?;
                events.push(Event::Taken { first: stop + 1, last, first_seq });
                seq = first_seq.saturating_sub(1);
            }
            last = stop.saturating_sub(1);
        }
        self.advance(number);
        Ok(())
    }

    fn receive_failed(&mut self, failed: v1::SendFailed, events: &mut Vec<Event>) -> Result<()> {
        let number = failed.number.saturating_add(self.shift);
        if number <= self.acked || number > self.last() {
            return Ok(()); // Of an earlier connection, or of no send of ours.
        }
        let error = Error::from_number(failed.code, failed.message);
        match error.code() {
            ErrorCode::Fenced => self.fail_all(error, events),
            ErrorCode::Conflict => {
                events.push(Event::Failed { number, error });
                if number == self.acked + 1 {
                    self.advance(number);
                } else if let Err(at) = self.conflicts.binary_search(&number) {
                    self.conflicts.insert(at, number);
                }
            }
            ErrorCode::NoSpace => self.hold(number, error),
            _ => {
                // A failure inside the orchestrator has no Resume; a new connection tries it again.
                self.refused = Some((number, error.clone()));
                events.push(Event::Drop(error));
            }
        }
        Ok(())
    }

    fn receive_error(&mut self, error: Error, events: &mut Vec<Event>) {
        match error.code() {
            ErrorCode::Fenced => self.fail_all(error, events),
            ErrorCode::Expired => {
                self.expired(events);
                events.push(Event::Drop(error));
            }
            ErrorCode::Replaced | ErrorCode::Unauthorized | ErrorCode::Unsupported => {
                let event = self.end(error);
                events.push(event);
            }
            _ => events.push(Event::Drop(error)),
        }
    }

    /// Nothing goes over this session any more.
    pub(crate) fn end(&mut self, error: Error) -> Event {
        self.final_error.get_or_insert_with(|| error.clone());
        self.window.clear_sends();
        self.acked = self.last();
        Event::Final(error)
    }

    fn fail_all(&mut self, error: Error, events: &mut Vec<Event>) {
        self.final_error.get_or_insert_with(|| error.clone());
        self.pull_back(self.acked + 1);
        self.give_up_window();
        events.push(Event::AllFailed(error));
    }

    fn hold(&mut self, number: u64, error: Error) {
        let was_held = std::mem::replace(&mut self.held, true);
        self.refused = Some((number, error));
        if !was_held {
            self.pull_back(number);
        }
    }

    /// Sends from `number` on are as if they had never gone; what the wire must get all the same goes before them.
    fn pull_back(&mut self, number: u64) {
        let out = self.window.rewind_from(number);
        self.urgent.extend_from_slice(&out.rest);
        out.requests.iter().for_each(|bytes| self.urgent.extend_from_slice(bytes));
    }

    /// Everything up to `number` is taken.
    fn advance(&mut self, number: u64) {
        self.acked = self.acked.max(number);
        self.window.ack(self.acked);
        self.conflicts.retain(|conflict| *conflict > number);
        if self.refused.as_ref().is_some_and(|(from, _)| *from <= self.acked) {
            self.refused = None;
        }
    }

    /// Tells the Seqs of the sends after `acked` up to `last`, as far as `taken` knows them.
    fn tell_taken(&self, last: u64, taken: &[v1::Taken], events: &mut Vec<Event>) {
        let mut ranges: Vec<(u64, u64, u64)> = taken
            .iter()
            .filter(|range| range.count > 0)
            .map(|range| {
                let first = range.first_number.saturating_add(self.shift);
                (first, first.saturating_add(range.count - 1), range.first_seq)
            })
            .collect();
        ranges.sort_unstable();
        let known_from = ranges.first().map_or(u64::MAX, |range| range.0);
        let mut next = self.acked + 1;
        let unplaced = |first: u64, last: u64, events: &mut Vec<Event>| {
            let known = first.max(known_from.min(last + 1));
            if first < known {
                events.push(Event::Unplaced { first, last: known - 1, forgotten: true });
            }
            if known <= last {
                events.push(Event::Unplaced { first: known, last, forgotten: false });
            }
        };
        for (from, to, first_seq) in ranges {
            let (first, to) = (from.max(next), to.min(last));
            if first > to {
                continue;
            }
            unplaced_before(next, first, events, unplaced);
            events.push(Event::Taken { first, last: to, first_seq: first_seq.saturating_add(first - from) });
            next = to + 1;
        }
        unplaced_before(next, last + 1, events, unplaced);
    }

    /// The log is another one, in which the orchestrator took our sends up to `last_number` only: what is not
    /// acknowledged goes again under the numbers that follow.
    fn renumber(&mut self, last_number: u64) {
        self.shift = self.acked - last_number;
        let mut number = self.acked;
        for message in self.window.take_sends() {
            // We wrote these bytes ourselves.
            let request = Request::decode(message.as_slice()).unwrap_or_default();
            if let Some(body) = encode::body(&request) {
                number += 1;
                self.window.push(number, self.on_wire(number), &body);
            }
        }
    }

    /// What has gone out of the window can no longer be told from what was taken.
    fn expire(&mut self, last_number: u64, events: &mut Vec<Event>) {
        if self.touched <= self.acked {
            return self.renumber(last_number); // Nothing has: so nothing can be doubled.
        }
        if self.in_window() > 0 {
            let message = "cannot send again what was not acknowledged: the orchestrator no longer knows this client, \
                           so it could be stored twice";
            let error = Error::new(ErrorCode::Expired, message);
            self.latch(error.clone());
            events.push(Event::AllFailed(error));
        }
        self.give_up_window();
        self.shift = self.acked - last_number;
    }

    fn give_up_window(&mut self) {
        self.window.clear_sends();
        self.acked = self.last();
        self.conflicts.clear();
        self.refused = None;
    }
}

fn unplaced_before(next: u64, first: u64, events: &mut Vec<Event>, tell: impl Fn(u64, u64, &mut Vec<Event>)) {
    if next < first {
        tell(next, first - 1, events);
    }
}

fn malformed(what: &'static str) -> Error {
    Error::new(ErrorCode::Malformed, what)
}

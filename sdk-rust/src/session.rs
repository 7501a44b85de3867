//! The session: which sends are under way, what an acknowledgement, a refusal or a new connection means for them.
//!
//! Pure: it is fed messages and asked for bytes; no socket, clock or thread is touched here.
//!
//! ```text
//!  push ─▶ window ─unwritten/wrote─▶ (wire) ─▶ Ack ─▶ out of the window, its Seq told
//!             ▲                        │ SendFailed NO_SPACE, INTERNAL: held until Resume or the next connection
//!             └── rewind ◀─ disconnected / Welcome: what is not taken goes again, under the same numbers
//!  FENCED, REPLACED: final. EXPIRED: the window is given up, told once, and numbering begins anew.
//! ```
//!
//! Numbers in this module count all sends of the handle and never change. What they are called on the wire is
//! [`Session::on_wire`]: it differs once the orchestrator has begun another log and knows nothing of this client.

mod encode;
#[cfg(test)]
mod tests;
mod window;

use bytes::Bytes;
use copo_proto::v1::{self, ErrorCode, Request, Welcome, server_message};
use copo_proto::{Message, frame, key};

pub(crate) use encode::Body;
use window::{CHUNK, Window};

use crate::error::{Error, Result};

/// What became of sends, and what else came. The edge above passes it on to whoever waits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// These sends are stored, with consecutive Seqs.
    Taken { first: u64, last: u64, first_seq: u64 },
    /// These sends were taken while their acknowledgement was lost, and have no Seq we know. `forgotten`: it is too
    /// long ago for the orchestrator to tell; else they were not appended (CONFLICT).
    Unplaced { first: u64, last: u64, forgotten: bool },
    /// This send was not taken, and never will be.
    Failed { number: u64, error: Error },
    /// No send of the window will be taken.
    AllFailed(Error),
    /// The run was asked to stop.
    Stop,
    /// The answer to a request.
    Response(v1::Response),
    /// The connection is of no more use: drop it; a new one may help.
    Drop(Error),
    /// The connection is over, and a new one would be refused as well.
    Final(Error),
}

/// What the caller chose to hold the window to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) sends: u32,
    pub(crate) bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    bounds: Bounds,
    window_sends: u64,
    window_bytes: usize,
    max_record: usize,
    window: Window,
    /// Number of the next send.
    next: u64,
    /// All up to this one are acknowledged.
    acked: u64,
    /// What to subtract from a number to get the one on the wire.
    shift: u64,
    log_id: Bytes,
    connected: bool,
    /// No send goes until Resume; requests still go, through `urgent`.
    held: bool,
    /// Bytes that go before the window: the rest of a frame cut by a refusal, and requests while sends are held.
    urgent: Vec<u8>,
    urgent_written: usize,
    /// Sends from this one on are refused for now, and why.
    refused: Option<(u64, Error)>,
    /// Sends that are not appended but whose number counts as taken; above `acked`, rising.
    conflicts: Vec<u64>,
    first_error: Option<Error>,
    final_error: Option<Error>,
}

impl Session {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            window_sends: 1,
            window_bytes: 1,
            max_record: copo_proto::MAX_RECORD,
            window: Window::default(),
            next: 1,
            acked: 0,
            shift: 0,
            log_id: Bytes::new(),
            connected: false,
            held: false,
            urgent: Vec::new(),
            urgent_written: 0,
            refused: None,
            conflicts: Vec::new(),
            first_error: None,
            final_error: None,
        }
    }

    // ---- what callers do ----

    /// Refuses what could not be sent, before it has a number.
    pub(crate) fn check(&self, body: &Body<'_>) -> Result<()> {
        let (what, data) = match body {
            Body::Udd { key, data, .. } => {
                key::check(key).map_err(|why| {
                    Error::new(ErrorCode::InvalidKey, format!("cannot send a record with key {key:?}: {why}"))
                })?;
                ("record", data)
            }
            Body::Meta { data } => ("report", data),
        };
        // What a chunk measures is a u32, and what protobuf encodes is at most 2 GiB.
        if data.len() > self.max_record.min(i32::MAX as usize - copo_proto::FRAME_OVERHEAD) {
            let (length, max) = (data.len(), self.max_record);
            let message = format!("cannot send a {what} of {length} bytes: the orchestrator takes at most {max}");
            return Err(Error::new(ErrorCode::TooLarge, message));
        }
        Ok(())
    }

    /// The error a caller is to get before anything else: the final one always, the first of the others once.
    pub(crate) fn take_error(&mut self) -> Result<()> {
        match self.final_error.clone().or_else(|| self.first_error.take()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Keeps `error` for the next caller, unless an earlier one waits for it already.
    pub(crate) fn latch(&mut self, error: Error) {
        self.first_error.get_or_insert(error);
    }

    /// Is there room for `body`? One send larger than the window may be under way alone.
    pub(crate) fn has_room(&self, body: &Body<'_>) -> bool {
        let sends = self.in_window();
        sends == 0
            || (sends < self.window_sends
                && self.window.bytes() + body.frame_len(self.on_wire(self.next)) <= self.window_bytes)
    }

    /// Is there room for a small send?
    pub(crate) fn has_any_room(&self) -> bool {
        self.has_room(&Body::Meta { data: &[] })
    }

    /// Why sends do not go at present, if the orchestrator said so.
    pub(crate) fn refused(&self) -> Option<&Error> {
        self.refused.as_ref().map(|(_, error)| error)
    }

    /// Numbers a send that was checked and has room, and puts it into the window.
    pub(crate) fn push(&mut self, body: &Body<'_>) -> u64 {
        let number = self.next;
        self.window.push(number, self.on_wire(number), body);
        self.next += 1;
        number
    }

    /// Puts a request behind what was sent before it.
    pub(crate) fn push_request(&mut self, id: u64, request: &Request) {
        let bytes = frame::to_vec(request);
        if self.held {
            self.urgent.extend_from_slice(&bytes);
        } else {
            self.window.push_request(id, bytes);
        }
    }

    /// Number of the last send there is; 0 when there is none.
    pub(crate) fn last(&self) -> u64 {
        self.next - 1
    }

    /// All up to this number are acknowledged.
    pub(crate) fn acked(&self) -> u64 {
        self.acked
    }

    fn in_window(&self) -> u64 {
        self.last() - self.acked
    }

    fn on_wire(&self, number: u64) -> u64 {
        number - self.shift
    }

    // ---- what the wire gets ----

    /// Should what has gathered be written now by whoever added to it? Yes when nothing is on its way: that is the
    /// lowest latency. While something is, the acknowledgement that must come is the moment to write what has
    /// gathered meanwhile, unless it is a whole chunk already: so under load a write carries hundreds of records.
    pub(crate) fn should_write(&self) -> bool {
        self.has_unwritten() && (!self.window.is_in_flight() || self.window.unwritten_len() >= CHUNK)
    }

    /// Is there anything that has not gone over the present connection and may?
    pub(crate) fn has_unwritten(&self) -> bool {
        self.connected && (!self.urgent.is_empty() || (!self.held && self.window.unwritten_len() > 0))
    }

    /// The bytes that go next.
    pub(crate) fn unwritten(&self) -> Option<&[u8]> {
        if !self.connected {
            None
        } else if !self.urgent.is_empty() {
            Some(&self.urgent[self.urgent_written..])
        } else if self.held {
            None
        } else {
            self.window.unwritten()
        }
    }

    /// So many bytes of [`Self::unwritten`] went.
    pub(crate) fn wrote(&mut self, count: usize) {
        if self.urgent.is_empty() {
            return self.window.wrote(count);
        }
        self.urgent_written += count;
        if self.urgent_written == self.urgent.len() {
            self.clear_urgent();
        }
    }

    fn clear_urgent(&mut self) {
        self.urgent.clear();
        self.urgent_written = 0;
    }

    // ---- what the wire brings ----

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

    /// What is in the window can no longer be told from what was taken.
    fn expire(&mut self, last_number: u64, events: &mut Vec<Event>) {
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

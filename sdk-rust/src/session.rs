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
mod quick;
mod receive;
#[cfg(test)]
mod tests;
mod window;

use bytes::Bytes;
use copo_proto::v1::{self, ErrorCode, Request};
use copo_proto::{frame, key};

pub(crate) use encode::Body;
use quick::Quick;
pub(crate) use window::CHUNK;
use window::Window;

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

/// Is it time to write?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Not yet.
    No,
    /// Nothing is on its way.
    Idle,
    /// A whole chunk has gathered.
    Chunk,
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
    quick: Quick,
    /// Number of the next send.
    next: u64,
    /// All up to this one are acknowledged.
    acked: u64,
    /// Sends after this one have not gone over any connection.
    touched: u64,
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
            quick: Quick::default(),
            next: 1,
            acked: 0,
            touched: 0,
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
        sends == 0 || (sends < self.window_sends && self.window.bytes() + body.most_len() <= self.window_bytes)
    }

    /// Is there room for `body` and then some? Whoever has waited goes on only then: to be woken for the room of every
    /// single acknowledgement would cost more than sending.
    pub(crate) fn has_ample_room(&self, body: &Body<'_>) -> bool {
        let is_ample =
            self.in_window() <= self.window_sends * 3 / 4 && self.window.bytes() <= self.window_bytes / 4 * 3;
        (is_ample || !self.connected) && self.has_room(body)
    }

    /// Is there ample room for a small send?
    pub(crate) fn has_any_room(&self) -> bool {
        self.has_ample_room(&Body::Meta { data: &[] })
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
    pub(crate) fn should_write(&self) -> Due {
        if !self.has_unwritten() {
            Due::No
        } else if self.window.unwritten_len() >= CHUNK {
            Due::Chunk
        } else if self.window.is_in_flight() {
            Due::No
        } else {
            Due::Idle
        }
    }

    /// Bytes that have not gone over the present connection.
    pub(crate) fn unwritten_len(&self) -> usize {
        self.window.unwritten_len()
    }

    /// Is a send on the wire and not acknowledged?
    pub(crate) fn is_in_flight(&self) -> bool {
        self.connected && !self.held && self.window.is_in_flight()
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

    /// The bytes that go next of what has gathered to whole chunks: the rest goes with the next acknowledgement at the latest,
    /// or fills up to a whole chunk before.
    pub(crate) fn unwritten_chunk(&self) -> Option<&[u8]> {
        if self.connected && self.urgent.is_empty() && !self.held {
            self.window.unwritten_chunk()
        } else {
            self.unwritten()
        }
    }

    /// So many bytes of [`Self::unwritten`] went.
    pub(crate) fn wrote(&mut self, count: usize) {
        if self.urgent.is_empty() {
            self.touched = self.last();
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
}

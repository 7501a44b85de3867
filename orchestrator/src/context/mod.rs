//! The Context: what all processes share. One log of records and reports under one Seq.

use std::path::Path;

use bytes::Bytes;
use copo_proto::v1;

use crate::plan::ContextSpec;

pub mod json;

/// 16 random bytes per client handle (C4).
pub type ClientId = [u8; 16];

/// How many unacknowledged sends a client may have under way; so many newest numbers keep their Seq.
pub const WINDOW: u32 = 65_536;

/// One numbered send, borrowed from wherever the session read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Send<'a> {
    /// 1, 2, 3… per client.
    pub number: u64,
    /// What is sent.
    pub body: Body<'a>,
}

/// What a send holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// A record.
    Udd {
        /// `""` or a key. Checked again here: an ill-formed one fails that send alone with INVALID_KEY.
        key: &'a str,
        /// Its data.
        data: &'a [u8],
        /// Append only if the newest record of the key has this Seq (0: none).
        expect_seq: Option<u64>,
    },
    /// A report.
    Meta {
        /// Its data.
        data: &'a [u8],
    },
}

/// What became of a batch of sends: to be written to the client in this order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Published {
    /// Acknowledgements and failures, in order of numbers.
    pub answers: Vec<Answer>,
    /// The head moved: wake subscribers.
    pub appended: bool,
    /// With `when_full = "wait"`: from this number on nothing was taken, because it would trim what a connected
    /// subscriber has still to read. Publish again from it when the floor has moved.
    pub blocked: Option<u64>,
    /// The connection is to end with this error (a hole in the numbers, or a client that was forgotten).
    pub refused: Option<v1::Error>,
}

/// One answer to sends.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// All up to this number are stored.
    Ack(v1::Ack),
    /// This number could not be taken (NO_SPACE, INTERNAL: later ones are ignored until it is sent again), or was
    /// taken and not appended (CONFLICT).
    Failed(v1::SendFailed),
}

/// What is known of a client that comes (back).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    /// Number of its last send that was taken.
    pub last_number: u64,
    /// The Seqs of its newest taken sends.
    pub taken: Vec<v1::Taken>,
}

/// Why a client may not join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// It was away for more than 24 hours.
    #[error("cannot go on with this client: it was away for more than 24 hours")]
    Expired,
    /// Its id is bound to another token.
    #[error("cannot use this client id: it belongs to another token")]
    NotBound,
}

/// Why the context cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the context in {path}: {why}")]
pub struct OpenError {
    /// Its folder.
    pub path: std::path::PathBuf,
    /// Why.
    pub why: std::io::Error,
}

/// Why something could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room; nothing was stored.
    #[error("cannot store it: no space left")]
    NoSpace,
    /// The disk failed; nothing was stored.
    #[error("cannot store it: {0}")]
    Disk(std::io::Error),
}

/// A part of the stored log that is lost; to be reported as `damaged`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// First Seq that may be lost.
    pub first: u64,
    /// Last Seq that may be lost; the Seq before `first` when it is not known how far the damage reaches.
    pub last: u64,
    /// A sentence that names file, place and Seqs.
    pub reason: String,
}

/// A place in the log of records that is not to be trimmed (`when_full = "wait"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Floor {
    count: u64,
    bytes: u64,
}

/// A subscriber's place in the log.
#[derive(Debug)]
pub struct Cursor {}

impl Cursor {
    /// What this subscriber has still to read begins here; `None` when it reads no records.
    #[must_use]
    pub fn floor(&self) -> Option<Floor> {
        None
    }
}

/// Frames ready for the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Whole frames, gap frames and the end frame included; each slice holds one or more.
    pub slices: Vec<Bytes>,
    /// There is nothing more for now: wait for the head to move. When false, read again (even if `slices` is empty:
    /// a pattern may have matched nothing in a long stretch).
    pub caught_up: bool,
    /// The subscription is over; the End frame is among `slices`.
    pub end: bool,
}

/// Why a subscription is refused.
pub type SubscribeError = v1::Error;

/// The shared context of one application.
#[derive(Debug)]
pub struct Context {}

#[allow(unused_variables, clippy::unimplemented)]
impl Context {
    /// Opens the context kept in `dir` and recovers it; with durability `memory` a fresh one, and nothing on disk.
    /// `boot_id` names this boot of the machine; `now` is microseconds since the Unix epoch, here and everywhere.
    pub fn open(dir: &Path, spec: &ContextSpec, boot_id: &str, now: u64) -> Result<Self, OpenError> {
        unimplemented!()
    }
    /// Damage found since the last call; each is told once in the life of a log.
    pub fn findings(&mut self) -> Vec<Finding> {
        unimplemented!()
    }
    /// Names this log; another one when the tail could not be proven.
    #[must_use]
    pub fn log_id(&self) -> [u8; 16] {
        unimplemented!()
    }
    /// Seq of the newest visible record or report; 0 when there is none.
    #[must_use]
    pub fn head(&self) -> u64 {
        unimplemented!()
    }
    /// Largest `udd_buff` and `report_buff` taken, in bytes.
    #[must_use]
    pub fn max_record(&self) -> usize {
        unimplemented!()
    }
    /// A client comes (back). `binding` names whoever it belongs to: its token, or something for "no token".
    pub fn join(&mut self, client: &ClientId, binding: &str, now: u64) -> Result<Known, JoinError> {
        unimplemented!()
    }
    /// A client's connection ended: its 24 hours begin.
    pub fn leave(&mut self, client: &ClientId, now: u64) {
        unimplemented!()
    }
    /// Takes one batch of one client that has joined; numbers in it rise.
    pub fn publish(&mut self, now: u64, client: &ClientId, sent_by: &str, sends: &[Send<'_>]) -> Published {
        unimplemented!()
    }
    /// Appends a report of the orchestrator's own; its sentence is made from the facts. Returns its Seq.
    pub fn report(&mut self, now: u64, facts: v1::Facts) -> Result<u64, StoreError> {
        unimplemented!()
    }
    /// The newest record of a key, or of all.
    #[must_use]
    pub fn newest(&mut self, now: u64, key: Option<&str>) -> Option<v1::UddRecord> {
        unimplemented!()
    }
    /// The headers, and when and by whom the user-defined data last changed.
    #[must_use]
    pub fn headers(&self) -> v1::Headers {
        unimplemented!()
    }
    /// Replaces the headers; false when they were the same already.
    pub fn set_headers(&mut self, now: u64, by: &str, headers: Vec<String>) -> Result<bool, StoreError> {
        unimplemented!()
    }
    /// Brings in the headers of copo.toml: they win when they changed since they last won (C6). True when that changed
    /// the headers.
    pub fn apply_file_headers(&mut self, now: u64, file: Option<&[String]>) -> Result<bool, StoreError> {
        unimplemented!()
    }
    /// Forgets all records, those kept by key included; reports stay.
    pub fn purge(&mut self, now: u64, by: &str) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// Begins a subscription.
    pub fn subscribe(&mut self, now: u64, request: &v1::Subscribe) -> Result<(Cursor, v1::Subscribed), SubscribeError> {
        unimplemented!()
    }
    /// The next frames for a subscriber, about `budget` bytes of them (one frame may be larger).
    #[must_use]
    pub fn read(&self, now: u64, cursor: &mut Cursor, budget: usize) -> Batch {
        unimplemented!()
    }
    /// With `when_full = "wait"`: the lowest place a connected subscriber has still to read from; `None`: nobody reads.
    pub fn set_floor(&mut self, floor: Option<Floor>) {
        unimplemented!()
    }
    /// After NO_SPACE: is there room again? Asked on a timer while someone waits.
    pub fn resume_ready(&mut self) -> bool {
        unimplemented!()
    }
    /// reports.json as it is to stand on disk (C7): a whole document with the newest 1,000 reports.
    #[must_use]
    pub fn reports_json(&self) -> Vec<u8> {
        unimplemented!()
    }
    /// A clean stop: all is on disk, and the next open need not doubt the tail.
    pub fn close(&mut self) {
        unimplemented!()
    }
}

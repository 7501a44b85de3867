//! What the context and its users say to each other.

use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use copo_proto::v1;

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
        /// `""` or a key. Checked again here, as is the size: an SDK never numbers an ill-formed send, so one that comes
        /// ends the connection.
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
    /// A report was appended.
    pub reported: bool,
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
    pub path: PathBuf,
    /// Why.
    pub why: io::Error,
}

/// Why something could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room; nothing was stored.
    #[error("cannot store it: no space left on the disk (or no memory or descriptor for a new segment)")]
    NoSpace,
    /// The disk failed; nothing was stored.
    #[error("cannot store it: {0}")]
    Disk(io::Error),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::NoSpace,
            // Room of another kind, which comes back as well.
            io::ErrorKind::OutOfMemory => Self::NoSpace,
            _ if is_out_of_descriptors(&error) => Self::NoSpace,
            _ => Self::Disk(error),
        }
    }
}

#[cfg(unix)]
fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

#[cfg(not(unix))]
fn is_out_of_descriptors(_error: &io::Error) -> bool {
    false
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
    pub(super) count: u64,
    pub(super) bytes: u64,
}

#[cfg(test)]
impl Floor {
    /// For tests: after so many records, of so many bytes.
    pub(crate) fn at(count: u64, bytes: u64) -> Self {
        Self { count, bytes }
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
    /// More than a socket takes at once, unless its buffer is made larger.
    pub is_much: bool,
}

/// Why a subscription is refused.
pub type SubscribeError = v1::Error;

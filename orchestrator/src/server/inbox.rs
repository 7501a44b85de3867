//! What has come over a connection and is not handled yet: read straight into place, looked at where it lies.

use copo_proto::frame::{self, FrameError, Head};

/// Room for a connection's first reads; it doubles while reads fill it.
const READ_MIN: usize = 8 * 1024;
/// Room for the reads of a busy connection: so much is in the cache still when it goes out to readers.
const READ_MAX: usize = 64 * 1024;
/// A buffer that grew beyond this for one frame is given back after it: not every client that once sent a large record
/// is to keep its memory.
const KEPT: usize = 4 * 1024 * 1024;
/// A part of a frame up to this size is moved to the front before more is read: the same few pages serve every read.
const CHEAP: usize = 4 * 1024;

/// The bytes of one connection that are read and not handled.
#[derive(Debug)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
    /// Largest frame taken.
    max: usize,
    read_size: usize,
    /// What the frame under way lacks at least; 0 when none is.
    missing: usize,
}

impl Inbox {
    /// An empty one that takes frames of up to `max` bytes.
    pub(super) fn new(max: usize) -> Self {
        Self { bytes: Vec::new(), from: 0, to: 0, max, read_size: READ_MIN, missing: 0 }
    }

    /// From the next frame on, take frames of up to `max` bytes.
    pub(super) fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// What has come and is not handled.
    pub(super) fn arrived(&self) -> &[u8] {
        &self.bytes[self.from..self.to]
    }

    /// What stands `at` bytes behind the start of what has come.
    pub(super) fn peek(&self, at: usize) -> Result<Head, FrameError> {
        frame::peek(&self.arrived()[at..], self.max)
    }

    /// The first whole frame without its length, and how many bytes both take.
    pub(super) fn first(&self) -> Result<Option<(&[u8], usize)>, FrameError> {
        Ok(match self.peek(0)? {
            Head::Whole { prefix, length } => Some((&self.arrived()[prefix..prefix + length], prefix + length)),
            Head::Partial { .. } => None,
        })
    }

    /// The first bytes are handled.
    pub(super) fn handled(&mut self, bytes: usize) {
        self.from += bytes;
        debug_assert!(self.from <= self.to, "more was handled than came");
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        }
    }

    /// What is left is a frame that is not whole: at least this many bytes are missing.
    pub(super) fn lacks(&mut self, missing: usize) {
        self.missing = missing;
    }

    /// Where the next bytes are to be read to; [`Inbox::read`] is then told how many came.
    pub(super) fn room(&mut self) -> &mut [u8] {
        let have = self.to - self.from;
        if have == 0 && self.bytes.len() > KEPT {
            self.bytes = Vec::new();
        }
        // A large frame is read to its end and no further, so that none ever has to be moved.
        let is_large = self.missing > READ_MAX;
        let (least, most) = if is_large {
            (self.missing, self.missing)
        } else {
            (self.missing.max(self.read_size / 4 * 3), self.missing.max(self.read_size))
        };
        if have + least > self.bytes.len() {
            let mut larger = vec![0; have + most];
            larger[..have].copy_from_slice(self.arrived());
            self.bytes = larger;
            (self.from, self.to) = (0, have);
        } else if self.from > 0 && (have <= CHEAP || self.to + least > self.bytes.len()) {
            self.bytes.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, have);
        }
        let end = if is_large { self.to + self.missing } else { self.bytes.len().min(self.to + READ_MAX) };
        &mut self.bytes[self.to..end]
    }

    /// So many bytes came, of the room for so many. True when they filled it: there may be more where they came from.
    pub(super) fn read(&mut self, bytes: usize, room: usize) -> bool {
        self.to += bytes;
        self.missing = self.missing.saturating_sub(bytes);
        if bytes == room {
            self.read_size = (self.read_size * 2).min(READ_MAX);
        }
        bytes == room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Handles every whole frame there is, and notes what is missing.
    fn take_frames(inbox: &mut Inbox, out: &mut Vec<Vec<u8>>) -> Result<(), FrameError> {
        while let Some((frame, whole)) = inbox.first()? {
            out.push(frame.to_vec());
            inbox.handled(whole);
        }
        if let Head::Partial { missing } = inbox.peek(0)? {
            inbox.lacks(missing);
        }
        Ok(())
    }

    fn framed(data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        prost::encoding::encode_varint(data.len() as u64, &mut out);
        out.extend_from_slice(data);
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn frames_come_out_as_they_went_in_however_the_stream_is_cut(
            sizes in prop::collection::vec(prop_oneof![6 => 0usize..300, 2 => 0usize..50_000, 1 => 0usize..900_000], 1..30),
            reads in prop::collection::vec(1usize..400_000, 1..20),
        ) {
            let sent: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(i, size)| vec![i as u8; *size]).collect();
            let stream: Vec<u8> = sent.iter().flat_map(|data| framed(data)).collect();
            let (mut inbox, mut got, mut rest) = (Inbox::new(1 << 20), Vec::new(), &stream[..]);
            for most in reads.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let room = inbox.room();
                prop_assert!(!room.is_empty());
                let (length, count) = (room.len(), room.len().min(*most).min(rest.len()));
                room[..count].copy_from_slice(&rest[..count]);
                rest = &rest[count..];
                inbox.read(count, length);
                take_frames(&mut inbox, &mut got).expect("well formed");
            }
            prop_assert!(got == sent);
            prop_assert!(inbox.arrived().is_empty());
        }
    }

    #[test]
    fn a_large_frame_gets_its_room_at_once_and_gives_it_back() {
        let mut inbox = Inbox::new(16 << 20);
        let frame = framed(&vec![1; 8 << 20]);
        let (mut rest, mut got) = (&frame[..], Vec::new());
        let mut rooms = Vec::new();
        while !rest.is_empty() {
            let room = inbox.room();
            let (length, count) = (room.len(), room.len().min(1 << 20).min(rest.len()));
            room[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            inbox.read(count, length);
            take_frames(&mut inbox, &mut got).expect("well formed");
            rooms.push(inbox.bytes.len());
        }
        rooms.dedup();
        assert!(rooms.len() <= 2, "it grew in steps: {rooms:?}");
        assert_eq!(got.len(), 1);
        assert!(inbox.room().len() <= READ_MAX);
        assert!(inbox.bytes.len() <= READ_MAX);
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_before_its_bytes_come() {
        let mut inbox = Inbox::new(1024);
        let head = &framed(&[0; 2000])[..3];
        let room = inbox.room();
        room[..3].copy_from_slice(head);
        let length = room.len();
        inbox.read(3, length);
        assert_eq!(inbox.first(), Err(FrameError::TooLarge { length: 2000, max: 1024 }));
        assert!(inbox.bytes.len() <= READ_MAX);
    }
}

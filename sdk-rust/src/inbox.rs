//! What a subscription has read and not delivered: one buffer that is filled by large reads and read in place.

use std::ops::Range;

use bytes::Bytes;
use copo_proto::frame::{self, FrameError, Head};

/// How much a read takes at least: several hundred small records.
pub(crate) const READ: usize = 64 * 1024;
/// After so many reads that needed no quarter of it, a large buffer is given back.
const SMALL_READS: u32 = 64;
/// From this size on a record's data takes the buffer along, instead of being copied out of it.
const HANDED_OVER: usize = 32 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// As long as its capacity; what is read lies in `start..end`.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Largest message taken.
    max: usize,
    small_reads: u32,
}

impl Inbox {
    /// Goes on where another reader stopped.
    pub(crate) fn new(max: usize, already_read: &[u8]) -> Self {
        let mut bytes = vec![0; 2 * READ + already_read.len()];
        bytes[..already_read.len()].copy_from_slice(already_read);
        Self { bytes, start: 0, end: already_read.len(), max, small_reads: 0 }
    }

    /// Takes the next whole message; gives where it lies until the next read. After an error the stream is lost.
    pub(crate) fn take(&mut self) -> Result<Option<Range<usize>>, FrameError> {
        match frame::peek(&self.bytes[self.start..self.end], self.max)? {
            Head::Whole { prefix, length } => {
                let begin = self.start + prefix;
                self.start = begin + length;
                Ok(Some(begin..self.start))
            }
            Head::Partial { .. } => Ok(None),
        }
    }

    /// What was read and not taken.
    #[inline]
    pub(crate) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Largest message taken.
    #[inline]
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Takes so many bytes of [`Self::unread`].
    #[inline]
    pub(crate) fn pass(&mut self, count: usize) {
        self.start += count;
    }

    /// Room to read into, at least [`READ`] bytes. A frame that has begun gets all it needs at once, and no more than one
    /// read beyond it, so that little has to be moved when it has been delivered.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let have = self.end - self.start;
        let frame = match frame::peek(&self.bytes[self.start..self.end], self.max) {
            Ok(Head::Partial { missing }) => have + missing,
            Ok(Head::Whole { .. }) | Err(_) => have,
        };
        let needed = frame + READ;
        self.small_reads = if needed < self.bytes.len() / 4 { self.small_reads + 1 } else { 0 };
        if needed > self.bytes.len() || self.small_reads > SMALL_READS {
            self.move_to(vec![0; needed.max(2 * READ)]);
        } else if have == 0 || self.start + needed > self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, have);
        }
        &mut self.bytes[self.end..self.start + needed]
    }

    /// Makes `fresh` the buffer; returns the one before.
    fn move_to(&mut self, mut fresh: Vec<u8>) -> Vec<u8> {
        let have = self.end - self.start;
        fresh[..have].copy_from_slice(&self.bytes[self.start..self.end]);
        (self.start, self.end, self.small_reads) = (0, have, 0);
        std::mem::replace(&mut self.bytes, fresh)
    }

    /// So many bytes were read into [`Self::room`].
    pub(crate) fn filled(&mut self, count: usize) {
        self.end += count;
    }

    /// What lies there.
    pub(crate) fn bytes(&self, place: Range<usize>) -> &[u8] {
        &self.bytes[place]
    }

    /// Where a part of this buffer lies.
    pub(crate) fn place_of(&self, part: &[u8]) -> Range<usize> {
        if part.is_empty() {
            return 0..0; // What is absent lies nowhere.
        }
        let start = (part.as_ptr() as usize).wrapping_sub(self.bytes.as_ptr() as usize);
        start..start + part.len()
    }

    /// What lies there, to keep: copied, or, where the buffer holds little else, together with the buffer.
    pub(crate) fn own(&mut self, place: Range<usize>) -> Bytes {
        if place.len() < HANDED_OVER || place.len() < self.bytes.len() / 2 {
            return Bytes::copy_from_slice(&self.bytes[place]);
        }
        let length = self.bytes.len().max(self.end - self.start);
        let full = self.move_to(vec![0; length]);
        Bytes::from(full).slice(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame_of(length: usize, fill: u8) -> Vec<u8> {
        let mut out = Vec::new();
        prost::encoding::encode_varint(length as u64, &mut out);
        out.resize(out.len() + length, fill);
        out
    }

    /// Feeds a stream as a socket would, at most `most` bytes a read.
    fn through(inbox: &mut Inbox, mut stream: &[u8], most: usize) -> Vec<(Bytes, bool)> {
        let mut got = Vec::new();
        loop {
            while let Some(place) = inbox.take().expect("well formed") {
                let before = inbox.bytes.as_ptr();
                let owned = inbox.own(place);
                got.push((owned, before != inbox.bytes.as_ptr()));
            }
            if stream.is_empty() {
                return got;
            }
            let room = inbox.room();
            let count = room.len().min(most).min(stream.len());
            room[..count].copy_from_slice(&stream[..count]);
            stream = &stream[count..];
            inbox.filled(count);
        }
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            lengths in prop::collection::vec(prop_oneof![0usize..200, 0usize..200, 20_000usize..300_000], 0..12),
            most in 1usize..200_000,
            first in 0usize..50,
        ) {
            let frames: Vec<Vec<u8>> = lengths.iter().enumerate().map(|(i, n)| frame_of(*n, i as u8)).collect();
            let stream = frames.concat();
            let (already, rest) = stream.split_at(first.min(stream.len()));
            let mut inbox = Inbox::new(1 << 20, already);
            let got = through(&mut inbox, rest, most.max(rest.len() / 500));
            prop_assert_eq!(got.len(), lengths.len());
            for (i, (bytes, _)) in got.iter().enumerate() {
                prop_assert!(bytes.len() == lengths[i] && bytes.iter().all(|byte| *byte == i as u8));
            }
        }
    }

    #[test]
    fn a_large_record_is_given_away_with_its_buffer_and_a_small_one_copied() {
        let stream = [frame_of(1 << 20, 1), frame_of(100, 2)].concat();
        let mut inbox = Inbox::new(1 << 21, &[]);
        let got = through(&mut inbox, &stream, usize::MAX);
        assert_eq!(got.iter().map(|(_, is_given)| *is_given).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_large_frame_gets_its_room_once_and_gives_it_back() {
        let mut inbox = Inbox::new(1 << 27, &[]);
        let stream = frame_of(8 << 20, 1);
        let mut buffers = std::collections::BTreeSet::new();
        for part in stream.chunks(1000) {
            inbox.room()[..part.len()].copy_from_slice(part);
            inbox.filled(part.len());
            buffers.insert(inbox.bytes.len());
        }
        assert_eq!(buffers.len(), 2, "{buffers:?}");
        assert!(inbox.take().expect("well formed").is_some());
        (0..=SMALL_READS).for_each(|_| drop(through(&mut inbox, &frame_of(10, 2), usize::MAX)));
        assert_eq!(inbox.bytes.len(), 2 * READ);
    }

    #[test]
    fn a_frame_that_is_too_large_is_refused_before_its_bytes_come() {
        let mut inbox = Inbox::new(1024, &frame_of(5000, 0)[..2]);
        assert_eq!(inbox.take(), Err(FrameError::TooLarge { length: 5000, max: 1024 }));
        assert_eq!(inbox.room().len(), READ);
    }
}

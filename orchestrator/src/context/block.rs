//! Blocks: what one append writes to a segment. A head, then the frames of one batch of one client, untouched. Pure.
//!
//! ```text
//!  0 length u32        of head and frames; stored last. 0: nothing (yet) stands here
//!  4 crc32c u32        over length and all that follows, seeded with the segment's seed
//!  8 client_id 16
//! 24 first_number u64  of the client's numbers; the frames have consecutive ones
//! 32 first_seq u64     the frames have consecutive Seqs
//! 40 time u64          all frames have this one
//! 48 count u32         of frames
//! 52 kind u8, keyed u8, 0 u16
//! ```
//! A block that goes on where the one before it ended (same client, next number) may have a short head, so that a record
//! that comes alone takes little more than its frame:
//!
//! ```text
//!  0 length u32        as above, and the highest bit set
//!  4 crc32c u32        as above
//!  8 first_seq u56, count u8
//! 16 time u56, kind u7 and keyed in the highest bit
//! ```
//! Blocks begin at multiples of [`ALIGN`], all numbers are little-endian. The seed differs from segment to segment, so
//! that what is left over in a recycled file is never taken for a block of the new segment.

use super::ClientId;

/// Bytes of a block's head.
pub(super) const HEAD: usize = 56;
/// Bytes of a short one.
pub(super) const SHORT: usize = 24;
/// In the length as it is stored: the head is a short one.
const IS_SHORT: u32 = 1 << 31;
const U56: u64 = (1 << 56) - 1;
/// Blocks begin at multiples of this.
pub(super) const ALIGN: usize = 8;

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Frames of records.
    Records = 1,
    /// Frames of reports.
    Reports = 2,
    /// One record's frame that outlives its segment because it is its key's newest.
    Kept = 3,
    /// What is known of a client; `first_number` is its last taken number, `time` when it left (0: it has not).
    Client = 4,
    /// The number `first_number` of the client was taken and not appended (a conflict).
    Mark = 5,
}

impl Content {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Records),
            2 => Some(Self::Reports),
            3 => Some(Self::Kept),
            4 => Some(Self::Client),
            5 => Some(Self::Mark),
            _ => None,
        }
    }

    fn has_frames(self) -> bool {
        match self {
            Self::Records | Self::Reports | Self::Kept => true,
            Self::Client | Self::Mark => false,
        }
    }
}

/// A block's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of head and frames.
    pub length: usize,
    /// Client and number stand in the block before.
    pub is_short: bool,
    /// Zeros when a short head was read; so is the number.
    pub client: ClientId,
    pub first_number: u64,
    pub first_seq: u64,
    pub time: u64,
    pub count: u32,
    pub content: Content,
    /// Has one of the records a key?
    pub keyed: bool,
}

impl Head {
    /// Seq of the last frame.
    pub fn last_seq(&self) -> u64 {
        self.first_seq + u64::from(self.count) - 1
    }

    /// Bytes of the head itself.
    pub fn size(&self) -> usize {
        if self.is_short { SHORT } else { HEAD }
    }

    /// Bytes of the frames.
    pub fn frames(&self) -> usize {
        self.length - self.size()
    }

    /// The number that the client's next send has; 0 when the block is no client's.
    pub fn next_number(&self) -> u64 {
        if self.first_number > 0 { self.first_number + u64::from(self.count) } else { 0 }
    }

    /// The same with a short head; only if what that leaves out follows from the block before.
    pub fn shortened(self) -> Option<Self> {
        let fits = self.count > 0 && self.count <= u32::from(u8::MAX) && self.first_seq <= U56 && self.time <= U56;
        (fits && !self.is_short).then(|| Self { length: self.length - HEAD + SHORT, is_short: true, ..self })
    }

    /// The same with a whole head, which is of this client and number.
    pub fn lengthened(self, client: ClientId, first_number: u64) -> Self {
        Self { length: HEAD + self.frames(), is_short: false, client, first_number, ..self }
    }

    /// The length as it is stored.
    pub fn stored_length(&self) -> u32 {
        self.length as u32 | if self.is_short { IS_SHORT } else { 0 }
    }

    /// Where the next block begins, seen from this one.
    pub fn stride(&self) -> usize {
        self.length.next_multiple_of(ALIGN)
    }

    /// Writes all of the head but length and checksum.
    pub fn write(&self, out: &mut [u8]) {
        if self.is_short {
            let kind = self.content as u8 | u8::from(self.keyed) << 7;
            out[8..16].copy_from_slice(&(self.first_seq | u64::from(self.count) << 56).to_le_bytes());
            out[16..SHORT].copy_from_slice(&(self.time | u64::from(kind) << 56).to_le_bytes());
            return;
        }
        out[8..24].copy_from_slice(&self.client);
        out[24..32].copy_from_slice(&self.first_number.to_le_bytes());
        out[32..40].copy_from_slice(&self.first_seq.to_le_bytes());
        out[40..48].copy_from_slice(&self.time.to_le_bytes());
        out[48..52].copy_from_slice(&self.count.to_le_bytes());
        out[52..HEAD].copy_from_slice(&[self.content as u8, u8::from(self.keyed), 0, 0]);
    }

    /// Reads the head at the start of `bytes`. `None` when none stands there or what stands there makes no sense.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let stored = u32::from_le_bytes(*bytes.first_chunk()?);
        if stored & IS_SHORT != 0 {
            return Self::read_short(bytes.first_chunk()?);
        }
        let (head, length): (&[u8; HEAD], _) = (bytes.first_chunk()?, stored as usize);
        let number = |at: usize| u64::from_le_bytes(*head[at..].first_chunk().expect("inside the head"));
        let read = Self {
            length,
            is_short: false,
            client: *head[8..].first_chunk()?,
            first_number: number(24),
            first_seq: number(32),
            time: number(40),
            count: u32::from_le_bytes(*head[48..].first_chunk()?),
            content: Content::from_byte(head[52])?,
            keyed: head[53] & 1 == 1,
        };
        let frames = read.content.has_frames();
        (length >= HEAD && head[54..] == [0, 0] && head[53] <= 1 && frames == (read.count > 0)).then_some(read)
    }

    fn read_short(head: &[u8; SHORT]) -> Option<Self> {
        let number = |at: usize| u64::from_le_bytes(*head[at..].first_chunk().expect("inside the head"));
        let (seq, time) = (number(8), number(16));
        let read = Self {
            length: (number(0) as u32 & !IS_SHORT) as usize,
            is_short: true,
            client: [0; 16],
            first_number: 0,
            first_seq: seq & U56,
            time: time & U56,
            count: (seq >> 56) as u32,
            content: Content::from_byte((time >> 56) as u8 & 0x7f)?,
            keyed: time >> 63 == 1,
        };
        (read.length >= SHORT && read.count > 0 && read.content.has_frames()).then_some(read)
    }
}

/// The checksum of the block with this head at the start of `bytes`.
pub(super) fn checksum(seed: u32, bytes: &[u8], head: &Head) -> u32 {
    let seeded = crc32c::crc32c_append(seed, &head.stored_length().to_le_bytes());
    crc32c::crc32c_append(seeded, &bytes[8..head.length])
}

/// The head of the block at the start of `bytes`, if a whole block with the right checksum stands there.
pub(super) fn verified(seed: u32, bytes: &[u8]) -> Option<Head> {
    let head = Head::read(bytes)?;
    if head.length > bytes.len() {
        return None;
    }
    let stored = u32::from_le_bytes(*bytes[4..].first_chunk()?);
    (stored == checksum(seed, bytes, &head)).then_some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head() -> impl Strategy<Value = Head> {
        let content = prop_oneof![Just(Content::Records), Just(Content::Reports), Just(Content::Kept)];
        (HEAD..1 << 30, any::<ClientId>(), any::<u64>(), 1..=U56, 0..=U56, 1u32..300, content, any::<bool>()).prop_map(
            |(length, client, first_number, first_seq, time, count, content, keyed)| Head {
                length,
                is_short: false,
                client,
                first_number,
                first_seq,
                time,
                count,
                content,
                keyed,
            },
        )
    }

    fn stored(head: &Head) -> Vec<u8> {
        let mut out = vec![0; head.size()];
        head.write(&mut out);
        out[..4].copy_from_slice(&head.stored_length().to_le_bytes());
        out
    }

    proptest! {
        #[test]
        fn a_head_is_read_as_it_was_written_and_a_short_one_but_for_what_it_leaves_out(head in head()) {
            prop_assert_eq!(Head::read(&stored(&head)), Some(head));
            let Some(short) = head.shortened() else {
                prop_assert!(head.count > 255);
                return Ok(());
            };
            prop_assert_eq!((short.frames(), short.length), (head.frames(), head.length - 32));
            let read = Head::read(&stored(&short)).expect("a short head");
            prop_assert_eq!(read, Head { client: [0; 16], first_number: 0, ..short });
            prop_assert_eq!(read.lengthened(head.client, head.first_number), head);
        }
    }
}

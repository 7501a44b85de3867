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
//! Blocks begin at multiples of [`ALIGN`], all numbers are little-endian. The seed differs from segment to segment, so
//! that what is left over in a recycled file is never taken for a block of the new segment.

use super::ClientId;

/// Bytes of a block's head.
pub(super) const HEAD: usize = 56;
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
}

/// A block's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub length: usize,
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

    /// Where the next block begins, seen from this one.
    pub fn stride(&self) -> usize {
        self.length.next_multiple_of(ALIGN)
    }

    /// Writes all of the head but length and checksum.
    pub fn write(&self, out: &mut [u8]) {
        out[8..24].copy_from_slice(&self.client);
        out[24..32].copy_from_slice(&self.first_number.to_le_bytes());
        out[32..40].copy_from_slice(&self.first_seq.to_le_bytes());
        out[40..48].copy_from_slice(&self.time.to_le_bytes());
        out[48..52].copy_from_slice(&self.count.to_le_bytes());
        out[52..HEAD].copy_from_slice(&[self.content as u8, u8::from(self.keyed), 0, 0]);
    }

    /// Reads the head at the start of `bytes`. `None` when none stands there or what stands there makes no sense.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let head: &[u8; HEAD] = bytes.first_chunk()?;
        let length = u32::from_le_bytes(head[..4].try_into().ok()?) as usize;
        let number = |at: usize| u64::from_le_bytes(*head[at..].first_chunk().expect("inside the head"));
        let read = Self {
            length,
            client: *head[8..].first_chunk()?,
            first_number: number(24),
            first_seq: number(32),
            time: number(40),
            count: u32::from_le_bytes(*head[48..].first_chunk()?),
            content: Content::from_byte(head[52])?,
            keyed: head[53] & 1 == 1,
        };
        let frames = matches!(read.content, Content::Records | Content::Reports | Content::Kept);
        (length >= HEAD && head[54..] == [0, 0] && head[53] <= 1 && frames == (read.count > 0)).then_some(read)
    }
}

/// The checksum of the block of `length` bytes at the start of `bytes`.
pub(super) fn checksum(seed: u32, bytes: &[u8], length: usize) -> u32 {
    let seeded = crc32c::crc32c_append(seed, &(length as u32).to_le_bytes());
    crc32c::crc32c_append(seeded, &bytes[8..length])
}

/// The head of the block at the start of `bytes`, if a whole block with the right checksum stands there.
pub(super) fn verified(seed: u32, bytes: &[u8]) -> Option<Head> {
    let head = Head::read(bytes)?;
    if head.length > bytes.len() {
        return None;
    }
    let stored = u32::from_le_bytes(*bytes[4..].first_chunk()?);
    (stored == checksum(seed, bytes, head.length)).then_some(head)
}

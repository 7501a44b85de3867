//! A segment: a chunk with a header and blocks, and the sparse index over them. It knows places, not files.

use super::ClientId;
use super::block::{self, ALIGN, HEAD, Head, SHORT};
use super::frame;
use super::store::Chunk;

/// Bytes of a segment's header.
pub(super) const HEADER: usize = 64;
const MAGIC: &[u8; 8] = b"copolog1";
/// After so many bytes of blocks a head is whole again: a damaged one takes no more along than those.
const SHORT_FOR: usize = 4 * 1024;
/// An index entry for about so many bytes of blocks.
const INDEX_STEP: usize = 32 * 1024;

/// A place between records: the Seq and time of the record that follows, and what the stream held before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct At {
    pub seq: u64,
    pub time: u64,
    pub count: u64,
    pub bytes: u64,
}

impl At {
    /// The place of the block's first record.
    pub fn of(self, head: &Head) -> Self {
        Self { seq: head.first_seq, time: head.time, ..self }
    }

    /// The place after the whole block.
    pub fn after(self, head: &Head) -> Self {
        Self {
            seq: head.first_seq + u64::from(head.count),
            time: head.time,
            count: self.count + u64::from(head.count),
            bytes: self.bytes + head.frames() as u64,
        }
    }
}

/// A place in a segment: a block, a frame in it, and what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Number of the segment.
    pub segment: u64,
    /// Where the block begins (or the next one will).
    pub offset: usize,
    /// Bytes of the block's frames that lie before.
    pub inner: usize,
    pub at: At,
}

/// A stretch of a segment that cannot be read. Where a whole segment is missing before this one, it has no bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hole {
    pub from: usize,
    pub to: usize,
    /// Seqs that may have stood there.
    pub first: u64,
    pub last: u64,
}

/// What stands at a place of a segment.
#[derive(Debug)]
pub(super) enum Step<'a> {
    Block(usize, Head),
    Hole(&'a Hole),
    End,
}

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub id: u64,
    /// Seq of the stream's last record before this segment; 0 when there is none.
    pub previous: u64,
    pub seed: u32,
    /// Bytes of the file: a shorter one has lost its end.
    pub capacity: u64,
}

impl Identity {
    fn to_bytes(self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(MAGIC);
        out[8..16].copy_from_slice(&self.id.to_le_bytes());
        out[16..24].copy_from_slice(&self.previous.to_le_bytes());
        out[24..28].copy_from_slice(&self.seed.to_le_bytes());
        out[32..40].copy_from_slice(&self.capacity.to_le_bytes());
        let crc = crc32c::crc32c(&out[..HEADER - 4]);
        out[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the header at the start of a chunk.
    pub fn read(chunk: &Chunk) -> Option<Self> {
        let bytes: &[u8; HEADER] = chunk.bytes(0, chunk.capacity()).first_chunk()?;
        let id = u64::from_le_bytes(*bytes[8..].first_chunk()?);
        let previous = u64::from_le_bytes(*bytes[16..].first_chunk()?);
        let seed = u32::from_le_bytes(*bytes[24..].first_chunk()?);
        let capacity = u64::from_le_bytes(*bytes[32..].first_chunk()?);
        let read = Self { id, previous, seed, capacity };
        (read.to_bytes() == *bytes).then_some(read)
    }
}

/// One segment of a stream.
#[derive(Debug)]
pub(super) struct Segment {
    pub identity: Identity,
    pub chunk: Chunk,
    /// The place of its first record.
    pub start: At,
    /// The place after its last record.
    pub end: At,
    /// Where the next block goes.
    pub tail: usize,
    /// Blocks below this are as durable as configured and may be read.
    pub visible: usize,
    /// The place after the last record that may be read.
    pub shown: At,
    index: Vec<(usize, At)>,
    pub holes: Vec<Hole>,
    /// Where a short head goes on behind the last block, and behind the last that may be read.
    going_on: Option<GoingOn>,
    shown_going_on: Option<GoingOn>,
}

/// What a short head leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct GoingOn {
    client: ClientId,
    next_number: u64,
    /// Where the last whole head stands.
    since: usize,
}

impl GoingOn {
    fn after(before: Option<Self>, offset: usize, head: &Head) -> Option<Self> {
        let since = before.map_or(offset, |before| if head.is_short { before.since } else { offset });
        let next_number = head.next_number();
        (next_number > 0).then_some(Self { client: head.client, next_number, since })
    }
}

impl Segment {
    /// Makes an empty segment of a chunk that nobody else holds; `at` is where the stream ends.
    pub fn create(mut chunk: Chunk, identity: Identity, at: At) -> Self {
        // What a recycled chunk held is cut off before its new header stands.
        chunk.store_length(HEADER, 0);
        let mut segment = Self::at_start(chunk, identity, at);
        segment.write_header();
        segment.chunk.seal(HEADER);
        segment
    }

    /// Writes what it is to its start.
    pub fn write_header(&mut self) {
        self.identity.capacity = self.chunk.capacity() as u64;
        self.chunk.writable(0, HEADER).copy_from_slice(&self.identity.to_bytes());
    }

    /// A segment none of whose blocks is known yet.
    pub fn at_start(chunk: Chunk, identity: Identity, at: At) -> Self {
        let start = At { seq: identity.previous + 1, ..at };
        let (index, holes) = (Vec::new(), Vec::new());
        let (tail, visible) = (HEADER, HEADER);
        Self {
            identity,
            chunk,
            start,
            end: start,
            tail,
            visible,
            shown: start,
            index,
            holes,
            going_on: None,
            shown_going_on: None,
        }
    }

    pub fn id(&self) -> u64 {
        self.identity.id
    }

    /// Is there room for a block of this length?
    pub fn has_room(&self, length: usize) -> bool {
        self.tail + length <= self.chunk.capacity()
    }

    /// Writes a block behind the last one: head, then what `write` puts into the room for frames, the length at last.
    pub fn append(&mut self, head: &Head, write: impl FnOnce(&mut [u8])) {
        let (offset, capacity) = (self.tail, self.chunk.capacity());
        let head = &self.shortened(head);
        let after = offset + head.stride();
        let block = self.chunk.writable(offset, offset + head.length);
        head.write(block);
        write(&mut block[head.size()..]);
        let crc = block::checksum(self.identity.seed, block, head);
        block[4..8].copy_from_slice(&crc.to_le_bytes());
        if after + 4 <= capacity {
            self.chunk.store_length(after, 0); // Where the next block will stand, nothing stands yet.
        }
        self.chunk.store_length(offset, head.stored_length());
        self.note(offset, head);
    }

    /// The head as it is written behind the last block.
    fn shortened(&self, head: &Head) -> Head {
        let goes_on = self.going_on.is_some_and(|before| {
            let is_next = head.client == before.client && head.first_number == before.next_number;
            is_next && self.tail - before.since < SHORT_FOR
        });
        head.shortened().filter(|_| goes_on).unwrap_or(*head)
    }

    /// The head of the block that stands behind the last one, with what a short one leaves out; as it is where that is
    /// not known.
    pub fn lengthened(&self, head: Head) -> Head {
        match self.going_on {
            Some(before) if head.is_short => Head { client: before.client, first_number: before.next_number, ..head },
            Some(_) | None => head,
        }
    }

    /// Takes a block that stands at `offset` into the account.
    pub fn note(&mut self, offset: usize, head: &Head) {
        let at = self.end.of(head);
        if self.tail == HEADER && self.end == self.start {
            self.start = at;
        }
        if self.index.last().is_none_or(|(last, _)| offset - last >= INDEX_STEP) {
            self.index.push((offset, at));
        }
        // Blocks without frames (of the stream of what is kept) have no place in the sequence.
        self.end = if head.count > 0 { at.after(head) } else { self.end };
        self.going_on = GoingOn::after(self.going_on, offset, head);
        self.tail = (offset + head.stride()).min(self.chunk.capacity());
    }

    /// All that was appended may be read from now on.
    pub fn show(&mut self) {
        self.chunk.seal(self.tail);
        (self.visible, self.shown, self.shown_going_on) = (self.tail, self.end, self.going_on);
    }

    /// Takes back what was appended and not shown.
    pub fn take_back(&mut self) -> Vec<(Head, Vec<u8>)> {
        let mut hidden = Vec::new();
        let mut offset = self.visible;
        self.going_on = self.shown_going_on;
        while let Some(head) = Head::read(self.chunk.bytes(offset.min(self.tail), self.tail)) {
            let whole = self.lengthened(head);
            self.going_on = GoingOn::after(self.going_on, offset, &whole);
            hidden.push((whole.lengthened(whole.client, whole.first_number), self.frames(offset, &head).to_vec()));
            offset += head.stride();
        }
        self.going_on = self.shown_going_on;
        (self.end, self.tail) = (self.shown, self.visible);
        self.index.retain(|(offset, _)| *offset < self.visible);
        self.end_here();
        hidden
    }

    /// It ends with this Seq; nothing is written to it any more.
    pub fn cut_after(&mut self, seq: u64) {
        let (mut offset, mut end) = (HEADER, self.start);
        while let Step::Block(at, head) = self.step(offset, u64::MAX) {
            if head.first_seq > seq {
                break;
            }
            (offset, end) = (at + head.stride(), end.of(&head).after(&head));
        }
        (self.tail, self.visible, self.end, self.shown) = (offset, offset, end, end);
        (self.going_on, self.shown_going_on) = (None, None);
        self.index.retain(|(at, _)| *at < offset);
    }

    /// Nothing stands behind the last block.
    pub fn end_here(&mut self) {
        if self.tail + 4 <= self.chunk.capacity() {
            self.chunk.store_length(self.tail, 0);
        }
    }

    /// What stands at `offset` for a reader that has passed all Seqs below `next`: a hole it has passed is skipped.
    pub fn step(&self, mut offset: usize, next: u64) -> Step<'_> {
        for hole in &self.holes {
            if hole.from == offset {
                if next <= hole.last {
                    return Step::Hole(hole);
                }
                offset = hole.to;
            }
        }
        if offset >= self.visible {
            return Step::End;
        }
        match Head::read(self.chunk.bytes(offset, self.chunk.capacity())) {
            Some(head) => Step::Block(offset, head),
            None => Step::End,
        }
    }

    /// The frames of the block at `offset`.
    pub fn frames(&self, offset: usize, head: &Head) -> &[u8] {
        self.chunk.bytes(offset + head.size(), offset + head.length)
    }

    /// The first place that is `reached`; `None` when that is behind this segment. `reached` is false up to a place and
    /// true from there on.
    pub fn seek(&self, reached: impl Fn(&At) -> bool) -> Option<Position> {
        let entry = self.index.partition_point(|(_, at)| !reached(at));
        let (mut offset, mut at) = if entry == 0 { (HEADER, self.start) } else { self.index[entry - 1] };
        loop {
            match self.step(offset, at.seq) {
                Step::End => return None,
                Step::Hole(hole) => {
                    if reached(&At { seq: hole.last, ..at }) {
                        let at = At { seq: hole.first, ..at };
                        return Some(Position { segment: self.id(), offset: hole.from, inner: 0, at });
                    }
                    (offset, at.seq) = (hole.to, hole.last + 1);
                }
                Step::Block(from, head) => {
                    at = at.of(&head);
                    let inside = || self.seek_in_block(from, &head, at, &reached);
                    if let Some(position) = reached(&at.after(&head)).then(inside).flatten() {
                        return Some(position);
                    }
                    (offset, at) = (from + head.stride(), at.after(&head));
                }
            }
        }
    }

    fn seek_in_block(
        &self,
        offset: usize,
        head: &Head,
        mut at: At,
        reached: &impl Fn(&At) -> bool,
    ) -> Option<Position> {
        let frames = self.frames(offset, head);
        let mut inner = 0;
        while inner < frames.len() {
            if reached(&at) {
                return Some(Position { segment: self.id(), offset, inner, at });
            }
            let length = frame::first_len(&frames[inner..])?;
            inner += length;
            at = At { seq: at.seq + 1, count: at.count + 1, bytes: at.bytes + length as u64, ..at };
        }
        None
    }
}

const _: () = assert!(HEADER.is_multiple_of(ALIGN) && HEAD.is_multiple_of(ALIGN) && SHORT.is_multiple_of(ALIGN));

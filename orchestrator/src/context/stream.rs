//! A stream: segments one after the other, and what of them is readable.
//!
//! There are three: records, reports, and what is kept beyond its segment (newest records of keys, clients). Records and
//! reports share one sequence, but have streams of their own so that records never push a report out.

use std::collections::VecDeque;

use super::block::Head;
use super::segment::{At, HEADER, Identity, Position, Segment};
use super::store::{Chunk, Disk};
use super::{Floor, StoreError};

const MIB: usize = 1024 * 1024;
/// First segments are this small and grow from there: a small application takes little room. Tests turn over many.
pub(super) const SMALLEST: usize = if cfg!(test) { MIB / 16 } else { MIB };
/// The largest a segment gets, unless one record needs more.
const LARGEST: usize = 64 * MIB;
/// A segment is this part of what is readable: so much more than that lies in memory and on the disk.
const PARTS: u64 = 32;
/// So many segments that went are kept to be written again: one more than is needed, since a slow reader may still hold the
/// one that went last.
const SPARES: usize = 2;
/// A segment that is filled in less time (in microseconds) is worth being written again; otherwise its memory is worth more.
const FAST: u64 = 2_000_000;
/// Segments are whole pages.
const PAGE: usize = 16 * 1024;

/// Which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Records,
    Reports,
    Kept,
}

impl Tag {
    /// As it stands in file names and in the meta file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Reports => "reports",
            Self::Kept => "kept",
        }
    }
}

/// Where readable records begin: the newest within each limit, and nothing at or behind the floor is taken away.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub count: u64,
    pub bytes: u64,
    pub time: u64,
    pub floor: Option<Floor>,
    pub total: u64,
}

impl Cut {
    /// Is the record at this place readable? The newest is, however large it is.
    pub fn allows(&self, at: &At) -> bool {
        let within = at.count >= self.count
            && (at.bytes >= self.bytes || at.count + 1 >= self.total)
            && (at.time >= self.time || at.count >= self.total);
        within || self.floor.is_some_and(|floor| at.count >= floor.count)
    }
}

/// How much of a stream is readable.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub records: u64,
    pub bytes: u64,
    /// In microseconds.
    pub age: u64,
}

impl Limits {
    pub const NONE: Self = Self { records: u64::MAX, bytes: u64::MAX, age: u64::MAX };
}

/// All up to a Seq was purged; so many records the stream held then.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Purged {
    pub through: u64,
    pub count: u64,
}

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub tag: Tag,
    pub limits: Limits,
    pub segments: VecDeque<Segment>,
    pub next_id: u64,
    /// The place after the last record.
    pub end: At,
    pub purged: Purged,
    largest: usize,
    spares: Vec<Chunk>,
    /// After NO_SPACE: the length of the block that found no room.
    pub wanted: Option<usize>,
}

impl Stream {
    /// An empty stream of which about `bytes` are readable.
    pub fn new(tag: Tag, limits: Limits, bytes: u64) -> Self {
        let part = usize::try_from(bytes / PARTS).unwrap_or(LARGEST);
        let largest = part.clamp(SMALLEST, LARGEST).next_multiple_of(PAGE);
        let (segments, end, purged) = (VecDeque::new(), At { seq: 1, ..At::default() }, Purged::default());
        Self { tag, limits, segments, next_id: 1, end, purged, largest, spares: Vec::new(), wanted: None }
    }

    /// What is readable now.
    pub fn cut(&self, now: u64, floor: Option<Floor>) -> Cut {
        Cut {
            count: self.end.count.saturating_sub(self.limits.records),
            bytes: self.end.bytes.saturating_sub(self.limits.bytes),
            time: now.saturating_sub(self.limits.age),
            floor,
            total: self.end.count,
        }
    }

    /// Seq of the last record.
    pub fn last_seq(&self) -> u64 {
        self.end.seq - 1
    }

    /// What the stream held before the first segment that is still there.
    pub fn base(&self) -> At {
        self.segments.front().map_or(self.end, |first| first.start)
    }

    /// Seq of the last record that is no longer there, 0 when none is missing.
    pub fn dropped(&self) -> u64 {
        self.segments.front().map_or(self.last_seq(), |first| first.identity.previous)
    }

    /// Must a new segment be made for a block of this length?
    pub fn is_full(&self, length: usize) -> bool {
        !self.segments.back().is_some_and(|active| active.has_room(length))
    }

    /// Makes a new segment with room for a block of this length.
    pub fn rotate(&mut self, disk: &mut Disk, length: usize, log_id: &[u8; 16]) -> Result<(), StoreError> {
        let grown = self.segments.back().map_or(SMALLEST, |active| active.chunk.capacity().saturating_mul(2));
        let capacity = grown.clamp(SMALLEST, self.largest).max((HEADER + length + 8).next_multiple_of(PAGE));
        let chunk = match self.take_spare(disk, capacity) {
            Some(spare) => spare,
            None => self.allocate(disk, capacity).inspect_err(|_| self.wanted = Some(length))?,
        };
        self.wanted = None;
        let id = self.next_id;
        let seed = crc32c::crc32c_append(crc32c::crc32c(log_id), format!("{}{id}", self.tag.name()).as_bytes());
        let mut segment =
            Segment::create(chunk, Identity { id, previous: self.last_seq(), seed, capacity: 0 }, self.end);
        disk.name(&mut segment.chunk, &self.file_name(id))?;
        self.next_id += 1;
        self.segments.push_back(segment);
        Ok(())
    }

    /// A segment that went, about as large, that nobody reads in any more.
    fn take_spare(&mut self, disk: &mut Disk, capacity: usize) -> Option<Chunk> {
        let about = capacity..=capacity.saturating_mul(2);
        let (of_use, others) =
            std::mem::take(&mut self.spares).into_iter().partition(|s| about.contains(&s.capacity()));
        self.spares = of_use;
        Vec::into_iter(others).for_each(|spare| disk.remove(spare));
        let place = self.spares.iter_mut().position(Chunk::reset)?;
        Some(self.spares.swap_remove(place))
    }

    fn allocate(&mut self, disk: &mut Disk, capacity: usize) -> Result<Chunk, StoreError> {
        match disk.allocate(capacity) {
            // Spares that someone still reads in are in the way of room.
            Err(StoreError::NoSpace) if !self.spares.is_empty() => {
                self.spares.drain(..).for_each(|spare| disk.remove(spare));
                disk.allocate(capacity)
            }
            allocated => allocated,
        }
    }

    /// Takes the newest segment out again, in which nothing stands yet.
    pub fn drop_newest(&mut self, disk: &mut Disk, length: usize) {
        self.segments.pop_back().into_iter().for_each(|segment| disk.remove(segment.chunk));
        self.wanted = Some(length);
    }

    /// Name of a segment's file.
    pub fn file_name(&self, id: u64) -> String {
        format!("{}-{id:012}", self.tag.name())
    }

    /// Writes a block to the last segment, which has room for it. Returns the segment's number and the block's place.
    pub fn append(&mut self, head: &Head, write: impl FnOnce(&mut [u8])) -> (u64, usize) {
        let active = self.segments.back_mut().expect("room was made");
        let offset = active.tail;
        active.append(head, write);
        self.end = active.end;
        (active.id(), offset)
    }

    /// Puts what was appended on the disk.
    pub fn flush(&self) -> std::io::Result<()> {
        let hidden = |segment: &&Segment| segment.visible < segment.tail;
        self.segments.iter().rev().take_while(hidden).try_for_each(|s| s.chunk.flush(s.visible, s.tail))
    }

    /// Puts the newest segment's header on the disk.
    pub fn flush_header(&self) -> std::io::Result<()> {
        self.segments.back().map_or(Ok(()), |active| active.chunk.flush(0, HEADER))
    }

    /// Takes back what was appended and may not be read yet.
    pub fn take_back(&mut self) -> Vec<(Head, Vec<u8>)> {
        let Some(active) = self.segments.back_mut() else { return Vec::new() };
        let hidden = active.take_back();
        self.end = active.end;
        hidden
    }

    /// The last segment ends with this Seq, whatever else stands in it. Returns where the stream ends then.
    pub fn cut_after(&mut self, seq: u64) -> At {
        if let Some(active) = self.segments.back_mut() {
            active.cut_after(seq);
            self.end = active.end;
        }
        self.end
    }

    /// Everything is gone from here on.
    pub fn purge(&mut self, disk: &mut Disk) {
        self.purged = Purged { through: self.last_seq(), count: self.end.count };
        while !self.segments.is_empty() {
            self.drop_first(disk);
        }
    }

    /// Puts all of the stream on the disk.
    pub fn flush_all(&self) -> std::io::Result<()> {
        self.segments.iter().try_for_each(|segment| segment.chunk.flush(0, segment.tail))
    }

    /// Everything appended may be read from now on.
    pub fn show(&mut self) {
        for segment in self.segments.iter_mut().rev().take_while(|segment| segment.visible < segment.tail) {
            segment.show();
        }
    }

    /// The oldest segment, if nothing in it is readable.
    pub fn disposable(&self, cut: &Cut) -> Option<u64> {
        let (first, second) = (self.segments.front()?, self.segments.get(1)?);
        // How many bytes stand before the first's last record is not known exactly: more than true keeps it longer.
        let last = At { count: first.end.count.saturating_sub(1), ..first.end };
        (second.start.count == first.start.count || !cut.allows(&last)).then(|| first.id())
    }

    /// Takes the oldest segment out; its chunk becomes a spare, or is removed.
    pub fn drop_first(&mut self, disk: &mut Disk) {
        let Some(Segment { mut chunk, .. }) = self.segments.pop_front() else { return };
        // Of use is what is about as large as those written now (while segments grow, the first ones are not) and soon
        // written again.
        let now = self.segments.back().map_or(0, |newest| newest.chunk.capacity());
        let is_fast = self.segments.back().is_some_and(|newest| newest.end.time - newest.start.time < FAST);
        if !is_fast {
            self.spares.drain(..).for_each(|spare| disk.remove(spare));
        }
        let is_of_use = is_fast && (now..=now.saturating_mul(2)).contains(&chunk.capacity());
        if is_of_use && self.spares.len() < SPARES && disk.retire(&mut chunk).is_ok() {
            self.spares.push(chunk);
        } else {
            disk.remove(chunk);
        }
    }

    /// The segment of this number.
    pub fn segment(&self, id: u64) -> Option<&Segment> {
        let place = match self.segments.back() {
            Some(active) if active.id() == id => self.segments.len() - 1,
            _ => self.segments.binary_search_by_key(&id, Segment::id).ok()?,
        };
        self.segments.get(place)
    }

    /// Where the segment after this number begins.
    pub fn start_after(&self, id: u64) -> Option<Position> {
        let next = self.segments.partition_point(|segment| segment.id() <= id);
        self.segments.get(next).map(start_of)
    }

    /// The first place that is `reached` (false up to a place, true from there on); the end when none is.
    pub fn seek(&self, reached: impl Fn(&At) -> bool) -> Position {
        let next = self.segments.partition_point(|segment| !reached(&segment.start));
        let before = next.checked_sub(1).and_then(|place| self.segments[place].seek(&reached));
        before.or_else(|| self.segments.get(next).map(start_of)).unwrap_or_else(|| self.tail())
    }

    /// The place after the last record that may be read.
    pub fn tail(&self) -> Position {
        match self.segments.back() {
            Some(active) => Position { segment: active.id(), offset: active.visible, inner: 0, at: active.shown },
            None => Position { segment: self.next_id, offset: HEADER, inner: 0, at: self.end },
        }
    }
}

fn start_of(segment: &Segment) -> Position {
    // What is missing before the first record is told to whoever begins with it.
    let missing = segment.holes.first().filter(|hole| hole.from == HEADER);
    let seq = missing.map_or(segment.start.seq, |hole| hole.first);
    Position { segment: segment.id(), offset: HEADER, inner: 0, at: At { seq, ..segment.start } }
}

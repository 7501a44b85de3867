//! Opening what an earlier orchestrator left: what is whole is taken, what is not is told, never silently skipped.
//!
//! | found                                      | means                    | done                                     |
//! |--------------------------------------------|--------------------------|------------------------------------------|
//! | length 0, no block behind                  | the end, whole           | go on from here                          |
//! | no whole block, but one behind             | damaged middle           | hole with its Seqs, told                 |
//! | no whole block, none behind, last segment  | torn or damaged tail     | cut, told; another log_id unless `power` lost its power |
//! | less (or more) than the next one's header says | end lost (or taken back) | hole (or cut)                        |
//! | header damaged                             | segment lost             | put aside, told; the hole is known by the next |
//! | last segment missing or cut short          | tail lost                | told, another log_id                     |

use std::io;

use super::block::{self, ALIGN, Content, Head, SHORT};
use super::segment::{At, HEADER, Hole, Identity, Segment};
use super::stream::{Purged, Tag};
use super::{Context, Finding, frame};

/// How the tail of a stream was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// All there ever was is there.
    Proven,
    /// The last block is not whole.
    Torn,
    /// It cannot be known how much is missing.
    Lost,
}

/// A segment as found: how its end looks, and where blocks stand.
struct Scanned {
    segment: Segment,
    blocks: Vec<(usize, Head)>,
    torn: bool,
}

impl Context {
    /// Reads a stream's segments. Kept things come before records: what is newer wins.
    pub(super) fn recover_stream(&mut self, tag: Tag) -> io::Result<Tail> {
        let mut tail = Tail::Proven;
        let prefix = format!("{}-", tag.name());
        let newest = self.meta.newest.get(tag.name()).copied().unwrap_or(0);
        let names = self.disk.names(&prefix)?;
        let mut lost_before = false;
        for (i, name) in names.iter().enumerate() {
            let Some(id) = name[prefix.len()..].parse::<u64>().ok() else { continue };
            let is_last = i + 1 == names.len();
            let stream = self.stream_mut(tag);
            stream.next_id = stream.next_id.max(id + 1);
            match self.load(tag, name, id)? {
                Some(scanned) => tail = self.take_in(tag, name, scanned, is_last, lost_before),
                None if is_last && id > newest => self.disk.discard(name)?, // It had never come into use.
                None => {
                    lost_before = true;
                    self.disk.put_aside(name)?;
                    let last = self.stream(tag).last_seq();
                    self.tell(
                        tag,
                        (last + 1, last),
                        format!("the header of {name} is damaged; the file is put aside"),
                        None,
                    );
                    tail = Tail::Lost;
                }
            }
        }
        let stream = self.stream_mut(tag);
        let last = stream.segments.back().map_or(0, Segment::id);
        if newest > last && newest >= stream.next_id {
            stream.next_id = newest + 1;
            let (seq, name) = (stream.last_seq(), stream.file_name(newest));
            self.tell(tag, (seq + 1, seq), format!("{name} is missing"), None);
            tail = Tail::Lost;
        }
        self.meta.newest.insert(tag.name().to_owned(), last);
        self.meta
            .told
            .retain(|told| !told.starts_with(&prefix) || names.iter().any(|name| told.starts_with(name.as_str())));
        self.end_recovery(tag);
        Ok(tail)
    }

    /// A file that cannot be opened says nothing of what it holds: that is no damage, and ends the opening.
    fn load(&mut self, tag: Tag, name: &str, id: u64) -> io::Result<Option<Scanned>> {
        let chunk = match self.disk.open(name) {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(io::Error::new(error.kind(), format!("{name}: {error}"))),
        };
        let identity = (chunk.capacity() >= HEADER).then(|| Identity::read(&chunk)).flatten();
        let Some(identity) = identity.filter(|identity| identity.id == id) else { return Ok(None) };
        let stream = self.stream(tag);
        let mut end = stream.end;
        if stream.segments.is_empty() && identity.previous > 0 {
            end.count = 1; // Something was there before: who asks for it is told that it is gone.
        }
        if tag != Tag::Kept && identity.previous < stream.last_seq() {
            end = self.stream_mut(tag).cut_after(identity.previous); // Taken back, and written again in this one.
        }
        Ok(Some(scan(Segment::at_start(chunk, identity, end), tag == Tag::Kept)))
    }

    /// Adds a segment to its stream and compares it with the one before.
    fn take_in(&mut self, tag: Tag, name: &str, mut scanned: Scanned, is_last: bool, lost: bool) -> Tail {
        let segment = &mut scanned.segment;
        let (previous, is_short) =
            (segment.identity.previous, segment.identity.capacity > segment.chunk.capacity() as u64);
        let damage: Vec<Hole> = segment.holes.clone();
        for hole in &damage {
            let what = format!("{name} is damaged at byte {}", hole.from);
            self.tell(tag, (hole.first, hole.last), what, Some(format!("{name}@{}", hole.from)));
        }
        let last = self.stream(tag).last_seq();
        let follows = tag == Tag::Kept || (self.stream(tag).segments.is_empty() && !lost);
        if !follows && previous > last {
            segment.holes.insert(0, Hole { from: HEADER, to: HEADER, first: last + 1, last: previous });
            self.tell(
                tag,
                (last + 1, previous),
                format!("what stood before {name} is missing"),
                Some(format!("{name}@before")),
            );
        }
        let mut tail = Tail::Proven;
        if is_last && (scanned.torn || is_short) {
            tail = if is_short { Tail::Lost } else { Tail::Torn };
            let last = segment.end.seq - 1;
            let what = if is_short { "is cut short" } else { "ends in a block that is not whole" };
            self.tell(tag, (last + 1, last), format!("{name} {what}"), None);
            if is_short {
                segment.write_header();
            }
        }
        segment.end_here();
        segment.show();
        let Scanned { segment, blocks, .. } = scanned;
        self.note_blocks(&segment, tag, &blocks);
        let stream = self.stream_mut(tag);
        stream.end = segment.end;
        self.last_time = self.last_time.max(if tag == Tag::Kept { 0 } else { segment.end.time });
        self.stream_mut(tag).segments.push_back(segment);
        tail
    }

    fn note_blocks(&mut self, segment: &Segment, tag: Tag, blocks: &[(usize, Head)]) {
        for (offset, head) in blocks {
            self.note_block(head, segment.frames(*offset, head), tag, (segment.id(), *offset));
        }
    }

    /// Takes a block that stands at a place into the indexes of keys and clients.
    pub(super) fn note_block(&mut self, head: &Head, bytes: &[u8], tag: Tag, at: (u64, usize)) {
        match head.content {
            Content::Records | Content::Reports => {
                if head.content == Content::Records {
                    self.note_keys(head, bytes);
                }
                if head.first_number > 0 {
                    let (first_number, first_seq) = (head.first_number, head.first_seq);
                    let taken = copo_proto::v1::Taken { first_number, first_seq, count: u64::from(head.count) };
                    self.clients.took(&head.client, taken, (tag, at.0));
                }
            }
            Content::Kept if head.first_seq > self.meta.purged => {
                self.keys.found_kept(frame::key(bytes), head.first_seq, at);
                self.appended = self.appended.max(head.first_seq);
            }
            Content::Kept => {}
            Content::Client => {
                let found = self.clients.found_entry(&head.client, head.first_number, head.time, bytes, at.0);
                debug_assert!(found.is_some(), "the checksum was right");
            }
            Content::Mark => self.clients.marked(&head.client, head.first_number, at.0),
        }
    }

    fn note_keys(&mut self, head: &Head, frames: &[u8]) {
        if !head.keyed {
            return self.keys.note("", head.last_seq());
        }
        let mut rest = frames;
        let mut seq = head.first_seq;
        while let Some(length) = frame::first_len(rest) {
            self.keys.note(frame::key(&rest[..length]), seq);
            (rest, seq) = (&rest[length..], seq + 1);
        }
    }

    fn end_recovery(&mut self, tag: Tag) {
        let through = self.meta.purged;
        match tag {
            Tag::Kept => self.keys.recovered(),
            Tag::Records => {
                // A purge may have been interrupted between its decision and the removal.
                while self.records.segments.front().is_some_and(|s| s.end.seq <= through + 1 && s.end.seq > s.start.seq)
                {
                    self.records.drop_first(&mut self.disk);
                }
                if self.records.segments.is_empty() && through > 0 {
                    let seq = self.records.end.seq.max(through + 1);
                    self.records.end = At { seq, count: self.records.end.count.max(1), ..self.records.end };
                }
                if through > 0 && through >= self.records.dropped() {
                    self.records.purged = Purged { through, count: self.records.base().count };
                }
                self.appended = self.appended.max(self.records.last_seq());
            }
            Tag::Reports => self.appended = self.appended.max(self.reports.last_seq()),
        }
    }

    /// Notes damage, unless it was told before (`once` names it).
    fn tell(&mut self, tag: Tag, (first, last): (u64, u64), what: String, once: Option<String>) {
        let (lost, (first, last)) = match tag {
            Tag::Records => ("records", (first, last)),
            Tag::Reports => ("reports", (first, last)),
            Tag::Kept => ("newest records of keys and numbers of clients", (1, 0)),
        };
        let range = match tag {
            Tag::Kept => String::new(),
            Tag::Records | Tag::Reports if first > last => format!(" from Seq {first} on"),
            Tag::Records | Tag::Reports => format!(" from Seq {first} to {last}"),
        };
        if let Some(name) = once {
            if self.meta.told.contains(&name) {
                return;
            }
            self.meta.told.push(name);
        }
        self.findings.push(Finding { first, last, reason: format!("{what}: {lost} may be lost{range}") });
    }
}

/// Walks a segment from its start; behind what is no whole block the next whole one is looked for.
fn scan(mut segment: Segment, any_order: bool) -> Scanned {
    let mut blocks = Vec::new();
    let mut torn = false;
    let mut offset = HEADER;
    let capacity = segment.chunk.capacity();
    while offset + 4 <= capacity {
        let found = match whole(&segment, offset, any_order) {
            Some(head) => Some((offset, head)),
            None => next_whole(&segment, offset + ALIGN, any_order),
        };
        let Some((at, head)) = found else {
            torn = segment.chunk.bytes(offset, offset + 4) != [0; 4];
            break;
        };
        let is_behind_hole = at > offset;
        if is_behind_hole {
            let last = head.first_seq.saturating_sub(1);
            segment.holes.push(Hole { from: offset, to: at, first: segment.end.seq, last });
        }
        // Whose it is stood in what is lost.
        let head = if is_behind_hole { head } else { segment.lengthened(head) };
        segment.note(at, &head);
        blocks.push((at, head));
        offset = at + head.stride();
    }
    Scanned { segment, blocks, torn }
}

fn whole(segment: &Segment, offset: usize, any_order: bool) -> Option<Head> {
    let bytes = segment.chunk.bytes(offset, segment.chunk.capacity());
    let is_later = |head: &Head| any_order || head.first_seq >= segment.end.seq;
    Head::read(bytes).filter(is_later)?;
    block::verified(segment.identity.seed, bytes)
}

fn next_whole(segment: &Segment, from: usize, any_order: bool) -> Option<(usize, Head)> {
    let last = segment.chunk.capacity().checked_sub(SHORT)?;
    let candidates = (from..=last).step_by(ALIGN);
    let is_some = |at: &usize| segment.chunk.bytes(*at, *at + 4) != [0; 4];
    candidates.filter(is_some).find_map(|at| whole(segment, at, any_order).map(|head| (at, head)))
}

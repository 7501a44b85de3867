//! Subscriptions: a cursor is a place in each stream it reads. It is moved by reading and by nothing else.
//!
//! A reader is given ranges of segments as they lie there; single records are looked at only where a key pattern or the
//! end of a bounded replay asks for it. The streams are merged block by block, for a block's Seqs are consecutive.

use std::collections::HashMap;

use copo_proto::key::Pattern;
use copo_proto::v1;
use v1::gap::Cause;

use super::batch::Out;
use super::block::Head;
use super::frame;
use super::segment::{At, Position, Segment, Step};
use super::stream::{Cut, Stream};
use super::{Batch, Floor};

/// So many keys' answers of the pattern are remembered.
const REMEMBERED: usize = 4096;

/// A subscriber's place in the log.
#[derive(Debug)]
pub struct Cursor {
    records: Option<Lane>,
    reports: Option<Lane>,
    pattern: Option<Selection>,
    /// Told before anything else.
    opening: Option<v1::Gap>,
    /// The last Seq to deliver.
    to: Option<u64>,
    ended: bool,
}

/// The readable log, as a cursor sees it.
pub(super) struct View<'a> {
    pub records: (&'a Stream, Cut),
    pub reports: (&'a Stream, Cut),
    pub head: u64,
    pub log_id: [u8; 16],
}

/// A place in one stream.
#[derive(Debug)]
struct Lane {
    position: Position,
    /// All Seqs below are done with.
    next: u64,
}

/// What comes next in a lane.
enum Next {
    Nothing,
    Gap(Cause, u64, u64),
    /// The block at this place of the lane's segment, from this Seq on.
    Block(u64, usize, Head),
}

#[derive(Debug)]
struct Selection {
    pattern: Pattern,
    selects_unkeyed: bool,
    known: HashMap<Box<str>, bool>,
}

/// Where a subscription begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum From {
    First,
    New,
    Seq(u64),
    Time(u64),
}

/// What is wanted, checked.
pub(super) struct Wanted {
    pub from: From,
    pub records: bool,
    pub reports: bool,
    pub pattern: Option<Pattern>,
    pub to: Option<u64>,
    /// The log the cursor came from is another one.
    pub replaced: bool,
}

impl Cursor {
    pub(super) fn new(view: &View<'_>, wanted: Wanted) -> Self {
        let from = if wanted.replaced { From::First } else { wanted.from };
        let gap = v1::Gap { cause: Cause::LogReplaced.into(), first: 0, last: 0, log_id: view.log_id.to_vec().into() };
        let lane = |(stream, cut): &(&Stream, Cut)| Lane::new(stream, cut, from, view.head);
        Self {
            records: wanted.records.then(|| lane(&view.records)),
            reports: wanted.reports.then(|| lane(&view.reports)),
            pattern: wanted.pattern.filter(|pattern| !pattern.is_everything()).map(Selection::new),
            opening: wanted.replaced.then_some(gap),
            to: wanted.to,
            ended: false,
        }
    }

    /// What this subscriber has still to read begins here; `None` when it reads no records, or is done.
    #[must_use]
    pub fn floor(&self) -> Option<Floor> {
        let at = self.records.as_ref().filter(|_| !self.ended)?.position.at;
        Some(Floor { count: at.count, bytes: at.bytes })
    }

    pub(super) fn read(&mut self, view: &View<'_>, budget: usize) -> Batch {
        let mut out = Out::new(view.log_id, budget);
        if let Some(gap) = self.opening.take() {
            out.message(v1::server_message::Kind::Gap(gap));
        }
        while !self.ended && out.has_budget() {
            if !self.advance(view, &mut out) {
                self.end_if_done(view, &mut out);
                out.batch.caught_up = true;
                break;
            }
        }
        out.batch.is_much = out.is_much();
        out.batch.end = self.ended;
        out.batch.caught_up |= self.ended;
        out.batch
    }

    /// Delivers what is next in Seq order; false when there is nothing.
    fn advance(&mut self, view: &View<'_>, out: &mut Out) -> bool {
        let record = self.records.as_mut().map_or(Next::Nothing, |lane| lane.look(view.records.0, &view.records.1));
        let report = self.reports.as_mut().map_or(Next::Nothing, |lane| lane.look(view.reports.0, &view.reports.1));
        let records_first = record.order() <= report.order();
        let (next, other) = if records_first { (record, report) } else { (report, record) };
        if next.first() > self.to.unwrap_or(u64::MAX) && next.first() < u64::MAX {
            self.end(out);
            return true;
        }
        let to = self.to.unwrap_or(u64::MAX);
        let through = match next {
            Next::Nothing => return false,
            Next::Gap(cause, first, last) => {
                // Up to what the other stream delivers from inside the gap; what it lacks as well is told once.
                let last = match other {
                    Next::Nothing => last,
                    Next::Gap(_, start, end) if start == first => last.min(end),
                    Next::Gap(_, start, _) => last.min(start - 1),
                    Next::Block(start, ..) => last.min(start - 1),
                };
                let last = last.min(to);
                out.gap(cause, first, last);
                last
            }
            Next::Block(_, offset, head) if records_first => {
                let lane = self.records.as_mut().expect("it has a block");
                lane.deliver(view.records.0, offset, &head, to, self.pattern.as_mut(), out)
            }
            Next::Block(_, offset, head) => {
                let lane = self.reports.as_mut().expect("it has a block");
                lane.deliver(view.reports.0, offset, &head, to, None, out)
            }
        };
        // The other stream has nothing up to there: what it loses later lies behind.
        for lane in [&mut self.records, &mut self.reports].into_iter().flatten() {
            lane.next = lane.next.max(through + 1);
        }
        true
    }

    fn end_if_done(&mut self, view: &View<'_>, out: &mut Out) {
        for lane in [&mut self.records, &mut self.reports].into_iter().flatten() {
            lane.next = lane.next.max(view.head + 1);
        }
        if self.to.is_some_and(|to| view.head >= to) {
            self.end(out);
        }
    }

    fn end(&mut self, out: &mut Out) {
        self.ended = true;
        out.message(v1::server_message::Kind::End(v1::End { code: v1::ErrorCode::Ok.into() }));
    }
}

impl Lane {
    fn new(stream: &Stream, cut: &Cut, from: From, head: u64) -> Self {
        match from {
            From::First => Self::at(stream.seek(|at| cut.allows(at))),
            From::New => Self { position: stream.tail(), next: head + 1 },
            From::Time(time) => Self::at(stream.seek(|at| cut.allows(at) && at.time >= time)),
            From::Seq(seq) => {
                let mut position = stream.seek(|at| at.seq >= seq);
                if seq <= stream.dropped() && position.at.count > 0 {
                    // It lies before all that is there: the first look tells the gap.
                    position.at.count -= 1;
                }
                Self { position, next: seq.max(1) }
            }
        }
    }

    fn at(position: Position) -> Self {
        Self { position, next: position.at.seq }
    }

    /// Finds what is next without delivering it.
    fn look(&mut self, stream: &Stream, cut: &Cut) -> Next {
        loop {
            if self.position.at.count < stream.purged.count {
                if self.next <= stream.purged.through {
                    return Next::Gap(Cause::Purged, self.next, stream.purged.through);
                }
                self.position = stream.seek(|at| at.count >= stream.purged.count);
                // What came after the purge may be trimmed already: that is another gap.
                self.position.at.count = stream.purged.count;
            }
            if self.position.at.count < stream.base().count {
                match self.trimmed(stream, cut) {
                    Some(gap) => return gap,
                    None => continue,
                }
            }
            let Some(segment) = stream.segment(self.position.segment) else {
                if self.position.segment >= stream.next_id {
                    return Next::Nothing;
                }
                self.position = stream.seek(|at| at.count >= self.position.at.count);
                continue;
            };
            match segment.step(self.position.offset, self.next) {
                Step::Hole(hole) => return Next::Gap(Cause::Damaged, hole.first.max(self.next), hole.last),
                Step::End => match stream.start_after(segment.id()) {
                    Some(start) => self.position = start,
                    None => return Next::Nothing,
                },
                Step::Block(offset, head) if head.last_seq() < self.next => self.pass(offset, &head),
                Step::Block(offset, head) => {
                    self.enter(segment, offset, &head);
                    if cut.allows(&self.position.at) {
                        return Next::Block(self.next, offset, head);
                    }
                    if let Some(gap) = self.trimmed(stream, cut) {
                        return gap;
                    }
                }
            }
        }
    }

    /// What stands here is no longer readable: the gap up to what is, or (when it is told) the way there.
    fn trimmed(&mut self, stream: &Stream, cut: &Cut) -> Option<Next> {
        let position = stream.seek(|at| cut.allows(at));
        if self.next < position.at.seq {
            return Some(Next::Gap(Cause::Trimmed, self.next, position.at.seq - 1));
        }
        self.position = position;
        None
    }

    /// Leaves a block behind.
    fn pass(&mut self, offset: usize, head: &Head) {
        let Position { inner, at, .. } = self.position;
        // From somewhere in the block, only what lies behind that has not been counted yet.
        let rest = (head.frames() - inner) as u64;
        let frames = if inner == 0 { u64::from(head.count) } else { head.last_seq() + 1 - at.seq };
        let (count, bytes) = (at.count + frames, at.bytes + rest);
        let at = At { seq: head.last_seq() + 1, time: head.time, count, bytes };
        self.position = Position { offset: offset + head.stride(), inner: 0, at, ..self.position };
    }

    /// Goes to the first frame of the block that is not done with.
    fn enter(&mut self, segment: &Segment, offset: usize, head: &Head) {
        let position = &mut self.position;
        position.offset = offset;
        if position.inner == 0 {
            position.at = position.at.of(head);
        }
        let frames = self.next.saturating_sub(position.at.seq);
        if frames > 0 {
            let skipped = frame::skip(&segment.frames(offset, head)[position.inner..], frames);
            position.inner += skipped;
            let at = position.at;
            position.at = At { seq: at.seq + frames, count: at.count + frames, bytes: at.bytes + skipped as u64, ..at };
        }
        self.next = position.at.seq;
    }

    /// Delivers the rest of a block, up to the Seq `to`. Returns the last Seq that is done with.
    fn deliver(
        &mut self,
        stream: &Stream,
        offset: usize,
        head: &Head,
        to: u64,
        pattern: Option<&mut Selection>,
        out: &mut Out,
    ) -> u64 {
        let segment = stream.segment(self.position.segment).expect("just looked at");
        let from = offset + head.size() + self.position.inner;
        let mut end = offset + head.length;
        let last = head.last_seq().min(to);
        if last < head.last_seq() {
            end = from + frame::skip(segment.chunk.bytes(from, end), last + 1 - self.next);
        }
        match pattern {
            Some(selection) if !head.keyed && !selection.selects_unkeyed => out.looked_at += end - from,
            Some(selection) => selection.deliver(segment, from, end, out),
            None => out.range(segment, from, end),
        }
        if last == head.last_seq() {
            self.pass(offset, head);
        } else {
            let at = self.position.at;
            let frames = last + 1 - at.seq;
            self.position.inner += end - from;
            self.position.at =
                At { seq: last + 1, count: at.count + frames, bytes: at.bytes + (end - from) as u64, ..at };
        }
        self.next = last + 1;
        last
    }
}

impl Next {
    fn first(&self) -> u64 {
        match self {
            Self::Nothing => u64::MAX,
            Self::Gap(_, first, _) | Self::Block(first, ..) => *first,
        }
    }

    /// What is there comes before what is missing: it is cut out of the gap.
    fn order(&self) -> (u64, bool) {
        (self.first(), matches!(self, Self::Gap(..)))
    }
}

impl Selection {
    fn new(pattern: Pattern) -> Self {
        Self { selects_unkeyed: pattern.matches(""), pattern, known: HashMap::new() }
    }

    fn selects(&mut self, key: &str) -> bool {
        if let Some(answer) = self.known.get(key) {
            return *answer;
        }
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        let answer = self.pattern.matches(key);
        self.known.insert(key.into(), answer);
        answer
    }

    /// Delivers the frames whose keys match, neighbours in one slice.
    fn deliver(&mut self, segment: &Segment, from: usize, end: usize, out: &mut Out) {
        out.looked_at += end - from;
        let (mut run, mut at) = (from, from);
        while let Some(length) = frame::first_len(segment.chunk.bytes(at, end)) {
            if !self.selects(frame::key(segment.chunk.bytes(at, at + length))) {
                out.range(segment, run, at);
                run = at + length;
            }
            at += length;
        }
        out.range(segment, run, at);
    }
}

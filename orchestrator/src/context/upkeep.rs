//! Room: new segments, and what has to be carried over before an old one goes.
//!
//! A segment goes when nothing in it is readable any more. Newest records of keys and last numbers of clients that only
//! it proves are copied to the stream of kept things first; that stream is cleaned the same way once half of it is
//! waste. All of it may be done twice after a crash between copy and removal: the newer or equal one wins.

use super::block::{Content, HEAD, Head};
use super::segment::{Segment, Step};
use super::stream::{Stream, Tag};
use super::{ClientId, Context, StoreError, frame};
use crate::plan::Durability;

impl Context {
    pub(super) fn stream(&self, tag: Tag) -> &Stream {
        match tag {
            Tag::Records => &self.records,
            Tag::Reports => &self.reports,
            Tag::Kept => &self.kept,
        }
    }

    pub(super) fn stream_mut(&mut self, tag: Tag) -> &mut Stream {
        match tag {
            Tag::Records => &mut self.records,
            Tag::Reports => &mut self.reports,
            Tag::Kept => &mut self.kept,
        }
    }

    /// Makes sure that the stream's last segment has room for a block.
    pub(super) fn make_room(&mut self, tag: Tag, length: usize) -> Result<(), StoreError> {
        if !self.stream(tag).is_full(length) {
            return Ok(());
        }
        self.commit()?; // What is readable can be told only when all that was appended is.
        match tag {
            // What cannot be carried over for want of room stays where it is.
            Tag::Records | Tag::Reports => drop(self.trim(tag)),
            Tag::Kept => {}
        }
        self.rotate(tag, length)?;
        if tag == Tag::Kept {
            self.clean_kept();
        }
        Ok(())
    }

    fn rotate(&mut self, tag: Tag, length: usize) -> Result<(), StoreError> {
        let Self { records, reports, kept, disk, meta, .. } = self;
        let stream = match tag {
            Tag::Records => records,
            Tag::Reports => reports,
            Tag::Kept => kept,
        };
        stream.rotate(disk, length, &meta.log_id)?;
        let id = stream.next_id - 1;
        let before = self.meta.newest.insert(tag.name().to_owned(), id);
        self.settle_newest(tag).inspect_err(|_| {
            // A segment that may not be there after a cut of the power takes nothing.
            before.map(|before| self.meta.newest.insert(tag.name().to_owned(), before));
            let Self { records, reports, kept, disk, .. } = self;
            match tag {
                Tag::Records => records,
                Tag::Reports => reports,
                Tag::Kept => kept,
            }
            .drop_newest(disk, length);
        })
    }

    /// Makes the newest segment as durable as configured, and only then says that it is there.
    fn settle_newest(&mut self, tag: Tag) -> Result<(), StoreError> {
        if self.is_synced() {
            self.stream(tag).flush_header()?;
            self.disk.sync()?;
        }
        self.write_reach(self.is_synced())
    }

    /// Everything appended becomes readable once it is as durable as configured.
    pub(super) fn commit(&mut self) -> Result<(), StoreError> {
        if !self.unshown {
            return Ok(());
        }
        if self.durability == Durability::Power {
            for tag in [Tag::Kept, Tag::Records, Tag::Reports] {
                if self.stream(tag).flush().is_err() {
                    self.move_hidden(tag)?;
                }
            }
        }
        [&mut self.kept, &mut self.records, &mut self.reports].into_iter().for_each(Stream::show);
        self.visible = self.appended;
        self.unshown = false;
        Ok(())
    }

    /// The disk failed to take what was appended, and asking again would be answered as if it had: the segment is closed
    /// where it was good, and the rest is written to a new one.
    fn move_hidden(&mut self, tag: Tag) -> Result<(), StoreError> {
        let stream = self.stream_mut(tag);
        let hidden = stream.take_back();
        let length = hidden.iter().map(|(head, _)| head.stride()).sum();
        let moved = self.rotate(tag, length);
        for (head, bytes) in &hidden {
            // Without a new segment they go back to where they were: taken, and not acknowledged.
            let at = self.stream_mut(tag).append(head, |out| out.copy_from_slice(bytes));
            self.note_block(head, bytes, tag, at);
        }
        moved?;
        Ok(self.stream(tag).flush()?)
    }

    /// Forgets all records, those kept by key included; reports stay.
    pub fn purge(&mut self, now: u64, by: &str) -> Result<(), StoreError> {
        self.commit()?;
        let segments: Vec<u64> = self.records.segments.iter().map(Segment::id).collect();
        for id in segments {
            self.clients.proven_in(Tag::Records, id).iter().try_for_each(|client| self.write_entry(client))?;
        }
        self.commit()?;
        let before = self.meta.clone();
        self.meta.purged = self.records.last_seq();
        self.meta.newest.remove(Tag::Records.name()); // No segment is missing when none is there.
        self.changed(now, by);
        // The further one of the two holds: until the second is written all is as it was.
        let purged = self.write_reach(self.is_synced()).and_then(|()| self.write_meta(self.is_synced()));
        purged.inspect_err(|_| self.meta = before)?;
        self.keys.clear();
        self.records.purge(&mut self.disk);
        Ok(())
    }

    /// Removes the segments in which nothing is readable.
    pub(super) fn trim(&mut self, tag: Tag) -> Result<(), StoreError> {
        loop {
            let (stream, floor) = (self.stream(tag), self.floor.filter(|_| tag == Tag::Records));
            let cut = stream.cut(self.last_time, floor);
            let Some(id) = stream.disposable(&cut) else { return Ok(()) };
            if tag == Tag::Records {
                self.settle_keys(self.last_time);
            }
            self.carry_over(tag, id)?;
            self.commit()?;
            let Self { records, reports, disk, .. } = self;
            match tag {
                Tag::Records => records.drop_first(disk),
                Tag::Reports => reports.drop_first(disk),
                Tag::Kept => return Ok(()), // Kept things are no subject of retention by age or number.
            }
        }
    }

    /// Tells the index of keys how far retention has come. Returns the first readable Seq.
    pub(super) fn settle_keys(&mut self, now: u64) -> u64 {
        let cut = self.records.cut(now, self.floor);
        let first = self.records.seek(|at| cut.allows(at)).at.seq;
        self.keys.settle(first);
        first
    }

    /// Copies what must outlive a segment.
    fn carry_over(&mut self, tag: Tag, id: u64) -> Result<(), StoreError> {
        match tag {
            Tag::Records => self.keep_records_of(id)?,
            Tag::Reports => {}
            Tag::Kept => self.keep_kept_of(id)?,
        }
        self.clients.proven_in(tag, id).iter().try_for_each(|client| self.write_entry(client))
    }

    fn keep_records_of(&mut self, id: u64) -> Result<(), StoreError> {
        let Some(segment) = self.records.segment(id) else { return Ok(()) };
        for (key, seq) in self.keys.to_keep(segment.start.seq, segment.end.seq - 1) {
            if let Some(found) = self.record_frame(seq) {
                self.keep(&key, seq, &found)?;
            }
        }
        Ok(())
    }

    fn keep_kept_of(&mut self, id: u64) -> Result<(), StoreError> {
        for (key, at) in self.keys.kept_in(id) {
            if let Some((head, frame)) = self.kept_frame(at) {
                self.keep(&key, head.first_seq, &frame)?;
            }
        }
        Ok(())
    }

    fn keep(&mut self, key: &str, seq: u64, frame: &[u8]) -> Result<(), StoreError> {
        let head = Head { first_seq: seq, count: 1, keyed: true, ..self.kept_head(Content::Kept, frame.len()) };
        let at = self.append_kept(&head, frame)?;
        self.keys.keep(key, at);
        Ok(())
    }

    /// Writes what is known of a client.
    pub(super) fn write_entry(&mut self, client: &ClientId) -> Result<(), StoreError> {
        let Some((last_number, left, bytes)) = self.clients.entry(client) else { return Ok(()) };
        let head = self.kept_head(Content::Client, bytes.len());
        let head = Head { client: *client, first_number: last_number, time: left, ..head };
        let (segment, _) = self.append_kept(&head, &bytes)?;
        self.clients.wrote_entry(client, segment);
        Ok(())
    }

    /// Writes that a number was taken and not appended.
    pub(super) fn write_mark(&mut self, client: &ClientId, number: u64) -> Result<(), StoreError> {
        let head = Head { client: *client, first_number: number, ..self.kept_head(Content::Mark, 0) };
        let (segment, _) = self.append_kept(&head, &[])?;
        self.clients.marked(client, number, segment);
        Ok(())
    }

    fn kept_head(&self, content: Content, length: usize) -> Head {
        let (client, time, is_short) = ([0; 16], self.last_time, false);
        let length = HEAD + length;
        Head { length, is_short, client, first_number: 0, first_seq: 0, time, count: 0, content, keyed: false }
    }

    fn append_kept(&mut self, head: &Head, bytes: &[u8]) -> Result<(u64, usize), StoreError> {
        self.make_room(Tag::Kept, head.length)?;
        let at = self.kept.append(head, |out| out.copy_from_slice(bytes));
        self.unshown = true;
        Ok(at)
    }

    /// While more than half of the kept things is waste, the oldest segment's live part is copied and the segment goes.
    fn clean_kept(&mut self) {
        if std::mem::replace(&mut self.cleaning, true) {
            return; // Copying may need a new segment itself.
        }
        for _ in 1..self.kept.segments.len() {
            let total: usize = self.kept.segments.iter().map(|segment| segment.tail).sum();
            let live = self.keys.kept().map(|at| self.kept_length(at)).sum::<usize>() + self.clients.entries_size();
            let oldest = self.kept.segments.front().map(Segment::id);
            let Some(oldest) = oldest.filter(|_| total > 2 * live + super::CLEAN_ABOVE) else { break };
            // What was copied must be as safe as it was before its old place goes.
            if self.carry_over(Tag::Kept, oldest).is_err() || self.commit().is_err() {
                break;
            }
            self.kept.drop_first(&mut self.disk);
        }
        self.cleaning = false;
    }

    fn kept_length(&self, (segment, offset): (u64, usize)) -> usize {
        let chunk = self.kept.segment(segment).map(|segment| &segment.chunk);
        let head = chunk.and_then(|chunk| Head::read(chunk.bytes(offset, chunk.capacity())));
        head.map_or(0, |head| head.stride())
    }

    fn kept_frame(&self, (segment, offset): (u64, usize)) -> Option<(Head, Vec<u8>)> {
        let segment = self.kept.segment(segment)?;
        let head = Head::read(segment.chunk.bytes(offset, segment.chunk.capacity()))?;
        Some((head, segment.frames(offset, &head).to_vec()))
    }

    /// The frame of a record in the stream of records.
    pub(super) fn record_frame(&self, seq: u64) -> Option<Vec<u8>> {
        let position = self.records.seek(|at| at.seq >= seq);
        let segment = self.records.segment(position.segment)?;
        let Step::Block(offset, head) = segment.step(position.offset, position.at.seq) else { return None };
        let frames = &segment.frames(offset, &head)[position.inner..];
        (position.at.seq == seq).then(|| frames[..frame::first_len(frames).unwrap_or(0)].to_vec())
    }

    /// The newest record of a key, wherever it lies.
    pub(super) fn frame_of_key(&self, key: &str) -> Option<Vec<u8>> {
        match self.keys.kept_at(key) {
            Some(at) => self.kept_frame(at).map(|(_, frame)| frame),
            None => self.record_frame(self.keys.newest(key)),
        }
    }
}

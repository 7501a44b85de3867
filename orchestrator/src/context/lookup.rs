//! What is asked for by key: the newest record that is as durable as configured.

use copo_proto::v1;

use super::block::Content;
use super::segment::{HEADER, Step};
use super::{Context, frame};

impl Context {
    /// The newest record of a key, or of all. Of a key that is not `""` it stays readable beyond retention, up to
    /// `retain.keys`.
    #[must_use]
    pub fn newest(&mut self, now: u64, key: Option<&str>) -> Option<v1::UddRecord> {
        let first = self.settle_keys(now);
        let within = |seq: u64| (seq >= first && seq > 0).then_some(seq);
        let found = match key {
            // The index knows what was appended, also while that cannot be stored.
            Some(key) if self.keys.newest(key) > self.visible => self.newest_shown(key, first),
            Some("") => within(self.keys.newest("")).and_then(|seq| self.record_frame(seq)),
            Some(key) => self.frame_of_key(key),
            None => match within(self.records.tail().at.seq - 1) {
                Some(seq) => self.record_frame(seq),
                None => self.keys.newest_beyond().and_then(|key| self.frame_of_key(&key)),
            },
        };
        found.and_then(|found| frame::record(&found))
    }

    /// The newest record of a key that may be read, while a newer one may not: looked for in all records there are (without a
    /// key: from the Seq `first` on), else among what is kept. Only a disk that fails leads here.
    fn newest_shown(&self, key: &str, first: u64) -> Option<Vec<u8>> {
        let from = if key.is_empty() { first } else { self.meta.purged + 1 };
        let mut position = self.records.seek(|at| at.seq >= from);
        let mut newest = None;
        while let Some(segment) = self.records.segment(position.segment) {
            if let Step::Block(offset, head) = segment.step(position.offset, u64::MAX) {
                let mut frames = &segment.frames(offset, &head)[position.inner..];
                while let Some(length) = frame::first_len(frames) {
                    newest = if frame::key(&frames[..length]) == key { Some(&frames[..length]) } else { newest };
                    frames = &frames[length..];
                }
                (position.offset, position.inner) = (offset + head.stride(), 0);
            } else {
                let Some(start) = self.records.start_after(segment.id()) else { break };
                position = start;
            }
        }
        newest.map(<[u8]>::to_vec).or_else(|| self.newest_kept(key))
    }

    /// The newest record of a key among what is kept.
    fn newest_kept(&self, key: &str) -> Option<Vec<u8>> {
        let mut newest = (0, None);
        for segment in &self.kept.segments {
            let mut offset = HEADER;
            while let Step::Block(at, head) = segment.step(offset, u64::MAX) {
                let frames = segment.frames(at, &head);
                let is_it = head.content == Content::Kept && head.first_seq > newest.0 && frame::key(frames) == key;
                newest = if is_it { (head.first_seq, Some(frames)) } else { newest };
                offset = at + head.stride();
            }
        }
        newest.1.filter(|_| newest.0 > self.meta.purged).map(<[u8]>::to_vec)
    }
}

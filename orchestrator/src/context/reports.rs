//! The orchestrator's own reports, and reports.json (C7).

use std::io;

use copo_proto::{Message, v1};

use super::block::{Content, HEAD, Head};
use super::segment::Step;
use super::{Context, StoreError, frame, json, sentence};
use crate::layout::ORCHESTRATOR;

/// Reports in reports.json.
const REPORTS_IN_JSON: u64 = 1_000;

impl Context {
    /// Appends a report of the orchestrator's own; its sentence is made from the facts. Returns its Seq.
    pub fn report(&mut self, now: u64, facts: v1::Facts) -> Result<u64, StoreError> {
        let (sentence, facts) = (sentence::of(&facts), facts.encode_to_vec());
        let fields = (sentence.as_bytes(), &facts[..]);
        let head = Head {
            length: HEAD + frame::len(ORCHESTRATOR, fields),
            is_short: false,
            client: [0; 16],
            first_number: 0,
            first_seq: 0,
            time: now,
            count: 1,
            content: Content::Reports,
            keyed: false,
        };
        let (seq, _) = self.append(head, ORCHESTRATOR, std::iter::once(fields))?;
        // It is appended, and shown as soon as it can be: it must not be reported again.
        self.commit().map_err(|error| StoreError::Disk(io::Error::other(error)))?;
        Ok(seq)
    }

    /// reports.json as it is to stand on disk (C7): a whole document with the newest 1,000 reports.
    #[must_use]
    pub fn reports_json(&self) -> Vec<u8> {
        let from = self.reports.end.count.saturating_sub(REPORTS_IN_JSON.min(self.reports.limits.records));
        let mut position = self.reports.seek(|at| at.count >= from);
        let mut reports = Vec::new();
        while let Some(segment) = self.reports.segment(position.segment) {
            match segment.step(position.offset, u64::MAX) {
                Step::Block(offset, head) => {
                    let mut frames = &segment.frames(offset, &head)[position.inner..];
                    while let Some(length) = frame::first_len(frames) {
                        reports.extend(frame::report(&frames[..length]));
                        frames = &frames[length..];
                    }
                    (position.offset, position.inner) = (offset + head.stride(), 0);
                }
                Step::Hole(_) | Step::End => match self.reports.start_after(segment.id()) {
                    Some(start) => position = start,
                    None => break,
                },
            }
        }
        json::reports_document(&reports)
    }
}

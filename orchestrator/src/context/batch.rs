//! Puts together what a subscriber is given: ranges of segments, and the few frames made for it alone.

use bytes::Bytes;
use copo_proto::{frame as framing, v1};
use v1::gap::Cause;

use super::Batch;
use super::segment::Segment;

/// A pattern that matches nothing looks at so many bytes before others get their turn.
const SCAN: usize = 1 << 20;

/// Sockets take more than this at once only with a larger buffer.
const MUCH: usize = 64 * 1024;

/// A batch being put together.
pub(super) struct Out {
    log_id: [u8; 16],
    pub batch: Batch,
    budget: usize,
    taken: usize,
    /// Bytes that a pattern looked at, delivered or not.
    pub looked_at: usize,
    /// What is visible of the segment last read from: number, where it begins, and the range itself. Slices of it cost
    /// next to nothing.
    region: Option<(*const Segment, usize, Bytes)>,
}

impl Out {
    pub fn new(log_id: [u8; 16], budget: usize) -> Self {
        Self { log_id, batch: Batch::default(), budget, taken: 0, looked_at: 0, region: None }
    }

    pub fn has_budget(&self) -> bool {
        self.taken < self.budget.max(1) && self.looked_at < self.budget.max(SCAN)
    }

    pub fn is_much(&self) -> bool {
        self.taken > MUCH
    }

    pub fn range(&mut self, segment: &Segment, from: usize, to: usize) {
        if from == to {
            return;
        }
        let known = self.region.take().filter(|(of, start, _)| std::ptr::eq(*of, segment) && *start <= from);
        let (of, start, bytes) = known.unwrap_or_else(|| (segment, from, segment.chunk.shared(from, segment.visible)));
        self.batch.slices.push(bytes.slice(from - start..to - start));
        self.taken += to - from;
        self.region = Some((of, start, bytes));
    }

    pub fn gap(&mut self, cause: Cause, first: u64, last: u64) {
        let log_id = self.log_id.to_vec().into();
        self.message(v1::server_message::Kind::Gap(v1::Gap { cause: cause.into(), first, last, log_id }));
    }

    pub fn message(&mut self, kind: v1::server_message::Kind) {
        let frame = framing::to_vec(&v1::ServerMessage { kind: Some(kind) });
        self.taken += frame.len();
        self.batch.slices.push(frame.into());
    }
}

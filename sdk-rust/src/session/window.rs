//! What was sent and is not acknowledged, as the frames that went (or will go) over the wire, and requests between
//! them in the order they were made. A frame is encoded here once and stays, for the case that it must go again.

use std::collections::VecDeque;

use copo_proto::frame;

use super::encode::{Body, MOST_AROUND};

/// Frames gather in chunks of this size; a larger frame gets a chunk of its own. Also what one write takes.
pub(crate) const CHUNK: usize = 64 * 1024;

#[derive(Debug, Default)]
struct Chunk {
    /// Number of the first send.
    first: u64,
    /// Where each send's frame ends in `bytes`; empty for a request.
    ends: Vec<u32>,
    bytes: Vec<u8>,
    /// How much of `bytes` went over the present connection (or need not any more).
    written: usize,
    /// How much of `bytes` is acknowledged.
    acked: usize,
    /// The id, when this is a request; a request stands alone in its chunk.
    request: Option<u64>,
}

impl Chunk {
    fn is_written(&self) -> bool {
        self.written == self.bytes.len()
    }

    /// Number of the last send.
    fn last(&self) -> u64 {
        self.first + self.ends.len() as u64 - 1
    }

    /// Where the frame of `number`, or of the first after it, starts.
    fn start_of(&self, number: u64) -> usize {
        match number.checked_sub(self.first) {
            None | Some(0) => 0,
            Some(n) => self.ends.get(n as usize - 1).map_or(self.bytes.len(), |end| *end as usize),
        }
    }

    /// How many of the sends are written whole.
    fn whole_sends(&self) -> u64 {
        self.ends.partition_point(|end| *end as usize <= self.written) as u64
    }

    /// What is missing of a frame of which a part was written.
    fn rest_of_frame(&self) -> &[u8] {
        if self.request.is_some() {
            return if self.written == 0 { &[] } else { &self.bytes[self.written..] };
        }
        let whole = self.whole_sends() as usize;
        let start = if whole == 0 { 0 } else { self.ends[whole - 1] as usize };
        if self.written == start { &[] } else { &self.bytes[self.written..self.ends[whole] as usize] }
    }
}

/// What [`Window::rewind_from`] took out.
#[derive(Debug, Default)]
pub(super) struct TakenOut {
    /// The rest of a frame that was half written: it must go before anything else.
    pub(super) rest: Vec<u8>,
    /// The frames of requests that had not gone yet.
    pub(super) requests: Vec<Vec<u8>>,
}

/// Chunks that are done with.
#[derive(Debug, Default)]
struct Spares {
    small: Vec<Chunk>,
    /// Those of records larger than a chunk: to fault in their pages again would cost more than the copy.
    large: Vec<Chunk>,
    /// How many small chunks were kept since a large one was.
    unused: u32,
}

/// Most small chunks kept, most bytes of large ones, and how many small ones may pass before those are let go.
const SMALL_KEPT: usize = 64;
const LARGE_KEPT: usize = 8 * 1024 * 1024;
const LARGE_UNUSED: u32 = 64;

impl Spares {
    /// One with room for `length`.
    fn take(&mut self, length: usize) -> Option<Chunk> {
        if length <= CHUNK {
            return self.small.pop();
        }
        let fits = self.large.iter().position(|chunk| chunk.bytes.capacity() >= length)?;
        Some(self.large.swap_remove(fits))
    }

    fn keep(&mut self, mut chunk: Chunk) {
        if chunk.request.is_some() {
            return;
        }
        chunk.bytes.clear();
        chunk.ends.clear();
        (chunk.written, chunk.acked) = (0, 0);
        if chunk.bytes.capacity() > 2 * CHUNK {
            self.unused = 0;
            let kept: usize = self.large.iter().map(|chunk| chunk.bytes.capacity()).sum();
            if kept + chunk.bytes.capacity() <= LARGE_KEPT {
                self.large.push(chunk);
            }
            return;
        }
        self.unused += 1;
        if self.unused > LARGE_UNUSED {
            self.large.clear();
        }
        if self.small.len() < SMALL_KEPT {
            self.small.push(chunk);
        }
    }
}

/// The window's contents. Numbers here never change, whatever they are called on the wire.
#[derive(Debug, Default)]
pub(super) struct Window {
    chunks: VecDeque<Chunk>,
    /// Index of the first chunk that is not written whole.
    next_write: usize,
    /// Bytes of the unacknowledged sends.
    bytes: usize,
    /// Bytes that have not gone over the present connection.
    unwritten: usize,
    /// Chunks to use again, so that a steady stream allocates nothing and touches no fresh pages.
    spares: Spares,
}

impl Window {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn unwritten_len(&self) -> usize {
        self.unwritten
    }

    /// Is a send on the wire and not acknowledged?
    pub(super) fn is_in_flight(&self) -> bool {
        self.chunks.front().is_some_and(|chunk| chunk.request.is_none() && chunk.written > chunk.acked)
    }

    /// Appends a send's frame; `number` is the one after the last.
    pub(super) fn push(&mut self, number: u64, on_wire: u64, body: &Body<'_>) {
        let length = body.frame_len(on_wire);
        let fits = |chunk: &Chunk| chunk.request.is_none() && chunk.bytes.len() + length <= CHUNK;
        if !self.chunks.back().is_some_and(fits) {
            let chunk = self.fresh_chunk(number, length);
            self.chunks.push_back(chunk);
        }
        self.append(on_wire, body);
    }

    /// How much may be gathered in the open chunk, if there is one, until so much is unwritten.
    pub(super) fn gatherable(&self, unwritten: usize) -> usize {
        let open = self.chunks.back().filter(|chunk| chunk.request.is_none());
        let room = open.map_or(0, |chunk| CHUNK.saturating_sub(chunk.bytes.len()));
        room.min(unwritten.saturating_sub(self.unwritten))
    }

    /// Appends a record's frame where [`Self::gatherable`] said that it may be; gives its length.
    #[inline]
    pub(super) fn gather(&mut self, on_wire: u64, key: &str, data: &[u8]) -> usize {
        self.append(on_wire, &Body::Udd { key, data, expect_seq: None })
    }

    #[inline]
    fn append(&mut self, on_wire: u64, body: &Body<'_>) -> usize {
        let Some(chunk) = self.chunks.back_mut() else { return 0 };
        let length = body.encode(on_wire, &mut chunk.bytes);
        // The session takes no frame that a chunk's u32 could not measure.
        chunk.ends.push(chunk.bytes.len() as u32);
        // The chunk may have been written whole before this frame came to it.
        self.next_write = self.next_write.min(self.chunks.len() - 1);
        self.bytes += length;
        self.unwritten += length;
        length
    }

    fn fresh_chunk(&mut self, first: u64, length: usize) -> Chunk {
        let mut chunk = self.spares.take(length).unwrap_or_default();
        chunk.first = first;
        chunk.bytes.reserve_exact(length.max(CHUNK) + MOST_AROUND);
        chunk
    }

    /// Appends a request's frame.
    pub(super) fn push_request(&mut self, id: u64, bytes: Vec<u8>) {
        self.unwritten += bytes.len();
        self.chunks.push_back(Chunk { bytes, request: Some(id), ..Chunk::default() });
    }

    /// What goes next, contiguous.
    pub(super) fn unwritten(&self) -> Option<&[u8]> {
        self.chunks.get(self.next_write).map(|chunk| &chunk.bytes[chunk.written..])
    }

    /// The same, but not of the last chunk while that still fills.
    pub(super) fn unwritten_chunk(&self) -> Option<&[u8]> {
        let is_whole = |chunk: &&Chunk| self.next_write + 1 < self.chunks.len() || chunk.bytes.len() >= CHUNK;
        self.chunks.get(self.next_write).filter(is_whole).map(|chunk| &chunk.bytes[chunk.written..])
    }

    /// So many bytes of [`Self::unwritten`] went.
    pub(super) fn wrote(&mut self, count: usize) {
        if let Some(chunk) = self.chunks.get_mut(self.next_write) {
            chunk.written += count;
            self.unwritten -= count;
            self.trim();
        }
    }

    /// Number of the last send that went whole over the present connection, if any did or was acknowledged before.
    pub(super) fn last_written(&self) -> Option<u64> {
        let sends = || self.chunks.iter().take(self.next_write + 1).filter(|chunk| chunk.request.is_none());
        let chunk = sends().next_back()?;
        Some(chunk.first + chunk.whole_sends() - 1)
    }

    /// Everything up to `number` is taken: it leaves the window and is not written (again).
    pub(super) fn ack(&mut self, number: u64) {
        for chunk in self.chunks.iter_mut().take_while(|chunk| chunk.request.is_some() || chunk.first <= number) {
            if chunk.request.is_none() {
                let end = chunk.start_of(number + 1);
                self.bytes -= end.saturating_sub(chunk.acked);
                chunk.acked = chunk.acked.max(end);
                self.unwritten -= end.saturating_sub(chunk.written);
                chunk.written = chunk.written.max(end);
            }
        }
        self.trim();
    }

    /// Brings `next_write` up to date and lets go of what is done at the front.
    fn trim(&mut self) {
        while self.chunks.get(self.next_write).is_some_and(Chunk::is_written) {
            self.next_write += 1;
        }
        let is_done = |chunk: &Chunk| chunk.is_written() && (chunk.request.is_some() || chunk.acked == chunk.written);
        while self.chunks.front().is_some_and(is_done) {
            self.next_write -= 1;
            if let Some(chunk) = self.chunks.pop_front() {
                self.spares.keep(chunk);
            }
        }
    }

    /// The connection is gone: all that is unacknowledged goes again, in order. Requests that had begun to go are
    /// dropped, since they may or may not have been heard; the ids of those that remain are returned.
    pub(super) fn rewind(&mut self) -> Vec<u64> {
        self.chunks.retain(|chunk| chunk.request.is_none() || chunk.written == 0);
        self.chunks.iter_mut().filter(|chunk| chunk.request.is_none()).for_each(|chunk| chunk.written = chunk.acked);
        self.recount();
        self.chunks.iter().filter_map(|chunk| chunk.request).collect()
    }

    /// The orchestrator ignores `number` and all after it until they go again: so they will, but not yet. Requests
    /// behind them must not wait with them, and a frame half written must be finished.
    pub(super) fn rewind_from(&mut self, number: u64) -> TakenOut {
        let rest = self.chunks.get(self.next_write).map(|chunk| chunk.rest_of_frame().to_vec()).unwrap_or_default();
        let mut requests = Vec::new();
        self.chunks.retain_mut(|chunk| match chunk.request {
            Some(_) if chunk.written == 0 => {
                requests.push(std::mem::take(&mut chunk.bytes));
                false
            }
            Some(_) => false,
            None => true,
        });
        for chunk in self.chunks.iter_mut().filter(|chunk| chunk.last() >= number) {
            chunk.written = chunk.written.min(chunk.start_of(number)).max(chunk.acked);
        }
        self.recount();
        TakenOut { rest, requests }
    }

    fn recount(&mut self) {
        self.unwritten = self.chunks.iter().map(|chunk| chunk.bytes.len() - chunk.written).sum();
        self.next_write = self.chunks.iter().position(|chunk| !chunk.is_written()).unwrap_or(self.chunks.len());
        self.trim();
    }

    /// Drops every send; requests stay.
    pub(super) fn clear_sends(&mut self) {
        self.chunks.retain(|chunk| chunk.request.is_some());
        self.bytes = 0;
        self.recount();
    }

    /// Takes every unacknowledged send's message out, oldest first; requests stay.
    pub(super) fn take_sends(&mut self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        for chunk in self.chunks.iter().filter(|chunk| chunk.request.is_none()) {
            let mut rest = &chunk.bytes[chunk.acked..];
            while let Ok(frame::Head::Whole { prefix, length }) = frame::peek(rest, usize::MAX) {
                messages.push(rest[prefix..prefix + length].to_vec());
                rest = &rest[prefix + length..];
            }
        }
        self.clear_sends();
        messages
    }
}

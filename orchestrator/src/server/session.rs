//! One task per connection: Hello, then requests and answers until one side ends it.
//!
//! ```text
//! accepted ── Hello ──▶ admitted ── Subscribe ──▶ following (see `subscribe`)
//!    │                     │                          │
//!    └──── Error ──────────┴── Error, EOF, REPLACED ──┴──▶ gone
//! ```
//!
//! A session reads while its peer takes what is said to it: with more than [`Limits::pending`](super::Limits) unread
//! bytes said it stops reading, so that a client that does not read its acknowledgements stalls itself alone.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use copo_proto::frame::{self, Decoder, FrameError};
use copo_proto::v1::{self, ErrorCode, request, server_message};
use copo_proto::{MAX_HELLO, Message};

use super::hub::Hub;
use super::line::{Ending, Line};
use super::publish::Publisher;
use super::stream::Stream;
use super::{handshake, request as requests, subscribe};

/// Room for a connection's first reads; it doubles while reads fill it.
const READ_MIN: usize = 8 * 1024;
/// Room for the reads of a busy connection.
const READ_MAX: usize = 256 * 1024;
/// A buffer that grew beyond this for one frame is given back after it: not every client that once sent a large record
/// is to keep its memory.
const KEPT: usize = 4 * 1024 * 1024;
/// How long a peer may take to read the last that is said to it.
const FAREWELL: Duration = Duration::from_secs(1);

/// The whole life of a connection whose peer is checked.
pub(super) async fn run(mut stream: Stream, hub: Rc<Hub>) {
    let mut decoder = Decoder::new(MAX_HELLO);
    let hello = match read_hello(&mut stream, &mut decoder, hub.limits().hello).await {
        Ok(Some(hello)) => hello,
        Ok(None) => return,
        Err(error) => return say_last(&mut stream, &[], server_message::Kind::Error(error)).await,
    };
    let line = match handshake::admit(&hub, &hello) {
        Ok(line) => line,
        Err(error) => return say_last(&mut stream, &[], server_message::Kind::Error(error)).await,
    };
    decoder.set_max(hub.max_frame());
    let session = Session {
        hub,
        line,
        stream,
        decoder,
        publisher: Publisher::default(),
        held: None,
        writing: Bytes::new(),
        unsaid: Vec::new(),
        read_size: READ_MIN,
        is_large: false,
    };
    session.live().await;
}

/// The first frame; `None` when the peer leaves without one.
async fn read_hello(
    stream: &mut Stream,
    decoder: &mut Decoder,
    limit: Duration,
) -> Result<Option<v1::Hello>, v1::Error> {
    let read = async {
        loop {
            if let Some(frame) = decoder.next_frame().map_err(|error| frame_error(&error))? {
                let not_hello =
                    |error| malformed(format!("cannot admit the connection: its first frame is no Hello: {error}"));
                return v1::Hello::decode(frame).map(Some).map_err(not_hello);
            }
            decoder.buffer().reserve(1024);
            match poll_fn(|cx| stream.poll_read(cx, decoder.buffer())).await {
                Ok(0) | Err(_) => return Ok(None),
                Ok(_) => {}
            }
        }
    };
    tokio::time::timeout(limit, read).await.unwrap_or_else(|_| {
        let message = format!("cannot admit the connection: no Hello came within {limit:?}");
        Err(v1::Error { code: ErrorCode::TimedOut.into(), message })
    })
}

/// Says the last a connection hears, after what was still to be said; gives up on a peer that does not read.
pub(super) async fn say_last(stream: &mut Stream, unsaid: &[Bytes], last: server_message::Kind) {
    let frame = frame::to_vec(&v1::ServerMessage { kind: Some(last) });
    let unsaid = unsaid.iter().cloned().chain([frame.into()]);
    let _ = tokio::time::timeout(FAREWELL, write_all(stream, unsaid)).await;
}

async fn write_all(stream: &mut Stream, parts: impl Iterator<Item = Bytes>) -> io::Result<()> {
    for mut part in parts {
        while part.has_remaining() {
            let wrote = poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(&part)])).await?;
            part.advance(wrote);
        }
    }
    Ok(())
}

fn malformed(message: String) -> v1::Error {
    v1::Error { code: ErrorCode::Malformed.into(), message }
}

fn frame_error(error: &FrameError) -> v1::Error {
    let code = match error {
        FrameError::TooLarge { .. } => ErrorCode::TooLarge,
        FrameError::BadLength => ErrorCode::Malformed,
    };
    v1::Error { code: code.into(), message: format!("cannot read what the client says: {error}") }
}

/// One admitted connection.
pub(super) struct Session {
    pub(super) hub: Rc<Hub>,
    pub(super) line: Rc<Line>,
    pub(super) stream: Stream,
    pub(super) decoder: Decoder,
    publisher: Publisher,
    /// A request that came after sends for which readers leave no room yet.
    held: Option<v1::Request>,
    /// What is being written, in whole frames but for its start.
    pub(super) writing: Bytes,
    /// What a subscription has not written when it ends, likewise.
    pub(super) unsaid: Vec<Bytes>,
    read_size: usize,
    /// A frame has come that made the buffer larger than it is to stay.
    is_large: bool,
}

/// How far the frames that have come were handled.
enum Handled {
    /// All of them.
    All,
    /// Up to where the peer has to read first, or readers have to make room.
    Some,
    /// Up to a Subscribe that was granted: from here on the connection follows.
    Following(Box<subscribe::Following>),
}

/// Why a session goes on.
enum Woken {
    /// There is something to see to.
    Told,
    /// The peer has said something.
    Read,
    /// The peer has closed its side, or the connection is broken.
    Left,
}

impl Session {
    async fn live(mut self) {
        let ending = match self.converse().await {
            Ok(following) => subscribe::follow(&mut self, *following).await,
            Err(ending) => ending,
        };
        self.hub.leave(&self.line);
        let mut unsaid = std::mem::take(&mut self.unsaid);
        unsaid.extend([self.writing, self.line.take_said()]);
        match ending {
            Ending::Quiet => {
                let _ = tokio::time::timeout(FAREWELL, write_all(&mut self.stream, unsaid.into_iter())).await;
            }
            Ending::Because(error) => say_last(&mut self.stream, &unsaid, server_message::Kind::Error(error)).await,
            Ending::Over(code) => {
                let end = v1::End { code: code.into() };
                say_last(&mut self.stream, &unsaid, server_message::Kind::End(end)).await;
            }
        }
    }

    /// Until the connection ends, or becomes a subscription.
    async fn converse(&mut self) -> Result<Box<subscribe::Following>, Ending> {
        loop {
            if let Some(ending) = self.line.ending() {
                return Err(ending);
            }
            let mut handled = self.handle_frames()?;
            for done in self.line.take_drains() {
                if matches!(handled, Handled::All) {
                    handled = self.drain().await?;
                }
                let _ = done.send(()); // Whoever waited may have given up.
            }
            let may_read = match handled {
                Handled::All => true,
                Handled::Some => false,
                Handled::Following(following) => return Ok(following),
            };
            match self.wait(may_read).await {
                Woken::Told | Woken::Read => {}
                Woken::Left => return Err(Ending::Quiet),
            }
        }
    }

    /// Handles what has arrived until now, and not what keeps coming.
    async fn drain(&mut self) -> Result<Handled, Ending> {
        let mut arrived = self.stream.arrived();
        while arrived > 0 {
            let read = self.stream.read_arrived(self.decoder.buffer()).await.unwrap_or(0);
            if read == 0 {
                break; // A broken connection is noticed by the next read.
            }
            arrived = arrived.saturating_sub(read);
            let handled = self.handle_frames()?;
            if !matches!(handled, Handled::All) {
                return Ok(handled);
            }
        }
        Ok(Handled::All)
    }

    /// Handles every whole frame that has come; consecutive sends as one batch.
    fn handle_frames(&mut self) -> Result<Handled, Ending> {
        if !self.publisher.publish(&self.hub, &self.line)? {
            return Ok(Handled::Some);
        }
        if let Some(v1::Request { id, kind }) = self.held.take()
            && let Some(handled) = self.answer(id, kind)
        {
            return Ok(handled);
        }
        while self.pending() <= self.hub.limits().pending {
            let frame = match self.decoder.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return self.publish(Handled::All),
                Err(error) => {
                    self.publish(Handled::All)?; // What came whole before it counts.
                    return Err(Ending::Because(frame_error(&error)));
                }
            };
            self.is_large |= frame.len() > KEPT;
            let request = match v1::Request::decode(frame) {
                Ok(request) => request,
                Err(error) => {
                    self.publish(Handled::All)?;
                    return Err(Ending::Because(malformed(format!("cannot read a request: {error}"))));
                }
            };
            if let Some(handled) = self.handle(request)? {
                return Ok(handled);
            }
        }
        self.publish(Handled::Some)
    }

    /// Handles one request; answers how far it got when the session cannot go straight on.
    fn handle(&mut self, request: v1::Request) -> Result<Option<Handled>, Ending> {
        match request.kind {
            Some(request::Kind::UddSend(send)) => self.publisher.take_udd(&self.line, send)?,
            Some(request::Kind::MetaSend(send)) => self.publisher.take_meta(&self.line, send)?,
            kind => {
                // What was sent before it is to be seen by it.
                if !self.publisher.publish(&self.hub, &self.line)? {
                    self.held = Some(v1::Request { id: request.id, kind });
                    return Ok(Some(Handled::Some));
                }
                return Ok(self.answer(request.id, kind));
            }
        }
        Ok(None)
    }

    fn answer(&mut self, id: u64, kind: Option<request::Kind>) -> Option<Handled> {
        match kind {
            Some(request::Kind::Subscribe(subscribe)) => subscribe::begin(&self.hub, &self.line, id, &subscribe)
                .map(|following| Handled::Following(Box::new(following))),
            kind => {
                requests::answer(&self.hub, &self.line, id, kind);
                None
            }
        }
    }

    fn publish(&mut self, handled: Handled) -> Result<Handled, Ending> {
        if self.publisher.publish(&self.hub, &self.line)? { Ok(handled) } else { Ok(Handled::Some) }
    }

    /// Bytes said to the peer that it has not taken.
    fn pending(&self) -> usize {
        self.writing.len() + self.line.said()
    }

    /// Writes what is said, reads if it may, and waits until there is something to see to.
    async fn wait(&mut self, may_read: bool) -> Woken {
        if self.is_large && !self.decoder.is_mid_frame() {
            *self.decoder.buffer() = BytesMut::new();
            self.is_large = false;
        }
        // A large frame under way has its room already (see `Decoder`); more would copy what has come of it.
        if may_read && self.decoder.buffer().len() < self.read_size {
            self.decoder.buffer().reserve(self.read_size);
        }
        let woken = poll_fn(|cx| self.poll(cx, may_read)).await;
        if matches!(woken, Woken::Read) && self.decoder.buffer().capacity() == self.decoder.buffer().len() {
            // There is more where this came from: the others get their turn in between, and the next read is larger.
            self.read_size = (self.read_size * 2).min(READ_MAX);
            tokio::task::yield_now().await;
        }
        woken
    }

    fn poll(&mut self, cx: &mut Context<'_>, may_read: bool) -> Poll<Woken> {
        self.line.unpark();
        self.poll_write(cx);
        let is_held = self.publisher.is_held();
        let has_room = is_held && !self.line.is_waiting_for_room();
        let has_read = !is_held && !may_read && self.pending() <= self.hub.limits().pending;
        if self.line.has_orders() || has_room || has_read {
            return Poll::Ready(Woken::Told);
        }
        if may_read {
            match self.stream.poll_read(cx, self.decoder.buffer()) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Woken::Left),
                Poll::Ready(Ok(_)) => return Poll::Ready(Woken::Read),
                Poll::Pending => {}
            }
        }
        self.line.park(cx.waker())
    }

    /// Writes what is said as far as the peer takes it.
    fn poll_write(&mut self, cx: &mut Context<'_>) {
        loop {
            if self.writing.is_empty() {
                self.writing = self.line.take_said();
            }
            if self.writing.is_empty() {
                return;
            }
            match self.stream.poll_write(cx, &[IoSlice::new(&self.writing)]) {
                Poll::Ready(Ok(wrote)) => self.writing.advance(wrote),
                Poll::Ready(Err(_)) => {
                    // The peer is gone, but what it sent before may still lie unread: only the end of that is the end.
                    self.line.mute();
                    self.writing.clear();
                    return;
                }
                Poll::Pending => return,
            }
        }
    }
}

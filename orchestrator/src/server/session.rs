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
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use copo_proto::frame::{self, FrameError};
use copo_proto::v1::{self, ErrorCode, request, server_message};
use copo_proto::{MAX_HELLO, Message, send};

use super::gather::{Behind, gather, length_of};
use super::hub::Hub;
use super::inbox::Inbox;
use super::line::{Ending, Line, Writing};
use super::publish::{self, Publisher, Taken};
use super::stream::Stream;
use super::{handshake, request as requests, subscribe};

/// So many full reads in a row are handled before anybody is told what they brought: to wake a reader, and the sender by an
/// acknowledgement, costs as much as to handle one.
const READS: usize = 4;
/// How long a peer may take to read the last that is said to it.
const FAREWELL: Duration = Duration::from_secs(1);

/// The whole life of a connection whose peer is checked; `guest` is its uid when that is not the orchestrator's own.
pub(super) async fn run(stream: Stream, hub: Rc<Hub>, guest: Option<u32>) {
    let mut inbox = Inbox::new(MAX_HELLO);
    let hello = match read_hello(&stream, &mut inbox, hub.limits().hello).await {
        Ok(Some(hello)) => hello,
        Ok(None) => return,
        Err(error) => return say_last(&stream, &[], server_message::Kind::Error(error)).await,
    };
    let line = match handshake::admit(&hub, &hello, guest) {
        Ok(line) => line,
        Err(error) => return say_last(&stream, &[], server_message::Kind::Error(error)).await,
    };
    inbox.set_max(hub.max_frame());
    let session = Session {
        hub,
        line,
        stream: Rc::new(stream),
        inbox,
        publisher: Publisher::default(),
        is_held: false,
        writing: Writing::default(),
        unsaid: Vec::new(),
        full_reads: 0,
    };
    session.live().await;
}

/// The first frame; `None` when the peer leaves without one.
async fn read_hello(stream: &Stream, inbox: &mut Inbox, limit: Duration) -> Result<Option<v1::Hello>, v1::Error> {
    let read = async {
        loop {
            if let Some((frame, whole)) = inbox.first().map_err(|error| frame_error(&error))? {
                let not_hello =
                    |error| malformed(format!("cannot admit the connection: its first frame is no Hello: {error}"));
                let hello = v1::Hello::decode(frame).map_err(not_hello)?;
                inbox.handled(whole);
                return Ok(Some(hello));
            }
            match poll_fn(|cx| read_once(stream, inbox, cx)).await {
                Ok((0, _)) | Err(_) => return Ok(None),
                Ok(_) => {}
            }
        }
    };
    tokio::time::timeout(limit, read).await.unwrap_or_else(|_| {
        let message = format!("cannot admit the connection: no Hello came within {limit:?}");
        Err(v1::Error { code: ErrorCode::TimedOut.into(), message })
    })
}

/// Reads once; answers how much came, and whether it filled its room.
fn read_once(stream: &Stream, inbox: &mut Inbox, cx: &mut Context<'_>) -> Poll<io::Result<(usize, bool)>> {
    let room = inbox.room();
    let length = room.len();
    stream.poll_read(cx, room).map_ok(|read| (read, inbox.read(read, length)))
}

/// Says the last a connection hears, after what was still to be said; gives up on a peer that does not read.
pub(super) async fn say_last(stream: &Stream, unsaid: &[Bytes], last: server_message::Kind) {
    let frame = frame::to_vec(&v1::ServerMessage { kind: Some(last) });
    let unsaid = unsaid.iter().cloned().chain([frame.into()]);
    let _ = tokio::time::timeout(FAREWELL, write_all(stream, unsaid)).await;
}

async fn write_all(stream: &Stream, parts: impl Iterator<Item = Bytes>) -> io::Result<()> {
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
    pub(super) stream: Rc<Stream>,
    pub(super) inbox: Inbox,
    publisher: Publisher,
    /// What comes next are sends for which readers leave no room yet.
    is_held: bool,
    pub(super) writing: Writing,
    /// What a subscription has not written when it ends, in whole frames but for its start.
    pub(super) unsaid: Vec<Bytes>,
    /// So many full reads in a row were not told to anybody yet. While there are any, nobody else has a turn.
    full_reads: usize,
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
    /// The peer has said something, and there may be more of it.
    Read { is_full: bool },
    /// The peer has closed its side, or the connection is broken.
    Left,
}

impl Session {
    async fn live(mut self) {
        let conversed = self.converse().await;
        self.hub.tell_readers();
        let ending = match conversed {
            Ok(following) => subscribe::follow(&mut self, *following).await,
            Err(ending) => ending,
        };
        self.hub.leave(&self.line);
        let mut unsaid = std::mem::take(&mut self.unsaid);
        unsaid.extend([self.writing.take(), self.line.take_said()]);
        match ending {
            Ending::Quiet => {
                let _ = tokio::time::timeout(FAREWELL, write_all(&self.stream, unsaid.into_iter())).await;
            }
            Ending::Because(error) => say_last(&self.stream, &unsaid, server_message::Kind::Error(error)).await,
            Ending::Over(code) => {
                let end = v1::End { code: code.into() };
                say_last(&self.stream, &unsaid, server_message::Kind::End(end)).await;
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
                Woken::Told | Woken::Read { .. } => {}
                Woken::Left => return Err(Ending::Quiet),
            }
        }
    }

    /// Handles what has arrived until now, and not what keeps coming.
    async fn drain(&mut self) -> Result<Handled, Ending> {
        let mut arrived = self.stream.arrived();
        while arrived > 0 {
            let room = self.inbox.room();
            let length = room.len();
            let read = self.stream.read_arrived(room).await.unwrap_or(0);
            if read == 0 {
                break; // A broken connection is noticed by the next read.
            }
            self.inbox.read(read, length);
            arrived = arrived.saturating_sub(read);
            let handled = self.handle_frames()?;
            if !matches!(handled, Handled::All) {
                return Ok(handled);
            }
        }
        Ok(Handled::All)
    }

    /// Handles every whole frame that has come; consecutive sends as one batch, read where they lie.
    fn handle_frames(&mut self) -> Result<Handled, Ending> {
        while self.pending() <= self.hub.limits().pending {
            let (sends, length, behind) = gather(&self.inbox);
            let taken = self.publisher.publish(&self.hub, &self.line, &sends)?;
            if let Taken::Some(count) = taken {
                let taken = length_of(&self.inbox, count);
                self.inbox.handled(taken);
                self.is_held = true;
                return Ok(Handled::Some);
            }
            self.is_held = false;
            self.inbox.handled(length);
            match behind {
                Behind::Part(missing) => {
                    self.inbox.lacks(missing);
                    return Ok(Handled::All);
                }
                Behind::Nonsense(error) => return Err(Ending::Because(frame_error(&error))),
                Behind::Other => {
                    if let Some(handled) = self.handle_request()? {
                        return Ok(handled);
                    }
                }
            }
        }
        self.is_held = false;
        Ok(Handled::Some)
    }

    /// Handles the first frame, which is whole and no plain send; answers how far it got when the session cannot go
    /// straight on.
    fn handle_request(&mut self) -> Result<Option<Handled>, Ending> {
        let first = self.inbox.first().map_err(|error| Ending::Because(frame_error(&error)))?;
        let Some((frame, whole)) = first else { return Ok(None) };
        let request = v1::Request::decode(frame)
            .map_err(|error| Ending::Because(malformed(format!("cannot read a request: {error}"))))?;
        let sent = match &request.kind {
            Some(request::Kind::UddSend(v1::UddSend { number, key, udd_buff, expect_seq })) => {
                Some(send::Send::Udd { number: *number, key, udd_buff, expect_seq: *expect_seq })
            }
            Some(request::Kind::MetaSend(v1::MetaSend { number, report_buff })) => {
                Some(send::Send::Meta { number: *number, report_buff })
            }
            _ => None,
        };
        let Some(sent) = sent else {
            self.inbox.handled(whole);
            return Ok(self.answer(request.id, request.kind));
        };
        // A send, but an odd one.
        let taken = self.publisher.publish(&self.hub, &self.line, &[publish::of(sent)])?;
        self.is_held = taken != Taken::All;
        if self.is_held {
            return Ok(Some(Handled::Some));
        }
        self.inbox.handled(whole);
        Ok(None)
    }

    fn answer(&mut self, id: u64, kind: Option<request::Kind>) -> Option<Handled> {
        self.hub.store(); // What was sent before it is seen by it.
        match kind {
            Some(request::Kind::Subscribe(subscribe)) => subscribe::begin(&self.hub, &self.line, id, &subscribe)
                .map(|following| Handled::Following(Box::new(following))),
            kind => {
                requests::answer(&self.hub, &self.line, id, kind);
                None
            }
        }
    }

    /// Bytes said to the peer that it has not taken.
    fn pending(&self) -> usize {
        self.writing.rest().len() + self.line.said()
    }

    /// Writes what is said, reads if it may, and waits until there is something to see to.
    async fn wait(&mut self, may_read: bool) -> Woken {
        let woken = poll_fn(|cx| self.poll(cx, may_read)).await;
        if matches!(woken, Woken::Read { is_full: true }) && self.full_reads == 1 {
            // All is told. There is more where this came from: the others get their turn in between.
            tokio::task::yield_now().await;
        }
        woken
    }

    fn poll(&mut self, cx: &mut Context<'_>, may_read: bool) -> Poll<Woken> {
        self.line.unpark();
        let reads_on = may_read && (1..READS).contains(&self.full_reads) && !self.line.has_orders();
        if reads_on && let Poll::Ready(woken) = self.poll_read(cx) {
            return Poll::Ready(woken);
        }
        self.full_reads = 0;
        self.hub.tell_readers();
        self.poll_write(cx);
        let has_room = self.is_held && !self.line.is_waiting_for_room();
        let has_read = !self.is_held && !may_read && self.pending() <= self.hub.limits().pending;
        if self.line.has_orders() || has_room || has_read {
            return Poll::Ready(Woken::Told);
        }
        if may_read && let Poll::Ready(woken) = self.poll_read(cx) {
            return Poll::Ready(woken);
        }
        self.line.park(cx.waker())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Woken> {
        Poll::Ready(match ready!(read_once(&self.stream, &mut self.inbox, cx)) {
            Ok((0, _)) | Err(_) => Woken::Left,
            Ok((_, is_full)) => {
                self.full_reads = if is_full { self.full_reads + 1 } else { 0 };
                Woken::Read { is_full }
            }
        })
    }

    /// Writes what is said as far as the peer takes it.
    fn poll_write(&mut self, cx: &mut Context<'_>) {
        loop {
            if self.writing.is_empty() {
                self.line.take_to(&mut self.writing);
            }
            if self.writing.is_empty() {
                return self.stream.all_written();
            }
            match self.stream.poll_write(cx, &[IoSlice::new(self.writing.rest())]) {
                Poll::Ready(Ok(wrote)) => self.writing.wrote(wrote),
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

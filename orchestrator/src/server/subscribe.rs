//! Following the log. After Subscribed a connection carries records, reports, gaps and at last End, nothing else.
//!
//! A subscriber is a cursor: it reads slices of the log, writes them as they lie, and waits for the head to move. Nothing is
//! queued for it, so how slow it is costs nobody else anything.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::IoSlice;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use copo_proto::v1::{self, ErrorCode, response};

use super::error;
use super::hub::Hub;
use super::line::{Ending, Line};
use super::session::Session;
use super::stream::Stream;
use crate::context::Cursor;

/// How many bytes are taken from the log at once; one record alone may be larger. As much as is published before readers are
/// told, so that it takes one write, and what was just written is still in the cache for all who read it.
const BUDGET: usize = 256 * 1024;
/// How many slices one write takes.
const SLICES: usize = 64;

/// A subscription that stands.
#[derive(Debug)]
pub(super) struct Following {
    cursor: Cursor,
}

/// Grants a subscription, or answers why not: then the connection goes on as it was.
pub(super) fn begin(hub: &Rc<Hub>, line: &Line, id: u64, subscribe: &v1::Subscribe) -> Option<Following> {
    match grant(hub, line, subscribe) {
        Ok((cursor, subscribed)) => {
            line.subscribe();
            line.respond(id, response::Kind::Subscribed(subscribed));
            if line.speaker.run().is_some_and(|run| run.killed_at().is_some()) {
                line.end(Ending::Over(ErrorCode::Stopping));
            }
            Some(Following { cursor })
        }
        Err(error) => {
            line.respond(id, response::Kind::Error(error));
            None
        }
    }
}

fn grant(hub: &Hub, line: &Line, subscribe: &v1::Subscribe) -> Result<(Cursor, v1::Subscribed), v1::Error> {
    if line.unanswered.get() > 0 {
        let message =
            "cannot subscribe: requests on this connection are unanswered, and it could not carry the answers";
        return Err(error(ErrorCode::InvalidArgument, message));
    }
    hub.subscribe(subscribe)
}

/// A subscriber's place in the log, and what it has been given of it and not taken. Its session writes to it, and so does
/// whoever moves the head while it waits for that: what is new reaches it without another task's turn.
#[derive(Debug)]
pub(super) struct Feed {
    line: Rc<Line>,
    stream: Rc<Stream>,
    place: RefCell<Place>,
}

#[derive(Debug)]
struct Place {
    cursor: Cursor,
    slices: VecDeque<Bytes>,
    /// There is nothing more to read, ever.
    is_over: bool,
    /// There was more to read than was taken at once.
    is_more: bool,
}

impl Feed {
    /// The head moved: writes what is new. False when the session has to go on: the peer has not taken all of it, or has
    /// gone, or the subscription is over.
    pub(super) fn push(&self, hub: &Hub) -> bool {
        let mut place = self.place.borrow_mut();
        if !place.slices.is_empty() {
            return false; // Nothing is queued for a slow reader: it reads on once it has taken these.
        }
        let is_waiting = place.read(hub, self);
        while !place.slices.is_empty() {
            match with_parts(&place.slices, |parts| self.stream.try_write(parts)) {
                Ok(wrote) => {
                    self.line.wrote(wrote);
                    advance(&mut place.slices, wrote);
                }
                Err(_) => return false, // Whatever it is, the session finds the same.
            }
        }
        is_waiting && !place.is_over
    }

    /// The head moved, and the session has to see to it.
    pub(super) fn wake(&self) {
        self.line.head_moved();
    }

    /// Whose it is.
    pub(super) fn line(&self) -> &Line {
        &self.line
    }
}

impl Place {
    /// Takes the next from the log. True when that is all there is.
    fn read(&mut self, hub: &Hub, feed: &Feed) -> bool {
        let batch = hub.read(&feed.line, &mut self.cursor, BUDGET);
        if batch.is_much {
            feed.stream.widen();
        }
        (self.is_over, self.is_more) = (batch.end, !batch.caught_up);
        self.slices.extend(batch.slices);
        batch.caught_up
    }
}

/// Why a subscription goes on.
enum Woken {
    /// What was to be written is, or the head moved, or the connection is to end.
    Told,
    /// It ends: the peer is gone, or said something.
    Ended(Ending),
}

/// Carries the log to the peer until the subscription ends; answers with what last frame.
pub(super) async fn follow(session: &mut Session, following: Following) -> Ending {
    let Following { cursor } = following;
    let mut slices = VecDeque::from([session.writing.take(), session.line.take_said()]);
    slices.retain(|slice| !slice.is_empty());
    let place = RefCell::new(Place { cursor, slices, is_over: false, is_more: false });
    let feed = Rc::new(Feed { line: Rc::clone(&session.line), stream: Rc::clone(&session.stream), place });
    let ending = carry(session, &feed).await;
    session.hub.stop_following(&session.line);
    session.unsaid.extend(std::mem::take(&mut feed.place.borrow_mut().slices));
    ending
}

async fn carry(session: &mut Session, feed: &Rc<Feed>) -> Ending {
    loop {
        let is_more = {
            let mut place = feed.place.borrow_mut();
            if place.slices.is_empty() {
                if let Some(ending) = session.line.ending() {
                    // At the end of everything what is in the log by then is still delivered: the reports of that end.
                    if ending != Ending::Quiet || session.line.is_waiting_for_head() {
                        return ending;
                    }
                }
                if place.is_over {
                    return Ending::Quiet;
                }
                if !session.line.is_waiting_for_head() {
                    let is_all = place.read(&session.hub, feed);
                    if is_all && !place.is_over {
                        session.hub.wait_for_head(feed);
                    }
                }
            }
            place.is_more
        };
        match poll_fn(|cx| poll(session, feed, cx)).await {
            // The others get their turn between two batches of one reader.
            Woken::Told if is_more => tokio::task::yield_now().await,
            Woken::Told => {}
            Woken::Ended(ending) => return ending,
        }
    }
}

fn poll(session: &mut Session, feed: &Feed, cx: &mut Context<'_>) -> Poll<Woken> {
    session.line.unpark();
    let mut place = feed.place.borrow_mut();
    let slices = &mut place.slices;
    session.line.tell_backlog(|| slices.iter().map(Bytes::len).sum::<usize>() + feed.stream.unread());
    while !slices.is_empty() {
        match with_parts(slices, |parts| feed.stream.poll_write(cx, parts)) {
            Poll::Ready(Ok(wrote)) => {
                feed.line.wrote(wrote);
                advance(slices, wrote);
            }
            Poll::Ready(Err(_)) => return Poll::Ready(Woken::Ended(Ending::Quiet)),
            Poll::Pending => break,
        }
    }
    // An end waits until a frame under way is whole; only the end of everything does not.
    let ends_now = session.line.ending().is_some_and(|ending| slices.is_empty() || ending == Ending::Quiet);
    if ends_now {
        return Poll::Ready(if slices.is_empty() { Woken::Told } else { Woken::Ended(Ending::Quiet) });
    }
    if slices.is_empty() {
        if !session.line.is_waiting_for_head() {
            return Poll::Ready(Woken::Told);
        }
        feed.stream.all_written();
    }
    match feed.stream.poll_read(cx, &mut [0; 64]) {
        Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Woken::Ended(Ending::Quiet)),
        Poll::Ready(Ok(_)) => {
            let message = "cannot take a request: this connection carries a subscription";
            Poll::Ready(Woken::Ended(Ending::because(ErrorCode::Malformed, message)))
        }
        Poll::Pending => session.line.park(cx.waker()),
    }
}

/// The first slices as one vectored write takes them.
fn with_parts<R>(slices: &VecDeque<Bytes>, write: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
    let mut parts = [IoSlice::new(&[]); SLICES];
    let count = slices.len().min(SLICES);
    for (part, slice) in parts.iter_mut().zip(slices) {
        *part = IoSlice::new(slice);
    }
    write(&parts[..count])
}

fn advance(slices: &mut VecDeque<Bytes>, mut bytes: usize) {
    while let Some(front) = slices.front_mut() {
        if bytes < front.len() {
            front.advance(bytes);
            return;
        }
        bytes -= front.len();
        slices.pop_front();
    }
}

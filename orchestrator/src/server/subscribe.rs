//! Following the log. After Subscribed a connection carries records, reports, gaps and at last End, nothing else.
//!
//! A subscriber is a cursor: it reads slices of the log, writes them as they lie, and waits for the head to move. Nothing is
//! queued for it, so how slow it is costs nobody else anything.

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
use crate::context::Cursor;

/// How many bytes are taken from the log at once; one record alone may be larger.
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

/// Why a subscription goes on.
enum Woken {
    /// What was to be written is, or the head moved, or the connection is to end.
    Told,
    /// It ends: the peer is gone, or said something.
    Ended(Ending),
}

/// Carries the log to the peer until the subscription ends; answers with what last frame.
pub(super) async fn follow(session: &mut Session, following: Following) -> Ending {
    let Following { mut cursor } = following;
    session.stream.widen();
    let mut slices = VecDeque::from([std::mem::take(&mut session.writing), session.line.take_said()]);
    slices.retain(|slice| !slice.is_empty());
    let (mut is_over, mut is_more) = (false, false);
    let ending = loop {
        if slices.is_empty() {
            if let Some(ending) = session.line.ending() {
                // At the end of everything what is in the log by then is still delivered: the reports of that end.
                if ending != Ending::Quiet || session.line.is_waiting_for_head() {
                    break ending;
                }
            }
            if is_over {
                break Ending::Quiet;
            }
        }
        if slices.is_empty() && !session.line.is_waiting_for_head() {
            let batch = session.hub.read(&session.line, &mut cursor, BUDGET);
            (is_over, is_more) = (batch.end, !batch.caught_up);
            slices.extend(batch.slices);
            if batch.caught_up {
                session.hub.wait_for_head(&session.line);
            }
        }
        match poll_fn(|cx| poll(session, &mut slices, cx)).await {
            // The others get their turn between two batches of one reader.
            Woken::Told if is_more => tokio::task::yield_now().await,
            Woken::Told => {}
            Woken::Ended(ending) => break ending,
        }
    };
    session.hub.stop_following(&session.line);
    session.unsaid.extend(slices);
    ending
}

fn poll(session: &mut Session, slices: &mut VecDeque<Bytes>, cx: &mut Context<'_>) -> Poll<Woken> {
    session.line.unpark();
    while !slices.is_empty() {
        match write_once(session, slices, cx) {
            Poll::Ready(true) if slices.is_empty() => return Poll::Ready(Woken::Told),
            Poll::Ready(true) => {}
            Poll::Ready(false) => return Poll::Ready(Woken::Ended(Ending::Quiet)),
            Poll::Pending => break,
        }
    }
    // An end waits until a frame under way is whole; only the end of everything does not.
    let ends_now = session.line.ending().is_some_and(|ending| slices.is_empty() || ending == Ending::Quiet);
    if ends_now {
        return Poll::Ready(if slices.is_empty() { Woken::Told } else { Woken::Ended(Ending::Quiet) });
    }
    if slices.is_empty() && !session.line.is_waiting_for_head() {
        return Poll::Ready(Woken::Told);
    }
    let buffer = session.decoder.buffer();
    buffer.reserve(1);
    match session.stream.poll_read(cx, buffer) {
        Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Woken::Ended(Ending::Quiet)),
        Poll::Ready(Ok(_)) => {
            let message = "cannot take a request: this connection carries a subscription";
            Poll::Ready(Woken::Ended(Ending::because(ErrorCode::Malformed, message)))
        }
        Poll::Pending => session.line.park(cx.waker()),
    }
}

/// Writes once; false when the peer is gone.
fn write_once(session: &mut Session, slices: &mut VecDeque<Bytes>, cx: &mut Context<'_>) -> Poll<bool> {
    let mut parts = [IoSlice::new(&[]); SLICES];
    let count = slices.len().min(SLICES);
    for (part, slice) in parts.iter_mut().zip(slices.iter()) {
        *part = IoSlice::new(slice);
    }
    session.stream.poll_write(cx, &parts[..count]).map(|wrote| wrote.map(|bytes| advance(slices, bytes)).is_ok())
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

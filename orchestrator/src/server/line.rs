//! A line: what the rest of the house may do to a connection. Its session task does it.
//!
//! Nothing here carries records: a subscriber is told only that the head moved. What is said over a line waits in its
//! buffer until the session has written it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Poll, Waker};

use bytes::{Buf, Bytes};
use copo_proto::frame;
use copo_proto::v1::{self, response, server_message};
use tokio::sync::oneshot;

use super::hub::Backlog;
use super::identity::Speaker;

/// How large a line's buffer may stay.
const KEPT: usize = 64 * 1024;

/// Names one connection, for as long as the orchestrator lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LineId(pub(super) u64);

/// Why a connection is to end.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ending {
    /// There is nothing more to say.
    Quiet,
    /// With a last frame that says why.
    Because(v1::Error),
    /// A subscription's own last frame.
    Over(v1::ErrorCode),
}

impl Ending {
    /// With a last frame that says why.
    pub(super) fn because(code: v1::ErrorCode, message: impl Into<String>) -> Self {
        Self::Because(v1::Error { code: code.into(), message: message.into() })
    }
}

/// What was said and is being written, in whole frames but for its start.
#[derive(Debug, Default)]
pub(super) struct Writing {
    bytes: Vec<u8>,
    from: usize,
}

impl Writing {
    /// What is not written yet.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.from..]
    }

    /// Is all of it written?
    pub(super) fn is_empty(&self) -> bool {
        self.from == self.bytes.len()
    }

    /// So many bytes more are written.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.from += bytes;
    }

    /// The rest is not to be written.
    pub(super) fn clear(&mut self) {
        self.from = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEPT {
            self.bytes = Vec::new(); // A large answer is not to hold its memory after it is written.
        }
    }

    /// Takes the rest out.
    pub(super) fn take(&mut self) -> Bytes {
        let mut rest = Bytes::from(std::mem::take(&mut self.bytes));
        rest.advance(std::mem::take(&mut self.from));
        rest
    }
}

/// One admitted connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) id: LineId,
    pub(super) speaker: Speaker,
    pub(super) client: Option<[u8; 16]>,
    /// Requests of this connection that are not answered yet.
    pub(super) unanswered: Cell<usize>,
    out: RefCell<Vec<u8>>,
    waker: RefCell<Option<Waker>>,
    ending: RefCell<Option<Ending>>,
    drains: RefCell<Vec<oneshot::Sender<()>>>,
    backlogs: RefCell<Vec<oneshot::Sender<Backlog>>>,
    written: Cell<u64>,
    is_mute: Cell<bool>,
    subscribed: Cell<bool>,
    waits_for_head: Cell<bool>,
    waits_for_room: Cell<bool>,
}

impl Line {
    pub(super) fn new(id: LineId, speaker: Speaker, client: Option<[u8; 16]>) -> Rc<Self> {
        Rc::new(Self {
            id,
            speaker,
            client,
            unanswered: Cell::new(0),
            out: RefCell::default(),
            waker: RefCell::default(),
            ending: RefCell::default(),
            drains: RefCell::default(),
            backlogs: RefCell::default(),
            written: Cell::new(0),
            is_mute: Cell::new(false),
            subscribed: Cell::new(false),
            waits_for_head: Cell::new(false),
            waits_for_room: Cell::new(false),
        })
    }

    /// Says something: it is written as soon as the peer takes it.
    pub(super) fn say(&self, kind: server_message::Kind) {
        if self.is_mute.get() {
            return;
        }
        frame::encode(&v1::ServerMessage { kind: Some(kind) }, &mut *self.out.borrow_mut());
        self.wake();
    }

    /// Answers a request.
    pub(super) fn respond(&self, id: u64, kind: response::Kind) {
        self.say(server_message::Kind::Response(v1::Response { id, kind: Some(kind) }));
    }

    /// Nobody hears any more what is said.
    pub(super) fn mute(&self) {
        self.is_mute.set(true);
        self.out.borrow_mut().clear();
    }

    /// Bytes said and not yet taken by [`Line::take_said`].
    pub(super) fn said(&self) -> usize {
        self.out.borrow().len()
    }

    /// What was said, in whole frames.
    pub(super) fn take_said(&self) -> Bytes {
        self.out.take().into()
    }

    /// Puts what was said behind the last that was written, which is done with.
    pub(super) fn take_to(&self, writing: &mut Writing) {
        debug_assert!(writing.is_empty(), "it is not written yet");
        writing.clear();
        std::mem::swap(&mut *self.out.borrow_mut(), &mut writing.bytes);
    }

    /// The connection is to end. The first reason counts.
    pub(super) fn end(&self, ending: Ending) {
        self.ending.borrow_mut().get_or_insert(ending);
        self.wake();
    }

    /// Why the connection is to end, if it is.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.ending.borrow().clone()
    }

    /// Asks that what has arrived be appended; the receiver is told when it is, or that the connection is gone.
    pub(super) fn drain(&self) -> oneshot::Receiver<()> {
        let (done, told) = oneshot::channel();
        self.drains.borrow_mut().push(done);
        self.wake();
        told
    }

    /// Those who wait for what has arrived to be appended.
    pub(super) fn take_drains(&self) -> Vec<oneshot::Sender<()>> {
        self.drains.take()
    }

    /// Asks how far its subscription has read.
    pub(super) fn ask_backlog(&self) -> oneshot::Receiver<Backlog> {
        let (tell, told) = oneshot::channel();
        self.backlogs.borrow_mut().push(tell);
        self.wake();
        told
    }

    /// Answers those who ask how far its subscription has read; `unread` is found out only for them.
    pub(super) fn tell_backlog(&self, unread: impl FnOnce() -> usize) {
        let asking = self.backlogs.take();
        if !asking.is_empty() {
            let backlog = Backlog { line: self.id.0, written: self.written.get(), unread: unread() };
            for tell in asking {
                let _ = tell.send(backlog); // Whoever asked may have given up.
            }
        }
    }

    /// So many bytes of its subscription were written.
    pub(super) fn wrote(&self, bytes: usize) {
        self.written.set(self.written.get().wrapping_add(bytes as u64));
    }

    /// Is there something the session has to see to before it waits?
    pub(super) fn has_orders(&self) -> bool {
        self.ending.borrow().is_some() || !self.drains.borrow().is_empty()
    }

    /// From here on the connection carries records and nothing else.
    pub(super) fn subscribe(&self) {
        self.subscribed.set(true);
    }

    /// Does it carry records?
    pub(super) fn is_subscribed(&self) -> bool {
        self.subscribed.get()
    }

    /// The session has read up to the head, and is woken when that moves. False when it waited already.
    pub(super) fn wait_for_head(&self) -> bool {
        !self.waits_for_head.replace(true)
    }

    /// Has the head not moved since [`Line::wait_for_head`]?
    pub(super) fn is_waiting_for_head(&self) -> bool {
        self.waits_for_head.get()
    }

    /// The head moved.
    pub(super) fn head_moved(&self) {
        if self.waits_for_head.replace(false) {
            self.wake();
        }
    }

    /// The session holds sends that readers leave no room for: wake it when there may be.
    pub(super) fn wait_for_room(&self) {
        self.waits_for_room.set(true);
    }

    /// May there still be no room since [`Line::wait_for_room`]?
    pub(super) fn is_waiting_for_room(&self) -> bool {
        self.waits_for_room.get()
    }

    /// There may be room.
    pub(super) fn room_made(&self) {
        if self.waits_for_room.replace(false) {
            self.wake();
        }
    }

    /// The session waits, and is woken by whatever is done to the line from here on.
    pub(super) fn park<T>(&self, waker: &Waker) -> Poll<T> {
        let mut parked = self.waker.borrow_mut();
        match parked.as_mut() {
            Some(old) => old.clone_from(waker),
            None => *parked = Some(waker.clone()),
        }
        Poll::Pending
    }

    /// The session no longer waits: what it says itself need not wake it.
    pub(super) fn unpark(&self) {
        self.waker.borrow_mut().take();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

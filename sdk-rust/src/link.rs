//! The link: one session, the line it runs over, and whoever waits for either. Everything shared is under one lock;
//! what happens between wire and session is in [`crate::io`].
//!
//! Who reads: at any time at most one thread *drives* the line (waits for it, reads, writes leftovers, reconnects). A
//! caller that waits for something drives itself, so that an answer costs one wakeup, and one that sends without a pause
//! looks for acknowledgements whenever it writes; otherwise the I/O thread does. While that only waits for the line, a
//! caller takes its place without asking: it finds out when it wakes.

mod lock;
mod sending;
mod told;
mod waiting;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant};

use copo_proto::frame::Decoder;
use copo_proto::v1::{ErrorCode, Request, request, response};

use crate::client::{OnAcked, OnResponse, OnStop, OnWindow};
use crate::connection::{Line, Waker};
use crate::error::{Error, Result};
use crate::fork;
use crate::io;
use crate::options::ConnectOptions;
use crate::session::{Bounds, Session};
pub(crate) use lock::Guard;
use lock::Lock;
pub(crate) use waiting::Wait;

/// How long a call may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Not at all: WOULD_BLOCK.
    None,
    /// Until then (TIMED_OUT), or as long as it takes.
    Until(Option<Instant>),
}

impl Patience {
    pub(crate) fn of(timeout: Option<Duration>) -> Self {
        Self::Until(timeout.map(|timeout| Instant::now() + timeout))
    }
}

/// Who is told what became of a send.
pub(crate) enum Waiter {
    /// A caller, which looks into [`State::seqs`].
    Caller,
    /// A callback.
    Callback(OnAcked),
}

/// Who is told the answer to a request.
pub(crate) enum Asker {
    /// A caller, which waits.
    Caller,
    /// A caller, for which this has come.
    Answered(Result<response::Kind>),
    /// A callback.
    Callback(OnResponse),
    /// Nobody cares.
    Nobody,
}

/// What the orchestrator said about us.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    pub(crate) internal_name: String,
    pub(crate) run: String,
    pub(crate) max_record: usize,
}

/// A callback that is due, with its result.
pub(crate) type Call = Box<dyn FnOnce() + Send>;

/// What stands under the lock.
pub(crate) struct State {
    pub(crate) session: Session,
    pub(crate) client_id: [u8; 16],
    pub(crate) about: About,
    pub(crate) line: Option<Arc<Line>>,
    pub(crate) decoder: Decoder,
    /// The last write found no room: the driver waits for it.
    pub(crate) is_write_blocked: bool,
    /// While it is, a caller that sends without a pause tries again when so much has gathered.
    pub(crate) next_try: usize,
    /// When to try the next connection, and how long to wait after that.
    pub(crate) retry_at: Instant,
    pub(crate) backoff: Duration,
    /// No further connection will be tried, and why.
    pub(crate) dead: Option<Error>,
    pub(crate) stopped: bool,
    pub(crate) watching: bool,

    /// A thread drives the line.
    pub(crate) driving: bool,
    /// Threads that wait for the line or the waker: the driver, and the I/O thread even when it has lost its place.
    pub(crate) in_poll: u32,
    /// The driver waits inside a read, whose bytes go into the decoder before any other.
    pub(crate) reads_outside: bool,
    /// Callers that wait for their turn to drive, or for what the driver brings.
    pub(crate) waiting: u32,
    pub(crate) io: io::Thread,
    /// The thread that sent last, and how often without anybody else in between.
    sender: usize,
    streak: u32,

    pub(crate) waiters: BTreeMap<u64, Waiter>,
    pub(crate) seqs: HashMap<u64, Result<u64>>,
    next_id: u64,
    pub(crate) askers: HashMap<u64, Asker>,
    pub(crate) on_window: Vec<OnWindow>,
    pub(crate) on_flushed: Vec<(u64, OnWindow)>,
    pub(crate) on_stop: Vec<OnStop>,
    pub(crate) due: Vec<Call>,
}

/// See the module.
pub(crate) struct Link {
    pub(crate) options: ConnectOptions,
    /// The fork generation this link belongs to.
    pub(crate) generation: u64,
    state: Lock,
    /// Something a caller may wait for has changed, or the driver's place is free.
    changed: Condvar,
    pub(crate) io_wake: Condvar,
    /// Counts the times a caller began and ended to drive: odd while one does.
    pub(crate) turns: AtomicU64,
    /// The I/O thread is to look after the line.
    pub(crate) is_io_needed: AtomicBool,
    pub(crate) waker: Waker,
    pub(crate) stop_flag: AtomicBool,
    watch_flag: AtomicBool,
    /// The line's descriptor while there is one, else -1: readable without the lock.
    pub(crate) descriptor: AtomicI32,
}

impl Link {
    /// Connects; fails when there is no orchestrator to connect to just now.
    pub(crate) fn connect(options: ConnectOptions) -> Result<Arc<Self>> {
        fork::watch();
        let bounds = Bounds { sends: options.window, bytes: options.window_bytes };
        let client_id = io::fresh_id()?;
        let connection = crate::connection::open(&options, &client_id, options.timeout)?;
        let waker = Waker::new().map_err(|why| {
            Error::new(ErrorCode::Internal, format!("cannot make a socket pair to wake a thread: {why}"))
        })?;
        let state = State {
            session: Session::new(bounds),
            client_id,
            about: About::default(),
            line: None,
            decoder: Decoder::new(0),
            is_write_blocked: false,
            next_try: 0,
            retry_at: Instant::now(),
            backoff: io::FIRST_BACKOFF,
            dead: None,
            stopped: false,
            watching: false,
            driving: false,
            in_poll: 0,
            reads_outside: false,
            waiting: 0,
            io: io::Thread::default(),
            sender: 0,
            streak: 0,
            waiters: BTreeMap::new(),
            seqs: HashMap::new(),
            next_id: 0,
            askers: HashMap::new(),
            on_window: Vec::new(),
            on_flushed: Vec::new(),
            on_stop: Vec::new(),
            due: Vec::new(),
        };
        let link = Arc::new(Self {
            options,
            generation: fork::generation(),
            state: Lock::new(state),
            changed: Condvar::new(),
            io_wake: Condvar::new(),
            turns: AtomicU64::new(0),
            is_io_needed: AtomicBool::new(false),
            waker,
            stop_flag: AtomicBool::new(false),
            watch_flag: AtomicBool::new(false),
            descriptor: AtomicI32::new(-1),
        });
        link.install(&mut link.lock(), connection);
        Ok(link)
    }

    pub(crate) fn lock(&self) -> Guard<'_> {
        self.state.lock()
    }

    // ---- requests ----

    /// Asks and waits for the answer.
    pub(crate) fn call(self: &Arc<Self>, kind: request::Kind, deadline: Option<Instant>) -> Result<response::Kind> {
        let mut state = self.lock();
        if !state.driving {
            // An orchestrator that has gone is better noticed now than after the request went nowhere.
            self.receive(&mut state);
        }
        let id = self.ask(&mut state, kind, Asker::Caller)?;
        let (mut state, answer) =
            self.wait_for(state, deadline, Wait::Anything, |state| match state.askers.remove(&id) {
                Some(Asker::Answered(answer)) => Some(answer),
                Some(other) => {
                    state.askers.insert(id, other);
                    None
                }
                None => Some(Err(closed())),
            });
        state.askers.remove(&id);
        self.release(state);
        answer
    }

    /// Asks; the answer goes to `asker`.
    pub(crate) fn ask(&self, state: &mut State, kind: request::Kind, asker: Asker) -> Result<u64> {
        if let Some(dead) = &state.dead {
            return Err(dead.clone());
        }
        state.next_id += 1;
        let id = state.next_id;
        state.askers.insert(id, asker);
        state.session.push_request(id, &Request { id, kind: Some(kind) });
        self.write_if_idle(state);
        Ok(id)
    }

    /// Asks; `f` is called with the answer.
    pub(crate) fn on_response(self: &Arc<Self>, kind: request::Kind, f: OnResponse) {
        let mut state = self.lock();
        match state.dead.clone() {
            Some(error) => state.due.push(Box::new(move || f(Err(error)))),
            None => {
                let _ = self.ask(&mut state, kind, Asker::Callback(f));
                self.leave_to_io(&mut state);
            }
        }
        self.release(state);
    }

    // ---- stop ----

    /// Asks, once, to be told when the run is to stop.
    pub(crate) fn watch_stop(self: &Arc<Self>) -> Result<()> {
        let is_person = self.options.token.as_deref().unwrap_or_default().is_empty();
        if is_person || self.watch_flag.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut state = self.lock();
        if !std::mem::replace(&mut state.watching, true) {
            let kind = request::Kind::WatchStop(copo_proto::v1::WatchStop {});
            self.ask(&mut state, kind, Asker::Nobody)?;
            self.watch_flag.store(true, Ordering::Release);
            self.leave_to_io(&mut state);
        }
        self.release(state);
        Ok(())
    }
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorCode::Closed, "cannot go on: the client is closed")
}

pub(crate) fn stopping() -> Error {
    Error::new(ErrorCode::Stopping, "cannot wait any longer: this run was asked to stop")
}

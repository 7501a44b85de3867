//! Between wire and session: what is written when, what an arrived message changes, how a lost line is replaced, and
//! the one I/O thread that does all this while no caller waits. It is started with the first send that nobody waits
//! for, and takes the line up again a moment after callers have stopped driving it.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use copo_proto::v1::{self, ErrorCode, request, response};

use crate::connection::{self, Connection, OpenError};
use crate::error::{Error, Result};
use crate::link::{About, Asker, Guard, Link, State};
use crate::session::Event;

/// How long after a connection was lost the next one is tried; it doubles up to [`LAST_BACKOFF`].
pub(crate) const FIRST_BACKOFF: Duration = Duration::from_millis(10);
const LAST_BACKOFF: Duration = Duration::from_secs(1);
/// How long the I/O thread stays away after a caller drove: a caller that waits again and again keeps the line, and
/// the thread's wakeups cost nothing beside that. A send that has to be left to it calls it back at once.
const LEASE: Duration = Duration::from_millis(2);

/// What is known about the I/O thread.
#[derive(Debug, Default)]
pub(crate) struct Thread {
    started: bool,
    pub(crate) is_driving: bool,
    /// It stays away for a moment.
    is_parked: bool,
    /// It stays away until it is called.
    pub(crate) sleeps_for_long: bool,
    is_needed: bool,
    pub(crate) must_end: bool,
}

/// 16 random bytes.
pub(crate) fn fresh_id() -> Result<[u8; 16]> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)
        .map_err(|why| Error::new(ErrorCode::Internal, format!("cannot make a client id: {why}")))?;
    Ok(id)
}

impl Link {
    /// One step of driving, by whoever set `driving`: waits for the line, the waker or the deadline, then does what has
    /// come up.
    pub(crate) fn step<'a>(self: &'a Arc<Self>, state: Guard<'a>, deadline: Option<Instant>) -> Guard<'a> {
        let Some(line) = state.line.clone() else { return self.step_without_line(state, deadline) };
        let writable = state.is_write_blocked;
        drop(state);
        let waited = connection::wait(Some(&line), writable, Some(&self.waker), deadline);
        let mut state = self.lock();
        match waited {
            Ok(()) => self.receive(&mut state),
            Err(why) => self.lose(&mut state, &format!("cannot wait for the orchestrator: {why}")),
        }
        state
    }

    fn step_without_line<'a>(self: &'a Arc<Self>, state: Guard<'a>, deadline: Option<Instant>) -> Guard<'a> {
        let now = Instant::now();
        if state.dead.is_some() || now < state.retry_at {
            let until = if state.dead.is_some() { deadline } else { earlier(deadline, state.retry_at) };
            drop(state);
            // A wait that fails is not worth more than a pause.
            if connection::wait(None, false, Some(&self.waker), until).is_err() {
                std::thread::sleep(FIRST_BACKOFF);
            }
            return self.lock();
        }
        let id = state.client_id;
        drop(state);
        let left =
            deadline.map_or(self.options.timeout, |at| at.saturating_duration_since(now).min(self.options.timeout));
        let opened = connection::open(&self.options, &id, left);
        let mut state = self.lock();
        match opened {
            Ok(_) if state.dead.is_some() => {}
            Ok(connection) => self.install(&mut state, connection),
            Err(OpenError::Unreachable(_)) => state.back_off(),
            Err(OpenError::Refused(error)) => self.refused(&mut state, error),
        }
        state
    }

    fn refused(&self, state: &mut State, error: Error) {
        match error.code() {
            ErrorCode::Expired => {
                let mut events = Vec::new();
                state.session.expired(&mut events);
                events.into_iter().for_each(|event| self.apply(state, event));
                match fresh_id() {
                    Ok(id) => state.client_id = id,
                    Err(_) => state.back_off(), // The next attempt is refused again and comes back here.
                }
                self.settle(state);
            }
            ErrorCode::Unauthorized | ErrorCode::Unsupported | ErrorCode::Replaced | ErrorCode::Fenced => {
                let event = state.session.end(error);
                self.apply(state, event);
                self.settle(state);
            }
            _ => state.back_off(),
        }
    }

    /// A connection stands: take it over.
    pub(crate) fn install(&self, state: &mut State, connection: Connection) {
        let Connection { line, decoder, welcome } = connection;
        state.about = About {
            internal_name: welcome.internal_name.clone(),
            run: welcome.run.clone(),
            max_record: usize::try_from(welcome.max_record).unwrap_or(usize::MAX),
        };
        state.decoder = decoder;
        #[cfg(unix)]
        self.descriptor.store(line.number(), std::sync::atomic::Ordering::Release);
        state.line = Some(Arc::new(line));
        let mut events = Vec::new();
        state.session.welcomed(&welcome, &mut events);
        events.into_iter().for_each(|event| self.apply(state, event));
        if state.watching && !state.stopped {
            // What the last connection was asked died with it.
            let _ = self.ask(state, request::Kind::WatchStop(v1::WatchStop {}), Asker::Nobody);
        }
        // Together with the handshake a message may have come.
        self.receive(state);
    }

    /// Reads and handles what has come, without waiting, and writes what has gathered meanwhile.
    pub(crate) fn receive(&self, state: &mut State) {
        let Some(line) = state.line.clone() else { return };
        match connection::read(&line, &mut state.decoder) {
            Ok(0) => return self.lose(state, "the orchestrator has closed the connection"),
            Ok(_) => {}
            Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(why) => return self.lose(state, &format!("cannot read from the orchestrator: {why}")),
        }
        if let Err(error) = self.handle_messages(state) {
            self.lose(state, error.message());
        }
        self.settle(state);
        self.write(state);
    }

    fn handle_messages(&self, state: &mut State) -> Result<()> {
        let mut events = Vec::new();
        while let Some(message) = connection::next_message(&mut state.decoder)? {
            state.backoff = FIRST_BACKOFF;
            if let Some(kind) = message {
                let received = state.session.receive(kind, &mut events);
                events.drain(..).for_each(|event| self.apply(state, event));
                received?;
            }
            if state.line.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// As [`Self::write`], unless the line has no room: then whoever drives waits for some.
    pub(crate) fn write_if_idle(&self, state: &mut State) {
        if !state.is_write_blocked {
            self.write(state);
        }
    }

    /// Writes everything that may go, as far as there is room.
    pub(crate) fn write(&self, state: &mut State) {
        let Some(line) = state.line.clone() else { return };
        let was_blocked = std::mem::replace(&mut state.is_write_blocked, false);
        while let Some(bytes) = state.session.unwritten().filter(|bytes| !bytes.is_empty()) {
            match line.write(bytes) {
                Ok(count) => state.session.wrote(count),
                Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => {
                    state.is_write_blocked = true;
                    if state.driving && !was_blocked {
                        self.waker.wake(); // So that the driver waits for room, too.
                    }
                    return;
                }
                Err(_) => return self.read_last_words(state),
            }
        }
    }

    /// Nothing can be written any more; why may still be there to be read.
    fn read_last_words(&self, state: &mut State) {
        while let Some(line) = state.line.clone() {
            match connection::read(&line, &mut state.decoder) {
                Ok(count) if count > 0 && self.handle_messages(state).is_ok() => {}
                Ok(_) | Err(_) => self.lose(state, "the orchestrator has closed the connection"),
            }
        }
        self.settle(state);
    }

    /// The line is gone. Sends will go again; what was asked and not answered fails.
    fn lose(&self, state: &mut State, why: &str) {
        if state.line.is_none() {
            return;
        }
        self.descriptor.store(-1, std::sync::atomic::Ordering::Release);
        state.line = None;
        state.is_write_blocked = false;
        let kept = state.session.disconnected();
        let mut lost: Vec<u64> = state.askers.keys().copied().filter(|id| !kept.contains(id)).collect();
        lost.sort_unstable();
        let error = Error::new(ErrorCode::Closed, format!("cannot get an answer: {why}"));
        lost.into_iter().for_each(|id| state.answer(id, Err(error.clone())));
        state.back_off();
        if state.driving {
            self.waker.wake();
        }
        self.settle(state);
    }

    /// What the session says has happened.
    pub(crate) fn apply(&self, state: &mut State, event: Event) {
        match event {
            Event::Taken { first, last, first_seq } => {
                while let Some((number, waiter)) = state.waiter_up_to(last) {
                    state.tell(number, waiter, Ok(first_seq + number.saturating_sub(first)));
                }
            }
            Event::Unplaced { first, last, forgotten } => state.unplaced(first, last, forgotten),
            Event::Failed { number, error } => match state.waiters.remove(&number) {
                Some(waiter) => state.tell(number, waiter, Err(error)),
                None => state.session.latch(error),
            },
            Event::AllFailed(error) => {
                while let Some((number, waiter)) = state.waiter_up_to(u64::MAX) {
                    state.tell(number, waiter, Err(error.clone()));
                }
            }
            Event::Stop => {
                state.stopped = true;
                state.stop_callbacks();
                self.stop_flag.store(true, std::sync::atomic::Ordering::Release);
            }
            Event::Response(response) => {
                let answer = match response.kind {
                    Some(response::Kind::Error(error)) => Err(Error::from_wire(error)),
                    Some(kind) => Ok(kind),
                    None => Err(Error::new(ErrorCode::Unsupported, "cannot read the answer: it is of a newer kind")),
                };
                state.answer(response.id, answer);
            }
            Event::Drop(error) => self.lose(state, error.message()),
            Event::Final(error) => {
                self.lose(state, error.message());
                state.dead = Some(error.clone());
                self.apply(state, Event::AllFailed(error.clone()));
                let ids: Vec<u64> = state.askers.keys().copied().collect();
                ids.into_iter().for_each(|id| state.answer(id, Err(error.clone())));
                self.settle(state);
            }
        }
    }

    /// Finds the callbacks that are due, and wakes the callers that wait.
    fn settle(&self, state: &mut State) {
        state.settle_callbacks();
        self.notify_waiting(state);
    }

    // ---- the thread ----

    /// From here on the I/O thread answers for what is under way.
    pub(crate) fn leave_to_io(self: &Arc<Self>, state: &mut State) {
        if !state.io.started {
            let link = Arc::clone(self);
            let thread = std::thread::Builder::new().name("copo-io".into());
            // Without a thread the next call that waits does its work; try again then.
            state.io.started = thread.spawn(move || link.run()).is_ok();
            state.io.is_needed = true;
        } else if state.io.is_parked && !state.driving && !state.io.is_needed && state.session.has_unwritten() {
            state.io.is_needed = true;
            self.io_wake.notify_one();
        }
    }

    fn run(self: Arc<Self>) {
        let mut state = self.lock();
        let mut seen = u64::MAX;
        while !state.io.must_end {
            let stays_away = state.driving || state.waiting > 0 || (state.turns != seen && !state.io.is_needed);
            if stays_away {
                let is_long = state.driving && state.turns == seen;
                seen = state.turns;
                state = self.park(state, is_long);
                continue;
            }
            state.io.is_needed = false;
            (state.driving, state.io.is_driving) = (true, true);
            state = self.step(state, None);
            (state.driving, state.io.is_driving) = (false, false);
            self.notify_waiting(&state);
            state = self.run_due(state);
        }
    }

    fn park<'a>(&self, mut state: Guard<'a>, is_long: bool) -> Guard<'a> {
        state.io.is_parked = true;
        if is_long {
            state.io.sleeps_for_long = true;
            state = self.io_wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.io.sleeps_for_long = false;
        } else {
            state = self.io_wake.wait_timeout(state, LEASE).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.io.is_parked = false;
        state
    }
}

impl State {
    fn back_off(&mut self) {
        self.retry_at = Instant::now() + self.backoff;
        self.backoff = (self.backoff * 2).min(LAST_BACKOFF);
    }
}

fn earlier(deadline: Option<Instant>, at: Instant) -> Option<Instant> {
    Some(deadline.map_or(at, |deadline| deadline.min(at)))
}

//! Driving the line: whose turn it is, how it waits, and the one I/O thread, which drives while no caller does. It is
//! started with the first send that nobody waits for, and takes the line up again a moment after callers have stopped.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::FIRST_BACKOFF;
use crate::connection::{self, OpenError};
use crate::link::{Guard, Link, State};

/// How long the I/O thread stays away after a caller drove: a caller that waits again and again keeps the line, and
/// the thread's wakeups cost nothing beside that. A send that has to be left to it calls it back at once.
const LEASE: Duration = Duration::from_millis(2);
/// The same after a caller that sends without a pause, and what the last of its sends wait at most if it does pause: they
/// have gathered while their forerunners were on the way, and it would have taken the acknowledgement itself.
const STREAM_LEASE: Duration = Duration::from_micros(300);
/// For how many of these it leaves one wait of such a caller alone, before it sleeps until that is over.
const LEASES_OF_A_WAIT: u32 = 8;
/// What a driver that waits inside a read takes at once: some dozen acknowledgements.
#[cfg(target_os = "linux")]
const SMALL_READ: usize = 1024;

/// What is known about the I/O thread.
#[derive(Debug, Default)]
pub(crate) struct Thread {
    started: bool,
    pub(crate) is_driving: bool,
    /// It waits for the line. While it does, whoever wants to may take the driver's place from it.
    pub(super) is_waiting: bool,
    /// It stays away for a caller that sends without a pause.
    pub(super) is_for_stream: bool,
    /// It stays away for a moment.
    is_parked: bool,
    /// It stays away until it is called.
    pub(crate) sleeps_for_long: bool,
    pub(crate) must_end: bool,
}

impl Link {
    /// Makes the present thread the driver, if there is none or the I/O thread only waits.
    pub(crate) fn take_seat(&self, state: &mut State) -> bool {
        if state.driving && !(state.io.is_driving && state.io.is_waiting) {
            return false;
        }
        (state.driving, state.io.is_driving) = (true, false);
        self.turns.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// A caller's turn is over.
    pub(crate) fn leave_seat(&self, state: &mut State) {
        state.driving = false;
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.notify_waiting(state);
    }

    /// One step of driving, by whoever set `driving`: waits for the line, the waker or the deadline, then does what has
    /// come up.
    pub(crate) fn step<'a>(self: &'a Arc<Self>, mut state: Guard<'a>, deadline: Option<Instant>) -> Guard<'a> {
        let Some(line) = state.line.clone() else { return self.step_without_line(state, deadline) };
        let writable = state.is_write_blocked;
        state.in_poll += 1;
        drop(state);
        let waited = connection::wait(Some(&line), writable, Some(&self.waker), deadline);
        let mut state = self.lock();
        state.in_poll -= 1;
        self.after_wait(&mut state, waited);
        state
    }

    fn after_wait(&self, state: &mut State, waited: std::io::Result<bool>) {
        match waited {
            Ok(_) => self.receive(state),
            Err(why) => self.lose(state, &format!("cannot wait for the orchestrator: {why}")),
        }
    }

    /// As [`Self::step`], by the I/O thread. When a caller has taken its place meanwhile, it does nothing.
    fn step_as_io<'a>(self: &'a Arc<Self>, mut state: Guard<'a>) -> Guard<'a> {
        let Some(line) = state.line.clone() else { return self.step_without_line(state, None) };
        let writable = state.is_write_blocked;
        state.io.is_waiting = true;
        state.in_poll += 1;
        drop(state);
        let waited = connection::wait(Some(&line), writable, Some(&self.waker), None);
        let mut state = self.lock();
        state.io.is_waiting = false;
        state.in_poll -= 1;
        if state.io.is_driving {
            self.after_wait(&mut state, waited);
        } else if state.driving && matches!(waited, Ok(true)) {
            self.waker.wake(); // It was for the one that drives now.
        }
        state
    }

    /// As [`Self::step`], but waits inside the read where the platform has one that can be broken off.
    #[cfg(target_os = "linux")]
    pub(crate) fn step_by_read<'a>(self: &'a Arc<Self>, mut state: Guard<'a>, deadline: Option<Instant>) -> Guard<'a> {
        let Some(line) = state.line.clone().filter(|_| !state.is_write_blocked) else {
            return self.step(state, deadline);
        };
        state.reads_outside = true;
        drop(state);
        let mut buffer = [0; SMALL_READ];
        let read = line.read_waiting(&mut buffer, deadline);
        let mut state = self.lock();
        state.reads_outside = false;
        // Lost meanwhile: what came is of no more use.
        if state.line.as_ref().is_some_and(|now| Arc::ptr_eq(now, &line)) {
            self.digest(&mut state, read, &buffer);
            self.write(&mut state);
        }
        state
    }

    /// A read here could not be broken off.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn step_by_read<'a>(self: &'a Arc<Self>, state: Guard<'a>, deadline: Option<Instant>) -> Guard<'a> {
        self.step(state, deadline)
    }

    fn step_without_line<'a>(self: &'a Arc<Self>, mut state: Guard<'a>, deadline: Option<Instant>) -> Guard<'a> {
        let now = Instant::now();
        if state.dead.is_some() || now < state.retry_at {
            let until = if state.dead.is_some() { deadline } else { earlier(deadline, state.retry_at) };
            state.in_poll += 1;
            drop(state);
            // A wait that fails is not worth more than a pause.
            if connection::wait(None, false, Some(&self.waker), until).is_err() {
                std::thread::sleep(FIRST_BACKOFF);
            }
            let mut state = self.lock();
            state.in_poll -= 1;
            return state;
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

    /// From here on the I/O thread answers for what is under way.
    pub(crate) fn leave_to_io(self: &Arc<Self>, state: &mut State) {
        if !state.io.started {
            let link = Arc::clone(self);
            let thread = std::thread::Builder::new().name("copo-io".into());
            // Without a thread the next call that waits does its work; try again then.
            state.io.started = thread.spawn(move || link.run()).is_ok();
            self.is_io_needed.store(true, Ordering::Relaxed);
        } else if !self.is_attended(state) && state.session.has_unwritten() {
            self.is_io_needed.store(true, Ordering::Relaxed);
            self.io_wake.notify_one();
        }
    }

    /// Will somebody look at the line without being called?
    pub(crate) fn is_attended(&self, state: &State) -> bool {
        let is_away = state.io.is_parked && !state.io.is_for_stream && !self.is_io_needed.load(Ordering::Relaxed);
        state.io.started && (state.driving || !is_away)
    }

    /// As [`Self::leave_to_io`], for what does not wait until callers have been away for a moment.
    pub(crate) fn call_io(self: &Arc<Self>, state: &mut State) {
        if state.io.started && !state.driving {
            self.is_io_needed.store(true, Ordering::Relaxed);
            if state.io.is_waiting { self.waker.wake() } else { self.io_wake.notify_one() }
        } else {
            self.leave_to_io(state);
        }
    }

    fn run(self: Arc<Self>) {
        let mut state = self.lock();
        let mut seen = u64::MAX;
        while !state.io.must_end {
            let turns = self.turns.load(Ordering::Relaxed);
            let is_needed = self.is_io_needed.load(Ordering::Relaxed);
            if state.driving || state.waiting > 0 || (turns != seen && !is_needed) {
                let is_long = state.driving && turns == seen;
                seen = turns;
                state = self.park(state, is_long, &mut seen);
                continue;
            }
            self.is_io_needed.store(false, Ordering::Relaxed);
            state.io.is_for_stream = false;
            (state.driving, state.io.is_driving) = (true, true);
            state = self.step_as_io(state);
            if state.io.is_driving {
                (state.driving, state.io.is_driving) = (false, false);
                self.notify_waiting(&state);
                state = self.run_due(state);
            }
        }
    }

    fn park<'a>(&'a self, mut state: Guard<'a>, is_long: bool, seen: &mut u64) -> Guard<'a> {
        state.io.is_parked = true;
        if is_long {
            state.io.sleeps_for_long = true;
            state = state.wait(&self.io_wake);
            state.io.sleeps_for_long = false;
        } else if state.io.is_for_stream {
            // While the stream goes on, or waits for room and drives, it needs not even be stopped for a look at the state.
            let mut leases = 0;
            state = state.wait_lease(&self.io_wake, STREAM_LEASE, || {
                let turns = self.turns.load(Ordering::Relaxed);
                leases = if std::mem::replace(seen, turns) == turns { leases + 1 } else { 0 };
                let goes_on = leases == 0 || (turns % 2 == 1 && leases < LEASES_OF_A_WAIT);
                goes_on && !self.is_io_needed.load(Ordering::Relaxed)
            });
        } else {
            state = state.wait_timeout(&self.io_wake, LEASE);
        }
        state.io.is_parked = false;
        state
    }
}

fn earlier(deadline: Option<Instant>, at: Instant) -> Option<Instant> {
    Some(deadline.map_or(at, |deadline| deadline.min(at)))
}

//! Waiting: a caller that waits drives the line itself if nobody else does; and what is due when the lock is let go.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use copo_proto::v1::ErrorCode;

use super::{Guard, Link, State, closed, stopping};
use crate::error::{Error, Result};

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Acknowledgements of what is in the window: they come, or a refusal does. A stop request ends the waiting.
    Acks,
    /// The same, whether a stop is requested or not.
    LastAcks,
    /// What may not come for long. A stop request ends the waiting.
    Anything,
    /// A stop request.
    Stop,
}

impl Wait {
    fn ends_at_stop(self) -> bool {
        matches!(self, Self::Acks | Self::Anything)
    }

    /// May the driver wait inside a read? There it cannot be called upon to write what others have left, so something
    /// must be sure to come.
    fn is_sure_to_end(self) -> bool {
        matches!(self, Self::Acks | Self::LastAcks)
    }
}

impl Link {
    /// Waits until `ready` says so, driving the line meanwhile if nobody else does. Callbacks are run on the way.
    pub(crate) fn wait_for<'a, T>(
        self: &'a Arc<Self>,
        state: Guard<'a>,
        deadline: Option<Instant>,
        wait: Wait,
        ready: impl FnMut(&mut State) -> Option<Result<T>>,
    ) -> (Guard<'a>, Result<T>) {
        let (mut state, done) = self.wait_until(state, deadline, wait, ready);
        self.leave_blocked_to_io(&mut state);
        (state, done)
    }

    /// What found no room is nobody else's any more.
    pub(super) fn leave_blocked_to_io(self: &Arc<Self>, state: &mut State) {
        if state.is_write_blocked {
            self.call_io(state);
        }
    }

    /// As [`Self::wait_for`], for who goes on to send: then what found no room is still the caller's.
    pub(super) fn wait_until<'a, T>(
        self: &'a Arc<Self>,
        mut state: Guard<'a>,
        deadline: Option<Instant>,
        wait: Wait,
        mut ready: impl FnMut(&mut State) -> Option<Result<T>>,
    ) -> (Guard<'a>, Result<T>) {
        let was_stopped = state.stopped;
        self.write_if_idle(&mut state);
        loop {
            if let Some(done) = ready(&mut state) {
                return (state, done);
            }
            if wait.ends_at_stop() && state.stopped && !was_stopped {
                return (state, Err(stopping()));
            }
            if let Some(dead) = state.dead.clone() {
                return (state, Err(dead));
            }
            if deadline.is_some_and(|at| at <= Instant::now()) {
                self.leave_to_io(&mut state);
                return (state, Err(Error::new(ErrorCode::TimedOut, "cannot wait any longer: the time given is over")));
            }
            state = if self.take_seat(&mut state) {
                self.drive(state, deadline, wait)
            } else {
                self.wait_for_driver(state, deadline)
            };
        }
    }

    /// One turn at driving.
    fn drive<'a>(self: &'a Arc<Self>, mut state: Guard<'a>, deadline: Option<Instant>, wait: Wait) -> Guard<'a> {
        let reads = wait.is_sure_to_end() && state.session.is_in_flight();
        state = if reads { self.step_by_read(state, deadline) } else { self.step(state, deadline) };
        self.leave_seat(&mut state);
        if state.io.sleeps_for_long {
            self.io_wake.notify_one();
        }
        self.run_due(state)
    }

    fn wait_for_driver<'a>(&self, mut state: Guard<'a>, deadline: Option<Instant>) -> Guard<'a> {
        state.waiting += 1;
        if state.io.is_driving {
            // It makes way: to be woken by it for every answer would cost one wakeup more than reading oneself.
            self.waker.wake();
        }
        state = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
            Some(left) => state.wait_timeout(&self.changed, left),
            None => state.wait(&self.changed),
        };
        state.waiting -= 1;
        state
    }

    pub(crate) fn notify_waiting(&self, state: &State) {
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }

    /// Lets go of the lock and runs what is due.
    pub(crate) fn release(&self, state: Guard<'_>) {
        if state.due.is_empty() { drop(state) } else { drop(self.run_due(state)) }
    }

    /// Runs the callbacks that are due, without the lock: they may call anything of this client.
    pub(crate) fn run_due<'a>(&'a self, mut state: Guard<'a>) -> Guard<'a> {
        while !state.due.is_empty() {
            let due = std::mem::take(&mut state.due);
            drop(state);
            for call in due {
                // The panic of a callback is its author's; it has been printed and must not end our thread.
                let _ = catch_unwind(AssertUnwindSafe(call));
            }
            state = self.lock();
        }
        state
    }

    /// Was it shut?
    pub(crate) fn is_shut(&self) -> bool {
        self.lock().io.must_end
    }

    /// Ends this link: nothing goes any more, whoever waits gets CLOSED.
    pub(crate) fn shut(&self) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.io.must_end, true) {
            let error = closed();
            let event = state.session.end(error);
            self.apply(&mut state, event);
            self.is_io_needed.store(true, Ordering::Relaxed);
            self.waker.wake();
            self.io_wake.notify_all();
            self.changed.notify_all();
        }
        self.release(state);
    }
}

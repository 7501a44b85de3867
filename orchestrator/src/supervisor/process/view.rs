//! What others see of an instance.

use super::*;

impl Slot {
    /// The live run.
    pub fn run(&self) -> Option<&Run> {
        match &self.state {
            State::Live(run) => Some(run),
            State::Idle
            | State::Waiting(_)
            | State::Backoff { .. }
            | State::Stopped
            | State::Finished
            | State::Failed => None,
        }
    }

    /// Nothing runs and nothing is about to.
    pub fn is_at_rest(&self) -> bool {
        match &self.state {
            State::Idle | State::Stopped | State::Finished | State::Failed => true,
            State::Waiting(_) | State::Live(_) | State::Backoff { .. } => false,
        }
    }

    /// A run is queued already.
    pub fn has_queued(&self) -> bool {
        self.queued.is_some()
    }

    /// What is queued, when its turn has come.
    pub fn take_queued(&mut self) -> Option<Order> {
        if self.is_at_rest() { self.queued.take() } else { None }
    }

    /// Its program runs, and nobody has asked it to stop.
    pub fn is_started(&self) -> bool {
        self.run().is_some_and(|run| matches!(run.phase, Phase::Starting | Phase::Running))
    }

    /// It is started and ready.
    pub fn is_ready(&self) -> bool {
        self.run().is_some_and(|run| run.phase == Phase::Running && run.watch.lost.is_none())
    }

    /// Why its run is not ready, as far as that is known.
    pub fn why_not_ready(&self) -> Option<&str> {
        self.run().filter(|_| self.is_started() && !self.is_ready()).and_then(|run| run.watch.why_not_ready())
    }

    /// Why it has failed, if it has.
    pub fn why_failed(&self) -> Option<&str> {
        match self.state {
            State::Failed => self.failure.as_deref(),
            State::Idle
            | State::Waiting(_)
            | State::Live(_)
            | State::Backoff { .. }
            | State::Stopped
            | State::Finished => None,
        }
    }

    /// The state as people see it.
    pub fn shown(&self) -> v1::State {
        match &self.state {
            State::Idle => v1::State::Idle,
            State::Waiting(_) => v1::State::Waiting,
            State::Backoff { .. } => v1::State::Backoff,
            State::Stopped => v1::State::Stopped,
            State::Finished => v1::State::Finished,
            State::Failed => v1::State::Failed,
            State::Live(run) => match run.phase {
                Phase::Spawning if run.stop_later.is_some() => v1::State::Stopping,
                Phase::Spawning | Phase::Starting => v1::State::Starting,
                Phase::Running => v1::State::Running,
                Phase::Stopping | Phase::Draining | Phase::Reaping => v1::State::Stopping,
            },
        }
    }

    /// What others may depend on.
    pub(super) fn face(&self) -> (v1::State, bool, bool, Option<Finish>) {
        (self.shown(), self.is_started(), self.is_ready(), self.last_finish)
    }
}

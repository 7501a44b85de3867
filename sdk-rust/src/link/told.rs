//! Who is told what: room, acknowledgements, answers and errors find whoever waits for them. Callbacks become due; they
//! are called once the lock is let go.

use copo_proto::v1::{ErrorCode, response};

use super::{Asker, Call, State, Waiter, stopping};
use crate::error::{Error, Result};
use crate::session::Body;

impl State {
    /// Room for `body`, or why there will be none; `None`: not yet.
    pub(super) fn room(&mut self, body: &Body<'_>) -> Option<Result<()>> {
        match self.session.take_error() {
            Err(error) => Some(Err(error)),
            Ok(()) if self.session.has_room(body) => Some(Ok(())),
            Ok(()) => self.session.refused().map(|error| Err(error.clone())),
        }
    }

    /// As [`Self::room`], for who has waited already.
    pub(super) fn ample_room(&mut self, body: &Body<'_>) -> Option<Result<()>> {
        match self.session.take_error() {
            Err(error) => Some(Err(error)),
            Ok(()) if self.session.has_ample_room(body) => Some(Ok(())),
            Ok(()) => self.session.refused().map(|error| Err(error.clone())),
        }
    }

    /// Are all sends up to `last` acknowledged? `None`: not yet.
    pub(crate) fn flushed(&mut self, last: u64) -> Option<Result<()>> {
        match self.session.take_error() {
            Err(error) => Some(Err(error)),
            Ok(()) if self.session.acked() >= last => Some(Ok(())),
            Ok(()) => self.session.refused().map(|error| Err(error.clone())),
        }
    }

    pub(crate) fn waiter_up_to(&mut self, last: u64) -> Option<(u64, Waiter)> {
        let entry = self.waiters.first_entry().filter(|entry| *entry.key() <= last)?;
        Some(entry.remove_entry())
    }

    pub(crate) fn tell(&mut self, number: u64, waiter: Waiter, seq: Result<u64>) {
        match waiter {
            Waiter::Caller => {
                self.seqs.insert(number, seq);
            }
            Waiter::Callback(f) => self.due.push(Box::new(move || f(seq))),
        }
    }

    pub(crate) fn unplaced(&mut self, first: u64, last: u64, forgotten: bool) {
        let error = if forgotten {
            Error::new(
                ErrorCode::Internal,
                "cannot tell the record's Seq: the acknowledgement was lost, and the orchestrator no longer knows it",
            )
        } else {
            Error::new(ErrorCode::Conflict, "cannot append the record: the newest one of its key is another")
        };
        let mut told = 0;
        while let Some((number, waiter)) = self.waiter_up_to(last) {
            told += 1;
            self.tell(number, waiter, Err(error.clone()));
        }
        if !forgotten && told <= last - first {
            self.session.latch(error);
        }
    }

    pub(crate) fn answer(&mut self, id: u64, answer: Result<response::Kind>) {
        match self.askers.remove(&id) {
            Some(Asker::Caller) => {
                self.askers.insert(id, Asker::Answered(answer));
            }
            Some(Asker::Callback(f)) => self.due.push(Box::new(move || f(answer))),
            Some(answered @ Asker::Answered(_)) => {
                self.askers.insert(id, answered); // Its caller has not looked yet.
            }
            Some(Asker::Nobody) | None => {}
        }
    }

    pub(crate) fn settle_callbacks(&mut self) {
        while !self.on_window.is_empty() {
            let Some(result) = self.any_room() else { break };
            let f = self.on_window.remove(0);
            self.due.push(Box::new(move || f(result)));
        }
        let mut still = Vec::new();
        for (last, f) in std::mem::take(&mut self.on_flushed) {
            match self.flushed(last) {
                Some(result) => self.due.push(Box::new(move || f(result))),
                None => still.push((last, f)),
            }
        }
        self.on_flushed = still;
    }

    fn any_room(&mut self) -> Option<Result<()>> {
        match self.session.take_error() {
            Err(error) => Some(Err(error)),
            Ok(()) if self.session.has_any_room() => Some(Ok(())),
            Ok(()) => self.session.refused().map(|error| Err(error.clone())),
        }
    }

    /// The run is asked to stop: what waits now gets STOPPING, as a blocked call does. What is begun later waits as
    /// ever, so that a run can still send its last records.
    pub(crate) fn stop_callbacks(&mut self) {
        self.due.extend(self.on_stop.drain(..).map(|f| -> Call { f }));
        let waiting = self.on_window.drain(..).chain(self.on_flushed.drain(..).map(|(_, f)| f));
        self.due.extend(waiting.map(|f| -> Call { Box::new(move || f(Err(stopping()))) }));
    }
}

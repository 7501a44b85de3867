//! Sends: into the window, and out of it as far as the line takes them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use copo_proto::v1::ErrorCode;

use super::{Guard, Link, Patience, Wait, Waiter};
use crate::error::{Error, Result};
use crate::session::{Body, CHUNK, Due};

impl Link {
    /// Numbers and sends; returns the number. The waiter is called, if at all, only after this returned Ok.
    pub(crate) fn send(self: &Arc<Self>, body: &Body<'_>, patience: Patience, waiter: Option<Waiter>) -> Result<u64> {
        self.send_under(self.lock(), body, patience, waiter)
    }

    /// Sends a record that nobody waits for: mostly nothing has to be seen to, and often not even the mutex is needed.
    #[inline]
    pub(crate) fn send_plain(self: &Arc<Self>, key: &str, data: &[u8], patience: Patience) -> Result<()> {
        if self.state.enter().is_some_and(|mut inside| inside.state().session.push_quick(key, data)) {
            return Ok(());
        }
        self.send_plain_under_lock(key, data, patience)
    }

    fn send_plain_under_lock(self: &Arc<Self>, key: &str, data: &[u8], patience: Patience) -> Result<()> {
        let mut state = self.state.lock_to_send();
        if state.session.push_quick(key, data) {
            state.count_send();
            return Ok(());
        }
        state.session.disarm();
        self.send_under(state, &Body::Udd { key, data, expect_seq: None }, patience, None).map(drop)
    }

    fn send_under<'a>(
        self: &'a Arc<Self>,
        mut state: Guard<'a>,
        body: &Body<'_>,
        patience: Patience,
        waiter: Option<Waiter>,
    ) -> Result<u64> {
        state.session.check(body)?;
        match state.room(body) {
            Some(room) => room?,
            None => state = self.wait_for_room(state, body, patience)?,
        }
        let number = state.session.push(body);
        let is_waited_for = matches!(waiter, Some(Waiter::Caller));
        if let Some(waiter) = waiter {
            state.waiters.insert(number, waiter);
        }
        match state.session.should_write() {
            Due::No => {}
            Due::Idle => self.write_if_idle(&mut state),
            Due::Chunk => self.write_chunk(&mut state),
        }
        if !is_waited_for {
            self.leave_to_io(&mut state);
            if state.due.is_empty() && self.is_attended(&state) {
                let until = if state.is_write_blocked { state.next_try } else { CHUNK };
                state.session.arm(until);
            }
            state.count_send();
        }
        self.release(state);
        Ok(number)
    }

    fn wait_for_room<'a>(
        self: &'a Arc<Self>,
        mut state: Guard<'a>,
        body: &Body<'_>,
        patience: Patience,
    ) -> Result<Guard<'a>> {
        // Whatever fills the window must be on its way, or no room would ever come.
        self.write_if_idle(&mut state);
        match patience {
            Patience::None => {
                self.leave_to_io(&mut state);
                self.release(state);
                Err(Error::new(ErrorCode::WouldBlock, "cannot send now: the window of unacknowledged sends is full"))
            }
            Patience::Until(deadline) => {
                let (mut state, room) = self.wait_until(state, deadline, Wait::Acks, |state| state.ample_room(body));
                match room {
                    Ok(()) => Ok(state),
                    Err(error) => {
                        self.leave_blocked_to_io(&mut state);
                        self.release(state);
                        Err(error)
                    }
                }
            }
        }
    }

    /// Sends and waits for the Seq.
    pub(crate) fn send_sync(self: &Arc<Self>, body: &Body<'_>, timeout: Option<Duration>) -> Result<u64> {
        let patience = Patience::of(timeout);
        let number = self.send(body, patience, Some(Waiter::Caller))?;
        let Patience::Until(deadline) = patience else { unreachable!("made by `of`") };
        let (mut state, seq) =
            self.wait_for(self.lock(), deadline, Wait::Acks, |state| match state.seqs.remove(&number) {
                Some(seq) => Some(seq),
                // Held back for now: the caller is told, and the record goes when there is room.
                None => state.session.refused().map(|error| Err(error.clone())),
            });
        state.waiters.remove(&number);
        self.release(state);
        seq
    }

    /// Waits until everything sent so far is acknowledged.
    pub(crate) fn flush(self: &Arc<Self>, deadline: Option<Instant>, wait: Wait) -> Result<()> {
        let state = self.lock();
        let last = state.session.last();
        let (state, flushed) = self.wait_for(state, deadline, wait, |state| state.flushed(last));
        self.release(state);
        flushed
    }
}

//! Between wire and session: what is written when, what an arrived message changes, how a lost line is replaced.

mod drive;

use std::sync::Arc;
use std::time::{Duration, Instant};

use copo_proto::v1::{self, ErrorCode, request, response, server_message};

use crate::connection::{self, Connection};
use crate::error::{Error, Result};
use crate::link::{About, Asker, Link, State};
use crate::session::{CHUNK, Due, Event, Session};
pub(crate) use drive::Thread;

/// How long after a connection was lost the next one is tried; it doubles up to [`LAST_BACKOFF`].
pub(crate) const FIRST_BACKOFF: Duration = Duration::from_millis(10);
const LAST_BACKOFF: Duration = Duration::from_secs(1);
/// From here on a record is large.
const LARGE: usize = 128 * 1024;

/// 16 random bytes.
pub(crate) fn fresh_id() -> Result<[u8; 16]> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)
        .map_err(|why| Error::new(ErrorCode::Internal, format!("cannot make a client id: {why}")))?;
    Ok(id)
}

impl Link {
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
        let Connection { line, decoder, welcome, .. } = connection;
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
        self.read(state);
        self.write(state);
    }

    /// Reads and handles what has come, without waiting.
    fn read(&self, state: &mut State) {
        let Some(line) = state.line.clone() else { return };
        let read = connection::read(&line, &mut state.decoder);
        self.digest(state, read, &[]);
    }

    /// Handles what was read: it stands at the front of `outside`, or in the decoder already.
    fn digest(&self, state: &mut State, read: std::io::Result<usize>, outside: &[u8]) {
        match read {
            Ok(0) => return self.lose(state, "the orchestrator has closed the connection"),
            Ok(count) => state.decoder.buffer().extend_from_slice(outside.get(..count).unwrap_or_default()),
            Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(why) => return self.lose(state, &format!("cannot read from the orchestrator: {why}")),
        }
        if let Err(error) = self.handle_messages(state) {
            self.lose(state, error.message());
        }
        self.settle(state);
    }

    fn handle_messages(&self, state: &mut State) -> Result<()> {
        let mut events = Vec::new();
        while let Some(message) = connection::next_message(&mut state.decoder)? {
            if let Some(kind) = message {
                // What is refused again on every connection must not be tried again at once for ever.
                if !matches!(kind, server_message::Kind::SendFailed(_) | server_message::Kind::Error(_)) {
                    state.backoff = FIRST_BACKOFF;
                }
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

    /// Writes a chunk that has gathered, for a caller that sends without a pause, and takes the acknowledgements that
    /// have come: a thread woken for each of them would contend with the caller for the lock.
    pub(crate) fn write_chunk(&self, state: &mut State) {
        if state.is_write_blocked && state.session.unwritten_len() < state.next_try {
            return;
        }
        self.write_part(state, Session::unwritten_chunk);
        if self.take_seat(state) {
            state.io.is_for_stream = true;
            self.read(state);
            self.leave_seat(state);
        }
        if state.session.should_write() == Due::Idle {
            self.write_if_idle(state); // All has been acknowledged: nothing would come to take the rest along.
        }
        state.next_try = state.session.unwritten_len() + CHUNK;
    }

    /// Writes everything that may go, as far as there is room.
    pub(crate) fn write(&self, state: &mut State) {
        self.write_part(state, Session::unwritten);
    }

    /// Writes what `next` says goes next, again and again, as far as there is room.
    fn write_part(&self, state: &mut State, next: fn(&Session) -> Option<&[u8]>) {
        let Some(line) = state.line.clone() else { return };
        let was_blocked = std::mem::replace(&mut state.is_write_blocked, false);
        while let Some(bytes) = next(&state.session).filter(|bytes| !bytes.is_empty()) {
            if bytes.len() > LARGE {
                line.widen();
            }
            match line.write(bytes) {
                Ok(count) => state.session.wrote(count),
                Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => {
                    state.is_write_blocked = true;
                    if state.in_poll > 0 && !was_blocked {
                        self.waker.wake(); // So that who waits for the line waits for room, too.
                    }
                    return;
                }
                Err(_) => return self.read_last_words(state),
            }
        }
    }

    /// Nothing can be written any more; why may still be there to be read.
    fn read_last_words(&self, state: &mut State) {
        if state.reads_outside {
            return; // The driver is about to hear them.
        }
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
        #[cfg(target_os = "linux")]
        if let Some(line) = state.line.as_ref().filter(|_| state.reads_outside) {
            line.hang_up();
        }
        state.line = None;
        state.is_write_blocked = false;
        let kept = state.session.disconnected();
        let mut lost: Vec<u64> = state.askers.keys().copied().filter(|id| !kept.contains(id)).collect();
        lost.sort_unstable();
        let error = Error::new(ErrorCode::Closed, format!("cannot get an answer: {why}"));
        lost.into_iter().for_each(|id| state.answer(id, Err(error.clone())));
        state.back_off();
        if state.in_poll > 0 {
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
}

impl State {
    fn back_off(&mut self) {
        self.retry_at = Instant::now() + self.backoff;
        self.backoff = (self.backoff * 2).min(LAST_BACKOFF);
    }
}

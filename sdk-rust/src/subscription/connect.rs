//! How a subscription gets its connection, at first and again.

use std::time::{Duration, Instant};

use copo_proto::frame;
use copo_proto::v1::{self, ErrorCode, Request, request, response, server_message, subscribe};

use super::{LAST_BACKOFF, Subscription, cannot_wait, in_time};
use crate::connection::{self, OpenError, wait};
use crate::error::{Error, Result};
use crate::inbox::Inbox;
use crate::io::FIRST_BACKOFF;

/// For how long a first subscription waits for an orchestrator that is away: far longer than a restart takes.
const AWAY: Duration = Duration::from_secs(10);
/// A handshake gets at least so long, whatever timeout the caller has: or a caller that only polls would never get on.
const LEAST_HANDSHAKE: Duration = Duration::from_millis(250);

impl Subscription {
    pub(super) fn reconnect(&mut self, deadline: Option<Instant>) -> Result<()> {
        let now = Instant::now();
        if now < self.retry_at {
            in_time(deadline)?;
            let until = deadline.map_or(self.retry_at, |at| at.min(self.retry_at));
            return wait(None, false, Some(self.stop.waker()), Some(until)).map(drop).map_err(cannot_wait);
        }
        let left = deadline.map_or(self.options.timeout, |at| at.saturating_duration_since(now));
        match self.connect(left.clamp(LEAST_HANDSHAKE, self.options.timeout.max(LEAST_HANDSHAKE))) {
            Ok(subscribed) => {
                if self.cursor.is_none() {
                    self.log_id = subscribed.log_id;
                }
                Ok(())
            }
            Err(OpenError::Unreachable(_)) => self.lose(),
            Err(OpenError::Refused(error)) => {
                self.refuse(error);
                self.lose()
            }
        }
    }

    /// The first connection: the client has been connected before, so an orchestrator that is away is waited for.
    pub(super) fn connect_first(&mut self, timeout: Duration) -> std::result::Result<v1::Subscribed, OpenError> {
        let until = Instant::now() + AWAY;
        loop {
            match self.connect(timeout) {
                Err(OpenError::Unreachable(_)) if self.reconnects && Instant::now() < until => {
                    std::thread::sleep(self.backoff);
                    self.backoff = (self.backoff * 2).min(LAST_BACKOFF);
                }
                Ok(subscribed) => return Ok(subscribed),
                Err(error) => return Err(error),
            }
        }
    }

    fn connect(&mut self, timeout: Duration) -> std::result::Result<v1::Subscribed, OpenError> {
        let deadline = Instant::now() + timeout;
        let connection = connection::open(&self.options, &[], timeout)?;
        let (line, mut decoder, max_frame) = (connection.line, connection.decoder, connection.max_frame);
        let request = Request { id: 1, kind: Some(request::Kind::Subscribe(self.request_from_here())) };
        let lost = |why| {
            let message = format!("cannot subscribe: the orchestrator does not answer: {why}");
            OpenError::Unreachable(Error::new(ErrorCode::NoOrchestrator, message))
        };
        connection::write_all(&line, &frame::to_vec(&request), deadline).map_err(lost)?;
        loop {
            match connection::read_message(&line, &mut decoder, deadline).map_err(lost)? {
                Some(server_message::Kind::Response(v1::Response { kind: Some(kind), .. })) => match kind {
                    response::Kind::Subscribed(subscribed) => {
                        // Together with the answer the first records may have come.
                        self.hold(Some(line));
                        self.inbox = Inbox::new(max_frame, decoder.buffer());
                        self.is_drained = false;
                        self.backoff = FIRST_BACKOFF;
                        return Ok(subscribed);
                    }
                    response::Kind::Error(error) => return Err(OpenError::Refused(Error::from_wire(error))),
                    other => return Err(lost(std::io::Error::other(format!("{other:?}")))),
                },
                Some(server_message::Kind::Error(error)) => return Err(OpenError::Refused(Error::from_wire(error))),
                Some(server_message::Kind::End(end)) => return Err(OpenError::Refused(self.end(end.code))),
                _ => {}
            }
        }
    }

    /// What to ask for: the first time as the caller said, later from where we are.
    fn request_from_here(&self) -> v1::Subscribe {
        let mut request = self.request.clone();
        if let Some(seq) = self.cursor {
            request.from = Some(subscribe::From::Seq(seq));
            request.log_id = self.log_id.clone();
        }
        request
    }

    /// Fixes what "now" means, so that a reconnect does not move it.
    pub(super) fn begin(&mut self, subscribed: &v1::Subscribed) {
        self.log_id = subscribed.log_id.clone();
        self.head = subscribed.head;
        let is_same_log = self.request.log_id.is_empty() || self.request.log_id == subscribed.log_id;
        self.cursor = match self.request.from {
            Some(subscribe::From::Seq(seq)) if is_same_log => Some(seq),
            Some(subscribe::From::New(_)) | None => Some(subscribed.head + 1),
            Some(subscribe::From::Seq(_) | subscribe::From::First(_) | subscribe::From::Time(_)) => None,
        };
        if self.request.no_follow {
            self.request.to = Some(self.request.to.map_or(self.head, |to| to.min(self.head)));
        }
    }
}

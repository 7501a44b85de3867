//! A subscription: its own connection, read on the caller's thread. It holds a cursor, and when the connection is lost
//! it goes on from there as soon as the orchestrator is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use copo_proto::frame::{self, Decoder};
use copo_proto::v1::{
    self, ErrorCode, Gap, MetaReport, Request, UddRecord, gap, request, response, server_message, subscribe,
};

use crate::connection::{self, Line, OpenError, Waker, wait};
use crate::error::{Error, Result};
use crate::fork;
use crate::io::FIRST_BACKOFF;
use crate::options::{ConnectOptions, SubscribeOptions};

const LAST_BACKOFF: Duration = Duration::from_secs(1);
/// For how long a first subscription waits for an orchestrator that is away: far longer than a restart takes.
const AWAY: Duration = Duration::from_secs(10);
/// A handshake gets at least so long, whatever timeout the caller has: or a caller that only polls would never get on.
const LEAST_HANDSHAKE: Duration = Duration::from_millis(250);

/// What a subscription delivers.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A record.
    Record(UddRecord),
    /// A report.
    Report(MetaReport),
    /// What was passed over, and why.
    Gap(Gap),
}

/// Follows the log from a place on, in order. It is over with END (all that was asked for was delivered), STOPPING (the
/// run was asked to stop) or CLOSED ([`Stopper`]), which every later `next` repeats.
///
/// When the orchestrator goes away and comes back, the subscription goes on after the last item it delivered; if the
/// log was replaced meanwhile, a [`Gap`] with LOG_REPLACED says so. In a forked child it connects anew from its place.
#[derive(Debug)]
pub struct Subscription {
    options: ConnectOptions,
    request: v1::Subscribe,
    reconnects: bool,
    line: Option<Line>,
    decoder: Decoder,
    log_id: Bytes,
    head: u64,
    /// The next Seq to ask for after a reconnect; `None`: as asked for at first.
    cursor: Option<u64>,
    over: Option<Error>,
    /// The iterator has told an error that will not change.
    is_told: bool,
    retry_at: Instant,
    backoff: Duration,
    stop: Arc<Stop>,
    generation: u64,
}

#[derive(Debug)]
struct Stop {
    is_asked: AtomicBool,
    waker: Waker,
}

/// Ends a blocked [`Subscription::next`] from another thread.
#[derive(Debug, Clone)]
pub struct Stopper {
    stop: Arc<Stop>,
}

impl Stopper {
    /// The subscription's present and every later `next` returns CLOSED.
    pub fn stop(&self) {
        self.stop.is_asked.store(true, Ordering::Release);
        self.stop.waker.wake();
    }
}

impl Subscription {
    pub(crate) fn open(options: ConnectOptions, wanted: &SubscribeOptions) -> Result<Self> {
        fork::watch();
        let waker = Waker::new().map_err(|why| {
            Error::new(ErrorCode::Internal, format!("cannot make a socket pair to wake a thread: {why}"))
        })?;
        let mut subscription = Self {
            request: wanted.request()?,
            reconnects: !wanted.once,
            line: None,
            decoder: Decoder::new(0),
            log_id: Bytes::new(),
            head: 0,
            cursor: None,
            over: None,
            is_told: false,
            retry_at: Instant::now(),
            backoff: FIRST_BACKOFF,
            stop: Arc::new(Stop { is_asked: AtomicBool::new(false), waker }),
            generation: fork::generation(),
            options,
        };
        let timeout = subscription.options.timeout;
        let subscribed = subscription.connect_first(timeout)?;
        subscription.begin(&subscribed);
        Ok(subscription)
    }

    /// The next item; waits for it at most `timeout` (TIMED_OUT). While a connection is being made again, the wait may
    /// be longer by a quarter of a second.
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Item> {
        let mut deadline = None;
        loop {
            self.check()?;
            if self.line.is_some() {
                match self.buffered() {
                    Ok(Some(item)) => return Ok(item),
                    Ok(None) => {}
                    Err(_) => self.lose()?,
                }
            }
            // The clock is read only when there is nothing to deliver at once.
            let at = *deadline.get_or_insert_with(|| timeout.map(|timeout| Instant::now() + timeout));
            self.advance(at)?;
        }
    }

    /// The next item if it has come already.
    pub fn try_next(&mut self) -> Result<Option<Item>> {
        match self.next(Some(Duration::ZERO)) {
            Ok(item) => Ok(Some(item)),
            Err(error) if error.code() == ErrorCode::TimedOut => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Seq of the newest record or report when the subscription began.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// log_id of the log that is read; with a Seq it is a cursor.
    #[must_use]
    pub fn log_id(&self) -> Vec<u8> {
        self.log_id.to_vec()
    }

    /// What ends a blocked `next` from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper { stop: Arc::clone(&self.stop) }
    }

    /// Refuses what can no longer be done; notices a fork.
    fn check(&mut self) -> Result<()> {
        if self.generation != fork::generation() {
            // The connection is the parent's: reading from it would steal its records. Ours is only a copy of the
            // descriptor, and closing that does not end it.
            self.generation = fork::generation();
            self.line = None;
            self.retry_at = Instant::now();
            self.stop.waker.renew().map_err(|why| {
                Error::new(ErrorCode::Internal, format!("cannot make a socket pair to wake a thread: {why}"))
            })?;
        }
        if self.stop.is_asked.load(Ordering::Acquire) {
            return Err(Error::new(ErrorCode::Closed, "cannot go on: the subscription was stopped"));
        }
        match &self.over {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// What was read already. `Err`: the connection is of no more use.
    fn buffered(&mut self) -> Result<Option<Item>> {
        while let Some(message) = connection::next_message(&mut self.decoder)? {
            use server_message::Kind;
            match message {
                Some(Kind::Record(record)) => {
                    self.cursor = Some(record.seq + 1);
                    return Ok(Some(Item::Record(record)));
                }
                Some(Kind::Report(report)) => {
                    self.cursor = Some(report.seq + 1);
                    return Ok(Some(Item::Report(report)));
                }
                Some(Kind::Gap(gap)) => {
                    self.passed_over(&gap);
                    return Ok(Some(Item::Gap(gap)));
                }
                Some(Kind::End(end)) => return Err(self.end(end.code)),
                Some(Kind::StopRequested(_)) => return Err(self.end(ErrorCode::Stopping.into())),
                Some(Kind::Error(error)) => return Err(self.refuse(Error::from_wire(error))),
                Some(Kind::Ack(_) | Kind::SendFailed(_) | Kind::Resume(_) | Kind::Response(_) | Kind::Welcome(_))
                | None => {}
            }
        }
        Ok(None)
    }

    fn passed_over(&mut self, gap: &Gap) {
        if !gap.log_id.is_empty() {
            self.log_id = gap.log_id.clone();
        }
        if gap.cause() == gap::Cause::LogReplaced {
            self.cursor = None;
            self.request.from = Some(subscribe::From::First(true));
            self.request.log_id = Bytes::new();
        } else {
            self.cursor = Some(self.cursor.unwrap_or_default().max(gap.last.saturating_add(1)));
        }
    }

    fn end(&mut self, code: i32) -> Error {
        let error = match ErrorCode::try_from(code) {
            Ok(ErrorCode::Ok) => Error::new(ErrorCode::End, "the subscription has delivered all it was asked for"),
            Ok(ErrorCode::Stopping) => {
                Error::new(ErrorCode::Stopping, "the subscription ends: this run was asked to stop")
            }
            _ => Error::from_number(code, "the subscription was ended".into()),
        };
        self.over = Some(error.clone());
        error
    }

    /// Keeps what another connection would not change.
    fn refuse(&mut self, error: Error) -> Error {
        let is_final = matches!(
            error.code(),
            ErrorCode::Unauthorized
                | ErrorCode::Unsupported
                | ErrorCode::Forbidden
                | ErrorCode::InvalidKey
                | ErrorCode::InvalidArgument
                | ErrorCode::Malformed
                | ErrorCode::Stopping
        );
        if is_final {
            self.over = Some(error.clone());
        }
        error
    }

    /// Reads, or waits for something to read, or tries for a new connection.
    fn advance(&mut self, deadline: Option<Instant>) -> Result<()> {
        let Some(line) = &self.line else { return self.reconnect(deadline) };
        match connection::read(line, &mut self.decoder) {
            Ok(0) => return self.lose(),
            Ok(_) => return Ok(()),
            Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return self.lose(),
        }
        in_time(deadline)?;
        wait(Some(line), false, Some(&self.stop.waker), deadline).map_err(cannot_wait)
    }

    fn lose(&mut self) -> Result<()> {
        self.line = None;
        self.retry_at = Instant::now() + self.backoff;
        self.backoff = (self.backoff * 2).min(LAST_BACKOFF);
        if let Some(over) = &self.over {
            return Err(over.clone());
        }
        if self.reconnects {
            return Ok(());
        }
        let error = Error::new(ErrorCode::Closed, "the subscription ends: the connection to the orchestrator is lost");
        self.over = Some(error.clone());
        Err(error)
    }

    fn reconnect(&mut self, deadline: Option<Instant>) -> Result<()> {
        let now = Instant::now();
        if now < self.retry_at {
            in_time(deadline)?;
            let until = deadline.map_or(self.retry_at, |at| at.min(self.retry_at));
            return wait(None, false, Some(&self.stop.waker), Some(until)).map_err(cannot_wait);
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
    fn connect_first(&mut self, timeout: Duration) -> std::result::Result<v1::Subscribed, OpenError> {
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
        let (line, mut decoder) = (connection.line, connection.decoder);
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
                        (self.line, self.decoder) = (Some(line), decoder);
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
    fn begin(&mut self, subscribed: &v1::Subscribed) {
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

fn in_time(deadline: Option<Instant>) -> Result<()> {
    if deadline.is_some_and(|at| at <= Instant::now()) {
        return Err(Error::new(ErrorCode::TimedOut, "nothing came in the time given"));
    }
    Ok(())
}

fn cannot_wait(why: std::io::Error) -> Error {
    Error::new(ErrorCode::Internal, format!("cannot wait for the orchestrator: {why}"))
}

impl Iterator for Subscription {
    type Item = Result<Item>;

    /// The next item, however long it takes; ends with END, STOPPING and CLOSED by a [`Stopper`].
    fn next(&mut self) -> Option<Self::Item> {
        if self.is_told || self.stop.is_asked.load(Ordering::Acquire) {
            return None;
        }
        match Self::next(self, None) {
            Err(error) if matches!(error.code(), ErrorCode::End | ErrorCode::Stopping) => None,
            Err(_) if self.stop.is_asked.load(Ordering::Acquire) => None,
            item => {
                self.is_told = self.over.is_some() && item.is_err();
                Some(item)
            }
        }
    }
}

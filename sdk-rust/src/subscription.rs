//! A subscription: its own connection, read on the caller's thread. It holds a cursor, and when the connection is lost
//! it goes on from there as soon as the orchestrator is back.
//!
//! Records are read where they lie in the inbox; [`Subscription::next`] makes them owned, [`Subscription::next_ref`] does
//! not.

mod connect;
mod receive;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use std::ops::Range;

use bytes::Bytes;
use copo_proto::record::RecordRef;
use copo_proto::v1::{self, ErrorCode, UddRecord};

use crate::connection::{Line, Waker, wait};
use crate::error::{Error, Result};
use crate::fork;
use crate::inbox::Inbox;
use crate::io::FIRST_BACKOFF;
use crate::item::{Item, ItemRef};
use crate::options::{ConnectOptions, SubscribeOptions};
use receive::{Found, Place};

const LAST_BACKOFF: Duration = Duration::from_secs(1);

/// Follows the log from a place on, in order. It is over with END (all that was asked for was delivered), STOPPING (the
/// run was asked to stop) or CLOSED ([`Stopper`]), which every later `next` repeats.
///
/// When the orchestrator goes away and comes back, the subscription goes on after the last item it delivered; if the
/// log was replaced meanwhile, a [`Gap`](crate::Gap) with LOG_REPLACED says so. In a forked child it connects anew from its place.
#[derive(Debug)]
pub struct Subscription {
    options: ConnectOptions,
    request: v1::Subscribe,
    reconnects: bool,
    line: Option<Line>,
    inbox: Inbox,
    /// The last read left room: nothing more will have come yet.
    is_drained: bool,
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
            inbox: Inbox::default(),
            is_drained: false,
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
        match self.find(timeout)? {
            Found::Record(place) => Ok(Item::Record(self.own(place))),
            Found::Other(item) => Ok(item.into_owned()),
        }
    }

    /// As [`Self::next`], without an allocation or a copy: a record is borrowed from what was read, until the next call.
    pub fn next_ref(&mut self, timeout: Option<Duration>) -> Result<ItemRef<'_>> {
        match self.find(timeout)? {
            Found::Record(place) => Ok(ItemRef::Record(self.lend(&place))),
            Found::Other(item) => Ok(item),
        }
    }

    /// The next item of those that have been read already, without asking the system for more; `None`: there is none, and
    /// [`Self::next_ref`] reads (or says why it cannot). So what came together is taken together:
    ///
    /// ```no_run
    /// # fn f(mut records: copo::Subscription) -> copo::Result<()> {
    /// let mut next = Some(records.next_ref(None)?);
    /// while let Some(item) = next {
    ///     println!("{item:?}");
    ///     next = records.buffered_ref();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn buffered_ref(&mut self) -> Option<ItemRef<'_>> {
        self.check().ok()?;
        match self.buffered() {
            Ok(Some(Found::Record(place))) => Some(ItemRef::Record(self.lend(&place))),
            Ok(Some(Found::Other(item))) => Some(item),
            Ok(None) => None,
            Err(_) => {
                // What comes of it is told by the next call that may wait.
                let _ = self.lose();
                None
            }
        }
    }

    fn find(&mut self, timeout: Option<Duration>) -> Result<Found> {
        let mut deadline = None;
        loop {
            self.check()?;
            match self.buffered() {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(_) => self.lose()?,
            }
            // The clock is read only when there is nothing to deliver at once.
            let at = *deadline.get_or_insert_with(|| timeout.map(|timeout| Instant::now() + timeout));
            self.advance(at)?;
        }
    }

    /// The record there, borrowed.
    fn lend(&self, place: &Place) -> RecordRef<'_> {
        let text = |place: &Range<usize>| {
            // SAFETY: `Place::of` took this place from a `str` that lay in the inbox, which has not been touched since.
            unsafe { std::str::from_utf8_unchecked(self.inbox.bytes(place.clone())) }
        };
        RecordRef {
            seq: place.seq,
            sent_time: place.sent_time,
            sent_by: text(&place.sent_by),
            key: text(&place.key),
            udd_buff: self.inbox.bytes(place.udd_buff.clone()),
        }
    }

    /// The record there, owned.
    fn own(&mut self, place: Place) -> UddRecord {
        let RecordRef { seq, sent_time, sent_by, key, .. } = self.lend(&place);
        let (sent_by, key) = (sent_by.to_owned(), key.to_owned());
        UddRecord { seq, sent_time, sent_by, key, udd_buff: self.inbox.own(place.udd_buff) }
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

    /// Reads, or waits for something to read, or tries for a new connection.
    fn advance(&mut self, deadline: Option<Instant>) -> Result<()> {
        let Some(line) = &self.line else { return self.reconnect(deadline) };
        // Whoever does not wait wants to know what has come since.
        if !std::mem::take(&mut self.is_drained) || in_time(deadline).is_err() {
            let room = self.inbox.room();
            let most = room.len();
            match line.read(room) {
                Ok(0) => return self.lose(),
                Ok(count) => {
                    self.inbox.filled(count);
                    self.is_drained = count < most;
                    return Ok(());
                }
                Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return self.lose(),
            }
        }
        in_time(deadline)?;
        wait(Some(line), false, Some(&self.stop.waker), deadline).map(drop).map_err(cannot_wait)
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

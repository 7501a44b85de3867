//! A subscription: its own connection, read on the caller's thread. It holds a cursor, and when the connection is lost
//! it goes on from there as soon as the orchestrator is back.
//!
//! Records are read where they lie in the inbox; [`Subscription::next`] makes them owned, [`Subscription::next_ref`] does
//! not.

mod connect;
mod receive;
mod stop;

use std::io::ErrorKind;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use copo_proto::record::{Framed, RecordRef};
use copo_proto::v1::{self, ErrorCode, UddRecord};

use crate::connection::{Line, wait};
use crate::error::{Error, Result};
use crate::fork;
use crate::inbox::Inbox;
use crate::io::FIRST_BACKOFF;
use crate::item::{Item, ItemRef};
use crate::options::{ConnectOptions, SubscribeOptions};
use receive::{Found, Place};
use stop::Stop;
pub use stop::Stopper;

const LAST_BACKOFF: Duration = Duration::from_secs(1);
/// A wait inside a read is as coarse as the system's ticks: for a shorter one there is `poll`.
const LEAST_INSIDE: Duration = Duration::from_millis(20);

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
    line: Option<Arc<Line>>,
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

impl Subscription {
    pub(crate) fn open(options: ConnectOptions, wanted: &SubscribeOptions) -> Result<Self> {
        fork::watch();
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
            stop: Arc::new(Stop::new().map_err(cannot_wake)?),
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
    #[inline]
    pub fn next_ref(&mut self, timeout: Option<Duration>) -> Result<ItemRef<'_>> {
        // SAFETY: this subscription stays borrowed for as long as the record is used.
        match unsafe { self.quick() } {
            Some(record) => Ok(ItemRef::Record(record)),
            None => self.next_ref_slowly(timeout),
        }
    }

    fn next_ref_slowly(&mut self, timeout: Option<Duration>) -> Result<ItemRef<'_>> {
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
    #[inline]
    pub fn buffered_ref(&mut self) -> Option<ItemRef<'_>> {
        // SAFETY: this subscription stays borrowed for as long as the record is used.
        match unsafe { self.quick() } {
            Some(record) => Some(ItemRef::Record(record)),
            None => self.buffered_ref_slowly(),
        }
    }

    fn buffered_ref_slowly(&mut self) -> Option<ItemRef<'_>> {
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

    /// The next record, if it has been read and nothing else has to be seen to first: the way that nearly all go.
    ///
    /// # Safety
    /// The record is used no longer than until this subscription is used again.
    #[inline]
    unsafe fn quick<'a>(&mut self) -> Option<RecordRef<'a>> {
        let is_open = self.line.is_some() && self.over.is_none() && self.generation == fork::generation();
        if !is_open || self.stop.is_asked() {
            return None;
        }
        let unread: *const [u8] = self.inbox.unread();
        // SAFETY: what was read stays where it is and as it is until the inbox is given more, and that would be a use.
        let framed = Framed::read(unsafe { &*unread }, self.inbox.max())?;
        self.inbox.pass(framed.length);
        self.cursor = Some(framed.seq + 1);
        // SAFETY: `Framed::read` gives names in ASCII only.
        let text = |bytes| unsafe { std::str::from_utf8_unchecked(bytes) };
        let Framed { seq, sent_time, sent_by, key, udd_buff, .. } = framed;
        Some(RecordRef { seq, sent_time, sent_by: text(sent_by), key: text(key), udd_buff })
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
        Stopper::new(&self.stop)
    }

    /// Refuses what can no longer be done; notices a fork.
    fn check(&mut self) -> Result<()> {
        if self.generation != fork::generation() {
            // The connection is the parent's: reading from it would steal its records. Ours is only a copy of the
            // descriptor, and closing that does not end it.
            self.generation = fork::generation();
            self.line = None;
            self.retry_at = Instant::now();
            self.stop.renew().map_err(cannot_wake)?;
        }
        if self.stop.is_asked() {
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
        if self.stop.is_heard_inside_a_read() && deadline.is_none_or(|at| at > Instant::now() + LEAST_INSIDE) {
            let read = line.read_waiting(self.inbox.room(), deadline);
            return self.take_in(read);
        }
        // Whoever does not wait wants to know what has come since.
        if !std::mem::take(&mut self.is_drained) || in_time(deadline).is_err() {
            let room = self.inbox.room();
            let most = room.len();
            let read = line.read(room);
            if !matches!(&read, Err(why) if why.kind() == ErrorKind::WouldBlock) {
                self.is_drained = matches!(read, Ok(count) if count < most);
                return self.take_in(read);
            }
        }
        in_time(deadline)?;
        wait(Some(line), false, Some(self.stop.waker()), deadline).map(drop).map_err(cannot_wait)
    }

    /// What a read into the inbox came to.
    fn take_in(&mut self, read: std::io::Result<usize>) -> Result<()> {
        match read {
            Ok(count) if count > 0 => {
                self.inbox.filled(count);
                Ok(())
            }
            Err(why) if why.kind() == ErrorKind::WouldBlock => Ok(()),
            Ok(_) | Err(_) => self.lose(),
        }
    }

    /// From here on this is the line.
    fn hold(&mut self, line: Option<Line>) {
        self.line = line.map(Arc::new);
        self.stop.watch(self.line.as_ref());
    }

    fn lose(&mut self) -> Result<()> {
        self.hold(None);
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

fn cannot_wake(why: std::io::Error) -> Error {
    Error::new(ErrorCode::Internal, format!("cannot make a socket pair to wake a thread: {why}"))
}

fn cannot_wait(why: std::io::Error) -> Error {
    Error::new(ErrorCode::Internal, format!("cannot wait for the orchestrator: {why}"))
}

impl Iterator for Subscription {
    type Item = Result<Item>;

    /// The next item, however long it takes; ends with END, STOPPING and CLOSED by a [`Stopper`].
    fn next(&mut self) -> Option<Self::Item> {
        if self.is_told || self.stop.is_asked() {
            return None;
        }
        match Self::next(self, None) {
            Err(error) if matches!(error.code(), ErrorCode::End | ErrorCode::Stopping) => None,
            Err(_) if self.stop.is_asked() => None,
            item => {
                self.is_told = self.over.is_some() && item.is_err();
                Some(item)
            }
        }
    }
}

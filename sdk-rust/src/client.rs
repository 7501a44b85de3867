//! The handle: every verb of the SDK. A verb is a translation; what happens is in [`crate::link`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use copo_proto::key;
use copo_proto::v1::{self, ErrorCode, UddRecord, request, response};

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::link::{Patience, Wait, Waiter};
use crate::options::{ConnectOptions, Send, SubscribeOptions};
use crate::session::Body;
use crate::subscription::Subscription;

/// Called once there is room in the window again (or all is flushed), or with the error that came instead.
pub type OnWindow = Box<dyn FnOnce(Result<()>) + std::marker::Send>;
/// Called with the Seq a send was given, or with the error that came instead.
pub type OnAcked = Box<dyn FnOnce(Result<u64>) + std::marker::Send>;
/// Called with the answer to a request, or with the error that came instead.
pub type OnResponse = Box<dyn FnOnce(Result<response::Kind>) + std::marker::Send>;
/// Called once the run is asked to stop.
pub type OnStop = Box<dyn FnOnce() + std::marker::Send>;

/// One client of the orchestrator. Cheap to clone; every clone is the same client, usable from any thread.
///
/// **Sends** are pipelined: a send returns when the record is in the window of unacknowledged sends, and is stored
/// exactly once, in order, also when the connection or the orchestrator is lost and comes back meanwhile. An error a
/// send returns is its own or that of an earlier send; either way this record was not accepted. While the orchestrator
/// is away sends fill the window, then block.
///
/// **Stop:** when this run is asked to stop, calls that are waiting at that moment return STOPPING. Calls made after it
/// work as ever, so that a run can send its last records and flush.
///
/// **Callbacks** run on the client's I/O thread or inside another call of this client that is waiting. They may call
/// anything of the client and should not take long.
///
/// **End:** dropping the last clone waits for the acknowledgement of what was sent, at most 5 s (1 s while there is no
/// connection). Leaving the process without dropping (`std::process::exit`, C's `exit`) may lose what has gathered:
/// call [`Client::flush`] or [`Client::close`] before.
///
/// **Fork:** in a forked child the client becomes a new one, with a connection and an empty window of its own, at its
/// first use; what the parent had sent stays the parent's.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("socket", &self.handle.options().socket).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to the orchestrator that started this process (`COPO_SOCKET`, `COPO_TOKEN`).
    ///
    /// # Errors
    /// NO_ORCHESTRATOR at once when the environment names none or nobody listens there.
    pub fn connect() -> Result<Self> {
        Self::options().connect()
    }

    /// Connects otherwise than the environment says.
    #[must_use]
    pub fn options() -> ConnectOptions {
        ConnectOptions::new()
    }

    pub(crate) fn connect_with(options: ConnectOptions) -> Result<Self> {
        Ok(Self { handle: Arc::new(Handle::connect(options.resolve()?)?) })
    }

    // ---- sends ----

    /// Sends one record, pipelined; waits only while the window is full.
    ///
    /// # Errors
    /// TOO_LARGE; the first error of an earlier send; while waiting: STOPPING, NO_SPACE. After FENCED, REPLACED or
    /// [`Self::close`] every send fails.
    #[inline]
    pub fn udd_send(&self, data: &[u8]) -> Result<()> {
        self.handle.link()?.send_plain("", data, Patience::Until(None))
    }

    /// Sends one record with a key (else INVALID_KEY); otherwise as [`Self::udd_send`].
    pub fn udd_send_key(&self, key: &str, data: &[u8]) -> Result<()> {
        self.handle.link()?.send_plain(key, data, Patience::Until(None))
    }

    /// As [`Self::udd_send_key`], waiting for room no longer than `timeout` (TIMED_OUT).
    pub fn udd_send_timeout(&self, key: &str, data: &[u8], timeout: Option<Duration>) -> Result<()> {
        self.handle.link()?.send_plain(key, data, Patience::of(timeout))
    }

    /// Sends one record, pipelined, with everything that can be said about it. When `expect_seq` does not hold, a later
    /// call returns CONFLICT; [`Self::send_sync`] tells it at once.
    pub fn send(&self, send: &Send<'_>) -> Result<()> {
        if send.expect_seq.is_none() {
            return self.udd_send_timeout(send.key, send.data, send.timeout);
        }
        self.handle.link()?.send(&body_of(send), Patience::of(send.timeout), None).map(drop)
    }

    /// Sends one record if the window has room, else WOULD_BLOCK.
    pub fn try_udd_send(&self, data: &[u8]) -> Result<()> {
        self.try_udd_send_key("", data)
    }

    /// Sends one record with a key if the window has room, else WOULD_BLOCK.
    pub fn try_udd_send_key(&self, key: &str, data: &[u8]) -> Result<()> {
        self.handle.link()?.send_plain(key, data, Patience::None)
    }

    /// Sends one record and waits until it is stored; returns its Seq.
    pub fn udd_send_sync(&self, data: &[u8]) -> Result<u64> {
        self.send_sync(&Send { data, ..Send::default() })
    }

    /// Sends one record with a key and waits until it is stored; returns its Seq.
    pub fn udd_send_key_sync(&self, key: &str, data: &[u8]) -> Result<u64> {
        self.send_sync(&Send { key, data, ..Send::default() })
    }

    /// Sends one record and waits until it is stored; returns its Seq.
    ///
    /// # Errors
    /// As [`Self::udd_send`]. CONFLICT: `expect_seq` does not hold, nothing was appended. After TIMED_OUT, STOPPING and
    /// NO_SPACE the record stays in the window and will be stored when it can be.
    pub fn send_sync(&self, send: &Send<'_>) -> Result<u64> {
        self.handle.link()?.send_sync(&body_of(send), send.timeout)
    }

    /// Sends one record without waiting (WOULD_BLOCK when the window is full); `f` is called once with its Seq or why it
    /// has none. When this returns an error, `f` is not called.
    pub fn udd_send_acked(&self, key: &str, data: &[u8], f: OnAcked) -> Result<()> {
        let body = Body::Udd { key, data, expect_seq: None };
        self.handle.link()?.send(&body, Patience::None, Some(Waiter::Callback(f))).map(drop)
    }

    /// Calls `f` once there is room in the window, or with the error that came instead; at once when there is room now.
    /// Another send may take the room first: try, and come back.
    pub fn on_window(&self, f: OnWindow) {
        match self.handle.link() {
            Ok(link) => {
                let mut state = link.lock();
                state.on_window.push(f);
                state.settle_callbacks();
                link.write_if_idle(&mut state);
                link.leave_to_io(&mut state);
                link.release(state);
            }
            Err(error) => f(Err(error)),
        }
    }

    /// Waits until everything sent so far is acknowledged.
    ///
    /// # Errors
    /// The first error of what was sent; NO_SPACE at once while there is no room to store it; STOPPING.
    pub fn flush(&self) -> Result<()> {
        self.handle.link()?.flush(None, Wait::Acks)
    }

    /// As [`Self::flush`], for at most `timeout` (TIMED_OUT).
    pub fn flush_timeout(&self, timeout: Duration) -> Result<()> {
        self.handle.link()?.flush(Some(Instant::now() + timeout), Wait::Acks)
    }

    /// The callback form of [`Self::flush`]: calls `f` once everything sent so far is acknowledged, or with the error.
    pub fn on_flushed(&self, f: OnWindow) {
        match self.handle.link() {
            Ok(link) => {
                let mut state = link.lock();
                let last = state.session.last();
                state.on_flushed.push((last, f));
                state.settle_callbacks();
                link.write_if_idle(&mut state);
                link.leave_to_io(&mut state);
                link.release(state);
            }
            Err(error) => f(Err(error)),
        }
    }

    /// Sends a report; pipelined like a record.
    pub fn meta_report(&self, data: &[u8]) -> Result<()> {
        self.handle.link()?.send(&Body::Meta { data }, Patience::Until(None), None).map(drop)
    }

    /// As [`Self::meta_report`], but WOULD_BLOCK instead of waiting.
    pub fn try_meta_report(&self, data: &[u8]) -> Result<()> {
        self.handle.link()?.send(&Body::Meta { data }, Patience::None, None).map(drop)
    }

    /// Sends a report and waits until it is stored; returns its Seq.
    pub fn meta_report_sync(&self, data: &[u8]) -> Result<u64> {
        self.handle.link()?.send_sync(&Body::Meta { data }, None)
    }

    // ---- requests ----

    /// The newest record of `key`, or of all; `None` when there is none.
    pub fn udd_get(&self, key: Option<&str>) -> Result<Option<UddRecord>> {
        if let Some(name) = key {
            key::check(name).map_err(|why| {
                Error::new(ErrorCode::InvalidKey, format!("cannot get a record with key {name:?}: {why}"))
            })?;
        }
        let request = request::Kind::UddGet(v1::UddGet { key: key.map(str::to_owned) });
        match self.ask_again(&request) {
            Ok(response::Kind::Record(record)) => Ok(Some(record)),
            Ok(other) => Err(unexpected(&other)),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Follows records and reports, on a connection of its own. An orchestrator that is away is waited for, up to 10
    /// seconds, then NO_ORCHESTRATOR.
    pub fn udd_subscribe(&self, options: &SubscribeOptions) -> Result<Subscription> {
        Subscription::open(self.handle.options().clone(), options)
    }

    /// The names of a record's fields.
    pub fn udd_headers(&self) -> Result<Vec<String>> {
        match self.ask_again(&request::Kind::UddHeaders(v1::UddHeaders {}))? {
            response::Kind::Headers(headers) => Ok(headers.headers),
            other => Err(unexpected(&other)),
        }
    }

    /// Replaces the names of a record's fields.
    pub fn udd_set_headers(&self, headers: &[String]) -> Result<()> {
        self.do_again(&request::Kind::UddSetHeaders(v1::UddSetHeaders { headers: headers.to_vec() }))
    }

    /// Forgets all records.
    pub fn udd_purge(&self) -> Result<()> {
        done(self.call(request::Kind::UddPurge(v1::UddPurge {}), None)?)
    }

    /// Says that this run is ready.
    pub fn ready(&self) -> Result<()> {
        self.do_again(&request::Kind::Ready(v1::Ready {}))
    }

    /// Asks the orchestrator anything and waits for the answer. CLOSED: the connection ended before the answer came,
    /// so it may have been done or not.
    pub fn call(&self, request: request::Kind, timeout: Option<Duration>) -> Result<response::Kind> {
        self.handle.link()?.call(request, timeout.map(|timeout| Instant::now() + timeout))
    }

    /// The callback form of [`Self::call`].
    pub fn on_response(&self, request: request::Kind, f: OnResponse) {
        match self.handle.link() {
            Ok(link) => link.on_response(request, f),
            Err(error) => f(Err(error)),
        }
    }

    /// Asks what may be asked twice: a lost connection is no reason to give up.
    fn ask_again(&self, request: &request::Kind) -> Result<response::Kind> {
        let link = self.handle.link()?;
        loop {
            match link.call(request.clone(), None) {
                Err(error) if error.code() == ErrorCode::Closed && link.lock().dead.is_none() => {}
                answer => return answer,
            }
        }
    }

    fn do_again(&self, request: &request::Kind) -> Result<()> {
        done(self.ask_again(request)?)
    }

    // ---- stop ----

    /// Was this run asked to stop? The first call asks to be told, which also makes the orchestrator wait half the
    /// grace before it sends a signal; from then on it is one load. Always false for a person.
    pub fn stop_requested(&self) -> Result<bool> {
        let link = self.handle.link()?;
        link.watch_stop()?;
        Ok(link.stop_flag.load(Ordering::Acquire))
    }

    /// Has this run been told to stop? Unlike [`Self::stop_requested`] it asks the orchestrator for nothing. For a binding
    /// that waits in slices: a stop that comes between two of them must end the wait as well.
    #[doc(hidden)]
    #[must_use]
    pub fn is_told_to_stop(&self) -> bool {
        self.handle.link().is_ok_and(|link| link.stop_flag.load(Ordering::Acquire))
    }

    /// Waits until this run is asked to stop; false when `timeout` is over first.
    pub fn wait_stop(&self, timeout: Option<Duration>) -> Result<bool> {
        let link = self.handle.link()?;
        link.watch_stop()?;
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let (state, stopped) =
            link.wait_for(link.lock(), deadline, Wait::Stop, |state| state.stopped.then_some(Ok(true)));
        link.release(state);
        match stopped {
            Err(error) if error.code() == ErrorCode::TimedOut => Ok(false),
            stopped => stopped,
        }
    }

    /// Calls `f` once this run is asked to stop; at once when it was already. Never for a person.
    pub fn on_stop(&self, f: OnStop) -> Result<()> {
        let link = self.handle.link()?;
        link.watch_stop()?;
        let mut state = link.lock();
        if state.stopped {
            state.due.push(f)
        } else {
            state.on_stop.push(f)
        }
        link.release(state);
        Ok(())
    }

    // ---- about ----

    /// Internal name of the process this client speaks for, or `@name`.
    #[must_use]
    pub fn internal_name(&self) -> String {
        self.handle.link().map(|link| link.lock().about.internal_name.clone()).unwrap_or_default()
    }

    /// RunId this client speaks for; none for a person.
    #[must_use]
    pub fn run(&self) -> Option<String> {
        let run = self.handle.link().ok()?.lock().about.run.clone();
        Some(run).filter(|run| !run.is_empty())
    }

    /// Largest record the orchestrator takes, in bytes.
    #[must_use]
    pub fn max_record(&self) -> usize {
        self.handle.link().map(|link| link.lock().about.max_record).unwrap_or_default()
    }

    // ---- end ----

    /// Waits until everything sent is acknowledged, at most 5 s, and ends the client for all its clones.
    ///
    /// # Errors
    /// The first error of what was sent; TIMED_OUT: not all was acknowledged in time. The client is closed all the same.
    /// Closing again is no error.
    pub fn close(&self) -> Result<()> {
        self.close_timeout(Duration::from_secs(5))
    }

    /// As [`Self::close`], waiting at most `timeout`.
    pub fn close_timeout(&self, timeout: Duration) -> Result<()> {
        let link = self.handle.link()?;
        if link.is_shut() {
            return Ok(());
        }
        let flushed = link.flush(Some(Instant::now() + timeout), Wait::LastAcks);
        link.shut();
        flushed
    }
}

fn body_of<'a>(send: &Send<'a>) -> Body<'a> {
    Body::Udd { key: send.key, data: send.data, expect_seq: send.expect_seq }
}

fn done(response: response::Kind) -> Result<()> {
    match response {
        response::Kind::Done(_) => Ok(()),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(response: &response::Kind) -> Error {
    Error::new(ErrorCode::Malformed, format!("cannot use the answer: it is of an unexpected kind, {response:?}"))
}

//! The handle: every verb of the SDK.

use std::time::Duration;

use copo_proto::v1::{UddRecord, request, response};

use crate::error::{Error, Result};
use crate::options::{ConnectOptions, Send, SubscribeOptions};
use crate::subscription::Subscription;
use crate::v1::ErrorCode;

/// Called once there is room in the window again, or with the error that came instead.
pub type OnWindow = Box<dyn FnOnce(Result<()>) + std::marker::Send>;
/// Called with the Seq a send was given, or with the error that came instead.
pub type OnAcked = Box<dyn FnOnce(Result<u64>) + std::marker::Send>;
/// Called once the run is asked to stop.
pub type OnStop = Box<dyn FnOnce() + std::marker::Send>;

/// One connection to the orchestrator. Cheap to clone; every clone is the same client.
#[derive(Debug, Clone)]
pub struct Client {
    options: ConnectOptions,
}

fn not_yet<T>() -> Result<T> {
    Err(Error::new(ErrorCode::NoOrchestrator, "cannot connect: nobody listens"))
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
        let _ = Self { options: options.resolve()? };
        not_yet()
    }

    /// Sends one record, pipelined; waits only while the window is full.
    pub fn udd_send(&self, data: &[u8]) -> Result<()> {
        self.send(&Send { data, ..Send::default() })
    }

    /// Sends one record with a key; otherwise as [`Self::udd_send`].
    pub fn udd_send_key(&self, key: &str, data: &[u8]) -> Result<()> {
        self.send(&Send { key, data, ..Send::default() })
    }

    /// As [`Self::udd_send_key`], waiting for room no longer than `timeout` (TIMED_OUT).
    pub fn udd_send_timeout(&self, key: &str, data: &[u8], timeout: Option<Duration>) -> Result<()> {
        self.send(&Send { key, data, timeout, ..Send::default() })
    }

    /// Sends one record, pipelined, with everything that can be said about it.
    pub fn send(&self, send: &Send<'_>) -> Result<()> {
        let _ = (send, &self.options);
        not_yet()
    }

    /// Sends one record if the window has room, else WOULD_BLOCK.
    pub fn try_udd_send(&self, data: &[u8]) -> Result<()> {
        self.try_udd_send_key("", data)
    }

    /// Sends one record with a key if the window has room, else WOULD_BLOCK.
    pub fn try_udd_send_key(&self, _key: &str, _data: &[u8]) -> Result<()> {
        not_yet()
    }

    /// Sends one record and waits until it is stored; returns its Seq.
    pub fn udd_send_sync(&self, data: &[u8]) -> Result<u64> {
        self.send_sync(&Send { data, ..Send::default() })
    }

    /// Sends one record with a key and waits until it is stored; returns its Seq.
    pub fn udd_send_key_sync(&self, key: &str, data: &[u8]) -> Result<u64> {
        self.send_sync(&Send { key, data, ..Send::default() })
    }

    /// Sends one record and waits until it is stored; returns its Seq. CONFLICT when `expect_seq` does not hold.
    pub fn send_sync(&self, _send: &Send<'_>) -> Result<u64> {
        not_yet()
    }

    /// Sends one record without waiting (WOULD_BLOCK when the window is full); `f` is called once with its Seq or why it
    /// has none. When this returns an error, `f` is not called.
    pub fn udd_send_acked(&self, _key: &str, _data: &[u8], _f: OnAcked) -> Result<()> {
        not_yet()
    }

    /// Calls `f` once there is room in the window, or with the error that came instead; at once when there is room now.
    pub fn on_window(&self, f: OnWindow) {
        f(not_yet());
    }

    /// Waits until everything sent so far is acknowledged.
    pub fn flush(&self) -> Result<()> {
        not_yet()
    }

    /// As [`Self::flush`], for at most `timeout` (TIMED_OUT).
    pub fn flush_timeout(&self, _timeout: Duration) -> Result<()> {
        not_yet()
    }

    /// The callback form of [`Self::flush`]: calls `f` once everything sent so far is acknowledged.
    pub fn on_flushed(&self, f: OnWindow) {
        f(not_yet());
    }

    /// The newest record of `key`, or of all; `None` when there is none.
    pub fn udd_get(&self, _key: Option<&str>) -> Result<Option<UddRecord>> {
        not_yet()
    }

    /// Follows records and reports, on a connection of its own.
    pub fn udd_subscribe(&self, _options: &SubscribeOptions) -> Result<Subscription> {
        not_yet()
    }

    /// The names of a record's fields.
    pub fn udd_headers(&self) -> Result<Vec<String>> {
        not_yet()
    }

    /// Replaces the names of a record's fields.
    pub fn udd_set_headers(&self, _headers: &[String]) -> Result<()> {
        not_yet()
    }

    /// Forgets all records.
    pub fn udd_purge(&self) -> Result<()> {
        not_yet()
    }

    /// Sends a report; pipelined like a send.
    pub fn meta_report(&self, _data: &[u8]) -> Result<()> {
        not_yet()
    }

    /// As [`Self::meta_report`], but WOULD_BLOCK instead of waiting.
    pub fn try_meta_report(&self, _data: &[u8]) -> Result<()> {
        not_yet()
    }

    /// Sends a report and waits until it is stored; returns its Seq.
    pub fn meta_report_sync(&self, _data: &[u8]) -> Result<u64> {
        not_yet()
    }

    /// Says that this run is ready.
    pub fn ready(&self) -> Result<()> {
        not_yet()
    }

    /// Was this run asked to stop? The first call asks to be told; from then on it is one load. Always false for a person.
    pub fn stop_requested(&self) -> Result<bool> {
        not_yet()
    }

    /// Waits until this run is asked to stop; false when `timeout` is over first.
    pub fn wait_stop(&self, _timeout: Option<Duration>) -> Result<bool> {
        not_yet()
    }

    /// Calls `f` once this run is asked to stop; at once when it was already. Never for a person.
    pub fn on_stop(&self, _f: OnStop) -> Result<()> {
        not_yet()
    }

    /// Asks the orchestrator anything and waits for the answer.
    pub fn call(&self, _request: request::Kind, _timeout: Option<Duration>) -> Result<response::Kind> {
        not_yet()
    }

    /// Internal name of the process this client speaks for, or `@name`.
    #[must_use]
    pub fn internal_name(&self) -> String {
        String::new()
    }

    /// RunId this client speaks for; none for a person.
    #[must_use]
    pub fn run(&self) -> Option<String> {
        None
    }

    /// Largest record the orchestrator takes, in bytes.
    #[must_use]
    pub fn max_record(&self) -> usize {
        0
    }

    /// Waits until everything sent is acknowledged, at most 5 s, and ends the connection; returns the first error.
    pub fn close(&self) -> Result<()> {
        self.close_timeout(Duration::from_secs(5))
    }

    /// As [`Self::close`], waiting at most `timeout`.
    pub fn close_timeout(&self, _timeout: Duration) -> Result<()> {
        not_yet()
    }
}

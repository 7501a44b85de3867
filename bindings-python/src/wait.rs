//! Waiting as Python expects it: other threads run meanwhile, and Ctrl-C is heard.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use copo::{Client, Error, ErrorCode, Result};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::error::to_py;

/// How long Ctrl-C may stay unheard: only the main thread, attached, runs Python's signal handlers.
const SLICE: Duration = Duration::from_millis(100);

/// When a call has waited long enough.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// However long it takes.
    pub(crate) const NEVER: Self = Self(None);

    /// From a timeout in seconds; `None`: never.
    pub(crate) fn after(seconds: Option<f64>) -> PyResult<Self> {
        let Some(seconds) = seconds else { return Ok(Self(None)) };
        let timeout = Duration::try_from_secs_f64(seconds)
            .map_err(|why| PyValueError::new_err(format!("cannot wait for {seconds} seconds: {why}")))?;
        Ok(Self(Instant::now().checked_add(timeout)))
    }

    /// What is left, if there is an end at all.
    pub(crate) fn left(self) -> Option<Duration> {
        self.0.map(|end| end.saturating_duration_since(Instant::now()))
    }
}

/// Calls `wait` with one slice of the time after the other, until it gives something else than TIMED_OUT or the
/// deadline is over. It is called at least once.
pub(crate) fn in_slices<T: Send>(
    py: Python<'_>,
    deadline: Deadline,
    mut wait: impl FnMut(Duration) -> Result<T> + Send,
) -> PyResult<T> {
    loop {
        let left = deadline.left().unwrap_or(SLICE);
        match py.detach(|| wait(left.min(SLICE))) {
            Err(error) if error.code() == ErrorCode::TimedOut && left > SLICE || is_endless(&error, deadline) => {
                py.check_signals()?;
            }
            outcome => return outcome.map_err(to_py),
        }
    }
}

/// As [`in_slices`], for a call that STOPPING ends. The SDK ends a wait that a stop finds waiting; one that comes between
/// two slices finds none, so it is looked for here.
pub(crate) fn until_stop<T: Send>(
    py: Python<'_>,
    client: &Client,
    deadline: Deadline,
    mut wait: impl FnMut(Duration) -> Result<T> + Send,
) -> PyResult<T> {
    let was_told = client.is_told_to_stop();
    in_slices(py, deadline, |slice| match client.is_told_to_stop() {
        true if !was_told => Err(Error::new(ErrorCode::Stopping, "cannot wait longer: this run was asked to stop")),
        true | false => wait(slice),
    })
}

fn is_endless(error: &Error, deadline: Deadline) -> bool {
    error.code() == ErrorCode::TimedOut && deadline.0.is_none()
}

/// Makes a call that waits and cannot be given a slice of time.
pub(crate) fn for_call<T: Send + 'static>(
    py: Python<'_>,
    call: impl FnOnce() -> Result<T> + Send + 'static,
) -> PyResult<T> {
    if !hears_signals(py)? {
        return py.detach(call).map_err(to_py);
    }
    // Ctrl-C must be heard on this thread, so another one waits; after an interrupt it is left to itself.
    let (give, answer) = Answer::expected();
    thread::Builder::new()
        .name("copo-call".into())
        .spawn(move || give(call()))
        .map_err(|why| PyRuntimeError::new_err(format!("cannot start a thread to wait on: {why}")))?;
    answer.wait(py, Deadline::NEVER)
}

/// Only Python's main thread runs signal handlers.
fn hears_signals(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import("threading")?;
    Ok(threading.call_method0("current_thread")?.is(&threading.call_method0("main_thread")?))
}

/// What the SDK calls back with an answer, on a thread of its own.
pub(crate) type Give<T> = Box<dyn FnOnce(Result<T>) + Send>;

/// An answer that the SDK will call back.
pub(crate) struct Answer<T>(mpsc::Receiver<Result<T>>);

impl<T: Send + 'static> Answer<T> {
    /// An answer to wait for, and what gives it.
    pub(crate) fn expected() -> (Give<T>, Self) {
        let (tx, rx) = mpsc::sync_channel(1);
        // Nobody listens any more when the call that waits was interrupted.
        (Box::new(move |answer| drop(tx.try_send(answer))), Self(rx))
    }

    /// Waits for it.
    pub(crate) fn wait(self, py: Python<'_>, deadline: Deadline) -> PyResult<T> {
        let receiver = Mutex::new(self.0); // Only to be shared with a closure that may run detached.
        in_slices(py, deadline, |slice| receive(&receiver, slice))
    }

    /// Waits for it, or until this run is asked to stop.
    pub(crate) fn wait_until_stop(self, py: Python<'_>, client: &Client, deadline: Deadline) -> PyResult<T> {
        let receiver = Mutex::new(self.0);
        until_stop(py, client, deadline, |slice| receive(&receiver, slice))
    }
}

fn receive<T>(receiver: &Mutex<mpsc::Receiver<Result<T>>>, slice: Duration) -> Result<T> {
    match receiver.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(slice) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Timeout) => Err(Error::new(ErrorCode::TimedOut, "cannot wait longer for the answer")),
        Err(RecvTimeoutError::Disconnected) => Err(Error::new(ErrorCode::Closed, "cannot wait: the client is closed")),
    }
}

//! Following the log: an iterator.

use std::sync::{Mutex, MutexGuard, PoisonError};

use copo::{ErrorCode, Stopper};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::error::to_py;
use crate::item::{Names, ref_to_object, to_object};
use crate::wait::{Deadline, in_slices};

/// A place in the log that moves on with each item: iterate over it. It ends when all that was asked for was given, when
/// this run is asked to stop, and after close().
#[pyclass(frozen, module = "copo", weakref)]
pub(crate) struct Subscription {
    /// Never locked across a wait for the interpreter: what is made under it (strings, bytes, records) runs no Python code.
    reading: Mutex<Reading>,
    stopper: Stopper,
}

/// What whoever reads uses.
struct Reading {
    subscription: copo::Subscription,
    names: Names,
}

impl Subscription {
    pub(crate) fn new(subscription: copo::Subscription) -> Self {
        let stopper = subscription.stopper();
        Self { stopper, reading: Mutex::new(Reading { subscription, names: Names::default() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was read already, if no other thread is reading just now.
    fn buffered(&self, py: Python<'_>) -> Option<PyResult<Py<PyAny>>> {
        let mut reading = self.reading.try_lock().ok()?;
        let Reading { subscription, names } = &mut *reading;
        Some(ref_to_object(py, subscription.buffered_ref()?, names))
    }

    /// What has come already, if no other thread is reading just now.
    fn try_next(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let Ok(mut reading) = self.reading.try_lock() else { return Ok(None) };
        let Reading { subscription, names } = &mut *reading;
        match subscription.try_next().map_err(to_py)? {
            Some(item) => to_object(py, item, names).map(Some),
            None => Ok(None),
        }
    }

    fn wait_next(&self, py: Python<'_>, deadline: Deadline) -> PyResult<Py<PyAny>> {
        if let Some(item) = self.buffered(py) {
            return item;
        }
        if let Some(item) = self.try_next(py)? {
            return Ok(item);
        }
        // Only an empty line waits, and other Python threads must run meanwhile.
        let item = in_slices(py, deadline, |slice| self.lock().subscription.next(Some(slice)))?;
        to_object(py, item, &mut Names::default())
    }

    /// As an iterator ends: silently where there is nothing more to come.
    fn or_end<T>(&self, py: Python<'_>, next: PyResult<T>) -> PyResult<Option<T>> {
        match next {
            Ok(item) => Ok(Some(item)),
            Err(error) if ends(py, &error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Is it one of the errors by which a subscription says that it is over?
fn ends(py: Python<'_>, error: &PyErr) -> bool {
    let code = error.value(py).getattr("code").and_then(|code| code.extract::<i32>());
    let code = code.ok().and_then(|code| ErrorCode::try_from(code).ok());
    matches!(code, Some(ErrorCode::End | ErrorCode::Stopping | ErrorCode::Closed))
}

#[pymethods]
impl Subscription {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        if let Some(item) = self.buffered(py) {
            return item.map(Some);
        }
        let next = self.wait_next(py, Deadline::NEVER);
        self.or_end(py, next)
    }

    /// The next item, waiting for it at most `timeout` seconds: TimedOutError. EndError when all that was asked for was
    /// given, StoppingError when this run was asked to stop, ClosedError after close().
    #[pyo3(signature = (timeout = None))]
    fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        self.wait_next(py, Deadline::after(timeout)?)
    }

    /// Waits for an item and gives it with what else has come by then, at most `limit`; [] at the end. For copo.aio.
    fn _next_batch<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyList>> {
        let batch = PyList::empty(py);
        let next = self.wait_next(py, Deadline::NEVER);
        let mut item = self.or_end(py, next)?;
        while let Some(next) = item {
            batch.append(next)?;
            item = if batch.len() < limit { self.buffered(py).transpose()? } else { None };
        }
        Ok(batch)
    }

    /// Seq of the newest record or report when the subscription began.
    #[getter]
    fn head(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.lock().subscription.head())
    }

    /// Names the log that is read: 16 bytes. With a seq it is a cursor to come back with.
    #[getter]
    fn log_id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.lock().subscription.log_id()))
    }

    /// Ends it, from any thread: whoever waits for the next item gets none.
    fn close(&self) {
        self.stopper.stop();
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, pyo3::types::PyTuple>) {
        self.close();
    }
}

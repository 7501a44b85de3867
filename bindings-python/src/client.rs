//! The client: every verb, as Python calls it.

use std::borrow::Cow;
use std::sync::{Mutex, OnceLock, PoisonError};

use copo::{ConnectOptions, Error, ErrorCode, SubscribeOptions};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::bytes_like::BytesLike;
use crate::callback::calling;
use crate::error::to_py;
use crate::item::Record;
use crate::start::start;
use crate::subscription::Subscription;
use crate::wait::{Answer, Deadline, for_call, in_slices, until_stop};

/// What the orchestrator's log calls this SDK.
const SDK: &str = concat!("python/", env!("CARGO_PKG_VERSION"));

/// A client of the orchestrator; connect() makes one. Any number of threads may use it at once.
#[pyclass(frozen, module = "copo", weakref)]
pub(crate) struct Client {
    options: ConnectOptions,
    /// Set at the first use.
    connected: OnceLock<copo::Client>,
    /// Held while connecting, so that two threads do not connect twice.
    connecting: Mutex<()>,
}

/// Connects as the environment says (COPO_SOCKET, COPO_TOKEN), or as told.
#[pyfunction]
#[pyo3(signature = (socket = None, *, token = None, name = None))]
pub(crate) fn connect(
    py: Python<'_>,
    socket: Option<&Bound<'_, PyAny>>,
    token: Option<String>,
    name: Option<String>,
) -> PyResult<Client> {
    let mut options = copo::Client::options().sdk(SDK).name("python");
    if let Some(socket) = socket {
        // A pathlib.Path is as good as a str.
        options = options.socket(py.import("os")?.call_method1("fspath", (socket,))?.extract::<String>()?);
    }
    if let Some(token) = token {
        options = options.token(token);
    }
    if let Some(name) = name {
        options = options.name(name);
    }
    let client = Client::new(options);
    client.connected(py)?;
    Ok(client)
}

/// The client behind the module's own functions: it connects, as the environment says, when it is first used.
#[pyfunction]
pub(crate) fn default_client() -> Client {
    Client::new(copo::Client::options().sdk(SDK).name("python"))
}

impl Client {
    fn new(options: ConnectOptions) -> Self {
        Self { options, connected: OnceLock::new(), connecting: Mutex::new(()) }
    }

    fn connected(&self, py: Python<'_>) -> PyResult<&copo::Client> {
        match self.connected.get() {
            Some(client) => Ok(client),
            None => py.detach(|| self.connect()).map_err(to_py),
        }
    }

    fn connect(&self) -> copo::Result<&copo::Client> {
        let _one = self.connecting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = self.connected.get() {
            return Ok(client);
        }
        let client = self.options.clone().connect()?;
        Ok(self.connected.get_or_init(|| client))
    }

    /// Waits until the window has room again.
    fn wait_for_room(&self, py: Python<'_>, deadline: Deadline) -> PyResult<()> {
        let (give, answer) = Answer::expected();
        let client = self.connected(py)?;
        client.on_window(give);
        answer.wait_until_stop(py, client, deadline)
    }

    /// Calls `send` until it finds room in the window.
    fn with_room<T>(
        &self,
        py: Python<'_>,
        deadline: Deadline,
        mut send: impl FnMut(&copo::Client) -> copo::Result<T>,
    ) -> PyResult<T> {
        loop {
            match send(self.connected(py)?) {
                Err(error) if error.code() == ErrorCode::WouldBlock => self.wait_for_room(py, deadline)?,
                sent => return sent.map_err(to_py),
            }
        }
    }
}

/// A key as given; None and "" are none.
fn text<'a>(key: Option<&'a Bound<'_, PyString>>) -> PyResult<Cow<'a, str>> {
    key.map_or(Ok(Cow::Borrowed("")), |key| key.to_cow())
}

impl Drop for Client {
    /// The last handle's end waits for acknowledgements, and the thread that takes them may want the interpreter.
    fn drop(&mut self) {
        if let Some(client) = self.connected.take() {
            Python::attach(|py| py.detach(|| drop(client)));
        }
    }
}

#[pymethods]
impl Client {
    /// Sends one record, pipelined: returns when it is on its way. flush() waits until all are stored, and the first
    /// error of an earlier send is raised by a later call. Waits, at most `timeout` seconds, while the window of
    /// unacknowledged sends is full.
    #[pyo3(signature = (data, key = None, *, timeout = None), text_signature = "($self, data, key='', *, timeout=None)")]
    fn udd_send(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyString>>,
        timeout: Option<f64>,
    ) -> PyResult<()> {
        let (client, data, key) = (self.connected(py)?, BytesLike::of(data)?, text(key)?);
        match client.try_udd_send_key(&key, &data) {
            // Only a full window waits, and other Python threads must run meanwhile.
            Err(error) if error.code() == ErrorCode::WouldBlock => {
                let (key, data) = (&*key, &*data);
                let deadline = Deadline::after(timeout)?;
                until_stop(py, client, deadline, |slice| client.udd_send_timeout(key, data, Some(slice)))
            }
            sent => sent.map_err(to_py),
        }
    }

    /// As udd_send(), but raises WouldBlockError, having sent nothing, where that would wait.
    #[pyo3(signature = (data, key = None), text_signature = "($self, data, key='')")]
    fn try_udd_send(&self, py: Python<'_>, data: &Bound<'_, PyAny>, key: Option<&Bound<'_, PyString>>) -> PyResult<()> {
        self.connected(py)?.try_udd_send_key(&text(key)?, &BytesLike::of(data)?).map_err(to_py)
    }

    /// Sends one record, waits until it is stored as durably as configured, and returns its seq. With `expect_seq` only
    /// if that is the seq of the newest record of the key (0: if there is none): ConflictError.
    #[pyo3(
        signature = (data, key = None, *, expect_seq = None, timeout = None),
        text_signature = "($self, data, key='', *, expect_seq=None, timeout=None)"
    )]
    fn udd_send_sync(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyString>>,
        expect_seq: Option<u64>,
        timeout: Option<f64>,
    ) -> PyResult<u64> {
        let (client, data, key) = (self.connected(py)?, BytesLike::of(data)?, text(key)?);
        let deadline = Deadline::after(timeout)?;
        if expect_seq.is_some() {
            let (client, key, data) = (client.clone(), key.into_owned(), data.to_vec());
            let timeout = deadline.left();
            return for_call(py, move || client.send_sync(&copo::Send { key: &key, data: &data, expect_seq, timeout }));
        }
        let answer = self.with_room(py, deadline, |client| {
            let (give, answer) = Answer::expected();
            client.udd_send_acked(&key, &data, give).map(|()| answer)
        })?;
        answer.wait_until_stop(py, client, deadline)
    }

    /// Waits until all that was sent is acknowledged: stored as durably as configured. Raises the first error of it.
    #[pyo3(signature = (timeout = None))]
    fn flush(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let client = self.connected(py)?;
        until_stop(py, client, Deadline::after(timeout)?, |slice| client.flush_timeout(slice))
    }

    /// The newest record of a key, or of all; None when there is none.
    #[pyo3(signature = (key = None))]
    fn udd_get(&self, py: Python<'_>, key: Option<&Bound<'_, PyString>>) -> PyResult<Option<Record>> {
        let client = self.connected(py)?.clone();
        let key = key.map(|key| key.to_cow().map(Cow::into_owned)).transpose()?;
        let record = for_call(py, move || client.udd_get(key.as_deref()))?;
        Ok(record.map(|record| Record::of(py, record)))
    }

    /// Follows the log: iterate over what this returns. It begins at `from_`, which is "new", "first" or a seq, or with the
    /// first item at or after `since`, a datetime or microseconds since the Unix epoch, such as a sent_time. A gap in what
    /// could be given is an item of its own, a Gap, which is never left out.
    #[pyo3(
        signature = (key_pattern = None, *, from_ = None, since = None, log_id = None, records = true, reports = false, to = None, follow = true),
        text_signature = "($self, key_pattern='', *, from_='new', since=None, log_id=None, records=True, reports=False, to=None, follow=True)"
    )]
    #[allow(clippy::too_many_arguments)] // They are keywords where it is called.
    fn udd_subscribe(
        &self,
        py: Python<'_>,
        key_pattern: Option<String>,
        from_: Option<&Bound<'_, PyAny>>,
        since: Option<&Bound<'_, PyAny>>,
        log_id: Option<Vec<u8>>,
        records: bool,
        reports: bool,
        to: Option<u64>,
        follow: bool,
    ) -> PyResult<Subscription> {
        if !records && !reports {
            return Err(PyValueError::new_err("cannot subscribe: neither records nor reports are asked for"));
        }
        let mut options = SubscribeOptions::default().records(records).reports(reports);
        options = options.from(start(from_, since)?).log_id(log_id.unwrap_or_default());
        options = options.key_pattern(key_pattern.unwrap_or_default());
        options = if let Some(to) = to { options.to(to) } else { options };
        options = if follow { options } else { options.no_follow() };
        let client = self.connected(py)?.clone();
        for_call(py, move || client.udd_subscribe(&options)).map(Subscription::new)
    }

    /// The headers: the names of the fields of a record.
    fn udd_headers(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let client = self.connected(py)?.clone();
        for_call(py, move || client.udd_headers())
    }

    /// Replaces the headers.
    fn udd_set_headers(&self, py: Python<'_>, headers: Vec<String>) -> PyResult<()> {
        let client = self.connected(py)?.clone();
        for_call(py, move || client.udd_set_headers(&headers))
    }

    /// Sends a report, pipelined like a record and in order with them.
    fn meta_report(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let data = BytesLike::of(data)?;
        self.with_room(py, Deadline::NEVER, |client| client.try_meta_report(&data))
    }

    /// As meta_report(), but raises WouldBlockError, having sent nothing, where that would wait.
    fn try_meta_report(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        self.connected(py)?.try_meta_report(&BytesLike::of(data)?).map_err(to_py)
    }

    /// Tells that this run is ready (`ready = "sdk"` in copo.toml waits for it).
    fn ready(&self, py: Python<'_>) -> PyResult<()> {
        let client = self.connected(py)?.clone();
        for_call(py, move || client.ready())
    }

    /// Was this run asked to stop? From the first call on the run is told by this event, and gets the signal only after
    /// half the grace.
    fn stop_requested(&self, py: Python<'_>) -> PyResult<bool> {
        let client = self.connected(py)?;
        py.detach(|| client.stop_requested()).map_err(to_py)
    }

    /// Waits until this run is asked to stop; False when `timeout` seconds are over first.
    #[pyo3(signature = (timeout = None))]
    fn wait_stop(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let client = self.connected(py)?;
        let deadline = Deadline::after(timeout)?;
        let stopped = in_slices(py, deadline, |slice| match client.wait_stop(Some(slice))? {
            true => Ok(()),
            false => Err(Error::new(ErrorCode::TimedOut, "cannot tell of a stop: none was asked for in time")),
        });
        match stopped {
            Ok(()) => Ok(true),
            Err(error) if error.is_instance_of::<pyo3::exceptions::PyTimeoutError>(py) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Flushes, waiting at most `timeout` seconds, and ends the connection; raises the first error of what was sent.
    #[pyo3(signature = (timeout = None), text_signature = "($self, timeout=5.0)")]
    fn close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let Some(client) = self.connected.get() else { return Ok(()) }; // It was never used.
        let left = Deadline::after(timeout)?.left();
        let closed = py.detach(|| left.map_or_else(|| client.close(), |left| client.close_timeout(left)));
        closed.map_err(to_py)
    }

    /// Internal name of the process this client speaks for, or "@name" for a person.
    #[getter]
    fn internal_name(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.connected(py)?.internal_name())
    }

    /// RunId this client speaks for; None for a person.
    #[getter]
    fn run(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(self.connected(py)?.run())
    }

    /// Largest record the orchestrator takes, in bytes.
    #[getter]
    fn max_record(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.connected(py)?.max_record())
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py, None)
    }

    fn __repr__(&self) -> String {
        let name = self.connected.get().map(copo::Client::internal_name);
        format!("<copo.Client {}>", name.as_deref().unwrap_or("not connected yet"))
    }

    // The callback forms, for copo.aio: callback(error, value) is called once, on a thread of the SDK.

    fn _on_window(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<()> {
        let client = self.connected(py)?;
        py.detach(|| client.on_window(Box::new(calling(callback))));
        Ok(())
    }

    fn _on_flushed(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<()> {
        let client = self.connected(py)?;
        py.detach(|| client.on_flushed(Box::new(calling(callback))));
        Ok(())
    }

    fn _on_stop(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<()> {
        let client = self.connected(py)?;
        let called = calling(callback);
        py.detach(|| client.on_stop(Box::new(move || called(Ok(true))))).map_err(to_py)
    }

    fn _udd_send_acked(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyString>>,
        callback: Py<PyAny>,
    ) -> PyResult<()> {
        let (client, data, key) = (self.connected(py)?, BytesLike::of(data)?, text(key)?);
        let (data, key) = (&*data, &*key);
        py.detach(|| client.udd_send_acked(key, data, Box::new(calling(callback)))).map_err(to_py)
    }
}

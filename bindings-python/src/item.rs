//! What the log holds, as Python sees it: immutable objects.

use copo::v1::{self, EventKind, gap::Cause};
use copo::{Item, ItemRef, MetaReport, RecordRef, UddRecord};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// The object for an item that was waited for.
pub(crate) fn to_object(py: Python<'_>, item: Item, names: &mut Names) -> PyResult<Py<PyAny>> {
    match item {
        Item::Record(record) => names.record(py, &borrowed(&record)),
        Item::Report(report) => Ok(Py::new(py, Report::of(py, report))?.into_any()),
        Item::Gap(gap) => Ok(Py::new(py, Gap::of(py, &gap))?.into_any()),
    }
}

/// The object for an item that lies in what was read.
pub(crate) fn ref_to_object(py: Python<'_>, item: ItemRef<'_>, names: &mut Names) -> PyResult<Py<PyAny>> {
    match item {
        ItemRef::Record(record) => names.record(py, &record),
        ItemRef::Report(report) => Ok(Py::new(py, Report::of(py, *report))?.into_any()),
        ItemRef::Gap(gap) => Ok(Py::new(py, Gap::of(py, &gap))?.into_any()),
    }
}

fn borrowed(record: &UddRecord) -> RecordRef<'_> {
    let UddRecord { seq, sent_time, sent_by, key, udd_buff } = record;
    RecordRef { seq: *seq, sent_time: *sent_time, sent_by, key, udd_buff }
}

/// How many keys are remembered.
const KEYS: usize = 64;

/// Senders and keys as Python's strings: the same few come again and again.
#[derive(Default)]
pub(crate) struct Names {
    sender: Option<Name>,
    /// A key's place is its hash's.
    keys: Vec<Option<Name>>,
}

struct Name {
    text: String,
    object: Py<PyString>,
}

impl Names {
    fn record(&mut self, py: Python<'_>, record: &RecordRef<'_>) -> PyResult<Py<PyAny>> {
        let sent_by = remembered(py, &mut self.sender, record.sent_by);
        self.keys.resize_with(KEYS, || None);
        let key = remembered(py, &mut self.keys[place_of(record.key)], record.key);
        let RecordRef { seq, sent_time, udd_buff, .. } = *record;
        // Copied once, here: a slice of what was read would be gone with the next read.
        let record = Record { seq, sent_time, sent_by, key, udd_buff: PyBytes::new(py, udd_buff).unbind() };
        Ok(Py::new(py, record)?.into_any())
    }
}

fn remembered(py: Python<'_>, place: &mut Option<Name>, text: &str) -> Py<PyString> {
    match place {
        Some(name) if name.text == text => name.object.clone_ref(py),
        _ => {
            let object = PyString::new(py, text).unbind();
            *place = Some(Name { text: text.to_owned(), object: object.clone_ref(py) });
            object
        }
    }
}

fn place_of(key: &str) -> usize {
    key.bytes().fold(0usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into())) % KEYS
}

/// One record of the user-defined data.
#[pyclass(frozen, module = "copo")]
pub(crate) struct Record {
    /// Its place in the one sequence that records and reports share; rising, from 1.
    #[pyo3(get)]
    seq: u64,
    /// When the orchestrator took it, microseconds since the Unix epoch.
    #[pyo3(get)]
    sent_time: u64,
    /// Internal name of the process that sent it, or "@name" for a person.
    #[pyo3(get)]
    sent_by: Py<PyString>,
    /// Its key; "" is none.
    #[pyo3(get)]
    key: Py<PyString>,
    /// What the sender gave.
    #[pyo3(get)]
    udd_buff: Py<PyBytes>,
}

impl Record {
    pub(crate) fn of(py: Python<'_>, record: UddRecord) -> Self {
        let UddRecord { seq, sent_time, sent_by, key, udd_buff } = record;
        let text = |text: &str| PyString::new(py, text).unbind();
        Self {
            seq,
            sent_time,
            sent_by: text(&sent_by),
            key: text(&key),
            udd_buff: PyBytes::new(py, &udd_buff).unbind(),
        }
    }
}

#[pymethods]
impl Record {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (by, key) = (self.sent_by.bind(py).repr()?, self.key.bind(py).repr()?);
        let buff = self.udd_buff.bind(py).repr()?;
        Ok(format!("Record(seq={}, sent_time={}, sent_by={by}, key={key}, udd_buff={buff})", self.seq, self.sent_time))
    }
}

/// One report about the application.
#[pyclass(frozen, module = "copo")]
pub(crate) struct Report {
    /// Its place in the one sequence that records and reports share.
    #[pyo3(get)]
    seq: u64,
    /// When the orchestrator took it, microseconds since the Unix epoch.
    #[pyo3(get)]
    report_time: u64,
    /// Internal name of the process that sent it, "@name" for a person, or "orchestrator".
    #[pyo3(get)]
    sent_by: String,
    /// What the sender gave; from the orchestrator a sentence for people.
    #[pyo3(get)]
    report_buff: Py<PyBytes>,
    /// What happened, typed; only in the orchestrator's own reports.
    #[pyo3(get)]
    facts: Option<Py<Facts>>,
}

impl Report {
    fn of(py: Python<'_>, report: MetaReport) -> Self {
        let MetaReport { seq, report_time, sent_by, report_buff, facts } = report;
        let facts = facts.and_then(|facts| Py::new(py, Facts(facts)).ok());
        Self { seq, report_time, sent_by, report_buff: PyBytes::new(py, &report_buff).unbind(), facts }
    }
}

#[pymethods]
impl Report {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let by = quoted(py, &self.sent_by)?;
        let buff = self.report_buff.bind(py).repr()?;
        let facts = self.facts.as_ref().map_or(Ok("None".to_owned()), |facts| facts.get().__repr__(py))?;
        let Self { seq, report_time, .. } = self;
        Ok(format!("Report(seq={seq}, report_time={report_time}, sent_by={by}, report_buff={buff}, facts={facts})"))
    }
}

/// What the orchestrator reports; an attribute is None where it means nothing.
#[pyclass(frozen, module = "copo")]
pub(crate) struct Facts(v1::Facts);

#[pymethods]
impl Facts {
    /// What happened: "started", "exited", "backoff", …
    #[getter]
    fn event(&self) -> String {
        let name = EventKind::try_from(self.0.event).map_or("EVENT_KIND_UNSPECIFIED", |event| event.as_str_name());
        name.trim_start_matches("EVENT_KIND_").to_ascii_lowercase()
    }

    /// Name of the process as configured.
    #[getter]
    fn process(&self) -> Option<&str> {
        self.0.process.as_deref()
    }

    /// Internal name of the instance, <name>-<n>.
    #[getter]
    fn internal_name(&self) -> Option<&str> {
        self.0.internal_name.as_deref()
    }

    /// RunId of the run.
    #[getter]
    fn run(&self) -> Option<&str> {
        self.0.run.as_deref()
    }

    /// Process id of the run's main process.
    #[getter]
    fn pid(&self) -> Option<u32> {
        self.0.pid
    }

    /// Exit code of the run's main process.
    #[getter]
    fn exit_code(&self) -> Option<i32> {
        self.0.exit_code
    }

    /// Name of the signal that ended the run's main process, such as "SIGKILL".
    #[getter]
    fn signal(&self) -> Option<&str> {
        self.0.signal.as_deref()
    }

    /// Why, in words.
    #[getter]
    fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let mut parts = vec![format!("event={}", quoted(py, &self.event())?)];
        let texts = [
            ("process", self.process()),
            ("internal_name", self.internal_name()),
            ("run", self.run()),
            ("signal", self.signal()),
            ("reason", self.reason()),
        ];
        for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text?))) {
            parts.push(format!("{name}={}", quoted(py, text)?));
        }
        parts.extend(self.0.pid.map(|pid| format!("pid={pid}")));
        parts.extend(self.0.exit_code.map(|code| format!("exit_code={code}")));
        Ok(format!("Facts({})", parts.join(", ")))
    }
}

/// Tells a reader that it was not given what it asked for.
#[pyclass(frozen, module = "copo")]
pub(crate) struct Gap {
    /// Why: "trimmed", "log_replaced", "damaged" or "purged".
    #[pyo3(get)]
    cause: String,
    /// First seq passed over; 0 where the log is another one.
    #[pyo3(get)]
    first: u64,
    /// Last seq passed over; 0 where the log is another one.
    #[pyo3(get)]
    last: u64,
    /// Names the log that is read from here on.
    #[pyo3(get)]
    log_id: Py<PyBytes>,
}

impl Gap {
    fn of(py: Python<'_>, gap: &copo::Gap) -> Self {
        let name = Cause::try_from(gap.cause).map_or("CAUSE_UNSPECIFIED", |cause| cause.as_str_name());
        let cause = name.trim_start_matches("CAUSE_").to_ascii_lowercase();
        Self { cause, first: gap.first, last: gap.last, log_id: PyBytes::new(py, &gap.log_id).unbind() }
    }
}

#[pymethods]
impl Gap {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (cause, log) = (quoted(py, &self.cause)?, self.log_id.bind(py).repr()?);
        Ok(format!("Gap(cause={cause}, first={}, last={}, log_id={log})", self.first, self.last))
    }
}

/// A text as Python would write it.
fn quoted(py: Python<'_>, text: &str) -> PyResult<String> {
    Ok(PyString::new(py, text).repr()?.to_cow()?.into_owned())
}

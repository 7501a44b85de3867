//! Where a subscription begins, as Python says it.

use copo::From;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Where to begin.
pub(crate) fn start(from: Option<&Bound<'_, PyAny>>, since: Option<&Bound<'_, PyAny>>) -> PyResult<From> {
    match (from, since) {
        (None, None) => Ok(From::New),
        (Some(from), None) => place(from),
        (None, Some(since)) => time(since),
        (Some(_), Some(_)) => Err(PyValueError::new_err("cannot begin from two places: either from_ or since")),
    }
}

/// "new", "first" or a seq.
fn place(from: &Bound<'_, PyAny>) -> PyResult<From> {
    if let Ok(seq) = from.extract::<u64>() {
        return Ok(From::Seq(seq));
    }
    let Ok(word) = from.cast::<PyString>() else {
        return Err(PyTypeError::new_err(
            "cannot begin from that: \"new\", \"first\" or a seq (int, from 0) is needed",
        ));
    };
    match &*word.to_cow()? {
        "new" => Ok(From::New),
        "first" => Ok(From::First),
        other => Err(PyValueError::new_err(format!("cannot begin from {other:?}: \"new\" and \"first\" are known"))),
    }
}

/// A datetime, or microseconds since the Unix epoch.
fn time(since: &Bound<'_, PyAny>) -> PyResult<From> {
    if let Ok(time) = since.extract::<u64>() {
        return Ok(From::Time(time));
    }
    let seconds = since.call_method0("timestamp").and_then(|seconds| seconds.extract::<f64>());
    let seconds = seconds.map_err(|_| {
        PyTypeError::new_err(
            "cannot begin then: a datetime or microseconds since the Unix epoch (int, from 0) are needed",
        )
    })?;
    // A float of seconds is exact to a quarter of a microsecond in this century; before 1970 is the beginning.
    Ok(From::Time((seconds * 1e6).round().max(0.0) as u64))
}

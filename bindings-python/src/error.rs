//! The SDK's errors as Python's exceptions. The classes are Python (copo/_error.py); the numbers are proto's.

use copo::ErrorCode;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

/// `copo._error.of`, looked up at the first error.
static OF: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The exception for an error: `copo.Error` or the subclass for its code.
pub(crate) fn to_py(error: copo::Error) -> PyErr {
    Python::attach(|py| {
        let of = OF.get_or_try_init(py, || py.import("copo._error")?.getattr("of").map(Bound::unbind));
        let made = of.and_then(|of| of.bind(py).call1((error.code() as i32, error.message())));
        made.map_or_else(|failed| failed, PyErr::from_value)
    })
}

/// `ErrorCode`, an `enum.IntEnum`, made from the numbers of `copo.v1.ErrorCode`.
pub(crate) fn error_code_enum(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let members = PyDict::new(py);
    for code in (0..).map_while(|number| ErrorCode::try_from(number).ok()) {
        members.set_item(code.as_str_name().trim_start_matches("ERROR_CODE_"), code as i32)?;
    }
    let options = PyDict::new(py);
    options.set_item("module", "copo")?;
    py.import("enum")?.getattr("IntEnum")?.call(("ErrorCode", members), Some(&options))
}

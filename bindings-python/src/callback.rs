//! Python functions that the SDK calls back, for `copo.aio`: `callback(error, value)`, one of the two None.

use copo::Result;
use pyo3::prelude::*;

use crate::error::to_py;

/// Wraps a Python function. It is called on a thread of the SDK, so it should only hand over what it gets.
pub(crate) fn calling<T: for<'py> IntoPyObject<'py>>(function: Py<PyAny>) -> impl FnOnce(Result<T>) + Send {
    move |answer| {
        Python::attach(|py| {
            let called = match answer {
                Ok(value) => function.call1(py, (py.None(), value)),
                Err(error) => function.call1(py, (to_py(error), py.None())),
            };
            if let Err(error) = called {
                error.write_unraisable(py, Some(function.bind(py)));
            }
        });
    }
}

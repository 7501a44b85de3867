//! The native module copo._copo of the Copo SDK for Python. Private: people import the package `copo` around it.
//!
//! It translates: Python's arguments in, the Rust SDK's call, Python's objects out. It retries, buffers and parses nothing.
//! A call that may wait is tried first with the interpreter held, which costs least; only then it waits, detached from the
//! interpreter and in slices, so that other threads run and Ctrl-C is heard.

mod bytes_like;
mod callback;
mod client;
mod error;
mod item;
mod start;
mod subscription;
mod wait;

use pyo3::prelude::*;

#[pymodule]
mod _copo {
    use super::*;

    #[pymodule_export]
    use client::{Client, connect, default_client};
    #[pymodule_export]
    use item::{Facts, Gap, Record, Report};
    #[pymodule_export]
    use subscription::Subscription;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("ErrorCode", error::error_code_enum(module.py())?)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

//! What Python sends: bytes as they are, str as UTF-8, anything else that has the buffer protocol.

use std::borrow::Cow;
use std::ops::Deref;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView, PyString};

/// The bytes of an argument. None of them can change while the interpreter is let go: what is mutable was copied.
pub(crate) enum BytesLike<'a, 'py> {
    /// Python's own, without a copy.
    Borrowed(&'a [u8]),
    /// A text's UTF-8.
    Text(Cow<'a, str>),
    /// A copy of a buffer.
    Copied(Bound<'py, PyBytes>),
}

impl<'a, 'py> BytesLike<'a, 'py> {
    pub(crate) fn of(argument: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = argument.cast::<PyBytes>() {
            return Ok(Self::Borrowed(bytes.as_bytes()));
        }
        if let Ok(text) = argument.cast::<PyString>() {
            return Ok(Self::Text(text.to_cow()?));
        }
        // The limited API of Python 3.9 has no buffer calls: bytes(memoryview(x)) is the one copy there is anyway.
        let Ok(view) = PyMemoryView::from(argument) else {
            let kind = argument.get_type().name()?;
            let message = format!("cannot send a {kind}: bytes, str or an object with the buffer protocol is needed");
            return Err(PyTypeError::new_err(message));
        };
        let copied = view.call_method0("tobytes")?.cast_into::<PyBytes>()?;
        Ok(Self::Copied(copied))
    }
}

impl Deref for BytesLike<'_, '_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Text(text) => text.as_bytes(),
            Self::Copied(bytes) => bytes.as_bytes(),
        }
    }
}

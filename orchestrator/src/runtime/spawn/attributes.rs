//! What a child is given before it executes its program: its limits.

use std::ffi::c_int;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Set in the child, in every way to start one.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes {
    /// The limits of its resources.
    pub rlimits: Vec<(Resource, Rlimit)>,
}

impl Attributes {
    /// Sets them for the calling process; else the number of the error. Async-signal-safe.
    pub(super) fn apply(&self) -> Result<(), c_int> {
        for (resource, limit) in &self.rlimits {
            setrlimit(*resource, limit.clone()).map_err(|error| error.raw_os_error())?;
        }
        Ok(())
    }
}

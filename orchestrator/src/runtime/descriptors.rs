//! The limit of open files: a thousand children need more than the usual 1,024 here, and must not inherit more there,
//! since a program that uses select(2) breaks on a high descriptor.

/// The limit as it was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptors {
    #[cfg(unix)]
    found: rustix::process::Rlimit,
}

#[cfg(unix)]
impl Descriptors {
    /// Raises ours as far as it goes.
    pub(super) fn raise() -> Self {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let found = getrlimit(Resource::Nofile);
        let raised = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: found.maximum, ..found });
        if let Err(error) = raised {
            tracing::warn!("cannot raise the limit of open files: {error}");
        }
        Self { found }
    }

    /// The limit that was found, for a child that sets its own.
    pub(super) fn found(self) -> rustix::process::Rlimit {
        self.found
    }

    /// Gives a new child the limit that was found, a moment after its program has started: posix_spawn cannot do it
    /// before, and lowering our own meanwhile could fail the output thread.
    #[cfg(target_os = "linux")]
    pub(super) fn restore(self, pid: u32) {
        use rustix::process::{Resource, prlimit};
        // A child that has ended already needs no limit.
        let _ = prlimit(Some(super::child::pid_of(pid)), Resource::Nofile, self.found);
    }

    /// Only Linux can set another process's limit.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn restore(self, _pid: u32) {
        let _ = self.found;
    }
}

#[cfg(windows)]
impl Descriptors {
    /// There is no limit.
    pub(super) fn raise() -> Self {
        Self {}
    }

    /// There is no limit.
    pub(super) fn restore(self, _pid: u32) {}
}

//! The clocks: read here, by the edges, and nowhere else.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::supervisor::Now;

/// Microseconds since the Unix epoch.
#[must_use]
pub fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The time since the orchestrator started.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    started: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// What the supervisor is told.
    pub(super) fn now(self) -> Now {
        Now { mono: self.started.elapsed(), wall: wall() }
    }

    /// When a time by [`Now::mono`] will be.
    pub(super) fn instant(self, mono: Duration) -> Instant {
        self.started + mono
    }
}

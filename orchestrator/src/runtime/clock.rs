//! The clocks: read here, by the edges, and nowhere else.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::supervisor::Now;

/// Microseconds since the Unix epoch.
#[must_use]
pub fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The time since the machine started: the next orchestrator goes on by it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    started: Instant,
    /// What the machine's clock said then.
    base: Duration,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { started: Instant::now(), base: since_boot() }
    }

    /// What the supervisor is told.
    pub(super) fn now(self) -> Now {
        Now { mono: self.base + self.started.elapsed(), wall: wall() }
    }

    /// When a time by [`Now::mono`] will be.
    pub(super) fn instant(self, mono: Duration) -> Instant {
        self.started + mono.saturating_sub(self.base)
    }
}

#[cfg(unix)]
fn since_boot() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(windows)]
fn since_boot() -> Duration {
    // SAFETY: no memory is touched.
    Duration::from_millis(unsafe { windows_sys::Win32::System::SystemInformation::GetTickCount64() })
}

//! When a run follows another, and what else follows an end.

use std::time::Duration;

/// Whether a new run follows an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Never.
    No,
    /// After an end without success.
    OnFailure,
    /// After every end but a stop.
    Always,
}

/// Delays between restarts. The first restart comes at once, the second after `initial`, each further one `factor`
/// times later, at most `max`; a run that lasted `reset` starts the count anew.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// Delay before the second restart.
    pub initial: Duration,
    /// Growth from one delay to the next, at least 1.
    pub factor: f64,
    /// Longest delay.
    pub max: Duration,
    /// Uptime that counts as recovered.
    pub reset: Duration,
    /// By how much of itself a delay is shortened at random, at most: from 0 to 1.
    pub jitter: f64,
}

/// How many restarts are too many, and what follows then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartLimit {
    /// Restarts by policy within the window that are still all right.
    pub restarts: u32,
    /// How long a restart counts.
    pub window: Duration,
    /// What happens instead of one more.
    pub then: LimitReached,
}

/// What happens instead of one restart too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitReached {
    /// It has failed.
    GiveUp,
    /// It is restarted after the longest delay.
    KeepTrying,
    /// It has failed, and the application ends with exit code 1.
    Shutdown,
}

/// What becomes of a run when a run of something it depends on (started or ready) ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDependenceRestart {
    /// Nothing.
    Ignore,
    /// It is stopped, and started again when everything it depends on holds.
    Restart,
    /// It is stopped.
    Stop,
}

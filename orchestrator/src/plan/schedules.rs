//! What a cron trigger does beside firing in time.

use std::time::Duration;

/// What becomes of scheduled times that passed while nobody looked: the orchestrator was down, or the wall clock was set
/// forward, or the machine slept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatchUp {
    /// How long ago a time may have passed to be made up for.
    pub window: Duration,
    /// Which of them run.
    pub runs: CatchUpRuns,
}

/// Which of several missed times run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUpRuns {
    /// The newest one.
    Last,
    /// Each, one after the other, oldest first.
    All,
}

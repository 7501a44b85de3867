//! Waiting for a fact, with a deadline.

use std::time::{Duration, Instant};

/// How long a fact may take: far longer than any machine needs, so that only a real failure meets it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `fact` holds; fails the test when it does not within [`DEADLINE`].
#[track_caller]
pub fn eventually(what: &str, mut fact: impl FnMut() -> bool) {
    eventually_some(what, || fact().then_some(()));
}

/// Waits until `fact` gives something, and returns it; fails the test when it does not within [`DEADLINE`].
#[track_caller]
pub fn eventually_some<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(found) = fact() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

//! How long a restart waits.

use std::time::Duration;

use crate::plan::Backoff;

/// The delay before a restart that follows `earlier` others: none before the first, `initial` before the second, then
/// `factor` times as long each time, never above `max`.
#[must_use]
pub fn delay(backoff: &Backoff, earlier: u32) -> Duration {
    let Some(growths) = earlier.checked_sub(1) else {
        return Duration::ZERO;
    };
    let seconds = backoff.initial.as_secs_f64() * backoff.factor.powf(f64::from(growths));
    // Beyond what a Duration holds (or infinite) it is above every `max`.
    Duration::try_from_secs_f64(seconds).map_or(backoff.max, |delay| delay.min(backoff.max))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        initial: Duration::from_millis(500),
        factor: 2.0,
        max: Duration::from_secs(30),
        reset: Duration::from_secs(60),
    };

    #[test]
    fn the_first_restart_comes_at_once_and_later_ones_ever_later_up_to_the_cap() {
        let delays: Vec<u64> = (0..=8).map(|earlier| delay(&BACKOFF, earlier).as_millis() as u64).collect();
        assert_eq!(delays, [0, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert_eq!(delay(&BACKOFF, u32::MAX), BACKOFF.max);
    }
}

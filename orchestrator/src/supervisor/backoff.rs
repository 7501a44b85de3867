//! How long a restart waits, and how many are too many.

use std::collections::VecDeque;
use std::time::Duration;

use crate::plan::{Backoff, RestartLimit};

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

/// A delay shortened by as much as `chance` (from 0 to 1) says, so that what fell together does not come back together.
#[must_use]
pub fn jittered(backoff: &Backoff, delay: Duration, chance: f64) -> Duration {
    delay.mul_f64((1.0 - backoff.jitter * chance).clamp(0.0, 1.0))
}

/// The newest restarts of an instance, by the monotonic clock: no more than its limit counts.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Recent(VecDeque<Duration>);

impl Recent {
    /// Counts a restart; whether it is one too many.
    pub fn is_too_many(&mut self, limit: &RestartLimit, now: Duration) -> bool {
        self.0.retain(|at| now.saturating_sub(*at) < limit.window);
        let is_full = self.0.len() >= limit.restarts as usize;
        if is_full {
            self.0.pop_front();
        }
        self.0.push_back(now);
        is_full
    }

    /// None counts any more.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::LimitReached;

    const BACKOFF: Backoff = Backoff {
        initial: Duration::from_millis(500),
        factor: 2.0,
        max: Duration::from_secs(30),
        reset: Duration::from_secs(60),
        jitter: 0.5,
    };

    #[test]
    fn the_first_restart_comes_at_once_and_later_ones_ever_later_up_to_the_cap() {
        let delays: Vec<u64> = (0..=8).map(|earlier| delay(&BACKOFF, earlier).as_millis() as u64).collect();
        assert_eq!(delays, [0, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert_eq!(delay(&BACKOFF, u32::MAX), BACKOFF.max);
    }

    #[test]
    fn jitter_only_shortens() {
        let second = Duration::from_secs(1);
        assert_eq!(jittered(&BACKOFF, second, 0.0), second);
        assert_eq!(jittered(&BACKOFF, second, 1.0), second / 2);
        assert_eq!(jittered(&Backoff { jitter: 0.0, ..BACKOFF }, second, 1.0), second);
        assert_eq!(jittered(&BACKOFF, Duration::ZERO, 1.0), Duration::ZERO);
    }

    #[test]
    fn a_restart_counts_for_the_window_only() {
        let limit = RestartLimit { restarts: 2, window: Duration::from_secs(10), then: LimitReached::GiveUp };
        let mut recent = Recent::default();
        let at = |seconds| Duration::from_secs(seconds);
        assert_eq!([0, 1, 2].map(|second| recent.is_too_many(&limit, at(second))), [false, false, true]);
        assert_eq!([11, 12, 13].map(|second| recent.is_too_many(&limit, at(second))), [false, false, true]);
        recent.clear();
        assert!(!recent.is_too_many(&limit, at(14)));
    }
}

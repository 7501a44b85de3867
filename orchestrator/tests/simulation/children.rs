//! Random children: how a run that is spawned behaves, asked or not.

use std::time::Duration;

use copo_orchestrator::supervisor::Outcome;

use super::chance::Chance;

const MICRO: Duration = Duration::from_micros(1);
const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// How a run behaves.
pub struct Nature {
    /// Until the edge says that it runs.
    pub spawning: Duration,
    /// It cannot be spawned; whether trying again would not help.
    pub fails: Option<bool>,
    /// When it says that it is ready.
    pub ready: Option<Duration>,
    /// When it says something of itself, and what.
    pub says: Option<(Duration, usize)>,
    /// It answers when it is asked how it does.
    pub answers: bool,
    /// When it asks to be told of a stop.
    pub watches: Option<Duration>,
    /// When it ends by itself, and how.
    pub ends: Option<(Duration, Outcome)>,
    /// It ends this long after it was told to stop, or never.
    pub obeys: Option<Duration>,
    /// From the kill to the end: long in an uninterruptible sleep.
    pub dies: Duration,
    /// Until what had arrived on its connections is appended.
    pub drains: Duration,
    /// Until nothing of its group is left: long when a part of it outlives the leader.
    pub vanishes: Duration,
}

impl Nature {
    pub fn any(chance: &mut Chance) -> Self {
        let hour = 3600 * SECOND;
        let code = *chance.pick(&[0, 0, 0, 1, 3, 255]);
        let outcome = match chance.below(10) {
            0 => Outcome::Signal { number: 11, name: "SIGSEGV" },
            1 if chance.once_in(4) => Outcome::Unknown,
            _ => Outcome::Code(code),
        };
        let lifetime = match chance.below(4) {
            0 => Some(chance.time(MICRO, MILLI)),
            1 => Some(chance.time(MILLI, 10 * SECOND)),
            2 => Some(chance.time(SECOND, 24 * hour)),
            _ => None,
        };
        Self {
            spawning: mostly(chance, 50, 10 * MICRO, 3 * MILLI, 20 * SECOND),
            fails: chance.once_in(20).then(|| chance.once_in(2)),
            ready: (!chance.once_in(4)).then(|| chance.time(100 * MICRO, 2 * SECOND * 60)),
            says: chance.once_in(8).then(|| (chance.time(MICRO, 60 * SECOND), chance.below(6))),
            answers: !chance.once_in(6),
            watches: chance.once_in(3).then(|| chance.time(100 * MICRO, 5 * SECOND)),
            ends: lifetime.map(|lifetime| (lifetime, outcome)),
            obeys: (!chance.once_in(5)).then(|| chance.time(100 * MICRO, 20 * SECOND)),
            dies: mostly(chance, 50, 50 * MICRO, 5 * MILLI, 30 * SECOND),
            drains: chance.time(MICRO, 100 * MILLI),
            vanishes: mostly(chance, 20, 20 * MICRO, MILLI, 5 * SECOND),
        }
    }
}

/// At most `usual`; once in so many times up to `rare`.
fn mostly(chance: &mut Chance, times: usize, least: Duration, usual: Duration, rare: Duration) -> Duration {
    let most = if chance.once_in(times) { rare } else { usual };
    chance.time(least, most)
}

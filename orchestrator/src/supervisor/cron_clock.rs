//! When a schedule fires next, and what it makes of times that passed unseen.
//!
//! The wall clock may be set at any time, and the orchestrator may have been away. A scheduled time never runs twice. One
//! that passed unseen runs as `catch_up` says; without it, of those that an orchestrator at work came too late for the
//! first one runs, and what passed while none was there does not.

use std::time::Duration;

use super::cron::Schedule;
use crate::plan::{CatchUp, CatchUpRuns};

/// All that decides when a clock fires.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing<'a> {
    pub schedule: &'a Schedule,
    pub catch_up: Option<CatchUp>,
    /// A time fires by up to as much later.
    pub jitter: Duration,
    /// Makes the jitter of one process another than that of others.
    pub salt: u64,
}

impl Timing<'_> {
    /// When a scheduled time fires: the same whenever it is asked.
    pub fn due(&self, scheduled: u64) -> u64 {
        scheduled.saturating_add(match micros(self.jitter) {
            0 => 0,
            jitter => mixed(self.salt ^ scheduled) % jitter,
        })
    }

    fn written(&self) -> String {
        format!("{} {}", self.schedule.definition(), self.schedule.zone().name())
    }

    /// The oldest time that is made up for at `wall`.
    fn oldest(&self, catch_up: CatchUp, wall: u64) -> u64 {
        wall.saturating_sub(micros(catch_up.window)).saturating_sub(micros(self.jitter))
    }

    /// The last scheduled time up to `until`; `first` is one of them. Halving finds it in a few looks, where stepping
    /// through years of seconds would take for ever.
    fn last_until(&self, first: u64, until: u64) -> u64 {
        let (mut last, mut none_after) = (first, until);
        while none_after > last {
            let middle = last + (none_after - last) / 2;
            match self.schedule.next_after(middle).filter(|next| *next <= until) {
                Some(next) => last = next,
                None => none_after = middle,
            }
        }
        last
    }
}

/// What of a clock is to be known to the orchestrator that comes after this one. Times are microseconds since the Unix
/// epoch.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ScheduleNote {
    /// The schedule and its zone as written: of another one nothing was missed.
    pub schedule: String,
    /// What is scheduled after it has not been seen to.
    pub until: u64,
    /// Scheduled times that are dealt with: none of them runs again.
    #[serde(default)]
    pub dealt: Vec<Stretch>,
    /// From the first to the last of those that are to be run one after the other.
    #[serde(default)]
    pub missed: Option<(u64, u64)>,
}

impl ScheduleNote {
    /// Nothing was missed, and nothing of what has run is forgotten.
    pub(super) fn without_missed(self) -> Self {
        Self { until: u64::MAX, missed: None, ..self }
    }
}

/// Scheduled times that follow each other, none left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stretch {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// The one that comes after the last.
    pub then: Option<u64>,
}

/// Stretches that are remembered. Each but the first takes a clock that was set: nobody sets one that often.
const STRETCHES: usize = 256;

/// How long ago a time may have passed between two orchestrators, of which the first was killed, and still run: in
/// microseconds.
const MOMENT: u64 = 60_000_000;

/// See above.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct CronClock {
    next: Option<u64>,
    note: ScheduleNote,
}

/// What a time that has come means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Firing {
    /// It runs.
    Run(u64),
    /// Several have come, and are to run one after the other: [`CronClock::take_missed`].
    RunMissed,
    /// It, and maybe later ones, passed too long ago.
    TooLate(u64),
}

impl CronClock {
    /// Begins at `wall`: what was before counts for nothing.
    pub fn new(timing: Timing<'_>, wall: u64) -> Self {
        let note = ScheduleNote { schedule: timing.written(), until: wall, dealt: Vec::new(), missed: None };
        Self { next: timing.schedule.next_after(wall), note }
    }

    /// Goes on where the clock that left this note stopped: what has passed since is missed.
    pub fn since(timing: Timing<'_>, note: ScheduleNote, wall: u64) -> Self {
        if note.schedule != timing.written() {
            return Self::new(timing, wall);
        }
        let from = note.until.min(wall);
        let mut clock = Self { next: None, note: ScheduleNote { until: from, ..note } };
        clock.next = clock.undealt_after(timing, from);
        clock
    }

    /// Goes on with it in another orchestrator, which took over from one that was killed. Without `catch_up` what was due
    /// in the moment that nobody looked still is.
    pub fn resume(&mut self, timing: Timing<'_>, wall: u64) {
        if self.note.schedule != timing.written() {
            *self = Self::new(timing, wall);
        } else if timing.catch_up.is_none() && self.next.is_none_or(|next| timing.due(next) + MOMENT < wall) {
            self.next = self.undealt_after(timing, wall);
        }
    }

    /// The next scheduled time.
    pub fn next(&self) -> Option<u64> {
        self.next
    }

    /// When it is to be fired.
    pub fn deadline(&self, timing: Timing<'_>) -> Option<u64> {
        self.next.map(|next| timing.due(next))
    }

    pub fn note(&self) -> &ScheduleNote {
        &self.note
    }

    /// What the time that was due means, if one was; and on to the next that is still to come.
    pub fn fire(&mut self, timing: Timing<'_>, wall: u64) -> Option<Firing> {
        let scheduled = self.next.filter(|next| timing.due(*next) <= wall)?;
        // Whatever its jitter, what is older than that has come.
        let horizon = wall.saturating_sub(micros(timing.jitter)).max(scheduled);
        let is_last = self.undealt_after(timing, scheduled).is_none_or(|second| second > horizon);
        self.next = self.undealt_after(timing, horizon);
        self.note.until = horizon;
        let Some(catch_up) = timing.catch_up else {
            return Some(self.run(timing, scheduled));
        };
        let oldest = timing.oldest(catch_up, wall);
        let first =
            if scheduled >= oldest { Some(scheduled) } else { self.undealt_after(timing, oldest.saturating_sub(1)) };
        let Some(first) = first.filter(|first| *first <= horizon) else {
            return Some(Firing::TooLate(scheduled));
        };
        if is_last {
            return Some(self.run(timing, first));
        }
        let last = timing.last_until(first, horizon);
        match catch_up.runs {
            CatchUpRuns::Last if self.is_dealt_with(last) => None,
            CatchUpRuns::Last => Some(self.run(timing, last)),
            CatchUpRuns::All => {
                let earlier = self.note.missed.map_or(first, |(earlier, _)| earlier);
                self.note.missed = Some((earlier, last));
                Some(Firing::RunMissed)
            }
        }
    }

    /// The next of the missed times that is still worth a run.
    pub fn take_missed(&mut self, timing: Timing<'_>, wall: u64) -> Option<u64> {
        let (from, until) = self.note.missed.take()?;
        let oldest = timing.catch_up.map_or(wall, |catch_up| timing.oldest(catch_up, wall));
        let first = self.undealt_after(timing, from.max(oldest).saturating_sub(1)).filter(|first| *first <= until)?;
        self.deal_with(timing, first);
        if self.next == Some(first) {
            self.next = self.undealt_after(timing, first); // The clock was set back, and it would have come again.
        }
        self.note.missed = self.undealt_after(timing, first).filter(|next| *next <= until).map(|next| (next, until));
        Some(first)
    }

    /// The clock was set back to `wall`. What it missed while it was far ahead for a while it has not missed.
    pub fn set_back(&mut self, timing: Timing<'_>, wall: u64) {
        self.note.missed = self.note.missed.filter(|(from, _)| *from <= wall);
        self.next = self.undealt_after(timing, wall);
    }

    fn run(&mut self, timing: Timing<'_>, scheduled: u64) -> Firing {
        self.deal_with(timing, scheduled);
        Firing::Run(scheduled)
    }

    /// The first scheduled time after `wall` that has not run.
    fn undealt_after(&self, timing: Timing<'_>, wall: u64) -> Option<u64> {
        let mut next = timing.schedule.next_after(wall)?;
        while let Some(stretch) = self.stretch_of(next) {
            next = stretch.then?;
        }
        Some(next)
    }

    fn is_dealt_with(&self, scheduled: u64) -> bool {
        self.stretch_of(scheduled).is_some()
    }

    fn stretch_of(&self, scheduled: u64) -> Option<&Stretch> {
        self.note.dealt.iter().find(|stretch| (stretch.first..=stretch.last).contains(&scheduled))
    }

    fn deal_with(&mut self, timing: Timing<'_>, scheduled: u64) {
        let then = timing.schedule.next_after(scheduled);
        let dealt = &mut self.note.dealt;
        let place = dealt.iter().position(|stretch| stretch.then == Some(scheduled)).unwrap_or_else(|| {
            if dealt.len() == STRETCHES
                && let Some(oldest) = (0..dealt.len()).min_by_key(|place| dealt[*place].last)
            {
                dealt.remove(oldest);
            }
            dealt.push(Stretch { first: scheduled, last: scheduled, then });
            dealt.len() - 1
        });
        (dealt[place].last, dealt[place].then) = (scheduled, then);
        if let Some(after) = dealt.iter().position(|stretch| Some(stretch.first) == then) {
            (dealt[place].last, dealt[place].then) = (dealt[after].last, dealt[after].then);
            dealt.remove(after);
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The mixing step of SplitMix64.
fn mixed(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
#[path = "tests/cron_clock.rs"]
mod tests;

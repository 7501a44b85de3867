//! Probes: when a run is asked how it does, and what its answers amount to.
//!
//! ```text
//!   begin ──▶ Due ──(time)──▶ Asked ──answer, or none in time──▶ Due …
//!   begin ──▶ Listening (a log probe: nothing is asked, it is told once)
//! ```

use std::time::Duration;

use crate::plan::{Check, Probe};

/// Until the first good answer it is asked again after this, then twice as late each time, up to its interval.
const EAGER: Duration = Duration::from_millis(50);
/// An answer that is this much later than its timeout will not come: whoever was to bring it is gone.
const LOST: Duration = Duration::from_secs(5);

/// What a probe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum ProbeKind {
    /// It has started up: the others wait for that. Bad: it is stopped, and the restart policy decides.
    Startup,
    /// It is ready. Bad: it no longer is.
    Ready,
    /// It is alive. Bad: it is stopped, and the restart policy decides.
    Liveness,
    /// It reads what it follows; as liveness.
    Progress,
}

impl ProbeKind {
    /// As it stands in "the … probe failed".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Ready => "ready",
            Self::Liveness => "liveness",
            Self::Progress => "progress",
        }
    }
}

/// An answer: good, or why not.
pub type Answer = Result<(), String>;

/// What answers amount to, at the one that tips the scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Level {
    Good,
    Bad,
}

/// What a deadline asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing yet.
    None,
    /// The question is to be asked.
    Ask,
    /// No answer came at all.
    Answered(Option<Level>),
}

/// One probe of a run.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct Prober {
    phase: Phase,
    /// Good answers since the last bad one.
    successes: u32,
    /// Bad answers since the last good one.
    failures: u32,
    /// Questions before the first good answer.
    asked: u32,
    has_succeeded: bool,
    /// What its answers amount to now.
    level: Option<Level>,
    /// Why the last answer was bad, if it was.
    failure: Option<String>,
}

#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
enum Phase {
    Listening,
    Due { at: Duration },
    Asked { until: Duration },
}

impl Prober {
    pub fn begin(probe: &Probe, now: Duration) -> Self {
        let phase = match probe.check {
            Check::Log(_) => Phase::Listening,
            Check::Http { .. } | Check::Tcp(_) | Check::Exec { .. } | Check::Progress => {
                Phase::Due { at: now.saturating_add(probe.initial_delay) }
            }
        };
        Self { phase, successes: 0, failures: 0, asked: 0, has_succeeded: false, level: None, failure: None }
    }

    /// When it wants [`Prober::turn`].
    pub fn deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Listening => None,
            Phase::Due { at } | Phase::Asked { until: at } => Some(at),
        }
    }

    /// Why the last answer was bad, if it was.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Its time has come, or that of another.
    pub fn turn(&mut self, probe: &Probe, now: Duration) -> Turn {
        match self.phase {
            Phase::Due { at } if at <= now => {
                self.asked = self.asked.saturating_add(1);
                self.phase = Phase::Asked { until: now.saturating_add(probe.timeout).saturating_add(LOST) };
                Turn::Ask
            }
            Phase::Asked { until } if until <= now => {
                Turn::Answered(self.answered(probe, now, Err("there was no answer".to_owned())))
            }
            Phase::Listening | Phase::Due { .. } | Phase::Asked { .. } => Turn::None,
        }
    }

    /// An answer has come; what that amounts to, when it tips the scales. One that nobody waits for is none.
    pub fn answered(&mut self, probe: &Probe, now: Duration, answer: Answer) -> Option<Level> {
        match self.phase {
            Phase::Due { .. } => return None,
            Phase::Asked { .. } => {}
            Phase::Listening if self.has_succeeded => return None,
            Phase::Listening => {
                self.has_succeeded = answer.is_ok();
                return answer.is_ok().then_some(Level::Good);
            }
        }
        let level = self.count(probe, answer);
        self.phase = Phase::Due { at: now.saturating_add(self.pause(probe)) };
        level
    }

    fn count(&mut self, probe: &Probe, answer: Answer) -> Option<Level> {
        match answer {
            Ok(()) => {
                self.has_succeeded = true;
                self.failure = None;
                self.failures = 0;
                self.successes = self.successes.saturating_add(1);
                self.tip(Level::Good, self.successes >= probe.successes)
            }
            Err(why) => {
                self.failure = Some(why);
                self.successes = 0;
                self.failures = self.failures.saturating_add(1);
                self.tip(Level::Bad, self.failures >= probe.failures)
            }
        }
    }

    /// The level, if these answers bring it to another one.
    fn tip(&mut self, level: Level, is_enough: bool) -> Option<Level> {
        (is_enough && self.level.replace(level) != Some(level)).then_some(level)
    }

    fn pause(&self, probe: &Probe) -> Duration {
        if self.has_succeeded {
            return probe.interval;
        }
        // From 50 ms on, twelve doublings are more than three minutes.
        let doublings = self.asked.saturating_sub(1).min(12);
        EAGER.saturating_mul(1 << doublings).min(probe.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Address;

    fn probe(successes: u32, failures: u32) -> Probe {
        let check = Check::Tcp(Address { host: "localhost".to_owned(), port: 1 });
        let second = Duration::from_secs(1);
        Probe { check, interval: second, timeout: second, successes, failures, initial_delay: second }
    }

    /// Asked when it is due, it answers so; what that amounts to.
    fn ask(prober: &mut Prober, probe: &Probe, answer: bool) -> Option<Level> {
        let at = prober.deadline().expect("it is due");
        assert_eq!(prober.turn(probe, at - Duration::from_nanos(1)), Turn::None);
        assert_eq!(prober.turn(probe, at), Turn::Ask);
        prober.answered(probe, at, if answer { Ok(()) } else { Err("no".to_owned()) })
    }

    #[test]
    fn only_so_many_answers_of_a_kind_in_a_row_tip_the_scales_and_once() {
        let probe = probe(2, 3);
        let mut prober = Prober::begin(&probe, Duration::ZERO);
        let answers = [true, false, true, true, true, false, true, true, false, false, false, false, true, true];
        let levels = answers.map(|answer| ask(&mut prober, &probe, answer));
        let (good, bad) = (Some(Level::Good), Some(Level::Bad));
        assert_eq!(levels, [None, None, None, good, None, None, None, None, None, None, bad, None, None, good]);
    }

    #[test]
    fn it_is_asked_eagerly_until_it_answers_well_the_first_time() {
        let probe = probe(1, 3);
        let mut prober = Prober::begin(&probe, Duration::ZERO);
        let mut pauses = Vec::new();
        for answer in [false, false, false, false, false, false, true, false] {
            let asked = prober.deadline().expect("it is due");
            ask(&mut prober, &probe, answer);
            pauses.push((prober.deadline().expect("it is due") - asked).as_millis());
        }
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000, 1000]);
    }

    #[test]
    fn no_answer_is_a_bad_one_and_a_late_one_none() {
        let probe = probe(1, 1);
        let mut prober = Prober::begin(&probe, Duration::ZERO);
        let asked = Duration::from_secs(1);
        assert_eq!(prober.turn(&probe, asked), Turn::Ask);
        assert_eq!(prober.turn(&probe, asked + probe.timeout), Turn::None);
        let late = prober.deadline().expect("an answer is waited for");
        assert_eq!(prober.turn(&probe, late), Turn::Answered(Some(Level::Bad)));
        assert_eq!(prober.failure(), Some("there was no answer"));
        assert_eq!(prober.answered(&probe, late, Ok(())), None);
        assert_eq!(prober.failure(), Some("there was no answer"));
    }

    #[test]
    fn a_log_is_listened_to_and_told_once() {
        let probe = Probe { check: Check::Log(crate::plan::Pattern::Text("up".to_owned())), ..probe(1, 1) };
        let mut prober = Prober::begin(&probe, Duration::ZERO);
        assert_eq!(prober.deadline(), None);
        assert_eq!(prober.answered(&probe, Duration::ZERO, Ok(())), Some(Level::Good));
        assert_eq!(prober.answered(&probe, Duration::ZERO, Ok(())), None);
    }
}

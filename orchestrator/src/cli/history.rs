//! The runs of a process, as the orchestrator's reports tell them.

use std::collections::HashMap;
use std::time::Duration;

use copo::v1::{EventKind, Facts, MetaReport};
use serde_json::{Value, json};

/// One run, or a firing that came to none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PastRun {
    pub process: String,
    /// Absent for a firing that came to none.
    pub run: Option<String>,
    pub internal_name: Option<String>,
    pub trigger: Option<String>,
    pub scheduled_time: Option<u64>,
    pub started_at: Option<u64>,
    pub ended_at: Option<u64>,
    pub outcome: Outcome,
    pub exit_code: Option<i32>,
    pub signal: Option<String>,
    pub reason: Option<String>,
    /// It was asked to stop.
    was_stopped: bool,
}

/// What has become of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Outcome {
    #[default]
    Running,
    Succeeded,
    Failed,
    Stopped,
    Skipped,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Skipped => "skipped",
        }
    }
}

impl PastRun {
    /// How long its program ran.
    pub fn duration(&self) -> Option<Duration> {
        let micros = self.ended_at?.saturating_sub(self.started_at?);
        Some(Duration::from_micros(micros))
    }

    pub fn to_json(&self) -> Value {
        json!({
            "process": self.process,
            "internal_name": self.internal_name,
            "run": self.run,
            "trigger": self.trigger,
            "scheduled_time": self.scheduled_time,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "duration_ms": self.duration().map(|duration| duration.as_secs_f64() * 1000.0),
            "outcome": self.outcome.name(),
            "exit_code": self.exit_code,
            "signal": self.signal,
            "reason": self.reason,
        })
    }

    fn begun(process: &str, facts: &Facts) -> Self {
        Self {
            process: process.to_owned(),
            run: facts.run.clone(),
            internal_name: facts.internal_name.clone(),
            trigger: facts.trigger.clone(),
            scheduled_time: facts.scheduled_time,
            ..Self::default()
        }
    }

    /// What is told of it.
    fn told(&mut self, time: u64, facts: &Facts) {
        match facts.event() {
            EventKind::Starting => self.started_at = Some(time),
            EventKind::Stopping => {
                self.was_stopped = true;
                // A person gives no reason; who has one says why it is no success.
                self.reason = facts.reason.clone();
            }
            EventKind::NotReady => self.reason = facts.reason.clone(),
            EventKind::Exited => {
                self.ended_at = Some(time);
                self.exit_code = facts.exit_code;
                self.signal = facts.signal.clone();
                self.outcome = self.ended();
            }
            EventKind::SpawnFailed => {
                self.ended_at = Some(time);
                self.outcome = Outcome::Failed;
                self.reason = facts.reason.clone();
            }
            EventKind::Finished => self.outcome = Outcome::Succeeded,
            EventKind::Failed => {
                self.outcome = Outcome::Failed;
                self.reason = facts.reason.clone().or(self.reason.take());
            }
            EventKind::Stopped => self.outcome = Outcome::Stopped,
            EventKind::Backoff => self.reason = facts.reason.clone().or(self.reason.take()),
            EventKind::Started
            | EventKind::Ready
            | EventKind::Adopted
            | EventKind::Skipped
            | EventKind::Config
            | EventKind::Headers
            | EventKind::Damaged
            | EventKind::OrchestratorStarted
            | EventKind::OrchestratorStopped
            | EventKind::Unspecified => {}
        }
    }

    /// What its end alone says, should nothing follow: another run in its place, a restart at once.
    fn ended(&self) -> Outcome {
        match (self.exit_code, self.was_stopped) {
            (_, true) if self.reason.is_none() => Outcome::Stopped,
            (Some(0), false) => Outcome::Succeeded,
            (Some(_) | None, _) => Outcome::Failed,
        }
    }
}

/// All runs that the reports tell of, and the firings that came to none; in the order in which they began.
pub fn runs(reports: impl Iterator<Item = MetaReport>) -> Vec<PastRun> {
    let mut runs: Vec<PastRun> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for report in reports {
        let Some(facts) = &report.facts else { continue };
        let Some(process) = facts.process.as_deref() else { continue };
        let Some(run) = &facts.run else {
            if facts.event() == EventKind::Skipped {
                let skipped = PastRun {
                    outcome: Outcome::Skipped,
                    reason: facts.reason.clone(),
                    ..PastRun::begun(process, facts)
                };
                runs.push(skipped);
            }
            continue;
        };
        let place = *places.entry(run.clone()).or_insert_with(|| {
            runs.push(PastRun::begun(process, facts));
            runs.len() - 1
        });
        runs[place].told(report.report_time, facts);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(time: u64, run: &str, event: EventKind) -> MetaReport {
        let facts = Facts {
            event: event.into(),
            process: Some("web".into()),
            internal_name: Some("web-1".into()),
            run: Some(run.into()),
            trigger: Some("cron".into()),
            scheduled_time: Some(7),
            ..Facts::default()
        };
        MetaReport { report_time: time, facts: Some(facts), ..MetaReport::default() }
    }

    fn with(mut report: MetaReport, change: impl FnOnce(&mut Facts)) -> MetaReport {
        change(report.facts.as_mut().expect("facts"));
        report
    }

    fn outcomes(reports: Vec<MetaReport>) -> Vec<(Outcome, Option<String>)> {
        runs(reports.into_iter()).into_iter().map(|run| (run.outcome, run.reason)).collect()
    }

    #[test]
    fn a_run_is_told_from_its_start_to_its_end() {
        let exited = with(report(40, "r", EventKind::Exited), |facts| facts.exit_code = Some(0));
        let told =
            runs([report(10, "r", EventKind::Starting), exited, report(41, "r", EventKind::Finished)].into_iter());
        assert_eq!(told.len(), 1);
        let run = &told[0];
        assert_eq!((run.started_at, run.ended_at, run.outcome), (Some(10), Some(40), Outcome::Succeeded));
        assert_eq!((run.trigger.as_deref(), run.scheduled_time), (Some("cron"), Some(7)));
        assert_eq!(run.duration(), Some(Duration::from_micros(30)));
    }

    #[test]
    fn what_stopped_it_tells_a_stop_from_a_failure() {
        let exited = || with(report(40, "r", EventKind::Exited), |facts| facts.exit_code = Some(0));
        let stopping = report(20, "r", EventKind::Stopping);
        let timed_out = with(report(20, "r", EventKind::Stopping), |facts| facts.reason = Some("too long".into()));
        assert_eq!(outcomes(vec![stopping, exited()]), [(Outcome::Stopped, None)]);
        assert_eq!(outcomes(vec![timed_out, exited()]), [(Outcome::Failed, Some("too long".into()))]);
    }

    #[test]
    fn a_restart_at_once_leaves_two_runs_and_a_firing_that_came_to_none_is_told() {
        let exited = with(report(40, "r", EventKind::Exited), |facts| facts.exit_code = Some(3));
        let skipped = with(report(50, "", EventKind::Skipped), |facts| {
            facts.run = None;
            facts.reason = Some("a run is under way".into());
        });
        let told =
            outcomes(vec![report(10, "r", EventKind::Starting), exited, report(41, "s", EventKind::Starting), skipped]);
        assert_eq!(
            told,
            [(Outcome::Failed, None), (Outcome::Running, None), (Outcome::Skipped, Some("a run is under way".into()))]
        );
    }
}

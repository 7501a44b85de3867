//! When an instance is to be looked at again, and what it means when a run is late.

use super::*;
use crate::supervisor::live::asking;

impl Slot {
    /// When it wants `Due`, by the monotonic clock.
    pub fn deadline(&self, spec: &ProcessSpec) -> Option<Duration> {
        match &self.state {
            State::Backoff { until, .. } => Some(*until),
            State::Live(run) => match run.phase {
                Phase::Starting => {
                    let ready_by = watch::ready_deadline(spec.ready_timeout, run);
                    [ready_by, over_by(run, spec), run.watch.deadline()].into_iter().flatten().min()
                }
                Phase::Running => [over_by(run, spec), run.watch.deadline()].into_iter().flatten().min(),
                Phase::Stopping => run.signal_at.or(run.kill_at),
                Phase::Spawning | Phase::Draining | Phase::Reaping => None,
            },
            State::Idle | State::Waiting(_) | State::Stopped | State::Finished | State::Failed => None,
        }
    }
}

fn over_by(run: &Run, spec: &ProcessSpec) -> Option<Duration> {
    Some(run.since?.saturating_add(spec.run_timeout?))
}

/// A run is not over in time: it is stopped, and its end counts as failed. Or else it is to be watched.
pub(super) fn overrun(step: &mut Step<'_>, run: &mut Run) {
    let is_past = |at: Option<Duration>| at.is_some_and(|at| at <= step.now.mono);
    if is_past(over_by(run, step.spec)) {
        let reason = format!("it ran for more than {:?}", step.spec.run_timeout.unwrap_or_default());
        run.fault = Some(reason.clone());
        return ask_to_stop(step, run, asking(step.spec), Some(reason));
    }
    watch::due(step, run);
}

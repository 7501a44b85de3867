//! What is shown, and what must come to an end.

use std::time::Duration;

use copo_orchestrator::supervisor::{Now, RunId};
use copo_proto::v1::{Processes, State};

use super::{Judge, SLACK, Stage, Verdict, ensure};

/// A timer may be as late as that.
const LATE: Duration = Duration::from_millis(50);

impl Judge {
    /// What `copo ps` says is what is.
    pub fn look_at_ps(&self, now: Option<Now>, processes: &Processes) -> Verdict {
        for status in &processes.processes {
            let Some(instance) = self.instance(&status.internal_name) else {
                return Err(format!("ps names a stranger: {status:?}"));
            };
            let run = self.live_run(instance).map(|run| &self.runs[&run]);
            let is_right = match status.state() {
                State::Starting | State::Stopping => run.is_some(),
                State::Running => run.is_some_and(|run| run.stage == Stage::Running),
                State::Idle | State::Waiting | State::Backoff | State::Stopped | State::Finished | State::Failed => {
                    run.is_none()
                }
                State::Unspecified => false,
            };
            ensure(is_right, || format!("ps says {status:?}, and there is {run:?}"))?;
            let is_armed_schedule = status.trigger_type == "cron" && status.state() == State::Idle;
            // What `up NAME` left out is idle too, and nobody has armed it.
            let is_disarmed = self.down.is_some() || self.is_partly_up;
            ensure(!is_armed_schedule || is_disarmed || status.next_run.is_some(), || {
                format!("it is never run: {status:?}")
            })?;
            let is_missed = status.next_start.zip(now).is_some_and(|(next, now)| next <= now.wall);
            ensure(!is_missed, || format!("its time is over, and nothing fired: {status:?}"))?;
        }
        Ok(())
    }

    /// Everything was to be stopped: it is, unless it may still be under way.
    pub fn look_at_end(&self, now: Now) -> Verdict {
        let Some(since) = self.down else { return Ok(()) };
        let graces: Duration = self.plan.processes.iter().map(|process| process.stop_grace + SLACK).sum();
        ensure(self.has_ended || now.mono < since + graces, || "it does not end".to_owned())
    }

    /// A run that was asked to stop is killed in time.
    pub fn look_at_grace(&self, now: Now, run: RunId) -> Verdict {
        let Some(seen) = self.runs.get(&run) else { return Ok(()) };
        let is_late = seen.stage == Stage::Running && seen.kill_from.is_some_and(|from| from + LATE < now.mono);
        ensure(!is_late || seen.was_killed, || format!("its grace is over, and it is not killed: {seen:?}"))
    }
}

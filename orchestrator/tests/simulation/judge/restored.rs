//! What of the judge's knowledge holds when another orchestrator goes on.

use std::collections::HashSet;
use std::sync::Arc;

use copo_orchestrator::plan::{Plan, PrcId, Trigger};
use copo_orchestrator::supervisor::{Found, Now, RunId};
use copo_proto::v1::Processes;

use super::{Judge, Stage};

impl Judge {
    /// The orchestrator is no more, nor is anybody who waited for its answers. The next one has this plan.
    pub fn restored(&mut self, now: Now, plan: Arc<Plan>, is_up: bool, strays: &[RunId]) {
        self.open.clear();
        self.claims.clear();
        self.plan = plan;
        self.removed.clear();
        self.making_way = self.plan.ids().collect();
        for stray in strays {
            self.set(*stray, Stage::Gone); // The edge ends it.
        }
        for seen in self.runs.values_mut() {
            seen.is_reaped = false;
            seen.was_meant = true;
        }
        if is_up {
            (self.down, self.may_kill, self.is_partly_up) = (None, false, false);
        } else if self.down.is_some() {
            self.down = Some(now.mono); // It takes its time anew.
        }
        // What is no more has left its number to others.
        let plan = Arc::clone(&self.plan);
        let is_there =
            |prc: PrcId, number: u32| plan.processes.get(prc.0).is_some_and(|spec| number <= spec.most_instances());
        self.newest.retain(|instance, _| is_there(instance.prc, instance.number));
        self.chains.retain(|instance, _| is_there(instance.prc, instance.number));
        self.stopped.retain(|instance| is_there(instance.prc, instance.number));
        self.disarmed.retain(|instance| is_there(instance.prc, instance.number));
        self.fired.retain(|instance, _| is_there(instance.prc, instance.number));
        self.finishes.retain(|instance, _| is_there(instance.prc, instance.number));
        self.done.retain(|instance| is_there(instance.prc, instance.number));
    }

    /// This has become of a run, as the next orchestrator is about to be told.
    pub fn found(&mut self, now: Now, run: RunId, stage: Stage, what: Found) {
        let Some(seen) = self.runs.get_mut(&run) else { return };
        seen.stage = stage;
        match what {
            Found::Alive { .. } => seen.since = seen.since.or(Some(now.mono)),
            Found::Ended { outcome } if seen.ended.is_none() => {
                (seen.outcome, seen.ended) = (Some(outcome), Some(now.mono));
            }
            Found::Ended { .. } | Found::Unstarted => {}
        }
    }

    /// What a schedule that is stopped has dealt with is forgotten with the orchestrator.
    pub fn forget_schedules(&mut self, processes: &Processes) {
        let counts: HashSet<&str> = processes
            .processes
            .iter()
            .filter(|status| status.next_run.is_some())
            .map(|status| status.name.as_str())
            .collect();
        let is_forgotten = |prc: &PrcId| {
            let spec = self.plan.process(*prc);
            matches!(spec.trigger, Trigger::Cron(_)) && !counts.contains(spec.name.as_str())
        };
        let forgotten: Vec<PrcId> = self.plan.ids().filter(is_forgotten).collect();
        self.scheduled.retain(|prc, _| !forgotten.contains(prc) && prc.0 < self.plan.processes.len());
        self.last_scheduled.retain(|instance, _| !forgotten.contains(&instance.prc));
    }
}

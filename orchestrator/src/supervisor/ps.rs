//! The state of all processes, as `copo ps` shows it.

use copo_proto::{name, v1};

use super::orchestrator::Orchestrator;
use super::process::{Slot, State};
use super::report;
use super::run::Instance;

impl Orchestrator {
    /// The state of all processes, in the order of the plan and of instance numbers.
    #[must_use]
    pub fn processes(&self) -> v1::Processes {
        let instances =
            self.shown.iter().flat_map(|prc| self.instances(*prc)).filter(|instance| self.is_there(*instance));
        let statuses = instances.filter_map(|instance| Some(self.status(instance, self.slot(instance)?)));
        v1::Processes { processes: statuses.collect() }
    }

    fn status(&self, instance: Instance, slot: &Slot) -> v1::ProcessStatus {
        let spec = self.plan.process(instance.prc);
        let run = slot.run();
        let cron = self.process(instance.prc).cron.as_ref().filter(|_| slot.armed);
        let timing = self.timing(spec);
        v1::ProcessStatus {
            name: spec.name.clone(),
            internal_name: self.internal_name(instance),
            state: slot.shown().into(),
            ready: slot.is_ready(),
            pid: run.and_then(|run| run.pid),
            started_at: slot.started_at,
            restarts: slot.restarts,
            exit_code: slot.last_outcome.and_then(report::exit_code),
            signal: slot.last_outcome.and_then(report::signal).map(str::to_owned),
            next_run: cron.and_then(|cron| cron.next()),
            waiting_for: matches!(slot.state, State::Waiting(_)).then(|| self.waiting_for(instance.prc)),
            run: run.map(|run| run.id.to_string()),
            trigger_type: spec.trigger.type_name().to_owned(),
            groups: spec.groups.clone(),
            schedule: timing.map(|timing| timing.schedule.definition().to_owned()),
            timezone: timing.map(|timing| timing.schedule.zone().name().to_owned()),
            next_start: cron.zip(timing).and_then(|(cron, timing)| cron.deadline(timing)),
            port: None,
            status: run.and_then(|run| run.watch.status.clone()),
            reason: slot.why_not_ready().map(str::to_owned).or_else(|| slot.why_failed().map(str::to_owned)),
        }
    }

    pub(super) fn internal_name(&self, instance: Instance) -> String {
        name::internal(&self.plan.process(instance.prc).name, instance.number)
    }
}

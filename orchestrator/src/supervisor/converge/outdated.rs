//! Runs that were started with other settings than the plan that holds has: copo.toml was edited while there was no
//! orchestrator, and the next one took them over as they were.

use copo_proto::v1;

use super::course::Wanted;
use super::{in_words, settings, wanted};
use crate::plan::PrcId;
use crate::supervisor::action::Action;
use crate::supervisor::event::Now;
use crate::supervisor::orchestrator::{Orchestrator, slot_mut};
use crate::supervisor::process::State;
use crate::supervisor::report;
use crate::supervisor::run::Instance;

/// Stands as the key of what differs between a run that was taken over and copo.toml: what exactly is not known any more.
pub const OUTDATED: &str = "copo.toml";

/// As it is told.
pub(super) fn setting() -> v1::Setting {
    let text = |text: &str| Some(text.to_owned());
    v1::Setting { key: OUTDATED.to_owned(), from: text("as it was when it started"), to: text("as it is now") }
}

impl Orchestrator {
    /// What a run of this process is started with by the plan that holds.
    pub(in crate::supervisor) fn fingerprint(&self, prc: PrcId) -> [u64; 2] {
        let known = &self.process(prc).fingerprint;
        *known.get_or_init(|| settings::fingerprint(&self.plan, self.plan.process(prc)))
    }

    /// Was the run of this instance started with other settings than these?
    pub(in crate::supervisor) fn is_outdated(&self, instance: Instance, [version, now]: [u64; 2]) -> bool {
        let run = self.run(instance).filter(|run| !run.is_leaving());
        run.and_then(|run| run.made_with).is_some_and(|[by, of_run]| by == version && of_run != now)
    }

    /// Runs of these that go on although a setting of theirs has changed are to go on: they are told no more.
    pub(super) fn leave_as_they_are(&mut self, prcs: impl Iterator<Item = PrcId>) {
        for prc in prcs {
            for instance in self.instances(prc) {
                if let Some(State::Live(run)) = slot_mut(&mut self.processes, instance).map(|slot| &mut slot.state) {
                    run.made_with = None;
                    self.unsaved.slot(instance);
                }
            }
        }
    }

    /// Somebody wants these up: of what was taken over, what copo.toml has otherwise now is restarted.
    pub(in crate::supervisor) fn replace_outdated(&mut self, now: Now, names: &[String]) {
        let plan = self.plan.clone();
        let wanted = wanted(&plan, names).unwrap_or(Wanted::Everything);
        let mut course = self.course(&plan, &wanted);
        if course.replaced.is_empty() {
            return;
        }
        let changes = v1::Changes { changes: std::mem::take(&mut course.changes) };
        if let Some(reason) = in_words(&changes) {
            let facts = v1::Facts { reason: Some(reason), ..report::of_orchestrator(v1::EventKind::Config) };
            self.actions.push(Action::Report { facts });
        }
        self.take(now, course, &wanted, names);
    }
}

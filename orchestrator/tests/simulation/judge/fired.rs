//! Finishes that fire triggers: never more often than there were finishes, and at once when there is nothing in the way.

use copo_orchestrator::plan::{FinishKind, Overlap, PrcId, Trigger};
use copo_orchestrator::supervisor::{Action, Instance};
use copo_proto::v1::{EventKind, Facts, Processes, State};

use super::{Judge, Verdict, ensure};

impl Judge {
    /// A run starts because of finishes: there were enough of each source, all of them since it was counted last.
    pub fn look_at_cause(&mut self, instance: Instance, facts: &Facts) -> Verdict {
        if facts.trigger.as_deref() != Some("dependence_finish") {
            return Ok(());
        }
        let spec = self.plan.process(instance.prc);
        let Trigger::DependenceFinish { sources, on } = &spec.trigger else { return Ok(()) };
        let last = self.newest.get(&instance).and_then(|run| self.runs[run].reported);
        let is_new =
            last.is_none_or(|last| matches!(last, EventKind::Finished | EventKind::Failed | EventKind::Stopped));
        if !is_new || spec.overlap == Overlap::Replace {
            return Ok(()); // A restart of what was fired before, maybe.
        }
        let least = sources.iter().map(|source| {
            let (succeeded, failed) = self.finished.get(source).copied().unwrap_or_default();
            match on {
                FinishKind::Succeeded => succeeded,
                FinishKind::Failed | FinishKind::Finished => succeeded + failed,
            }
        });
        let (least, source_count) = (least.min().unwrap_or(0), sources.len());
        let failures: u32 =
            sources.iter().map(|source| self.finished.get(source).map_or(0, |(_, failed)| *failed)).sum();
        let fired = self.fired.entry(instance).or_default();
        *fired += 1;
        let most = if *on == FinishKind::Failed { least.min(failures) } else { least };
        ensure(*fired <= most, || {
            format!("it runs for the {fired}. time, and {source_count} sources have {most} finishes")
        })
    }

    /// Counts a finish. Each of several replicas counts by itself: no fewer than there were.
    pub fn count_finish(&mut self, prc: PrcId, event: EventKind) {
        let (succeeded, failed) = self.finished.entry(prc).or_default();
        match event {
            EventKind::Finished => *succeeded += 1,
            EventKind::Failed => *failed += 1,
            _ => {}
        }
    }

    /// The triggers that what has just been reported must have fired: of processes with one source that has one instance.
    pub fn must_have_fired(&self, actions: &[Action]) -> Vec<PrcId> {
        let finishes = actions.iter().filter_map(|action| match action {
            Action::Report { facts } if matches!(facts.event(), EventKind::Finished | EventKind::Failed) => {
                Some((self.plan.find(facts.process.as_deref()?)?, facts.event()))
            }
            _ => None,
        });
        let finishes: Vec<(PrcId, EventKind)> = finishes.collect();
        if finishes.is_empty() || self.down.is_some() || self.is_partly_up {
            return Vec::new();
        }
        let fires = |prc: &PrcId| {
            let spec = self.plan.process(*prc);
            let Trigger::DependenceFinish { sources, on } = &spec.trigger else { return false };
            let [source] = sources[..] else { return false };
            let of = self.plan.process(source);
            let is_single = of.replicas == 1 && of.overlap != Overlap::Allow;
            let fits = finishes.iter().any(|(other, event)| {
                *other == source
                    && match on {
                        FinishKind::Succeeded => *event == EventKind::Finished,
                        FinishKind::Failed => *event == EventKind::Failed,
                        FinishKind::Finished => true,
                    }
            });
            let is_armed = (1..=spec.replicas).all(|number| !self.disarmed.contains(&Instance { prc: *prc, number }));
            is_single && fits && is_armed && spec.replicas > 0 && !self.removed.contains(prc)
        };
        self.plan.ids().filter(fires).collect()
    }

    /// What had to fire has: something of it is under way, or it is said that it was passed over.
    pub fn look_at_fired(&self, fired: &[PrcId], actions: &[Action], processes: &Processes) -> Verdict {
        for prc in fired {
            let name = &self.plan.process(*prc).name;
            let is_told = actions.iter().any(|action| match action {
                Action::Report { facts } => {
                    facts.process.as_ref() == Some(name)
                        && matches!(facts.event(), EventKind::Starting | EventKind::Skipped)
                }
                _ => false,
            });
            let mut statuses = processes.processes.iter().filter(|status| status.name == *name);
            let is_under_way = statuses.any(|status| {
                matches!(
                    status.state(),
                    State::Waiting | State::Starting | State::Running | State::Stopping | State::Backoff
                )
            });
            ensure(is_told || is_under_way, || format!("{name:?} had to fire, and has not"))?;
        }
        Ok(())
    }
}

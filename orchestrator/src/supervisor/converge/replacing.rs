//! Runs that are to make way, in reverse dependency order: each process of them once all of them that depend on it, however
//! indirectly, are gone. Until then nothing starts on what is still to make way.

use std::collections::{BTreeMap, BTreeSet};

use super::super::event::Now;
use super::super::live::{Next, asking};
use super::super::orchestrator::{Orchestrator, fan_in_of};
use super::super::run::{Instance, RunId};
use super::super::step::{Finish, Input, Order};
use crate::plan::{Plan, PrcId, Trigger};

/// Runs that make way.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Replacing {
    /// Those that are there still.
    runs: BTreeMap<Instance, RunId>,
    /// Of each process of theirs: those that are to be gone first.
    held_by: BTreeMap<PrcId, BTreeSet<PrcId>>,
}

impl Replacing {
    pub fn has(&self, instance: Instance) -> bool {
        self.runs.contains_key(&instance)
    }

    fn has_any_of(&self, prc: PrcId) -> bool {
        let (first, last) = (Instance { prc, number: 0 }, Instance { prc, number: u32::MAX });
        self.runs.range(first..=last).next().is_some()
    }
}

impl Orchestrator {
    /// The live runs of these processes, and those that were to make way already.
    pub(super) fn replacing_of(&self, replaced: &BTreeSet<PrcId>, removed: &BTreeSet<PrcId>) -> Option<Replacing> {
        let mut runs = self.replacing.as_ref().map(|replacing| replacing.runs.clone()).unwrap_or_default();
        for instance in replaced.iter().chain(removed).flat_map(|prc| self.instances(*prc)) {
            if let Some(run) = self.run(instance).filter(|run| !run.is_leaving() || removed.contains(&instance.prc)) {
                runs.insert(instance, run.id);
            }
        }
        let processes: BTreeSet<PrcId> = runs.keys().map(|instance| instance.prc).collect();
        let held_by = processes.iter().map(|prc| (*prc, self.all_dependents(*prc, &processes))).collect();
        (!runs.is_empty()).then_some(Replacing { runs, held_by })
    }

    /// Those among `processes` that depend on it, however indirectly.
    fn all_dependents(&self, prc: PrcId, processes: &BTreeSet<PrcId>) -> BTreeSet<PrcId> {
        let mut seen = BTreeSet::new();
        let mut to_look_at = vec![prc];
        while let Some(prc) = to_look_at.pop() {
            to_look_at.extend(self.dependents[prc.0].iter().filter(|dependent| seen.insert(**dependent)));
        }
        seen.intersection(processes).copied().collect()
    }

    /// Something of an instance has ended: if it was the run that makes way, others may have their turn.
    pub(in crate::supervisor) fn go_on_replacing(&mut self, now: Now, instance: Instance) {
        let live = self.run(instance).map(|run| run.id);
        let Some(replacing) = &mut self.replacing else { return };
        if replacing.runs.get(&instance).is_none_or(|run| live == Some(*run)) {
            return;
        }
        replacing.runs.remove(&instance);
        if replacing.has_any_of(instance.prc) {
            return;
        }
        replacing.held_by.remove(&instance.prc);
        for held_by in replacing.held_by.values_mut() {
            held_by.remove(&instance.prc);
        }
        if replacing.runs.is_empty() {
            self.replacing = None;
        }
        self.start_waiting_dependents(now, instance.prc);
        self.stop_what_is_free(now);
    }

    /// Stops the runs whose turn it is. What is asked to stop already, by whomever, is left to that.
    pub(super) fn stop_what_is_free(&mut self, now: Now) {
        let Some(replacing) = &self.replacing else { return };
        let is_free = |instance: &Instance| replacing.held_by.get(&instance.prc).is_none_or(BTreeSet::is_empty);
        let free: Vec<Instance> = replacing.runs.keys().rev().copied().filter(is_free).collect();
        for instance in free {
            let Some(run) = self.run(instance).filter(|run| !run.is_leaving()) else { continue };
            let order = Order { request: None, ..run.order.clone() };
            let next = if self.process(instance.prc).is_removed { Next::Rest } else { Next::Start(order) };
            let ask = asking(self.plan.process(instance.prc));
            self.step(now, instance, Input::Stop(ask, next));
        }
    }

    /// Is something that this process depends on still to make way?
    pub(in crate::supervisor) fn replaced_dependence(&self, prc: PrcId) -> Option<PrcId> {
        let replacing = self.replacing.as_ref()?;
        self.dependences[prc.0].iter().copied().find(|dependence| replacing.has_any_of(*dependence))
    }

    /// What is kept sorted by the settings of these processes is taken out, before these change; with it the finishes that
    /// their triggers have seen.
    pub(super) fn forget_deadlines(&mut self, changed: &[PrcId]) -> Vec<Vec<(PrcId, Option<Finish>)>> {
        let changed = changed.iter().copied();
        changed
            .map(|prc| {
                let spec = self.plan.process(prc);
                let process = &self.processes[prc.0];
                for (slot, number) in process.slots.iter().zip(1..) {
                    slot.deadline(spec).map(|at| self.deadlines.remove(&(at, Instance { prc, number })));
                }
                match &spec.trigger {
                    Trigger::DependenceFinish { sources, .. } => {
                        sources.iter().copied().zip(process.fan_in.iter().copied()).collect()
                    }
                    Trigger::OnStart | Trigger::Manual | Trigger::Cron(_) => Vec::new(),
                }
            })
            .collect()
    }

    /// And back in, by the settings as they are now.
    pub(super) fn remember_deadlines(
        &mut self,
        now: Now,
        before: &Plan,
        changed: &[PrcId],
        finishes: Vec<Vec<(PrcId, Option<Finish>)>>,
    ) {
        for (&prc, seen) in changed.iter().zip(finishes) {
            let spec = self.plan.process(prc).clone();
            for (slot, number) in self.processes[prc.0].slots.iter().zip(1..) {
                self.deadlines.extend(slot.deadline(&spec).map(|at| (at, Instance { prc, number })));
            }
            self.unsaved.triggers(prc);
            if before.process(prc).trigger == spec.trigger {
                self.rewind_clock(prc);
                continue;
            }
            self.processes[prc.0].fan_in = fan_in_of(&spec);
            if let Trigger::DependenceFinish { sources, .. } = &spec.trigger {
                for (place, source) in sources.iter().enumerate() {
                    let known = seen.iter().find(|(prc, _)| prc == source).and_then(|(_, finish)| *finish);
                    self.processes[prc.0].fan_in[place] = known;
                }
            }
            self.drop_clock(prc);
            self.refresh_triggers(now, prc);
        }
    }
}

//! Whether what a process depends on holds, why not, and whether it ever can without a person.

use std::collections::HashMap;

use super::event::Now;
use super::live::Next;
use super::orchestrator::{Orchestrator, Process};
use super::process::{Slot, State};
use super::run::Instance;
use super::step::{Finish, Input};
use crate::plan::{Condition, Dependence, OnDependenceRestart, PrcId, ProcessSpec, Trigger};

impl Orchestrator {
    /// Everything that processes of this kind gate on holds.
    pub(super) fn may_start(&self, prc: PrcId) -> bool {
        self.plan.process(prc).depends_on.iter().all(|dependence| self.holds(dependence))
            && self.replaced_dependence(prc).is_none()
    }

    /// The condition holds of all replicas, and there are some.
    pub(super) fn holds(&self, dependence: &Dependence) -> bool {
        let spec = self.plan.process(dependence.process);
        // Of a process that has no instances nothing holds: who depends on it needs one.
        let mut replicas = self.replicas(dependence.process).peekable();
        replicas.peek().is_some() && replicas.all(|slot| holds(dependence.condition, spec, slot))
    }

    /// What a waiting process waits for, in words.
    pub(super) fn waiting_for(&self, prc: PrcId) -> String {
        let unmet = self.plan.process(prc).depends_on.iter().filter(|dependence| !self.holds(dependence));
        let unmet: Vec<String> = unmet.map(|dependence| self.unmet(dependence)).collect();
        match self.replaced_dependence(prc) {
            Some(dependence) if unmet.is_empty() => {
                format!("{} makes way for its next run", self.plan.process(dependence).name)
            }
            Some(_) | None => unmet.join(", "),
        }
    }

    fn unmet(&self, dependence: &Dependence) -> String {
        let spec = self.plan.process(dependence.process);
        let missing = match dependence.condition {
            Condition::Started => "is not started",
            Condition::Ready => "is not ready",
            Condition::Succeeded => "has not succeeded",
            Condition::Failed => "has not failed",
            Condition::Finished => "has not finished",
        };
        let slot = self.replicas(dependence.process).find(|slot| !holds(dependence.condition, spec, slot));
        let is_armed = slot.is_some_and(|slot| slot.armed);
        let because = match slot.map(|slot| &slot.state) {
            Some(State::Stopped) => " (it is stopped)",
            Some(State::Idle) if !is_armed => " (it was not brought up)",
            Some(State::Failed) if dependence.condition != Condition::Failed => " (it failed)",
            Some(State::Finished) => " (it finished)",
            Some(State::Backoff { .. }) => " (it will be restarted)",
            Some(State::Waiting(_)) => " (it waits itself)",
            Some(State::Idle | State::Live(_) | State::Failed) => "",
            None => " (it has no instances)",
        };
        let why = slot.and_then(Slot::why_not_ready).filter(|_| dependence.condition == Condition::Ready);
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        format!("{} {missing}{because}{why}", spec.name)
    }

    /// Why only a person could end the waiting of this process, if that is so.
    pub(super) fn hopeless(&self, prc: PrcId) -> Option<String> {
        let mut known = HashMap::new();
        let unmet = self.plan.process(prc).depends_on.iter().filter(|dependence| !self.holds(dependence));
        unmet.into_iter().find(|d| !self.can_change(d.process, &mut known)).map(|dependence| self.unmet(dependence))
    }

    /// Something will become of every replica that is at rest or waits, without a person.
    fn can_change(&self, prc: PrcId, known: &mut HashMap<PrcId, bool>) -> bool {
        if let Some(&can) = known.get(&prc) {
            return can;
        }
        known.insert(prc, false); // In a cycle, which config refuses, nobody would ever move.
        let has_instances = self.replicas(prc).next().is_some();
        let can = has_instances
            && self.replicas(prc).all(|slot| match &slot.state {
                State::Live(_) | State::Backoff { .. } => true,
                State::Waiting(_) => {
                    let unmet = self.plan.process(prc).depends_on.iter().filter(|dependence| !self.holds(dependence));
                    unmet.into_iter().all(|dependence| self.can_change(dependence.process, known))
                }
                State::Idle | State::Stopped | State::Finished | State::Failed => {
                    slot.armed && self.can_fire(prc, known)
                }
            });
        known.insert(prc, can);
        can
    }

    fn can_fire(&self, prc: PrcId, known: &mut HashMap<PrcId, bool>) -> bool {
        let process = self.process(prc);
        match &self.plan.process(prc).trigger {
            Trigger::OnStart | Trigger::Manual => false,
            Trigger::Cron(_) => {
                process.cron.as_ref().is_some_and(|cron| cron.next().is_some() || cron.note().missed.is_some())
            }
            Trigger::DependenceFinish { sources, .. } => {
                // Every source must finish (anew, where what they did did not fit); one of them at least, from now on.
                let finished = process.fan_in.iter().map(Option::is_some);
                let moves: Vec<bool> = sources.iter().map(|source| self.can_change(*source, known)).collect();
                moves.iter().zip(finished).all(|(moves, finished)| *moves || finished) && moves.contains(&true)
            }
        }
    }

    /// A run of an instance is over: what runs on it is stopped or started again, where the plan wants that.
    pub(super) fn dependence_ended(&mut self, now: Now, ended: Instance) {
        if self.down.is_some() {
            return;
        }
        let plan = self.plan.clone();
        for dependent in self.dependents[ended.prc.0].clone() {
            let spec = plan.process(dependent);
            let next: fn() -> Next = match spec.on_dependence_restart {
                OnDependenceRestart::Ignore => continue,
                OnDependenceRestart::Restart => || Next::Again,
                OnDependenceRestart::Stop => || Next::Rest,
            };
            if !self.has_lost(spec, ended.prc) || self.process(dependent).is_removed {
                continue;
            }
            let why = format!("{}, on which it depends, has ended", self.internal_name(ended));
            for instance in self.instances(dependent) {
                self.step(now, instance, Input::Lost(why.clone(), next()));
            }
        }
    }

    /// It gates on this process being there, and it is not. One that did its work and finished is not missed.
    fn has_lost(&self, spec: &ProcessSpec, prc: PrcId) -> bool {
        spec.depends_on.iter().filter(|dependence| dependence.process == prc).any(|dependence| {
            match dependence.condition {
                Condition::Started | Condition::Ready => !self.holds(dependence),
                Condition::Succeeded | Condition::Failed | Condition::Finished => false,
            }
        })
    }

    /// The instances that conditions are about: those the plan has, without the extra ones of `overlap = "allow"`.
    pub(super) fn replicas(&self, prc: PrcId) -> impl Iterator<Item = &Slot> {
        let process: &Process = self.process(prc);
        process.slots.iter().take(self.plan.process(prc).replicas as usize)
    }
}

/// The condition holds of one instance.
///
/// `started` and `ready` are about now. A process that declares no readiness and has done its work with success has
/// nothing left to be waited for: it counts as started, so that a dependent can start again after it.
pub(super) fn holds(condition: Condition, spec: &ProcessSpec, slot: &Slot) -> bool {
    let is_done = matches!(slot.state, State::Finished);
    match condition {
        Condition::Started => slot.is_started() || is_done,
        Condition::Ready if spec.declares_readiness() => slot.is_ready(),
        Condition::Ready => slot.is_started() || is_done,
        Condition::Succeeded => slot.last_finish == Some(Finish::Succeeded),
        Condition::Failed => slot.last_finish == Some(Finish::Failed),
        Condition::Finished => slot.last_finish.is_some(),
    }
}

//! How many instances a process has: what is new starts, what is too much stops from the highest number down and is no
//! more. An instance that is no more but has others above it keeps its slot, unseen, until those are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use copo_proto::v1::{self, ErrorCode, change};

use super::action::{Action, Reply};
use super::converge::replicas_setting;
use super::event::{Now, RequestId};
use super::live::{Next, asking};
use super::orchestrator::Orchestrator;
use super::process::Slot;
use super::requests::{Changing, Pending};
use super::run::Instance;
use super::step::{Input, Note, Order};
use crate::plan::{MAX_REPLICAS, PrcId, Trigger};

impl Orchestrator {
    /// `copo scale`: answered with what changed, once what is too much is gone.
    pub(super) fn scale(&mut self, now: Now, request: RequestId, to: &[(String, u32)]) {
        let mut wanted = BTreeMap::new();
        for (name, replicas) in to {
            match self.scalable(name, *replicas) {
                Ok(processes) => wanted.extend(processes.into_iter().map(|prc| (prc, *replicas))),
                Err((code, why)) => return self.refuse(request, code, format!("cannot scale {name}: {why}")),
            }
        }
        if wanted.is_empty() {
            return self.refuse(request, ErrorCode::InvalidArgument, "cannot scale: no name was given".to_owned());
        }
        wanted.retain(|prc, replicas| self.plan.process(*prc).replicas != *replicas);
        let changes = wanted.iter().map(|(prc, replicas)| self.scaling(*prc, *replicas)).collect();
        if wanted.is_empty() {
            return self.reply(request, Reply::Changes(v1::Changes { changes }));
        }
        let mut plan = Arc::clone(&self.plan);
        for (prc, replicas) in &wanted {
            Arc::make_mut(&mut plan).processes[prc.0].replicas = *replicas;
        }
        let before: Vec<(PrcId, u32)> = wanted.keys().map(|prc| (*prc, self.plan.process(*prc).replicas)).collect();
        self.adopt(plan);
        for (prc, replicas) in &before {
            // First of all: none of them is to start because of what another change brings about.
            let surplus = self.plan.process(*prc).replicas + 1..=*replicas;
            self.processes[prc.0].retired.extend(surplus);
            // And what depends on the process waits for all it is to have.
            self.processes[prc.0].grow(self.plan.process(*prc).replicas);
        }
        let mut stops = BTreeSet::new();
        for (prc, replicas) in before {
            stops.extend(self.resize(now, prc, replicas, true));
        }
        self.settle(now);
        stops.retain(|instance| self.run(*instance).is_some());
        self.reply_when_changed(
            request,
            Changing { stops, restarts: BTreeSet::new(), changes: v1::Changes { changes } },
        );
    }

    /// The processes that a name means to scale.
    fn scalable(&self, name: &str, replicas: u32) -> Result<BTreeSet<PrcId>, (ErrorCode, String)> {
        if replicas > MAX_REPLICAS {
            return Err((ErrorCode::InvalidArgument, format!("{replicas} is not from 0 to {MAX_REPLICAS}")));
        }
        if let Some(&prc) = self.by_name.get(name).filter(|prc| !self.process(**prc).is_removed) {
            return Ok(BTreeSet::from([prc]));
        }
        let instances = self.resolve(name).map_err(|why| (ErrorCode::NotFound, why))?;
        if !name.starts_with('@') {
            return Err((ErrorCode::InvalidArgument, "it is an instance; its process can be scaled".to_owned()));
        }
        Ok(instances.into_iter().map(|instance| instance.prc).collect())
    }

    fn scaling(&self, prc: PrcId, replicas: u32) -> v1::Change {
        let spec = self.plan.process(prc);
        let settings = vec![replicas_setting(spec.replicas, replicas)];
        v1::Change { kind: change::Kind::Scale.into(), process: spec.name.clone(), settings }
    }

    /// From here on this plan holds. The places of the processes in it are those of the one before.
    pub(super) fn adopt(&mut self, plan: Arc<crate::plan::Plan>) {
        self.plan = plan;
        self.actions.push(Action::Adopt { plan: Arc::clone(&self.plan) });
    }

    /// Brings the instances of a process, of which the plan had `before`, in line with the plan; new ones are brought up
    /// if it is up. Answers those whose runs are to end.
    pub(super) fn resize(&mut self, now: Now, prc: PrcId, before: u32, is_up: bool) -> Vec<Instance> {
        let replicas = self.plan.process(prc).replicas;
        self.unsaved.triggers(prc);
        let process = &mut self.processes[prc.0];
        process.bring_back(replicas);
        for number in before + 1..=replicas {
            let instance = Instance { prc, number };
            self.unsaved.slot(instance);
            if is_up {
                self.bring_up(now, instance);
            }
        }
        let surplus: Vec<Instance> = (replicas + 1..=before).rev().map(|number| Instance { prc, number }).collect();
        for &instance in &surplus {
            self.retire(now, instance);
        }
        self.give_up_room(prc);
        self.start_waiting_dependents(now, prc);
        surplus
    }

    /// Arms an instance, and starts it if it starts with the application.
    pub(super) fn bring_up(&mut self, now: Now, instance: Instance) {
        self.step(now, instance, Input::Arm);
        match self.plan.process(instance.prc).trigger {
            Trigger::OnStart => self.step(now, instance, Input::Start(Order::default())),
            Trigger::Manual | Trigger::Cron(_) | Trigger::DependenceFinish { .. } => {}
        }
    }

    /// Stops an instance for good; its room is still to be given up.
    pub(super) fn retire(&mut self, now: Now, instance: Instance) {
        self.unsaved.triggers(instance.prc);
        self.processes[instance.prc.0].retired.insert(instance.number);
        let ask = asking(self.plan.process(instance.prc));
        self.step(now, instance, Input::Stop(ask, Next::Rest));
        self.forget_if_gone(instance);
    }

    /// A retired instance that has come to rest is no more.
    pub(super) fn let_go(&mut self, instance: Instance) {
        self.forget_if_gone(instance);
        self.give_up_room(instance.prc);
    }

    /// The same, but its room stays: others of its process are still to be looked at.
    pub(super) fn forget_if_gone(&mut self, instance: Instance) {
        self.unsaved.triggers(instance.prc);
        let is_at_rest = self.slot(instance).is_some_and(Slot::is_at_rest);
        if is_at_rest
            && !self.is_yet_to_be_told(instance)
            && self.process(instance.prc).retired.contains(&instance.number)
        {
            self.actions.push(Action::Forget { instance });
            self.forget_in_waits(instance);
        }
    }

    /// The room of those that are no more is given up, as far as no other stands behind it.
    pub(super) fn give_up_room(&mut self, prc: PrcId) {
        let awaited: Vec<u32> = self.instances(prc).filter(|i| self.is_yet_to_be_told(*i)).map(|i| i.number).collect();
        let process = &mut self.processes[prc.0];
        process.shrink(|number| awaited.contains(&number));
        if process.is_removed && process.slots.is_empty() {
            self.by_name.retain(|_, other| *other != prc);
        }
    }

    /// It has come to rest just now, and what that means is still to be followed.
    fn is_yet_to_be_told(&self, instance: Instance) -> bool {
        self.notes.iter().any(|note| matches!(note, Note::Rested(other) if *other == instance))
    }

    /// Is it there to be named and shown?
    pub(super) fn is_there(&self, instance: Instance) -> bool {
        let is_retired = self.process(instance.prc).retired.contains(&instance.number);
        self.slot(instance).is_some_and(|slot| !is_retired || !slot.is_at_rest())
    }

    /// Answers with the changes once nothing of them is under way; at once if nothing is.
    pub(super) fn reply_when_changed(&mut self, request: RequestId, changing: Changing) {
        if changing.is_done() {
            self.reply(request, Reply::Changes(changing.changes));
        } else {
            self.pending.insert(request, Pending::Change(changing));
        }
    }
}

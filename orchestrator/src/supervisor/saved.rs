//! What another orchestrator needs to go on where this one is, as pure data; and going on from it.
//!
//! The edge writes [`Orchestrator::take_unsaved`] down before it does what was decided with it, so that a kill between any
//! two instructions leaves a state in which everything that was done is known. Names stand in place of places in the plan,
//! since the next plan may be another one. Fields that are not known are passed over, those that are missing have their
//! default: what is added later needs `#[serde(default)]`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use copo_proto::name;
use copo_proto::v1::EventKind;
use serde::{Deserialize, Serialize};

use super::action::{Action, Spawn};
use super::cron_clock::CronClock;
use super::event::{Found, Now, Outcome};
use super::live::{Phase, Run};
use super::orchestrator::{Orchestrator, slot_mut};
use super::process::{Slot, State};
use super::report;
use super::run::{Instance, RunId, RunSeed};
use super::step::{Finish, Input, Note};
use crate::plan::{Plan, PrcId, Trigger};

/// Of a run that was taken over.
const CHANGED_SINCE: &str = "copo.toml has changed since it started: copo up restarts it";

/// The state of an orchestrator, or what of it has changed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Saved {
    /// By name.
    processes: BTreeMap<String, SavedProcess>,
    #[serde(skip_serializing_if = "Option::is_none")]
    down: Option<SavedDown>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct SavedProcess {
    #[serde(skip_serializing_if = "Option::is_none")]
    triggers: Option<SavedTriggers>,
    /// By number.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    instances: BTreeMap<u32, Slot>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct SavedTriggers {
    replicas: u32,
    /// How many instances there is room for.
    slots: u32,
    /// Those that are no more, or will not be once they are at rest.
    retired: BTreeSet<u32>,
    cron: Option<CronClock>,
    /// By the name of the source.
    fan_in: BTreeMap<String, Finish>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct SavedDown {
    #[serde(default)]
    grace: Option<Duration>,
    #[serde(default)]
    kill: bool,
}

/// A run that was live when the state was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveRun {
    /// The run.
    pub run: RunId,
    /// Of which instance.
    pub instance: Instance,
    /// Whether its program had started is not known.
    pub may_be_unstarted: bool,
}

/// A live run of a process, or of an instance, that the plan has no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// The run.
    pub run: RunId,
    /// The process.
    pub process: String,
    /// The instance's internal name.
    pub internal_name: String,
}

impl Saved {
    /// Takes in what has changed since.
    pub fn merge(&mut self, later: Self) {
        for (name, process) in later.processes {
            let known = self.processes.entry(name).or_default();
            known.triggers = process.triggers.or(known.triggers.take());
            known.instances.extend(process.instances);
            if let Some(triggers) = &known.triggers {
                known.instances.retain(|number, _| *number <= triggers.slots);
            }
        }
        self.down = later.down.or(self.down.take());
    }

    /// Somebody wants the application up: it is not stopped on.
    pub fn forget_down(&mut self) {
        self.down = None;
    }

    /// The machine was booted since: its monotonic clock has begun anew.
    pub fn forget_clock(&mut self) {
        let slots = self.processes.values_mut().flat_map(|process| process.instances.values_mut());
        for slot in slots {
            slot.forget_clock();
            match &mut slot.state {
                State::Backoff { until, .. } => *until = Duration::ZERO,
                State::Live(run) => (run.since, run.signal_at, run.kill_at) = (None, None, None),
                State::Idle | State::Waiting(_) | State::Stopped | State::Finished | State::Failed => {}
            }
        }
    }

    /// The plan with as many replicas as there were.
    #[must_use]
    pub fn scaled(&self, mut plan: Plan) -> Plan {
        for spec in &mut plan.processes {
            let saved = self.processes.get(&spec.name).and_then(|process| process.triggers.as_ref());
            spec.replicas = saved.map_or(spec.replicas, |triggers| triggers.replicas);
        }
        plan
    }
}

/// What has changed since it was saved last.
#[derive(Debug, Default)]
pub(super) struct Unsaved {
    instances: BTreeSet<Instance>,
    triggers: BTreeSet<PrcId>,
    down: bool,
    /// Stopping everything, which the orchestrator before this one had begun.
    begun_down: Option<SavedDown>,
}

impl Unsaved {
    pub fn slot(&mut self, instance: Instance) {
        self.instances.insert(instance);
    }

    pub fn triggers(&mut self, prc: PrcId) {
        self.triggers.insert(prc);
    }

    pub fn down(&mut self) {
        self.down = true;
    }
}

impl Orchestrator {
    /// What has changed since the last call; `None` when nothing has.
    pub fn take_unsaved(&mut self) -> Option<Saved> {
        let unsaved = &mut self.unsaved;
        if unsaved.instances.is_empty() && unsaved.triggers.is_empty() && !unsaved.down {
            return None;
        }
        let instances = std::mem::take(&mut unsaved.instances);
        let triggers = std::mem::take(&mut unsaved.triggers);
        let with_down = std::mem::take(&mut unsaved.down);
        Some(self.save(instances.into_iter(), triggers.into_iter(), with_down))
    }

    /// All of its state.
    #[must_use]
    pub fn saved(&self) -> Saved {
        let instances = self.plan.ids().flat_map(|prc| self.instances(prc));
        self.save(instances, self.plan.ids(), true)
    }

    fn save(
        &self,
        instances: impl Iterator<Item = Instance>,
        triggers: impl Iterator<Item = PrcId>,
        with_down: bool,
    ) -> Saved {
        let mut saved = Saved::default();
        for prc in triggers {
            let process = saved.processes.entry(self.plan.process(prc).name.clone()).or_default();
            process.triggers = Some(self.saved_triggers(prc));
        }
        for instance in instances {
            let Some(slot) = self.slot(instance) else { continue };
            let process = saved.processes.entry(self.plan.process(instance.prc).name.clone()).or_default();
            process.instances.insert(instance.number, slot.clone());
        }
        if with_down {
            let under_way = self.down.as_ref().map(|down| down.how());
            let under_way = under_way.map(|(grace, kill)| SavedDown { grace, kill });
            saved.down = under_way.or(self.unsaved.begun_down);
        }
        saved
    }

    fn saved_triggers(&self, prc: PrcId) -> SavedTriggers {
        let (spec, process) = (self.plan.process(prc), self.process(prc));
        let sources = match &spec.trigger {
            Trigger::DependenceFinish { sources, .. } => sources.as_slice(),
            Trigger::OnStart | Trigger::Manual | Trigger::Cron(_) => &[],
        };
        let finishes = sources.iter().zip(&process.fan_in);
        let named = finishes.filter_map(|(source, finish)| Some((self.plan.process(*source).name.clone(), (*finish)?)));
        SavedTriggers {
            replicas: spec.replicas,
            slots: u32::try_from(process.slots.len()).unwrap_or(u32::MAX),
            retired: process.retired.clone(),
            cron: process.cron.clone(),
            fan_in: named.collect(),
        }
    }

    /// An orchestrator that goes on with this state; and the live runs for which its plan has no place any more. It waits
    /// for [`super::Event::Resumed`].
    #[must_use]
    pub fn restore(plan: Arc<Plan>, seed: RunSeed, saved: Saved) -> (Self, Vec<Stray>) {
        let mut orc = Self::new(Arc::clone(&plan), seed);
        let mut strays = Vec::new();
        for (process, SavedProcess { triggers, instances }) in saved.processes {
            let prc = orc.by_name.get(&process).copied();
            if let Some((prc, triggers)) = prc.zip(triggers) {
                orc.restore_triggers(prc, triggers);
            }
            for (number, slot) in instances {
                let room = prc.filter(|prc| {
                    let spec = plan.process(*prc);
                    number > 0 && number <= spec.most_instances()
                });
                match (room, slot.run()) {
                    (Some(prc), _) => orc.restore_slot(Instance { prc, number }, slot),
                    (None, Some(run)) => strays.push(Stray {
                        run: run.id,
                        internal_name: name::internal(&process, number),
                        process: process.clone(),
                    }),
                    (None, None) => {}
                }
            }
        }
        for (spec, process) in plan.processes.iter().zip(&mut orc.processes) {
            process.bring_back(spec.replicas);
        }
        orc.unsaved.begun_down = saved.down;
        (orc, strays)
    }

    fn restore_triggers(&mut self, prc: PrcId, saved: SavedTriggers) {
        let plan = Arc::clone(&self.plan);
        let process = &mut self.processes[prc.0];
        process.retired = saved.retired;
        match &plan.process(prc).trigger {
            Trigger::Cron(_) => process.cron = saved.cron,
            Trigger::DependenceFinish { sources, .. } => {
                let finish_of = |source: &PrcId| saved.fan_in.get(&plan.process(*source).name).copied();
                process.fan_in = sources.iter().map(finish_of).collect();
            }
            Trigger::OnStart | Trigger::Manual => {}
        }
    }

    fn restore_slot(&mut self, instance: Instance, slot: Slot) {
        let slots = &mut self.processes[instance.prc.0].slots;
        while slots.len() < instance.number as usize {
            slots.push(Slot::extra(slot.armed));
        }
        self.runs.extend(slot.run().map(|run| (run.id, instance)));
        let deadline = slot.deadline(self.plan.process(instance.prc));
        self.deadlines.extend(deadline.map(|at| (at, instance)));
        if let Some(place) = slot_mut(&mut self.processes, instance) {
            *place = slot;
        }
    }

    /// The runs under way.
    pub fn live_runs(&self) -> impl Iterator<Item = LiveRun> {
        self.runs.iter().map(|(run, instance)| LiveRun {
            run: *run,
            instance: *instance,
            may_be_unstarted: self.run(*instance).is_some_and(|run| run.phase == Phase::Spawning),
        })
    }

    /// Goes on with a restored state.
    pub(super) fn resume(&mut self, now: Now, found: Vec<(RunId, Found)>) {
        for prc in self.plan.ids() {
            self.resume_schedule(now, prc);
        }
        for (run, found) in found {
            self.found(now, run, found);
        }
        for prc in self.plan.ids() {
            let waiting =
                |instance: &Instance| self.slot(*instance).is_some_and(|slot| matches!(slot.state, State::Waiting(_)));
            let waiting: Vec<Instance> = self.instances(prc).filter(waiting).collect();
            self.notes.extend(waiting.into_iter().map(Note::Wants));
        }
        for prc in self.plan.ids() {
            self.run_missed(now, prc);
        }
        if let Some(SavedDown { grace, kill }) = self.unsaved.begun_down.take() {
            self.go_down(now, grace, kill);
        }
    }

    fn resume_schedule(&mut self, now: Now, prc: PrcId) {
        let plan = Arc::clone(&self.plan);
        if let Some((timing, cron)) = self.timing(plan.process(prc)).zip(self.processes[prc.0].cron.as_mut()) {
            cron.resume(timing, now.wall);
            self.cron.extend(cron.deadline(timing).map(|at| (at, prc)));
        }
        self.refresh_triggers(now, prc);
    }

    fn found(&mut self, now: Now, id: RunId, found: Found) {
        let Some(&instance) = self.runs.get(&id) else { return };
        let Some(phase) = self.run(instance).map(|run| run.phase) else { return };
        match (phase, found) {
            (Phase::Spawning, Found::Alive { pid }) => {
                self.step(now, instance, Input::Spawned(pid));
                self.report_adopted(instance);
            }
            (Phase::Starting | Phase::Running, Found::Alive { .. }) => self.report_adopted(instance),
            (Phase::Stopping, Found::Alive { .. }) => {
                self.report_adopted(instance);
                self.ask_again(now, instance);
            }
            (Phase::Spawning, Found::Unstarted) if self.run(instance).is_some_and(Run::is_unwanted) => {
                let reason = "it was to stop before it had started".to_owned();
                self.step(now, instance, Input::SpawnFailed { reason, is_final: true });
            }
            (Phase::Spawning, Found::Unstarted) => self.spawn_again(instance),
            (Phase::Starting | Phase::Running | Phase::Stopping, Found::Unstarted) => {
                self.ended_unseen(now, instance, Outcome::Unknown);
            }
            (Phase::Spawning | Phase::Starting | Phase::Running | Phase::Stopping, Found::Ended { outcome }) => {
                self.ended_unseen(now, instance, outcome);
            }
            (Phase::Draining, _) => self.step(now, instance, Input::Drained),
            (Phase::Reaping, _) => self.actions.push(Action::Reap { run: id }),
        }
    }

    fn report_adopted(&mut self, instance: Instance) {
        let spec = self.plan.process(instance.prc);
        let reason = self.is_outdated(instance, self.fingerprint(instance.prc)).then(|| CHANGED_SINCE.to_owned());
        let facts = report::of_instance(EventKind::Adopted, spec, instance, self.run(instance), reason);
        self.actions.push(Action::Report { facts });
    }

    /// Its connections are new ones: they are told how long it has; and a kill that was on its way is sent again.
    fn ask_again(&mut self, now: Now, instance: Instance) {
        let Some(run) = self.run(instance) else { return };
        let action = match run.kill_at {
            None => Action::Kill { run: run.id },
            Some(at) => {
                let left = at.saturating_sub(now.mono).as_millis();
                Action::StopEvent { run: run.id, grace_ms: u64::try_from(left).unwrap_or(u64::MAX) }
            }
        };
        self.actions.push(action);
    }

    fn spawn_again(&mut self, instance: Instance) {
        let Some(run) = self.run(instance) else { return };
        let spawn =
            Spawn { run: run.id, instance, args: run.order.args.clone(), scheduled_time: run.order.scheduled_time };
        self.actions.push(Action::Spawn(spawn));
    }

    fn ended_unseen(&mut self, now: Now, instance: Instance, outcome: Outcome) {
        if let Some(Slot { state: State::Live(run), .. }) = slot_mut(&mut self.processes, instance) {
            run.ended_unseen = true;
        }
        self.step(now, instance, Input::Exited(outcome));
    }
}

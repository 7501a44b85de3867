//! [`Orchestrator`]: the whole program in one signature, `handle(now, event) -> actions`.
//!
//! An event becomes an input of one instance's table ([`super::process`]); what others must know of the step comes back
//! as notes, and `settle` follows them until nothing is left: dependents start, triggers fire, requests are answered.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::action::Action;
use super::converge::Replacing;
use super::cron_clock::{CronClock, ScheduleNote};
use super::down::Down;
use super::event::{Deadline, Event, Now, RequestId};
use super::graph;
use super::live::Run;
use super::process::{Slot, State};
use super::requests::Pending;
use super::run::{Instance, RunId, RunSeed};
use super::saved::Unsaved;
use super::step::{Finish, Input, Note, Step};
use crate::plan::{Plan, PrcId, ProcessSpec, Trigger};

/// Owns the state of every process and decides what is to be done about what happens.
#[derive(Debug)]
pub struct Orchestrator {
    pub(super) plan: Arc<Plan>,
    pub(super) by_name: HashMap<String, PrcId>,
    /// Of each process: those it depends on, sources included.
    pub(super) dependences: Vec<Vec<PrcId>>,
    /// Of each process: those that depend on it.
    pub(super) dependents: Vec<Vec<PrcId>>,
    /// Every process after those it depends on.
    pub(super) order: Vec<PrcId>,
    pub(super) processes: Vec<Process>,
    /// In the order in which people see them.
    pub(super) shown: Vec<PrcId>,
    /// Runs that make way for others.
    pub(super) replacing: Option<Replacing>,
    /// The live runs. An event of any other changes nothing.
    pub(super) runs: HashMap<RunId, Instance>,
    pub(super) deadlines: BTreeSet<(Duration, Instance)>,
    pub(super) cron: BTreeSet<(u64, PrcId)>,
    pub(super) last_wall: u64,
    pub(super) pending: BTreeMap<RequestId, Pending>,
    pub(super) down: Option<Down>,
    /// [`Action::End`] was given.
    pub(super) has_ended: bool,
    pub(super) actions: Vec<Action>,
    pub(super) notes: VecDeque<Note>,
    /// What has changed since it was saved last.
    pub(super) unsaved: Unsaved,
    /// Makes the jitter of this orchestrator's schedules another than that of others'.
    pub(super) salt: u64,
    seed: RunSeed,
}

/// What is known of a process beside its plan.
#[derive(Debug)]
pub(super) struct Process {
    /// Its instances, from number 1.
    pub slots: Vec<Slot>,
    /// While a cron trigger is armed.
    pub cron: Option<CronClock>,
    /// What an orchestrator before this one noted of its schedule, until that is armed.
    pub schedule_note: Option<ScheduleNote>,
    /// Of each source of a dependence_finish trigger, its newest finish since the last firing.
    pub fan_in: Vec<Option<Finish>>,
    /// Instances (their numbers) that are no more, or will not be once they are at rest.
    pub retired: BTreeSet<u32>,
    /// It is in copo.toml no more: it is there until its last run is gone.
    pub is_removed: bool,
    /// What its runs are started with by the plan that holds, once that was asked for.
    pub fingerprint: OnceCell<[u64; 2]>,
}

impl Process {
    pub fn new(spec: &ProcessSpec) -> Self {
        let mut process = Self {
            slots: Vec::new(),
            cron: None,
            schedule_note: None,
            fan_in: fan_in_of(spec),
            retired: BTreeSet::new(),
            is_removed: false,
            fingerprint: OnceCell::new(),
        };
        process.grow(spec.replicas);
        process
    }

    /// Makes room for so many instances.
    pub fn grow(&mut self, replicas: u32) {
        while self.slots.len() < replicas as usize {
            self.slots.push(Slot::new());
        }
    }

    /// So many instances are there (again). One that was no more is a new one, unless it has not come to rest yet.
    pub fn bring_back(&mut self, replicas: u32) {
        let kept = self.retired.split_off(&replicas.saturating_add(1));
        for number in mem::replace(&mut self.retired, kept) {
            if let Some(slot) = self.slots.get_mut(number as usize - 1).filter(|slot| slot.is_at_rest()) {
                *slot = Slot::new();
            }
        }
        self.grow(replicas);
    }

    /// Gives up the room of the last instances, as far as they are no more; `is_awaited`: of which that is still to be told.
    pub fn shrink(&mut self, is_awaited: impl Fn(u32) -> bool) {
        while let Some(last) = self.slots.last() {
            let number = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
            if !last.is_at_rest() || is_awaited(number) || !self.retired.remove(&number) {
                return;
            }
            self.slots.pop();
        }
    }
}

impl Orchestrator {
    /// Nothing runs, nothing is armed: it waits for [`Event::Up`]. `seed` makes the RunIds.
    #[must_use]
    pub fn new(plan: Arc<Plan>, seed: RunSeed) -> Self {
        let mut orchestrator = Self {
            by_name: plan.ids().map(|prc| (plan.process(prc).name.clone(), prc)).collect(),
            dependents: Vec::new(),
            dependences: Vec::new(),
            order: Vec::new(),
            processes: plan.processes.iter().map(Process::new).collect(),
            shown: plan.ids().collect(),
            replacing: None,
            plan: Arc::clone(&plan),
            runs: HashMap::new(),
            deadlines: BTreeSet::new(),
            cron: BTreeSet::new(),
            last_wall: 0,
            pending: BTreeMap::new(),
            down: None,
            has_ended: false,
            actions: Vec::new(),
            notes: VecDeque::new(),
            unsaved: Unsaved::default(),
            salt: seed.salt(),
            seed,
        };
        orchestrator.relate(&plan);
        orchestrator
    }

    /// Who depends on whom in this plan, and the order that follows from it.
    pub(super) fn relate(&mut self, plan: &Plan) {
        let edges: Vec<Vec<usize>> = plan.processes.iter().map(edges_of).collect();
        let to_ids = |lists: Vec<Vec<usize>>| -> Vec<Vec<PrcId>> {
            lists.into_iter().map(|list| list.into_iter().map(PrcId).collect()).collect()
        };
        // Config refuses a plan with a cycle; should one come all the same, the file's order must do.
        let order = graph::order(&edges).unwrap_or_else(|_| (0..edges.len()).collect());
        self.order = order.into_iter().map(PrcId).collect();
        self.dependents = to_ids(graph::reversed(&edges));
        self.dependences = to_ids(edges);
    }

    /// What to do, in this order, about what happened.
    #[must_use]
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Action> {
        self.notice_wall(now);
        match event {
            Event::Up { names } => self.up(now, &names),
            Event::Resumed { found } => self.resume(now, found),
            Event::Command { request, by, command } => self.command(now, request, by, command),
            Event::RequestGone { request } => {
                self.pending.remove(&request);
            }
            Event::Spawned { run, pid } => self.of_run(now, run, Input::Spawned(pid)),
            Event::SpawnFailed { run, reason, is_final } => {
                self.of_run(now, run, Input::SpawnFailed { reason, is_final });
            }
            Event::Ready { run } => self.of_run(now, run, Input::Ready),
            Event::Probed { run, probe, answer } => self.of_run(now, run, Input::Probed(probe, answer)),
            Event::Notified { run, notice } => self.of_run(now, run, Input::Notified(notice)),
            Event::StopWatched { run } => self.of_run(now, run, Input::StopWatched),
            Event::Exited { run, outcome } => self.of_run(now, run, Input::Exited(outcome)),
            Event::Drained { run } => self.of_run(now, run, Input::Drained),
            Event::GroupGone { run } => self.of_run(now, run, Input::GroupGone),
            Event::DeadlineReached => {
                self.run_deadlines(now);
                self.fire_due_schedules(now);
            }
            Event::Terminate => self.terminate(now),
        }
        self.settle(now);
        mem::take(&mut self.actions)
    }

    /// When it wants to be asked again; `None`: not before something happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Deadline> {
        let mono = self.deadlines.first().map(|(at, _)| *at);
        let wall = self.cron.first().map(|(at, _)| *at);
        (mono.is_some() || wall.is_some()).then_some(Deadline { mono, wall })
    }

    /// An event of a run: only the present run of an instance has a say.
    fn of_run(&mut self, now: Now, run: RunId, input: Input) {
        if let Some(&instance) = self.runs.get(&run) {
            self.step(now, instance, input);
        }
    }

    fn run_deadlines(&mut self, now: Now) {
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now.mono);
        for instance in due.map(|(_, instance)| *instance).collect::<Vec<_>>() {
            self.step(now, instance, Input::Due);
        }
    }

    /// One step of one instance's table. Keeps what is derived from its state in line with it.
    pub(super) fn step(&mut self, now: Now, instance: Instance, input: Input) {
        let spec = self.plan.process(instance.prc);
        let Some(slot) = slot_mut(&mut self.processes, instance) else {
            return;
        };
        self.unsaved.slot(instance);
        let before = (slot.run().map(|run| run.id), slot.deadline(spec), slot.armed);
        let mut step = Step { now, spec, instance, actions: &mut self.actions, notes: Vec::new() };
        slot.step(&mut step, input);
        self.notes.extend(step.notes);
        let after = (slot.run().map(|run| run.id), slot.deadline(spec), slot.armed);
        if before.0 != after.0 {
            before.0.map(|run| self.runs.remove(&run));
            self.runs.extend(after.0.map(|run| (run, instance)));
            let made_with = self.fingerprint(instance.prc);
            if let Some(State::Live(run)) = slot_mut(&mut self.processes, instance).map(|slot| &mut slot.state) {
                run.made_with = Some(made_with);
            }
        }
        if before.1 != after.1 {
            before.1.map(|at| self.deadlines.remove(&(at, instance)));
            self.deadlines.extend(after.1.map(|at| (at, instance)));
        }
        if before.2 != after.2 {
            self.refresh_triggers(now, instance.prc);
        }
    }

    /// Follows what a step means for others until nothing is left to follow.
    pub(super) fn settle(&mut self, now: Now) {
        while let Some(note) = self.notes.pop_front() {
            match note {
                Note::Changed(instance) => {
                    if !self.is_about_to_end() {
                        self.start_waiting_dependents(now, instance.prc);
                    }
                    self.look_at_waits(instance);
                }
                Note::Wants(instance) => {
                    if !self.start_if_it_may(now, instance) {
                        self.restarted(instance, Ok(()));
                    }
                }
                Note::Spawned(instance) => self.restarted(instance, Ok(())),
                Note::SpawnFailed(instance, why) => self.restarted(instance, Err(why)),
                Note::Gone(instance) => {
                    self.stopped(instance);
                    self.go_on_replacing(now, instance);
                    self.go_on_down(now, instance.prc);
                }
                Note::Ended(instance) => self.dependence_ended(now, instance),
                Note::Finished(..) if self.is_about_to_end() => {}
                Note::Finished(instance, finish) => self.fan_in(now, instance, finish),
                Note::EndsAll(instance, verdict) => self.end_because_of(now, instance, verdict),
                Note::Rested(instance) => {
                    self.rested(now, instance);
                    self.run_missed(now, instance.prc);
                }
                Note::Over(request, over) => self.triggered(request, *over),
            }
        }
        self.end_if_all_is_clear();
    }

    /// It has just been found that the application is to end: nothing is started to be stopped again.
    fn is_about_to_end(&self) -> bool {
        self.notes.iter().any(|note| matches!(note, Note::EndsAll(..)))
    }

    pub(super) fn start_waiting_dependents(&mut self, now: Now, prc: PrcId) {
        for index in 0..self.dependents[prc.0].len() {
            let dependent = self.dependents[prc.0][index];
            for instance in self.instances(dependent) {
                self.start_if_it_may(now, instance);
            }
        }
    }

    /// Starts an instance that waits, if all it depends on holds; whether it did.
    fn start_if_it_may(&mut self, now: Now, instance: Instance) -> bool {
        let waits = self.slot(instance).is_some_and(|slot| matches!(slot.state, State::Waiting(_)));
        let is_retired = self.process(instance.prc).retired.contains(&instance.number);
        let starts = waits && !is_retired && self.may_start(instance.prc);
        if starts {
            let run = self.seed.next_id(now.wall);
            self.step(now, instance, Input::Go(run));
        }
        starts
    }

    fn rested(&mut self, now: Now, instance: Instance) {
        if let Some(order) = slot_mut(&mut self.processes, instance).and_then(Slot::take_queued) {
            return self.step(now, instance, Input::Start(order));
        }
        let Some(slot) = self.slot(instance) else {
            return;
        };
        let outcome = match &slot.state {
            State::Stopped => Err("it was stopped".to_owned()),
            State::Failed => Err(slot.failure.clone().unwrap_or_default()),
            State::Idle | State::Finished | State::Waiting(_) | State::Live(_) | State::Backoff { .. } => Ok(()),
        };
        self.restarted(instance, outcome);
        self.let_go(instance);
    }

    pub(super) fn process(&self, prc: PrcId) -> &Process {
        &self.processes[prc.0]
    }

    pub(super) fn slot(&self, instance: Instance) -> Option<&Slot> {
        self.processes[instance.prc.0].slots.get(index_of(instance)?)
    }

    /// All instances there are of a process.
    pub(super) fn instances(&self, prc: PrcId) -> impl Iterator<Item = Instance> + use<> {
        let count = u32::try_from(self.process(prc).slots.len()).unwrap_or(u32::MAX);
        (1..=count).map(move |number| Instance { prc, number })
    }

    /// The instances of a process that the plan has.
    pub(super) fn planned(&self, prc: PrcId) -> impl Iterator<Item = Instance> + use<> {
        let replicas = if self.process(prc).is_removed { 0 } else { self.plan.process(prc).replicas };
        self.instances(prc).filter(move |instance| instance.number <= replicas)
    }

    /// The live run of an instance.
    pub(super) fn run(&self, instance: Instance) -> Option<&Run> {
        self.slot(instance).and_then(Slot::run)
    }
}

fn index_of(instance: Instance) -> Option<usize> {
    (instance.number as usize).checked_sub(1)
}

pub(super) fn slot_mut(processes: &mut [Process], instance: Instance) -> Option<&mut Slot> {
    processes[instance.prc.0].slots.get_mut(index_of(instance)?)
}

/// No finish seen yet.
pub(super) fn fan_in_of(spec: &ProcessSpec) -> Vec<Option<Finish>> {
    match &spec.trigger {
        Trigger::DependenceFinish { sources, .. } => vec![None; sources.len()],
        Trigger::OnStart | Trigger::Manual | Trigger::Cron(_) => Vec::new(),
    }
}

fn edges_of(spec: &ProcessSpec) -> Vec<usize> {
    let sources = match &spec.trigger {
        Trigger::DependenceFinish { sources, .. } => sources.as_slice(),
        Trigger::OnStart | Trigger::Manual | Trigger::Cron(_) => &[],
    };
    let gates = spec.depends_on.iter().map(|dependence| dependence.process);
    gates.chain(sources.iter().copied()).map(|prc| prc.0).collect::<BTreeSet<_>>().into_iter().collect()
}

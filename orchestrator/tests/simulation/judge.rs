//! The judge: knows of each run what the edge and the readers of reports can know, and names the promise that an action
//! breaks.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use copo_orchestrator::plan::{Condition, Dependence, Overlap, Plan, PrcId, Trigger};
use copo_orchestrator::supervisor::{Action, Event, Instance, Now, Reply, RequestId, RunId, Spawn};
use copo_proto::name;
use copo_proto::v1::{EventKind, Facts, Processes, State};

use super::seen::{Seen, Stage, may_follow};

/// The supervisor counts what it does itself: a stop that is under way is over after all graces and this.
const SLACK: Duration = Duration::from_secs(120);

/// What is wrong.
pub type Verdict = Result<(), String>;

/// See above.
pub struct Judge {
    pub plan: Arc<Plan>,
    pub runs: HashMap<RunId, Seen>,
    /// Of each instance, its newest run.
    pub newest: BTreeMap<Instance, RunId>,
    pub open: BTreeSet<RequestId>,
    /// Instances that finished last, and how; and those whose last run did its work.
    finishes: HashMap<Instance, EventKind>,
    done: HashSet<Instance>,
    /// Stopped, and nobody has asked for anything since.
    stopped: HashSet<Instance>,
    /// Scheduled times by process, with the instances that ran them.
    scheduled: HashMap<PrcId, BTreeMap<u64, BTreeSet<Instance>>>,
    last_scheduled: HashMap<Instance, u64>,
    latest_wall: u64,
    /// A request to signal something is being handled.
    is_signalling: bool,
    /// Everything is being stopped, since when; killing, too.
    pub down: Option<Duration>,
    may_kill: bool,
    pub has_ended: bool,
    /// Only some processes were brought up, by name.
    pub is_partly_up: bool,
}

impl Judge {
    pub fn new(plan: Arc<Plan>) -> Self {
        Self {
            plan,
            runs: HashMap::new(),
            newest: BTreeMap::new(),
            open: BTreeSet::new(),
            finishes: HashMap::new(),
            done: HashSet::new(),
            stopped: HashSet::new(),
            scheduled: HashMap::new(),
            last_scheduled: HashMap::new(),
            latest_wall: 0,
            is_signalling: false,
            down: None,
            may_kill: false,
            has_ended: false,
            is_partly_up: false,
        }
    }

    /// A command is about to be handled.
    pub fn asked(&mut self, now: Now, command: &copo_orchestrator::supervisor::Command) {
        use copo_orchestrator::supervisor::Command;
        self.is_signalling = matches!(command, Command::Kill { .. });
        match command {
            Command::Start { .. }
            | Command::Restart { .. }
            | Command::Trigger { .. }
            | Command::Scale { .. }
            | Command::Converge { .. } => {
                self.stopped.clear();
                self.hurried(now);
            }
            Command::Down { grace, kill } => {
                self.may_kill |= kill;
                self.down.get_or_insert(now.mono);
                if let Some(grace) = grace {
                    let from = now.mono + *grace;
                    let asked = self.runs.values_mut().filter_map(|run| run.kill_from.as_mut());
                    asked.for_each(|kill_from| *kill_from = (*kill_from).min(from));
                }
            }
            Command::Stop { .. } => self.hurried(now),
            Command::Ps | Command::Kill { .. } | Command::Wait { .. } => {}
        }
    }

    /// What is being stopped may be asked again, by its own grace.
    fn hurried(&mut self, now: Now) {
        for run in self.runs.values_mut().filter(|run| run.kill_from.is_some()) {
            let from = now.mono + self.plan.process(run.instance.prc).stop_grace;
            run.hurried_from = Some(run.hurried_from.map_or(from, |earlier| earlier.min(from)));
        }
    }

    /// The orchestrator is signalled.
    pub fn terminated(&mut self, now: Now, is_going_down: bool) {
        self.may_kill |= is_going_down;
        self.down.get_or_insert(now.mono);
    }

    /// Looks at all that was decided about an event.
    pub fn look(&mut self, now: Now, event: &Event, actions: &[Action]) -> Verdict {
        self.latest_wall = self.latest_wall.max(now.wall);
        let instances: usize = self.plan.processes.iter().map(|p| p.replicas.max(p.max_instances) as usize).sum();
        // Times that jitter has held up come together, and each second may be one.
        let held_up: usize = self.plan.processes.iter().map(|p| 4 * p.jitter.as_secs() as usize).sum();
        let most = 64 + 24 * instances + held_up * 4;
        ensure(actions.len() <= most, || format!("{} actions for one event", actions.len()))?;
        for (index, action) in actions.iter().enumerate() {
            let is_reply = matches!(action, Action::Reply { .. });
            ensure(!self.has_ended || is_reply, || format!("after the end: {action:?}"))?;
            let before = index.checked_sub(1).map(|index| &actions[index]);
            self.look_at(now, action, before).map_err(|why| format!("{why}\n  by {action:?}\n  at {event:?}"))?;
        }
        self.is_signalling = false;
        Ok(())
    }

    fn look_at(&mut self, now: Now, action: &Action, before: Option<&Action>) -> Verdict {
        match action {
            Action::Spawn(spawn) => self.spawned(spawn),
            Action::StopEvent { run, grace_ms } => {
                let until = now.mono + Duration::from_millis(*grace_ms);
                let run = self.live(run, Stage::Running)?;
                ensure(run.asked.is_none(), || "it is asked twice to stop".to_owned())?;
                (run.asked, run.kill_from) = (Some(now.mono), Some(until));
                Ok(())
            }
            Action::Signal { run, .. } => {
                let is_signalling = self.is_signalling;
                let run = self.live(run, Stage::Running)?;
                run.was_signalled |= run.asked.is_some();
                ensure(run.asked.is_some() || is_signalling, || "a signal without having been asked".to_owned())
            }
            Action::Kill { run } => {
                let may_kill = self.may_kill;
                let run = self.live(run, Stage::Running)?;
                run.was_killed = true;
                // Graces are told in whole milliseconds.
                let from = [run.kill_from, run.hurried_from].into_iter().flatten().min();
                let its_time = from.is_some_and(|from| from <= now.mono + Duration::from_millis(1));
                ensure(may_kill || its_time, || "killed before its time, or unasked".to_owned())?;
                ensure(may_kill || run.was_signalled, || "killed without a signal before".to_owned())
            }
            Action::Probe { run, .. } => {
                let run = self.live(run, Stage::Running)?;
                ensure(run.asked.is_none(), || "probed after it was asked to stop".to_owned())
            }
            Action::Drain { run } => self.live(run, Stage::Exited).map(|_| ()),
            Action::Fence { run } => self.live(run, Stage::Drained).map(|_| ()),
            Action::Reap { run } => {
                let run = self.live(run, Stage::Drained)?;
                ensure(!std::mem::replace(&mut run.is_reaped, true), || "reaped twice".to_owned())
            }
            Action::Report { facts } => self.reported(facts),
            Action::Reply { request, reply } => self.replied(*request, reply),
            Action::NoteSchedule { process, note } => {
                let missed =
                    note.as_ref().is_some_and(|note| note.dealt.iter().any(|dealt| dealt.last > self.latest_wall));
                ensure(!missed, || format!("a time of {process:?} that is not yet has run"))
            }
            Action::Adopt { plan } => {
                self.plan = Arc::clone(plan);
                Ok(())
            }
            Action::Forget { instance } => {
                self.stopped.remove(instance); // Another one may have its number.
                let is_live = self.live_run(*instance).is_some();
                ensure(!is_live, || format!("forgotten while it lives: {instance:?}"))
            }
            Action::End => {
                self.has_ended = true;
                let stopped =
                    matches!(before, Some(Action::Report { facts }) if facts.event() == EventKind::OrchestratorStopped);
                ensure(stopped, || "the end without orchestrator_stopped right before".to_owned())?;
                ensure(self.open.is_empty(), || format!("the end with unanswered {:?}", self.open))?;
                let live = self.runs.values().find(|run| run.stage != Stage::Gone);
                ensure(live.is_none(), || format!("the end with a live run: {live:?}"))
            }
        }
    }

    fn spawned(&mut self, spawn: &Spawn) -> Verdict {
        let instance = spawn.instance;
        ensure(self.live_run(instance).is_none(), || format!("a second live run of {instance:?}"))?;
        ensure(self.down.is_none(), || "spawned while everything is being stopped".to_owned())?;
        ensure(!self.stopped.contains(&instance), || "spawned although it is stopped".to_owned())?;
        let spec = self.plan.process(instance.prc);
        let most = spec.replicas.max(if spec.overlap == Overlap::Allow { spec.max_instances } else { 0 });
        ensure(instance.number <= most, || format!("more instances than {most} of {:?}", spec.name))?;
        for dependence in &spec.depends_on {
            let why = || {
                format!("spawned while not {:?}: {}", dependence.condition, self.plan.process(dependence.process).name)
            };
            ensure(self.holds(dependence), why)?;
        }
        if let Some(time) = spawn.scheduled_time {
            self.scheduled(instance, time)?;
        }
        self.newest.insert(instance, spawn.run);
        let seen = Seen::new(instance, Stage::Spawning);
        let twin = self.runs.insert(spawn.run, seen);
        let is_announced = twin.as_ref().is_some_and(|twin| {
            twin.reported == Some(EventKind::Starting) && twin.instance == instance && twin.stage == Stage::Gone
        });
        ensure(is_announced, || "spawned without `starting` before, or twice".to_owned())
    }

    /// A time of its schedule, not in the future, and one that this instance has not run, but for restarts.
    fn scheduled(&mut self, instance: Instance, time: u64) -> Verdict {
        let spec = self.plan.process(instance.prc);
        let Trigger::Cron(schedule) = &spec.trigger else {
            return Err("a scheduled time of what has no schedule".to_owned());
        };
        ensure(schedule.next_after(time - 1) == Some(time), || format!("{time} is no time of its schedule"))?;
        ensure(time <= self.latest_wall, || format!("{time} is not yet"))?;
        let before = self.last_scheduled.insert(instance, time);
        let instances = self.scheduled.entry(instance.prc).or_default().entry(time).or_default();
        if !instances.insert(instance) {
            // The same order, restarted: nothing else has run in between.
            return ensure(before == Some(time), || format!("{time} runs again in {instance:?}"));
        }
        let is_extra = instance.number > spec.replicas;
        ensure(!is_extra || instances.len() == 1, || format!("{time} runs in {instance:?} and in {instances:?}"))
    }

    fn reported(&mut self, facts: &Facts) -> Verdict {
        let Some(instance) = facts.internal_name.as_deref().and_then(|name| self.instance(name)) else {
            return Ok(());
        };
        let event = facts.event();
        match event {
            EventKind::Finished => {
                self.finishes.insert(instance, event);
                self.done.insert(instance);
            }
            EventKind::Failed => {
                self.finishes.insert(instance, event);
                self.done.remove(&instance);
            }
            EventKind::Stopped => {
                self.done.remove(&instance);
                self.stopped.insert(instance);
            }
            EventKind::Starting => {
                self.done.remove(&instance);
            }
            _ => {}
        }
        let Some(id) = facts.run.as_deref().and_then(RunId::parse) else {
            return Ok(());
        };
        if event == EventKind::Starting {
            let seen = Seen::new(instance, Stage::Gone);
            return ensure(self.runs.insert(id, seen).is_none(), || "a RunId comes twice".to_owned());
        }
        let Some(run) = self.runs.get_mut(&id) else {
            return Err(format!("a report of a run that never was: {facts:?}"));
        };
        let earlier = run.reported.replace(event).unwrap_or(EventKind::Unspecified);
        run.is_ready = event == EventKind::Ready || run.is_ready && event != EventKind::NotReady;
        ensure(may_follow(earlier, event), || format!("{} after {}", event.as_str_name(), earlier.as_str_name()))
    }

    fn replied(&mut self, request: RequestId, _reply: &Reply) -> Verdict {
        ensure(self.open.remove(&request), || format!("{request:?} is answered twice, or was not asked"))
    }

    fn live(&mut self, run: &RunId, stage: Stage) -> Result<&mut Seen, String> {
        let seen = self.runs.get_mut(run).ok_or("no such run")?;
        if seen.stage == stage { Ok(seen) } else { Err(format!("it is {:?}, not {stage:?}", seen.stage)) }
    }

    pub fn live_run(&self, instance: Instance) -> Option<RunId> {
        self.newest.get(&instance).copied().filter(|run| self.runs[run].stage != Stage::Gone)
    }

    fn instance(&self, internal_name: &str) -> Option<Instance> {
        let (name, number) = name::split_internal(internal_name)?;
        Some(Instance { prc: self.plan.find(name)?, number })
    }

    /// As far as the edge and the readers of reports can see it.
    fn holds(&self, dependence: &Dependence) -> bool {
        let spec = self.plan.process(dependence.process);
        spec.replicas > 0
            && (1..=spec.replicas).all(|number| {
                let instance = Instance { prc: dependence.process, number };
                let run = self.live_run(instance).map(|run| &self.runs[&run]);
                let runs = run.is_some_and(|run| run.stage == Stage::Running);
                let finish = self.finishes.get(&instance);
                match dependence.condition {
                    Condition::Ready if spec.declares_readiness() => runs && run.is_some_and(|run| run.is_ready),
                    Condition::Started | Condition::Ready => runs || self.done.contains(&instance),
                    Condition::Succeeded => finish == Some(&EventKind::Finished),
                    Condition::Failed => finish == Some(&EventKind::Failed),
                    Condition::Finished => finish.is_some(),
                }
            })
    }

    /// What `copo ps` says is what is.
    pub fn look_at_ps(&self, now: Now, processes: &Processes) -> Verdict {
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
            let is_missed = status.next_start.is_some_and(|next| next <= now.wall);
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
        let is_late = seen.stage == Stage::Running && seen.kill_from.is_some_and(|from| from < now.mono);
        ensure(!is_late || seen.was_killed, || format!("its grace is over, and it is not killed: {seen:?}"))
    }
}

pub fn ensure(holds: bool, why: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(why()) }
}

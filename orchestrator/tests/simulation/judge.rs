//! The judge: knows of each run what the edge and the readers of reports can know, and names the promise that an action
//! breaks.
//!
//! What is promised, and where it is looked at:
//!
//! - here: one live run of an instance; actions and reports of a run in their order; nothing starts while everything is being
//!   stopped, nor what is stopped, nor beyond the instances there may be, nor before what it depends on holds; a scheduled time
//!   is one of the schedule, not in the future, and runs once; nothing is left at the end, nor unanswered
//! - `asked`: whom a command is about; `stops`: nobody else is stopped, everything in its order, and what is to follow does;
//!   a kill comes after a signal, and not before its time (here), nor too late (`shown`)
//! - `policy`: what follows an end, after which delay, how often; `fired`: finishes fire triggers, as often as there are any
//! - `watched`: answers, signs of life and time limits have their effect, then and only then
//! - `answers`: what is answered is so; `shown`: so is what is shown; an end comes to its end
//! - `life/handover`: what is written down is all there is, and whoever goes on with it keeps all of the above

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use copo_orchestrator::plan::{Condition, Dependence, Plan, PrcId, Trigger};
use copo_orchestrator::supervisor::{Action, Command, Event, Instance, Now, RequestId, RunId, Spawn};
use copo_proto::name;
use copo_proto::v1::{EventKind, Facts};

use super::seen::{Seen, Stage, may_follow};
use answers::Claim;
use asked::Meant;
use policy::Chain;

mod answers;
mod asked;
mod fired;
mod policy;
mod restored;
mod shown;
mod stops;
mod watched;

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
    /// Stopped, and nobody has asked for them since; and those whose triggers do not count.
    stopped: HashSet<Instance>,
    disarmed: HashSet<Instance>,
    /// No more.
    forgotten: HashSet<Instance>,
    /// In copo.toml no more; and those that copo.toml had otherwise at some time.
    removed: HashSet<PrcId>,
    making_way: HashSet<PrcId>,
    /// The command being handled, and whom it is about.
    asking: Option<(RequestId, Command)>,
    by_request: Meant,
    claims: HashMap<RequestId, Claim>,
    /// What follows the ends of each instance.
    chains: HashMap<Instance, Chain>,
    /// Finishes of each process, with and without success; and how often each instance ran because of some.
    finished: HashMap<PrcId, (u32, u32)>,
    fired: HashMap<Instance, u32>,
    /// Scheduled times by process, with the instances that ran them.
    scheduled: HashMap<PrcId, BTreeMap<u64, BTreeSet<Instance>>>,
    last_scheduled: HashMap<Instance, u64>,
    latest_wall: u64,
    /// A request to signal something is being handled.
    is_signalling: bool,
    /// Everything is being stopped, since when; killing, too.
    pub down: Option<Duration>,
    may_kill: bool,
    /// So it was before the event that is being looked at.
    was_going_down: bool,
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
            disarmed: HashSet::new(),
            forgotten: HashSet::new(),
            removed: HashSet::new(),
            making_way: HashSet::new(),
            asking: None,
            by_request: Meant::default(),
            claims: HashMap::new(),
            chains: HashMap::new(),
            finished: HashMap::new(),
            fired: HashMap::new(),
            scheduled: HashMap::new(),
            last_scheduled: HashMap::new(),
            latest_wall: 0,
            is_signalling: false,
            down: None,
            may_kill: false,
            was_going_down: false,
            has_ended: false,
            is_partly_up: false,
        }
    }

    /// Looks at all that was decided about an event. `is_down`: everything is being stopped from here on.
    pub fn look(&mut self, now: Now, event: &Event, actions: &[Action], is_down: bool) -> Verdict {
        self.latest_wall = self.latest_wall.max(now.wall);
        self.was_going_down = self.down.is_some();
        if is_down {
            self.down.get_or_insert(now.mono);
        }
        self.by_request = Meant::default();
        self.granted(now, actions);
        self.watch(now, event);
        if matches!(event, Event::Up { .. }) {
            self.all_is_wanted();
        }
        let instances: usize = self.plan.processes.iter().map(|p| p.most_instances() as usize).sum();
        // Times that jitter has held up come together, and each second may be one.
        let held_up: usize = self.plan.processes.iter().map(|p| 4 * p.jitter.as_secs() as usize).sum();
        let most = 64 + 24 * instances + held_up * 4;
        ensure(actions.len() <= most, || format!("{} actions for one event", actions.len()))?;
        for (index, action) in actions.iter().enumerate() {
            let is_reply = matches!(action, Action::Reply { .. });
            ensure(!self.has_ended || is_reply, || format!("after the end: {action:?}"))?;
            let before = index.checked_sub(1).map(|index| &actions[index]);
            let verdict = self.look_at(now, event, action, before);
            verdict.map_err(|why| format!("{why}\n  by {action:?}\n  at {event:?}"))?;
        }
        self.is_signalling = false;
        self.look_at_lost(actions)
            .and_then(|()| self.look_at_answer(event))
            .map_err(|why| format!("{why}\n  at {event:?}"))
    }

    fn look_at(&mut self, now: Now, event: &Event, action: &Action, before: Option<&Action>) -> Verdict {
        match action {
            Action::Spawn(spawn) => self.spawned(event, spawn),
            Action::StopEvent { run: id, grace_ms } => {
                let until = now.mono + Duration::from_millis(*grace_ms);
                let run = self.live(id, Stage::Running)?;
                if run.asked.is_some() && matches!(event, Event::Resumed { .. }) {
                    return Ok(()); // Its connections are new ones.
                }
                ensure(run.asked.is_none(), || "it is asked twice to stop".to_owned())?;
                (run.asked, run.kill_from) = (Some(now.mono), Some(until));
                let because = match before {
                    Some(Action::Report { facts }) => facts.reason.as_deref(),
                    _ => None,
                };
                self.look_at_stop(event, *id, because)
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
                let was_asked = run.asked.replace(now.mono).is_some();
                // Graces are told in whole milliseconds.
                let from = [run.kill_from, run.hurried_from].into_iter().flatten().min();
                let its_time = from.is_some_and(|from| from <= now.mono + Duration::from_millis(1));
                ensure(may_kill || (its_time && was_asked), || "killed before its time, or unasked".to_owned())?;
                ensure(may_kill || run.was_signalled, || "killed without a signal before".to_owned())
            }
            Action::Probe { run, probe, .. } => self.asks(*run, *probe),
            Action::Drain { run } => self.live(run, Stage::Exited).map(|_| ()),
            Action::Fence { run } => self.live(run, Stage::Drained).map(|_| ()),
            Action::Reap { run } => {
                let run = self.live(run, Stage::Drained)?;
                ensure(!std::mem::replace(&mut run.is_reaped, true), || "reaped twice".to_owned())
            }
            Action::Report { facts } => self.reported(now, facts),
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
                self.forget(*instance); // Another one may have its number.
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

    fn forget(&mut self, instance: Instance) {
        self.stopped.remove(&instance);
        self.disarmed.remove(&instance);
        self.finishes.remove(&instance);
        self.done.remove(&instance);
        self.chains.remove(&instance);
        self.fired.remove(&instance);
        self.forget_in_claims(instance);
        self.forgotten.insert(instance);
    }

    fn spawned(&mut self, event: &Event, spawn: &Spawn) -> Verdict {
        let instance = spawn.instance;
        ensure(self.live_run(instance).is_none(), || format!("a second live run of {instance:?}"))?;
        ensure(self.down.is_none(), || "spawned while everything is being stopped".to_owned())?;
        ensure(!self.stopped.contains(&instance), || "spawned although it is stopped".to_owned())?;
        let spec = self.plan.process(instance.prc);
        let most = spec.most_instances();
        ensure(instance.number <= most, || format!("more instances than {most} of {:?}", spec.name))?;
        // What was decided and not done is done later, whatever became of what it depends on.
        let is_again = matches!(event, Event::Resumed { .. });
        for dependence in spec.depends_on.iter().filter(|_| !is_again) {
            let why = || {
                format!(
                    "spawned while not {:?}: {:?}",
                    dependence.condition,
                    self.plan.process(dependence.process).name
                )
            };
            ensure(self.holds(dependence), why)?;
        }
        if let Some(time) = spawn.scheduled_time {
            self.scheduled(instance, time)?;
        }
        self.forgotten.remove(&instance);
        self.newest.insert(instance, spawn.run);
        let seen = Seen { scheduled_time: spawn.scheduled_time, ..Seen::new(instance, Stage::Spawning) };
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

    fn reported(&mut self, now: Now, facts: &Facts) -> Verdict {
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
                self.disarmed.insert(instance);
            }
            EventKind::Starting => {
                self.done.remove(&instance);
            }
            _ => {}
        }
        self.count_finish(instance.prc, event);
        let run = facts.run.as_deref().and_then(RunId::parse);
        self.look_at_policy(now.mono, instance, run, facts)?;
        let Some(id) = run else { return Ok(()) };
        if event == EventKind::Starting {
            self.look_at_cause(instance, facts)?;
            let seen = Seen::new(instance, Stage::Gone);
            return ensure(self.runs.insert(id, seen).is_none(), || "a RunId comes twice".to_owned());
        }
        self.look_at_words(now, id, facts)?;
        let Some(run) = self.runs.get_mut(&id) else {
            return Err(format!("a report of a run that never was: {facts:?}"));
        };
        if event == EventKind::Adopted {
            return ensure(run.stage == Stage::Running, || format!("adopted, and it is {:?}", run.stage));
        }
        let mut earlier = run.reported.replace(event).unwrap_or(EventKind::Unspecified);
        if run.since.is_none() && run.ended.is_some() && event == EventKind::Exited {
            earlier = EventKind::Started; // Nobody saw it start.
        }
        run.is_ready = event == EventKind::Ready || run.is_ready && event != EventKind::NotReady;
        ensure(may_follow(earlier, event), || format!("{} after {}", event.as_str_name(), earlier.as_str_name()))
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

    pub fn set(&mut self, run: RunId, stage: Stage) {
        if let Some(seen) = self.runs.get_mut(&run) {
            seen.stage = stage;
        }
    }

    /// As far as the edge and the readers of reports can see it.
    fn holds(&self, dependence: &Dependence) -> bool {
        let prc = dependence.process;
        let replicas = self.plan.process(prc).replicas;
        replicas > 0 && (1..=replicas).all(|number| self.holds_of(dependence.condition, Instance { prc, number }))
    }

    fn holds_of(&self, condition: Condition, instance: Instance) -> bool {
        let run = self.live_run(instance).map(|run| &self.runs[&run]);
        let runs = run.is_some_and(|run| run.stage == Stage::Running);
        let finish = self.finishes.get(&instance);
        match condition {
            Condition::Ready if self.plan.process(instance.prc).declares_readiness() => {
                runs && run.is_some_and(|run| run.is_ready)
            }
            Condition::Started | Condition::Ready => runs || self.done.contains(&instance),
            Condition::Succeeded => finish == Some(&EventKind::Finished),
            Condition::Failed => finish == Some(&EventKind::Failed),
            Condition::Finished => finish.is_some(),
        }
    }
}

pub fn ensure(holds: bool, why: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(why()) }
}

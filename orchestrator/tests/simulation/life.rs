//! One life of an application, from up to the end: a virtual clock, and an edge that does what is decided.

mod handover;
mod people;
mod perform;

use std::cmp::Reverse;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use copo_orchestrator::plan::{Plan, PrcId};
use copo_orchestrator::supervisor::{
    Action, Event, Now, Orchestrator, Outcome, ProbeKind, RequestId, RunId, RunSeed, Saved, ScheduleNote,
};

use super::chance::Chance;
use super::children::Nature;
use super::judge::{Judge, Verdict, ensure};
use super::plans::some_plan;
use super::seen::Stage;
use super::tally::Tally;
use super::trace::Trace;

const SECOND: Duration = Duration::from_secs(1);
const KILLED: Outcome = Outcome::Signal { number: 9, name: "SIGKILL" };
/// Events after which a life is brought to its end.
const LENGTH: u64 = 4_000;
/// Deadlines that may follow each other without time passing: more is a busy loop.
const IDLE_TURNS: u32 = 3;
/// Events that may happen in one virtual microsecond: more is a storm.
const STORM: u32 = 2_000;
/// 2026-03-28 and 2026-10-24, the days before clocks change in Vienna; 2026-03-07, in New York.
const NIGHTS: [u64; 4] = [1_774_656_000, 1_792_800_000, 1_772_841_600, 1_795_521_600];

/// What comes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Coming {
    Spawned(RunId),
    SpawnFailed(RunId, bool),
    Ready(RunId),
    Probed(RunId, ProbeKind, bool),
    Says(RunId, usize),
    Watch(RunId),
    Exit(RunId, bool),
    Drained(RunId),
    GroupGone(RunId),
    Grace(RunId),
    Answer(RequestId),
    RequestGone(RequestId),
    Command,
    Jump,
    Stale,
    EarlyWakeup,
    Killed,
}

/// See above.
pub struct Life {
    chance: Chance,
    orc: Orchestrator,
    judge: Judge,
    now: Now,
    coming: BinaryHeap<Reverse<(Duration, u64, Coming)>>,
    numbers: u64,
    natures: HashMap<RunId, Nature>,
    requests: u64,
    events: u64,
    idle_turns: u32,
    at_once: u32,
    trace: Trace,
    print: DefaultHasher,
    tally: Tally,
    /// What is written down for the next orchestrator.
    saved: Saved,
    notes: HashMap<String, ScheduleNote>,
    /// copo.toml as it was read last; and that it was, by the event that is being handled.
    file: Arc<Plan>,
    has_read: bool,
    /// After so many of the next actions the orchestrator is killed.
    dies_after: Option<usize>,
    is_dead: bool,
    /// Runs that were to be spawned when it was killed.
    unstarted: HashSet<RunId>,
    /// How runs ended while there was no orchestrator.
    unseen: HashMap<RunId, Outcome>,
}

impl Life {
    pub fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let plan: Arc<Plan> = Arc::new(some_plan(&mut chance));
        let start = *chance.pick(&NIGHTS) * 1_000_000 + chance.word() % 86_400_000_000;
        let orc = Orchestrator::new(Arc::clone(&plan), RunSeed::new(chance.word()));
        Self {
            saved: orc.saved(),
            orc,
            file: Arc::clone(&plan),
            judge: Judge::new(plan),
            chance,
            now: Now { mono: SECOND, wall: start },
            coming: BinaryHeap::new(),
            numbers: 0,
            natures: HashMap::new(),
            requests: 0,
            events: 0,
            idle_turns: 0,
            at_once: 0,
            trace: Trace::default(),
            print: DefaultHasher::new(),
            tally: Tally::default(),
            notes: HashMap::new(),
            has_read: false,
            dies_after: None,
            is_dead: false,
            unstarted: HashSet::new(),
            unseen: HashMap::new(),
        }
    }

    pub fn events(&self) -> u64 {
        self.events
    }

    /// How often what has happened.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The same for the same actions.
    pub fn print(&self) -> u64 {
        self.print.finish()
    }

    /// The last events of the processes that a broken promise names, and what these processes are.
    pub fn story(&self, broken: &str) -> String {
        let plan = &self.judge.plan;
        let run_is_named = |prc: PrcId| {
            let mut runs = self.judge.runs.iter().filter(|(_, seen)| seen.instance.prc == prc);
            runs.any(|(run, _)| broken.contains(&run.to_string()))
        };
        let is_named = |prc: &PrcId| {
            let name = &plan.process(*prc).name;
            broken.contains(&format!("{prc:?}")) || broken.contains(&format!("\"{name}\"")) || run_is_named(*prc)
        };
        let named: Vec<PrcId> = plan.ids().filter(is_named).collect();
        let mut words: Vec<String> = named.iter().map(|prc| format!("\"{}\"", plan.process(*prc).name)).collect();
        let runs = self.judge.runs.iter().filter(|(_, seen)| named.contains(&seen.instance.prc));
        words.extend(runs.map(|(run, _)| run.to_string()));
        let processes: Vec<String> = named.iter().map(|prc| format!("{prc:?} {:?}", plan.process(*prc))).collect();
        format!("{}\n\n{}", self.trace.tell(&words), processes.join("\n"))
    }

    pub fn live(&mut self) -> Verdict {
        let names = match self.chance.below(4) {
            0 => vec![self.judge.plan.processes[0].name.clone()],
            _ => Vec::new(),
        };
        self.judge.is_partly_up = !names.is_empty();
        self.tell(Event::Up { names })?;
        for coming in [Coming::Command, Coming::Jump, Coming::Stale, Coming::EarlyWakeup, Coming::Killed] {
            self.soon(coming);
        }
        while !self.judge.has_ended {
            if self.events > LENGTH && self.judge.down.is_none() {
                self.bring_down()?;
            }
            self.go_on()?;
            if std::mem::take(&mut self.is_dead) {
                self.take_over()?;
            }
            self.judge.look_at_end(self.now)?;
        }
        // Whoever asks after the end is answered, too.
        self.command()
    }

    /// The next thing happens, whichever clock brings it.
    fn go_on(&mut self) -> Verdict {
        let deadline = self.orc.next_deadline();
        let by_wall = |wall: u64| self.now.mono + Duration::from_micros(wall.saturating_sub(self.now.wall));
        let wall = deadline.and_then(|deadline| deadline.wall).map(by_wall);
        let mono = deadline.and_then(|deadline| deadline.mono);
        let wakeup = [wall, mono].into_iter().flatten().min();
        let next = self.coming.peek().map(|Reverse((at, ..))| *at);
        match (wakeup, next) {
            (Some(wakeup), next) if next.is_none_or(|next| wakeup < next) => self.wake_up(wakeup),
            (_, Some(at)) => {
                let Some(Reverse((_, _, coming))) = self.coming.pop() else { return Ok(()) };
                self.pass_until(at);
                self.come(coming)
            }
            (_, None) => Err("nothing will ever happen".to_owned()),
        }
    }

    fn wake_up(&mut self, at: Duration) -> Verdict {
        // Timers are never early, and often a little late.
        let late = if self.chance.once_in(4) {
            self.chance.time(Duration::from_micros(1), SECOND / 50)
        } else {
            Duration::ZERO
        };
        let next = self.coming.peek().map_or(Duration::MAX, |Reverse((at, ..))| *at);
        self.pass_until((at + late).min(next));
        self.tell(Event::DeadlineReached)?;
        self.look_at_deadline()?;
        if self.idle_turns == 0 && self.chance.once_in(8) {
            self.judge.look_at_ps(Some(self.now), &self.orc.processes())?;
        }
        self.judge.look_at_limits(self.now)
    }

    /// What was due has been seen to: the next deadline lies ahead.
    fn look_at_deadline(&mut self) -> Verdict {
        let now = self.now;
        let is_past = self.orc.next_deadline().is_some_and(|deadline| {
            deadline.mono.is_some_and(|at| at <= now.mono) || deadline.wall.is_some_and(|at| at <= now.wall)
        });
        self.idle_turns = if is_past { self.idle_turns + 1 } else { 0 };
        ensure(self.idle_turns <= IDLE_TURNS, || format!("a busy loop: {:?} at {now:?}", self.orc.next_deadline()))
    }

    fn pass_until(&mut self, at: Duration) {
        let passed = at.saturating_sub(self.now.mono);
        if !passed.is_zero() {
            self.at_once = 0;
        }
        self.now.mono += passed;
        self.now.wall += u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
    }

    fn come(&mut self, coming: Coming) -> Verdict {
        let stage = |life: &Self, run: RunId| life.judge.runs.get(&run).map(|seen| seen.stage);
        match coming {
            Coming::Spawned(run) => self.spawned(run),
            Coming::SpawnFailed(run, is_final) => {
                self.judge.set(run, Stage::Gone);
                self.tell(Event::SpawnFailed { run, reason: "it cannot".to_owned(), is_final })
            }
            Coming::Ready(run) if stage(self, run) == Some(Stage::Running) => self.tell(Event::Ready { run }),
            Coming::Probed(run, probe, is_good) if stage(self, run) == Some(Stage::Running) => {
                let answer = if is_good { Ok(()) } else { Err("it does badly".to_owned()) };
                self.tell(Event::Probed { run, probe, answer })
            }
            Coming::Says(run, what) if stage(self, run) == Some(Stage::Running) => {
                // Signs of life go on until it forgets to give them.
                let again = (what == perform::ALIVE && !self.chance.once_in(6)).then_some(SECOND * 45);
                self.later(again, Coming::Says(run, what));
                self.tell(Event::Notified { run, notice: perform::notice(what) })
            }
            Coming::Watch(run) if stage(self, run) == Some(Stage::Running) => self.tell(Event::StopWatched { run }),
            Coming::Exit(run, is_killed) if stage(self, run) == Some(Stage::Running) => {
                self.judge.set(run, Stage::Exited);
                let outcome = self.outcome_of(run, is_killed);
                self.tell(Event::Exited { run, outcome })
            }
            Coming::Drained(run) => {
                self.judge.set(run, Stage::Drained);
                self.tell(Event::Drained { run })
            }
            Coming::GroupGone(run) => {
                self.judge.set(run, Stage::Gone);
                self.natures.remove(&run);
                self.tell(Event::GroupGone { run })
            }
            Coming::Grace(run) => self.judge.look_at_grace(self.now, run),
            Coming::Answer(request) => {
                ensure(!self.judge.open.contains(&request), || format!("{request:?} is not answered"))
            }
            Coming::RequestGone(request) => {
                if self.judge.open.remove(&request) {
                    self.tell(Event::RequestGone { request })
                } else {
                    Ok(())
                }
            }
            Coming::Command => {
                self.soon(Coming::Command);
                self.command()
            }
            Coming::Jump => {
                self.soon(Coming::Jump);
                self.jump()
            }
            Coming::Stale => {
                self.soon(Coming::Stale);
                self.stale()
            }
            Coming::EarlyWakeup => {
                self.soon(Coming::EarlyWakeup);
                self.tell(Event::DeadlineReached)
            }
            Coming::Killed => {
                self.soon(Coming::Killed);
                self.kill();
                Ok(())
            }
            // Too late: its end came before.
            Coming::Ready(_) | Coming::Probed(..) | Coming::Says(..) | Coming::Watch(_) | Coming::Exit(..) => Ok(()),
        }
    }

    fn spawned(&mut self, run: RunId) -> Verdict {
        self.judge.set(run, Stage::Running);
        let pid = 1 + self.numbers as u32;
        self.tell(Event::Spawned { run, pid })?;
        self.runs(run);
        Ok(())
    }

    /// From here on its nature decides.
    fn runs(&mut self, run: RunId) {
        let Some(nature) = self.natures.get(&run) else { return };
        let (ready, watches, ends, says) = (nature.ready, nature.watches, nature.ends, nature.says);
        self.later(says.map(|(after, _)| after), Coming::Says(run, says.map_or(0, |(_, what)| what)));
        self.later(ready, Coming::Ready(run));
        self.later(watches, Coming::Watch(run));
        self.later(ends.map(|(after, _)| after), Coming::Exit(run, false));
    }

    fn outcome_of(&self, run: RunId, is_killed: bool) -> Outcome {
        let by_itself = self.natures.get(&run).and_then(|nature| nature.ends).map(|(_, outcome)| outcome);
        if is_killed { KILLED } else { by_itself.unwrap_or(Outcome::Code(0)) }
    }

    fn tell(&mut self, event: Event) -> Verdict {
        self.events += 1;
        self.at_once += 1;
        ensure(self.at_once < STORM, || "a storm of events while no time passes".to_owned())?;
        let actions = self.orc.handle(self.now, event.clone());
        self.saved.merge(self.orc.take_unsaved().unwrap_or_default());
        format!("{actions:?}").hash(&mut self.print);
        self.tally.event(&event);
        let verdict = self.look(&event, &actions);
        if verdict.is_ok() {
            self.perform_all(&actions);
        }
        self.trace.add(self.now, event, actions);
        verdict
    }

    fn look(&mut self, event: &Event, actions: &[Action]) -> Verdict {
        self.has_read = actions.iter().any(|action| matches!(action, Action::Adopt { .. }));
        self.note_course(event, actions);
        self.judge.look(self.now, event, actions, self.orc.is_going_down())?;
        let fired = self.judge.must_have_fired(actions);
        if fired.is_empty() {
            return Ok(());
        }
        let verdict = self.judge.look_at_fired(&fired, actions, &self.orc.processes());
        verdict.map_err(|why| format!("{why}\n  at {event:?}\n  by {actions:?}"))
    }

    fn perform_all(&mut self, actions: &[Action]) {
        let until = self.dies_after.filter(|_| !actions.is_empty() && !actions.contains(&Action::End));
        if until.is_some() {
            (self.dies_after, self.is_dead) = (None, true);
        }
        for (index, action) in actions.iter().enumerate() {
            self.tally.action(action);
            if until.is_none_or(|until| index < until) {
                self.perform(action);
            } else if let Action::Spawn(spawn) = action {
                self.unstarted.insert(spawn.run);
            }
        }
    }

    fn later(&mut self, after: Option<Duration>, coming: Coming) {
        if let Some(after) = after {
            self.numbers += 1;
            self.coming.push(Reverse((self.now.mono + after, self.numbers, coming)));
        }
    }

    fn soon(&mut self, coming: Coming) {
        let most = match coming {
            Coming::Command => 600 * SECOND,
            _ => 6 * 3600 * SECOND,
        };
        let after = self.chance.time(Duration::from_millis(1), most);
        self.later(Some(after), coming);
    }
}

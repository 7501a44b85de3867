//! Random plans, random event lists, and a model of the edge that answers actions; what must hold after every event.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use plans::{Happening, happening, some_plan};

mod commands;
mod plans;

/// What the model of the edge knows of a run it was asked to spawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Spawning,
    Running,
    Exited,
    Drained,
    Gone,
}

/// The edge, and the judge of what it is asked to do.
struct Edge {
    orc: Orchestrator,
    plan: Arc<Plan>,
    /// How many there were at the beginning: those behind them came later.
    processes: usize,
    /// copo.toml may be read again, another than it was.
    reads_anew: bool,
    now: Now,
    lives: BTreeMap<RunId, Life>,
    instances: BTreeMap<RunId, Instance>,
    asked: BTreeSet<RunId>,
    ready: BTreeSet<RunId>,
    reaped: BTreeSet<RunId>,
    /// Instances whose newest run has finished with success.
    done: BTreeSet<String>,
    finishes: BTreeMap<String, v1::EventKind>,
    open: BTreeSet<RequestId>,
    is_going_down: bool,
    may_kill_unasked: bool,
    has_ended: bool,
    requests: u64,
    transcript: Vec<Action>,
    /// What is written down for the next orchestrator.
    saved: Saved,
}

impl Edge {
    fn new(processes: Vec<ProcessSpec>) -> Self {
        let plan = plan(processes);
        let orc = Orchestrator::new(Arc::clone(&plan), RunSeed::new(1));
        Self {
            saved: orc.saved(),
            orc,
            processes: plan.processes.len(),
            reads_anew: true,
            plan,
            now: Now { mono: Duration::from_secs(1), wall: NOON },
            lives: BTreeMap::new(),
            instances: BTreeMap::new(),
            asked: BTreeSet::new(),
            ready: BTreeSet::new(),
            reaped: BTreeSet::new(),
            done: BTreeSet::new(),
            finishes: BTreeMap::new(),
            open: BTreeSet::new(),
            is_going_down: false,
            may_kill_unasked: false,
            has_ended: false,
            requests: 0,
            transcript: Vec::new(),
        }
    }

    fn picked(&self, pick: usize, life: Life) -> Option<RunId> {
        let runs: Vec<RunId> = self.lives.iter().filter(|(_, l)| **l == life).map(|(run, _)| *run).collect();
        (!runs.is_empty()).then(|| runs[pick % runs.len()])
    }

    fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Spawn { pick, fails } => {
                if let Some(run) = self.picked(pick, Life::Spawning) {
                    if fails % 8 == 0 {
                        self.lives.insert(run, Life::Gone);
                        self.tell(Event::SpawnFailed { run, reason: "no".to_owned(), is_final: fails % 16 == 0 });
                    } else {
                        self.lives.insert(run, Life::Running);
                        self.tell(Event::Spawned { run, pid: 1 });
                    }
                }
            }
            Happening::Exit { pick, outcome } => {
                if let Some(run) = self.picked(pick, Life::Running) {
                    self.lives.insert(run, Life::Exited);
                    let outcome = [SUCCESS, FAILURE, KILLED, Outcome::Unknown][outcome as usize % 4];
                    self.tell(Event::Exited { run, outcome });
                }
            }
            Happening::Drain { pick } => {
                if let Some(run) = self.picked(pick, Life::Exited) {
                    self.lives.insert(run, Life::Drained);
                    self.tell(Event::Drained { run });
                }
            }
            Happening::Gone { pick } => {
                if let Some(run) = self.picked(pick, Life::Drained) {
                    assert!(self.reaped.contains(&run), "a drained run is reaped");
                    self.lives.insert(run, Life::Gone);
                    self.tell(Event::GroupGone { run });
                }
            }
            Happening::Ready { pick } => {
                if let Some(run) = self.picked(pick, Life::Running) {
                    self.tell(Event::Ready { run });
                }
            }
            Happening::Answer { pick, what } => {
                if let Some(run) = self.picked(pick, Life::Running) {
                    self.answer(run, what);
                }
            }
            Happening::Watch { pick } => {
                if let Some(run) = self.picked(pick, Life::Running) {
                    self.tell(Event::StopWatched { run });
                }
            }
            Happening::Stale { pick, what } => self.stale(pick, what),
            Happening::Pass { millis } => {
                self.now.mono += Duration::from_millis(millis.into());
                self.now.wall += u64::from(millis) * 1000;
                self.tell(Event::DeadlineReached);
            }
            Happening::SetBack { seconds } => {
                self.now.wall -= u64::from(seconds) * SECOND;
                self.tell(Event::DeadlineReached);
            }
            Happening::Command { pick, what, by } => self.command(pick, what, by),
            Happening::RequestGone { pick } => {
                let open: Vec<RequestId> = self.open.iter().copied().collect();
                if !open.is_empty() {
                    let request = open[pick % open.len()];
                    self.open.remove(&request);
                    self.tell(Event::RequestGone { request });
                }
            }
            Happening::Terminate => self.terminate(),
        }
    }

    /// An event of a run that is over yields nothing and changes nothing.
    fn stale(&mut self, pick: usize, what: u8) {
        let Some(run) = self.picked(pick, Life::Gone) else {
            return;
        };
        let before = self.orc.processes();
        let event = match what % 9 {
            0 => Event::Spawned { run, pid: 2 },
            1 => Event::SpawnFailed { run, reason: String::new(), is_final: true },
            2 => Event::Ready { run },
            3 => Event::StopWatched { run },
            4 => Event::Exited { run, outcome: FAILURE },
            5 => Event::Drained { run },
            6 => Event::Probed { run, probe: ProbeKind::Ready, answer: Ok(()) },
            7 => Event::Notified { run, notice: Notice { ready: true, ..Notice::default() } },
            _ => Event::GroupGone { run },
        };
        assert_eq!(self.orc.handle(self.now, event), []);
        assert_eq!(self.orc.processes(), before);
    }

    fn tell(&mut self, event: Event) {
        let actions = self.orc.handle(self.now, event.clone());
        self.saved.merge(self.orc.take_unsaved().unwrap_or_default());
        let mut has_reported_stop = false;
        for action in &actions {
            assert!(!self.has_ended || matches!(action, Action::Reply { .. }), "after the end: {action:?}");
            match action {
                Action::Spawn(spawn) => self.spawn(spawn),
                Action::StopEvent { run, .. } | Action::Signal { run, .. } => {
                    assert_eq!(self.lives[run], Life::Running, "only what runs is asked");
                    self.asked.insert(*run);
                }
                Action::Kill { run } => {
                    assert!(self.asked.contains(run) || self.may_kill_unasked, "killed without having been asked");
                    assert_eq!(self.lives[run], Life::Running);
                }
                Action::Probe { run, .. } => assert_eq!(self.lives[run], Life::Running, "only what runs is probed"),
                Action::Drain { run } => {
                    assert_eq!(self.lives[run], Life::Exited);
                }
                Action::Fence { run } => assert_eq!(self.lives[run], Life::Drained),
                Action::Reap { run } => assert!(self.reaped.insert(*run), "reaped twice"),
                Action::Report { facts } => {
                    has_reported_stop = facts.event() == v1::EventKind::OrchestratorStopped;
                    self.note_report(facts);
                }
                Action::Reply { request, .. } => assert!(self.open.remove(request), "answered twice: {event:?}"),
                Action::NoteSchedule { .. } => {}
                Action::Adopt { plan } => self.plan = Arc::clone(plan),
                Action::Forget { instance } => {
                    let of_it = self.instances.iter().filter(|(_, other)| *other == instance);
                    assert!(of_it.clone().all(|(run, _)| self.lives[run] == Life::Gone), "{instance:?} lives");
                }
                Action::End => {
                    assert!(self.open.is_empty(), "ended with unanswered {:?}", self.open);
                    assert!(self.lives.values().all(|life| *life == Life::Gone), "ended with live runs");
                    assert!(has_reported_stop, "orchestrator_stopped comes right before");
                    self.has_ended = true;
                }
            }
        }
        self.check_deadline();
        self.transcript.extend(actions);
    }

    fn spawn(&mut self, spawn: &Spawn) {
        let twin = self
            .instances
            .iter()
            .find(|(run, instance)| **instance == spawn.instance && self.lives[*run] != Life::Gone);
        assert_eq!(twin, None, "a second live run of {:?}", spawn.instance);
        for dependence in &self.plan.process(spawn.instance.prc).depends_on {
            self.check_dependence(dependence);
        }
        self.lives.insert(spawn.run, Life::Spawning);
        self.instances.insert(spawn.run, spawn.instance);
    }

    /// As far as the edge and the readers of reports can see it.
    fn check_dependence(&self, dependence: &Dependence) {
        let spec = self.plan.process(dependence.process);
        for number in 1..=spec.replicas {
            let name = name::internal(&spec.name, number);
            let instance = Instance { prc: dependence.process, number };
            let running = self.instances.iter().find(|(run, i)| **i == instance && self.lives[run] == Life::Running);
            let is_ready = running.is_some_and(|(run, _)| self.ready.contains(run));
            let is_done = self.done.contains(&name);
            let finish = self.finishes.get(&name).copied();
            let holds = match dependence.condition {
                Condition::Ready if spec.declares_readiness() => is_ready,
                Condition::Started | Condition::Ready => running.is_some() || is_done,
                Condition::Succeeded => finish == Some(v1::EventKind::Finished),
                Condition::Failed => finish == Some(v1::EventKind::Failed),
                Condition::Finished => finish.is_some(),
            };
            assert!(holds, "spawned while {name} is not {:?}", dependence.condition);
        }
    }

    /// What readers of the reports know.
    fn note_report(&mut self, facts: &v1::Facts) {
        let Some(name) = facts.internal_name.clone() else {
            return;
        };
        let event = facts.event();
        match event {
            v1::EventKind::Finished | v1::EventKind::Failed => {
                self.finishes.insert(name.clone(), event);
                if event == v1::EventKind::Finished {
                    self.done.insert(name)
                } else {
                    self.done.remove(&name)
                };
            }
            v1::EventKind::Starting | v1::EventKind::Stopped => {
                self.done.remove(&name);
            }
            v1::EventKind::Ready => {
                let run = RunId::parse(facts.run.as_deref().expect("of a run")).expect("a RunId");
                assert!(self.ready.insert(run), "ready twice");
            }
            v1::EventKind::NotReady => {
                let run = RunId::parse(facts.run.as_deref().expect("of a run")).expect("a RunId");
                self.ready.remove(&run);
            }
            _ => {}
        }
    }

    fn check_deadline(&self) {
        if let Some(wall) = self.orc.next_deadline().and_then(|deadline| deadline.wall) {
            assert_eq!(wall % (60 * SECOND), 0);
        }
    }

    /// Everything is stopped, the edge answers, time passes: it must end.
    fn bring_down(&mut self) {
        self.terminate();
        for _ in 0..200 {
            if self.has_ended {
                break;
            }
            self.happen(&Happening::Spawn { pick: 0, fails: 1 });
            self.happen(&Happening::Drain { pick: 0 });
            self.happen(&Happening::Gone { pick: 0 });
            self.happen(&Happening::Pass { millis: 5_000 });
            let told = self.lives.iter().find(|(run, life)| **life == Life::Running && self.was_told(**run));
            if let Some(run) = told.map(|(run, _)| *run) {
                self.lives.insert(run, Life::Exited);
                self.tell(Event::Exited { run, outcome: KILLED });
            }
        }
        assert!(self.has_ended, "it does not end: {:?} {:?}", self.lives, self.orc.processes());
    }

    /// A signal after another, or after a `down`, kills.
    fn terminate(&mut self) {
        self.may_kill_unasked |= self.is_going_down || self.orc.is_going_down();
        self.is_going_down = true;
        self.tell(Event::Terminate);
    }

    fn was_told(&self, run: RunId) -> bool {
        let is_about = |action: &Action| match action {
            Action::Signal { run: told, .. } | Action::Kill { run: told } => *told == run,
            _ => false,
        };
        self.transcript.iter().any(is_about)
    }
}

fn live(processes: &[ProcessSpec], happenings: &[Happening]) -> Edge {
    live_on(Edge::new(processes.to_vec()), happenings)
}

fn live_on(mut edge: Edge, happenings: &[Happening]) -> Edge {
    edge.tell(Event::Up { names: Vec::new() });
    for happening in happenings {
        edge.happen(happening);
    }
    edge
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_promises_hold_and_it_can_be_ended(
        processes in some_plan(),
        happenings in prop::collection::vec(happening(), 0..200),
    ) {
        live(&processes, &happenings).bring_down();
    }

    #[test]
    fn what_is_written_down_at_each_change_is_the_whole_state_and_restores_it(
        processes in some_plan(),
        happenings in prop::collection::vec(happening(), 0..100),
    ) {
        let edge = live_on(Edge { reads_anew: false, ..Edge::new(processes) }, &happenings);
        let written = serde_json::to_string(&edge.saved).expect("JSON");
        prop_assert_eq!(&written, &serde_json::to_string(&edge.orc.saved()).expect("JSON"));

        let read = serde_json::from_str(&written).expect("what was written");
        let (restored, strays) = Orchestrator::restore(Arc::clone(&edge.plan), RunSeed::new(2), read);

        // What was scaled away and is still on its way out has no room in the plan.
        let has_room = |stray: &Stray| {
            let number = name::split_internal(&stray.internal_name).map_or(0, |(_, number)| number);
            let spec = edge.plan.find(&stray.process).map(|prc| edge.plan.process(prc));
            spec.is_some_and(|spec| number <= spec.most_instances())
        };
        prop_assert!(!strays.iter().any(has_room), "{strays:?}");
        prop_assume!(strays.is_empty());
        prop_assert_eq!(restored.processes(), edge.orc.processes());
        prop_assert_eq!(restored.next_deadline().and_then(|at| at.mono), edge.orc.next_deadline().and_then(|at| at.mono));
    }

    #[test]
    fn what_is_written_down_follows_a_plan_read_anew(
        processes in some_plan(),
        happenings in prop::collection::vec(happening(), 0..100),
    ) {
        let edge = live(&processes, &happenings);
        let (written, whole) = (serde_json::to_string(&edge.saved), serde_json::to_string(&edge.orc.saved()));
        prop_assert_eq!(written.expect("JSON"), whole.expect("JSON"));
    }

    #[test]
    fn the_same_events_give_the_same_actions(
        processes in some_plan(),
        happenings in prop::collection::vec(happening(), 0..100),
    ) {
        prop_assert_eq!(live(&processes, &happenings).transcript, live(&processes, &happenings).transcript);
    }
}

//! Going on with what a killed orchestrator left running: its runs are not started a second time but taken over, with
//! their tokens, their pipes and their ends.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use copo_proto::env as names;
use copo_proto::v1::{EventKind, Facts};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use super::boot;
use super::census::Census;
use super::environment::Environment;
use super::files;
use super::group::Members;
use super::journal::{self, Left, Main, NotedRun};
use super::kept::Kept;
use super::leaders::Leaders;
use super::left::LeftGroup;
use super::perform::{Performer, Run};
use super::pids;
use super::probe::LineWatch;
use super::processes::{self, Watch};
use super::spawn::SpawnError;
#[cfg(unix)]
use super::terminal;
use crate::layout::Layout;
use crate::plan::ProcessSpec;
#[cfg(unix)]
use crate::plan::Stdin;
use crate::server::Identity;
use crate::signal;
use crate::supervisor::{Event, Found, LiveRun, Outcome, RunId, Stray};

/// Why a process is stopped that the plan has no more.
const VANISHED: &str = "copo.toml has it no more";

/// Of a run that was live: its main process, and a watch on it while it lives.
struct Remains {
    noted: NotedRun,
    main: Option<Main>,
    watch: Option<Watch>,
}

impl Performer {
    /// Takes over the runs that were live; says what was found of each.
    pub(super) fn take_over_all(&mut self, live: &[LiveRun], left: &Left) -> Vec<(RunId, Found)> {
        let mut remains = Self::remains(left);
        let mut found = Vec::with_capacity(live.len());
        for LiveRun { run, instance, may_be_unstarted } in live {
            let Some(of_run) = remains.remove(run) else {
                // Noted before its program is started: without a note it never was.
                let unknown = Found::Ended { outcome: Outcome::Unknown };
                found.push((*run, if *may_be_unstarted { Found::Unstarted } else { unknown }));
                continue;
            };
            let internal_name = self.internal_name(*instance);
            let spec = self.plan.process(instance.prc);
            let (log, control) = (spec.log, spec.control);
            self.hub.admit(Identity {
                token: of_run.noted.token.clone(),
                run: *run,
                internal_name: internal_name.clone(),
                control,
                uid: self.let_in(self.plan.process(instance.prc)),
            });
            if let (Some(port), Some(asked)) = (of_run.noted.port, &spec.extra_env.port) {
                self.ports.borrow_mut().note(&internal_name, asked.base, port);
            }
            self.output.open(&internal_name, log);
            #[cfg(unix)]
            if spec.stdin == Stdin::Terminal {
                // It was hung up.
                terminal::withdraw(&self.layout, &internal_name);
            }
            let pid = of_run.main.as_ref().map(|main| main.pid);
            let socket = self.layout.notify(&internal_name);
            let lines = pid.and_then(|pid| self.probes.adopt(*run, self.plan.process(instance.prc), &socket, pid));
            found.push((*run, self.take_over(*run, internal_name, of_run, lines)));
        }
        found
    }

    /// The main processes that were taken over.
    pub(super) fn adopted(&self) -> Vec<u32> {
        let is_left = |run: &&Run| matches!(*run.group, Members::Left(..));
        self.runs.values().filter(is_left).map(|run| run.pid).collect()
    }

    /// What is there of all runs that were noted.
    fn remains(left: &Left) -> BTreeMap<RunId, Remains> {
        let unknown = left.runs.values().filter(|noted| noted.main.is_none());
        let unknown: BTreeSet<String> = unknown.map(|noted| noted.run.to_string()).collect();
        let pids = processes::find_runs(&unknown);
        let of_run = |(run, noted): (&RunId, &NotedRun)| {
            let main = noted.main.clone().or_else(|| main_of(*pids.get(&run.to_string())?));
            let watch = main.as_ref().and_then(processes::watch);
            (*run, Remains { noted: NotedRun { main: main.clone(), ..noted.clone() }, main, watch })
        };
        left.runs.iter().map(of_run).collect()
    }

    /// What the main process of a run that was taken over has found, as far as that is known.
    pub(super) fn environment_of_left(
        &self,
        spec: &ProcessSpec,
        run: RunId,
        internal_name: &str,
    ) -> Result<Environment, SpawnError> {
        let mut env = self.environment(spec, run, internal_name)?;
        let journal = self.journal.borrow();
        if let Some(noted) = journal.run(run) {
            env.set(names::TOKEN, &noted.token);
            if let Some((port, number)) = spec.extra_env.port.as_ref().zip(noted.port) {
                env.set(&port.env, number.to_string());
            }
        }
        Ok(env)
    }

    fn take_over(&mut self, run: RunId, internal_name: String, of_run: Remains, lines: Option<LineWatch>) -> Found {
        let Remains { noted, main, watch } = of_run;
        let Some(main) = main else { return Found::Ended { outcome: Outcome::Unknown } };
        let pid = main.pid;
        let open = |inode: u64, for_writing: bool| {
            self.kept.open_pipe(inode, for_writing).or_else(|| processes::open_pipe(pid, inode, for_writing))
        };
        if let Some(output) = noted.output.and_then(|inode| open(inode, false)) {
            let stdin = noted.stdin.and_then(|inode| open(inode, true));
            self.output.begin(&internal_name, output, stdin.map(|end| (end, self.kept.stdin_closer(run))), lines);
        }
        let is_new = self.journal.borrow().run(run) != Some(&noted);
        if is_new {
            self.journal.borrow_mut().note_run(noted);
        }
        let group = Rc::new(Members::Left(LeftGroup::of(run, &internal_name, main, &self.census)));
        self.runs.insert(run, Run { internal_name: internal_name.clone(), pid, group });
        let Some(watch) = watch else { return Found::Ended { outcome: Outcome::Unknown } };
        if let Some(outcome) = watch.ended_before() {
            return Found::Ended { outcome };
        }
        pids::write(&self.layout, &internal_name, pid);
        let (events, probes) = (self.events.clone(), Rc::clone(&self.probes));
        tokio::task::spawn_local(async move {
            watch.ended().await;
            let outcome = watch.outcome().await;
            if probes.is_main(run, pid) {
                let _ = events.send(Event::Exited { run, outcome });
            }
        });
        Found::Alive { pid }
    }

    /// Stops what runs and the plan has no more.
    pub(super) fn stop_strays(&self, strays: Vec<Stray>, left: &Left) -> Strays {
        let hurry = Rc::new(Notify::new());
        let mut remains = Self::remains(left);
        let mut tasks = Vec::new();
        for stray in strays {
            let Some(of_run) = remains.remove(&stray.run) else { continue };
            let (hub, journal, hurry) = (Rc::clone(&self.hub), Rc::clone(&self.journal), Rc::clone(&hurry));
            let (kept, census) = (Rc::clone(&self.kept), self.census.clone());
            let pid = of_run.main.as_ref().map_or(0, |main| main.pid);
            let (layout, internal_name) = (self.layout.clone(), stray.internal_name.clone());
            tasks.push(tokio::task::spawn_local(async move {
                let run = stray.run;
                stop(stray, of_run, (&hurry, &census, &kept), |facts| hub.report(facts)).await;
                files::remove_of(&layout, &internal_name);
                kept.release(run, pid);
                journal.borrow_mut().forget_run(run);
            }));
        }
        Strays { tasks, hurry }
    }
}

fn main_of(pid: u32) -> Option<Main> {
    processes::identity(pid).map(|(started, session)| Main { pid, started, session })
}

/// Runs that are stopped since the plan has them no more.
pub(super) struct Strays {
    tasks: Vec<JoinHandle<()>>,
    hurry: Rc<Notify>,
}

impl Strays {
    /// Everything ends: returns when nothing of them is left.
    pub(super) async fn end(self) {
        for task in self.tasks {
            if !task.is_finished() {
                self.hurry.notify_waiters();
            }
            let _ = task.await;
        }
    }
}

async fn stop(stray: Stray, of_run: Remains, (hurry, census, kept): (&Notify, &Census, &Kept), report: impl Fn(Facts)) {
    let Remains { noted, main, watch } = of_run;
    let facts = |event: EventKind, outcome: Option<Outcome>| {
        let (exit_code, signal) = match outcome {
            Some(Outcome::Code(code)) => (Some(code), None),
            Some(Outcome::Signal { name, .. }) => (None, Some(name.to_owned())),
            Some(Outcome::Unknown) | None => (None, None),
        };
        Facts {
            event: event.into(),
            process: Some(stray.process.clone()),
            internal_name: Some(stray.internal_name.clone()),
            run: Some(stray.run.to_string()),
            pid: main.as_ref().map(|main| main.pid),
            exit_code,
            signal,
            reason: Some(VANISHED.to_owned()),
            ..Facts::default()
        }
    };
    let mut outcome = Outcome::Unknown;
    let group = main.as_ref().map(|main| LeftGroup::of(stray.run, &stray.internal_name, main.clone(), census));
    if let Some((watch, main)) = watch.zip(main.as_ref()) {
        report(facts(EventKind::Stopping, None));
        processes::signal_group(main, signal::number(&noted.stop_signal).unwrap_or(15));
        tokio::select! {
            () = watch.ended() => {}
            () = hurry.notified() => {}
            () = tokio::time::sleep(noted.stop_grace) => {}
        }
        group.iter().for_each(LeftGroup::kill);
        watch.ended().await;
        outcome = watch.outcome().await;
    }
    if let Some(group) = group {
        group.end(&Leaders::default(), kept).await;
    }
    report(facts(EventKind::Exited, Some(outcome)));
    report(facts(EventKind::Stopped, None));
}

/// Ends what a killed orchestrator left running, without an orchestrator: for `down`.
pub(super) async fn end_all(layout: &Layout) {
    let left = journal::read(&layout.state());
    let left = left.inspect_err(|error| tracing::warn!("cannot tell what was left: {error}")).ok().flatten();
    let Some(left) = left.filter(|left| left.boot == boot::id()) else { return };
    let unknown = left.runs.values().filter(|noted| noted.main.is_none()).map(|noted| noted.run.to_string());
    let found = processes::find_runs(&unknown.collect());
    let (census, leaders, kept) = (Census::default(), Leaders::default(), Rc::new(Kept::none()));
    let of_run = |noted: &NotedRun| {
        let main = noted.main.clone().or_else(|| main_of(*found.get(&noted.run.to_string())?))?;
        Some(LeftGroup::of(noted.run, &noted.internal_name, main, &census))
    };
    let mut ending = JoinSet::new();
    for group in left.runs.values().filter_map(of_run) {
        let (leaders, kept) = (leaders.clone(), Rc::clone(&kept));
        ending.spawn_local(async move { group.end(&leaders, &kept).await });
    }
    while ending.join_next().await.is_some() {}
}

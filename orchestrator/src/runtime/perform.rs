//! What the supervisor decides is done here: one arm for each action.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use copo_proto::v1::{EventKind, Facts};
use copo_proto::{env as names, name};
use tokio::sync::mpsc::UnboundedSender;

#[cfg(unix)]
use super::access;
use super::census::Census;
#[cfg(target_os = "linux")]
use super::cgroup::{Cgroup, Cgroups};
use super::environment::Environment;
use super::group::Members;
use super::journal::{Journal, Main, NotedRun};
use super::kept::Kept;
use super::leaders::Leaders;
use super::limits::LimitNotes;
use super::output::Output;
use super::pids;
use super::ports::Ports;
use super::probe::{Probes, Question};
use super::processes;
use super::schedules::Schedules;
#[cfg(unix)]
use super::spawn::Attributes;
use super::spawn::{self, Launch, SpawnError, Spawned, Spawner};
use super::start;
#[cfg(unix)]
use super::terminal;
use crate::layout::Layout;
use crate::plan::{Check, Plan, ProcessSpec, Stdin};
use crate::server::{Hub, Identity};
use crate::supervisor::{Action, Event, Instance, ProbeKind, Reply, RunId, Spawn};

/// Everything that actions are done with.
pub(super) struct Performer {
    pub(super) plan: Arc<Plan>,
    pub(super) layout: Layout,
    pub(super) hub: Rc<Hub>,
    pub(super) output: Rc<Output>,
    /// Where the answers to actions go.
    pub(super) events: UnboundedSender<Event>,
    /// What every child finds in its environment.
    pub(super) inherited: Environment,
    /// The folder of the `copo` binary, last on every child's PATH.
    pub(super) binary_folder: Option<PathBuf>,
    pub(super) spawner: Spawner,
    pub(super) limit_notes: LimitNotes,
    #[cfg(target_os = "linux")]
    pub(super) cgroups: Rc<Cgroups>,
    pub(super) leaders: Leaders,
    pub(super) ports: RefCell<Ports>,
    pub(super) runs: HashMap<RunId, Run>,
    pub(super) journal: Rc<RefCell<Journal>>,
    /// What the next orchestrator is to know of schedules.
    pub(super) schedules: Schedules,
    pub(super) kept: Rc<Kept>,
    pub(super) census: Census,
    /// How runs are asked and heard.
    pub(super) probes: Rc<Probes>,
}

/// A run whose group may still hold something.
pub(super) struct Run {
    pub(super) internal_name: String,
    pub(super) pid: u32,
    pub(super) group: Rc<Members>,
}

impl Performer {
    /// Says from here on that the orchestrator is asked to end.
    pub(super) fn set_stopping(&self) {
        self.hub.set_stopping();
    }

    /// Does one thing; what takes time answers by an event.
    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::Spawn(spawn) => self.spawn(spawn),
            Action::StopEvent { run, grace_ms } => self.hub.stop_event(run, grace_ms),
            Action::Signal { run, signal } => self.signal(run, &signal),
            Action::Kill { run } => {
                self.signal_main(run, "SIGKILL");
                if let Some(run) = self.runs.get(&run) {
                    run.group.kill();
                }
            }
            Action::Probe { run, instance, probe, check, timeout } => {
                self.probe(run, instance, (probe, check, timeout));
            }
            Action::Drain { run } => self.drain(run),
            Action::Fence { run } => self.hub.fence(run),
            Action::Reap { run } => self.reap(run),
            Action::Report { facts } => self.report(facts),
            Action::Reply { request, reply } => self.hub.reply(request, self.with_ports(reply)),
            Action::Adopt { plan } => self.adopt(plan),
            Action::Forget { instance } => {
                let internal_name = self.internal_name(instance);
                self.ports.borrow_mut().forget(&internal_name);
                self.output.shut(&internal_name);
            }
            Action::NoteSchedule { process, note } => self.schedules.keep(process, note),
            // The driver has ended the loop by it.
            Action::End => {}
        }
    }

    /// Which instance has which port only the edge knows.
    fn with_ports(&self, mut reply: Reply) -> Reply {
        if let Reply::Processes(processes) = &mut reply {
            let ports = self.ports.borrow();
            for process in &mut processes.processes {
                process.port = ports.of(&process.internal_name).map(u32::from);
            }
        }
        reply
    }

    /// What is new has its log and stdio from here on, and what was there before its new settings.
    fn adopt(&mut self, plan: Arc<Plan>) {
        self.plan = plan;
        self.hub.configure(&self.plan.context);
        start::open_outputs(&self.plan, &self.output);
    }

    fn spawn(&mut self, spawn: Spawn) {
        let run = spawn.run;
        let internal_name = self.internal_name(spawn.instance);
        match self.start(&spawn, &internal_name) {
            Ok(spawned) => self.started(run, spawn.instance, internal_name, spawned),
            Err(SpawnError { reason, is_final }) => {
                self.hub.fence(run);
                self.journal.borrow_mut().forget_run(run);
                self.kept.release(run, 0);
                self.probes.forget(run);
                let reason = format!("cannot start {internal_name}: {reason}");
                tracing::warn!("{reason}");
                self.tell(Event::SpawnFailed { run, reason, is_final });
            }
        }
    }

    fn start(&self, spawn: &Spawn, internal_name: &str) -> Result<Spawned, SpawnError> {
        let spec = self.plan.process(spawn.instance.prc);
        let token = token()?;
        #[cfg(unix)]
        let attributes = Attributes::of(&spec.attributes).map_err(SpawnError::lasting)?;
        let mut env = self.environment(spec, spawn.run, internal_name)?;
        let port = spec.extra_env.port.as_ref();
        let port = port.map(|port| Ok((&port.env, self.ports.borrow_mut().give(internal_name, port)?))).transpose()?;
        if let Some((name, number)) = port {
            env.set(name, number.to_string());
        }
        env.set(names::TOKEN, &token);
        if let Some(time) = spawn.scheduled_time {
            env.set(names::SCHEDULED_TIME, time.to_string());
        }
        let noted = NotedRun {
            run: spawn.run,
            internal_name: internal_name.to_owned(),
            token: token.clone(),
            stop_signal: spec.stop_signal.clone(),
            stop_grace: spec.stop_grace,
            port: port.map(|(_, number)| number),
            output: None,
            stdin: None,
            main: None,
        };
        self.probes.prepare(spawn.run, spec, &self.layout.notify(internal_name), &mut env)?;
        self.hub.admit(Identity {
            token,
            run: spawn.run,
            internal_name: internal_name.to_owned(),
            control: spec.control,
            uid: self.let_in(spec),
        });
        if let Some(facts) = self.limit_notes.note(spec, self.why_no_limits()) {
            self.hub.report(facts);
        }
        let launch = Launch {
            program: spec.executable_path.clone(),
            script: spec.file_path.clone(),
            args: spec.args.iter().chain(&spawn.args).cloned().collect(),
            cwd: spec.cwd.clone(),
            env,
            stdin: spec.stdin,
            #[cfg(unix)]
            attributes,
            #[cfg(target_os = "linux")]
            cgroup: self.cgroup(internal_name, spec)?,
        };
        // Before its program starts, so that a kill at any moment leaves nothing unknown and no pipe without a reader.
        self.spawner.spawn(&launch, &|output, stdin| {
            let (of_output, of_stdin) = (processes::inode(output), stdin.and_then(processes::inode));
            self.journal.borrow_mut().note_run(NotedRun { output: of_output, stdin: of_stdin, ..noted.clone() });
            // A terminal could not be opened anew; held, it would only fill up unread and stop who writes to it.
            if spec.stdin != Stdin::Terminal {
                self.kept.hold(spawn.run, output, stdin);
            }
        })
    }

    /// The user of a process, where that is another than ours, with the way to the server opened for it.
    pub(super) fn let_in(&self, spec: &ProcessSpec) -> Option<u32> {
        #[cfg(unix)]
        {
            let credentials = Attributes::of(&spec.attributes).ok()?.credentials?;
            access::open(&self.layout, credentials.uid);
            Some(credentials.uid)
        }
        #[cfg(not(unix))]
        {
            let _ = spec;
            None
        }
    }

    #[cfg(target_os = "linux")]
    fn why_no_limits(&self) -> Option<&str> {
        self.cgroups.why_no_limits()
    }

    #[cfg(not(target_os = "linux"))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "as on Linux")]
    fn why_no_limits(&self) -> Option<&str> {
        Some(super::NO_CGROUPS)
    }

    /// The instance's cgroup, with its limits.
    #[cfg(target_os = "linux")]
    fn cgroup(&self, internal_name: &str, spec: &ProcessSpec) -> Result<Option<Cgroup>, SpawnError> {
        let cgroup = self.cgroups.of(internal_name, &spec.attributes);
        cgroup.map_err(|error| SpawnError::lasting(format!("cannot limit its memory and cpu: {}", spawn::why(&error))))
    }

    /// What a program of this run finds, but for what only its main process may know.
    pub(super) fn environment(
        &self,
        spec: &ProcessSpec,
        run: RunId,
        internal_name: &str,
    ) -> Result<Environment, SpawnError> {
        let mut env = self.inherited.clone();
        #[cfg(unix)]
        if let Some(credentials) = Attributes::of(&spec.attributes).map_err(SpawnError::lasting)?.credentials {
            env.become_user(&credentials);
        }
        let mut env = env.configured(spec)?;
        if let Some(folder) = &self.binary_folder {
            env.append_to_path(folder);
        }
        env.set(names::SOCKET, self.layout.socket());
        env.set(names::APPLICATION, self.layout.application());
        env.set(names::PROCESS, internal_name);
        env.set(names::RUN, run.to_string());
        Ok(env)
    }

    fn started(&mut self, run: RunId, instance: Instance, internal_name: String, spawned: Spawned) {
        let Spawned { pid, child, group, output, stdin } = spawned;
        self.note_main(run, pid);
        self.leaders.add(pid);
        self.output.open(&internal_name, self.plan.process(instance.prc).log);
        #[cfg(unix)]
        if self.plan.process(instance.prc).stdin == Stdin::Terminal {
            terminal::publish(&self.layout, &internal_name, &output);
        }
        // First: what it writes and says comes after.
        self.tell(Event::Spawned { run, pid });
        let watch = self.probes.begin(run, self.plan.process(instance.prc), pid);
        let stdin = stdin.map(|end| (end, self.kept.stdin_closer(run)));
        self.output.begin(&internal_name, output, stdin, watch);
        pids::write(&self.layout, &internal_name, pid);
        self.runs.insert(run, Run { internal_name, pid, group: Rc::new(Members::Own(group)) });
        let (events, probes) = (self.events.clone(), Rc::clone(&self.probes));
        tokio::task::spawn_local(async move {
            let outcome = child.wait().await;
            if probes.is_main(run, pid) {
                let _ = events.send(Event::Exited { run, outcome });
            }
        });
    }

    fn note_main(&self, run: RunId, pid: u32) {
        let mut journal = self.journal.borrow_mut();
        if let (Some((started, session)), Some(noted)) = (processes::identity(pid), journal.run(run).cloned()) {
            journal.note_run(NotedRun { main: Some(Main { pid, started, session }), ..noted });
        }
    }

    fn probe(&self, run: RunId, instance: Instance, (probe, check, timeout): (ProbeKind, Check, Duration)) {
        let spec = self.plan.process(instance.prc);
        let env = || self.environment_of_left(spec, run, &self.internal_name(instance));
        self.probes.ask(Question { run, probe, check, timeout, spec, env: &env }, &self.spawner);
    }

    /// Of a main process that has left its group.
    #[cfg(unix)]
    pub(super) fn signal_main(&self, run: RunId, signal: &str) {
        if let Some(main) = self.probes.main(run) {
            main.signal_outside_group(signal);
        }
    }

    /// Nothing leaves a job object.
    #[cfg(windows)]
    pub(super) fn signal_main(&self, _run: RunId, _signal: &str) {}

    fn signal(&self, run: RunId, signal: &str) {
        self.signal_main(run, signal);
        let Some(run) = self.runs.get(&run) else { return };
        if let Err(error) = run.group.signal(signal) {
            tracing::warn!("cannot send {signal} to {}: {error}", run.internal_name);
        }
    }

    fn report(&self, facts: Facts) {
        if is_rest(facts.event())
            && let Some(internal_name) = &facts.internal_name
        {
            self.output.rest(internal_name);
        }
        self.hub.report(facts);
    }

    pub(super) fn internal_name(&self, instance: Instance) -> String {
        name::internal(&self.plan.process(instance.prc).name, instance.number)
    }

    fn tell(&self, event: Event) {
        // The driver holds the other end for as long as it performs.
        let _ = self.events.send(event);
    }
}

/// Does no run follow by itself at once?
fn is_rest(event: EventKind) -> bool {
    match event {
        EventKind::Finished | EventKind::Failed | EventKind::Stopped => true,
        EventKind::Unspecified
        | EventKind::Starting
        | EventKind::Started
        | EventKind::Ready
        | EventKind::NotReady
        | EventKind::Exited
        | EventKind::SpawnFailed
        | EventKind::Backoff
        | EventKind::Stopping
        | EventKind::Skipped
        | EventKind::Adopted
        | EventKind::Config
        | EventKind::Headers
        | EventKind::Damaged
        | EventKind::OrchestratorStarted
        | EventKind::OrchestratorStopped => false,
    }
}

/// A secret that nobody can guess: 32 random bytes.
fn token() -> Result<String, SpawnError> {
    let mut secret = [0_u8; 32];
    getrandom::fill(&mut secret)
        .map_err(|error| SpawnError { reason: format!("no randomness for its token: {error}"), is_final: false })?;
    Ok(secret.iter().map(|byte| format!("{byte:02x}")).collect())
}

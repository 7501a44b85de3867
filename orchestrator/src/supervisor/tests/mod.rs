//! The supervisor told as stories: plans are small, actions are read as lines, time is a number.

mod commands;
mod converging;
mod down;
mod random;
mod readiness;
mod restarts;
mod runs;
mod saving;
mod scaling;
mod schedules;
mod triggers;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use copo_proto::{name, v1};

use super::cron::Schedule;
use super::*;
use crate::plan::*;

/// 2026-11-24 12:00:00 UTC.
const NOON: u64 = 1_795_521_600_000_000;
const SECOND: u64 = 1_000_000;

fn process(name: &str) -> ProcessSpec {
    ProcessSpec {
        name: name.to_owned(),
        groups: Vec::new(),
        executable_path: PathBuf::from("/bin/true"),
        file_path: None,
        args: Vec::new(),
        cwd: PathBuf::from("/"),
        env: BTreeMap::new(),
        env_file: None,
        extra_env: ExtraEnv::default(),
        depends_on: Vec::new(),
        trigger: Trigger::OnStart,
        catch_up: None,
        jitter: Duration::ZERO,
        run_timeout: None,
        overlap: Overlap::Skip,
        max_instances: 1,
        replicas: 1,
        ready: Readiness::Started,
        startup: None,
        liveness: None,
        progress: None,
        watchdog: None,
        notify: false,
        ready_timeout: Duration::from_secs(60),
        restart: RestartPolicy::No,
        backoff: Backoff {
            initial: Duration::from_millis(500),
            factor: 2.0,
            max: Duration::from_secs(30),
            reset: Duration::from_secs(60),
            jitter: 0.0,
        },
        restart_limit: None,
        on_dependence_restart: OnDependenceRestart::Ignore,
        significant: false,
        success_exit_codes: vec![0],
        stop_signal: "SIGTERM".to_owned(),
        stop_grace: Duration::from_secs(10),
        control: false,
        log: LogSpec { size: 1 << 20, files: 2 },
        stdin: Stdin::Null,
        attributes: Attributes::default(),
    }
}

impl ProcessSpec {
    fn after(mut self, process: usize, condition: Condition) -> Self {
        self.depends_on.push(Dependence { process: PrcId(process), condition });
        self
    }

    fn triggered_by(mut self, trigger: Trigger) -> Self {
        self.trigger = trigger;
        self
    }

    fn restarted(mut self, restart: RestartPolicy) -> Self {
        self.restart = restart;
        self
    }

    fn overlapping(mut self, overlap: Overlap) -> Self {
        self.overlap = overlap;
        self
    }

    fn ready_by_sdk(mut self) -> Self {
        self.ready = Readiness::Sdk;
        self
    }

    fn replicated(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }
}

fn finish_of(sources: &[usize], on: FinishKind) -> Trigger {
    Trigger::DependenceFinish { sources: sources.iter().copied().map(PrcId).collect(), on }
}

fn every(definition: &str) -> Trigger {
    Trigger::Cron(Schedule::parse(definition, None).expect("a schedule"))
}

fn plan(processes: Vec<ProcessSpec>) -> Arc<Plan> {
    Arc::new(Plan {
        application: "test".to_owned(),
        config_path: PathBuf::from("/copo.toml"),
        context: ContextSpec {
            headers: None,
            durability: Durability::Memory,
            retain: Retain { records: 1, bytes: 1, age: Duration::ZERO, keys: 1, reports: 1 },
            when_full: WhenFull::Trim,
            wait_limit: Duration::ZERO,
            max_record: 1,
        },
        log_total: None,
        processes,
    })
}

/// An orchestrator, its clocks, and who is who among its runs.
struct World {
    orc: Orchestrator,
    now: Now,
    plan: Arc<Plan>,
    /// The newest run of each internal name.
    runs: HashMap<String, RunId>,
    names: HashMap<RunId, String>,
    requests: u64,
}

impl World {
    fn new(processes: Vec<ProcessSpec>) -> Self {
        let plan = plan(processes);
        Self {
            orc: Orchestrator::new(Arc::clone(&plan), RunSeed::new(7)),
            now: Now { mono: Duration::from_secs(1), wall: NOON },
            plan,
            runs: HashMap::new(),
            names: HashMap::new(),
            requests: 0,
        }
    }

    /// Brought up, and everything that was spawned runs.
    fn up(processes: Vec<ProcessSpec>) -> Self {
        let mut world = Self::new(processes);
        world.tell(Event::Up { names: Vec::new() });
        world.spawn_all();
        world
    }

    /// Answers every spawn asked for, until none is.
    fn spawn_all(&mut self) {
        loop {
            let unspawned: Vec<String> =
                self.runs.keys().filter(|name| self.status(name).state() == v1::State::Starting).cloned().collect();
            let unspawned: Vec<String> = unspawned.into_iter().filter(|name| self.status(name).pid.is_none()).collect();
            if unspawned.is_empty() {
                return;
            }
            for name in unspawned {
                self.spawned(&name);
            }
        }
    }

    /// What is done about an event, as lines.
    fn tell(&mut self, event: Event) -> Vec<String> {
        let actions = self.orc.handle(self.now, event);
        for action in &actions {
            if let Action::Adopt { plan } = action {
                self.plan = Arc::clone(plan);
            }
            if let Action::Spawn(spawn) = action {
                let name = name::internal(&self.plan.process(spawn.instance.prc).name, spawn.instance.number);
                self.runs.insert(name.clone(), spawn.run);
                self.names.insert(spawn.run, name);
            }
        }
        actions.iter().map(|action| self.line(action)).collect()
    }

    fn line(&self, action: &Action) -> String {
        let name = |run: &RunId| self.names[run].clone();
        match action {
            Action::Spawn(spawn) => {
                let args: String = spawn.args.iter().map(|arg| format!(" {arg}")).collect();
                format!("spawn {}{args}", name(&spawn.run))
            }
            Action::StopEvent { run, grace_ms } => format!("stop_event {} {grace_ms}", name(run)),
            Action::Signal { run, signal } => format!("signal {} {signal}", name(run)),
            Action::Kill { run } => format!("kill {}", name(run)),
            Action::Probe { run, probe, .. } => format!("probe {} {}", name(run), probe.name()),
            Action::Drain { run } => format!("drain {}", name(run)),
            Action::Fence { run } => format!("fence {}", name(run)),
            Action::Reap { run } => format!("reap {}", name(run)),
            Action::Report { facts } => {
                let event = facts.event().as_str_name().trim_start_matches("EVENT_KIND_").to_lowercase();
                let about = facts.internal_name.as_ref().or(facts.process.as_ref());
                let code = facts.exit_code.map(|code| format!(" code {code}"));
                let signal = facts.signal.as_ref().map(|signal| format!(" {signal}"));
                let parts = [about.map(|name| format!(" {name}")), code, signal];
                format!("{event}{}", parts.into_iter().flatten().collect::<String>())
            }
            Action::Reply { request, reply } => format!("reply {} {}", request.0, said(reply)),
            Action::Adopt { .. } => "adopt".to_owned(),
            Action::Forget { instance } => {
                format!("forget {}", name::internal(&self.plan.process(instance.prc).name, instance.number))
            }
            Action::NoteSchedule { process, note } => {
                let kept = if note.is_some() { "note" } else { "forget the note of" };
                format!("{kept} {process}")
            }
            Action::End => "end".to_owned(),
        }
    }

    fn run(&self, name: &str) -> RunId {
        self.runs[name]
    }

    fn spawned(&mut self, name: &str) -> Vec<String> {
        self.tell(Event::Spawned { run: self.run(name), pid: 42 })
    }

    fn ready(&mut self, name: &str) -> Vec<String> {
        self.tell(Event::Ready { run: self.run(name) })
    }

    /// The whole end of a run; what follows it.
    fn exit(&mut self, name: &str, outcome: Outcome) -> Vec<String> {
        let run = self.run(name);
        assert_eq!(self.tell(Event::Exited { run, outcome }), [format!("drain {name}")]);
        assert_eq!(self.tell(Event::Drained { run }), [format!("fence {name}"), format!("reap {name}")]);
        self.tell(Event::GroupGone { run })
    }

    /// The next request, by a person; its lines.
    fn ask(&mut self, command: Command) -> Vec<String> {
        self.ask_as(Requester::Person, command)
    }

    fn ask_as(&mut self, by: Requester, command: Command) -> Vec<String> {
        self.requests += 1;
        self.tell(Event::Command { request: RequestId(self.requests), by, command })
    }

    fn pass(&mut self, time: Duration) -> Vec<String> {
        self.now.mono += time;
        self.now.wall += u64::try_from(time.as_micros()).expect("a short time");
        self.tell(Event::DeadlineReached)
    }

    fn status(&self, name: &str) -> v1::ProcessStatus {
        let all = self.orc.processes().processes;
        all.into_iter().find(|status| status.internal_name == name).expect("an instance of that name")
    }

    fn state(&self, name: &str) -> v1::State {
        self.status(name).state()
    }
}

fn said(reply: &Reply) -> String {
    match reply {
        Reply::Done => "done".to_owned(),
        Reply::Processes(_) => "processes".to_owned(),
        Reply::Triggered(v1::Triggered { exit_code, signal, succeeded, run }) => {
            let run = if run.is_some() { "run" } else { "no run" };
            format!("triggered {run} {exit_code:?} {signal:?} {succeeded:?}")
        }
        Reply::Changes(changes) => format!("changes{}", changes.changes.iter().map(change).collect::<String>()),
        Reply::Failed { code, message } => {
            format!("{} {message}", code.as_str_name().trim_start_matches("ERROR_CODE_"))
        }
    }
}

/// " scale web replicas 1>3".
fn change(change: &v1::Change) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let settings = change.settings.iter().map(|s| format!(" {} {}>{}", s.key, text(&s.from), text(&s.to)));
    let kind = change.kind().as_str_name().trim_start_matches("KIND_").to_lowercase();
    format!("; {kind} {}{}", change.process, settings.collect::<String>())
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn start(name: &str) -> Command {
    Command::Start { names: names(&[name]) }
}

fn stop(name: &str) -> Command {
    Command::Stop { names: names(&[name]) }
}

fn restart(name: &str) -> Command {
    Command::Restart { names: names(&[name]) }
}

fn trigger(name: &str, wait: bool) -> Command {
    Command::Trigger { name: name.to_owned(), args: Vec::new(), wait }
}

fn wait_up(name: &[&str]) -> Command {
    Command::Wait { names: names(name), condition: v1::wait::Condition::Up }
}

const SUCCESS: Outcome = Outcome::Code(0);
const FAILURE: Outcome = Outcome::Code(3);
const KILLED: Outcome = Outcome::Signal { number: 9, name: "SIGKILL" };

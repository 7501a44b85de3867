//! Asking runs how they do, and hearing what they say: the edges of [`crate::supervisor::probe`] and
//! [`crate::supervisor::notice`]. Each question is a task that ends with its answer; what counts is decided elsewhere.

mod exec;
mod http;
mod log;
#[cfg(unix)]
mod main_process;
#[cfg(unix)]
mod notify;
mod progress;
mod tcp;

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::environment::Environment;
use super::leaders::Leaders;
use super::spawn::{Launch, SpawnError, Spawned, Spawner};
use crate::plan::{Check, ProcessSpec, Stdin};
use crate::server::Hub;
use crate::supervisor::{Answer, Event, ProbeKind, RunId};

pub(super) use log::LineWatch;

/// Where a run finds the socket to say things to, as sd_notify(3) has it.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// Microseconds between two signs of life, as sd_watchdog_enabled(3) has it.
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
/// For whom the watchdog is meant.
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// What of an environment is meant for its own process alone, and not for those it starts.
pub(super) const OWN_VARIABLES: [&str; 3] = [NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID];

/// The longest answer of a server or program that is told.
const LONGEST_TEXT: usize = 200;

/// What the edge knows of watched runs.
pub(super) struct Probes {
    events: UnboundedSender<Event>,
    hub: Rc<Hub>,
    leaders: Leaders,
    runs: RefCell<HashMap<RunId, Watched>>,
}

/// A run that is asked or may say something.
#[derive(Default)]
struct Watched {
    /// Questions that are not answered yet, and some that are.
    asked: Vec<AbortHandle>,
    /// What its program was started with, where its probes run programs.
    env: Option<Environment>,
    read: progress::Read,
    #[cfg(unix)]
    notify: Option<notify::NotifySocket>,
    #[cfg(unix)]
    main: Option<Rc<main_process::MainProcess>>,
}

/// A question, and what it is asked with.
pub(super) struct Question<'a> {
    pub run: RunId,
    pub probe: ProbeKind,
    pub check: Check,
    pub timeout: Duration,
    pub spec: &'a ProcessSpec,
    /// Where none is kept of the run: it was started by an orchestrator before this one.
    pub env: &'a dyn Fn() -> Result<Environment, SpawnError>,
}

impl Probes {
    pub(super) fn new(events: UnboundedSender<Event>, hub: Rc<Hub>, leaders: Leaders) -> Self {
        Self { events, hub, leaders, runs: RefCell::default() }
    }

    /// Before a run is spawned: it is to find its socket there, and `socket` in its environment.
    pub(super) fn prepare(
        &self,
        run: RunId,
        spec: &ProcessSpec,
        socket: &Path,
        env: &mut Environment,
    ) -> Result<(), SpawnError> {
        let mut watched = Watched::default();
        self.prepare_socket(spec, socket, env, &mut watched)?;
        let kinds = [ProbeKind::Startup, ProbeKind::Ready, ProbeKind::Liveness];
        let runs_programs = |kind| spec.probe(kind).is_some_and(|probe| matches!(probe.check, Check::Exec { .. }));
        if kinds.into_iter().any(runs_programs) {
            watched.env = Some(env.clone());
        }
        self.runs.borrow_mut().insert(run, watched);
        Ok(())
    }

    #[cfg(unix)]
    fn prepare_socket(
        &self,
        spec: &ProcessSpec,
        socket: &Path,
        env: &mut Environment,
        watched: &mut Watched,
    ) -> Result<(), SpawnError> {
        if !spec.has_notify_socket() {
            return Ok(());
        }
        let bound = notify::NotifySocket::bind(socket);
        watched.notify = Some(bound.map_err(|error| SpawnError {
            reason: format!("cannot make {}: {}", socket.display(), super::spawn::why(&error)),
            is_final: false,
        })?);
        if spec.attributes.user.is_some() {
            super::access::open_socket(socket);
        }
        env.set(NOTIFY_SOCKET, socket);
        if let Some(watchdog) = spec.watchdog {
            // Without WATCHDOG_PID it is meant for whoever reads it: the pid is not known before the program runs.
            env.set(WATCHDOG_USEC, watchdog.as_micros().to_string());
        }
        Ok(())
    }

    /// Config refuses what needs one.
    #[cfg(windows)]
    fn prepare_socket(
        &self,
        _spec: &ProcessSpec,
        _socket: &Path,
        _env: &mut Environment,
        _watched: &mut Watched,
    ) -> Result<(), SpawnError> {
        Ok(())
    }

    /// A run that another orchestrator started goes on, under this pid: its socket is there again. Answers what its output is
    /// to be watched for.
    pub(super) fn adopt(&self, run: RunId, spec: &ProcessSpec, socket: &Path, pid: u32) -> Option<LineWatch> {
        let mut watched = Watched::default();
        if let Err(error) = self.prepare_socket(spec, socket, &mut Environment::default(), &mut watched) {
            tracing::warn!("cannot hear run {run} any more: {error}");
        }
        self.runs.borrow_mut().insert(run, watched);
        self.begin(run, spec, pid)
    }

    /// A run's program runs, under this pid: it is heard from here on. Answers what its output is to be watched for.
    pub(super) fn begin(&self, run: RunId, spec: &ProcessSpec, pid: u32) -> Option<LineWatch> {
        self.listen(run, pid);
        LineWatch::of(spec, run, self.events.clone())
    }

    #[cfg(unix)]
    fn listen(&self, run: RunId, pid: u32) {
        let mut runs = self.runs.borrow_mut();
        let Some(watched) = runs.get_mut(&run) else { return };
        let main = main_process::MainProcess::of(run, pid, self.leaders.clone(), self.events.clone());
        watched.main = Some(Rc::clone(&main));
        if let Some(notify) = &mut watched.notify {
            notify.listen(run, main, self.events.clone());
        }
    }

    #[cfg(windows)]
    fn listen(&self, _run: RunId, _pid: u32) {}

    /// The process that was started as the run's has ended; whether that is the end of the run: another may have become
    /// its main process.
    #[cfg(unix)]
    pub(super) fn is_main(&self, run: RunId, pid: u32) -> bool {
        if let Some(notify) = self.runs.borrow().get(&run).and_then(|watched| watched.notify.as_ref()) {
            notify.hear_all();
        }
        self.main(run).is_none_or(|main| main.pid() == pid)
    }

    /// Nobody can name another here.
    #[cfg(windows)]
    pub(super) fn is_main(&self, _run: RunId, _pid: u32) -> bool {
        true
    }

    /// A main process that has left the group of the one that was started.
    #[cfg(unix)]
    pub(super) fn main(&self, run: RunId) -> Option<Rc<main_process::MainProcess>> {
        self.runs.borrow().get(&run).and_then(|watched| watched.main.clone())
    }

    /// The run is over: nothing is heard of it any more, and nobody asks.
    pub(super) fn forget(&self, run: RunId) {
        let watched = self.runs.borrow_mut().remove(&run);
        watched.iter().flat_map(|watched| &watched.asked).for_each(AbortHandle::abort);
    }

    /// Asks; the answer comes as an event, within the timeout.
    pub(super) fn ask(&self, question: Question<'_>, spawner: &Spawner) {
        let Question { run, probe, check, timeout, spec, env } = question;
        match check {
            Check::Http { address, target } => {
                self.answer(run, probe, timeout, async move { http::ask(&address, &target).await });
            }
            Check::Tcp(address) => self.answer(run, probe, timeout, async move { tcp::ask(&address).await }),
            Check::Exec { program, args } => {
                let kept = self.runs.borrow().get(&run).and_then(|watched| watched.env.clone());
                let launch = kept.map_or_else(env, Ok).and_then(|env| launch(spec, program.clone(), args, env));
                let secrets = launch.as_ref().map(|launch| exec::Secrets::of(spec, &launch.env)).unwrap_or_default();
                match launch.and_then(|launch| spawner.spawn(&launch, &|_, _| {})) {
                    Ok(spawned) => self.wait_for_program(run, probe, timeout, (&program, secrets), spawned),
                    Err(error) => self.tell(run, probe, Err(format!("cannot start {error}"))),
                }
            }
            // Nothing is asked: the output thread tells.
            Check::Log(_) => {}
            Check::Progress => {
                let read = self.runs.borrow_mut().entry(run).or_default().read.clone();
                let hub = Rc::clone(&self.hub);
                self.answer(run, probe, timeout, async move { read.look(hub.backlogs(run).await) });
            }
        }
    }

    fn wait_for_program(
        &self,
        run: RunId,
        probe: ProbeKind,
        timeout: Duration,
        (program, secrets): (&Path, exec::Secrets),
        spawned: Spawned,
    ) {
        let leaders = self.leaders.clone();
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        // Made here, not when the task runs first: from its spawn on somebody has to see to its end.
        let program = exec::Program::of(name, secrets, spawned, leaders);
        self.answer(run, probe, timeout, program.answer());
    }

    fn answer(&self, run: RunId, probe: ProbeKind, limit: Duration, answer: impl Future<Output = Answer> + 'static) {
        let events = self.events.clone();
        let task = tokio::task::spawn_local(async move {
            let in_time = timeout(limit, answer).await;
            let answer = in_time.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")));
            let _ = events.send(Event::Probed { run, probe, answer });
        });
        let mut runs = self.runs.borrow_mut();
        let asked = &mut runs.entry(run).or_default().asked;
        asked.retain(|task| !task.is_finished());
        asked.push(task.abort_handle());
    }

    fn tell(&self, run: RunId, probe: ProbeKind, answer: Answer) {
        let _ = self.events.send(Event::Probed { run, probe, answer });
    }
}

/// A probe's program runs as the process's own does, but for its limits of memory and processors.
fn launch(
    spec: &ProcessSpec,
    program: std::path::PathBuf,
    args: Vec<String>,
    env: Environment,
) -> Result<Launch, SpawnError> {
    Ok(Launch {
        program,
        script: None,
        args,
        cwd: spec.cwd.clone(),
        env,
        stdin: Stdin::Null,
        #[cfg(unix)]
        attributes: super::spawn::Attributes::of(&spec.attributes).map_err(SpawnError::lasting)?,
        #[cfg(target_os = "linux")]
        cgroup: None,
    })
}

/// A line of what a program or a server said, as it may be printed.
fn line_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().chars().filter(|c| !c.is_control()).take(LONGEST_TEXT).collect()
}

//! Everything an orchestrator has in hand before it may say that it runs.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use copo_proto::name;
use tokio::sync::mpsc;

use super::adopt::Strays;
use super::census::Census;
#[cfg(target_os = "linux")]
use super::cgroup::Cgroups;
use super::clock::{self, Clock};
use super::deadline::Timer;
use super::driver::Driver;
use super::environment::Environment;
use super::group::Orphans;
use super::journal::{self, Journal, Left, NotedRun};
use super::kept::Kept;
use super::leaders::Leaders;
use super::limits::LimitNotes;
use super::lock::{self, Lock, LockError};
use super::log_budget::Budget;
use super::output::Output;
use super::perform::Performer;
use super::probe::Probes;
use super::schedules::Schedules;
#[cfg(target_os = "linux")]
use super::side::Side;
use super::sinks::Shared;
use super::spawn::Spawner;
use super::termination::Terminations;
use super::{Begin, RunError, boot, files, own_log};
use crate::context::Context;
use crate::layout::{self, Layout};
use crate::plan::Plan;
use crate::server::{self, About, Hub, Listener};
use crate::supervisor::{Event, Found, Orchestrator, RunId, RunSeed, Stray};

/// An orchestrator that only needs to be set going.
pub(super) struct Started {
    pub lock: Lock,
    pub listener: Listener,
    pub terminations: Terminations,
    pub driver: Driver,
    /// What the context found damaged, in words.
    pub findings: Vec<String>,
    /// What runs and the plan has no more.
    pub strays: Strays,
    /// What happens first.
    pub first: Vec<Event>,
}

/// Takes the lock, opens the context and the server, and makes what is needed around them.
pub(super) fn start(plan: Plan, layout: Layout, begin: Begin, kept: io::Result<Kept>) -> Result<Started, RunError> {
    let application = plan.application.clone();
    let fail = |reason: String| RunError::Start { application: application.clone(), reason };
    let kept = kept.map_err(|error| fail(format!("cannot speak to its keeper: {error}")))?;
    layout::prepare(&layout).map_err(|error| fail(error.to_string()))?;
    let lock = lock::acquire(&layout, &plan.config_path).map_err(|error| match error {
        LockError::Held(holder) => {
            RunError::Running { application: application.clone(), pid: holder.pid, config_path: holder.config_path }
        }
        LockError::Io(error) => fail(format!("cannot lock {}: {error}", layout.lock().display())),
    })?;
    own_log::start(layout.orchestrator_log())
        .map_err(|error| fail(format!("cannot open {}: {error}", layout.orchestrator_log().display())))?;
    tracing::info!("{application}: version {}, pid {}", env!("CARGO_PKG_VERSION"), std::process::id());
    // A daemon must not hold on to whatever folder it was started in; ours is in use anyway.
    if let Err(error) = std::env::set_current_dir(layout.root()) {
        tracing::warn!("cannot change to {}: {error}", layout.root().display());
    }
    let spawner = Spawner::new().map_err(|error| fail(format!("cannot prepare to start processes: {error}")))?;
    Orphans::take_in();
    let (begins, left) = what_was_left(&layout, &begin).map_err(fail)?;
    let plan = if begin.is_resumed() { left.saved.scaled(plan) } else { plan };
    // Files are made anew far more slowly than they are found in order.
    files::remove_but(&layout, &left.runs.values().map(|noted| noted.internal_name.as_str()).collect());

    let (context, findings) = open_context(&plan, &layout).map_err(fail)?;
    let terminations = Terminations::listen().map_err(|error| fail(format!("cannot listen to signals: {error}")))?;
    let clock = Clock::start();
    let timer = Timer::new(clock).map_err(|error| fail(format!("cannot make a timer: {error}")))?;
    let shared = Shared {
        layout: layout.clone(),
        budget: Arc::new(Budget::new(layout.logs())),
        #[cfg(target_os = "linux")]
        side: Side::open(&layout, &kept),
    };
    let output = Output::start(shared).map_err(|error| fail(format!("cannot start a thread: {error}")))?;
    open_outputs(&plan, &output);
    let seed = seed().map_err(|error| fail(format!("no randomness: {error}")))?;
    let listener = server::bind(&layout.socket())
        .map_err(|error| fail(format!("cannot listen at {}: {error}", layout.socket().display())))?;

    #[cfg(target_os = "linux")]
    let cgroups =
        Rc::new(Cgroups::find(&layout, plan.processes.iter().any(|process| process.attributes.wants_controllers())));
    let plan = Arc::new(plan);
    let (mut orc, mut strays) = Orchestrator::restore(Arc::clone(&plan), RunSeed::new(seed), left.saved.clone());
    strays.extend(being_stopped(&orc, &strays, &left));
    let journal = Journal::begin(layout.state(), boot::id(), orc.saved(), left.runs.clone())
        .map_err(|error| fail(format!("cannot write {}: {error}", layout.state().display())))?;
    let schedules = Schedules::read(layout.schedules());
    for (name, note) in schedules.notes() {
        orc.recall_schedule(name, note.clone());
    }
    let (sender, events) = mpsc::unbounded_channel();
    let hub = Hub::new(context, &plan.context, sender.clone(), about(&plan));
    let leaders = Leaders::default();
    let probes = Rc::new(Probes::new(sender.clone(), Rc::clone(&hub), leaders.clone()));
    let mut performer = Performer {
        plan: Arc::clone(&plan),
        inherited: Environment::inherited(std::env::vars_os(), layout.home()),
        layout,
        hub,
        output: Rc::new(output),
        events: sender,
        binary_folder: std::env::current_exe().ok().and_then(|binary| binary.parent().map(Into::into)),
        spawner,
        limit_notes: LimitNotes::default(),
        #[cfg(target_os = "linux")]
        cgroups,
        leaders,
        ports: RefCell::default(),
        runs: HashMap::new(),
        journal: Rc::new(RefCell::new(journal)),
        schedules,
        kept: Rc::new(kept),
        census: Census::default(),
        probes,
    };
    let mut live: Vec<_> = orc.live_runs().collect();
    live.sort_by_key(|live| live.instance);
    let first = begins.into_events(performer.take_over_all(&live, &left));
    let strays = performer.stop_strays(strays, &left);
    let driver = Driver { orc, events, clock, timer, performer };
    Ok(Started { lock, listener, terminations, driver, findings, strays, first })
}

/// What the orchestrator begins with.
struct Begins {
    /// There was one before it that has not ended in order.
    goes_on: bool,
    /// Names as given to `copo up`, if somebody wants it up.
    up: Option<Vec<String>>,
}

impl Begins {
    fn into_events(self, found: Vec<(RunId, Found)>) -> Vec<Event> {
        let resumed = self.goes_on.then_some(Event::Resumed { found });
        resumed.into_iter().chain(self.up.map(|names| Event::Up { names })).collect()
    }
}

impl Begin {
    fn is_resumed(&self) -> bool {
        match self {
            Self::Up(_) => false,
            Self::Resume(_) => true,
        }
    }
}

/// Reads the state of an orchestrator that has not ended in order.
fn what_was_left(layout: &Layout, begin: &Begin) -> Result<(Begins, Left), String> {
    let cannot = |error: io::Error| format!("cannot read the state in {}: {error}", layout.state().display());
    let left = journal::read(&layout.state()).map_err(cannot)?;
    let (Begin::Up(names) | Begin::Resume(names)) = begin;
    let Some(mut left) = left else {
        return Ok((Begins { goes_on: false, up: Some(names.clone()) }, Left::default()));
    };
    if left.boot != boot::id() {
        left.saved.forget_clock();
        left.runs.clear();
    }
    if begin.is_resumed() {
        return Ok((Begins { goes_on: true, up: None }, left));
    }
    left.saved.forget_down();
    Ok((Begins { goes_on: true, up: Some(names.clone()) }, left))
}

/// Runs that the plan had no place for already when they were noted last.
fn being_stopped(orc: &Orchestrator, strays: &[Stray], left: &Left) -> Vec<Stray> {
    let known: HashSet<RunId> =
        orc.live_runs().map(|live| live.run).chain(strays.iter().map(|stray| stray.run)).collect();
    let unknown = left.runs.values().filter(|noted| !known.contains(&noted.run));
    let stray = |noted: &NotedRun| Stray {
        run: noted.run,
        process: name::split_internal(&noted.internal_name).map_or_else(String::new, |(process, _)| process.to_owned()),
        internal_name: noted.internal_name.clone(),
    };
    unknown.map(stray).collect()
}

/// The context, recovered, with the headers of the file.
fn open_context(plan: &Plan, layout: &Layout) -> Result<(Context, Vec<String>), String> {
    let mut context = Context::open(&layout.context(), &plan.context, &boot::id(), clock::wall())
        .map_err(|error| format!("cannot open the context in {}: {error}", layout.context().display()))?;
    let findings: Vec<_> = context.findings().into_iter().map(|finding| finding.reason).collect();
    for finding in &findings {
        tracing::error!("{finding}");
    }
    if let Err(error) = context.apply_file_headers(clock::wall(), plan.context.headers.as_deref()) {
        // Headers are informative; what is published does not depend on them.
        tracing::error!("cannot take over the headers of the file: {error}");
    }
    Ok((context, findings))
}

/// Each instance's log and stdio are there from up on, whether it runs or not.
pub(super) fn open_outputs(plan: &Plan, output: &Output) {
    output.limit(plan.log_total);
    for process in &plan.processes {
        for number in 1..=process.replicas {
            output.open(&name::internal(&process.name, number), process.log);
        }
    }
}

fn seed() -> Result<u64, getrandom::Error> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed)?;
    Ok(u64::from_le_bytes(seed))
}

fn about(plan: &Plan) -> About {
    About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        application: plan.application.clone(),
        config_path: plan.config_path.display().to_string(),
        started_at: clock::wall(),
        state_form: journal::FORMAT,
    }
}

/// Empties the context: everything that was published and reported.
pub(super) fn remove_context(layout: &Layout) -> io::Result<()> {
    for gone in [std::fs::remove_dir_all(layout.context()), std::fs::remove_file(layout.reports())] {
        gone.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    }
    Ok(())
}

//! Everything an orchestrator has in hand before it may say that it runs.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use copo_proto::name;
use copo_proto::v1::Facts;
use tokio::sync::mpsc;

use super::clock::{self, Clock};
use super::deadline::Timer;
use super::driver::Driver;
use super::environment::Environment;
use super::group::Orphans;
use super::lock::{self, Lock, LockError};
use super::output::Output;
use super::perform::{Leaders, Performer};
use super::spawn::Spawner;
use super::termination::Terminations;
use super::{RunError, boot, leftovers, own_log, pids};
use crate::context::Context;
use crate::layout::{self, Layout};
use crate::plan::Plan;
use crate::server::{self, About, Hub, Listener};
use crate::supervisor::{Orchestrator, RunSeed};

/// An orchestrator that only needs to be set going.
pub(super) struct Started {
    pub lock: Lock,
    pub listener: Listener,
    pub terminations: Terminations,
    pub driver: Driver,
    /// What the context found damaged, in words.
    pub findings: Vec<String>,
    /// What a killed orchestrator had left running, now ended.
    pub leftovers: Vec<Facts>,
}

/// Takes the lock, opens the context and the server, and makes what is needed around them.
pub(super) fn start(plan: Plan, layout: Layout) -> Result<Started, RunError> {
    let application = plan.application.clone();
    let fail = |reason: String| RunError::Start { application: application.clone(), reason };
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
    let leftovers = leftovers::end_all(&layout);
    remove_files(&layout);

    let (context, findings) = open_context(&plan, &layout).map_err(fail)?;
    let terminations = Terminations::listen().map_err(|error| fail(format!("cannot listen to signals: {error}")))?;
    let clock = Clock::start();
    let timer = Timer::new(clock).map_err(|error| fail(format!("cannot make a timer: {error}")))?;
    let output = Output::start(layout.clone()).map_err(|error| fail(format!("cannot start a thread: {error}")))?;
    open_outputs(&plan, &output);
    let seed = seed().map_err(|error| fail(format!("no randomness: {error}")))?;
    let listener = server::bind(&layout.socket())
        .map_err(|error| fail(format!("cannot listen at {}: {error}", layout.socket().display())))?;

    let plan = Arc::new(plan);
    let (sender, events) = mpsc::unbounded_channel();
    let hub = Hub::new(context, &plan.context, sender.clone(), about(&plan));
    let performer = Performer {
        plan: Arc::clone(&plan),
        inherited: Environment::inherited(std::env::vars_os(), layout.home()),
        layout,
        hub,
        output: Rc::new(output),
        events: sender,
        binary_folder: std::env::current_exe().ok().and_then(|binary| binary.parent().map(Into::into)),
        spawner,
        leaders: Leaders::default(),
        runs: HashMap::new(),
    };
    let driver = Driver { orc: Orchestrator::new(plan, RunSeed::new(seed)), events, clock, timer, performer };
    Ok(Started { lock, listener, terminations, driver, findings, leftovers })
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
    }
}

/// Removes what is there only while an orchestrator runs: pid files and sockets.
pub(super) fn remove_files(layout: &Layout) {
    pids::remove_all(layout);
    if let Err(error) = remove_sockets(layout) {
        tracing::warn!("cannot remove the sockets in {}: {error}", layout.root().display());
    }
}

/// Empties the context: everything that was published and reported.
pub(super) fn remove_context(layout: &Layout) -> io::Result<()> {
    for gone in [std::fs::remove_dir_all(layout.context()), std::fs::remove_file(layout.reports())] {
        gone.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    }
    Ok(())
}

#[cfg(unix)]
fn remove_sockets(layout: &Layout) -> io::Result<()> {
    use std::fs;
    for entry in fs::read_dir(layout.root())? {
        let folder = entry?.path();
        // Only a folder that held nothing but its socket goes with it.
        if fs::remove_file(folder.join("stdio")).is_ok() {
            let _ = fs::remove_dir(folder);
        }
    }
    match fs::remove_file(layout.socket()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Err(_) | Ok(()) => Ok(()),
    }
}

/// Pipes go with their last handle.
#[cfg(windows)]
fn remove_sockets(_layout: &Layout) -> io::Result<()> {
    Ok(())
}

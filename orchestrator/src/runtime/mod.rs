//! The edges of the orchestrator: the loop, the processes, their output, the files. Computes nothing it could ask a
//! decision for.
//!
//! [`run`] is the whole life of an orchestrator. The process it is called in belongs to it: it reaps every child, handles
//! the signals that end it, and takes over as the parent of orphans.

#[cfg(unix)]
mod access;
#[cfg(unix)]
mod account;
mod adopt;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub mod bare;
mod boot;
mod census;
#[cfg(target_os = "linux")]
mod cgroup;
mod child;
pub mod clock;
mod deadline;
mod descriptors;
mod driver;
mod ending;
mod environment;
mod files;
mod group;
#[cfg(target_os = "linux")]
mod hand_over;
mod journal;
mod kept;
mod leaders;
mod left;
mod limits;
pub mod lock;
pub mod log;
mod log_budget;
pub mod log_identity;
pub mod log_times;
pub(crate) mod memory;
pub mod notify;
mod output;
mod own_log;
mod perform;
mod pids;
mod ports;
mod probe;
mod processes;
mod reports_file;
mod rest;
mod schedules;
#[cfg(target_os = "linux")]
mod side;
mod sinks;
mod spawn;
mod start;
mod stdio;
#[cfg(target_os = "linux")]
mod strays;
#[cfg(unix)]
mod terminal;
mod termination;

use std::path::PathBuf;
use std::rc::Rc;

use copo_proto::v1::{EventKind, Facts};
use tokio::task::LocalSet;

use crate::layout::Layout;
use crate::plan::Plan;
use crate::server;
use driver::Turned;
use kept::Kept;
use start::Started;

pub use journal::FORMAT as STATE_FORM;

/// What `copo up` asks of a new orchestrator.
pub struct RunOptions {
    /// Why it starts.
    pub begin: Begin,
    /// The other end of the keeper's socket, if there is a keeper.
    #[cfg(target_os = "linux")]
    pub keeper: Option<std::os::fd::OwnedFd>,
    /// Called once: when the server answers, or with the reason why it never will.
    pub notify: Box<dyn FnOnce(Result<(), String>)>,
}

/// Why an orchestrator starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// Somebody wants these up (names as given to `copo up`; empty: everything), whatever was there before.
    Up(Vec<String>),
    /// It takes the place of one that is gone, and goes on where that was; if that has left nothing, as [`Self::Up`].
    Resume(Vec<String>),
}

/// Why an orchestrator did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another one holds the lock.
    #[error("cannot start the orchestrator of {application}: it runs already, pid {pid}, from {}", config_path.display())]
    Running {
        /// Name of the application.
        application: String,
        /// The other's process id.
        pid: u32,
        /// The other's copo.toml.
        config_path: PathBuf,
    },
    /// Something it needs could not be had.
    #[error("cannot start the orchestrator of {application}: {reason}")]
    Start {
        /// Name of the application.
        application: String,
        /// Why, in words.
        reason: String,
    },
}

/// Runs the orchestrator of `plan` until everything is stopped; answers the exit code of the application.
///
/// # Errors
/// It could not start; `options.notify` was told the same.
pub fn run(plan: Plan, layout: Layout, options: RunOptions) -> Result<u8, RunError> {
    #[cfg(target_os = "linux")]
    let keeper = options.keeper;
    let RunOptions { begin, notify, .. } = options;
    termination::reset_inherited();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            notify(Err(error.to_string()));
            return Err(RunError::Start { application: plan.application, reason: error.to_string() });
        }
    };
    let all = async move {
        #[cfg(target_os = "linux")]
        let kept = Kept::new(keeper);
        #[cfg(not(target_os = "linux"))]
        let kept = Kept::new();
        match start::start(plan, layout, begin, kept) {
            Ok(started) => {
                notify(Ok(()));
                Ok(live(started).await)
            }
            Err(error) => {
                notify(Err(error.to_string()));
                Err(error)
            }
        }
    };
    // A task of its own: what a `LocalSet` waits for is looked at again whenever any of its tasks had a turn.
    let ended = LocalSet::new().block_on(&runtime, async { tokio::task::spawn_local(all).await });
    ended.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

/// From up to down.
async fn live(started: Started) -> u8 {
    let Started { lock, listener, terminations, mut driver, findings, strays, first } = started;
    let hub = Rc::clone(&driver.performer.hub);
    let output = Rc::clone(&driver.performer.output);
    let layout = driver.performer.layout.clone();
    let events = driver.performer.events.clone();
    tokio::task::spawn_local(server::serve(listener, Rc::clone(&hub)));
    tokio::task::spawn_local(reports_file::keep(Rc::clone(&hub), Rc::clone(&output), layout.clone()));
    tokio::task::spawn_local(terminations.forward(events.clone()));
    #[cfg(target_os = "linux")]
    tokio::task::spawn_local(group::reap_orphans(driver.performer.leaders.clone()));

    hub.report(own_facts(EventKind::OrchestratorStarted, None));
    for finding in findings {
        hub.report(own_facts(EventKind::Damaged, Some(finding)));
    }
    for event in first {
        // The receiver is the driver's own.
        let _ = events.send(event);
    }
    driver.performer.kept.settle(&driver.performer.adopted());
    let exit_code = match driver.drive().await {
        Turned::Over(exit_code) => exit_code,
        #[cfg(target_os = "linux")]
        Turned::HandOver(binary) => return hand_over::hand_over(driver, lock, binary).await,
        // Refused by the server, and there is no keeper to lose.
        #[cfg(not(target_os = "linux"))]
        Turned::HandOver(_) => 1,
    };
    strays.end().await;
    #[cfg(target_os = "linux")]
    strays::end_all().await;

    output.reports(layout.reports(), hub.reports_json());
    hub.close().await;
    output.close();
    files::remove(&layout);
    #[cfg(unix)]
    access::close(&layout);
    #[cfg(target_os = "linux")]
    driver.performer.cgroups.remove();
    if hub.purge_requested()
        && let Err(error) = start::remove_context(&layout)
    {
        tracing::warn!("cannot empty the context in {}: {error}", layout.root().display());
    }
    driver.performer.journal.borrow().remove();
    let _ = std::fs::remove_file(layout.side());
    driver.performer.kept.end();
    tracing::info!("ended");
    drop(lock);
    exit_code
}

/// Ends what a killed orchestrator left running, and empties the context if `purge` says so. To be called while the
/// application's lock is held, and by no orchestrator.
///
/// # Errors
/// Something of the context cannot be removed.
pub fn sweep(layout: &Layout, purge: bool) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, adopt::end_all(layout));
    files::remove(layout);
    #[cfg(target_os = "linux")]
    cgroup::remove_left(layout);
    let _ = std::fs::remove_file(layout.state());
    let _ = std::fs::remove_file(layout.side());
    if purge { start::remove_context(layout) } else { Ok(()) }
}

/// Why nothing is limited where there is nothing to do it with.
#[cfg(not(target_os = "linux"))]
const NO_CGROUPS: &str = "only Linux has cgroups";

/// Why the memory and the processors of a process cannot be limited here, in words; `None`: they can.
#[must_use]
pub fn why_no_limits() -> Option<String> {
    #[cfg(target_os = "linux")]
    return cgroup::why_no_limits();
    #[cfg(not(target_os = "linux"))]
    Some(NO_CGROUPS.to_owned())
}

/// A report of the orchestrator about itself.
fn own_facts(event: EventKind, reason: Option<String>) -> Facts {
    Facts { event: event.into(), pid: Some(std::process::id()), reason, ..Facts::default() }
}

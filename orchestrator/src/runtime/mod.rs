//! The edges of the orchestrator: the loop, the processes, their output, the files. Computes nothing it could ask a
//! decision for.
//!
//! [`run`] is the whole life of an orchestrator. The process it is called in belongs to it: it reaps every child, handles
//! the signals that end it, and takes over as the parent of orphans.

pub mod lock;
pub mod log_times;

use std::path::PathBuf;

use crate::layout::Layout;
use crate::plan::Plan;

/// What `copo up` asks of a new orchestrator.
pub struct RunOptions {
    /// Names as given to `copo up`; empty: everything.
    pub names: Vec<String>,
    /// Called once: when the server answers, or with the reason why it never will.
    pub notify: Box<dyn FnOnce(Result<(), String>)>,
}

/// Why an orchestrator did not start, or ended otherwise than asked.
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

/// Runs the orchestrator of `plan` until everything is stopped.
///
/// # Errors
/// It could not start; `options.notify` was told the same.
pub fn run(plan: Plan, layout: Layout, options: RunOptions) -> Result<(), RunError> {
    let start_error = |reason: String| RunError::Start { application: plan.application.clone(), reason };
    lock::create_folders(&layout).map_err(|error| start_error(error.to_string()))?;
    (options.notify)(Ok(()));
    Ok(())
}

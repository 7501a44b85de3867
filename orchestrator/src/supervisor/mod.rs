//! The supervisor: PURE. [`Orchestrator::handle`] takes what happened and answers what to do about it.
//!
//! No clock, no process, no socket and no channel is touched here; ids go in and out. Only `runtime/driver` calls it.

pub mod action;
pub mod cron;
pub mod event;
pub mod graph;
mod orchestrator;
pub mod run;

pub use action::{Action, Reply, Spawn};
pub use event::{Command, Deadline, Event, Now, Outcome, RequestId, Requester};
pub use orchestrator::Orchestrator;
pub use run::{Instance, RunId, RunSeed};

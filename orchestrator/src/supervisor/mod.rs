//! The supervisor: PURE. [`Orchestrator::handle`] takes what happened and answers what to do about it.
//!
//! No clock, no process, no socket and no channel is touched here; ids go in and out. Only `runtime/driver` calls it.

pub mod action;
pub mod cron;
pub mod event;
pub mod run;

pub use action::{Action, Reply, Spawn};
pub use event::{Command, Event, Now, Outcome, RequestId, Requester};
pub use run::{Instance, RunId, RunSeed};

//! The supervisor: PURE. [`Orchestrator::handle`] takes what happened and answers what to do about it.
//!
//! No clock, no process, no socket and no channel is touched here; ids go in and out. Only `runtime/driver` calls it.

pub mod action;
pub mod backoff;
mod commands;
mod converge;
pub mod cron;
mod cron_clock;
mod dependence;
mod down;
pub mod event;
pub mod graph;
mod live;
mod names;
pub mod notice;
mod orchestrator;
pub mod probe;
mod process;
mod ps;
mod report;
mod requests;
pub mod run;
pub mod saved;
mod scale;
mod step;
mod trigger;
mod waits;
mod watch;

pub use action::{Action, Reply, Spawn};
pub use converge::OUTDATED;
pub use cron_clock::{ScheduleNote, Stretch};
pub use event::{Command, Deadline, Event, Found, Now, Outcome, RequestId, Requester};
pub use notice::Notice;
pub use orchestrator::Orchestrator;
pub use probe::{Answer, ProbeKind};
pub use run::{Instance, RunId, RunSeed};
pub use saved::{LiveRun, Saved, Stray};

#[cfg(test)]
mod tests;

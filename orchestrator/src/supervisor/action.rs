//! What to do: the supervisor's output. `runtime/perform` has one arm for each.

use std::sync::Arc;
use std::time::Duration;

use copo_proto::v1;

use super::cron_clock::ScheduleNote;
use super::event::RequestId;
use super::probe::ProbeKind;
use super::run::{Instance, RunId};
use crate::plan::{Check, Plan};

/// One thing to do, in the order given.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Start a run. Answered by `Spawned` or `SpawnFailed`, later by `Exited`.
    Spawn(Spawn),
    /// Tell the run's connections that it is asked to stop, and end its subscriptions.
    StopEvent {
        /// The run.
        run: RunId,
        /// Milliseconds until it is killed.
        grace_ms: u64,
    },
    /// Send a signal to the run's process group.
    Signal {
        /// The run.
        run: RunId,
        /// The signal's name, such as "SIGTERM".
        signal: String,
    },
    /// Kill the run's process group (SIGKILL).
    Kill {
        /// The run.
        run: RunId,
    },
    /// Ask the run. Answered by `Probed` within the timeout.
    Probe {
        /// The run.
        run: RunId,
        /// Of which instance.
        instance: Instance,
        /// For what.
        probe: ProbeKind,
        /// What to ask.
        check: Check,
        /// How long the answer may take.
        timeout: Duration,
    },
    /// Append what has arrived on the run's connections, for at most 100 ms. Answered by `Drained`.
    Drain {
        /// The run.
        run: RunId,
    },
    /// From here on the run's token writes nothing.
    Fence {
        /// The run.
        run: RunId,
    },
    /// Kill what is left of the run's group and watch until nothing is. Answered by `GroupGone`.
    Reap {
        /// The run.
        run: RunId,
    },
    /// Append a report by the orchestrator. `facts.reason`, where there is one, is the report's text.
    Report {
        /// What happened.
        facts: v1::Facts,
    },
    /// Answer a request.
    Reply {
        /// The request.
        request: RequestId,
        /// The answer.
        reply: Reply,
    },
    /// From here on this plan holds: the same processes at the same places, and new ones behind them.
    Adopt {
        /// The plan.
        plan: Arc<Plan>,
    },
    /// An instance is no more, and nothing of it runs.
    Forget {
        /// The instance.
        instance: Instance,
    },
    /// Keep what the next orchestrator is to know of the schedule of a process; `None`: nothing any more.
    NoteSchedule {
        /// Its name.
        process: String,
        /// What to know.
        note: Option<ScheduleNote>,
    },
    /// Everything is stopped and answered: the orchestrator ends.
    End,
}

/// All that the edge needs to start a run; the rest is in the Plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Spawn {
    /// The run.
    pub run: RunId,
    /// Of which instance.
    pub instance: Instance,
    /// Appended to the configured arguments.
    pub args: Vec<String>,
    /// For a cron run: the time it was scheduled for, microseconds since the Unix epoch.
    pub scheduled_time: Option<u64>,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// It is done.
    Done,
    /// The state of all processes.
    Processes(v1::Processes),
    /// A triggered run.
    Triggered(v1::Triggered),
    /// What has changed, or would.
    Changes(v1::Changes),
    /// It failed.
    Failed {
        /// What kind of failure.
        code: v1::ErrorCode,
        /// `cannot <do> <what>: <why>`.
        message: String,
    },
}

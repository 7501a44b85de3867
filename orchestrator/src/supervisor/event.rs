//! What can happen: the supervisor's input.

use std::sync::Arc;
use std::time::Duration;

use copo_proto::v1;

use super::notice::Notice;
use super::probe::{Answer, ProbeKind};
use super::run::RunId;
use crate::plan::Plan;

/// The time an event is handled at, read by the driver; the supervisor reads no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Monotonic time since the machine started, the same for every orchestrator until the next boot: delays and grace are
    /// measured by it.
    pub mono: Duration,
    /// Microseconds since the Unix epoch: cron and reports go by it.
    pub wall: u64,
}

/// When the supervisor wants to be asked again, by whichever clock comes first. At that time the driver hands it an
/// [`Event::DeadlineReached`]; one that comes too early does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// By [`Now::mono`]: backoff, grace, ready_timeout, probes.
    pub mono: Option<Duration>,
    /// By [`Now::wall`]: cron. When the wall clock is set, the driver wakes up and says `DeadlineReached`.
    pub wall: Option<u64>,
}

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The application is to come up: arm all triggers (of `names` and what they depend on, when not empty) and start
    /// what starts with it. The first event there is.
    Up {
        /// Names as given to `copo up`.
        names: Vec<String>,
    },
    /// Someone asks for something; answered by exactly one [`super::Action::Reply`].
    Command {
        /// Repeated in the reply.
        request: RequestId,
        /// Who asks.
        by: Requester,
        /// What for.
        command: Command,
    },
    /// Whoever made this request no longer waits for its answer: forget it, no reply. What it set going goes on.
    RequestGone {
        /// The request.
        request: RequestId,
    },
    /// This orchestrator goes on where another one was ([`super::Orchestrator::restore`]): what became of its live runs.
    /// The first event there is, before any `Up`.
    Resumed {
        /// Each live run, and what was found of it.
        found: Vec<(RunId, Found)>,
    },
    /// A run's program runs.
    Spawned {
        /// The run.
        run: RunId,
        /// Its process id.
        pid: u32,
    },
    /// A run could not be started.
    SpawnFailed {
        /// The run.
        run: RunId,
        /// Why, in words.
        reason: String,
        /// Trying again would not help (no such program, not executable): no restart follows, whatever the policy.
        is_final: bool,
    },
    /// A run said through the SDK that it is ready.
    Ready {
        /// The run.
        run: RunId,
    },
    /// A probe of a run was answered, or its log held what a log probe looks for.
    Probed {
        /// The run.
        run: RunId,
        /// Which probe.
        probe: ProbeKind,
        /// Good, or why not.
        answer: Answer,
    },
    /// A run said something of itself through its NOTIFY_SOCKET. Where it named another main process, its end is watched
    /// from here on.
    Notified {
        /// The run.
        run: RunId,
        /// What it said.
        notice: Notice,
    },
    /// A run asked to be told when it is to stop: it gets half the grace before the signal.
    StopWatched {
        /// The run.
        run: RunId,
    },
    /// A run's main process has ended. Answered by [`super::Action::Drain`].
    Exited {
        /// The run.
        run: RunId,
        /// How.
        outcome: Outcome,
    },
    /// What had arrived on the run's connections is appended (or its time was over). Answered by `Fence` and `Reap`.
    Drained {
        /// The run.
        run: RunId,
    },
    /// Nothing of the run's process group is left.
    GroupGone {
        /// The run.
        run: RunId,
    },
    /// The time that `next_deadline` named has come, or may have.
    DeadlineReached,
    /// The orchestrator itself was signalled to end: stop everything in order, as `Down` does; a second one kills.
    Terminate,
}

/// Names one request for as long as it is unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requester {
    /// A person: may do everything.
    Person,
    /// A run: without `control = true` it may only read and stop itself.
    Run(RunId),
}

/// What may be asked. Names are as the person wrote them: process, internal name, `@group`.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// The state of all processes: answered by [`super::Reply::Processes`].
    Ps,
    /// Arm and start; answered `Done` when decided (spawning may still be under way, or dependences be waited for).
    Start {
        /// Names.
        names: Vec<String>,
    },
    /// Stop and disarm; answered `Done` when every group is gone.
    Stop {
        /// Names.
        names: Vec<String>,
    },
    /// Stop, then start; answered `Done` when the new runs are spawned (or wait for dependences).
    Restart {
        /// Names.
        names: Vec<String>,
    },
    /// Run once, now; answered `Triggered`.
    Trigger {
        /// Name.
        name: String,
        /// Appended to the configured arguments.
        args: Vec<String>,
        /// Answer when the run has finished.
        wait: bool,
    },
    /// Signal the group of what runs; `NOT_RUNNING` when nothing does.
    Kill {
        /// Name.
        name: String,
        /// The signal's name; the edge checks that it exists.
        signal: String,
    },
    /// Answered when the condition holds.
    Wait {
        /// Names.
        names: Vec<String>,
        /// What to wait for.
        condition: v1::wait::Condition,
    },
    /// Change how many instances processes have; answered by [`super::Reply::Changes`] when what is too much is gone.
    Scale {
        /// Names of processes or `@group`s, and how many instances each is to have.
        to: Vec<(String, u32)>,
    },
    /// Bring what runs in line with a plan read anew; answered by [`super::Reply::Changes`] when it is done.
    Converge {
        /// The plan, as copo.toml has it.
        plan: Arc<Plan>,
        /// Bring up only these of what is not up, and what they depend on; none: all.
        names: Vec<String>,
        /// Change nothing, only say what would be.
        dry_run: bool,
    },
    /// Stop everything in reverse dependency order and end; answered when all groups are gone.
    Down {
        /// Overrides every `stop_grace`.
        grace: Option<Duration>,
        /// Kill at once.
        kill: bool,
    },
}

/// What an orchestrator finds of a run that another one had under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Its program runs.
    Alive {
        /// Its process id.
        pid: u32,
    },
    /// Its main process has ended.
    Ended {
        /// How.
        outcome: Outcome,
    },
    /// It was decided, and its program never started.
    Unstarted,
}

/// How a main process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(into = "SavedOutcome")]
pub enum Outcome {
    /// It exited with this code.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// Its number.
        number: i32,
        /// Its name, such as "SIGKILL": the edge knows it, the supervisor only repeats it.
        name: &'static str,
    },
    /// It ended while nobody looked.
    Unknown,
}

/// An outcome as it is saved: the signal's name follows from its number.
#[derive(serde::Serialize, serde::Deserialize)]
enum SavedOutcome {
    Code(i32),
    Signal(i32),
    Unknown,
}

impl From<Outcome> for SavedOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Code(code) => Self::Code(code),
            Outcome::Signal { number, .. } => Self::Signal(number),
            Outcome::Unknown => Self::Unknown,
        }
    }
}

impl From<SavedOutcome> for Outcome {
    fn from(saved: SavedOutcome) -> Self {
        match saved {
            SavedOutcome::Code(code) => Self::Code(code),
            SavedOutcome::Signal(number) => Self::Signal { number, name: crate::signal::name(number) },
            SavedOutcome::Unknown => Self::Unknown,
        }
    }
}

// By hand: derived, it would want to borrow the name from what is read.
impl<'de> serde::Deserialize<'de> for Outcome {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        SavedOutcome::deserialize(deserializer).map(Self::from)
    }
}

//! The Plan: the checked, immutable configuration. What the rest of the house reads.
//!
//! `config` makes it from copo.toml; everything here is already checked, every default already filled in.

mod attributes;
mod extra_env;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use attributes::{Account, Attributes, Limit, Resource};

use crate::supervisor::cron::Schedule;

mod readiness;
mod restarts;
mod schedules;

pub use extra_env::{ExtraEnv, Port};
pub use readiness::{Address, Check, Pattern, Probe, Readiness};
pub use restarts::{Backoff, LimitReached, OnDependenceRestart, RestartLimit, RestartPolicy};
pub use schedules::{CatchUp, CatchUpRuns};

/// One application.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Name of the application.
    pub application: String,
    /// Absolute path of the copo.toml.
    pub config_path: PathBuf,
    /// What holds for the context.
    pub context: ContextSpec,
    /// What all logs of processes may hold together, in bytes; `None`: what each may hold.
    pub log_total: Option<u64>,
    /// The processes, in the order of the file. [`PrcId`] is the place in it.
    pub processes: Vec<ProcessSpec>,
}

/// Instances of one process at most: who writes more has mistyped.
pub const MAX_REPLICAS: u32 = 10_000;

/// A process's place in [`Plan::processes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrcId(pub usize);

/// What holds for the context.
#[derive(Debug, Clone, PartialEq)]
pub struct ContextSpec {
    /// Names of the fields of a record; `None` when the file does not say.
    pub headers: Option<Vec<String>>,
    /// How safe a record is before anyone sees it or its acknowledgement.
    pub durability: Durability,
    /// What is kept.
    pub retain: Retain,
    /// Who gives way when a reader is slow.
    pub when_full: WhenFull,
    /// With `when_full = "wait"`: for how long one subscriber may hold publishers up.
    pub wait_limit: Duration,
    /// Largest `udd_buff` and `report_buff`, in bytes.
    pub max_record: usize,
}

/// How safe a record is before anyone sees it or its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// In the orchestrator's memory only.
    Memory,
    /// Survives the orchestrator's death: it is in the kernel.
    Crash,
    /// Survives a cut of the power: it is on the disk.
    Power,
}

/// What is kept; each limit holds by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retain {
    /// Newest records kept.
    pub records: u64,
    /// Bytes of newest records' frames kept.
    pub bytes: u64,
    /// Age up to which records are kept.
    pub age: Duration,
    /// Keys whose newest record stays readable beyond the other limits.
    pub keys: usize,
    /// Newest reports kept.
    pub reports: u64,
}

/// Who gives way when a reader is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The reader: it is told the gap.
    Trim,
    /// The publishers, for at most `wait_limit` per subscriber.
    Wait,
}

/// One configured process.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessSpec {
    /// Its name.
    pub name: String,
    /// The groups it is in: `@<group>` means all processes of one.
    pub groups: Vec<String>,
    /// The program as configured: with a slash it is absolute here, without one it is looked for on PATH at spawn.
    pub executable_path: PathBuf,
    /// The script, absolute: first argument.
    pub file_path: Option<PathBuf>,
    /// Further arguments, verbatim.
    pub args: Vec<String>,
    /// Working folder, absolute.
    pub cwd: PathBuf,
    /// Set in the environment, after `env_file`.
    pub env: BTreeMap<String, String>,
    /// Read at each start, absolute.
    pub env_file: Option<PathBuf>,
    /// Secrets and ports.
    pub extra_env: ExtraEnv,
    /// What must hold before a run starts. For dependence_finish the sources are in [`Trigger::DependenceFinish`].
    pub depends_on: Vec<Dependence>,
    /// Why a run starts.
    pub trigger: Trigger,
    /// What becomes of scheduled times that passed unseen; `None`: nothing, but that one is never too late for an
    /// orchestrator at work.
    pub catch_up: Option<CatchUp>,
    /// A scheduled time fires by up to as much later, each by as much whenever it is asked.
    pub jitter: Duration,
    /// How long a run may last.
    pub run_timeout: Option<Duration>,
    /// What happens when it fires while a run is under way.
    pub overlap: Overlap,
    /// Instances at most, with [`Overlap::Allow`].
    pub max_instances: u32,
    /// Instances at `up`.
    pub replicas: u32,
    /// When a run counts as ready.
    pub ready: Readiness,
    /// Whether a run has started up: only then its other probes begin.
    pub startup: Option<Probe>,
    /// Whether a run that has been ready is alive.
    pub liveness: Option<Probe>,
    /// Whether a run reads what it follows.
    pub progress: Option<Probe>,
    /// How often a run that has been ready gives a sign of life (sd_notify's WATCHDOG).
    pub watchdog: Option<Duration>,
    /// It is given a NOTIFY_SOCKET whatever its readiness.
    pub notify: bool,
    /// After how long a run that is not ready yet is reported `not_ready` (and treated as failed).
    pub ready_timeout: Duration,
    /// Whether a new run follows an end.
    pub restart: RestartPolicy,
    /// Delays between restarts.
    pub backoff: Backoff,
    /// How many restarts are too many; `None`: it is restarted for ever.
    pub restart_limit: Option<RestartLimit>,
    /// What becomes of its runs when what they depend on ends.
    pub on_dependence_restart: OnDependenceRestart,
    /// The application ends, with its exit code, when it finishes.
    pub significant: bool,
    /// Exit codes that mean success.
    pub success_exit_codes: Vec<i32>,
    /// The signal that asks a run to stop, by name ("SIGTERM").
    pub stop_signal: String,
    /// From the stop request to the kill.
    pub stop_grace: Duration,
    /// May its runs control others?
    pub control: bool,
    /// Rotation of its log.
    pub log: LogSpec,
    /// Where its stdin comes from.
    pub stdin: Stdin,
    /// As whom it runs, and how much of the machine it may have.
    pub attributes: Attributes,
}

/// What must hold of another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dependence {
    /// The other process.
    pub process: PrcId,
    /// What must hold of all its instances.
    pub condition: Condition,
}

/// What may be asked of a dependence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Its program runs.
    Started,
    /// It is ready.
    Ready,
    /// Its last finish was a success.
    Succeeded,
    /// Its last finish was a failure.
    Failed,
    /// It has finished.
    Finished,
}

/// Why a run starts.
#[derive(Debug, Clone, PartialEq)]
pub enum Trigger {
    /// With the application.
    OnStart,
    /// When a person or a process asks.
    Manual,
    /// At the times of a schedule.
    Cron(Schedule),
    /// When all its sources have finished since it last fired.
    DependenceFinish {
        /// The processes whose finish counts.
        sources: Vec<PrcId>,
        /// Which finishes fire it.
        on: FinishKind,
    },
}

impl Trigger {
    /// As written in copo.toml.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::OnStart => "on_start",
            Self::Manual => "manual",
            Self::Cron(_) => "cron",
            Self::DependenceFinish { .. } => "dependence_finish",
        }
    }
}

/// Which finishes fire a dependence_finish trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishKind {
    /// All succeeded.
    Succeeded,
    /// At least one failed.
    Failed,
    /// Any.
    Finished,
}

/// What happens when a trigger fires while a run is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// Nothing; it is reported (CONFLICT for a person).
    Skip,
    /// One run follows the present one.
    Queue,
    /// The present run is stopped, then the new one starts.
    Replace,
    /// Another instance starts, up to `max_instances`.
    Allow,
}

/// Rotation of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSpec {
    /// Size at which the file is rotated, in bytes.
    pub size: u64,
    /// Files kept, the current one included.
    pub files: u32,
}

/// Where a child's stdin comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// The null device.
    Null,
    /// Whoever is attached first to `<process>/stdio`.
    Attach,
    /// So, through a terminal of its own, which is its stdout and stderr too.
    Terminal,
}

impl ProcessSpec {
    /// How many instances there may be at the same time.
    #[must_use]
    pub fn most_instances(&self) -> u32 {
        match self.overlap {
            Overlap::Allow => self.replicas.max(self.max_instances),
            Overlap::Skip | Overlap::Queue | Overlap::Replace => self.replicas,
        }
    }

    /// Every id of another process in it: a new field that holds one is named here.
    pub fn others_mut(&mut self) -> impl Iterator<Item = &mut PrcId> {
        let sources = match &mut self.trigger {
            Trigger::DependenceFinish { sources, .. } => sources.as_mut_slice(),
            Trigger::OnStart | Trigger::Manual | Trigger::Cron(_) => &mut [],
        };
        self.depends_on.iter_mut().map(|dependence| &mut dependence.process).chain(sources)
    }
}

impl Plan {
    /// The process of this id.
    #[must_use]
    pub fn process(&self, prc: PrcId) -> &ProcessSpec {
        &self.processes[prc.0]
    }

    /// The process of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<PrcId> {
        self.processes.iter().position(|process| process.name == name).map(PrcId)
    }

    /// The processes of a group.
    pub fn members(&self, group: &str) -> impl Iterator<Item = PrcId> {
        let is_in = move |prc: &PrcId| self.process(*prc).groups.iter().any(|name| name == group);
        self.ids().filter(is_in)
    }

    /// All ids, in the order of the file.
    pub fn ids(&self) -> impl Iterator<Item = PrcId> + use<> {
        (0..self.processes.len()).map(PrcId)
    }
}

//! copo.toml as written: one type per table. What it means is decided in `process` and `application`.
//!
//! The doc comments and the defaults named here are what `copo schema` prints; a test holds the defaults against those
//! that the Plan gets.

use schemars::JsonSchema;
use serde::Deserialize;

use super::at::{At, Entries};
use super::attributes::{RawAccount, RawLimit, RawMode};
use super::choice::{RawCondition, RawDurability, RawOverlap, RawStdin, RawTriggerType, RawWhenFull};
use super::extra_env::RawPort;
use super::quantity::{RawDuration, RawSignal, RawSize};
use super::readiness::{RawProbe, RawReady};
use super::restarts::{RawBackoff, RawOnDependenceRestart, RawRestart, RawRestartLimit};
use super::schedules::RawCatchUp;

/// One application: its processes and the context they share.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[schemars(title = "copo.toml")]
pub(super) struct RawFile {
    /// Name of the application: letters, digits, '.', '_' and '-', at most 63.
    #[schemars(required)]
    pub application: Option<At<String>>,
    /// What holds for the shared context.
    #[serde(default)]
    pub context: RawContext,
    /// What holds for the logs of all processes.
    #[serde(default)]
    pub log: RawLogs,
    /// The processes by name.
    #[serde(default)]
    pub process: Entries<RawProcess>,
}

/// What holds for the logs of all processes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Logs")]
pub(super) struct RawLogs {
    /// What they may hold together: when a log is rotated, the oldest rotated files of all go first, a current file never.
    /// Default: what each may hold.
    pub total: Option<RawSize>,
}

/// What holds for the shared context.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Context")]
pub(super) struct RawContext {
    /// Names of the fields of a record, for whoever reads it; the server never looks into records.
    pub headers: Option<Vec<String>>,
    /// How safe a record is before anyone sees it: in memory; past a kill of copo; past a cut of the power.
    #[schemars(extend("default" = "crash"))]
    pub durability: Option<RawDurability>,
    /// What is kept.
    pub retain: RawRetain,
    /// Who gives way when a reader is slow: the reader ("trim", it is told the gap) or the publishers ("wait").
    #[schemars(extend("default" = "trim"))]
    pub when_full: Option<RawWhenFull>,
    /// With when_full = "wait": for how long one subscriber may hold publishers up.
    #[schemars(extend("default" = "5s"))]
    pub wait_limit: Option<RawDuration>,
    /// Largest record and report.
    #[schemars(extend("default" = "64MiB"))]
    pub max_record: Option<At<RawSize>>,
}

/// What is kept; each limit holds by itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Retain")]
pub(super) struct RawRetain {
    /// Newest records kept.
    #[schemars(extend("default" = 1_000_000))]
    pub records: Option<u64>,
    /// Bytes of newest records kept.
    #[schemars(extend("default" = "256MiB"))]
    pub bytes: Option<RawSize>,
    /// Age up to which records are kept.
    #[schemars(extend("default" = "7d"))]
    pub age: Option<RawDuration>,
    /// Keys whose newest record stays readable beyond the other limits.
    #[schemars(extend("default" = 10_000))]
    pub keys: Option<usize>,
    /// Newest reports kept.
    #[schemars(extend("default" = 100_000))]
    pub reports: Option<u64>,
}

/// One process.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[schemars(rename = "Process")]
pub(super) struct RawProcess {
    /// The program: found on PATH if it has no slash, else relative to this file's folder.
    #[schemars(required)]
    pub executable_path: Option<At<String>>,
    /// The script, relative to this file's folder: the first argument.
    pub file_path: Option<At<String>>,
    /// Further arguments, passed on as they are.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub args: Vec<At<String>>,
    /// The groups it is in: `@<group>` stands for all processes of one, wherever a name may stand.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub groups: Vec<At<String>>,
    /// Working folder, relative to this file's folder, which is the default.
    pub cwd: Option<At<String>>,
    /// Set in the environment, after env_file.
    #[serde(default)]
    pub env: Entries<At<String>>,
    /// A file of KEY=VALUE lines set in the environment, read at each start; relative to this file's folder.
    pub env_file: Option<At<String>>,
    /// Names of variables whose values are never printed, wherever they are set.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub secrets: Vec<At<String>>,
    /// Variables and the files that hold their values, read at each start, without the line end behind them; relative to
    /// this file's folder. They are secrets.
    #[serde(default)]
    pub secret_file: Entries<At<String>>,
    /// A free loopback port for each instance, given in PORT: true is any, a number is the first that is free from it on,
    /// or a table with another variable. An instance keeps its port over restarts.
    pub port: Option<At<RawPort>>,
    /// What must hold before a run starts: names (which must be ready), or tables with a condition. With a
    /// dependence_finish trigger the plain names are the sources.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub depends_on: Vec<At<RawDependence>>,
    /// Why a run starts.
    #[schemars(extend("default" = "on_start"))]
    pub trigger_type: Option<RawTriggerType>,
    /// cron: 5 or 6 fields, or @daily and the like. dependence_finish: "succeeded" (default), "failed" or "finished".
    pub trigger_definition: Option<At<String>>,
    /// Time zone of a cron trigger, such as "Europe/Vienna"; the system's by default.
    pub timezone: Option<At<String>>,
    /// What becomes of times of a cron trigger that passed unseen, because the orchestrator was down, the machine slept or
    /// the clock was set: those as long ago run all the same. Default: what passed while it was down does not run.
    pub catch_up: Option<At<RawCatchUp>>,
    /// A cron trigger fires up to as much later than its schedule says, at random. Default: in time.
    pub jitter: Option<At<RawDuration>>,
    /// How long a run may last: it is stopped then, and has failed. Default: for ever.
    pub run_timeout: Option<At<RawDuration>>,
    /// What happens when the trigger fires while a run is under way. Default: "queue" for dependence_finish, else
    /// "skip".
    pub overlap: Option<RawOverlap>,
    /// Instances at most, with overlap = "allow". Default: 10, or replicas if that is more.
    pub max_instances: Option<At<u32>>,
    /// Instances at `copo up`.
    #[schemars(extend("default" = 1))]
    pub replicas: Option<At<u32>>,
    /// When a run counts as ready: as soon as its program runs, when it says so through the SDK or to NOTIFY_SOCKET, or while
    /// a probe says so.
    #[schemars(extend("default" = "started"))]
    pub ready: Option<At<RawReady>>,
    /// Whether a run has started up: its other probes wait for that. Bad: it is stopped, and the restart policy decides.
    pub startup: Option<At<RawProbe>>,
    /// Whether a run that has been ready is alive. Bad: it is stopped, and the restart policy decides.
    pub liveness: Option<At<RawProbe>>,
    /// A run that follows records and has read none for so long, while there are some to read, is not alive.
    pub progress: Option<At<RawDuration>>,
    /// A run that has been ready and has not sent WATCHDOG=1 to NOTIFY_SOCKET for so long is not alive.
    pub watchdog: Option<At<RawDuration>>,
    /// Is it given a NOTIFY_SOCKET, also where neither ready nor watchdog asks for one?
    #[schemars(extend("default" = false))]
    pub notify: Option<At<bool>>,
    /// After how long a run that is not ready has failed.
    #[schemars(extend("default" = "60s"))]
    pub ready_timeout: Option<At<RawDuration>>,
    /// Whether a new run follows an end. Default: "on_failure" for on_start, else "no".
    pub restart: Option<RawRestart>,
    /// Delays between restarts; the first restart comes at once.
    pub backoff: Option<At<RawBackoff>>,
    /// How many restarts within a window are too many, and what happens instead of one more. Default: it is restarted for
    /// ever.
    pub restart_limit: Option<RawRestartLimit>,
    /// What becomes of its runs when a run of what they depend on (started or ready) ends: nothing, they are restarted once
    /// that is there again, or they are stopped.
    #[schemars(extend("default" = "ignore"))]
    pub on_dependence_restart: Option<RawOnDependenceRestart>,
    /// Does the application end, with its exit code, when it finishes: when a run ends and no restart follows?
    #[schemars(extend("default" = false))]
    pub significant: Option<bool>,
    /// Exit codes that mean success.
    #[schemars(extend("default" = [0]))]
    pub success_exit_codes: Option<Vec<At<i64>>>,
    /// The signal that asks a run to stop.
    #[schemars(extend("default" = "SIGTERM"))]
    pub stop_signal: Option<RawSignal>,
    /// From the request to stop to the kill.
    #[schemars(extend("default" = "10s"))]
    pub stop_grace: Option<RawDuration>,
    /// May its runs start, stop and signal others?
    #[schemars(extend("default" = false))]
    pub control: Option<bool>,
    /// Rotation of its log.
    #[serde(default)]
    pub log: RawLog,
    /// Where its stdin comes from: nowhere, or whoever attaches first.
    #[schemars(extend("default" = "null"))]
    pub stdin: Option<At<RawStdin>>,
    /// Is its stdin, stdout and stderr a terminal of its own? `stdin` is "attach" then. Not on Windows.
    #[schemars(extend("default" = false))]
    pub tty: Option<At<bool>>,
    /// The user it runs as, by name or number; only root can start a process as another. Not on Windows.
    pub user: Option<At<RawAccount>>,
    /// The group it runs in; the user's own by default. Not on Windows.
    pub group: Option<At<RawAccount>>,
    /// The permissions that new files do not get. Not on Windows.
    pub umask: Option<At<RawMode>>,
    /// Its niceness, from -20 (first) to 19 (last). Not on Windows.
    pub nice: Option<At<i64>>,
    /// Limits of resources (setrlimit) by name, such as nofile, core, as, cpu, nproc. Not on Windows.
    #[serde(default)]
    pub limits: Entries<At<RawLimit>>,
    /// The most memory that a run and all it starts may use (Linux with a writable cgroup v2; elsewhere it is told to
    /// be without effect).
    pub memory: Option<At<RawSize>>,
    /// The most processors that a run and all it starts may use, such as 0.5 (as `memory`).
    pub cpu: Option<At<f64>>,
}

/// Rotation of a log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[schemars(rename = "Log")]
pub(super) struct RawLog {
    /// Size at which the file is rotated.
    #[schemars(extend("default" = "10MiB"))]
    pub size: Option<At<RawSize>>,
    /// Files kept, the current one included.
    #[schemars(extend("default" = 5))]
    pub files: Option<At<u32>>,
}

/// A dependence: a name, or a name and a condition.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
#[schemars(rename = "Dependence")]
pub(super) enum RawDependence {
    /// The name of a process that must be ready.
    Name(String),
    /// The name of a process and what must hold of it.
    Gate(RawGate),
}

/// The name of a process and what must hold of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[schemars(rename = "Gate")]
pub(super) struct RawGate {
    /// The process.
    #[schemars(required)]
    pub process: Option<String>,
    /// What must hold of all its instances.
    #[schemars(extend("default" = "ready"))]
    pub condition: Option<RawCondition>,
}

//! What can be typed. Only words and their forms; what they do stands in the other files of this folder.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Starts, supervises and stops the processes of one application, and gives them one shared, ordered, replayable context.
#[derive(Debug, Parser)]
#[command(name = "copo", version, disable_help_subcommand = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub place: Place,
    #[command(subcommand)]
    pub command: Command,
}

/// Which application is meant.
#[derive(Debug, Clone, Default, Args)]
pub struct Place {
    /// The application's copo.toml [default: looked for here and upwards].
    #[arg(short, long, global = true, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// The application, by name.
    #[arg(short, long, global = true, value_name = "NAME")]
    pub application: Option<String>,
}

/// `--file` of a command whose `-f` means "follow". It has the id of the global one, so clap leaves that one out here and
/// still hands its value up to [`Place`].
#[derive(Debug, Args)]
pub struct FileByLongName {
    /// The application's copo.toml [default: looked for here and upwards].
    #[arg(id = "file", long = "file", value_name = "PATH")]
    _file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the application, or bring it in line with copo.toml, and follow its logs; Ctrl-C stops it.
    Up(Up),
    /// Show what `up` would change: exit code 0 if nothing, 1 if something.
    Diff(Diff),
    /// Stop everything in reverse dependency order and end the orchestrator.
    Down(Down),
    /// Wait until processes are ready or finished, or a record is there.
    Wait(Wait),
    /// Show the processes and what they are doing.
    Ps(Ps),
    /// Start processes and what they depend on.
    Start(Names),
    /// Stop processes; their triggers rest until they are started again.
    Stop(Names),
    /// Stop processes, then start them.
    Restart(Names),
    /// Run a process once, now, whatever its trigger.
    Trigger(Trigger),
    /// Send a signal to a process and all it has started.
    Kill(Kill),
    /// Change how many instances processes have, until the next `up`.
    Scale(Scale),
    /// Show the runs of processes: why and when they started, and how they ended.
    Runs(super::runs::Runs),
    /// Show the schedules: their last time and their next.
    Timers(super::runs::Timers),
    /// Print what processes wrote to stdout and stderr.
    Logs(Logs),
    /// Connect this terminal to a process's live stdin, stdout and stderr.
    Attach(Attach),
    /// Send, read and follow records of the shared context.
    #[command(subcommand, arg_required_else_help = true)]
    Udd(Udd),
    /// Send a report about the application.
    Report(Report),
    /// Print the reports: what processes and the orchestrator said.
    Reports(Reports),
    /// Check copo.toml and show what would run.
    Check,
    /// Write a first copo.toml.
    Init,
    /// Print the JSON schema of copo.toml, for editors.
    Schema,
    /// Measure Copo on this machine, beside the machine's limit.
    #[cfg(unix)]
    #[command(subcommand, arg_required_else_help = true)]
    Bench(super::bench::args::Bench),
    /// Print completions for a shell.
    Completions(Completions),
    /// Print the version of this binary and of the running orchestrator.
    Version(Json),
    /// Put another binary in the place of the running orchestrator; what runs goes on.
    Upgrade(super::upgrade::Upgrade),
    /// The orchestrator itself, started by `up`.
    #[command(hide = true)]
    Orchestrate(super::launch::Orchestrate),
}

/// The commands as `copo --help` groups them.
pub const GROUPS: &[(&str, &[&str])] = &[
    ("The application", &["up", "diff", "down", "wait"]),
    (
        "Its processes",
        &["ps", "start", "stop", "restart", "trigger", "kill", "scale", "runs", "timers", "logs", "attach"],
    ),
    ("Its context", &["udd", "report", "reports"]),
    ("Its configuration", &["check", "init", "schema"]),
    #[cfg(unix)]
    ("Copo itself", &["upgrade", "bench", "completions", "version"]),
    #[cfg(windows)]
    ("Copo itself", &["upgrade", "completions", "version"]),
];

#[derive(Debug, Args)]
pub struct Up {
    /// Only these processes (or @groups) and what they depend on [default: all].
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Return as soon as the orchestrator answers; the application runs on in the background.
    #[arg(short, long)]
    pub detach: bool,
    /// Return once all on_start processes are ready or done; the application runs on in the background.
    #[arg(long)]
    pub wait: bool,
    /// With --wait: give up after so many seconds (exit code 124); the application runs on.
    #[arg(long, value_name = "S", requires = "wait", value_parser = seconds)]
    pub wait_timeout: Option<Duration>,
    /// When this process has finished, stop everything and exit with its exit code.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["detach", "wait"])]
    pub exit_on: Option<String>,
}

#[derive(Debug, Args)]
pub struct Diff {
    /// As `up` with these names would do.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Down {
    /// From the stop request to the kill, in seconds, instead of each process's stop_grace.
    #[arg(short, long, value_name = "S", value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// Empty the context as well.
    #[arg(long)]
    pub purge: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Condition {
    /// Every instance is ready (started, where it declares no readiness).
    Ready,
    /// Every instance has finished.
    Finished,
}

#[derive(Debug, Args)]
pub struct Wait {
    /// Processes, internal names or @groups.
    #[arg(required_unless_present = "record", conflicts_with = "record", value_name = "NAME")]
    pub names: Vec<String>,
    /// What to wait for: every instance is ready (started, where it declares no readiness), or has finished.
    #[arg(
        long = "for",
        value_enum,
        value_name = "ready|finished",
        default_value = "ready",
        hide_possible_values = true
    )]
    pub condition: Condition,
    /// Wait until there is a record with this key.
    #[arg(long, value_name = "KEY")]
    pub record: Option<String>,
    /// Give up after so many seconds (exit code 124).
    #[arg(short, long, value_name = "S", value_parser = seconds)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Json {
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Ps {
    /// Only these processes, internal names or @groups [default: all].
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Scale {
    /// Processes or @groups, each with the number of its instances.
    #[arg(required = true, value_name = "NAME=N", value_parser = name_and_number)]
    pub to: Vec<(String, u32)>,
    /// What changed, as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Names {
    /// Processes, internal names or @groups.
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Trigger {
    /// Process, internal name or @group.
    pub name: String,
    /// Return when the run has finished, with its exit code (128 + signal).
    #[arg(long)]
    pub wait: bool,
    /// Appended to the configured arguments of this run.
    #[arg(last = true)]
    pub args: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Kill {
    /// The signal, such as HUP or SIGHUP.
    #[arg(short, long, value_name = "SIG", default_value = "SIGTERM")]
    pub signal: String,
    /// Process, internal name or @group.
    pub name: String,
}

#[derive(Debug, Args)]
pub struct Logs {
    /// Processes, internal names or @groups [default: all].
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Go on with what is written from now on.
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last N lines of each.
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<usize>,
    /// Put the time each line was written in front of it.
    #[arg(short, long)]
    pub timestamps: bool,
    /// Print the lines as they are, without the name in front.
    #[arg(long)]
    pub no_prefix: bool,
    /// One JSON object per line.
    #[arg(long, conflicts_with_all = ["no_prefix", "timestamps"])]
    pub json: bool,
    #[command(flatten)]
    _file: FileByLongName,
}

#[derive(Debug, Args)]
pub struct Attach {
    /// Process or internal name.
    pub name: String,
}

#[derive(Debug, Subcommand)]
pub enum Udd {
    /// Append a record, and return when it is stored.
    Send(UddSend),
    /// Print the newest record.
    Get(UddGet),
    /// Follow the records.
    Tail(UddTail),
    /// Print the names of a record's fields, or replace them.
    Headers(UddHeaders),
    /// Forget all records.
    Purge,
}

#[derive(Debug, Args)]
pub struct UddSend {
    /// The record's key: "/"-separated segments of letters, digits, '.', '_', '~' and '-'.
    #[arg(short, long, value_name = "K", default_value = "")]
    pub key: String,
    /// Every line of stdin is a record of its own.
    #[arg(long, conflicts_with = "expect_seq")]
    pub lines: bool,
    /// Only if the key's newest record has this seq (0: if it has none); exit code 1 otherwise.
    #[arg(long, value_name = "SEQ")]
    pub expect_seq: Option<u64>,
    /// The record; "-" or nothing: all of stdin.
    pub data: Option<std::ffi::OsString>,
}

#[derive(Debug, Args)]
pub struct UddGet {
    /// Of this key [default: the newest of all].
    #[arg(short, long, value_name = "K")]
    pub key: Option<String>,
    /// The whole record as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Where `udd tail` begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With the oldest record there is.
    First,
    /// With the next one.
    New,
    /// With this Seq.
    Seq(u64),
}

#[derive(Debug, Args)]
pub struct UddTail {
    /// Only keys of this pattern: in place of a segment, '*' is exactly one and '**' any number.
    #[arg(short, long, value_name = "PATTERN")]
    pub key: Option<String>,
    /// Begin with the first record there is, the next new one, or the one of a seq.
    #[arg(long, value_name = "first|new|SEQ", default_value = "new", value_parser = from)]
    pub from: From,
    /// End after N records.
    #[arg(short = 'n', long = "count", value_name = "N")]
    pub count: Option<u64>,
    /// End with the newest record there is now.
    #[arg(long)]
    pub no_follow: bool,
    /// One JSON object per line.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct UddHeaders {
    /// The new names, in order [default: print the present ones].
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Report {
    /// The report; "-" or nothing: all of stdin.
    pub data: Option<std::ffi::OsString>,
}

#[derive(Debug, Args)]
pub struct Reports {
    /// Go on with what is reported from now on.
    #[arg(short, long)]
    pub follow: bool,
    /// One JSON object per line.
    #[arg(long)]
    pub json: bool,
    /// Only those of this process (or internal name, or @group), or about it.
    #[arg(long, value_name = "NAME")]
    pub process: Option<String>,
    /// Only the last N.
    #[arg(short = 'n', long = "count", value_name = "N")]
    pub count: Option<usize>,
    #[command(flatten)]
    _file: FileByLongName,
}

#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    pub shell: Shell,
}

/// "web=3"
fn name_and_number(text: &str) -> Result<(String, u32), String> {
    let (name, number) = text.rsplit_once('=').ok_or("NAME=N is wanted")?;
    let number = number.parse().map_err(|_| format!("{number:?} is no number of instances"))?;
    Ok((name.to_owned(), number))
}

/// Seconds as people write them: "5", "0.25".
fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "a number of seconds is wanted".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

fn from(text: &str) -> Result<From, String> {
    match text {
        "first" => Ok(From::First),
        "new" => Ok(From::New),
        seq => seq.parse().map(From::Seq).map_err(|_| "\"first\", \"new\" or a seq is wanted".to_owned()),
    }
}

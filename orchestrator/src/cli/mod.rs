//! The command line: reads what was typed, asks the orchestrator through the SDK (or the files, where it is to work
//! without one), and prints. It decides nothing about processes or records. One file per command group.

mod about;
mod args;
mod attach;
#[cfg(unix)]
mod bench;
mod changes;
mod configuration;
mod control;
mod down;
mod exit_on;
mod failure;
mod find;
mod foreground;
mod groups;
mod help;
mod history;
mod launch;
mod logs;
mod output;
mod ps;
mod reports;
mod runs;
mod scale;
mod signals;
mod terminal;
mod udd;
mod up;
mod upgrade;
mod wait;

use std::process::ExitCode;

use clap::FromArgMatches;

use args::{Cli, Command};
use failure::{Failure, Outcome, USAGE};

/// What `copo bench supervise` supervises: decided before anything is parsed.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn bench_child() -> Option<ExitCode> {
    bench::supervise::child::live()
}

/// What `copo bench supervise` supervises, where there is none.
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub fn bench_child() -> Option<ExitCode> {
    None
}

/// Parses, runs, and says how it went.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, message }) => {
            if let Some(message) = message {
                output::say(&message);
            }
            ExitCode::from(code)
        }
    }
}

fn run() -> Outcome {
    let parsed = help::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) => dispatch(cli),
        Err(error) => {
            // Help and version go to stdout with code 0, everything else to stderr with code 2; a reader that has gone
            // is no failure.
            let _ = error.print();
            Err(Failure::silent(u8::try_from(error.exit_code()).unwrap_or(USAGE)))
        }
    }
}

fn dispatch(cli: Cli) -> Outcome {
    let place = &cli.place;
    match &cli.command {
        Command::Up(up) => up::run(place, up),
        Command::Diff(diff) => changes::diff(place, diff),
        Command::Down(down) => down::run(place, down),
        Command::Wait(wait) => wait::run(place, wait),
        Command::Ps(ps) => ps::run(place, ps),
        Command::Start(names) => control::start(place, &names.names),
        Command::Stop(names) => control::stop(place, &names.names),
        Command::Restart(names) => control::restart(place, &names.names),
        Command::Trigger(trigger) => control::trigger(place, trigger),
        Command::Kill(kill) => control::kill(place, kill),
        Command::Runs(args) => runs::runs(place, args),
        Command::Timers(args) => runs::timers(place, args),
        Command::Scale(scale) => scale::run(place, scale),
        Command::Logs(logs) => logs::run(place, logs),
        Command::Attach(attach) => attach::run(place, &attach.name),
        Command::Udd(udd) => udd::run(place, udd),
        Command::Report(report) => reports::send(place, report),
        Command::Reports(reports) => reports::read(place, reports),
        Command::Check => configuration::check(place),
        Command::Init => configuration::init(place),
        Command::Schema => configuration::schema(),
        #[cfg(unix)]
        Command::Bench(bench) => bench::run(bench),
        Command::Completions(completions) => about::completions(completions.shell),
        Command::Version(json) => about::version(place, json.json),
        Command::Upgrade(upgrade) => upgrade::run(place, upgrade),
        Command::Orchestrate(orchestrate) => launch::orchestrate(orchestrate),
    }
}

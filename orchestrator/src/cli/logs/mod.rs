//! `copo logs`: reads the log files themselves, with or without an orchestrator, and follows them across rotation.
//!
//! A [`source::Source`] is one instance's chain of files, read line by line; a [`Follower`] merges several by the times
//! the lines were written at, and is woken by [`watch`] when a file grows. A reader of files pushes back on nobody.

mod chain;
mod follower;
mod format;
mod source;
mod watch;

use std::sync::mpsc;

use copo_orchestrator::config;
use copo_proto::name;

pub use follower::Follower;
pub use format::Format;
pub use source::Start;

use super::args::{Logs, Place};
use super::failure::{FAILED, Failure, NO_SUCH_NAME, Outcome};
use super::find::{self, Target};
use super::groups;

/// Which instances' logs are meant.
#[derive(Debug, Clone)]
pub struct Selection {
    names: Vec<String>,
}

impl Selection {
    /// All of them, also those that come later.
    pub fn everything() -> Self {
        Self { names: Vec::new() }
    }

    /// Is this instance meant: by its own name, by its process's, or because all are?
    fn has(&self, internal_name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| means(name, internal_name))
    }
}

fn means(name: &str, internal_name: &str) -> bool {
    name == internal_name || name::split_internal(internal_name).is_some_and(|(process, _)| process == name)
}

/// `copo logs [NAME…] [-f] [-n N] [-t] [--no-prefix] [--json]`
pub fn run(place: &Place, logs: &Logs) -> Outcome {
    let target = find::target(place)?;
    let folder = target.layout.logs();
    if !folder.is_dir() {
        let application = target.layout.application();
        return Err(Failure::new(FAILED, format!("cannot read the logs of {application}: it has never been started")));
    }
    let names = groups::expand(place, &target, &logs.names)?;
    check_names(place, &target, &names)?;
    let (wake, woken) = mpsc::sync_channel(1);
    let start = logs.lines.map_or(Start::First, Start::LastLines);
    let selection = Selection { names };
    // One waking that waits already stands for all that come until it is taken.
    let wake = move || {
        let _ = wake.try_send(());
    };
    let mut follower = Follower::open(&target.layout, selection, start, wake)?;
    follower.format(Format {
        prefix: !logs.no_prefix,
        timestamps: logs.timestamps,
        json: logs.json,
        ..Format::prefixed()
    });
    follower.print_new()?;
    if !logs.follow {
        return follower.finish();
    }
    while woken.recv().is_ok() {
        follower.print_new()?;
    }
    Ok(())
}

/// Every name must be of an instance that has a log, or of a process in copo.toml that has none yet.
fn check_names(place: &Place, target: &Target, names: &[String]) -> Outcome {
    let known = chain::instances(&target.layout.logs())?;
    let is_unknown = |name: &&String| !known.iter().any(|internal_name| means(name, internal_name));
    let Some(unknown) = names.iter().find(is_unknown) else { return Ok(()) };
    let plan = find::config_path(place).ok().and_then(|path| config::load(&path, target.layout.home()).ok());
    let of_plan = plan.filter(|plan| plan.application == target.layout.application());
    let process = name::split_internal(unknown).map_or(unknown.as_str(), |(process, _)| process);
    match of_plan {
        Some(plan) if plan.find(unknown).or_else(|| plan.find(process)).is_some() => Ok(()),
        Some(_) | None => Err(Failure::new(NO_SUCH_NAME, format!("cannot read the log of {unknown:?}: there is none"))),
    }
}

#[cfg(test)]
mod tests;

//! `copo runs` and `copo timers`: what schedules and other triggers have made of a process, and when they fire next.

use std::time::Duration;

use clap::Args;
use copo::v1::ProcessStatus;
use serde_json::{Value, json};

use super::args::Place;
use super::control;
use super::failure::{Failure, NO_SUCH_NAME, Outcome};
use super::find;
use super::groups;
use super::history::{self, PastRun};
use super::output::{Out, local_time, table};
use super::reports;

#[derive(Debug, Args)]
pub struct Runs {
    /// Processes, internal names or @groups [default: all].
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Only the last N.
    #[arg(short = 'n', long = "count", value_name = "N")]
    pub count: Option<usize>,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Timers {
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
}

/// `copo runs [NAME…] [-n N] [--json]`
pub fn runs(place: &Place, args: &Runs) -> Outcome {
    let target = find::target(place)?;
    let names = groups::expand(place, &target, &args.names)?;
    let client = target.connect_if_up()?;
    let mut runs = history::runs(reports::all(&target, client.as_ref())?.into_iter());
    let is_meant = |run: &PastRun, name: &str| run.process == name || run.internal_name.as_deref() == Some(name);
    if let Some(unknown) = names.iter().find(|name| !runs.iter().any(|run| is_meant(run, name))) {
        let known = match &client {
            Some(client) => control::processes(client)?,
            None => Vec::new(),
        };
        // What has never run is no unknown name.
        if !known.iter().any(|process| process.name == *unknown || process.internal_name == *unknown) {
            return Err(Failure::new(
                NO_SUCH_NAME,
                format!("cannot show the runs of {unknown:?}: nothing is called that"),
            ));
        }
    }
    runs.retain(|run| names.is_empty() || names.iter().any(|name| is_meant(run, name)));
    let first = args.count.map_or(0, |count| runs.len().saturating_sub(count));
    print(&runs[first..], args.json)
}

fn print(runs: &[PastRun], as_json: bool) -> Outcome {
    let mut out = Out::new();
    if as_json {
        out.json(&Value::Array(runs.iter().map(PastRun::to_json).collect()))?;
    } else {
        let head = ["PROCESS", "RUN", "TRIGGER", "SCHEDULED", "STARTED", "ENDED", "DURATION", "OUTCOME"];
        out.bytes(table(&head, &runs.iter().map(run_row).collect::<Vec<_>>()).as_bytes())?;
    }
    out.flush()
}

fn run_row(run: &PastRun) -> Vec<String> {
    vec![
        run.internal_name.clone().unwrap_or_else(|| run.process.clone()),
        run.run.clone().unwrap_or_default(),
        run.trigger.clone().unwrap_or_default(),
        run.scheduled_time.map(local_time).unwrap_or_default(),
        run.started_at.map(local_time).unwrap_or_default(),
        run.ended_at.map(local_time).unwrap_or_default(),
        run.duration().map(rounded).unwrap_or_default(),
        outcome(run),
    ]
}

/// "failed (exit code 3)", "stopped", "skipped (a run is under way)".
fn outcome(run: &PastRun) -> String {
    let code = run.exit_code.filter(|code| *code != 0).map(|code| format!("exit code {code}"));
    let why = run.reason.clone().or_else(|| run.signal.clone()).or(code);
    match why {
        Some(why) => format!("{} ({why})", run.outcome.name()),
        None => run.outcome.name().to_owned(),
    }
}

/// As exact as people care for.
fn rounded(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..60 => format!("{:.1}s", duration.as_secs_f64()),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600.. => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `copo timers [--json]`
pub fn timers(place: &Place, args: &Timers) -> Outcome {
    let target = find::target(place)?;
    let client = target.connect()?;
    let mut timers = control::processes(&client)?;
    timers.retain(|process| process.schedule.is_some());
    // The clock is the process's, not an instance's; the first one that is armed tells it.
    timers.sort_by(|one, other| one.name.cmp(&other.name).then(other.next_run.is_some().cmp(&one.next_run.is_some())));
    timers.dedup_by(|one, other| one.name == other.name);
    let runs = history::runs(reports::all(&target, Some(&client))?.into_iter());
    let last = |timer: &ProcessStatus| {
        let of_it = runs.iter().rev().filter(|run| run.process == timer.name && run.run.is_some());
        of_it.filter_map(|run| run.scheduled_time.map(|time| (time, run))).max_by_key(|(time, _)| *time)
    };
    let mut out = Out::new();
    if args.json {
        let timers = timers.iter().map(|timer| timer_json(timer, last(timer)));
        out.json(&Value::Array(timers.collect()))?;
    } else {
        let head = ["PROCESS", "SCHEDULE", "ZONE", "LAST", "OUTCOME", "NEXT", "STARTS"];
        let rows: Vec<Vec<String>> = timers.iter().map(|timer| timer_row(timer, last(timer))).collect();
        out.bytes(table(&head, &rows).as_bytes())?;
    }
    out.flush()
}

fn timer_row(timer: &ProcessStatus, last: Option<(u64, &PastRun)>) -> Vec<String> {
    vec![
        timer.name.clone(),
        timer.schedule.clone().unwrap_or_default(),
        timer.timezone.clone().unwrap_or_default(),
        last.map(|(time, _)| local_time(time)).unwrap_or_default(),
        last.map(|(_, run)| run.outcome.name().to_owned()).unwrap_or_default(),
        timer.next_run.map(local_time).unwrap_or_default(),
        timer.next_start.map(local_time).unwrap_or_default(),
    ]
}

fn timer_json(timer: &ProcessStatus, last: Option<(u64, &PastRun)>) -> Value {
    json!({
        "process": timer.name,
        "schedule": timer.schedule,
        "timezone": timer.timezone,
        "last": last.map(|(time, _)| time),
        "last_run": last.map(|(_, run)| run.to_json()),
        "next": timer.next_run,
        "next_start": timer.next_start,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_for_people() {
        let of = |millis| rounded(Duration::from_millis(millis));
        assert_eq!([of(7), of(1_250), of(61_000), of(7_260_000)], ["7ms", "1.2s", "1m01s", "2h01m"]);
    }
}

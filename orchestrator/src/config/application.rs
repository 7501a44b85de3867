//! What copo.toml means as a whole: [`RawFile`] → [`Plan`], and what must hold between its processes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use copo_proto::{MAX_RECORD, name};

use super::at::At;
use super::error::{Found, Problems, bare};
use super::process::{self, Surroundings};
use super::raw::{RawContext, RawFile, RawProcess, RawRetain};
use super::{cycle, zone};
use crate::layout::{Layout, MAX_SOCKET_PATH};
use crate::plan::{ContextSpec, Durability, Plan, ProcessSpec, Retain, WhenFull};

/// The most that `context.max_record` may be: a record is held in memory as one piece, by everyone who handles it.
const LARGEST_RECORD: u64 = 1 << 30;

/// Makes the Plan of what the file says. `config_path` is absolute; `home` is $COPO_HOME.
pub(super) fn plan(raw: RawFile, config_path: PathBuf, home: &Path) -> Result<Plan, Vec<Found>> {
    let mut problems = Problems::default();
    let application = application_name(raw.application, &mut problems);
    let context = context(raw.context, &mut problems);
    let log_total = raw.log.total.map(|total| total.0);
    let names: Vec<At<String>> = raw.process.0.iter().map(|(name, _)| name.clone()).collect();
    check_names(&names, &mut problems);
    let folder = config_path.parent().unwrap_or(&config_path).to_owned();
    let processes = processes(raw.process.0, &folder, &mut problems);
    if let Some(application) = &application {
        check_sockets(&Layout::new(home, &application.value), application, &names, &processes, &mut problems);
    }
    match application {
        Some(application) if problems.0.is_empty() => {
            Ok(Plan { application: application.value, config_path, context, log_total, processes })
        }
        Some(_) | None => Err(problems.0),
    }
}

fn application_name(raw: Option<At<String>>, problems: &mut Problems) -> Option<At<String>> {
    let Some(application) = raw else {
        let message = "cannot name the application: application is missing, such as application = \"weather\"";
        problems.push(0..0, message.to_owned());
        return None;
    };
    if let Err(why) = name::check(&application.value) {
        let message = format!("cannot use {:?} as the application's name: {why}", application.value);
        problems.push(application.span.clone(), message);
        return None;
    }
    Some(application)
}

fn context(raw: RawContext, problems: &mut Problems) -> ContextSpec {
    let max_record = raw.max_record.map_or(MAX_RECORD as u64, |size| {
        if !(1..=LARGEST_RECORD).contains(&size.value.0) {
            problems.push(size.span, "cannot use context.max_record: it may be from 1 byte to 1GiB".to_owned());
        }
        size.value.0
    });
    ContextSpec {
        headers: raw.headers,
        durability: raw.durability.map_or(Durability::Crash, Into::into),
        retain: retain(&raw.retain),
        when_full: raw.when_full.map_or(WhenFull::Trim, Into::into),
        wait_limit: raw.wait_limit.map_or(Duration::from_secs(5), |limit| limit.0),
        max_record: usize::try_from(max_record).unwrap_or(MAX_RECORD),
    }
}

fn retain(raw: &RawRetain) -> Retain {
    Retain {
        records: raw.records.unwrap_or(1_000_000),
        bytes: raw.bytes.map_or(256 << 20, |bytes| bytes.0),
        age: raw.age.map_or(Duration::from_secs(7 * 86_400), |age| age.0),
        keys: raw.keys.unwrap_or(10_000),
        reports: raw.reports.unwrap_or(100_000),
    }
}

/// Each name is a file name, and none can be taken for another's, or for an instance of another's.
fn check_names(names: &[At<String>], problems: &mut Problems) {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for At { span, value } in names {
        if let Err(why) = name::check(value) {
            problems.push(span.clone(), format!("cannot use {value:?} as a process's name: {why}"));
        } else if let Some(other) = seen.insert(value.to_ascii_lowercase(), value) {
            let why = "they differ only in case, and some file systems ignore that";
            problems.push(span.clone(), format!("cannot have both processes {other:?} and {value:?}: {why}"));
        }
    }
    for At { span, value } in names {
        let Some((base, number)) = name::split_internal(value) else { continue };
        if let Some(other) = seen.get(&base.to_ascii_lowercase()) {
            let why = format!("instance {number} of process {other:?} is called so");
            problems.push(span.clone(), format!("cannot name a process {value:?}: {why}"));
        }
    }
}

/// Every process on its own, then their dependences on each other.
fn processes(raw: Vec<(At<String>, RawProcess)>, folder: &Path, problems: &mut Problems) -> Vec<ProcessSpec> {
    let names: Vec<String> = raw.iter().map(|(name, _)| name.value.clone()).collect();
    let places = names.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    let surroundings = Surroundings { folder, names: &places, system_zone: zone::system() };
    let mut dependences = Vec::with_capacity(raw.len());
    let mut specs = Vec::with_capacity(raw.len());
    for (name, raw) in raw {
        let (spec, resolved) = process::spec(name, raw, &surroundings, problems);
        specs.push(spec);
        dependences.push(resolved);
    }
    for circle in cycle::find(&dependences) {
        let (first, next) = (circle[0], circle[1 % circle.len()]);
        let edge = dependences[first].iter().find(|edge| edge.value == next);
        let walk: Vec<_> = circle.iter().chain([&first]).map(|&index| bare(&names[index])).collect();
        let message = format!("cannot order the processes: depends_on has a cycle: {}", walk.join(" -> "));
        problems.push(edge.map_or(0..0, |edge| edge.span.clone()), message);
    }
    specs
}

/// The path of a Unix domain socket has a limit far below that of a file.
fn check_sockets(
    layout: &Layout,
    application: &At<String>,
    names: &[At<String>],
    specs: &[ProcessSpec],
    problems: &mut Problems,
) {
    let excess = |path: PathBuf| {
        let length = path.as_os_str().len();
        let advice = "a shorter COPO_HOME or name helps";
        (length > MAX_SOCKET_PATH).then(|| {
            format!("its socket {} has {length} bytes, {MAX_SOCKET_PATH} are possible; {advice}", path.display())
        })
    };
    if let Some(why) = excess(layout.socket()) {
        let message = format!("cannot use application {:?}: {why}", application.value);
        return problems.push(application.span.clone(), message);
    }
    let is_name = |(at, _): &(&At<String>, &ProcessSpec)| name::check(&at.value).is_ok();
    for (At { span, value }, spec) in names.iter().zip(specs).filter(is_name) {
        let instances = spec.most_instances();
        let notify = spec.has_notify_socket().then(|| layout.notify(&name::internal(value, instances)));
        if let Some(why) = notify
            .and_then(&excess)
            .or_else(|| excess(layout.longest_socket([(value.as_str(), instances)].into_iter())))
        {
            problems.push(span.clone(), format!("cannot use process {value:?}: {why}"));
        }
    }
}

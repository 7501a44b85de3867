//! `copo check`, `copo init`, `copo schema`: about copo.toml.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use copo_orchestrator::config;
use copo_orchestrator::plan::{Condition, Plan, ProcessSpec, RestartPolicy, Trigger};
use copo_orchestrator::runtime;
use copo_proto::name;

use super::args::Place;
use super::failure::{FAILED, Failure, Outcome};
use super::find;
use super::output::{self, Out, table};

/// `copo check`: what would run, or all that is wrong (exit code 2).
pub fn check(place: &Place) -> Outcome {
    let plan = find::plan(place)?;
    let mut out = Out::new();
    let count = plan.processes.len();
    let processes = if count == 1 { "process" } else { "processes" };
    out.line(&format!("{}: {count} {processes}, {}", plan.application, plan.config_path.display()))?;
    if count > 0 {
        let head = ["PROCESS", "STARTS", "AFTER", "RESTARTS", "RUNS"];
        let rows: Vec<Vec<String>> = plan.processes.iter().map(|process| row(&plan, process)).collect();
        out.bytes(table(&head, &rows).as_bytes())?;
    }
    out.flush()?;
    note_limits(&plan);
    Ok(())
}

/// What is written and cannot be kept on this machine.
fn note_limits(plan: &Plan) {
    let limited = plan.processes.iter().filter(|process| process.attributes.wants_controllers());
    let names: Vec<&str> = limited.map(|process| process.name.as_str()).collect();
    if !names.is_empty()
        && let Some(why) = runtime::why_no_limits()
    {
        output::say(&format!("note: cannot limit memory and cpu of {} here: {why}", names.join(", ")));
    }
}

fn row(plan: &Plan, process: &ProcessSpec) -> Vec<String> {
    let after: Vec<String> = process
        .depends_on
        .iter()
        .map(|dependence| format!("{} {}", plan.process(dependence.process).name, condition_name(dependence.condition)))
        .collect();
    let name =
        if process.replicas == 1 { process.name.clone() } else { format!("{} ×{}", process.name, process.replicas) };
    vec![name, starts(plan, &process.trigger), after.join(", "), restarts(process.restart).to_owned(), runs(process)]
}

fn starts(plan: &Plan, trigger: &Trigger) -> String {
    match trigger {
        Trigger::OnStart | Trigger::Manual => trigger.type_name().to_owned(),
        Trigger::Cron(schedule) => format!("cron ({})", schedule.zone()),
        Trigger::DependenceFinish { sources, .. } => {
            let sources: Vec<&str> = sources.iter().map(|source| plan.process(*source).name.as_str()).collect();
            format!("when {} finished", sources.join(", "))
        }
    }
}

fn condition_name(condition: Condition) -> &'static str {
    match condition {
        Condition::Started => "started",
        Condition::Ready => "ready",
        Condition::Succeeded => "succeeded",
        Condition::Failed => "failed",
        Condition::Finished => "finished",
    }
}

fn restarts(policy: RestartPolicy) -> &'static str {
    match policy {
        RestartPolicy::No => "no",
        RestartPolicy::OnFailure => "on_failure",
        RestartPolicy::Always => "always",
    }
}

/// The command line, as far as people want to see it.
fn runs(process: &ProcessSpec) -> String {
    let paths = [Some(&process.executable_path), process.file_path.as_ref()];
    let paths = paths.into_iter().flatten().map(|path| path.display().to_string());
    paths.chain(process.args.iter().cloned()).collect::<Vec<_>>().join(" ")
}

/// `copo init`: a first copo.toml here, or where `-f` says.
pub fn init(place: &Place) -> Outcome {
    let path = place.file.clone().unwrap_or_else(|| config::FILE_NAME.into());
    let application = place.application.clone().map_or_else(|| application_for(&path), Ok)?;
    let cannot = |why: &dyn std::fmt::Display| Failure::new(FAILED, format!("cannot write {}: {why}", path.display()));
    name::check(&application).map_err(|why| cannot(&format!("{application:?} can be no application's name: {why}")))?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => cannot(&"it is there already"),
        _ => cannot(&error),
    })?;
    file.write_all(first_file(&application).as_bytes()).map_err(|error| cannot(&error))?;
    output::say(&format!("wrote {}; copo up starts it", path.display()));
    Ok(())
}

/// The folder's name, made fit to be an application's.
fn application_for(path: &Path) -> Result<String, Failure> {
    let absolute =
        std::path::absolute(path).map_err(|error| Failure::io(format!("find {}", path.display()), &error))?;
    let folder = absolute.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    Ok(fit(&folder.unwrap_or_default()))
}

fn fit(folder: &str) -> String {
    let fitting = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let fit: String = folder.chars().map(fitting).collect();
    let fit = fit.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let fit = &fit[..fit.len().min(name::MAX_NAME)];
    if fit.is_empty() { "app".to_owned() } else { fit.to_owned() }
}

/// The starter file, under its application's own name.
fn first_file(application: &str) -> String {
    config::STARTER.replacen("application = \"hello\"", &format!("application = {application:?}"), 1)
}

/// `copo schema`
pub fn schema() -> Outcome {
    let mut out = Out::new();
    out.line(&format!("{:#}", config::schema()))?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_folder_gives_an_application_its_name() {
        assert_eq!(fit("weather"), "weather");
        assert_eq!(fit(".my app"), "my-app");
        assert_eq!(fit("ä"), "app");
        assert_eq!(fit(&"x".repeat(99)).len(), name::MAX_NAME);
        for folder in ["weather", ".my app", "ä", "", "__x"] {
            assert_eq!(name::check(&fit(folder)), Ok(()), "{folder}");
        }
    }

    #[test]
    fn the_first_file_is_a_right_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(config::FILE_NAME);
        std::fs::write(&path, first_file("shop")).expect("written");
        let plan = config::load(&path, folder.path()).expect("right");
        assert_eq!(plan.application, "shop");
        assert!(!plan.processes.is_empty());
    }
}

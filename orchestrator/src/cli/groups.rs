//! `@group` where the command line itself looks for names: in logs and reports, which are read without an orchestrator.

use copo_orchestrator::config;

use super::args::Place;
use super::control;
use super::failure::{Failure, NO_SUCH_NAME};
use super::find::{self, Target};

/// The names, with the processes of a group in the place of every `@group`.
pub fn expand(place: &Place, target: &Target, names: &[String]) -> Result<Vec<String>, Failure> {
    let mut expanded = Vec::with_capacity(names.len());
    for name in names {
        match name.strip_prefix('@') {
            Some(group) => expanded.extend(members(place, target, group)?),
            None => expanded.push(name.clone()),
        }
    }
    Ok(expanded)
}

/// As the orchestrator knows them; without one, or if it knows none, as they stand in copo.toml.
fn members(place: &Place, target: &Target, group: &str) -> Result<Vec<String>, Failure> {
    let mut members = running_members(target, group)?;
    if members.is_empty() {
        let plan = find::config_path(place).ok().and_then(|path| config::load(&path, target.layout.home()).ok());
        let of_it = plan.filter(|plan| plan.application == target.layout.application());
        let named = |plan: &copo_orchestrator::plan::Plan| {
            plan.members(group).map(|prc| plan.process(prc).name.clone()).collect::<Vec<_>>()
        };
        members = of_it.as_ref().map(named).unwrap_or_default();
    }
    if members.is_empty() {
        return Err(Failure::new(NO_SUCH_NAME, format!("cannot find the group @{group}: no process is in it")));
    }
    Ok(members)
}

fn running_members(target: &Target, group: &str) -> Result<Vec<String>, Failure> {
    let Some(client) = target.connect_if_up()? else { return Ok(Vec::new()) };
    let processes = control::processes(&client)?;
    let in_it = processes.into_iter().filter(|process| process.groups.iter().any(|name| name == group));
    let mut names: Vec<String> = in_it.map(|process| process.name).collect();
    names.dedup();
    Ok(names)
}

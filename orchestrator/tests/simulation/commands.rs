//! Random commands, by people and by runs.

use std::sync::Arc;
use std::time::Duration;

use copo_orchestrator::plan::{Plan, RestartPolicy};
use copo_orchestrator::supervisor::{Command, Requester, RunId};
use copo_proto::{name, v1};

use super::chance::Chance;
use super::plans::some_process;

/// Processes at most.
const MOST: usize = 12;

/// Anything anyone may ask for, but for the end of the application.
pub fn some_command(chance: &mut Chance, plan: &Plan, file: &Plan) -> Command {
    match chance.below(40) {
        0..=7 => Command::Start { names: some_names(chance, plan) },
        8..=13 => Command::Stop { names: some_names(chance, plan) },
        14..=18 => Command::Restart { names: some_names(chance, plan) },
        19..=26 => {
            let args = if chance.once_in(3) { vec!["again".to_owned()] } else { Vec::new() };
            Command::Trigger { name: some_name(chance, plan), args, wait: chance.once_in(2) }
        }
        27 => Command::Kill { name: some_name(chance, plan), signal: "SIGHUP".to_owned() },
        28..=33 => {
            let condition = *chance.pick(&[
                v1::wait::Condition::Ready,
                v1::wait::Condition::Finished,
                v1::wait::Condition::Up,
                v1::wait::Condition::Unspecified,
            ]);
            let names = if chance.once_in(4) { Vec::new() } else { some_names(chance, plan) };
            Command::Wait { names, condition }
        }
        34..=36 => {
            let replicas = *chance.pick(&[0, 1, 1, 2, 3, 5]);
            Command::Scale { to: vec![(some_name(chance, plan), replicas)] }
        }
        37 => some_converge(chance, file, plan),
        _ => Command::Ps,
    }
}

/// copo.toml is read again, and some of it is another than it was: settings, replicas, or a process is there no more (or
/// again, or is new).
fn some_converge(chance: &mut Chance, file: &Plan, plan: &Plan) -> Command {
    let mut file = file.clone();
    for spec in &mut file.processes {
        match chance.below(12) {
            0 => spec.args = vec![chance.below(3).to_string()],
            1 => spec.restart = *chance.pick(&[RestartPolicy::No, RestartPolicy::OnFailure, RestartPolicy::Always]),
            3 => spec.replicas = 1 + chance.below(3) as u32,
            5 => spec.jitter = Duration::from_secs(chance.below(90) as u64),
            6 => spec.run_timeout = Some(Duration::from_secs(*chance.pick(&[1, 60]))),
            4 => spec.ready_timeout = Duration::from_secs(*chance.pick(&[1, 7, 60, 90])),
            7 => spec.stop_grace = *chance.pick(&[0, 50, 1_000, 10_000].map(Duration::from_millis)),
            _ => {}
        }
    }
    // Nothing depends on the last one. Those that come keep the places that those that went had.
    let count = file.processes.len();
    match chance.below(4) {
        0 if count > 1 => drop(file.processes.pop()),
        1 if count < plan.processes.len() => file.processes.push(plan.processes[count].clone()),
        2 if count < MOST => {
            let added = some_process(chance, count);
            file.processes.push(added);
        }
        _ => {}
    }
    let names = if chance.once_in(5) { vec![some_name(chance, &file)] } else { Vec::new() };
    Command::Converge { plan: Arc::new(file), names, dry_run: chance.once_in(4) }
}

/// The application is to end.
pub fn some_down(chance: &mut Chance) -> Command {
    let grace = chance.once_in(2).then(|| *chance.pick(&[0, 200, 5_000].map(Duration::from_millis)));
    Command::Down { grace, kill: chance.once_in(6) }
}

pub fn some_requester(chance: &mut Chance, runs: &[RunId]) -> Requester {
    if runs.is_empty() || !chance.once_in(4) { Requester::Person } else { Requester::Run(*chance.pick(runs)) }
}

fn some_names(chance: &mut Chance, plan: &Plan) -> Vec<String> {
    let count = *chance.pick(&[1, 1, 1, 2, 3]);
    (0..count).map(|_| some_name(chance, plan)).collect()
}

fn some_name(chance: &mut Chance, plan: &Plan) -> String {
    let process = &chance.pick(&plan.processes).name;
    match chance.below(12) {
        0 => "nobody".to_owned(),
        1 => "@even".to_owned(),
        2 => "@nothing".to_owned(),
        3..=6 => name::internal(process, 1 + chance.below(4) as u32),
        _ => process.clone(),
    }
}

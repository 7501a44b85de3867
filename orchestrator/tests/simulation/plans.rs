//! Random applications.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use copo_orchestrator::config;
use copo_orchestrator::plan::*;
use copo_orchestrator::supervisor::cron::Schedule;

use super::chance::Chance;

/// Each process depends on earlier ones only.
pub fn some_plan(chance: &mut Chance) -> Plan {
    let most = *chance.pick(&[3, 6, 12]);
    let count = 1 + chance.below(most);
    let mut plan = base().clone();
    for index in 0..count {
        let process = some_process(chance, index);
        plan.processes.push(process);
    }
    plan
}

/// An application without processes, and one process with every default, as copo.toml gives them.
fn base() -> &'static Plan {
    &read().0
}

fn read() -> &'static (Plan, ProcessSpec) {
    static READ: OnceLock<(Plan, ProcessSpec)> = OnceLock::new();
    READ.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(config::FILE_NAME);
        let text = "application = \"sim\"\n[process.p]\nexecutable_path = \"/bin/true\"\n";
        std::fs::write(&file, text).expect("written");
        let mut plan = config::load(&file, Path::new("/tmp/h")).expect("a plan");
        let process = plan.processes.pop().expect("a process");
        (plan, process)
    })
}

pub fn some_process(chance: &mut Chance, index: usize) -> ProcessSpec {
    let mut spec = read().1.clone();
    spec.name = format!("p{index}");
    spec.groups = vec![(*chance.pick(&["even", "odd"])).to_owned()];
    spec.replicas = *chance.pick(&[1, 1, 1, 2, 3]);
    spec.max_instances = spec.replicas.max(*chance.pick(&[1, 2, 4]));
    spec.overlap = *chance.pick(&[Overlap::Skip, Overlap::Queue, Overlap::Replace, Overlap::Allow]);
    spec.ready = match chance.below(6) {
        0 => Readiness::Sdk,
        1 => Readiness::Notify,
        2 => Readiness::Probe(some_probe(chance)),
        3 if chance.once_in(2) => {
            Readiness::Probe(Probe { check: Check::Log(Pattern::Text("up".to_owned())), ..some_probe(chance) })
        }
        _ => Readiness::Started,
    };
    spec.startup = chance.once_in(8).then(|| some_probe(chance));
    spec.liveness = chance.once_in(8).then(|| some_probe(chance));
    spec.progress = chance.once_in(16).then(|| Probe { check: Check::Progress, successes: 1, ..some_probe(chance) });
    spec.watchdog = chance.once_in(12).then(|| *chance.pick(&[10, 600].map(Duration::from_secs)));
    spec.ready_timeout = *chance.pick(&[1, 10, 60].map(Duration::from_secs));
    spec.restart = *chance.pick(&[RestartPolicy::No, RestartPolicy::OnFailure, RestartPolicy::Always]);
    spec.backoff = Backoff {
        initial: *chance.pick(&[10, 500, 5_000].map(Duration::from_millis)),
        factor: *chance.pick(&[1.0, 1.5, 2.0]),
        max: *chance.pick(&[30, 300].map(Duration::from_secs)),
        reset: *chance.pick(&[1, 60].map(Duration::from_secs)),
        jitter: *chance.pick(&[0.0, 0.5, 1.0]),
    };
    spec.restart_limit = chance.once_in(3).then(|| RestartLimit {
        restarts: *chance.pick(&[1, 3, 10]),
        window: *chance.pick(&[1, 60, 3600].map(Duration::from_secs)),
        then: match chance.below(16) {
            0 => LimitReached::Shutdown,
            1..=5 => LimitReached::KeepTrying,
            _ => LimitReached::GiveUp,
        },
    });
    spec.on_dependence_restart =
        *chance.pick(&[OnDependenceRestart::Ignore, OnDependenceRestart::Restart, OnDependenceRestart::Stop]);
    spec.significant = chance.once_in(40);
    spec.success_exit_codes = chance.pick(&[vec![0], vec![0, 3]]).clone();
    spec.stop_grace = *chance.pick(&[0, 50, 1_000, 10_000].map(Duration::from_millis));
    spec.control = chance.once_in(3);
    spec.trigger = some_trigger(chance, index);
    if matches!(spec.trigger, Trigger::Cron(_)) {
        let window = *chance.pick(&[10, 3600, 86_400].map(Duration::from_secs));
        let runs = *chance.pick(&[CatchUpRuns::Last, CatchUpRuns::All]);
        spec.catch_up = chance.once_in(2).then_some(CatchUp { window, runs });
        spec.jitter = *chance.pick(&[0, 0, 2, 600].map(Duration::from_secs));
    }
    spec.run_timeout = chance.once_in(6).then(|| *chance.pick(&[1, 30, 3600].map(Duration::from_secs)));
    let gates = if index > 0 { chance.below(3) } else { 0 };
    for _ in 0..gates {
        let condition = *chance.pick(&[
            Condition::Started,
            Condition::Ready,
            Condition::Ready,
            Condition::Succeeded,
            Condition::Failed,
            Condition::Finished,
        ]);
        spec.depends_on.push(Dependence { process: PrcId(chance.below(index)), condition });
    }
    spec
}

fn some_probe(chance: &mut Chance) -> Probe {
    Probe {
        check: Check::Tcp(Address { host: "localhost".to_owned(), port: 1 }),
        interval: *chance.pick(&[10, 600].map(Duration::from_secs)),
        timeout: *chance.pick(&[1, 20].map(Duration::from_secs)),
        successes: *chance.pick(&[1, 1, 2]),
        failures: *chance.pick(&[1, 3]),
        initial_delay: *chance.pick(&[0, 5].map(Duration::from_secs)),
    }
}

fn some_trigger(chance: &mut Chance, index: usize) -> Trigger {
    match chance.below(6) {
        0 | 1 => Trigger::Cron(some_schedule(chance)),
        2 => Trigger::Manual,
        3 if index > 0 => {
            let mut sources = vec![PrcId(chance.below(index)), PrcId(chance.below(index))];
            sources.sort();
            sources.dedup();
            let on = *chance.pick(&[FinishKind::Succeeded, FinishKind::Failed, FinishKind::Finished]);
            Trigger::DependenceFinish { sources, on }
        }
        _ => Trigger::OnStart,
    }
}

/// Often and rarely, in zones that change their clocks by an hour, by half of one, and never.
fn some_schedule(chance: &mut Chance) -> Schedule {
    let definition = *chance.pick(&[
        "* * * * * *",
        "*/7 * * * * *",
        "* * * * *",
        "*/5 * * * *",
        "30 * * * *",
        "30 2 * * *",
        "0 6 * * *",
        "15,45 1-3 * * *",
        "0 0 * * SUN",
        "@monthly",
    ]);
    let zone = *chance.pick(&["UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]);
    Schedule::parse(definition, Some(zone)).expect("a schedule")
}

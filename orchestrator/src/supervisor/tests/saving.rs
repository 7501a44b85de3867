//! One orchestrator goes on where another was.

use super::*;
use crate::supervisor::{Found, Saved, Stray};

impl World {
    /// The orchestrator is killed; another one goes on with what was written down, and with this plan.
    fn restored(&mut self, processes: Vec<ProcessSpec>) -> Vec<Stray> {
        let written = serde_json::to_string(&self.orc.saved()).expect("JSON");
        let saved: Saved = serde_json::from_str(&written).expect("what was written");
        self.plan = plan(processes);
        let (orc, strays) = Orchestrator::restore(Arc::clone(&self.plan), RunSeed::new(9), saved);
        self.orc = orc;
        strays
    }

    fn resume(&mut self, found: &[(&str, Found)]) -> Vec<String> {
        let found = found.iter().map(|(name, found)| (self.run(name), *found)).collect();
        self.tell(Event::Resumed { found })
    }
}

const ALIVE: Found = Found::Alive { pid: 42 };
const LOST: Found = Found::Ended { outcome: Outcome::Unknown };

fn failing(name: &str) -> ProcessSpec {
    process(name).restarted(RestartPolicy::OnFailure)
}

#[test]
fn what_runs_is_adopted_with_its_run_and_its_history() {
    let processes = || vec![failing("web"), process("db").ready_by_sdk()];
    let mut world = World::up(processes());
    world.exit("web-1", FAILURE);
    world.spawn_all();
    world.ready("db-1");
    let before = (world.status("web-1"), world.status("db-1"));

    assert_eq!(world.restored(processes()), []);
    assert_eq!(world.resume(&[("web-1", ALIVE), ("db-1", ALIVE)]).len(), 2);

    assert_eq!((world.status("web-1"), world.status("db-1")), before);
    assert_eq!((before.0.restarts, before.1.ready), (1, true));
    assert_eq!(world.tell(Event::Up { names: Vec::new() }), [""; 0], "what runs is not started a second time");
    assert_eq!(world.exit("web-1", SUCCESS), ["exited web-1 code 0", "finished web-1 code 0"]);
}

#[test]
fn an_end_that_nobody_saw_is_reported_when_found_and_fires_triggers_then() {
    let processes = || vec![process("fetch"), process("pack").triggered_by(finish_of(&[0], FinishKind::Succeeded))];
    let mut world = World::up(processes());
    world.restored(processes());

    assert_eq!(world.resume(&[("fetch-1", Found::Ended { outcome: SUCCESS })]), ["drain fetch-1"]);
    let run = world.run("fetch-1");
    world.tell(Event::Drained { run });
    let gone = world.tell(Event::GroupGone { run });

    assert_eq!(gone[..3], ["exited fetch-1 code 0", "finished fetch-1 code 0", "starting pack-1"]);
}

#[test]
fn what_a_person_stopped_and_a_source_that_has_finished_are_remembered() {
    let sources = finish_of(&[0, 1], FinishKind::Succeeded);
    let processes = || vec![process("a"), process("b"), process("pack").triggered_by(sources.clone()), process("off")];
    let mut world = World::up(processes());
    world.exit("a-1", SUCCESS);
    world.ask(stop("off"));
    world.exit("off-1", KILLED);

    world.restored(processes());
    world.resume(&[("b-1", ALIVE)]);

    assert_eq!(world.state("off-1"), v1::State::Stopped);
    let end = world.exit("b-1", SUCCESS);
    assert_eq!(end[..3], ["exited b-1 code 0", "finished b-1 code 0", "starting pack-1"]);
}

#[test]
fn a_run_that_was_noted_but_never_started_starts_once() {
    let processes = || vec![process("a"), process("b").after(0, Condition::Started)];
    let mut world = World::new(processes());
    world.tell(Event::Up { names: Vec::new() });

    world.restored(processes());
    assert_eq!(world.resume(&[("a-1", Found::Unstarted)]), ["spawn a-1"]);

    assert_eq!(world.spawned("a-1")[..3], ["started a-1", "starting b-1", "spawn b-1"]);
}

#[test]
fn delays_graces_and_schedules_go_on() {
    let slow = |name| ProcessSpec { stop_grace: Duration::from_secs(10), ..process(name) };
    let processes = || vec![failing("web"), slow("db"), process("tick").triggered_by(every("*/5 * * * * *"))];
    let mut world = World::up(processes());
    for _ in 0..2 {
        world.exit("web-1", FAILURE);
        world.spawn_all();
    }
    world.ask(stop("db"));
    assert_eq!(world.state("web-1"), v1::State::Backoff);

    world.restored(processes());
    world.now.wall += SECOND;
    let resumed = world.resume(&[("db-1", ALIVE)]);

    assert_eq!(resumed, ["adopted db-1", "stop_event db-1 10000"]);
    assert_eq!(world.pass(Duration::from_millis(500))[0], "starting web-1");
    assert_eq!(world.status("tick-1").next_run, Some(NOON + 5 * SECOND));
    assert!(world.pass(Duration::from_secs(10)).contains(&"kill db-1".to_owned()));
}

#[test]
fn stopping_everything_goes_on_unless_somebody_wants_it_up() {
    let processes = || vec![process("a"), process("b").after(0, Condition::Started)];
    let mut world = World::up(processes());
    world.ask(Command::Down { grace: None, kill: false });
    assert_eq!(world.state("b-1"), v1::State::Stopping);

    world.restored(processes());
    world.resume(&[("a-1", ALIVE), ("b-1", ALIVE)]);
    let end = world.exit("b-1", KILLED);
    assert!(end.contains(&"signal a-1 SIGTERM".to_owned()), "{end:?}");
    assert_eq!(world.exit("a-1", KILLED).last().map(String::as_str), Some("end"));
}

#[test]
fn what_the_plan_has_no_more_is_handed_back() {
    let mut world = World::up(vec![process("gone"), process("web").replicated(2), process("kept")]);

    let strays = world.restored(vec![process("kept"), process("web")]);

    let names: Vec<&str> = strays.iter().map(|stray| stray.internal_name.as_str()).collect();
    assert_eq!(names, ["gone-1", "web-2"]);
    world.resume(&[("kept-1", ALIVE), ("web-1", LOST)]);
    assert_eq!(world.state("kept-1"), v1::State::Running);
}

#[test]
fn a_run_that_was_started_with_other_settings_is_told_and_restarted_when_somebody_wants_that() {
    let web = |arg: &str| ProcessSpec { args: vec![arg.to_owned()], ..process("web") };
    let edited = || vec![web("new"), process("db")];
    let mut world = World::up(vec![web("old"), process("db")]);
    world.restored(edited());
    assert_eq!(world.resume(&[("web-1", ALIVE), ("db-1", ALIVE)]).len(), 2);
    let before = (world.run("web-1"), world.run("db-1"));

    let said = world.ask(Command::Converge { plan: plan(edited()), names: Vec::new(), dry_run: true });
    assert_eq!(said, ["reply 1 changes; restart web copo.toml as it was when it started>as it is now"]);

    world.restored(vec![web("old"), process("db")]);
    world.resume(&[("web-1", ALIVE), ("db-1", ALIVE)]);
    assert_eq!(world.tell(Event::Up { names: Vec::new() }), [""; 0], "it is as it is to be again");

    world.restored(edited());
    world.resume(&[("web-1", ALIVE), ("db-1", ALIVE)]);
    let said = world.tell(Event::Up { names: Vec::new() });
    assert!(said.iter().any(|act| act.contains("web-1")) && !said.iter().any(|act| act.contains("db-1")), "{said:?}");
    assert_eq!(world.run("db-1"), before.1);
}

#[test]
fn after_a_boot_restarts_of_before_count_no_more() {
    let limit = RestartLimit { restarts: 1, window: Duration::from_secs(60), then: LimitReached::GiveUp };
    let processes = || vec![ProcessSpec { restart_limit: Some(limit), ..failing("web") }];
    let mut world = World::up(processes());
    world.now.mono += Duration::from_secs(3600);
    world.exit("web-1", FAILURE);
    world.spawn_all();

    let mut saved = world.orc.saved();
    saved.forget_clock();
    (world.orc, _) = Orchestrator::restore(Arc::clone(&world.plan), RunSeed::new(9), saved);
    world.now.mono = Duration::from_secs(1);
    assert_eq!(world.resume(&[("web-1", Found::Ended { outcome: FAILURE })]), ["drain web-1"]);
    let run = world.run("web-1");
    world.tell(Event::Drained { run });

    let end = world.tell(Event::GroupGone { run });
    assert_eq!(end, ["exited web-1 code 3", "backoff web-1"]);
}

#[test]
fn replicas_that_the_plan_has_no_more_do_not_stay() {
    let three = ProcessSpec { max_instances: 3, ..process("web").replicated(3) };
    let mut world = World::up(vec![three.clone()]);

    let strays = world.restored(vec![ProcessSpec { replicas: 1, ..three }]);

    let names: Vec<&str> = strays.iter().map(|stray| stray.internal_name.as_str()).collect();
    assert_eq!(names, ["web-2", "web-3"]);
}

#[test]
fn replicas_that_the_plan_has_again_are_there() {
    let two = || vec![process("web").replicated(2)];
    let mut world = World::up(two());
    world.ask(Command::Scale { to: vec![("web".to_owned(), 1)] });
    assert_eq!(world.state("web-2"), v1::State::Stopping);

    world.restored(two());
    world.resume(&[("web-1", ALIVE), ("web-2", LOST)]);
    world.tell(Event::Up { names: Vec::new() });
    let run = world.run("web-2");
    world.tell(Event::Drained { run });

    let gone = world.tell(Event::GroupGone { run });
    assert!(gone.contains(&"spawn web-2".to_owned()), "{gone:?}");
}

#[test]
fn what_was_to_stop_before_it_had_started_does_not_start() {
    let processes = || vec![process("a")];
    let mut world = World::new(processes());
    world.tell(Event::Up { names: Vec::new() });
    world.ask(stop("a"));

    world.restored(processes());

    assert_eq!(world.resume(&[("a-1", Found::Unstarted)]), ["spawn_failed a-1", "stopped a-1"]);
}

#[test]
fn stopping_everything_is_written_down_before_it_goes_on() {
    let mut world = World::up(vec![process("a")]);
    world.ask(Command::Down { grace: Some(Duration::from_secs(3)), kill: false });
    let before = serde_json::to_string(&world.orc.saved()).expect("JSON");

    world.restored(vec![process("a")]);

    assert_eq!(serde_json::to_string(&world.orc.saved()).expect("JSON"), before);
}

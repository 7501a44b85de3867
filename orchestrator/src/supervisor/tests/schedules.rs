use super::*;

#[test]
fn a_schedule_runs_at_its_time_with_its_time() {
    let mut world = World::up(vec![process("a").triggered_by(every("*/5 * * * *"))]);
    assert_eq!(world.orc.next_deadline(), Some(Deadline { mono: None, wall: Some(NOON + 300 * SECOND) }));
    assert_eq!(world.status("a-1").next_run, Some(NOON + 300 * SECOND));
    assert_eq!(world.pass(Duration::from_secs(299)), [""; 0]);

    world.now.wall += 3 * SECOND;
    let actions = world.orc.handle(world.now, Event::DeadlineReached);
    let spawn = actions.iter().find_map(|action| match action {
        Action::Spawn(spawn) => Some(spawn),
        _ => None,
    });
    assert_eq!(spawn.and_then(|spawn| spawn.scheduled_time), Some(NOON + 300 * SECOND));
    assert_eq!(world.orc.next_deadline().and_then(|at| at.wall), Some(NOON + 600 * SECOND));
}

#[test]
fn a_clock_set_forward_runs_what_was_missed_once() {
    let mut world = World::up(vec![process("a").triggered_by(every("* * * * *")).overlapping(Overlap::Queue)]);
    world.now.wall += 3600 * SECOND;

    assert_eq!(world.tell(Event::DeadlineReached), ["starting a-1", "spawn a-1"]);
    assert_eq!(world.tell(Event::DeadlineReached), [""; 0]);
    assert_eq!(world.status("a-1").next_run, Some(world.now.wall + 60 * SECOND));
}

#[test]
fn a_clock_set_back_does_not_run_a_time_twice() {
    let mut world = World::up(vec![process("a").triggered_by(every("* * * * *")).overlapping(Overlap::Queue)]);
    for _ in 0..10 {
        world.pass(Duration::from_secs(60));
    }
    world.now.wall -= 300 * SECOND;

    assert_eq!(world.tell(Event::DeadlineReached), [""; 0]);
    assert_eq!(world.status("a-1").next_run, Some(NOON + 660 * SECOND));
}

#[test]
fn a_clock_that_was_far_ahead_for_a_while_is_forgiven() {
    let mut world = World::up(vec![process("a").triggered_by(every("0 * * * *")).overlapping(Overlap::Queue)]);
    let century = 100 * 365 * 86400 * SECOND;
    world.now.wall += century;
    world.tell(Event::DeadlineReached);
    world.now.wall -= century;
    world.tell(Event::DeadlineReached);

    // The next full hour but one: the next one is what ran when the clock was ahead.
    assert_eq!(world.status("a-1").next_run, Some(NOON + 2 * 3600 * SECOND));
}

#[test]
fn a_stopped_schedule_is_disarmed_until_it_is_started() {
    let mut world = World::up(vec![process("a").triggered_by(every("* * * * *"))]);

    assert_eq!(world.ask(stop("a")), ["stopped a-1", "reply 1 done"]);
    assert_eq!(world.orc.next_deadline(), None);
    assert_eq!(world.pass(Duration::from_secs(120)), [""; 0]);
    assert_eq!(world.ask(trigger("a", false)), ["starting a-1", "spawn a-1", "reply 2 triggered run None None None"]);
    world.spawned("a-1");
    world.exit("a-1", SUCCESS);
    assert_eq!(world.pass(Duration::from_secs(120)), [""; 0], "a trigger does not arm");
    assert_eq!(world.ask(start("a")), ["reply 3 done"]);
    assert_eq!(world.pass(Duration::from_secs(60)), ["starting a-1", "spawn a-1"]);
}

#[test]
fn a_restart_of_a_schedule_stops_the_run_and_arms() {
    let mut world = World::up(vec![process("a").triggered_by(every("* * * * *"))]);
    world.pass(Duration::from_secs(60));
    world.spawned("a-1");

    assert_eq!(world.ask(restart("a")), ["stopping a-1", "stop_event a-1 10000", "signal a-1 SIGTERM"]);
    assert_eq!(world.exit("a-1", SUCCESS), ["exited a-1 code 0", "reply 1 done"]);
    assert_eq!(world.state("a-1"), v1::State::Idle);
    assert_eq!(world.pass(Duration::from_secs(60)), ["starting a-1", "spawn a-1"]);
}

fn catching_up(runs: CatchUpRuns) -> ProcessSpec {
    let catch_up = Some(CatchUp { window: Duration::from_secs(3600), runs });
    ProcessSpec { catch_up, ..process("a").triggered_by(every("* * * * *")) }
}

/// The scheduled time of the run that these actions spawn, in minutes after noon.
fn minute(actions: &[Action]) -> Option<u64> {
    let time = actions.iter().find_map(|action| match action {
        Action::Spawn(spawn) => spawn.scheduled_time,
        _ => None,
    });
    time.map(|time| (time - NOON) / (60 * SECOND))
}

/// Up, with what the orchestrator before it has noted, `minutes` after noon.
fn up_again(spec: ProcessSpec, note: &ScheduleNote, minutes: u64) -> World {
    let mut world = World::new(vec![spec]);
    world.now.wall += minutes * 60 * SECOND;
    world.orc.recall_schedule("a", note.clone());
    world.tell(Event::Up { names: Vec::new() });
    world
}

fn noted(actions: &[Action]) -> Option<ScheduleNote> {
    actions.iter().rev().find_map(|action| match action {
        Action::NoteSchedule { note, .. } => note.clone(),
        _ => None,
    })
}

#[test]
fn of_what_was_missed_while_no_orchestrator_was_there_the_newest_runs_or_each_in_turn() {
    for (runs, first) in [(CatchUpRuns::Last, 10), (CatchUpRuns::All, 2)] {
        let mut world = World::new(vec![catching_up(runs)]);
        let _ = world.orc.handle(world.now, Event::Up { names: Vec::new() });
        world.now.wall += 61 * SECOND;
        let note = noted(&world.orc.handle(world.now, Event::DeadlineReached)).expect("it is noted");

        let mut world = up_again(catching_up(runs), &note, 10);
        let actions = world.orc.handle(world.now, Event::DeadlineReached);

        assert_eq!(minute(&actions), Some(first), "{runs:?}");
        assert!(noted(&actions).is_some());
    }
}

#[test]
fn missed_times_run_one_after_the_other() {
    let mut world = World::up(vec![catching_up(CatchUpRuns::All)]);
    world.now.wall += 3 * 60 * SECOND;
    assert_eq!(world.tell(Event::DeadlineReached), ["note a", "note a", "starting a-1", "spawn a-1"]);
    for _ in 0..2 {
        world.spawned("a-1");
        let said = world.exit("a-1", SUCCESS);
        assert_eq!(said[2..], ["note a", "starting a-1", "spawn a-1"], "{said:?}");
    }
    world.spawned("a-1");
    assert_eq!(world.exit("a-1", SUCCESS), ["exited a-1 code 0", "finished a-1 code 0"]);
}

#[test]
fn what_a_person_stopped_has_missed_nothing_and_down_is_no_such_stop() {
    let mut world = World::up(vec![catching_up(CatchUpRuns::Last)]);
    assert!(world.ask(stop("a")).contains(&"forget the note of a".to_owned()));

    let mut world = World::up(vec![catching_up(CatchUpRuns::Last)]);
    let said = world.ask(Command::Down { grace: None, kill: false });
    assert!(!said.iter().any(|line| line.contains("note")), "{said:?}");
}

#[test]
fn a_run_that_lasts_too_long_is_stopped_and_has_failed() {
    let spec = ProcessSpec { run_timeout: Some(Duration::from_secs(5)), ..process("a") };
    let mut world = World::up(vec![spec]);
    assert_eq!(world.pass(Duration::from_secs(4)), [""; 0]);
    assert_eq!(world.pass(Duration::from_secs(1)), ["stopping a-1", "stop_event a-1 10000", "signal a-1 SIGTERM"]);
    assert_eq!(world.exit("a-1", SUCCESS), ["exited a-1 code 0", "failed a-1 code 0"]);
}

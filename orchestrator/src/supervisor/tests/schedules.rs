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

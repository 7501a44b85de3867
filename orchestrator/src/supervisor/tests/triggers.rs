use super::*;

fn fan_in(on: FinishKind) -> World {
    World::up(vec![
        process("a").triggered_by(Trigger::Manual),
        process("b").triggered_by(Trigger::Manual),
        process("c").triggered_by(finish_of(&[0, 1], on)).overlapping(Overlap::Queue),
    ])
}

fn run_once(world: &mut World, name: &str, outcome: Outcome) -> Vec<String> {
    world.ask(start(name));
    let name = format!("{name}-1");
    world.spawned(&name);
    world.exit(&name, outcome)
}

#[test]
fn a_finish_fires_what_waits_for_it() {
    let mut world = World::up(vec![
        process("a"),
        process("b").triggered_by(finish_of(&[0], FinishKind::Succeeded)),
        process("c").triggered_by(finish_of(&[0], FinishKind::Failed)),
        process("d").triggered_by(finish_of(&[0], FinishKind::Finished)),
    ]);
    assert_eq!(world.state("b-1"), v1::State::Idle);

    assert_eq!(
        world.exit("a-1", SUCCESS),
        ["exited a-1 code 0", "finished a-1 code 0", "starting b-1", "spawn b-1", "starting d-1", "spawn d-1"]
    );
}

#[test]
fn a_fan_in_fires_once_all_have_finished_and_then_begins_anew() {
    let mut world = fan_in(FinishKind::Succeeded);

    assert_eq!(run_once(&mut world, "a", SUCCESS), ["exited a-1 code 0", "finished a-1 code 0"]);
    assert_eq!(run_once(&mut world, "a", SUCCESS), ["exited a-1 code 0", "finished a-1 code 0"]);
    assert_eq!(
        run_once(&mut world, "b", SUCCESS),
        ["exited b-1 code 0", "finished b-1 code 0", "starting c-1", "spawn c-1"]
    );
    world.spawned("c-1");
    world.exit("c-1", SUCCESS);
    assert_eq!(run_once(&mut world, "b", SUCCESS), ["exited b-1 code 0", "finished b-1 code 0"]);
}

#[test]
fn a_finish_that_does_not_fit_stays_until_a_newer_one_comes() {
    let mut world = fan_in(FinishKind::Succeeded);

    run_once(&mut world, "a", FAILURE);
    assert_eq!(run_once(&mut world, "b", SUCCESS), ["exited b-1 code 0", "finished b-1 code 0"]);
    assert!(run_once(&mut world, "a", SUCCESS).contains(&"spawn c-1".to_owned()));
}

#[test]
fn one_failure_fires_failed() {
    let mut world = fan_in(FinishKind::Failed);

    run_once(&mut world, "a", FAILURE);
    assert!(run_once(&mut world, "b", SUCCESS).contains(&"spawn c-1".to_owned()));
}

#[test]
fn a_stop_is_no_finish_and_neither_is_an_end_that_a_restart_follows() {
    let mut world = World::up(vec![
        process("a").restarted(RestartPolicy::OnFailure),
        process("b").triggered_by(finish_of(&[0], FinishKind::Finished)),
    ]);
    assert_eq!(world.exit("a-1", FAILURE), ["exited a-1 code 3", "starting a-1", "spawn a-1"]);
    world.spawned("a-1");

    world.ask(stop("a"));
    assert_eq!(world.exit("a-1", SUCCESS), ["exited a-1 code 0", "stopped a-1", "reply 1 done"]);
    assert_eq!(world.state("b-1"), v1::State::Idle);
}

#[test]
fn replicas_finish_together() {
    let mut world =
        World::up(vec![process("a").replicated(2), process("b").triggered_by(finish_of(&[0], FinishKind::Failed))]);
    assert_eq!(world.exit("a-1", FAILURE), ["exited a-1 code 3", "failed a-1 code 3"]);
    assert!(world.exit("a-2", SUCCESS).contains(&"spawn b-1".to_owned()));
}

#[test]
fn a_triggered_process_waits_for_what_it_gates_on() {
    let mut world = World::up(vec![
        process("a").triggered_by(Trigger::Manual),
        process("b"),
        process("c").triggered_by(finish_of(&[0], FinishKind::Succeeded)).after(1, Condition::Succeeded),
    ]);
    run_once(&mut world, "a", SUCCESS);
    assert_eq!(world.state("c-1"), v1::State::Waiting);
    assert!(world.exit("b-1", SUCCESS).contains(&"spawn c-1".to_owned()));
}

fn overlap(kind: Overlap) -> World {
    let mut spec = process("a").triggered_by(every("* * * * *")).overlapping(kind);
    spec.max_instances = 2;
    let mut world = World::up(vec![spec]);
    world.pass(Duration::from_secs(60));
    world.spawned("a-1");
    world
}

#[test]
fn overlap_skip_is_reported_and_a_conflict_for_a_person() {
    let mut world = overlap(Overlap::Skip);

    assert_eq!(world.pass(Duration::from_secs(60)), ["skipped a"]);
    assert_eq!(world.ask(trigger("a", false)), ["reply 1 CONFLICT cannot trigger a: a run is under way"]);
}

#[test]
fn overlap_queue_runs_one_after_the_present_one() {
    let mut world = overlap(Overlap::Queue);

    assert_eq!(world.pass(Duration::from_secs(60)), [""; 0]);
    assert_eq!(world.pass(Duration::from_secs(60)), ["skipped a"]);
    assert_eq!(world.exit("a-1", SUCCESS), ["exited a-1 code 0", "finished a-1 code 0", "starting a-1", "spawn a-1"]);
    world.spawned("a-1");
    assert_eq!(world.exit("a-1", SUCCESS), ["exited a-1 code 0", "finished a-1 code 0"]);
}

#[test]
fn overlap_replace_stops_the_present_one_first() {
    let mut world = overlap(Overlap::Replace);

    assert_eq!(world.pass(Duration::from_secs(60)), ["stopping a-1", "stop_event a-1 10000", "signal a-1 SIGTERM"]);
    assert_eq!(world.exit("a-1", SUCCESS), ["exited a-1 code 0", "starting a-1", "spawn a-1"]);
}

#[test]
fn overlap_allow_takes_a_free_number_up_to_the_limit() {
    let mut world = overlap(Overlap::Allow);

    assert_eq!(world.pass(Duration::from_secs(60)), ["starting a-2", "spawn a-2"]);
    world.spawned("a-2");
    assert_eq!(world.pass(Duration::from_secs(60)), ["skipped a"]);
    world.exit("a-2", SUCCESS);
    assert_eq!(world.pass(Duration::from_secs(60)), ["starting a-2", "spawn a-2"]);
}

#[test]
fn backoff_counts_as_running() {
    let mut spec = process("a").triggered_by(every("* * * * *")).restarted(RestartPolicy::OnFailure);
    spec.backoff.initial = Duration::from_secs(1000);
    spec.backoff.max = Duration::from_secs(1000);
    let mut world = World::up(vec![spec]);
    world.pass(Duration::from_secs(60));
    world.spawned("a-1");
    world.exit("a-1", FAILURE);
    world.spawned("a-1");
    assert_eq!(world.exit("a-1", FAILURE), ["exited a-1 code 3", "backoff a-1"]);

    assert_eq!(world.pass(Duration::from_secs(60)), ["skipped a"]);
}

#[test]
fn a_firing_does_not_hurry_what_makes_way_already() {
    let tick = process("tick").triggered_by(every("* * * * * *")).overlapping(Overlap::Replace);
    let mut world = World::up(vec![ProcessSpec { stop_grace: Duration::from_millis(1_500), ..tick }]);
    world.pass(Duration::from_secs(1));
    world.spawn_all();
    assert_eq!(world.pass(Duration::from_secs(1))[1], "stop_event tick-1 1500");
    let more = Notice { extend_timeout: Some(Duration::from_secs(10)), ..Notice::default() };
    world.tell(Event::Notified { run: world.run("tick-1"), notice: more });

    for _ in 0..9 {
        let said = world.pass(Duration::from_secs(1));
        assert!(!said.contains(&"kill tick-1".to_owned()), "{said:?}");
    }
    assert!(world.pass(Duration::from_secs(1)).contains(&"kill tick-1".to_owned()));
}

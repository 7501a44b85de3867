use super::*;

#[test]
fn a_run_is_reported_from_start_to_finish_in_order() {
    let mut world = World::new(vec![process("a")]);

    assert_eq!(world.tell(Event::Up { names: Vec::new() }), ["starting a-1", "spawn a-1"]);
    assert_eq!(world.state("a-1"), v1::State::Starting);
    assert_eq!(world.spawned("a-1"), ["started a-1"]);
    assert_eq!(world.state("a-1"), v1::State::Running);
    assert_eq!(world.exit("a-1", SUCCESS), ["exited a-1 code 0", "finished a-1 code 0"]);
    assert_eq!(world.state("a-1"), v1::State::Finished);
    assert_eq!(world.status("a-1").exit_code, Some(0));
}

#[test]
fn nothing_follows_an_end_before_the_group_is_gone() {
    let mut world = World::up(vec![process("a").restarted(RestartPolicy::Always)]);
    let run = world.run("a-1");

    assert_eq!(world.tell(Event::Exited { run, outcome: SUCCESS }), ["drain a-1"]);
    assert_eq!(world.tell(Event::Drained { run }), ["fence a-1", "reap a-1"]);
    assert_eq!(world.pass(Duration::from_secs(100)), [""; 0]);
    assert_eq!(world.tell(Event::GroupGone { run }), ["exited a-1 code 0", "starting a-1", "spawn a-1"]);
    assert_ne!(world.run("a-1"), run);
}

#[test]
fn an_event_of_a_run_that_is_over_changes_nothing() {
    let mut world = World::up(vec![process("a").restarted(RestartPolicy::Always)]);
    let old = world.run("a-1");
    world.exit("a-1", SUCCESS);
    world.spawned("a-1");
    let before = world.orc.processes();

    for event in [
        Event::Spawned { run: old, pid: 1 },
        Event::SpawnFailed { run: old, reason: "no".to_owned(), is_final: true },
        Event::Ready { run: old },
        Event::StopWatched { run: old },
        Event::Exited { run: old, outcome: FAILURE },
        Event::Drained { run: old },
        Event::GroupGone { run: old },
    ] {
        assert_eq!(world.tell(event), [""; 0]);
    }
    assert_eq!(world.orc.processes(), before);
}

#[test]
fn the_first_restart_comes_at_once_and_the_next_ones_wait_longer_each_time() {
    let mut world = World::up(vec![process("a").restarted(RestartPolicy::OnFailure)]);

    assert_eq!(world.exit("a-1", KILLED), ["exited a-1 SIGKILL", "starting a-1", "spawn a-1"]);
    world.spawned("a-1");
    assert_eq!(world.exit("a-1", FAILURE), ["exited a-1 code 3", "backoff a-1"]);
    assert_eq!(world.state("a-1"), v1::State::Backoff);
    assert_eq!(world.pass(Duration::from_millis(499)), [""; 0]);
    assert_eq!(world.pass(Duration::from_millis(1)), ["starting a-1", "spawn a-1"]);
    world.spawned("a-1");
    world.exit("a-1", FAILURE);
    assert_eq!(world.orc.next_deadline().and_then(|at| at.mono), Some(world.now.mono + Duration::from_secs(1)));
    assert_eq!(world.status("a-1").restarts, 2, "the third is still to come");
}

#[test]
fn a_run_that_lasted_long_enough_begins_the_delays_anew() {
    let mut world = World::up(vec![process("a").restarted(RestartPolicy::OnFailure)]);
    world.exit("a-1", FAILURE);
    world.spawned("a-1");
    world.pass(Duration::from_secs(60));

    assert_eq!(world.exit("a-1", FAILURE), ["exited a-1 code 3", "starting a-1", "spawn a-1"]);
}

#[test]
fn success_is_what_the_plan_says() {
    let mut spec = process("a").restarted(RestartPolicy::OnFailure);
    spec.success_exit_codes = vec![3];
    let mut world = World::up(vec![spec]);

    assert_eq!(world.exit("a-1", FAILURE), ["exited a-1 code 3", "finished a-1 code 3"]);
}

#[test]
fn without_restart_a_failure_is_final() {
    let mut world = World::up(vec![process("a")]);

    assert_eq!(world.exit("a-1", KILLED), ["exited a-1 SIGKILL", "failed a-1 SIGKILL"]);
    assert_eq!(world.state("a-1"), v1::State::Failed);
    assert_eq!(world.status("a-1").signal.as_deref(), Some("SIGKILL"));
}

#[test]
fn a_program_that_is_not_there_fails_for_good_and_the_rest_runs_on() {
    let mut world = World::new(vec![process("a").restarted(RestartPolicy::Always), process("b")]);
    world.tell(Event::Up { names: Vec::new() });
    let run = world.run("a-1");

    let failed = Event::SpawnFailed { run, reason: "no such file".to_owned(), is_final: true };
    assert_eq!(world.tell(failed), ["spawn_failed a-1", "failed a-1"]);
    assert_eq!(world.state("a-1"), v1::State::Failed);
    assert_eq!(world.spawned("b-1"), ["started b-1"]);
}

#[test]
fn a_spawn_that_may_work_later_is_tried_again_by_policy() {
    let mut world = World::new(vec![process("a").restarted(RestartPolicy::OnFailure)]);
    world.tell(Event::Up { names: Vec::new() });
    let fail = |run| Event::SpawnFailed { run, reason: "no memory".to_owned(), is_final: false };

    assert_eq!(world.tell(fail(world.run("a-1"))), ["spawn_failed a-1", "starting a-1", "spawn a-1"]);
    assert_eq!(world.tell(fail(world.run("a-1"))), ["spawn_failed a-1", "backoff a-1"]);
}

#[test]
fn readiness_is_what_the_run_says_and_is_reported_once() {
    let mut world = World::up(vec![process("a").ready_by_sdk()]);

    assert_eq!((world.state("a-1"), world.status("a-1").ready), (v1::State::Starting, false));
    assert_eq!(world.ready("a-1"), ["ready a-1"]);
    assert_eq!((world.state("a-1"), world.status("a-1").ready), (v1::State::Running, true));
    assert_eq!(world.ready("a-1"), [""; 0]);
    assert_eq!(world.pass(Duration::from_secs(100)), [""; 0]);
}

#[test]
fn a_run_can_be_ready_before_its_spawn_is_known() {
    let mut world = World::new(vec![process("a").ready_by_sdk()]);
    world.tell(Event::Up { names: Vec::new() });

    assert_eq!(world.ready("a-1"), [""; 0]);
    assert_eq!(world.spawned("a-1"), ["started a-1", "ready a-1"]);
}

#[test]
fn not_ready_in_time_is_a_failure() {
    let mut world = World::up(vec![process("a").ready_by_sdk().restarted(RestartPolicy::OnFailure)]);

    assert_eq!(
        world.pass(Duration::from_secs(60)),
        ["not_ready a-1", "stopping a-1", "stop_event a-1 10000", "signal a-1 SIGTERM"]
    );
    assert_eq!(world.pass(Duration::from_secs(10)), ["kill a-1"]);
    assert_eq!(world.exit("a-1", SUCCESS), ["exited a-1 code 0", "starting a-1", "spawn a-1"]);
}

#[test]
fn a_stop_is_event_signal_grace_and_kill() {
    let mut world = World::up(vec![process("a").restarted(RestartPolicy::Always)]);

    assert_eq!(world.ask(stop("a")), ["stopping a-1", "stop_event a-1 10000", "signal a-1 SIGTERM"]);
    assert_eq!(world.pass(Duration::from_millis(9_999)), [""; 0]);
    assert_eq!(world.pass(Duration::from_millis(1)), ["kill a-1"]);
    assert_eq!(world.pass(Duration::from_secs(60)), [""; 0]);
    assert_eq!(world.exit("a-1", KILLED), ["exited a-1 SIGKILL", "stopped a-1", "reply 1 done"]);
    assert_eq!(world.state("a-1"), v1::State::Stopped);
}

#[test]
fn who_watches_for_the_stop_gets_half_the_grace_before_the_signal() {
    let mut world = World::up(vec![process("a")]);
    let run = world.run("a-1");
    assert_eq!(world.tell(Event::StopWatched { run }), [""; 0]);

    assert_eq!(world.ask(stop("a")), ["stopping a-1", "stop_event a-1 10000"]);
    assert_eq!(world.pass(Duration::from_secs(5)), ["signal a-1 SIGTERM"]);
    assert_eq!(world.pass(Duration::from_secs(5)), ["kill a-1"]);
}

#[test]
fn a_run_told_to_stop_while_being_spawned_is_asked_as_soon_as_it_runs() {
    let mut world = World::new(vec![process("a")]);
    world.tell(Event::Up { names: Vec::new() });

    assert_eq!(world.ask(stop("a")), [""; 0]);
    assert_eq!(world.state("a-1"), v1::State::Stopping);
    assert_eq!(world.spawned("a-1"), ["started a-1", "stopping a-1", "stop_event a-1 10000", "signal a-1 SIGTERM"]);
}

#[test]
fn a_run_told_to_stop_that_cannot_be_spawned_is_stopped() {
    let mut world = World::new(vec![process("a").restarted(RestartPolicy::Always)]);
    world.tell(Event::Up { names: Vec::new() });
    world.ask(stop("a"));

    let failed = Event::SpawnFailed { run: world.run("a-1"), reason: "no".to_owned(), is_final: false };
    assert_eq!(world.tell(failed), ["spawn_failed a-1", "stopped a-1", "reply 1 done"]);
}

#[test]
fn a_stop_ends_the_waiting_for_a_restart() {
    let mut world = World::up(vec![process("a").restarted(RestartPolicy::Always)]);
    world.exit("a-1", FAILURE);
    world.spawned("a-1");
    world.exit("a-1", FAILURE);

    assert_eq!(world.ask(stop("a")), ["stopped a-1", "reply 1 done"]);
    assert_eq!(world.pass(Duration::from_secs(60)), [""; 0]);
    assert_eq!(world.orc.next_deadline(), None);
}

#[test]
fn a_dependent_starts_when_its_dependence_is_ready_and_says_why_it_waits() {
    let mut world = World::up(vec![process("db").ready_by_sdk(), process("web").after(0, Condition::Ready)]);

    assert_eq!(world.state("web-1"), v1::State::Waiting);
    assert_eq!(world.status("web-1").waiting_for.as_deref(), Some("db is not ready"));
    assert_eq!(world.ready("db-1"), ["ready db-1", "starting web-1", "spawn web-1"]);
    assert_eq!(world.status("web-1").waiting_for, None);
}

#[test]
fn each_condition_holds_when_it_should() {
    let conditions =
        [Condition::Started, Condition::Ready, Condition::Succeeded, Condition::Failed, Condition::Finished];
    let after = |end: Option<Outcome>| {
        let mut processes = vec![process("a").ready_by_sdk()];
        processes.extend(conditions.iter().enumerate().map(|(n, c)| process(&format!("w{n}")).after(0, *c)));
        let mut world = World::up(processes);
        if let Some(outcome) = end {
            world.exit("a-1", outcome);
        }
        let started = |n: &usize| world.state(&format!("w{n}-1")) != v1::State::Waiting;
        (0..5).filter(started).map(|n| conditions[n]).collect::<Vec<_>>()
    };

    assert_eq!(after(None), [Condition::Started]);
    assert_eq!(after(Some(SUCCESS)), [Condition::Started, Condition::Succeeded, Condition::Finished]);
    assert_eq!(after(Some(FAILURE)), [Condition::Started, Condition::Failed, Condition::Finished]);
}

#[test]
fn a_condition_must_hold_of_all_replicas() {
    let mut world = World::new(vec![process("db").replicated(2), process("web").after(0, Condition::Started)]);
    world.tell(Event::Up { names: Vec::new() });

    assert_eq!(world.spawned("db-1"), ["started db-1"]);
    assert_eq!(world.spawned("db-2"), ["started db-2", "starting web-1", "spawn web-1"]);
}

#[test]
fn a_dependent_can_start_again_after_a_dependence_that_has_done_its_work() {
    let mut world = World::up(vec![process("build"), process("web").after(0, Condition::Ready)]);
    world.exit("build-1", SUCCESS);

    world.exit("web-1", FAILURE);
    assert_eq!(world.ask(start("web")), ["starting web-1", "spawn web-1", "reply 1 done"]);
}

#[test]
fn a_restart_by_policy_waits_for_its_dependence_too() {
    let mut world = World::up(vec![
        process("db").restarted(RestartPolicy::Always),
        process("web").after(0, Condition::Ready).restarted(RestartPolicy::Always),
    ]);
    world.exit("db-1", FAILURE);

    assert_eq!(world.exit("web-1", FAILURE), ["exited web-1 code 3"]);
    assert_eq!(world.state("web-1"), v1::State::Waiting);
    assert_eq!(world.spawned("db-1"), ["started db-1", "starting web-1", "spawn web-1"]);
}

//! Limits of restarts, what follows a dependence's end, and processes with which the application ends.

use super::*;

fn limited(restarts: u32, then: LimitReached) -> ProcessSpec {
    let mut spec = process("a").restarted(RestartPolicy::Always);
    spec.restart_limit = Some(RestartLimit { restarts, window: Duration::from_secs(60), then });
    spec
}

/// The run ends and what follows is spawned, up to the first restart that is not at once.
fn fail(world: &mut World, name: &str) -> Vec<String> {
    let lines = world.exit(name, FAILURE);
    if lines.iter().any(|line| line.starts_with("spawn")) {
        world.spawned(name);
    }
    lines
}

#[test]
fn one_restart_too_many_is_given_up() {
    let mut world = World::up(vec![limited(2, LimitReached::GiveUp)]);
    fail(&mut world, "a-1");
    assert_eq!(fail(&mut world, "a-1"), ["exited a-1 code 3", "backoff a-1"]);
    world.pass(Duration::from_millis(500));
    world.spawned("a-1");

    assert_eq!(fail(&mut world, "a-1"), ["exited a-1 code 3", "failed a-1 code 3"]);
    assert_eq!(world.state("a-1"), v1::State::Failed);

    world.ask(start("a"));
    world.spawned("a-1");
    assert_eq!(fail(&mut world, "a-1")[1..], ["starting a-1", "spawn a-1"], "a person's start begins anew");
}

#[test]
fn a_success_that_is_restarted_too_often_has_failed_too() {
    let mut world = World::up(vec![limited(1, LimitReached::GiveUp)]);
    world.exit("a-1", SUCCESS);
    world.spawned("a-1");
    assert_eq!(world.exit("a-1", SUCCESS), ["exited a-1 code 0", "failed a-1 code 0"]);
}

#[test]
fn restarts_beyond_the_window_do_not_count() {
    let mut world = World::up(vec![limited(1, LimitReached::GiveUp)]);
    for _ in 0..5 {
        assert_eq!(fail(&mut world, "a-1")[1..], ["starting a-1", "spawn a-1"]);
        world.pass(Duration::from_secs(60));
    }
}

#[test]
fn who_keeps_trying_does_so_at_the_cap() {
    let mut world = World::up(vec![limited(1, LimitReached::KeepTrying)]);
    fail(&mut world, "a-1");
    for _ in 0..5 {
        assert_eq!(fail(&mut world, "a-1")[1..], ["backoff a-1"]);
        assert_eq!(world.pass(Duration::from_millis(29_999)), [""; 0]);
        assert_eq!(world.pass(Duration::from_millis(1)), ["starting a-1", "spawn a-1"]);
        world.spawned("a-1");
    }
}

#[test]
fn the_application_goes_down_in_order_with_who_gives_up_on_it() {
    let mut world = World::up(vec![limited(1, LimitReached::Shutdown), process("b").after(0, Condition::Started)]);
    fail(&mut world, "a-1");

    assert_eq!(
        fail(&mut world, "a-1"),
        ["exited a-1 code 3", "failed a-1 code 3", "stopping b-1", "stop_event b-1 10000", "signal b-1 SIGTERM",]
    );
    assert!(world.orc.is_going_down());
    assert_eq!(world.exit("b-1", SUCCESS), ["exited b-1 code 0", "stopped b-1", "orchestrator_stopped code 1", "end"]);
    assert_eq!(world.orc.exit_code(), 1);
}

#[test]
fn jitter_shortens_delays_and_is_the_same_when_replayed() {
    let delays = || {
        let mut spec = process("a").restarted(RestartPolicy::Always);
        spec.backoff = Backoff { factor: 1.0, jitter: 0.5, ..spec.backoff };
        let mut world = World::up(vec![spec]);
        fail(&mut world, "a-1");
        let mut delays = Vec::new();
        for _ in 0..20 {
            fail(&mut world, "a-1");
            let at = world.orc.next_deadline().and_then(|at| at.mono).expect("a restart is due");
            delays.push(at - world.now.mono);
            world.pass(Duration::from_millis(500));
            world.spawned("a-1");
        }
        delays
    };
    let first = delays();
    assert!(first.iter().all(|delay| (250..=500).contains(&delay.as_millis())), "{first:?}");
    assert!(first.iter().any(|delay| *delay != first[0]), "{first:?}");
    assert_eq!(first, delays());
}

/// A web server on a database, and what it does when that ends.
fn on(on_dependence_restart: OnDependenceRestart) -> World {
    let mut web = process("web").after(0, Condition::Ready);
    web.on_dependence_restart = on_dependence_restart;
    World::up(vec![process("db").restarted(RestartPolicy::OnFailure), web])
}

#[test]
fn a_dependent_is_restarted_with_what_it_depends_on() {
    let mut world = on(OnDependenceRestart::Restart);

    let lines = world.exit("db-1", FAILURE);
    assert_eq!(lines[1..4], ["stopping web-1", "stop_event web-1 10000", "signal web-1 SIGTERM"]);
    assert_eq!(world.exit("web-1", SUCCESS), ["exited web-1 code 0"]);
    assert_eq!(world.state("web-1"), v1::State::Waiting);
    assert_eq!(world.spawned("db-1"), ["started db-1", "starting web-1", "spawn web-1"]);
}

#[test]
fn a_dependent_is_stopped_with_what_it_depends_on() {
    let mut world = on(OnDependenceRestart::Stop);
    world.ask(restart("db"));
    assert_eq!(world.state("web-1"), v1::State::Running);

    world.exit("db-1", SUCCESS);
    assert_eq!(world.exit("web-1", SUCCESS), ["exited web-1 code 0", "stopped web-1"]);
    assert_eq!(world.spawned("db-1")[0], "started db-1");
    assert_eq!(world.state("web-1"), v1::State::Stopped);
}

#[test]
fn a_dependent_goes_on_unless_it_says_otherwise_and_when_the_work_is_done() {
    let mut world = on(OnDependenceRestart::Ignore);
    world.exit("db-1", FAILURE);
    assert_eq!(world.state("web-1"), v1::State::Running);

    let mut world = on(OnDependenceRestart::Restart);
    world.exit("db-1", SUCCESS);
    assert_eq!(world.state("web-1"), v1::State::Running, "a dependence that has done its work is not missed");
}

#[test]
fn a_run_that_is_being_spawned_is_started_again_too() {
    let mut world = World::new({
        let mut web = process("web").after(0, Condition::Ready);
        web.on_dependence_restart = OnDependenceRestart::Restart;
        vec![process("db").restarted(RestartPolicy::OnFailure), web]
    });
    world.tell(Event::Up { names: Vec::new() });
    world.spawned("db-1");
    world.exit("db-1", FAILURE);

    assert_eq!(world.spawned("web-1")[1], "stopping web-1");
    assert_eq!(world.exit("web-1", KILLED), ["exited web-1 SIGKILL"]);
    assert_eq!(world.state("web-1"), v1::State::Waiting);
}

#[test]
fn the_application_ends_with_its_significant_process() {
    for (outcome, line, code) in [
        (SUCCESS, "orchestrator_stopped code 0", 0),
        (FAILURE, "orchestrator_stopped code 3", 3),
        (KILLED, "orchestrator_stopped code 137", 137),
        (Outcome::Code(256), "orchestrator_stopped code 1", 1),
        (Outcome::Unknown, "orchestrator_stopped code 1", 1),
    ] {
        let mut test = process("test").replicated(2);
        test.significant = true;
        let mut world = World::up(vec![test, process("db")]);

        world.exit("test-2", outcome);
        world.exit("db-1", SUCCESS);
        let lines = world.exit("test-1", FAILURE);
        assert_eq!(lines[2..], [line, "end"], "{outcome:?}");
        assert_eq!(world.orc.exit_code(), code);
    }
}

#[test]
fn what_a_person_stops_or_policy_restarts_has_not_finished() {
    let mut test = process("test").restarted(RestartPolicy::OnFailure);
    test.significant = true;
    let mut world = World::up(vec![test]);
    world.exit("test-1", FAILURE);
    world.spawned("test-1");
    world.ask(stop("test"));
    world.exit("test-1", FAILURE);

    assert!(!world.orc.is_going_down());
    world.ask(Command::Down { grace: None, kill: false });
    assert_eq!(world.orc.exit_code(), 0);
}

#[test]
fn who_waits_for_a_run_that_ends_the_application_is_told_how_it_ended() {
    let mut test = process("test").triggered_by(Trigger::Manual);
    test.significant = true;
    let mut world = World::up(vec![test]);
    world.ask(trigger("test", true));
    world.spawned("test-1");

    let lines = world.exit("test-1", FAILURE);
    assert!(lines.contains(&"reply 1 triggered run Some(3) None Some(false)".to_owned()), "{lines:?}");
    assert_eq!(lines[lines.len() - 2..], ["orchestrator_stopped code 3", "end"]);
}

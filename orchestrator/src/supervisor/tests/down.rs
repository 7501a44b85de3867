use super::*;

const DOWN: Command = Command::Down { grace: None, kill: false };

fn chain() -> Vec<ProcessSpec> {
    vec![
        process("db").restarted(RestartPolicy::Always),
        process("migrate").after(0, Condition::Ready),
        process("web").after(1, Condition::Succeeded).restarted(RestartPolicy::Always),
    ]
}

#[test]
fn everything_is_stopped_after_what_depends_on_it_and_then_it_ends() {
    let mut world = World::up(chain());
    world.exit("migrate-1", SUCCESS);
    world.spawned("web-1");

    assert_eq!(world.ask(DOWN), ["stopping web-1", "stop_event web-1 10000", "signal web-1 SIGTERM"]);
    assert_eq!(
        world.exit("web-1", SUCCESS),
        ["exited web-1 code 0", "stopped web-1", "stopping db-1", "stop_event db-1 10000", "signal db-1 SIGTERM"]
    );
    assert_eq!(
        world.exit("db-1", SUCCESS),
        ["exited db-1 code 0", "stopped db-1", "reply 1 done", "orchestrator_stopped", "end"]
    );
    assert_eq!(world.tell(Event::Terminate), [""; 0]);
    assert_eq!(world.ask(Command::Ps), ["reply 2 CONFLICT cannot list processes: the application is stopping"]);
}

#[test]
fn with_nothing_running_it_ends_at_once() {
    let mut world = World::up(vec![process("a").triggered_by(Trigger::Manual)]);
    assert_eq!(world.ask(DOWN), ["reply 1 done", "orchestrator_stopped", "end"]);
}

#[test]
fn what_waits_or_backs_off_never_starts() {
    let mut world = World::up(vec![
        process("a").ready_by_sdk().restarted(RestartPolicy::Always),
        process("b").after(0, Condition::Ready),
    ]);
    world.exit("a-1", FAILURE);
    world.spawned("a-1");
    world.exit("a-1", FAILURE);

    assert_eq!(world.ask(DOWN), ["stopped b-1", "stopped a-1", "reply 1 done", "orchestrator_stopped", "end"]);
}

#[test]
fn an_end_on_the_way_down_is_no_finish_and_is_not_restarted() {
    let mut world = World::up(vec![
        process("a").restarted(RestartPolicy::Always),
        process("b").after(0, Condition::Ready),
        process("c").triggered_by(finish_of(&[0], FinishKind::Finished)),
    ]);
    world.ask(DOWN);

    assert_eq!(world.exit("a-1", FAILURE), ["exited a-1 code 3", "stopped a-1"]);
    assert_eq!(
        world.exit("b-1", SUCCESS),
        ["exited b-1 code 0", "stopped b-1", "reply 1 done", "orchestrator_stopped", "end"]
    );
}

#[test]
fn a_second_signal_kills_everything_at_once() {
    let mut world = World::up(vec![process("a"), process("b").after(0, Condition::Ready)]);
    assert_eq!(world.tell(Event::Terminate), ["stopping b-1", "stop_event b-1 10000", "signal b-1 SIGTERM"]);

    assert_eq!(world.tell(Event::Terminate), ["kill b-1", "stopping a-1", "kill a-1"]);
    world.exit("a-1", KILLED);
    assert_eq!(world.exit("b-1", KILLED), ["exited b-1 SIGKILL", "stopped b-1", "orchestrator_stopped", "end"]);
}

#[test]
fn down_can_kill_and_can_set_the_grace() {
    let mut world = World::up(vec![process("a")]);
    assert_eq!(world.ask(Command::Down { grace: None, kill: true }), ["stopping a-1", "kill a-1"]);

    let mut world = World::up(vec![process("a")]);
    let soon = Duration::from_secs(1);
    assert_eq!(
        world.ask(Command::Down { grace: Some(soon), kill: false }),
        ["stopping a-1", "stop_event a-1 1000", "signal a-1 SIGTERM"]
    );
    assert_eq!(world.pass(soon), ["kill a-1"]);
}

#[test]
fn a_run_that_is_being_spawned_is_stopped_too() {
    let mut world = World::new(vec![process("a")]);
    world.tell(Event::Up { names: Vec::new() });
    assert_eq!(world.ask(Command::Down { grace: None, kill: true }), [""; 0]);
    assert_eq!(world.spawned("a-1"), ["started a-1", "stopping a-1", "kill a-1"]);
}

#[test]
fn nothing_new_starts_and_who_waits_is_told() {
    let mut world = World::up(vec![process("a").ready_by_sdk(), process("b").triggered_by(Trigger::Manual)]);
    world.ask(wait_up(&[]));
    world.ask(trigger("b", true));
    world.spawned("b-1");

    let lines = world.ask(DOWN);
    assert_eq!(lines[0], "reply 1 CONFLICT cannot do that: the application is stopping");
    assert_eq!(world.ask(start("a")), ["reply 4 CONFLICT cannot start a: the application is stopping"]);
    assert_eq!(
        world.exit("b-1", SUCCESS),
        ["exited b-1 code 0", "stopped b-1", "reply 2 triggered run Some(0) None Some(false)"]
    );
    assert_eq!(world.ask(DOWN), [""; 0]);
    assert_eq!(world.exit("a-1", SUCCESS)[2..], ["reply 3 done", "reply 5 done", "orchestrator_stopped", "end"]);
}

#[test]
fn its_grace_holds_for_what_was_being_stopped_before() {
    let mut world = World::up(vec![process("a")]);
    world.ask(stop("a"));
    world.ask(Command::Down { grace: Some(Duration::from_secs(2)), kill: false });
    assert_eq!(world.pass(Duration::from_millis(1_999)), [""; 0]);
    assert_eq!(world.pass(Duration::from_millis(1)), ["kill a-1"]);
}

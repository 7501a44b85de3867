use super::*;

#[test]
fn names_are_processes_and_internal_names_and_a_slip_is_pointed_out() {
    let mut world = World::up(vec![process("station").replicated(2)]);

    assert_eq!(
        world.ask(stop("station-2")),
        ["stopping station-2", "stop_event station-2 10000", "signal station-2 SIGTERM"]
    );
    assert_eq!(world.state("station-1"), v1::State::Running);
    assert_eq!(
        world.ask(stop("sttaion")),
        ["reply 2 NOT_FOUND cannot stop sttaion: no process is called that; is station meant?"]
    );
    assert_eq!(world.ask(stop("station-3")).len(), 1);
    assert_eq!(world.ask(start("@all")), ["reply 4 NOT_FOUND cannot start @all: no group is called all"]);
    assert_eq!(
        world.ask(Command::Stop { names: Vec::new() }),
        ["reply 5 INVALID_ARGUMENT cannot stop: no name was given"]
    );
}

#[test]
fn to_do_again_what_is_done_is_done() {
    let mut world = World::up(vec![process("a")]);

    assert_eq!(world.ask(start("a")), ["reply 1 done"]);
    world.ask(stop("a"));
    assert_eq!(world.ask(stop("a")), [""; 0], "it is on its way");
    assert_eq!(world.exit("a-1", SUCCESS), ["exited a-1 code 0", "stopped a-1", "reply 2 done", "reply 3 done"]);
    assert_eq!(world.ask(stop("a")), ["reply 4 done"]);
}

#[test]
fn a_start_while_it_is_being_stopped_follows_the_stop() {
    let mut world = World::up(vec![process("a")]);
    world.ask(stop("a"));

    assert_eq!(world.ask(start("a")), ["reply 2 done"]);
    assert_eq!(world.exit("a-1", SUCCESS), ["exited a-1 code 0", "reply 1 done", "starting a-1", "spawn a-1"]);
}

#[test]
fn a_start_brings_what_it_depends_on() {
    let mut world = World::new(vec![
        process("db"),
        process("tool").triggered_by(Trigger::Manual),
        process("web").after(0, Condition::Ready).after(1, Condition::Ready),
        process("other"),
    ]);

    assert_eq!(
        world.ask(start("web")),
        ["starting db-1", "spawn db-1", "starting tool-1", "spawn tool-1", "reply 1 done"]
    );
    world.spawned("db-1");
    assert_eq!(world.spawned("tool-1"), ["started tool-1", "starting web-1", "spawn web-1"]);
    assert_eq!(world.state("other-1"), v1::State::Idle, "nobody has stopped it");
}

#[test]
fn up_with_names_starts_and_arms_those_and_what_they_depend_on() {
    let mut world = World::new(vec![
        process("a").triggered_by(every("* * * * *")),
        process("b").triggered_by(finish_of(&[0], FinishKind::Succeeded)),
        process("c"),
    ]);

    assert_eq!(world.tell(Event::Up { names: names(&["b"]) }), [""; 0]);
    assert_eq!(world.state("a-1"), v1::State::Idle);
    assert_eq!(world.state("b-1"), v1::State::Idle);
    assert_eq!(world.state("c-1"), v1::State::Idle, "nobody has stopped it");
}

#[test]
fn what_up_with_names_leaves_out_is_idle_and_none_of_its_triggers_fires() {
    let mut world = World::new(vec![
        process("a"),
        process("after").triggered_by(finish_of(&[0], FinishKind::Finished)),
        process("tick").triggered_by(every("* * * * *")),
    ]);
    world.tell(Event::Up { names: names(&["a"]) });
    world.spawned("a-1");

    assert_eq!(world.exit("a-1", SUCCESS), ["exited a-1 code 0", "finished a-1 code 0"]);
    assert_eq!((world.state("after-1"), world.state("tick-1")), (v1::State::Idle, v1::State::Idle));
    assert_eq!(world.status("tick-1").next_run, None);
    world.ask(start("after"));
    world.ask(start("a"));
    world.spawned("a-1");
    assert_eq!(world.exit("a-1", SUCCESS)[2..], ["starting after-1", "spawn after-1"]);
}

#[test]
fn a_start_does_not_wait_for_the_backoff() {
    let mut world = World::up(vec![process("a").restarted(RestartPolicy::Always)]);
    world.exit("a-1", FAILURE);
    world.spawned("a-1");
    world.exit("a-1", FAILURE);

    assert_eq!(world.ask(start("a")), ["starting a-1", "spawn a-1", "reply 1 done"]);
    assert_eq!(world.status("a-1").restarts, 0);
}

#[test]
fn a_restart_answers_when_the_new_run_is_spawned() {
    let mut world = World::up(vec![process("a")]);

    assert_eq!(world.ask(restart("a")), ["stopping a-1", "stop_event a-1 10000", "signal a-1 SIGTERM"]);
    assert_eq!(world.exit("a-1", SUCCESS), ["exited a-1 code 0", "starting a-1", "spawn a-1"]);
    assert_eq!(world.spawned("a-1"), ["started a-1", "reply 1 done"]);
}

#[test]
fn a_restart_that_cannot_be_spawned_says_so() {
    let mut world = World::up(vec![process("a")]);
    world.ask(restart("a"));
    world.exit("a-1", SUCCESS);

    let failed = Event::SpawnFailed { run: world.run("a-1"), reason: "no such file".to_owned(), is_final: true };
    assert_eq!(
        world.tell(failed),
        ["spawn_failed a-1", "failed a-1", "reply 1 INTERNAL cannot restart a-1: no such file"]
    );
}

#[test]
fn a_restart_cut_short_by_a_stop_says_so() {
    let mut world = World::up(vec![process("a")]);
    world.ask(restart("a"));
    world.ask(stop("a"));

    assert_eq!(
        world.exit("a-1", SUCCESS),
        ["exited a-1 code 0", "stopped a-1", "reply 2 done", "reply 1 INTERNAL cannot restart a-1: it was stopped"]
    );
}

#[test]
fn a_trigger_runs_once_with_its_arguments_whatever_the_type() {
    let mut world = World::up(vec![process("a").triggered_by(Trigger::Manual)]);
    assert_eq!(world.state("a-1"), v1::State::Idle);

    let command = Command::Trigger { name: "a".to_owned(), args: names(&["-v", "x"]), wait: true };
    assert_eq!(world.ask(command), ["starting a-1", "spawn a-1 -v x"]);
    world.spawned("a-1");
    assert_eq!(
        world.exit("a-1", FAILURE),
        ["exited a-1 code 3", "failed a-1 code 3", "reply 1 triggered run Some(3) None Some(false)"]
    );
}

#[test]
fn a_trigger_answers_by_signal_and_spans_restarts() {
    let mut world = World::up(vec![process("a").triggered_by(Trigger::Manual).restarted(RestartPolicy::OnFailure)]);
    world.ask(trigger("a", true));
    world.spawned("a-1");
    world.exit("a-1", FAILURE);
    world.spawned("a-1");

    assert_eq!(
        world.exit("a-1", SUCCESS),
        ["exited a-1 code 0", "finished a-1 code 0", "reply 1 triggered run Some(0) None Some(true)"]
    );
    world.ask(trigger("a", true));
    world.spawned("a-1");
    world.ask(stop("a"));
    assert_eq!(
        world.exit("a-1", KILLED),
        ["exited a-1 SIGKILL", "stopped a-1", "reply 3 done", "reply 2 triggered run None Some(9) Some(false)"]
    );
}

#[test]
fn a_triggered_run_that_never_comes_is_told() {
    let mut world = World::up(vec![
        process("db").ready_by_sdk(),
        process("a").triggered_by(Trigger::Manual).after(0, Condition::Ready),
    ]);
    assert_eq!(world.ask(trigger("a", true)), [""; 0]);

    assert_eq!(world.ask(stop("a")), ["stopped a-1", "reply 1 CONFLICT cannot run a: it was stopped", "reply 2 done"]);
}

#[test]
fn a_trigger_waits_for_all_replicas_and_tells_of_the_one_that_failed() {
    let mut world = World::up(vec![process("a").triggered_by(Trigger::Manual).replicated(2)]);
    world.ask(trigger("a", true));
    world.spawned("a-1");
    world.spawned("a-2");

    assert_eq!(world.exit("a-1", SUCCESS).len(), 2);
    assert_eq!(world.exit("a-2", FAILURE)[2], "reply 1 triggered run Some(3) None Some(false)");
}

#[test]
fn a_signal_goes_to_what_runs() {
    let mut world = World::up(vec![process("a")]);
    let kill = || Command::Kill { name: "a".to_owned(), signal: "SIGHUP".to_owned() };

    assert_eq!(world.ask(kill()), ["signal a-1 SIGHUP", "reply 1 done"]);
    world.exit("a-1", SUCCESS);
    assert_eq!(world.ask(kill()), ["reply 2 NOT_RUNNING cannot signal a: it does not run"]);
}

#[test]
fn a_run_may_read_and_stop_itself_and_nothing_else_without_control() {
    let mut boss = process("boss");
    boss.control = true;
    let mut world = World::up(vec![process("a"), process("b"), boss]);
    let by = Requester::Run(world.run("a-1"));

    assert_eq!(world.ask_as(by, Command::Ps), ["reply 1 processes"]);
    for command in [stop("b"), start("a"), restart("a"), trigger("a", false), Command::Down { grace: None, kill: true }]
    {
        let lines = world.ask_as(by, command);
        assert_eq!((lines.len(), lines[0].contains("FORBIDDEN")), (1, true), "{lines:?}");
    }
    assert_eq!(world.ask_as(by, stop("a-1"))[0], "stopping a-1");
    assert_eq!(world.ask_as(Requester::Run(world.run("boss-1")), stop("b"))[0], "stopping b-1");
    world.exit("a-1", SUCCESS);
    assert!(world.ask_as(by, stop("a-1"))[0].contains("FORBIDDEN"), "a run that has ended stops nothing");
}

#[test]
fn a_wait_for_up_holds_when_everything_is_ready_or_done() {
    let mut world =
        World::new(vec![process("a").ready_by_sdk(), process("b"), process("c").triggered_by(Trigger::Manual)]);
    world.tell(Event::Up { names: Vec::new() });
    assert_eq!(world.ask(wait_up(&[])), [""; 0]);

    world.spawned("a-1");
    world.ready("a-1");
    world.spawned("b-1");
    assert_eq!(world.ask(wait_up(&[])), ["reply 2 done"]);
}

#[test]
fn a_wait_for_up_counts_a_success_and_answers_in_time() {
    let mut world = World::new(vec![process("a").ready_by_sdk()]);
    world.tell(Event::Up { names: Vec::new() });
    world.ask(wait_up(&[]));
    world.spawned("a-1");

    assert_eq!(world.exit("a-1", SUCCESS), ["exited a-1 code 0", "finished a-1 code 0", "reply 1 done"]);
}

#[test]
fn a_wait_for_up_fails_when_something_failed_for_good() {
    let mut world = World::up(vec![process("a").ready_by_sdk()]);
    world.ask(wait_up(&[]));

    assert_eq!(
        world.exit("a-1", FAILURE),
        ["exited a-1 code 3", "failed a-1 code 3", "reply 1 INTERNAL cannot bring up a-1: it failed: exit code 3"]
    );
}

#[test]
fn a_wait_for_up_fails_when_only_a_person_could_end_the_waiting() {
    let mut world = World::up(vec![
        process("tool").triggered_by(Trigger::Manual),
        process("web").after(0, Condition::Ready),
        process("front").after(1, Condition::Ready),
    ]);
    assert_eq!(
        world.ask(wait_up(&["front"])),
        ["reply 1 INTERNAL cannot bring up front-1: it waits, and web is not ready (it waits itself)"]
    );
    world.ask(start("tool"));
    assert_eq!(world.ask(wait_up(&["front"])), [""; 0]);
    world.spawned("tool-1");
    world.spawned("web-1");
    assert_eq!(world.spawned("front-1"), ["started front-1", "reply 3 done"]);
}

#[test]
fn a_wait_for_up_notices_when_a_dependence_of_its_dependence_fails() {
    let mut world = World::up(vec![
        process("db").ready_by_sdk(),
        process("web").after(0, Condition::Ready),
        process("front").after(1, Condition::Ready),
    ]);
    world.ask(wait_up(&["front"]));

    assert_eq!(
        world.exit("db-1", FAILURE)[2],
        "reply 1 INTERNAL cannot bring up front-1: it waits, and web is not ready (it waits itself)"
    );
}

#[test]
fn waiting_for_a_schedule_is_no_matter_for_a_person() {
    let mut world = World::up(vec![
        process("daily").triggered_by(every("0 6 * * *")),
        process("web").after(0, Condition::Succeeded),
    ]);
    assert_eq!(world.ask(wait_up(&[])), [""; 0]);
    world.ask(stop("daily"));
    assert_eq!(
        world.ask(wait_up(&[])),
        ["reply 3 INTERNAL cannot bring up web-1: it waits, and daily has not succeeded (it is stopped)"]
    );
}

#[test]
fn waits_for_ready_and_finished_are_answered_when_it_is_so() {
    let wait = |condition| Command::Wait { names: names(&["a"]), condition };
    let mut world = World::up(vec![process("a").ready_by_sdk()]);

    assert_eq!(world.ask(wait(v1::wait::Condition::Ready)), [""; 0]);
    assert_eq!(world.ask(wait(v1::wait::Condition::Finished)), [""; 0]);
    assert_eq!(world.ready("a-1"), ["ready a-1", "reply 1 done"]);
    assert_eq!(world.exit("a-1", FAILURE)[2], "reply 2 done");
    assert_eq!(world.ask(wait(v1::wait::Condition::Finished)), ["reply 3 done"]);
}

#[test]
fn who_has_gone_is_not_answered() {
    let mut world = World::up(vec![process("a")]);
    world.ask(stop("a"));

    world.tell(Event::RequestGone { request: RequestId(1) });
    assert_eq!(world.exit("a-1", SUCCESS), ["exited a-1 code 0", "stopped a-1"]);
}

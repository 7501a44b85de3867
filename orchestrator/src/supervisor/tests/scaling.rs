//! Replicas that come and go, and groups.

use super::*;

fn scale(name: &str, replicas: u32) -> Command {
    Command::Scale { to: vec![(name.to_owned(), replicas)] }
}

fn shown(world: &World) -> Vec<String> {
    world.orc.processes().processes.into_iter().map(|status| status.internal_name).collect()
}

#[test]
fn scaling_up_starts_new_instances_and_leaves_the_others_alone() {
    let mut world = World::up(vec![process("web")]);
    assert_eq!(
        world.ask(scale("web", 3)),
        [
            "adopt",
            "starting web-2",
            "spawn web-2",
            "starting web-3",
            "spawn web-3",
            "reply 1 changes; scale web replicas 1>3",
        ]
    );
    assert_eq!(world.state("web-1"), v1::State::Running);
}

#[test]
fn scaling_down_stops_the_highest_and_answers_when_they_are_gone() {
    let mut world = World::up(vec![process("web").replicated(3)]);
    let said = world.ask(scale("web", 1));
    assert!(said.contains(&"signal web-3 SIGTERM".to_owned()) && said.contains(&"signal web-2 SIGTERM".to_owned()));
    assert!(!said.iter().any(|line| line.starts_with("reply")), "{said:?}");
    assert_eq!(shown(&world), ["web-1", "web-2", "web-3"]);

    // web-2 keeps its place as long as web-3 is there, and is not shown any more.
    assert_eq!(world.exit("web-2", SUCCESS), ["exited web-2 code 0", "stopped web-2", "forget web-2"]);
    assert_eq!(shown(&world), ["web-1", "web-3"]);
    assert_eq!(
        world.ask(stop("web-2")),
        ["reply 2 NOT_FOUND cannot stop web-2: no process is called that; is web meant?"]
    );
    assert_eq!(
        world.exit("web-3", SUCCESS),
        ["exited web-3 code 0", "stopped web-3", "reply 1 changes; scale web replicas 3>1", "forget web-3"]
    );
    assert_eq!(shown(&world), ["web-1"]);
}

#[test]
fn an_instance_that_is_on_its_way_out_comes_back_when_it_is_wanted_again() {
    let mut world = World::up(vec![process("web").replicated(2)]);
    world.ask(scale("web", 1));
    world.ask(scale("web", 2));
    let said = world.exit("web-2", SUCCESS);
    assert_eq!(
        said,
        ["exited web-2 code 0", "reply 1 changes; scale web replicas 2>1", "starting web-2", "spawn web-2",]
    );
    assert_eq!(shown(&world), ["web-1", "web-2"]);
}

#[test]
fn scaled_to_none_nothing_of_it_holds_and_it_comes_back() {
    let mut world = World::up(vec![process("db"), process("web").after(0, Condition::Ready)]);
    world.ask(scale("db", 0));
    world.exit("db-1", SUCCESS);
    assert_eq!(shown(&world), ["web-1"]);
    world.ask(restart("web"));
    world.exit("web-1", SUCCESS);
    assert_eq!(world.status("web-1").waiting_for.as_deref(), Some("db is not ready (it has no instances)"));

    world.ask(scale("db", 1));
    assert!(world.spawned("db-1").contains(&"spawn web-1".to_owned()));
}

#[test]
fn a_new_instance_of_what_is_triggered_is_armed_and_waits_for_its_trigger() {
    let mut world = World::up(vec![process("job").triggered_by(every("* * * * *"))]);
    world.ask(scale("job", 2));
    assert_eq!(world.state("job-2"), v1::State::Idle);
    let fired = world.pass(Duration::from_secs(60));
    assert!(fired.contains(&"spawn job-1".to_owned()) && fired.contains(&"spawn job-2".to_owned()), "{fired:?}");
}

#[test]
fn whoever_waits_for_an_instance_that_goes_waits_no_longer() {
    let mut world = World::up(vec![process("web").ready_by_sdk().replicated(2)]);
    world.ready("web-1");
    world.ask(Command::Wait { names: names(&["web"]), condition: v1::wait::Condition::Ready });
    world.ask(scale("web", 1));
    let said = world.exit("web-2", SUCCESS);
    assert!(said.contains(&"reply 1 done".to_owned()), "{said:?}");
}

#[test]
fn what_cannot_be_scaled_is_told() {
    let mut world = World::up(vec![process("web"), process("other")]);
    for (name, replicas, why) in [
        ("nobody", 1, "NOT_FOUND cannot scale nobody: no process is called that"),
        ("web-1", 1, "INVALID_ARGUMENT cannot scale web-1: it is an instance; its process can be scaled"),
        ("web", 10_001, "INVALID_ARGUMENT cannot scale web: 10001 is not from 0 to 10000"),
        ("@none", 1, "NOT_FOUND cannot scale @none: no group is called none"),
    ] {
        let said = world.ask(scale(name, replicas));
        assert_eq!(said, [format!("reply {} {why}", world.requests)]);
    }
    let by = Requester::Run(world.run("other-1"));
    let said = world.ask_as(by, scale("web", 2));
    assert!(said[0].contains("FORBIDDEN cannot scale: this run may not control others"), "{said:?}");
}

#[test]
fn the_same_number_changes_nothing() {
    let mut world = World::up(vec![process("web")]);
    assert_eq!(world.ask(scale("web", 1)), ["reply 1 changes"]);
}

fn grouped(name: &str, group: &str) -> ProcessSpec {
    ProcessSpec { groups: vec![group.to_owned()], ..process(name) }
}

#[test]
fn a_group_means_all_instances_of_its_processes() {
    let mut world = World::up(vec![grouped("db", "back"), grouped("api", "back").replicated(2), process("web")]);
    let said = world.ask(stop("@back"));
    for name in ["db-1", "api-1", "api-2"] {
        assert!(said.contains(&format!("signal {name} SIGTERM")), "{said:?}");
    }
    assert!(!said.iter().any(|line| line.contains("web")), "{said:?}");
    assert_eq!(
        world.ask(stop("@bakc")),
        ["reply 2 NOT_FOUND cannot stop @bakc: no group is called bakc; is @back meant?"]
    );
}

#[test]
fn a_group_is_triggered_process_by_process() {
    let manual = |name| grouped(name, "jobs").triggered_by(Trigger::Manual);
    let mut world = World::up(vec![manual("one"), manual("two")]);
    let said = world.ask(trigger("@jobs", true));
    assert!(said.contains(&"spawn one-1".to_owned()) && said.contains(&"spawn two-1".to_owned()), "{said:?}");
    world.spawn_all();
    world.exit("one-1", SUCCESS);
    let said = world.exit("two-1", FAILURE);
    assert_eq!(said.last().map(String::as_str), Some("reply 1 triggered run Some(3) None Some(false)"));

    world.ask(trigger("one", false));
    let said = world.ask(trigger("@jobs", false));
    assert_eq!(
        said.last().map(String::as_str),
        Some("reply 3 CONFLICT cannot trigger @jobs: of one, a run is under way")
    );
}

#[test]
fn what_is_on_its_way_out_for_good_is_not_started_again() {
    let mut world = World::up(vec![process("web").replicated(2)]);
    world.ask(scale("web", 1));
    assert_eq!(world.ask(start("web")), ["reply 2 done"]);
    let said = world.exit("web-2", SUCCESS);
    assert!(!said.iter().any(|line| line.starts_with("spawn")), "{said:?}");
    assert_eq!(shown(&world), ["web-1"]);
}

#[test]
fn a_restart_of_what_has_no_instances_is_answered() {
    let mut world = World::up(vec![process("web")]);
    world.ask(scale("web", 0));
    world.exit("web-1", SUCCESS);
    assert_eq!(world.ask(restart("web")), ["reply 2 done"]);
}

#[test]
fn a_stopped_instance_is_not_free_for_a_trigger() {
    let allowed = process("job").triggered_by(every("* * * * *")).overlapping(Overlap::Allow).replicated(2);
    let mut world = World::up(vec![allowed]);
    world.ask(stop("job-1"));
    world.pass(Duration::from_secs(60));
    let said = world.pass(Duration::from_secs(60));
    assert!(said.iter().all(|line| !line.contains("job-1")), "{said:?}");
}

#[test]
fn every_instance_that_is_too_much_is_forgotten_at_rest_too() {
    let mut world = World::up(vec![process("job").triggered_by(every("* * * * *")).replicated(3)]);
    let said = world.ask(scale("job", 0));
    for name in ["job-1", "job-2", "job-3"] {
        assert!(said.contains(&format!("forget {name}")), "{said:?}");
    }
    assert_eq!(world.orc.next_deadline(), None, "{said:?}");
}

#[test]
fn what_depends_on_a_process_waits_for_the_instances_that_the_same_scale_adds() {
    let web = process("web").after(0, Condition::Ready).after(1, Condition::Ready);
    let mut world = World::up(vec![process("cache"), process("db"), web]);
    world.ask(scale("cache", 0));
    world.exit("cache-1", SUCCESS);
    world.ask(restart("web"));
    world.exit("web-1", SUCCESS);
    world.ask(Command::Scale { to: vec![("cache".to_owned(), 1), ("db".to_owned(), 2)] });
    assert!(world.spawned("cache-1").iter().all(|line| line != "spawn web-1"));
    assert!(world.spawned("db-2").contains(&"spawn web-1".to_owned()));
}

#[test]
fn all_that_are_scaled_away_while_others_stand_behind_them_are_forgotten() {
    let failing = ProcessSpec { stop_grace: Duration::ZERO, ..process("web").replicated(3) };
    let mut world = World::up(vec![failing.restarted(RestartPolicy::Always)]);
    for name in ["web-2", "web-3"] {
        world.exit(name, FAILURE);
        world.spawn_all();
        world.exit(name, FAILURE);
        assert_eq!(world.state(name), v1::State::Backoff);
    }
    let said = world.ask(scale("web", 1));
    let forgotten: Vec<&String> = said.iter().filter(|line| line.starts_with("forget")).collect();
    assert_eq!(forgotten.len(), 2, "{said:?}");
    assert_eq!(shown(&world), ["web-1"]);
}

#[test]
fn one_that_comes_back_knows_nothing_of_the_one_before() {
    let source = ProcessSpec { overlap: Overlap::Allow, max_instances: 2, ..process("job") };
    let mut world = World::up(vec![source, process("next").after(0, Condition::Finished)]);
    world.exit("job-1", SUCCESS);
    world.spawn_all();
    world.ask(trigger("job", false));
    world.ask(trigger("job", false));
    world.spawn_all();
    world.exit("job-1", SUCCESS);
    // The second one holds the place of the first.
    world.ask(scale("job", 0));
    world.exit("next-1", FAILURE);
    world.ask(start("next"));
    assert_eq!(world.state("next-1"), v1::State::Waiting);

    world.ask(scale("job", 1));

    assert_eq!(world.state("next-1"), v1::State::Waiting);
}

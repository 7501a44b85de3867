//! copo.toml is read again while the application runs.

use super::*;

fn converge(processes: Vec<ProcessSpec>) -> Command {
    Command::Converge { plan: plan(processes), names: Vec::new(), dry_run: false }
}

fn diff(processes: Vec<ProcessSpec>) -> Command {
    Command::Converge { plan: plan(processes), names: Vec::new(), dry_run: true }
}

fn with_args(name: &str, arg: &str) -> ProcessSpec {
    ProcessSpec { args: vec![arg.to_owned()], ..process(name) }
}

fn shown(world: &World) -> Vec<String> {
    world.orc.processes().processes.into_iter().map(|status| status.internal_name).collect()
}

/// Everything that is waited for, without what is reported.
fn acts(lines: Vec<String>) -> Vec<String> {
    let acts = ["spawn ", "signal ", "kill ", "forget ", "adopt", "reply ", "config"];
    lines.into_iter().filter(|line| acts.iter().any(|act| line.starts_with(act))).collect()
}

#[test]
fn the_same_file_changes_nothing() {
    let mut world = World::up(vec![process("db"), process("web").after(0, Condition::Ready)]);
    let same = || vec![process("db"), process("web").after(0, Condition::Ready)];
    assert_eq!(world.ask(diff(same())), ["reply 1 changes"]);
    assert_eq!(world.ask(converge(same())), ["reply 2 changes"]);
}

#[test]
fn another_order_in_the_file_is_no_difference() {
    let mut world = World::up(vec![process("db"), process("web").after(0, Condition::Ready)]);
    assert_eq!(world.ask(diff(vec![process("web").after(1, Condition::Ready), process("db")])), ["reply 1 changes"]);
}

#[test]
fn only_what_changed_restarts() {
    let mut world = World::up(vec![process("a"), process("b")]);
    let untouched = world.run("a-1");
    let said = world.ask(converge(vec![process("a"), with_args("b", "x")]));
    assert_eq!(acts(said), ["config", "adopt", "signal b-1 SIGTERM"]);

    let said = world.exit("b-1", SUCCESS);
    assert_eq!(acts(said), ["spawn b-1"]);
    let said = world.spawned("b-1");
    assert_eq!(said.last().map(String::as_str), Some("reply 1 changes; restart b args >[\"x\"]"));
    assert_eq!(world.run("a-1"), untouched);
    assert_eq!(world.ask(diff(vec![process("a"), with_args("b", "x")])), ["reply 2 changes"]);
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let mut world = World::up(vec![process("a"), process("b")]);
    let told = "reply 1 changes; restart a args >[\"x\"]; add c; remove b";
    assert_eq!(world.ask(diff(vec![with_args("a", "x"), process("c")])), [told]);
    assert_eq!(shown(&world), ["a-1", "b-1"]);
    assert_eq!(world.ask(diff(vec![process("a"), process("b")])), ["reply 2 changes"]);
}

#[test]
fn what_is_new_starts_and_what_is_no_more_stops_and_vanishes() {
    let mut world = World::up(vec![process("old"), process("stays")]);
    let said = world.ask(converge(vec![process("new"), process("stays")]));
    assert_eq!(acts(said), ["config", "adopt", "signal old-1 SIGTERM", "spawn new-1"]);
    assert_eq!(shown(&world), ["new-1", "stays-1", "old-1"], "as long as it runs it is shown");
    assert_eq!(world.ask(start("old")), ["reply 2 NOT_FOUND cannot start old: it is in copo.toml no more"]);

    world.spawned("new-1");
    let said = world.exit("old-1", SUCCESS);
    assert_eq!(acts(said), ["reply 1 changes; add new; remove old", "forget old-1"]);
    assert_eq!(shown(&world), ["new-1", "stays-1"]);
    assert!(world.ask(stop("old"))[0].contains("NOT_FOUND"));
}

#[test]
fn what_is_removed_stops_after_what_depends_on_it() {
    let chain = || {
        vec![
            process("db"),
            process("api").after(0, Condition::Ready),
            process("web").after(1, Condition::Ready),
            process("other"),
        ]
    };
    let mut world = World::up(chain());
    assert_eq!(acts(world.ask(converge(vec![process("other")]))), ["config", "adopt", "signal web-1 SIGTERM"]);
    assert_eq!(acts(world.exit("web-1", SUCCESS)), ["signal api-1 SIGTERM", "forget web-1"]);
    assert_eq!(acts(world.exit("api-1", SUCCESS)), ["signal db-1 SIGTERM", "forget api-1"]);
    assert_eq!(
        acts(world.exit("db-1", SUCCESS)),
        ["reply 1 changes; remove db; remove api; remove web", "forget db-1"]
    );
}

#[test]
fn what_changes_together_stops_backwards_and_starts_forwards() {
    let mut world = World::up(vec![process("db"), process("web").after(0, Condition::Ready)]);
    let new = vec![with_args("db", "x"), with_args("web", "x").after(0, Condition::Ready)];
    assert_eq!(acts(world.ask(converge(new))), ["config", "adopt", "signal web-1 SIGTERM"]);
    // The old db still runs: the new web does not start on it.
    assert_eq!(acts(world.exit("web-1", SUCCESS)), ["signal db-1 SIGTERM"]);
    assert_eq!(world.status("web-1").waiting_for.as_deref(), Some("db is not ready"));
    assert_eq!(acts(world.exit("db-1", SUCCESS)), ["spawn db-1"]);
    let said = acts(world.spawned("db-1"));
    assert_eq!(said[0], "spawn web-1");
    assert!(said[1].starts_with("reply 1 changes; restart db args"), "{said:?}");
}

#[test]
fn what_needs_no_restart_holds_at_once() {
    let mut world = World::up(vec![process("a")]);
    let run = world.run("a-1");
    let new = ProcessSpec { stop_grace: Duration::from_secs(3), ..process("a").restarted(RestartPolicy::Always) };
    let said = world.ask(converge(vec![new]));
    assert_eq!(said, ["config", "adopt", "reply 1 changes; update a restart no>always stop_grace 10s>3s"]);
    assert_eq!(world.run("a-1"), run);
    assert!(world.exit("a-1", SUCCESS).contains(&"spawn a-1".to_owned()), "the new policy holds");
    world.spawned("a-1");
    assert!(world.ask(stop("a")).contains(&"stop_event a-1 3000".to_owned()));
}

#[test]
fn a_deadline_follows_its_setting() {
    let mut world = World::up(vec![process("a").ready_by_sdk()]);
    let new = ProcessSpec { ready_timeout: Duration::from_secs(5), ..process("a").ready_by_sdk() };
    world.ask(converge(vec![new]));
    assert_eq!(world.pass(Duration::from_secs(4)), Vec::<String>::new());
    assert!(world.pass(Duration::from_secs(1)).contains(&"not_ready a-1".to_owned()));
}

#[test]
fn a_schedule_changes_without_touching_what_runs() {
    let cron = |definition: &str| process("job").triggered_by(every(definition));
    let mut world = World::up(vec![cron("0 13 * * *")]);
    assert_eq!(world.status("job-1").next_run, Some(NOON + 3600 * SECOND));
    world.ask(converge(vec![cron("30 12 * * *")]));
    assert_eq!(world.status("job-1").next_run, Some(NOON + 1800 * SECOND));
    world.pass(Duration::from_secs(1800));
    world.spawn_all();
    let run = world.run("job-1");

    // What the schedule has started finishes as it began; the next run is the new one.
    let changed = ProcessSpec { args: vec!["x".to_owned()], ..cron("30 12 * * *") };
    let said = world.ask(converge(vec![changed.clone()]));
    assert_eq!(said, ["config", "adopt", "reply 2 changes; update job args >[\"x\"]"]);
    assert_eq!(world.run("job-1"), run);
    // And no more than before is due once it is no schedule any more.
    world.ask(converge(vec![changed.triggered_by(Trigger::Manual)]));
    assert_eq!(world.orc.next_deadline(), None);
}

#[test]
fn what_has_finished_stays_finished_unless_it_changed() {
    let mut world = World::up(vec![process("migrate"), process("web")]);
    world.exit("migrate-1", SUCCESS);
    assert_eq!(world.ask(converge(vec![process("migrate"), process("web")])), ["reply 1 changes"]);
    let said = acts(world.ask(converge(vec![with_args("migrate", "2"), process("web")])));
    assert_eq!(said, ["config", "adopt", "spawn migrate-1"]);
    assert_eq!(acts(world.spawned("migrate-1")), ["reply 2 changes; restart migrate args >[\"2\"]"]);
}

#[test]
fn what_is_stopped_or_has_failed_comes_up_again() {
    let all = || vec![process("stopped"), process("failed"), process("job").triggered_by(every("* * * * *"))];
    let mut world = World::up(all());
    world.ask(stop("stopped"));
    world.exit("stopped-1", SUCCESS);
    world.exit("failed-1", FAILURE);
    world.ask(stop("job"));
    let said = acts(world.ask(converge(all())));
    assert_eq!(said, ["adopt", "spawn stopped-1", "spawn failed-1"]);
    assert_eq!(world.state("job-1"), v1::State::Idle);
    world.spawned("stopped-1");
    let said = world.spawned("failed-1");
    assert_eq!(said.last().map(String::as_str), Some("reply 3 changes; start stopped; start failed; start job"));
}

#[test]
fn what_is_being_stopped_comes_back() {
    let mut world = World::up(vec![process("a")]);
    world.ask(stop("a"));
    assert_eq!(world.ask(converge(vec![process("a")])), ["adopt", "reply 2 changes; start a"]);
    let said = world.exit("a-1", SUCCESS);
    assert!(said.contains(&"spawn a-1".to_owned()), "{said:?}");
}

#[test]
fn the_file_wins_over_scale() {
    let mut world = World::up(vec![process("web")]);
    world.ask(Command::Scale { to: vec![("web".to_owned(), 3)] });
    world.spawn_all();
    let said = world.ask(converge(vec![process("web")]));
    assert!(said.contains(&"signal web-3 SIGTERM".to_owned()) && said.contains(&"signal web-2 SIGTERM".to_owned()));
    world.exit("web-2", SUCCESS);
    assert_eq!(acts(world.exit("web-3", SUCCESS))[0], "reply 2 changes; scale web replicas 3>1");
    assert_eq!(shown(&world), ["web-1"]);
}

#[test]
fn names_bring_up_only_those() {
    let all = || vec![process("a"), process("b"), process("c")];
    let mut world = World::new(all());
    world.tell(Event::Up { names: names(&["a"]) });
    world.spawn_all();
    let named = |new, names: &[&str]| Command::Converge { plan: plan(new), names: super::names(names), dry_run: false };
    let said = acts(world.ask(named([all(), vec![process("d")]].concat(), &["b"])));
    assert_eq!(said, ["config", "adopt", "spawn b-1"]);
    assert_eq!(acts(world.spawned("b-1")), ["reply 1 changes; start b; add d"]);
    assert_eq!(world.state("c-1"), v1::State::Idle);
    assert_eq!(world.state("d-1"), v1::State::Idle);
    let said = world.ask(named(all(), &["nobody"]));
    assert_eq!(said, ["reply 2 NOT_FOUND cannot start nobody: copo.toml has no such process"]);
}

#[test]
fn one_that_comes_back_before_it_is_gone_starts_when_it_is() {
    let mut world = World::up(vec![process("a"), process("b")]);
    world.ask(converge(vec![process("b")]));
    world.ask(converge(vec![process("b"), with_args("a", "x")]));
    assert_eq!(shown(&world), ["b-1", "a-1"]);
    let said = acts(world.exit("a-1", SUCCESS));
    assert_eq!(said, ["reply 1 changes; remove a", "spawn a-1"]);
    assert_eq!(acts(world.spawned("a-1")), ["reply 2 changes; add a"]);
    world.exit("a-1", SUCCESS);
    assert_eq!(shown(&world), ["b-1", "a-1"]);
}

#[test]
fn the_end_does_not_wait_for_changes_under_way() {
    let mut world = World::up(vec![process("db"), process("web").after(0, Condition::Ready)]);
    world.ask(converge(vec![with_args("db", "x"), with_args("web", "x").after(0, Condition::Ready)]));
    let said = world.ask(Command::Down { grace: None, kill: false });
    assert!(said.contains(&"reply 1 CONFLICT cannot do that: the application is stopping".to_owned()), "{said:?}");
    assert_eq!(acts(world.exit("web-1", SUCCESS)), ["signal db-1 SIGTERM"]);
    assert!(world.exit("db-1", SUCCESS).contains(&"end".to_owned()));
}

#[test]
fn what_only_a_new_orchestrator_can_change_is_told_again_and_again() {
    let mut world = World::up(vec![process("a")]);
    let mut new = (*plan(vec![process("a")])).clone();
    new.context.durability = Durability::Power;
    new.context.retain.records = 9;
    let ask = |dry_run| Command::Converge { plan: Arc::new(new.clone()), names: Vec::new(), dry_run };
    let told = "; update  retain.records 1>9; needs_down  durability memory>power";
    assert_eq!(world.ask(ask(false)), ["config".to_owned(), "adopt".to_owned(), format!("reply 1 changes{told}")]);
    let told = "; needs_down  durability memory>power";
    assert_eq!(world.ask(ask(true)), [format!("reply 2 changes{told}")]);
    assert_eq!(world.plan.context.retain.records, 9);
    assert_eq!(world.plan.context.durability, Durability::Memory);
}

#[test]
fn a_run_may_look_and_changes_only_with_control() {
    let mut world = World::up(vec![process("a")]);
    let by = Requester::Run(world.run("a-1"));
    assert_eq!(world.ask_as(by, diff(vec![process("a")])), ["reply 1 changes"]);
    assert!(world.ask_as(by, converge(vec![process("a")]))[0].contains("FORBIDDEN"));
}

#[test]
fn another_application_is_refused() {
    let mut world = World::up(vec![process("a")]);
    let new = Plan { application: "other".to_owned(), ..(*plan(vec![process("a")])).clone() };
    let said = world.ask(Command::Converge { plan: Arc::new(new), names: Vec::new(), dry_run: true });
    assert!(said[0].contains("INVALID_ARGUMENT cannot use copo.toml for test: it is of other now"), "{said:?}");
}

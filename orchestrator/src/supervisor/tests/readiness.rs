//! Readiness and liveness as levels: probes, NOTIFY_SOCKET, and who waits for what.

use super::*;

fn probe() -> Probe {
    Probe {
        check: Check::Tcp(Address { host: "localhost".to_owned(), port: 1 }),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        successes: 1,
        failures: 2,
        initial_delay: Duration::ZERO,
    }
}

fn log() -> Probe {
    Probe { check: Check::Log(Pattern::Text("up".to_owned())), ..probe() }
}

impl ProcessSpec {
    fn ready_by(mut self, probe: Probe) -> Self {
        self.ready = Readiness::Probe(probe);
        self
    }
}

impl World {
    fn answer(&mut self, name: &str, probe: ProbeKind, answer: Answer) -> Vec<String> {
        self.tell(Event::Probed { run: self.run(name), probe, answer })
    }

    /// The question is due and is answered so.
    fn ask_and_answer(&mut self, name: &str, probe: ProbeKind, is_good: bool) -> Vec<String> {
        self.pass_to_deadline();
        self.answer(name, probe, if is_good { Ok(()) } else { Err("refused".to_owned()) })
    }

    fn pass_to_deadline(&mut self) -> Vec<String> {
        let at = self.orc.next_deadline().and_then(|at| at.mono).expect("something is due");
        self.pass(at.saturating_sub(self.now.mono))
    }

    fn notify(&mut self, name: &str, message: &str) -> Vec<String> {
        self.tell(Event::Notified { run: self.run(name), notice: Notice::parse(message.as_bytes()) })
    }
}

#[test]
fn a_run_is_ready_while_it_answers_and_dependents_are_told_why_not() {
    let mut world = World::up(vec![process("db").ready_by(probe()), process("web").after(0, Condition::Ready)]);

    assert_eq!(world.pass(Duration::ZERO), ["probe db-1 ready"]);
    assert_eq!(world.answer("db-1", ProbeKind::Ready, Err("connection refused".to_owned())), [""; 0]);
    assert_eq!((world.state("db-1"), world.status("db-1").ready), (v1::State::Starting, false));
    assert_eq!(world.status("db-1").reason.as_deref(), Some("connection refused"));
    assert_eq!(world.status("web-1").waiting_for.as_deref(), Some("db is not ready (connection refused)"));

    assert_eq!(world.ask_and_answer("db-1", ProbeKind::Ready, true), ["ready db-1", "starting web-1", "spawn web-1"]);
    assert_eq!((world.state("db-1"), world.status("db-1").ready), (v1::State::Running, true));
    assert_eq!(world.status("db-1").reason, None);
}

#[test]
fn readiness_can_be_lost_and_found_again() {
    let mut world = World::up(vec![process("db").ready_by(probe()), process("web").after(0, Condition::Ready)]);
    world.ask_and_answer("db-1", ProbeKind::Ready, true);
    world.spawned("web-1");

    assert_eq!(world.ask_and_answer("db-1", ProbeKind::Ready, false), [""; 0]);
    assert!(world.status("db-1").ready, "one bad answer is not enough");
    assert_eq!(world.ask_and_answer("db-1", ProbeKind::Ready, false), ["not_ready db-1"]);
    assert_eq!((world.state("db-1"), world.status("db-1").ready), (v1::State::Running, false));
    assert_eq!(world.state("web-1"), v1::State::Running, "who runs goes on");

    assert_eq!(world.exit("web-1", FAILURE)[0], "exited web-1 code 3");
    world.ask(start("web"));
    let waits = world.status("web-1").waiting_for.expect("it waits");
    assert_eq!(waits, "db is not ready (the ready probe failed 2 times: refused)");
    assert_eq!(world.ask_and_answer("db-1", ProbeKind::Ready, true), ["ready db-1", "starting web-1", "spawn web-1"]);
}

#[test]
fn a_run_that_never_answers_well_is_not_ready_in_time_and_says_why() {
    let mut world = World::up(vec![process("a").ready_by(probe()).restarted(RestartPolicy::OnFailure)]);
    world.ask_and_answer("a-1", ProbeKind::Ready, false);
    let mut last = Vec::new();
    while world.state("a-1") == v1::State::Starting {
        last = world.pass_to_deadline();
        if last.contains(&"probe a-1 ready".to_owned()) {
            world.answer("a-1", ProbeKind::Ready, Err("refused".to_owned()));
        }
    }
    assert_eq!(last[..2], ["not_ready a-1", "stopping a-1"]);
    assert_eq!(world.exit("a-1", SUCCESS)[1..], ["starting a-1", "spawn a-1"]);
    assert_eq!(world.pass(Duration::from_secs(1)), [""; 0], "nothing of the old run is asked");
}

#[test]
fn a_run_that_is_not_alive_is_stopped_and_restarted_with_the_reason() {
    let mut spec = process("a").restarted(RestartPolicy::OnFailure);
    spec.liveness = Some(probe());
    let mut world = World::up(vec![spec]);
    assert_eq!(world.ask_and_answer("a-1", ProbeKind::Liveness, false), [""; 0]);

    assert_eq!(
        world.ask_and_answer("a-1", ProbeKind::Liveness, false),
        ["stopping a-1", "stop_event a-1 10000", "signal a-1 SIGTERM"]
    );
    assert_eq!(world.pass(Duration::from_secs(10)), ["kill a-1"]);
    assert_eq!(world.exit("a-1", SUCCESS)[1..], ["starting a-1", "spawn a-1"], "exit code 0 is no success then");
}

#[test]
fn the_other_probes_wait_for_the_startup_and_the_liveness_for_the_readiness() {
    let mut spec = process("a").ready_by(probe());
    (spec.startup, spec.liveness) = (Some(probe()), Some(probe()));
    let mut world = World::up(vec![spec]);

    assert_eq!(world.pass(Duration::ZERO), ["probe a-1 startup"]);
    assert_eq!(world.answer("a-1", ProbeKind::Startup, Ok(())), [""; 0]);
    assert_eq!(world.pass_to_deadline(), ["probe a-1 ready"]);
    assert_eq!(world.answer("a-1", ProbeKind::Ready, Ok(())), ["ready a-1"]);
    assert_eq!(world.pass_to_deadline(), ["probe a-1 liveness"]);
}

#[test]
fn a_run_that_does_not_start_up_is_stopped() {
    let mut spec = process("a");
    spec.startup = Some(probe());
    let mut world = World::up(vec![spec, process("b").after(0, Condition::Ready)]);
    assert_eq!(world.state("b-1"), v1::State::Waiting, "started is not started up");
    world.ask_and_answer("a-1", ProbeKind::Startup, false);
    assert_eq!(world.ask_and_answer("a-1", ProbeKind::Startup, false)[0], "stopping a-1");
    assert_eq!(world.exit("a-1", SUCCESS)[1..], ["failed a-1 code 0"]);
}

#[test]
fn without_another_readiness_a_run_is_ready_when_it_has_started_up() {
    let mut spec = process("a");
    spec.startup = Some(log());
    let mut world = World::up(vec![spec, process("b").after(0, Condition::Ready)]);
    assert_eq!(world.answer("a-1", ProbeKind::Startup, Ok(())), ["ready a-1", "starting b-1", "spawn b-1"]);
}

#[test]
fn a_line_counts_whenever_it_comes() {
    let mut spec = process("a").ready_by(log());
    spec.startup = Some(probe());
    let mut world = World::up(vec![spec]);
    assert_eq!(world.answer("a-1", ProbeKind::Ready, Ok(())), [""; 0]);
    assert_eq!(world.ask_and_answer("a-1", ProbeKind::Startup, true), ["ready a-1"]);
    assert_eq!(world.orc.next_deadline(), None, "a log is not asked");
}

#[test]
fn an_answer_that_never_comes_is_a_bad_one() {
    let mut spec = process("a").restarted(RestartPolicy::OnFailure);
    spec.liveness = Some(Probe { failures: 1, ..probe() });
    let mut world = World::up(vec![spec]);
    assert_eq!(world.pass_to_deadline(), ["probe a-1 liveness"]);
    assert_eq!(world.pass_to_deadline()[0], "stopping a-1");
}

#[test]
fn a_run_says_through_its_socket_that_it_is_ready_and_what_it_does() {
    let mut spec = process("a");
    spec.ready = Readiness::Notify;
    let mut world = World::up(vec![spec]);
    assert_eq!(world.notify("a-1", "STATUS=loading"), [""; 0]);
    assert_eq!(world.status("a-1").status.as_deref(), Some("loading"));
    assert_eq!(world.notify("a-1", "READY=1\nMAINPID=77\nSTATUS="), ["ready a-1"]);
    let status = world.status("a-1");
    assert_eq!((status.state(), status.pid, status.status), (v1::State::Running, Some(77), None));
    assert_eq!(world.notify("a-1", "READY=1"), [""; 0]);
}

#[test]
fn a_run_can_ask_for_more_time() {
    let mut spec = process("a");
    spec.ready = Readiness::Notify;
    let mut world = World::up(vec![spec]);
    world.pass(Duration::from_secs(59));
    world.notify("a-1", "EXTEND_TIMEOUT_USEC=10000000");
    assert_eq!(world.pass(Duration::from_secs(9)), [""; 0]);
    assert_eq!(world.pass(Duration::from_secs(1))[0], "not_ready a-1");
    world.notify("a-1", "EXTEND_TIMEOUT_USEC=30000000");
    assert_eq!(world.pass(Duration::from_secs(29)), [""; 0]);
    assert_eq!(world.pass(Duration::from_secs(1)), ["kill a-1"]);
}

#[test]
fn a_watchdog_that_is_not_fed_is_the_end() {
    let mut spec = process("a").restarted(RestartPolicy::OnFailure);
    (spec.ready, spec.watchdog) = (Readiness::Notify, Some(Duration::from_secs(5)));
    let mut world = World::up(vec![spec]);
    assert_eq!(world.pass(Duration::from_secs(20)), [""; 0], "it counts from its readiness on");
    world.notify("a-1", "READY=1");
    world.pass(Duration::from_secs(4));
    world.notify("a-1", "WATCHDOG=1");
    assert_eq!(world.pass(Duration::from_secs(4)), [""; 0]);
    assert_eq!(world.pass(Duration::from_secs(1))[0], "stopping a-1");
    assert_eq!(world.exit("a-1", KILLED)[1..], ["starting a-1", "spawn a-1"]);

    world.spawned("a-1");
    world.notify("a-1", "READY=1");
    world.notify("a-1", "WATCHDOG_USEC=1000000");
    assert_eq!(world.pass(Duration::from_secs(1))[0], "stopping a-1", "it has chosen another time");
    world.exit("a-1", KILLED);
    world.pass(Duration::from_secs(1));
    world.spawned("a-1");
    assert_eq!(world.notify("a-1", "WATCHDOG=trigger")[0], "stopping a-1");
}

#[test]
fn a_run_that_stops_by_itself_is_signalled_late_and_has_its_grace() {
    let mut world = World::up(vec![process("a").restarted(RestartPolicy::Always)]);
    assert_eq!(world.notify("a-1", "STOPPING=1"), ["stopping a-1", "stop_event a-1 10000"]);
    assert_eq!(world.state("a-1"), v1::State::Stopping);
    assert_eq!(world.notify("a-1", "STOPPING=1"), [""; 0]);
    assert_eq!(world.pass(Duration::from_secs(5)), ["signal a-1 SIGTERM"]);
    assert_eq!(world.pass(Duration::from_secs(5)), ["kill a-1"]);
    assert_eq!(world.exit("a-1", KILLED)[1..], ["starting a-1", "spawn a-1"]);
}

#[test]
fn a_stop_ends_the_asking() {
    let mut spec = process("a").ready_by(probe());
    spec.liveness = Some(probe());
    let mut world = World::up(vec![spec]);
    world.ask_and_answer("a-1", ProbeKind::Ready, true);
    world.ask(stop("a"));
    assert_eq!(world.pass(Duration::from_secs(9)), [""; 0]);
    assert_eq!(world.answer("a-1", ProbeKind::Ready, Err("no".to_owned())), [""; 0]);
}

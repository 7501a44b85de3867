//! The scenarios: what a program does through its SDK, and what it must see. The same for every language.

use std::process::{Child, Command, Stdio};

use copo_proto::{frame, v1};
use copo_tests::app::{is_alive, kill_9};
use copo_tests::peer::Peer;
use copo_tests::{App, Ran, build, eventually};

use crate::language::{Actor, Language};

mod errors;

/// One story.
pub struct Scenario {
    /// Its claim.
    pub name: &'static str,
    /// The story.
    pub run: fn(&Actor),
    /// Languages it means nothing in…
    pub not_in: &'static [Language],
    /// …and why.
    pub because: &'static str,
}

const fn scenario(name: &'static str, run: fn(&Actor)) -> Scenario {
    Scenario { name, run, not_in: &[], because: "" }
}

/// All of them.
pub const ALL: &[Scenario] = &[
    scenario("a_run_sends_under_its_own_name", a_run_sends_under_its_own_name),
    scenario("a_person_sends_under_a_name", a_person_sends_under_a_name),
    scenario("sends_arrive_in_order", sends_arrive_in_order),
    scenario("the_newest_record_of_a_key_or_of_all", the_newest_record_of_a_key_or_of_all),
    scenario("following_from_the_first_from_a_seq_and_by_pattern", following_by_place_and_pattern),
    scenario("a_follower_waits_for_what_is_to_come", a_follower_waits_for_what_is_to_come),
    scenario("a_gap_is_told", a_gap_is_told),
    scenario("headers_are_read_and_set", headers_are_read_and_set),
    scenario("a_report_is_sent_and_followed", a_report_is_sent_and_followed),
    scenario("a_run_is_ready_when_it_says_so", a_run_is_ready_when_it_says_so),
    scenario("a_stop_is_heard_before_the_signal", a_stop_is_heard_before_the_signal),
    scenario("an_iteration_ends_at_the_stop", an_iteration_ends_at_the_stop),
    scenario("a_blocked_flush_ends_at_the_stop", a_blocked_flush_ends_at_the_stop),
    scenario("a_conditional_send_conflicts_when_it_is_late", errors::a_conditional_send_conflicts_when_it_is_late),
    scenario("a_bad_key_is_refused", errors::a_bad_key_is_refused),
    scenario("a_record_that_is_too_large_is_refused", errors::a_record_that_is_too_large_is_refused),
    scenario("without_an_orchestrator_there_is_an_error_at_once", errors::without_an_orchestrator),
    scenario("a_wrong_token_is_refused", errors::a_wrong_token_is_refused),
    scenario("every_error_code_arrives_as_it_is", errors::every_error_code_arrives_as_it_is),
    scenario("a_run_that_has_ended_is_fenced", errors::a_run_that_has_ended_is_fenced),
    scenario("a_closed_handle_says_so", errors::a_closed_handle_says_so),
    scenario("a_full_window_is_told_not_waited_for", a_full_window_is_told_not_waited_for),
    Scenario {
        name: "a_wait_for_the_next_record_times_out",
        run: a_wait_for_the_next_record_times_out,
        not_in: &[Language::Node],
        because: "an async iterator has no timeout",
    },
    Scenario {
        name: "a_forked_child_speaks_as_a_client_of_its_own",
        run: a_forked_child_speaks_as_a_client_of_its_own,
        not_in: &[Language::Rust, Language::Node],
        because: "Rust has tests of its own for it, and Node cannot fork",
    },
    scenario("a_restarted_orchestrator_loses_and_doubles_nothing", a_restarted_orchestrator_loses_and_doubles_nothing),
];

/// A process of copo.toml that is an actor.
fn process(actor: &Actor, name: &str, verbs: &[&str], more: &str) -> String {
    let args = verbs.iter().map(|verb| format!("{verb:?}")).collect::<Vec<_>>().join(", ");
    let script = actor.script.as_ref().map(|path| format!("file_path = {path:?}\n")).unwrap_or_default();
    format!("[process.{name}]\nexecutable_path = {:?}\n{script}args = [{args}]\n{more}\n", actor.program)
}

fn app(actor: &Actor, verbs: &[&str], more: &str) -> App {
    App::new(&process(actor, "w", verbs, more))
}

/// The actor as a person's program: told where to connect, no environment.
fn outside(actor: &Actor, app: &App, verbs: &[&str]) -> Command {
    let socket = app.socket().display().to_string();
    let mut command = bare(actor);
    command.args(["connect", &socket, ""]).args(verbs).current_dir(app.folder());
    command
}

fn bare(actor: &Actor) -> Command {
    let mut command = Command::new(&actor.program);
    command.args(&actor.script).stdin(Stdio::null());
    for name in ["COPO_SOCKET", "COPO_TOKEN", "COPO_APPLICATION", "COPO_PROCESS", "COPO_RUN"] {
        command.env_remove(name);
    }
    build::strip_cargo_environment(&mut command);
    command
}

fn ran(mut command: Command) -> Vec<String> {
    let ran: Ran = command.output().expect("the actor can be run").into();
    ran.ok().stdout.lines().map(str::to_owned).collect()
}

fn spawn(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).spawn().expect("the actor can be run")
}

fn lines_of(child: Child) -> Vec<String> {
    let output = child.wait_with_output().expect("the actor ends");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn finished(app: &App) -> Vec<String> {
    app.copo(&["wait", "w", "--for", "finished", "--timeout", "60"]).ok();
    app.log("w-1")
}

fn data(app: &App) -> Vec<String> {
    app.records().iter().map(|record| record["udd_buff"].as_str().expect("text").to_owned()).collect()
}

fn a_run_sends_under_its_own_name(actor: &Actor) {
    let app = app(actor, &["send", "a/b", "one", "send-sync", "", "grüße", "flush"], "");
    app.up();
    let printed = finished(&app);
    let records = app.records();
    assert_eq!(data(&app), ["one", "grüße"]);
    assert!(records.iter().all(|record| record["sent_by"] == "w-1"), "{records:?}");
    assert_eq!((&records[0]["key"], &records[1]["key"]), (&"a/b".into(), &"".into()));
    assert_eq!(printed, [format!("seq {}", records[1]["seq"])]);
}

fn a_person_sends_under_a_name(actor: &Actor) {
    let app = App::new("");
    app.up();
    ran(outside(actor, &app, &["send", "k", "x"]));
    // Whoever sends and ends loses nothing.
    assert_eq!((data(&app), &app.records()[0]["sent_by"]), (vec!["x".to_owned()], &"@actor".into()));
}

fn sends_arrive_in_order(actor: &Actor) {
    let app = app(actor, &["send-many", "k", "3000", "flush"], "");
    app.up();
    finished(&app);
    assert_eq!(data(&app), (0..3000).map(|i| i.to_string()).collect::<Vec<_>>());
}

fn the_newest_record_of_a_key_or_of_all(actor: &Actor) {
    let app = App::new("");
    app.up();
    assert_eq!(ran(outside(actor, &app, &["newest", "get", "x/1"])), ["none", "none"]);
    send_three(&app);
    let printed = ran(outside(actor, &app, &["get", "x/1", "newest", "get", "no/such"]));
    assert_eq!(printed, ["record @cli x/1 one", "record @cli x/2 three", "none"]);
}

fn send_three(app: &App) {
    for (key, data) in [("x/1", "one"), ("y/1", "two"), ("x/2", "three")] {
        app.copo(&["udd", "send", "--key", key, data]).ok();
    }
}

fn following_by_place_and_pattern(actor: &Actor) {
    let app = App::new("");
    app.up();
    send_three(&app);
    let seq = app.records()[1]["seq"].to_string();
    let printed =
        ran(outside(actor, &app, &["follow", "first", "x/*", "2", "drain", &seq, "**", "drain", "first", "none/**"]));
    let wanted =
        ["record @cli x/1 one", "record @cli x/2 three", "record @cli y/1 two", "record @cli x/2 three", "end", "end"];
    assert_eq!(printed, wanted);
}

fn a_follower_waits_for_what_is_to_come(actor: &Actor) {
    let app = App::new("");
    app.up();
    let follower = spawn(outside(actor, &app, &["follow", "first", "later/**", "2"]));
    for data in ["one", "two"] {
        app.copo(&["udd", "send", "--key", "later/x", data]).ok();
    }
    assert_eq!(lines_of(follower), ["record @cli later/x one", "record @cli later/x two"]);
}

fn a_gap_is_told(actor: &Actor) {
    let app = App::new("[context]\nretain = { records = 5 }\n");
    app.up();
    ran(outside(actor, &app, &["send-many", "k", "100", "flush"]));
    let records = app.records();
    assert_eq!(records.len(), 5);
    let printed = ran(outside(actor, &app, &["drain", "1", "**"]));
    let before = records[0]["seq"].as_u64().expect("a seq") - 1;
    // Seq 1 is the report that the orchestrator has started: nothing this reader asked for.
    assert_eq!(printed[0], format!("gap 2 {before}"));
    assert_eq!(printed.len(), 7, "{printed:?}");
}

fn headers_are_read_and_set(actor: &Actor) {
    let app = App::new("[context]\nheaders = [\"one\", \"two\"]\n");
    app.up();
    assert_eq!(
        ran(outside(actor, &app, &["headers", "set-headers", "a,b,c", "headers"])),
        ["headers one,two", "headers a,b,c"]
    );
    assert_eq!(app.copo(&["udd", "headers"]).ok().stdout, "a\nb\nc\n");
}

fn a_report_is_sent_and_followed(actor: &Actor) {
    let app = app(actor, &["report", "all is well", "flush"], "");
    app.up();
    finished(&app);
    let reports = app.reports();
    let sent = reports.iter().position(|report| report["report_buff"] == "all is well").expect("the report is there");
    assert_eq!(reports[sent]["sent_by"], "w-1");
    let printed = ran(outside(actor, &app, &["reports", &(sent + 1).to_string()]));
    assert_eq!(printed[sent], "report w-1 all is well");
    assert!(printed[0].starts_with("report orchestrator "), "{printed:?}");
}

fn a_run_is_ready_when_it_says_so(actor: &Actor) {
    let app = app(actor, &["wait-file", "go", "ready", "wait-stop"], "ready = \"sdk\"");
    app.up();
    app.wait_state("w-1", "starting");
    app.write("go", "");
    assert_eq!(app.wait_state("w-1", "running")["ready"], true);
}

fn a_stop_is_heard_before_the_signal(actor: &Actor) {
    // The signal says nothing to this run: only the event can end it.
    let more = "ready = \"sdk\"\nstop_grace = \"60s\"\nstop_signal = \"SIGCONT\"";
    let app = app(actor, &["ready", "wait-stop"], more);
    app.copo(&["up", "-d", "--wait"]).ok();
    app.copo(&["stop", "w"]).ok();
    assert_eq!(app.log("w-1"), ["stopping"]);
    assert_eq!(app.ps()["w-1"]["exit_code"], 0);
}

fn an_iteration_ends_at_the_stop(actor: &Actor) {
    let more = "stop_grace = \"60s\"\nstop_signal = \"SIGCONT\"";
    let app = app(actor, &["follow-until-stop", "k"], more);
    app.up();
    eventually("it follows", || app.log("w-1") == ["following"]);
    app.copo(&["udd", "send", "--key", "k", "x"]).ok();
    eventually("it has the record", || app.log("w-1").len() == 2);
    app.copo(&["stop", "w"]).ok();
    assert_eq!(app.log("w-1"), ["following", "record @cli k x", "end"]);
    assert_eq!(app.ps()["w-1"]["exit_code"], 0);
}

fn a_blocked_flush_ends_at_the_stop(actor: &Actor) {
    // A reader that reads nothing holds publishers up for as long as it may: nothing is acknowledged.
    let context = "[context]\nwhen_full = \"wait\"\nwait_limit = \"1h\"\nretain = { records = 10 }\n";
    let verbs = ["wait-file", "go", "fill", "touch", "full", "flush"];
    let more = "stop_grace = \"60s\"\nstop_signal = \"SIGCONT\"";
    let app = App::new(&format!("{context}{}", process(actor, "w", &verbs, more)));
    app.up();
    let mut reader = Peer::connect(&app.socket());
    reader.join(b"", "silent");
    let from = Some(v1::subscribe::From::First(true));
    let subscribe = v1::Subscribe { from, records: true, ..v1::Subscribe::default() };
    reader.say(&frame::to_vec(&v1::Request { id: 1, kind: Some(v1::request::Kind::Subscribe(subscribe)) }));
    assert!(reader.next().is_some());
    app.write("go", "");
    eventually("the window is full", || app.path("full").exists());
    let stop = app.spawn(&["stop", "w"]);
    let stopping = format!("error {}", v1::ErrorCode::Stopping as i32);
    eventually("the flush has ended", || app.log("w-1").contains(&stopping));
    // What was sent is not lost for that.
    drop(reader);
    assert!(stop.wait_with_output().expect("copo ends").status.success());
    assert_eq!(app.log("w-1"), ["full".to_owned(), stopping]);
}

fn a_forked_child_speaks_as_a_client_of_its_own(actor: &Actor) {
    let app = App::new("");
    app.up();
    let verbs = [
        "send-sync",
        "k",
        "one",
        "fork-send",
        "k",
        "child",
        "send-sync",
        "k",
        "two",
        "fork-send",
        "k",
        "last",
        "flush",
    ];
    let printed = ran(outside(actor, &app, &verbs));
    assert!(printed.len() == 2 && printed.iter().all(|line| line.starts_with("seq ")), "{printed:?}");
    assert_eq!(data(&app), ["one", "child", "two", "last"]);
}

fn a_full_window_is_told_not_waited_for(actor: &Actor) {
    let app = App::new("");
    app.up();
    let pid = app.orchestrator_pid();
    let program = spawn(outside(actor, &app, &["touch", "up", "wait-file", "go", "fill", "touch", "full", "flush"]));
    eventually("it is connected", || app.path("up").exists());
    signal(pid, rustix::process::Signal::STOP);
    app.write("go", "");
    eventually("the window is full", || app.path("full").exists());
    signal(pid, rustix::process::Signal::CONT);
    assert_eq!(lines_of(program), ["full"]);
    assert!(!app.records().is_empty());
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("not 0");
    rustix::process::kill_process(pid, signal).expect("the process is there");
}

fn a_wait_for_the_next_record_times_out(actor: &Actor) {
    let app = App::new("");
    app.up();
    assert_eq!(ran(outside(actor, &app, &["next-timeout", "20"])), ["error 6"]);
}

fn a_restarted_orchestrator_loses_and_doubles_nothing(actor: &Actor) {
    let app = App::new("");
    app.up();
    let follower = spawn(outside(actor, &app, &["touch", "connected", "follow", "first", "k", "1000"]));
    eventually("the follower is connected", || app.path("connected").exists());
    let verbs =
        ["send-many", "k", "500", "flush", "touch", "half", "wait-file", "go", "send-many", "k", "500", "flush"];
    let publisher = spawn(outside(actor, &app, &verbs));
    eventually("half is sent", || app.path("half").exists());
    let pid = app.orchestrator_pid();
    kill_9(pid);
    eventually("it is dead", || !is_alive(pid));
    app.write("go", "");
    assert_eq!(lines_of(publisher), [""; 0]);
    let wanted: Vec<String> = (0..500).chain(0..500).map(|i| format!("record @actor k {i}")).collect();
    assert_eq!(lines_of(follower), wanted);
    assert_eq!(app.records().len(), 1000);
}

//! Bad input: a configuration that is wrong, and a peer that does not speak the protocol.
#![cfg(unix)]

use copo_proto::{frame, v1};
use copo_tests::App;
use copo_tests::peer::Peer;

fn bad(config: &str, wanted: &[&str]) {
    let app = App::new("");
    app.write("copo.toml", config);
    for command in ["up", "check"] {
        let args: &[&str] = if command == "up" { &["up", "-d"] } else { &["check"] };
        let ran = app.copo(args).fails_with(2);
        for word in wanted.iter().chain(&["copo.toml:"]) {
            assert!(ran.stderr.contains(word), "{command}: {word:?} is missing in {}", ran.stderr);
        }
    }
}

#[test]
fn a_wrong_configuration_is_named_by_place_and_thing() {
    let process = |name: &str, rest: &str| format!("[process.{name}]\nexecutable_path = \"true\"\n{rest}\n");
    let with = |text: String| format!("application = \"t\"\n{text}");
    let cycle = process("a", "depends_on = [\"b\"]")
        + &process("b", "depends_on = [\"c\"]")
        + &process("c", "depends_on = [\"a\"]");
    bad(&with(cycle), &["a", "b", "c", "cycle"]);
    bad(&with(process("web", "depends_on = [\"dbb\"]") + &process("db", "")), &["dbb", "did you mean", "db", ":4:"]);
    bad(&with(process("a", "trigger_type = \"cron\"\ntrigger_definition = \"61 * * * *\"")), &["61 * * * *", ":5:"]);
    bad(&with(process("a", "trigger_type = \"cron\"\ntrigger_definition = \"0 0 30 2 *\"")), &["0 0 30 2 *", "never"]);
    bad(&with(process("a", "executablepath = \"x\"")), &["executablepath", "executable_path", ":4:"]);
    bad(&with(process("a", "") + &process("a", "")), &["a", ":5:"]);
    bad(&with(process("a", "") + &process("A", "")), &["A"]);
    bad(&with(process("\"../x\"", "")), &["../x"]);
    bad(&with(process("w", "replicas = 2") + &process("w-2", "")), &["w-2"]);
    bad(&with("[process.a]\n".to_owned()), &["executable_path", "a"]);
    bad("[process.a]\nexecutable_path = \"true\"\n", &["application"]);
    bad("application = \"a/b\"\n", &["a/b"]);
    bad(&with(process("a", "stop_grace = \"fast\"")), &["stop_grace", "fast"]);
    bad(&with(process("a", "restart = \"sometimes\"")), &["sometimes", "on_failure"]);
    bad("application = ", &[":1:"]);
}

#[test]
fn a_name_that_makes_the_socket_path_too_long_is_refused_at_load() {
    let name = "n".repeat(63);
    bad(
        &format!("application = \"{name}\"\n[process.{name}]\nexecutable_path = \"true\"\n"),
        &["socket", "107 are possible"],
    );
}

#[test]
fn no_configuration_and_no_orchestrator_are_said() {
    let app = App::new("");
    std::fs::remove_file(app.path("copo.toml")).expect("it was written");
    app.copo(&["up", "-d"]).fails_with(2);
    app.copo(&["-a", "nobody", "ps"]).fails_with(5);
    app.copo(&["no-such-command"]).fails_with(2);
    app.write("copo.toml", "application = \"t\"\n");
    for args in
        [&["ps"][..], &["udd", "send", "x"], &["udd", "get"], &["start", "a"], &["trigger", "a"], &["report", "x"]]
    {
        app.copo(args).fails_with(5);
    }
    app.copo(&["down"]).ok();
    app.copo(&["check"]).ok();
}

#[test]
fn what_is_no_protocol_ends_that_connection_alone() {
    let app = App::new("");
    app.up();
    let mut good =
        copo::Client::options().socket(app.socket().display().to_string()).name("good").connect().expect("it answers");
    let mut five_gib = Vec::new();
    frame_length(5 << 30, &mut five_gib);

    assert_eq!(Peer::connect(&app.socket()).say(&[0xff; 64]).error(), v1::ErrorCode::Malformed);
    assert_eq!(Peer::connect(&app.socket()).say(&five_gib).error(), v1::ErrorCode::TooLarge);
    assert_eq!(Peer::connect(&app.socket()).hello("").say(&five_gib).error(), v1::ErrorCode::TooLarge);
    assert_eq!(Peer::connect(&app.socket()).hello("").say(b"\x05garbage").error(), v1::ErrorCode::Malformed);
    assert_eq!(Peer::connect(&app.socket()).hello("wrong").error(), v1::ErrorCode::Unauthorized);
    let future = v1::Hello { min_version: 99, max_version: 99, name: "t".into(), ..v1::Hello::default() };
    assert_eq!(Peer::connect(&app.socket()).say(&frame::to_vec(&future)).error(), v1::ErrorCode::Unsupported);
    let mut half = Peer::connect(&app.socket());
    half.say(&[0x20, 0x08]);
    half.stream.shutdown(std::net::Shutdown::Write).expect("it is open");
    half.heard();

    good.udd_send(b"still here").and_then(|()| good.flush()).expect("others go on");
    assert_eq!(app.records().len(), 1);
    good = good.clone();
    good.close().expect("nothing failed");
}

#[test]
fn an_unknown_request_is_unsupported_and_the_connection_lives() {
    let app = App::new("");
    app.up();
    let mut peer = Peer::connect(&app.socket());
    // id = 7, and an arm of number 1000 that no version knows.
    peer.hello("").say(&[0x05, 0x08, 0x07, 0xc2, 0x3e, 0x00]);
    let get = v1::Request { id: 8, kind: Some(v1::request::Kind::Status(v1::Status {})) };
    peer.say(&frame::to_vec(&get));
    peer.stream.shutdown(std::net::Shutdown::Write).expect("it is open");
    let answers: Vec<v1::Response> = peer
        .heard()
        .into_iter()
        .filter_map(|kind| match kind {
            v1::server_message::Kind::Response(response) => Some(response),
            _ => None,
        })
        .collect();
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert!(
        matches!(&answers[0].kind, Some(v1::response::Kind::Error(error)) if error.code() == v1::ErrorCode::Unsupported)
    );
    assert_eq!((answers[0].id, answers[1].id), (7, 8));
}

#[test]
fn who_says_nothing_is_told_so() {
    let app = App::new("");
    app.up();
    assert_eq!(Peer::connect(&app.socket()).error(), v1::ErrorCode::TimedOut);
}

#[test]
fn a_record_that_is_too_large_is_refused_and_nothing_else_breaks() {
    let app = App::new("[context]\nmax_record = \"1KiB\"\n");
    app.up();
    let client =
        copo::Client::options().socket(app.socket().display().to_string()).name("t").connect().expect("it answers");
    let error = client.udd_send(&[0; 1025]).expect_err("it is too large");
    assert_eq!(error.code(), v1::ErrorCode::TooLarge);
    client.udd_send(&[b'x'; 1024]).and_then(|()| client.flush()).expect("this one fits");
    assert_eq!(app.records().len(), 1);
}

#[test]
fn a_run_that_has_ended_can_no_longer_write_but_read() {
    let app = App::new(
        r#"
[process.a]
executable_path = "sh"
args = ["-c", "echo $COPO_TOKEN"]
"#,
    );
    app.up();
    app.wait_state("a-1", "finished");
    let token = app.log("a-1")[0].clone();
    let client = copo::Client::options()
        .socket(app.socket().display().to_string())
        .token(&token)
        .connect()
        .expect("it may read");
    assert_eq!(client.internal_name(), "a-1");
    client.udd_get(None).expect("reads go on");
    let error = client.udd_send_sync(b"late").expect_err("its run has ended");
    assert_eq!(error.code(), v1::ErrorCode::Fenced);
    assert_eq!(app.records().len(), 0);
}

#[test]
fn a_run_without_control_may_stop_itself_and_nobody_else() {
    let app = App::new(
        r#"
[process.plain]
executable_path = "sh"
args = ["-c", "copo stop other; echo $?; copo trigger job; echo $?; copo down; echo $?; copo ps >/dev/null; echo $?; copo stop plain-1; sleep 60"]
[process.master]
executable_path = "sh"
args = ["-c", "copo trigger job --wait; echo $?; sleep 60"]
control = true
[process.other]
executable_path = "{puppet}"
args = ["sleep"]
[process.job]
executable_path = "true"
trigger_type = "manual"
overlap = "queue"
"#,
    );
    app.up();
    app.wait_state("plain-1", "stopped");
    assert_eq!(app.log("plain-1").iter().filter(|line| line.len() == 1).collect::<Vec<_>>(), ["1", "1", "1", "0"]);
    copo_tests::eventually("the master's trigger is done", || app.log("master-1").contains(&"0".to_owned()));
    assert_eq!(app.state_of("other-1"), "running");
}

fn frame_length(length: u64, out: &mut Vec<u8>) {
    let mut rest = length;
    while rest >= 0x80 {
        out.push((rest as u8 & 0x7f) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

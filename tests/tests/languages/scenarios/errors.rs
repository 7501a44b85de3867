//! Scenarios of what is refused: which error a program gets, by its number.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use copo_proto::{frame, v1};
use copo_tests::App;

use super::{bare, data, outside, ran};
use crate::language::Actor;

pub fn a_bad_key_is_refused(actor: &Actor) {
    let app = App::new("");
    app.up();
    let printed = ran(outside(
        actor,
        &app,
        &["send", "/bad", "x", "send", "a b", "x", "drain", "first", "a/*b", "send", "good", "x"],
    ));
    assert_eq!(printed, ["error 13", "error 13", "error 13"]);
    assert_eq!(data(&app), ["x"]);
}

pub fn a_record_that_is_too_large_is_refused(actor: &Actor) {
    let app = App::new("[context]\nmax_record = \"1KiB\"\n");
    app.up();
    assert_eq!(ran(outside(actor, &app, &["send-zeros", "k", "1025", "send-zeros", "k", "1024"])), ["error 12"]);
    assert_eq!(app.records().len(), 1);
}

pub fn without_an_orchestrator(actor: &Actor) {
    let mut command = bare(actor);
    command.args(["send", "k", "x"]);
    assert_eq!(ran(command), ["error 5"]);
    let mut command = bare(actor);
    command.args(["connect", "/nonexistent/sock", ""]);
    assert_eq!(ran(command), ["error 5"]);
}

pub fn a_wrong_token_is_refused(actor: &Actor) {
    let app = App::new("");
    app.up();
    let mut command = bare(actor);
    command.args(["connect", &app.socket().display().to_string(), "no-such-token"]);
    assert_eq!(ran(command), ["error 14"]);
}

/// What the server answers to Hello is what the program is told, whichever error it is.
pub fn every_error_code_arrives_as_it_is(actor: &Actor) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("sock");
    let listener = UnixListener::bind(&socket).expect("a socket can be bound");
    let codes: Vec<i32> = (1..).map_while(|number| v1::ErrorCode::try_from(number).ok()).map(i32::from).collect();
    assert!(codes.len() >= 22, "{codes:?}");
    let answers = codes.clone();
    let server = std::thread::spawn(move || {
        for code in answers {
            let (mut stream, _) = listener.accept().expect("the program connects");
            let _ = stream.read(&mut [0; 1024]).expect("it says Hello");
            let error = v1::Error { code, message: "as the test wants it".to_owned() };
            let answer = v1::ServerMessage { kind: Some(v1::server_message::Kind::Error(error)) };
            stream.write_all(&frame::to_vec(&answer)).expect("it listens");
        }
    });
    for code in codes {
        let mut command = bare(actor);
        command.arg("connect").arg(&socket).arg("");
        assert_eq!(ran(command), [format!("error {code}")]);
    }
    server.join().expect("the server has served all");
}

pub fn a_run_that_has_ended_is_fenced(actor: &Actor) {
    let app = App::new("[process.t]\nexecutable_path = \"sh\"\nargs = [\"-c\", \"echo $COPO_TOKEN\"]\n");
    app.up();
    app.wait_state("t-1", "finished");
    let token = app.log("t-1").remove(0);
    let mut command = bare(actor);
    command.args(["connect", &app.socket().display().to_string(), &token, "newest", "send-sync", "k", "late"]);
    assert_eq!(ran(command), ["none", "error 9"]);
    assert_eq!(app.records().len(), 0);
}

pub fn a_closed_handle_says_so(actor: &Actor) {
    let app = App::new("");
    app.up();
    assert_eq!(ran(outside(actor, &app, &["send", "k", "x", "close", "send", "k", "y"])), ["error 19"]);
    assert_eq!(data(&app), ["x"]);
}

pub fn a_conditional_send_conflicts_when_it_is_late(actor: &Actor) {
    let app = App::new("");
    app.up();
    let printed = ran(outside(actor, &app, &["send-if", "k", "first", "0", "send-if", "k", "late", "0"]));
    assert_eq!(printed, [format!("seq {}", app.records()[0]["seq"]), "error 18".to_owned()]);
    let seq = app.records()[0]["seq"].to_string();
    assert_eq!(ran(outside(actor, &app, &["send-if", "k", "second", &seq])).len(), 1);
    assert_eq!(data(&app), ["first", "second"]);
}

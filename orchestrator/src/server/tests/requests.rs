//! The request table as a client sees it.

use super::*;
use crate::supervisor::{Command, Reply, Requester};

#[test]
fn an_unknown_request_is_unsupported_and_the_connection_lives() {
    with_app(|app| async move {
        let mut peer = app.person().await;
        // Field 1: id 5; field 900, of no meaning: an empty message.
        peer.write(&[5, 0x08, 5, 0xa2, 0x38, 0]).await;
        match peer.next().await {
            server_message::Kind::Response(v1::Response { id: 5, kind: Some(response::Kind::Error(error)) }) => {
                assert_eq!(error.code(), ErrorCode::Unsupported);
            }
            other => panic!("not refused but {other:?}"),
        }
        assert!(matches!(peer.ask(request::Kind::Status(v1::Status {})).await, response::Kind::Status(_)));
    });
}

#[test]
fn what_is_asked_of_the_context_is_answered_from_it() {
    with_app(|app| async move {
        let mut peer = app.sender("", 1).await;
        let get = |key: Option<&str>| request::Kind::UddGet(v1::UddGet { key: key.map(str::to_owned) });
        assert_eq!(peer.refused(get(None)).await, ErrorCode::NotFound);
        assert_eq!(peer.refused(get(Some("a"))).await, ErrorCode::NotFound);
        assert_eq!(peer.refused(get(Some("a//b"))).await, ErrorCode::InvalidKey);
        let keyed = v1::UddSend { number: 1, key: "a".into(), udd_buff: Bytes::from_static(b"1"), expect_seq: None };
        // Without waiting for the acknowledgement: what was sent before a question is seen by it.
        peer.say(0, request::Kind::UddSend(keyed)).await;
        match peer.ask(get(Some("a"))).await {
            response::Kind::Record(record) => assert_eq!((record.seq, record.sent_by.as_str()), (1, "@cli")),
            other => panic!("no record but {other:?}"),
        }
        assert_eq!(peer.refused(get(Some("b"))).await, ErrorCode::NotFound);
        assert!(matches!(peer.ask(request::Kind::UddPurge(v1::UddPurge {})).await, response::Kind::Done(_)));
        assert_eq!(peer.refused(get(None)).await, ErrorCode::NotFound);
    });
}

#[test]
fn new_headers_are_reported_and_the_same_ones_are_not() {
    with_app(|app| async move {
        let (mut reader, _) = app.follow(v1::Subscribe { reports: true, ..from_first() }).await;
        let mut peer = app.person().await;
        let set = |names: &[&str]| {
            let headers = names.iter().map(|name| (*name).to_owned()).collect();
            request::Kind::UddSetHeaders(v1::UddSetHeaders { headers })
        };
        for names in [&["station"][..], &["station"], &["station", "celsius"]] {
            assert!(matches!(peer.ask(set(names)).await, response::Kind::Done(_)));
        }
        match peer.ask(request::Kind::UddHeaders(v1::UddHeaders {})).await {
            response::Kind::Headers(headers) => {
                assert_eq!(headers.headers, ["station", "celsius"]);
                assert_eq!(headers.last_update_by, "@cli");
            }
            other => panic!("no headers but {other:?}"),
        }
        for seq in 1..=2 {
            match reader.next().await {
                server_message::Kind::Report(report) => {
                    assert_eq!((report.seq, report.sent_by.as_str()), (seq, "orchestrator"));
                    assert_eq!(report.facts.expect("facts").event(), v1::EventKind::Headers);
                }
                other => panic!("no report but {other:?}"),
            }
        }
    });
}

#[test]
fn what_is_asked_of_processes_goes_to_the_supervisor_and_its_answer_comes_back() {
    with_app(|app| async move {
        let run = app.admit("secret", "a-1", false);
        let mut person = app.person().await;
        let (mut of_run, _) = app.hello(v1::Hello { token: "secret".into(), ..hello() }).await;
        let names = || vec!["a".to_owned()];
        let asked = [
            (request::Kind::Ps(v1::Ps {}), Command::Ps),
            (request::Kind::Start(v1::Start { names: names() }), Command::Start { names: names() }),
            (request::Kind::Stop(v1::Stop { names: names() }), Command::Stop { names: names() }),
            (request::Kind::Restart(v1::Restart { names: names() }), Command::Restart { names: names() }),
            (
                request::Kind::Trigger(v1::Trigger { name: "a".into(), args: names(), wait: true }),
                Command::Trigger { name: "a".into(), args: names(), wait: true },
            ),
            (
                request::Kind::Kill(v1::Kill { name: "a".into(), signal: "term".into() }),
                Command::Kill { name: "a".into(), signal: "SIGTERM".into() },
            ),
            (
                request::Kind::Wait(v1::Wait { names: names(), condition: v1::wait::Condition::Up.into() }),
                Command::Wait { names: names(), condition: v1::wait::Condition::Up },
            ),
        ];
        for (id, (kind, expected)) in (1..).zip(asked) {
            person.say(id, kind.clone()).await;
            let Event::Command { request: of_person, by, command } = app.event().await else { panic!("a command") };
            assert_eq!((by, &command), (Requester::Person, &expected));
            of_run.say(id, kind).await;
            let Event::Command { request, by, .. } = app.event().await else { panic!("a command") };
            assert_eq!(by, Requester::Run(run));

            let no = Reply::Failed { code: ErrorCode::Forbidden, message: "cannot".into() };
            app.hub.reply(request, no);
            app.hub.reply(of_person, Reply::Done);
            app.hub.reply(of_person, Reply::Done); // One answer to a request, whatever comes.
            let done = v1::Response { id, kind: Some(response::Kind::Done(v1::Done {})) };
            assert_eq!(person.next().await, server_message::Kind::Response(done));
            match of_run.next().await {
                server_message::Kind::Response(v1::Response { kind: Some(response::Kind::Error(error)), .. }) => {
                    assert_eq!(error.code(), ErrorCode::Forbidden);
                }
                other => panic!("not refused but {other:?}"),
            }
        }
    });
}

#[test]
fn a_run_is_ready_and_a_person_cannot_be() {
    with_app(|app| async move {
        let run = app.admit("secret", "a-1", false);
        let (mut of_run, _) = app.hello(v1::Hello { token: "secret".into(), ..hello() }).await;
        assert!(matches!(of_run.ask(request::Kind::Ready(v1::Ready {})).await, response::Kind::Done(_)));
        assert_eq!(app.event().await, Event::Ready { run });
        let mut person = app.person().await;
        for kind in [request::Kind::Ready(v1::Ready {}), request::Kind::WatchStop(v1::WatchStop {})] {
            assert_eq!(person.refused(kind).await, ErrorCode::InvalidArgument);
        }
    });
}

#[test]
fn emptying_the_context_needs_control() {
    with_app(|app| async move {
        app.admit("plain", "a-1", false);
        app.admit("strong", "b-1", true);
        let (mut plain, _) = app.hello(v1::Hello { token: "plain".into(), ..hello() }).await;
        assert_eq!(plain.refused(request::Kind::UddPurge(v1::UddPurge {})).await, ErrorCode::Forbidden);
        let down = v1::Down { purge: true, ..Default::default() };
        assert_eq!(plain.refused(request::Kind::Down(down)).await, ErrorCode::Forbidden);
        assert!(!app.hub.purge_requested());
        let (mut strong, _) = app.hello(v1::Hello { token: "strong".into(), ..hello() }).await;
        assert!(matches!(strong.ask(request::Kind::UddPurge(v1::UddPurge {})).await, response::Kind::Done(_)));
    });
}

#[test]
fn arguments_that_name_nothing_are_refused_here() {
    with_app(|app| async move {
        let mut person = app.person().await;
        let wait = v1::Wait { names: vec![], condition: 77 };
        assert_eq!(person.refused(request::Kind::Wait(wait)).await, ErrorCode::InvalidArgument);
        let kill = v1::Kill { name: "a".into(), signal: "SIGNOTHING".into() };
        assert_eq!(person.refused(request::Kind::Kill(kill)).await, ErrorCode::InvalidArgument);
    });
}

#[test]
fn a_connection_may_not_ask_without_end() {
    let limits = Limits { requests: 2, ..Limits::default() };
    with(spec(), limits, |app| async move {
        let mut person = app.person().await;
        person.say(1, request::Kind::Ps(v1::Ps {})).await;
        person.say(2, request::Kind::Ps(v1::Ps {})).await;
        person.last_id = 2;
        assert_eq!(person.refused(request::Kind::Ps(v1::Ps {})).await, ErrorCode::WouldBlock);
        let Event::Command { request, .. } = app.event().await else { panic!("a command") };
        app.hub.reply(request, Reply::Done);
        assert!(matches!(person.next().await, server_message::Kind::Response(v1::Response { id: 1, .. })));
        // A subscription could not carry the second's answer.
        let refused = person.refused(request::Kind::Subscribe(from_first())).await;
        assert_eq!(refused, ErrorCode::InvalidArgument);
    });
}

#[test]
fn the_orchestrator_tells_of_itself() {
    with_app(|app| async move {
        let mut person = app.person().await;
        let mut expected = v1::OrchestratorStatus {
            version: "0.1.0".into(),
            pid: 7,
            application: "weather".into(),
            config_path: "/etc/weather/copo.toml".into(),
            started_at: 3,
            stopping: false,
            state_form: 1,
        };
        assert_eq!(person.ask(request::Kind::Status(v1::Status {})).await, response::Kind::Status(expected.clone()));
        app.hub.set_stopping();
        expected.stopping = true;
        assert_eq!(person.ask(request::Kind::Status(v1::Status {})).await, response::Kind::Status(expected));
    });
}

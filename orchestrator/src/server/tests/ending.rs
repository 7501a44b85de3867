//! How runs, requests and the orchestrator itself end.

use super::*;
use crate::supervisor::{Command, Reply, Requester};

#[test]
fn an_ended_run_writes_nothing_and_reads_on() {
    with_app(|app| async move {
        let run = app.admit("secret", "a-1", true);
        let mut peer = app.sender("secret", 1).await;
        peer.publish(1, b"before").await;

        app.hub.fence(run);

        peer.write(&sends(2, 4)).await;
        match peer.next().await {
            server_message::Kind::SendFailed(failed) => {
                assert_eq!((failed.number, failed.code()), (2, ErrorCode::Fenced))
            }
            other => panic!("not fenced but {other:?}"),
        }
        // Numbers 3 and 4 are ignored: the next thing said is the answer to the next question.
        match peer.ask(request::Kind::UddGet(v1::UddGet { key: None })).await {
            response::Kind::Record(record) => assert_eq!(record.udd_buff, "before"),
            other => panic!("no record but {other:?}"),
        }
        for kind in [
            request::Kind::UddSetHeaders(v1::UddSetHeaders::default()),
            request::Kind::UddPurge(v1::UddPurge {}),
            request::Kind::Ready(v1::Ready {}),
            request::Kind::Start(v1::Start { names: vec!["a".into()] }),
            request::Kind::Down(v1::Down { purge: true, ..Default::default() }),
        ] {
            assert_eq!(peer.refused(kind.clone()).await, ErrorCode::Fenced, "{kind:?}");
        }
        assert!(!app.hub.purge_requested());

        let (mut again, welcome) = app.hello(v1::Hello { token: "secret".into(), ..hello() }).await;
        assert_eq!(welcome.internal_name, "a-1");
        assert!(matches!(again.ask(request::Kind::Subscribe(from_first())).await, response::Kind::Subscribed(_)));
        assert_eq!(again.record().await.udd_buff, "before");
    });
}

#[test]
fn what_a_run_sent_last_stands_before_what_comes_after_it() {
    with_app(|app| async move {
        let run = app.admit("secret", "a-1", false);
        for (round, client) in (1..=50u64).enumerate() {
            let mut peer = app.sender("secret", client as u8).await;
            peer.publish(1, b"idle from here on").await;
            peer.write(&sends(2, 2)).await;
            drop(peer); // Its process has ended; the driver may know before the session does.
            Rc::clone(&app.hub).drain(run).await;
            let event = v1::EventKind::Exited.into();
            app.hub.report(v1::Facts { event, ..Default::default() });
            let head = app.person().await;
            drop(head);
            let (_, welcome) = app.hello(hello()).await;
            assert_eq!(welcome.head, 3 * (round as u64 + 1), "record, record, report");
        }
        app.hub.fence(run);
        let (mut reader, _) =
            app.follow(v1::Subscribe { records: true, reports: true, no_follow: true, ..from_first() }).await;
        for seq in (3..=150).step_by(3) {
            assert_eq!(reader.record().await.seq, seq - 2);
            assert_eq!(reader.record().await.seq, seq - 1);
            assert!(matches!(reader.next().await, server_message::Kind::Report(report) if report.seq == seq));
        }
    });
}

#[test]
fn a_drain_takes_what_has_arrived_and_does_not_wait_for_more() {
    let limits = Limits { drain: DEADLINE * 6, ..Limits::default() };
    with(spec(), limits, |app| async move {
        let run = app.admit("secret", "a-1", false);
        let mut living = app.sender("secret", 1).await;
        living.write(&sends(1, 1000)).await;
        // A child of the run holds its connection on: the drain does not wait for its end.
        Rc::clone(&app.hub).drain(run).await;
        let (_, welcome) = app.hello(hello()).await;
        assert_eq!(welcome.head, 1000);
        assert_eq!(living.acked(1000).await, 1000);
    });
}

#[test]
fn a_stop_is_told_to_connections_and_ends_subscriptions() {
    with_app(|app| async move {
        let run = app.admit("secret", "a-1", false);
        let other = app.admit("other", "b-1", false);
        let mut peer = app.sender("secret", 1).await;
        let mut bystander = app.sender("other", 2).await;
        let (mut reader, _) = app.hello(v1::Hello { token: "secret".into(), ..hello() }).await;
        assert!(matches!(reader.ask(request::Kind::Subscribe(from_first())).await, response::Kind::Subscribed(_)));
        peer.ask(request::Kind::WatchStop(v1::WatchStop {})).await;
        assert_eq!(app.event().await, Event::StopWatched { run });
        assert_ne!(run, other);

        app.hub.stop_event(run, 10_000);

        assert!(matches!(peer.next().await, server_message::Kind::StopRequested(stop) if stop.grace_ms > 9_000));
        assert_eq!(reader.next().await, server_message::Kind::End(v1::End { code: ErrorCode::Stopping.into() }));
        assert_eq!(reader.next_or_end().await, None);
        // It still sends its last words, and a connection that comes late is told at once.
        peer.publish(1, b"last words").await;
        let (mut late, _) = app.hello(v1::Hello { token: "secret".into(), ..hello() }).await;
        assert!(matches!(late.next().await, server_message::Kind::StopRequested(_)));
        assert!(matches!(late.ask(request::Kind::Subscribe(from_first())).await, response::Kind::Subscribed(_)));
        assert!(matches!(late.next().await, server_message::Kind::End(end) if end.code() == ErrorCode::Stopping));
        assert_eq!(bystander.publish(1, b"x").await, 2, "and nobody else hears of it");
    });
}

#[test]
fn who_watches_for_a_stop_that_was_asked_already_is_told_with_the_answer() {
    with_app(|app| async move {
        let run = app.admit("secret", "a-1", false);
        let mut peer = app.sender("secret", 1).await;
        app.hub.stop_event(run, 10_000);
        assert!(matches!(peer.next().await, server_message::Kind::StopRequested(_)));

        peer.say(7, request::Kind::WatchStop(v1::WatchStop {})).await;

        assert!(matches!(peer.next().await, server_message::Kind::StopRequested(stop) if stop.grace_ms > 9_000));
        let done = v1::Response { id: 7, kind: Some(response::Kind::Done(v1::Done {})) };
        assert_eq!(peer.next().await, server_message::Kind::Response(done));
    });
}

#[test]
fn whoever_no_longer_waits_is_said_to_be_gone() {
    with_app(|app| async move {
        let mut person = app.person().await;
        person.say(1, request::Kind::Ps(v1::Ps {})).await;
        let Event::Command { request, .. } = app.event().await else { panic!("a command") };
        drop(person);
        assert_eq!(app.event().await, Event::RequestGone { request });
        app.hub.reply(request, Reply::Done); // Too late, and harmless.
    });
}

#[test]
fn the_end_answers_first_and_empties_the_context_if_asked() {
    with_app(|app| async move {
        let mut sender = app.sender("", 1).await;
        sender.publish(1, b"x").await;
        let (mut reader, _) = app.follow(from_first()).await;
        reader.record().await;
        let mut person = app.person().await;
        person.say(1, request::Kind::Down(v1::Down { purge: true, ..Default::default() })).await;
        let Event::Command { request, by, command } = app.event().await else { panic!("a command") };
        assert_eq!((by, command), (Requester::Person, Command::Down { grace: None, kill: false }));
        assert!(app.hub.purge_requested());

        app.hub.reply(request, Reply::Done);
        app.hub.close().await;

        let done = v1::Response { id: 1, kind: Some(response::Kind::Done(v1::Done {})) };
        assert_eq!(person.next().await, server_message::Kind::Response(done));
        assert_eq!(person.next_or_end().await, None);
        assert_eq!(sender.next_or_end().await, None);
        assert_eq!(reader.next_or_end().await, None);
    });
}

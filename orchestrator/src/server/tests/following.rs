//! Subscriptions: from where, until where, and at whose pace.

use super::*;

async fn published(app: &App, count: u64) -> Peer {
    let mut sender = app.sender("", 1).await;
    sender.write(&sends(1, count)).await;
    sender.acked(count).await;
    sender
}

fn from(from: v1::subscribe::From) -> v1::Subscribe {
    v1::Subscribe { from: Some(from), ..Default::default() }
}

#[test]
fn a_subscription_begins_where_it_is_asked_to() {
    with_app(|app| async move {
        let mut sender = published(&app, 5).await;
        let (mut first, subscribed) = app.follow(from(v1::subscribe::From::First(true))).await;
        assert_eq!(subscribed.head, 5);
        let (mut third, _) = app.follow(from(v1::subscribe::From::Seq(3))).await;
        let (mut new, _) = app.follow(from(v1::subscribe::From::New(true))).await;
        let (mut default, _) = app.follow(v1::Subscribe::default()).await;
        sender.publish(6, b"6").await;
        assert_eq!(first.record().await.seq, 1);
        assert_eq!(third.record().await.seq, 3);
        assert_eq!(new.record().await.seq, 6);
        assert_eq!(default.record().await.seq, 6);
    });
}

#[test]
fn a_subscription_ends_where_it_is_asked_to() {
    with_app(|app| async move {
        let mut sender = published(&app, 5).await;
        let (mut reader, _) = app.follow(v1::Subscribe { to: Some(6), ..from_first() }).await;
        for seq in 1..=5 {
            assert_eq!(reader.record().await.seq, seq);
        }
        sender.publish(6, b"6").await;
        sender.publish(7, b"7").await;
        assert_eq!(reader.record().await.seq, 6);
        assert_eq!(reader.next().await, server_message::Kind::End(v1::End { code: ErrorCode::Ok.into() }));
        assert_eq!(reader.next_or_end().await, None);
    });
}

#[test]
fn a_cursor_of_another_log_is_told_and_goes_on_from_the_first() {
    with_app(|app| async move {
        let sender = published(&app, 5).await;
        let elsewhere = v1::Subscribe { log_id: vec![9; 16].into(), ..from(v1::subscribe::From::Seq(4)) };
        let (mut reader, subscribed) = app.follow(elsewhere).await;
        match reader.next().await {
            server_message::Kind::Gap(gap) => {
                assert_eq!(gap.cause(), v1::gap::Cause::LogReplaced);
                assert_eq!(gap.log_id, subscribed.log_id);
            }
            other => panic!("no gap but {other:?}"),
        }
        assert_eq!(reader.record().await.seq, 1);
        drop(sender);
    });
}

#[test]
fn a_pattern_that_is_none_is_refused_and_the_connection_lives() {
    with_app(|app| async move {
        let mut peer = app.person().await;
        let subscribe = v1::Subscribe { key_pattern: "a//b".into(), ..Default::default() };
        assert_eq!(peer.refused(request::Kind::Subscribe(subscribe)).await, ErrorCode::InvalidKey);
        assert!(matches!(peer.ask(request::Kind::Subscribe(from_first())).await, response::Kind::Subscribed(_)));
    });
}

#[test]
fn a_subscribed_connection_takes_no_requests() {
    with_app(|app| async move {
        let (mut reader, _) = app.follow(from_first()).await;
        reader.say(5, request::Kind::Status(v1::Status {})).await;
        assert_eq!(reader.ended().await, ErrorCode::Malformed);
    });
}

#[test]
fn a_slow_reader_delays_nobody() {
    with_app(|app| async move {
        let (mut slow, _) = app.follow(from_first()).await;
        let (mut fast, _) = app.follow(from_first()).await;
        let mut sender = app.sender("", 1).await;
        let data = vec![1; 64 * 1024];
        // Far more than the buffers between the server and a reader hold.
        for number in 1..=400 {
            assert_eq!(sender.publish(number, &data).await, number);
            assert_eq!(fast.record().await.seq, number);
        }
        for seq in 1..=400 {
            assert_eq!(slow.record().await.seq, seq, "and the slow one misses nothing");
        }
    });
}

#[test]
fn a_reader_behind_retention_is_told_the_gap() {
    let retain = Retain { bytes: 1 << 20, ..spec().retain };
    with(ContextSpec { retain, ..spec() }, Limits::default(), |app| async move {
        let (mut slow, _) = app.follow(from_first()).await;
        let mut sender = app.sender("", 1).await;
        let data = vec![1; 256 * 1024];
        for number in 1..=200 {
            sender.publish(number, &data).await;
        }
        let mut expected = 1;
        while expected <= 200 {
            match slow.next().await {
                server_message::Kind::Record(record) => assert_eq!(record.seq, expected),
                server_message::Kind::Gap(gap) => {
                    assert_eq!((gap.cause(), gap.first), (v1::gap::Cause::Trimmed, expected));
                    expected = gap.last;
                }
                other => panic!("{other:?}"),
            }
            expected += 1;
        }
    });
}

fn waiting(wait_limit: Duration) -> ContextSpec {
    let retain = Retain { bytes: 1 << 20, ..spec().retain };
    ContextSpec { when_full: WhenFull::Wait, wait_limit, retain, ..spec() }
}

#[test]
fn with_when_full_wait_a_slow_reader_holds_publishers_and_misses_nothing() {
    with(waiting(DEADLINE * 6), Limits::default(), |app| async move {
        let (mut slow, _) = app.follow(from_first()).await;
        let mut sender = app.sender("", 1).await;
        let data = vec![1; 256 * 1024];
        let publishing = tokio::task::spawn_local(async move {
            for number in 1..=100 {
                sender.publish(number, &data).await;
            }
        });
        for seq in 1..=100 {
            assert_eq!(slow.record().await.seq, seq);
        }
        publishing.await.expect("all are acknowledged");
    });
}

#[test]
fn with_when_full_wait_a_reader_that_stands_still_is_given_up() {
    with(waiting(Duration::from_millis(100)), Limits::default(), |app| async move {
        let (mut stuck, _) = app.follow(from_first()).await;
        let mut sender = app.sender("", 1).await;
        let data = vec![1; 256 * 1024];
        for number in 1..=100 {
            sender.publish(number, &data).await;
        }
        let (mut seen, mut gaps) = (0, 0);
        while seen < 100 {
            match stuck.next().await {
                server_message::Kind::Record(record) => seen = record.seq,
                server_message::Kind::Gap(gap) => (seen, gaps) = (gap.last, gaps + 1),
                other => panic!("{other:?}"),
            }
        }
        assert!(gaps > 0, "it is told what it missed");
    });
}

#[test]
fn a_reader_that_leaves_holds_nobody_up() {
    with(waiting(DEADLINE * 6), Limits::default(), |app| async move {
        let (stuck, _) = app.follow(from_first()).await;
        let mut sender = app.sender("", 1).await;
        let data = vec![1; 256 * 1024];
        let publishing = async {
            for number in 1..=100 {
                sender.publish(number, &data).await;
            }
        };
        let leaving = async {
            // The publisher stands still before the reader leaves: it has as many events as it ever will.
            while !app.hub.is_someone_waiting_for_readers() {
                tokio::task::yield_now().await;
            }
            drop(stuck);
        };
        tokio::join!(publishing, leaving);
    });
}

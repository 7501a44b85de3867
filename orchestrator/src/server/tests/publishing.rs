//! Sends: in order, once, acknowledged by batch.

use super::*;

#[test]
fn what_one_sends_all_readers_get_in_the_same_bytes_and_order() {
    with_app(|app| async move {
        app.admit("secret", "station-1", false);
        let mut readers = Vec::new();
        for _ in 0..3 {
            readers.push(app.follow(from_first()).await.0);
        }
        let mut sender = app.sender("secret", 1).await;
        for first in (1..=3000).step_by(500) {
            sender.write(&sends(first, first + 499)).await;
        }
        assert_eq!(sender.acked(3000).await, 3000);
        let mut heard = Vec::new();
        for reader in &mut readers {
            let mut records = Vec::new();
            for n in 1..=3000u64 {
                let record = reader.record().await;
                assert_eq!((record.seq, &record.udd_buff[..]), (n, n.to_string().as_bytes()));
                assert_eq!(record.sent_by, "station-1");
                records.push(record);
            }
            heard.push(records);
        }
        assert!(heard.iter().all(|records| *records == heard[0]));
        assert!(heard[0].is_sorted_by_key(|record| record.sent_time));
    });
}

#[test]
fn a_batch_has_one_acknowledgement() {
    with_app(|app| async move {
        let mut sender = app.sender("", 1).await;
        sender.write(&sends(1, 100)).await;
        assert_eq!(sender.next().await, server_message::Kind::Ack(v1::Ack { number: 100, seq: 100 }));
    });
}

#[test]
fn what_is_sent_again_after_a_reconnect_is_acknowledged_and_not_doubled() {
    with_app(|app| async move {
        let mut sender = app.sender("", 1).await;
        sender.write(&sends(1, 5)).await;
        sender.acked(5).await;
        drop(sender);

        let (mut again, welcome) = app.hello(sending(1)).await;
        assert_eq!(welcome.last_number, 5);
        again.write(&sends(3, 7)).await;
        assert_eq!(again.acked(7).await, 7);

        let (mut reader, _) = app.follow(v1::Subscribe { no_follow: true, ..from_first() }).await;
        for n in 1..=7u64 {
            assert_eq!(reader.record().await.udd_buff, n.to_string());
        }
        assert_eq!(reader.next().await, server_message::Kind::End(v1::End { code: 0 }));
        assert_eq!(reader.next_or_end().await, None);
    });
}

#[test]
fn a_hole_in_the_numbers_ends_the_connection() {
    with_app(|app| async move {
        let mut sender = app.sender("", 1).await;
        sender.write(&sends(1, 2)).await;
        sender.acked(2).await;
        sender.write(&sends(4, 4)).await;
        sender.ended().await;
        assert_eq!(app.hello(sending(1)).await.1.last_number, 2);
    });
}

#[test]
fn a_send_without_a_client_id_ends_the_connection() {
    with_app(|app| async move {
        let mut person = app.person().await;
        person.say(0, send(1, b"x")).await;
        assert_eq!(person.ended().await, ErrorCode::Malformed);
    });
}

#[test]
fn a_record_larger_than_the_limit_ends_the_connection() {
    with(ContextSpec { max_record: 1000, ..spec() }, Limits::default(), |app| async move {
        let mut sender = app.sender("", 1).await;
        sender.publish(1, &[1; 1000]).await;
        sender.say(0, send(2, &[1; 1001])).await;
        assert_eq!(sender.ended().await, ErrorCode::TooLarge);
    });
}

#[test]
fn a_second_connection_of_a_client_replaces_the_first() {
    with_app(|app| async move {
        let mut first = app.sender("", 1).await;
        first.publish(1, b"x").await;
        let (mut second, welcome) = app.hello(sending(1)).await;
        assert_eq!(welcome.last_number, 1);
        assert_eq!(first.ended().await, ErrorCode::Replaced);
        second.publish(2, b"y").await;
    });
}

#[test]
fn reports_and_records_share_numbers_and_seqs() {
    with_app(|app| async move {
        app.admit("secret", "station-1", false);
        let (mut reader, _) = app.follow(v1::Subscribe { records: true, reports: true, ..from_first() }).await;
        let mut sender = app.sender("secret", 1).await;
        sender.publish(1, b"record").await;
        let report = v1::MetaSend { number: 2, report_buff: Bytes::from_static(b"report") };
        sender.say(0, request::Kind::MetaSend(report)).await;
        assert_eq!(sender.acked(2).await, 2);
        app.hub.reports_changed().await;

        assert_eq!(reader.record().await.seq, 1);
        match reader.next().await {
            server_message::Kind::Report(report) => {
                assert_eq!(
                    (report.seq, report.sent_by.as_str(), &report.report_buff[..]),
                    (2, "station-1", &b"report"[..])
                );
                assert_eq!(report.facts, None);
            }
            other => panic!("no report but {other:?}"),
        }
    });
}

#[test]
fn a_compare_that_fails_is_told_and_the_rest_goes_on() {
    with_app(|app| async move {
        let mut sender = app.sender("", 1).await;
        let keyed = |number, expect_seq| {
            request::Kind::UddSend(v1::UddSend { number, key: "k".into(), udd_buff: Bytes::new(), expect_seq })
        };
        let mut bytes = Vec::new();
        for kind in [keyed(1, Some(0)), keyed(2, Some(0)), keyed(3, Some(1))] {
            frame::encode(&v1::Request { id: 0, kind: Some(kind) }, &mut bytes);
        }
        sender.write(&bytes).await;
        let mut failed = Vec::new();
        loop {
            match sender.next().await {
                server_message::Kind::Ack(ack) if ack.number == 3 => break,
                server_message::Kind::Ack(_) => {}
                server_message::Kind::SendFailed(send) => failed.push((send.number, send.code())),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(failed, [(2, ErrorCode::Conflict)]);
    });
}

#[test]
fn a_large_record_passes_and_holds_nobody_up() {
    with_app(|app| async move {
        let (mut reader, _) = app.follow(from_first()).await;
        let mut large = app.sender("", 1).await;
        let mut small = app.sender("", 2).await;
        let data = vec![7; 16 << 20];
        let bytes = frame::to_vec(&v1::Request { id: 0, kind: Some(send(1, &data)) });
        let (start, rest) = bytes.split_at(bytes.len() / 2);
        large.write(start).await;
        // The large one is half there; the small ones of another do not wait for it.
        assert_eq!(small.publish(1, b"small").await, 1);
        large.write(rest).await;
        assert_eq!(large.acked(1).await, 2);
        assert_eq!(reader.record().await.udd_buff, "small");
        assert!(reader.record().await.udd_buff == data);
    });
}

#[test]
fn a_client_that_does_not_read_stalls_itself_alone() {
    let limits = Limits { pending: 10_000, ..Limits::default() };
    with(spec(), limits, |app| async move {
        let mut sender = app.sender("", 1).await;
        sender.publish(1, &vec![1; 100_000]).await;
        let (mut deaf, mut other) = (app.person().await, app.person().await);
        // Each answer is larger than what may be pending: the server stops reading, and so this can no longer be written.
        let question =
            frame::to_vec(&v1::Request { id: 1, kind: Some(request::Kind::UddGet(v1::UddGet { key: None })) });
        let flood = question.repeat(500_000);
        // In parts: on Windows a single write is taken over whole, however large it is.
        let pour = async {
            for part in flood.chunks(64 * 1024) {
                deaf.write(part).await;
            }
        };
        tokio::select! {
            () = pour => panic!("the server took every question of a client that hears no answer"),
            answer = other.ask(request::Kind::Status(v1::Status {})) => {
                assert!(matches!(answer, response::Kind::Status(_)));
            }
        }
        // Once it reads, it gets its answers.
        for _ in 0..20 {
            assert!(matches!(deaf.next().await, server_message::Kind::Response(_)));
        }
        assert_eq!(sender.publish(2, b"x").await, 2);
    });
}

#[test]
fn what_a_restarted_orchestrator_has_already_is_not_doubled() {
    let spec = ContextSpec { durability: Durability::Crash, ..spec() };
    with(spec.clone(), Limits::default(), |app| async move {
        let (mut sender, before) = app.hello(sending(1)).await;
        sender.write(&sends(1, 5)).await;
        sender.acked(5).await;

        let app = app.restart(&spec).await;

        let (mut sender, welcome) = app.hello(sending(1)).await;
        assert_eq!((welcome.last_number, welcome.head, welcome.log_id), (5, 5, before.log_id));
        sender.write(&sends(4, 6)).await;
        assert_eq!(sender.acked(6).await, 6);
        let (mut reader, _) = app.follow(from_first()).await;
        for n in 1..=6u64 {
            assert_eq!(reader.record().await.udd_buff, n.to_string());
        }
    });
}

/// In a process of its own: a limit on the size of files is as good as a full disk, and holds for all files.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_fails_the_send_and_resumes_when_there_is_room() {
    if !is_alone("publishing::a_full_disk_fails_the_send_and_resumes_when_there_is_room") {
        return;
    }
    // SAFETY: ignoring a signal runs no code of ours; what exceeds the limit then fails by an error.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    with(ContextSpec { durability: Durability::Crash, ..spec() }, Limits::default(), |app| async move {
        let mut sender = app.sender("", 1).await;
        let mut bystander = app.person().await;
        let data = vec![1; 1 << 20];
        sender.publish(1, &data).await;
        set_limit(libc::RLIMIT_FSIZE, Some(64 * 1024));
        let mut number = 1;
        let failed = loop {
            number += 1;
            sender.say(0, send(number, &data)).await;
            match sender.next().await {
                server_message::Kind::Ack(ack) => assert_eq!(ack.number, number),
                server_message::Kind::SendFailed(failed) => break failed,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((failed.number, failed.code()), (number, ErrorCode::NoSpace));
        // Later ones are ignored, and everything else goes on.
        sender.say(0, send(number + 1, &data)).await;
        assert!(matches!(bystander.ask(request::Kind::Status(v1::Status {})).await, response::Kind::Status(_)));

        set_limit(libc::RLIMIT_FSIZE, None);

        assert_eq!(sender.next().await, server_message::Kind::Resume(v1::Resume {}));
        assert_eq!(sender.publish(number, &data).await, number);
        assert_eq!(sender.publish(number + 1, &data).await, number + 1);
    });
}

#[test]
fn with_power_nobody_is_shown_or_told_what_the_disk_has_not_taken() {
    let spec = ContextSpec { durability: Durability::Power, ..spec() };
    with(spec, Limits::default(), |app| async move {
        let (mut one, mut two) = (app.sender("", 1).await, app.sender("", 2).await);
        assert_eq!((one.publish(1, b"a").await, two.publish(1, b"b").await), (1, 2));
        let (mut reader, _) = app.follow(from_first()).await;
        assert_eq!((reader.record().await.seq, reader.record().await.seq), (1, 2));

        app.hub.break_disk(true);
        one.write(&sends(2, 4)).await;
        two.write(&sends(2, 3)).await;
        for sender in [&mut one, &mut two] {
            match sender.next().await {
                server_message::Kind::SendFailed(failed) => {
                    assert_eq!((failed.number, failed.code()), (2, ErrorCode::NoSpace));
                }
                other => panic!("{other:?}"),
            }
        }
        let mut person = app.person().await;
        match person.ask(request::Kind::UddGet(v1::UddGet { key: None })).await {
            response::Kind::Record(record) => assert_eq!(record.seq, 2),
            other => panic!("{other:?}"),
        }

        app.hub.break_disk(false);
        for sender in [&mut one, &mut two] {
            assert_eq!(sender.next().await, server_message::Kind::Resume(v1::Resume {}));
            sender.write(&sends(2, 5)).await;
            sender.acked(5).await;
        }
        let mut seqs = Vec::new();
        while seqs.len() < 8 {
            seqs.push(reader.record().await.seq);
        }
        assert_eq!(seqs, (3..=10).collect::<Vec<_>>(), "all of both, once, in order");
    });
}

#[test]
fn with_power_what_was_sent_is_seen_by_what_is_asked_after_it() {
    let spec = ContextSpec { durability: Durability::Power, ..spec() };
    with(spec, Limits::default(), |app| async move {
        let mut sender = app.sender("", 1).await;
        for n in 1..=20u64 {
            let mut bytes = sends(n, n);
            let get = request::Kind::UddGet(v1::UddGet { key: None });
            frame::encode(&v1::Request { id: n, kind: Some(get) }, &mut bytes);
            sender.write(&bytes).await;
            assert_eq!(sender.next().await, server_message::Kind::Ack(v1::Ack { number: n, seq: n }));
            match sender.next().await {
                server_message::Kind::Response(v1::Response { kind: Some(response::Kind::Record(record)), .. }) => {
                    assert_eq!(record.seq, n);
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn a_send_that_was_written_in_an_odd_way_is_a_send() {
    with_app(|app| async move {
        let mut sender = app.sender("", 1).await;
        // Both arms in one frame: in protobuf the last one counts.
        let one = |kind| v1::Request { id: 0, kind: Some(kind) }.encode_to_vec();
        let odd = [one(request::Kind::UddGet(v1::UddGet { key: None })), one(send(2, b"odd"))].concat();
        let mut bytes = sends(1, 1);
        prost::encoding::encode_varint(odd.len() as u64, &mut bytes);
        bytes.extend(odd);
        bytes.extend(sends(3, 3));
        sender.write(&bytes).await;
        assert_eq!(sender.acked(3).await, 3);
        let (mut reader, _) = app.follow(from_first()).await;
        for data in ["1", "odd", "3"] {
            assert_eq!(reader.record().await.udd_buff, data);
        }
    });
}

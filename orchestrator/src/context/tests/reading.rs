//! Subscriptions, retention, newest records, headers, reports.json.

use copo_proto::v1::gap::Cause;

use super::*;

fn seqs(range: std::ops::RangeInclusive<u64>) -> Vec<Brief> {
    range.map(Brief::At).collect()
}

#[test]
fn records_and_reports_are_merged_in_seq_order_and_each_kind_can_be_had_alone() {
    let mut rig = Rig::new(spec());
    for i in 0..40u8 {
        rig.publish(&[udd("", &[i]), Body::Meta { data: b"m" }, udd("a/b", &[i])]);
    }
    rig.context.report(rig.now, v1::Facts::default()).expect("stored");
    let mut all = rig.subscribe(both(first()));
    assert_eq!(brief(&rig.read(&mut all)), seqs(1..=121));
    let mut records = rig.subscribe(first());
    assert_eq!(rig.read(&mut records).len(), 80);
    let mut reports = rig.subscribe(v1::Subscribe { reports: true, ..first() });
    assert_eq!(rig.read(&mut reports).len(), 41);
}

#[test]
fn a_subscription_begins_where_it_was_asked_to() {
    let mut rig = Rig::new(spec());
    for _ in 0..10 {
        rig.publish(&[udd("", b"x"), udd("", b"y")]);
        rig.now += SECOND;
    }
    let mut middle = rig.subscribe(from_seq(8));
    assert_eq!(brief(&rig.read(&mut middle)), seqs(8..=20));
    let time = Some(v1::subscribe::From::Time(5 * SECOND));
    let mut timed = rig.subscribe(v1::Subscribe { from: time, ..Default::default() });
    assert_eq!(brief(&rig.read(&mut timed)), seqs(9..=20));
    let mut new = rig.subscribe(v1::Subscribe::default());
    let mut future = rig.subscribe(from_seq(23));
    assert!(rig.read(&mut new).is_empty());
    rig.publish(&[udd("", b"x"), udd("", b"y"), udd("", b"z")]);
    assert_eq!(brief(&rig.read(&mut new)), seqs(21..=23));
    assert_eq!(brief(&rig.read(&mut future)), seqs(23..=23));
}

#[test]
fn a_bounded_subscription_ends_after_its_last_seq() {
    let mut rig = Rig::new(spec());
    rig.publish(&[udd("", b"x"); 10]);
    let mut to = rig.subscribe(v1::Subscribe { to: Some(4), ..from_seq(2) });
    let expected = [Brief::At(2), Brief::At(3), Brief::At(4), Brief::End];
    assert_eq!(brief(&rig.read(&mut to)), expected);
    let mut head = rig.subscribe(v1::Subscribe { no_follow: true, ..from_seq(10) });
    let mut later = rig.subscribe(v1::Subscribe { to: Some(11), ..from_seq(10) });
    assert_eq!(brief(&rig.read(&mut later)), [Brief::At(10)]);
    rig.publish(&[udd("", b"x"); 3]);
    assert_eq!(brief(&rig.read(&mut head)), [Brief::At(10), Brief::End]);
    assert_eq!(brief(&rig.read(&mut later)), [Brief::At(11), Brief::End]);
    let mut empty = Rig::new(spec());
    let mut cursor = empty.subscribe(v1::Subscribe { no_follow: true, ..first() });
    assert_eq!(brief(&empty.read(&mut cursor)), [Brief::End]);
}

#[test]
fn a_pattern_selects_by_key() {
    let mut rig = Rig::new(spec());
    for _ in 0..30 {
        rig.publish(&[udd("a/b", b"x"), udd("", b"y"), udd("a/c", b"z"), udd("b", &[0; 300])]);
        rig.publish(&[udd("", b"unkeyed")]);
    }
    let mut cursor = rig.subscribe(v1::Subscribe { key_pattern: "a/*".into(), ..first() });
    let got: Vec<u64> = (0..30).flat_map(|i| [5 * i + 1, 5 * i + 3]).collect();
    assert_eq!(brief(&rig.read(&mut cursor)), got.into_iter().map(Brief::At).collect::<Vec<_>>());
    let refused = rig.context.subscribe(1, &v1::Subscribe { key_pattern: "a//b".into(), ..first() });
    assert_eq!(refused.expect_err("ill-formed").code(), v1::ErrorCode::InvalidKey);
}

#[test]
fn retention_is_exact_and_who_fell_behind_is_told_the_exact_gap() {
    let mut spec = spec();
    spec.retain.records = 10;
    let mut rig = Rig::new(spec);
    rig.publish(&[udd("", b"x"), udd("", b"x"), udd("", b"x")]);
    let mut slow = rig.subscribe(both(first()));
    assert_eq!(brief(&rig.read(&mut slow)), seqs(1..=3));
    rig.publish(&[Body::Meta { data: b"four" }, udd("", b"five")]);
    rig.context.report(rig.now, v1::Facts::default()).expect("stored");
    rig.publish(&[udd("", b"x"); 14]);
    let mut expected = vec![Brief::At(4), Brief::Gap(Cause::Trimmed, 5, 5), Brief::At(6)];
    expected.push(Brief::Gap(Cause::Trimmed, 7, 10));
    expected.extend(seqs(11..=20));
    assert_eq!(brief(&rig.read(&mut slow)), expected);
    let mut from_first = rig.subscribe(first());
    assert_eq!(brief(&rig.read(&mut from_first)), seqs(11..=20));
    let mut behind = rig.subscribe(from_seq(9));
    assert_eq!(brief(&rig.read(&mut behind))[..2], [Brief::Gap(Cause::Trimmed, 9, 10), Brief::At(11)]);
}

#[test]
fn retention_by_bytes_and_by_age_is_exact() {
    let mut by_bytes = spec();
    by_bytes.retain.bytes = 1000;
    let mut rig = Rig::new(by_bytes);
    rig.publish(&[udd("", &[0; 100]); 20]);
    let mut cursor = rig.subscribe(first());
    let Said::Record(record) = rig.read(&mut cursor).remove(0) else { panic!("a record") };
    let kept = 1000 / frame_len(&record);
    assert_eq!(record.seq, 21 - kept);
    rig.publish(&[udd("", &[0; 5000])]);
    let mut cursor = rig.subscribe(first());
    assert_eq!(brief(&rig.read(&mut cursor)), [Brief::At(21)], "the newest is readable however large");

    let mut by_age = Rig::new(spec());
    let mut cursor = by_age.subscribe(first());
    for _ in 0..5 {
        by_age.publish(&[udd("", b"x")]);
        by_age.now += 1000 * SECOND;
    }
    assert_eq!(
        brief(&by_age.read(&mut cursor)),
        [Brief::Gap(Cause::Trimmed, 1, 2), Brief::At(3), Brief::At(4), Brief::At(5)]
    );
    assert_eq!(by_age.context.newest(9999 * SECOND, None), None);
}

#[test]
fn segments_go_when_nothing_in_them_is_readable_and_disk_use_stays_bounded() {
    let mut spec = spec();
    spec.retain.bytes = 512 * 1024;
    let mut rig = Rig::new(spec);
    let mut slow = rig.subscribe(first());
    let held = {
        rig.publish(&[udd("", &[7; 5000]); 3]);
        rig.context.read(rig.now, &mut slow, 1)
    };
    for i in 0..400u32 {
        rig.publish(&[udd("", &[i as u8; 5000]); 3]);
        let used: u64 = files(rig.path()).iter().map(|file| file.metadata().expect("a file").len()).sum();
        assert!(used < 512 * 1024 + 5 * 64 * 1024, "{used} bytes");
    }
    let payload = [7u8; 5000];
    assert!(held.slices[0].windows(5000).any(|part| part == payload), "a slice outlives its segment");
    let said = brief(&rig.read(&mut slow));
    assert!(matches!(said[0], Brief::Gap(Cause::Trimmed, 2, last) if said[1] == Brief::At(last + 1)));
}

#[test]
fn the_newest_of_a_key_outlives_retention_and_reopening_up_to_the_limit() {
    let mut spec = spec();
    spec.retain.records = 50;
    spec.retain.keys = 3;
    let mut rig = Rig::new(spec);
    let keyed: Vec<u64> = ["a", "b", "c", "d", "e"].iter().map(|key| rig.record(key, key.as_bytes())).collect();
    let b = rig.record("b", b"newer");
    let expected = [None, Some(b), None, Some(keyed[3]), Some(keyed[4])];
    for round in 0..3 {
        for _ in 0..100 {
            rig.publish(&[udd("", &[0; 2000]); 4]);
        }
        assert_eq!(["a", "b", "c", "d", "e"].map(|key| rig.newest(key)), expected, "round {round}");
        rig.kill();
    }
    assert_eq!(rig.context.newest(rig.now, Some("b")).expect("kept").udd_buff, "newer");
    assert!(segments(rig.path(), "records-").len() < 10);
    let mut all = rig.subscribe(first());
    assert_eq!(rig.read(&mut all).len(), 50, "by subscription only what is retained");
}

#[test]
fn what_is_kept_beyond_retention_is_cleaned_of_waste() {
    let mut spec = spec();
    spec.retain.records = 5;
    let mut rig = Rig::new(spec);
    for i in 0..1500u32 {
        rig.record(&format!("k{}", i % 20), &[i as u8; 3000]);
    }
    assert!(segments(rig.path(), "kept-").len() < 6, "{:?}", segments(rig.path(), "kept-"));
    rig.kill();
    for i in 0..20 {
        assert_eq!(rig.newest(&format!("k{i}")), Some(1481 + i));
    }
}

#[test]
fn a_purge_empties_the_records_and_tells_readers() {
    let mut rig = Rig::new(spec());
    rig.publish(&[udd("k", b"1"), udd("", b"2"), Body::Meta { data: b"3" }, udd("", b"4")]);
    let mut reader = rig.subscribe(both(first()));
    let mut current = rig.subscribe(v1::Subscribe::default());
    rig.context.purge(rig.now, "@cli").expect("purged");
    assert_eq!(rig.newest("k"), None);
    assert_eq!(rig.record("", b"5"), 5);
    let gap = |first, last| Brief::Gap(Cause::Purged, first, last);
    assert_eq!(brief(&rig.read(&mut reader)), [gap(1, 2), Brief::At(3), gap(4, 4), Brief::At(5)]);
    assert_eq!(brief(&rig.read(&mut current)), [Brief::At(5)]);
    for _ in 0..2 {
        let mut reader = rig.subscribe(both(from_seq(1)));
        assert_eq!(brief(&rig.read(&mut reader)), [gap(1, 2), Brief::At(3), gap(4, 4), Brief::At(5)]);
        assert_eq!(rig.newest("k"), None);
        rig.kill();
    }
    rig.context.purge(rig.now, "@cli").expect("purged");
    rig.kill();
    let mut reader = rig.subscribe(from_seq(5));
    assert_eq!(brief(&rig.read(&mut reader)), [gap(5, 5)]);
    assert_eq!(rig.record("", b"6"), 6);
    assert_eq!(brief(&rig.read(&mut reader)), [Brief::At(6)]);
}

#[test]
fn the_file_wins_with_its_headers_only_when_it_changed_since_it_last_won() {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut rig = Rig::new(spec());
    assert!(rig.context.apply_file_headers(2, Some(&list(&["a"]))).expect("stored"));
    assert!(rig.context.set_headers(3 * SECOND, "web-1", list(&["b"])).expect("stored"));
    assert!(!rig.context.set_headers(4 * SECOND, "web-1", list(&["b"])).expect("stored"));
    rig.kill();
    assert!(!rig.context.apply_file_headers(5, Some(&list(&["a"]))).expect("stored"));
    let expected = v1::Headers { headers: list(&["b"]), last_update: 3 * SECOND, last_update_by: "web-1".into() };
    assert_eq!(rig.context.headers(), expected);
    assert!(rig.context.apply_file_headers(6 * SECOND, Some(&list(&["c"]))).expect("stored"));
    rig.now = 9 * SECOND;
    rig.record("", b"x");
    let headers = rig.context.headers();
    assert_eq!((headers.last_update, headers.last_update_by.as_str()), (9 * SECOND, "station-1"));
    rig.kill();
    assert_eq!(rig.context.headers(), headers);
}

#[test]
fn reports_json_is_the_newest_thousand_and_reads_back() {
    let mut rig = Rig::new(spec());
    for _ in 0..1100 {
        rig.publish(&[Body::Meta { data: &[0xff, 1] }]);
    }
    let facts = v1::Facts {
        event: v1::EventKind::Exited.into(),
        internal_name: Some("station-1".into()),
        exit_code: Some(3),
        ..Default::default()
    };
    rig.context.report(rig.now, facts.clone()).expect("stored");
    let document = rig.context.reports_json();
    let value: serde_json::Value = serde_json::from_slice(&document).expect("json");
    assert_eq!(value["last_report"], SECOND);
    let reports = value["reports"].as_array().expect("a list");
    assert_eq!(
        (reports.len(), &reports[0]["seq"], &reports[0]["report_buff_base64"]),
        (1000, &102.into(), &"/wE=".into())
    );
    let newest = serde_json::json!({"seq": 1101, "report_time": SECOND, "sent_by": "orchestrator",
        "report_buff": "station-1 exited with code 3",
        "facts": {"event": "exited", "internal_name": "station-1", "exit_code": 3}});
    assert_eq!(reports[999], newest);
    let read = crate::context::json::parse_reports_document(&document).expect("reads back");
    assert_eq!((read.len(), &read[999].facts), (1000, &Some(facts)));
    assert_eq!(read[0].report_buff, [0xff, 1][..]);
}

#[test]
fn a_record_as_json_has_the_shape_of_the_contract() {
    let mut record = v1::UddRecord { seq: 1, sent_time: 2, sent_by: "clean-1".into(), ..Default::default() };
    record.udd_buff = "{}".into();
    let json = crate::context::json::record(&record).to_string();
    assert_eq!(json, r#"{"seq":1,"sent_time":2,"sent_by":"clean-1","key":"","udd_buff":"{}"}"#);
    record.udd_buff = vec![0xfe].into();
    let json = crate::context::json::record(&record).to_string();
    assert_eq!(json, r#"{"seq":1,"sent_time":2,"sent_by":"clean-1","key":"","udd_buff_base64":"/g=="}"#);
}

#[test]
fn records_never_push_a_report_out() {
    let mut spec = spec();
    (spec.retain.records, spec.retain.reports) = (5, 3);
    let mut rig = Rig::new(spec);
    for _ in 0..5 {
        rig.publish(&[Body::Meta { data: b"r" }]);
    }
    for _ in 0..200 {
        rig.publish(&[udd("", &[0; 3000])]);
    }
    let mut reports = rig.subscribe(v1::Subscribe { reports: true, ..first() });
    assert_eq!(brief(&rig.read(&mut reports)), seqs(3..=5));
}

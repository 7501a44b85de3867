//! Sends: exactly once, conflicts, no space, flow control.

use super::*;

fn ack(number: u64, seq: u64) -> Answer {
    Answer::Ack(v1::Ack { number, seq })
}

fn code(answer: &Answer) -> (u64, v1::ErrorCode) {
    match answer {
        Answer::Failed(failed) => (failed.number, failed.code()),
        Answer::Ack(ack) => panic!("acknowledged: {ack:?}"),
    }
}

fn sends<'a>(numbers: std::ops::RangeInclusive<u64>, body: Body<'a>) -> Vec<Send<'a>> {
    numbers.map(|number| Send { number, body }).collect()
}

#[test]
fn what_was_taken_is_dropped_and_acknowledged_with_its_seq_also_after_a_kill() {
    let mut rig = Rig::new(spec());
    assert_eq!(rig.publish(&[udd("", b"x"); 5]).answers, [ack(5, 5)]);
    rig.context.report(rig.now, v1::Facts::default()).expect("stored");
    for round in 0..2 {
        let again = rig.context.publish(rig.now, &CLIENT, "station-1", &sends(3..=7, udd("", b"x")));
        assert_eq!(again.answers, [ack(5, 5), ack(7, 8)], "round {round}");
        assert_eq!(again.appended, round == 0);
        rig.kill();
    }
    let hole = rig.context.publish(rig.now, &CLIENT, "station-1", &sends(9..=9, udd("", b"x")));
    assert_eq!(hole.refused.expect("a hole").code(), v1::ErrorCode::Malformed);
    let known = rig.context.join(&CLIENT, "token", rig.now).expect("joins");
    assert_eq!(known.last_number, 7);
    assert!(rig.context.join(&CLIENT, "another token", rig.now).is_err());
}

#[test]
fn taken_numbers_survive_retention_and_purges() {
    let mut spec = spec();
    spec.retain.records = 10;
    let mut rig = Rig::new(spec);
    rig.publish(&[udd("", b"x"), Body::Meta { data: b"x" }, udd("", b"x")]);
    let other = [2; 16];
    rig.context.join(&other, "other", rig.now).expect("joins");
    for number in 1..300 {
        let send = Send { number, body: udd("", &[0; 2000]) };
        rig.context.publish(rig.now, &other, "other-1", &[send]);
    }
    rig.context.purge(rig.now, "@cli").expect("purged");
    rig.kill();
    assert!(segments(rig.path(), "records-").is_empty());
    let again = rig.context.publish(rig.now, &CLIENT, "station-1", &sends(1..=4, udd("", b"x")));
    assert_eq!(again.answers, [ack(3, 3), ack(4, 303)]);
    assert_eq!(rig.context.join(&other, "other", rig.now).expect("joins").last_number, 299);
}

#[test]
fn a_send_that_expects_another_newest_record_is_a_conflict_and_later_ones_go_on() {
    let mut rig = Rig::new(spec());
    let expecting = |expect_seq| Body::Udd { key: "k", data: b"x", expect_seq: Some(expect_seq) };
    let published = rig.publish(&[expecting(0), expecting(1), expecting(1), udd("", b"y"), expecting(2)]);
    assert_eq!(published.answers.len(), 3);
    assert_eq!(published.answers[0], ack(2, 2));
    assert_eq!(code(&published.answers[1]), (3, v1::ErrorCode::Conflict));
    assert_eq!(published.answers[2], ack(5, 4));
    let last = rig.publish(&[expecting(9)]);
    assert_eq!(code(&last.answers[0]), (6, v1::ErrorCode::Conflict));
    rig.kill();
    let again = rig.context.publish(rig.now, &CLIENT, "station-1", &sends(3..=7, expecting(4)));
    let codes: Vec<_> = [&again.answers[0], &again.answers[2]].map(code).into();
    assert_eq!(codes, [(3, v1::ErrorCode::Conflict), (6, v1::ErrorCode::Conflict)]);
    assert_eq!(again.answers[3], ack(7, 5), "a taken conflict leaves no hole");
}

#[test]
fn without_room_a_send_fails_and_goes_on_when_there_is_room_again() {
    let mut rig = Rig::new(spec());
    let mut taken = 0;
    rig.context.limit_disk(Some(300 * 1024));
    let failed = loop {
        let number = taken + 1;
        let published = rig.context.publish(rig.now, &CLIENT, "s-1", &sends(number..=number + 2, udd("k", &[1; 3000])));
        match &published.answers[..] {
            [Answer::Ack(ack)] => taken = ack.number,
            [Answer::Failed(failed)] => break failed.clone(),
            [Answer::Ack(ack), Answer::Failed(failed)] => {
                taken = ack.number;
                break failed.clone();
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((failed.number, failed.code()), (taken + 1, v1::ErrorCode::NoSpace));
    let ignored = rig.context.publish(rig.now, &CLIENT, "s-1", &sends(taken + 2..=taken + 4, udd("", b"x")));
    assert_eq!(ignored, Published::default());
    assert!(!rig.context.resume_ready());
    assert_eq!(rig.context.head(), taken);
    rig.context.limit_disk(None);
    assert!(rig.context.resume_ready());
    let again = rig.context.publish(rig.now, &CLIENT, "s-1", &sends(taken + 1..=taken + 4, udd("", b"x")));
    assert_eq!(again.answers, [ack(taken + 4, taken + 4)]);
    let mut all = rig.subscribe(first());
    assert_eq!(brief(&rig.read(&mut all)), (1..=taken + 4).map(Brief::At).collect::<Vec<_>>());
}

#[test]
fn ill_formed_sends_end_the_connection() {
    let mut rig = Rig::new(spec());
    let large = vec![0; rig.context.max_record() + 1];
    assert_eq!(rig.publish(&[udd("", &large)]).refused.expect("refused").code(), v1::ErrorCode::TooLarge);
    rig.number = 0;
    let bad = rig.publish(&[udd("", b"x"), udd("a//b", b"x")]);
    assert_eq!((bad.answers.len(), bad.refused.expect("refused").code()), (1, v1::ErrorCode::InvalidKey));
    let stranger = rig.context.publish(1, &[9; 16], "s-1", &sends(1..=1, udd("", b"x")));
    assert!(stranger.refused.is_some());
}

#[test]
fn what_a_subscriber_has_still_to_read_is_not_trimmed_while_it_holds_the_floor() {
    let mut spec = spec();
    spec.retain.records = 10;
    let mut rig = Rig::new(spec);
    let mut reader = rig.subscribe(first());
    rig.context.set_floor(reader.floor());
    assert_eq!(rig.publish(&[udd("", b"x"); 8]).blocked, None);
    let blocked = rig.publish(&[udd("", b"x"); 5]);
    assert_eq!((blocked.answers, blocked.blocked), (vec![ack(10, 10)], Some(11)));
    assert_eq!(rig.read(&mut reader).len(), 10);
    rig.context.set_floor(reader.floor());
    let again = rig.context.publish(rig.now, &CLIENT, "s-1", &sends(11..=13, udd("", b"x")));
    assert_eq!((again.answers, again.blocked), (vec![ack(13, 13)], None));
    let late = rig.now + 7200 * SECOND;
    let batch = rig.context.read(late, &mut reader, 1 << 20);
    assert_eq!(batch.slices.iter().map(|slice| slice.len()).sum::<usize>() % 3, 0);
    assert!(!batch.slices.is_empty(), "not even age takes what the floor holds");
}

#[test]
fn a_large_record_gets_a_segment_of_its_size() {
    let mut rig = Rig::new(spec());
    let large: Vec<u8> = (0..1 << 20).map(|i| i as u8).collect();
    rig.record("", b"small");
    rig.record("big", &large);
    rig.record("", b"small");
    rig.kill();
    assert_eq!(rig.context.newest(rig.now, Some("big")).expect("there").udd_buff, large);
    let mut all = rig.subscribe(first());
    assert_eq!(rig.read(&mut all).len(), 3);
}

#[test]
fn in_memory_nothing_is_on_disk_and_each_log_is_another() {
    let mut memory = spec();
    memory.durability = Durability::Memory;
    memory.retain.records = 20;
    let mut rig = Rig::new(memory);
    for _ in 0..100 {
        rig.publish(&[udd("k", &[0; 4000]), Body::Meta { data: b"x" }]);
    }
    assert!(files(rig.path()).is_empty());
    assert_eq!(rig.newest("k"), Some(199));
    let other = Context::open(rig.path(), &rig.spec, BOOT, 1).expect("opens");
    assert_ne!(other.log_id(), rig.context.log_id());
    assert_eq!(other.head(), 0);
}

#[test]
fn time_never_runs_back() {
    let mut rig = Rig::new(spec());
    rig.now = 9 * SECOND;
    rig.record("k", b"x");
    rig.now = 5 * SECOND;
    rig.record("k", b"y");
    assert_eq!(rig.context.newest(rig.now, Some("k")).expect("there").sent_time, 9 * SECOND);
}

#[test]
fn what_the_disk_failed_to_take_is_written_elsewhere_or_not_acknowledged() {
    let mut power = spec();
    power.durability = Durability::Power;
    let mut rig = Rig::new(power);
    rig.publish(&[udd("k", b"1"), Body::Meta { data: b"2" }]);
    let broken = rig.context.records.segments.back().expect("one").id();
    rig.context.records.segments.back_mut().expect("one").chunk.is_broken = true;
    assert_eq!(rig.publish(&[udd("k", b"3"), udd("", b"4")]).answers, [ack(4, 4)]);
    assert_eq!(rig.context.records.segments.back().expect("another").id(), broken + 1, "the segment is closed");
    rig.context.records.segments.back_mut().expect("one").chunk.is_broken = true;
    rig.context.limit_disk(Some(1));
    let failed = rig.publish(&[udd("k", b"5"), udd("", b"6")]);
    assert_eq!(code(&failed.answers[0]).0, 5);
    assert_eq!((failed.answers.len(), failed.appended, rig.context.head()), (1, false, 4));
    let mut all = rig.subscribe(both(first()));
    assert_eq!(brief(&rig.read(&mut all)).len(), 4, "what is not on the disk is not shown");
    assert_eq!(rig.context.publish(rig.now, &CLIENT, "s-1", &sends(6..=6, udd("", b"6"))).answers.len(), 1);
    rig.context.limit_disk(None);
    let again = rig.context.publish(rig.now, &CLIENT, "s-1", &sends(5..=6, udd("k", b"5")));
    assert_eq!(again.answers, [ack(6, 6)]);
    rig.kill();
    assert_eq!(rig.context.findings(), []);
    let mut all = rig.subscribe(both(first()));
    assert_eq!(brief(&rig.read(&mut all)), (1..=6).map(Brief::At).collect::<Vec<_>>());
    assert_eq!((rig.newest("k"), rig.context.join(&CLIENT, "token", 1).expect("joins").last_number), (Some(5), 6));
}

#[test]
fn what_is_taken_is_neither_shown_nor_answered_for_before_it_is_stored() {
    const OTHER: ClientId = [2; 16];
    let mut power = spec();
    power.durability = Durability::Power;
    let mut rig = Rig::new(power);
    rig.context.join(&OTHER, "another token", rig.now).expect("joins");
    let mut all = rig.subscribe(first());
    let (now, context) = (rig.now, &mut rig.context);
    let one = context.take_batch(now, &CLIENT, "a-1", &sends(1..=2, udd("k", b"a")));
    let two = context.take_batch(now, &OTHER, "b-1", &sends(1..=3, udd("k", b"b")));
    assert_eq!((one.answers, two.answers), (vec![ack(2, 2)], vec![ack(3, 5)]));
    assert_eq!((context.head(), one.appended, two.appended), (0, false, false));
    assert_eq!(read(context, &mut all, now), []);

    context.break_disk(true);
    let error = context.store().expect_err("the disk takes nothing");
    assert_eq!(code(&context.fail(&OTHER, 1, &error)).0, 1);
    assert_eq!((context.head(), read(context, &mut all, now)), (0, vec![]));

    context.break_disk(false);
    context.store().expect("there is room in a new segment");
    assert_eq!(context.head(), 5);
    assert_eq!(brief(&read(context, &mut all, now)), (1..=5).map(Brief::At).collect::<Vec<_>>());
    let again = context.publish(now, &OTHER, "b-1", &sends(1..=4, udd("k", b"b")));
    assert_eq!(again.answers, [ack(4, 6)], "what was taken is not doubled");
}

#[test]
fn segments_that_went_are_written_again_unless_someone_reads_in_them() {
    let mut few = spec();
    (few.retain.records, few.retain.bytes) = (100, 1 << 20); // So all segments are of the smallest size.
    let mut rig = Rig::new(few);
    let mut slow = rig.subscribe(first());
    rig.record("", &[0; 3000]);
    let held = rig.context.read(rig.now, &mut slow, 1).slices;
    for i in 1..400u32 {
        rig.record("", &[i as u8; 3000]);
    }
    let files = files(rig.path());
    let spares =
        files.iter().filter(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("spare-")));
    assert!((1..=2).contains(&spares.count()), "{files:?}");
    assert!(files.len() < 20, "{files:?}");
    let record = v1::ServerMessage::decode_length_delimited(held[0].clone()).expect("what is held stays as it was");
    assert!(matches!(record.kind, Some(Said::Record(record)) if record.udd_buff == vec![0; 3000]));
    rig.kill();
    let mut all = rig.subscribe(from_seq(301));
    assert_eq!(brief(&rig.read(&mut all)), (301..=400).map(Brief::At).collect::<Vec<_>>());
}

#[test]
fn records_that_come_alone_take_little_more_than_their_frames() {
    let mut rig = Rig::new(spec());
    for i in 0..20_000u32 {
        rig.now += 10_000;
        rig.record("", &[i as u8; 128]);
    }
    let frames = rig.context.records.end.bytes;
    let taken: usize = rig.context.records.segments.iter().map(|segment| segment.tail).sum();
    assert!(taken as f64 <= 1.2 * frames as f64, "{taken} bytes for {frames} bytes of frames");
    rig.kill();
    assert_eq!(rig.context.join(&CLIENT, "token", rig.now).expect("known").last_number, 20_000);
    assert_eq!(rig.record("", b"next"), 20_001);
}

#[test]
fn only_what_is_written_again_soon_is_kept_to_be_written_again() {
    let mut small = spec();
    small.retain.bytes = 300_000;
    let spares = |pause: u64| {
        let mut rig = Rig::new(small.clone());
        let mut held = Vec::new();
        (0..1000).for_each(|_| {
            rig.now += pause;
            let mut cursor = rig.subscribe(v1::Subscribe::default());
            rig.record("", &[1; 1000]);
            // As a slow reader does it: no segment is free to be written again.
            held.push(rig.context.read(rig.now, &mut cursor, 1));
        });
        segments(rig.path(), "spare-").len()
    };
    assert!(spares(10) > 0);
    assert_eq!(spares(SECOND), 0);
}

#[test]
fn while_the_newest_of_a_key_cannot_be_stored_the_one_before_it_is_the_newest() {
    let mut power = spec();
    (power.durability, power.retain.records) = (Durability::Power, 20);
    let mut rig = Rig::new(power);
    rig.record("old", b"kept");
    rig.record("k", b"1");
    // Until the segment that held the first goes, and it is kept.
    for _ in 0..60 {
        rig.record("other", &[0; 3000]);
    }
    let second = rig.record("k", b"2");
    let unkeyed = rig.record("", b"x");
    assert_eq!(["old", "k", ""].map(|key| rig.newest(key)), [Some(1), Some(second), Some(unkeyed)]);
    rig.context.break_disk(true);
    let sends: Vec<Send<'_>> = (rig.number + 1..)
        .zip(["old", "k", "", "new"])
        .map(|(number, key)| Send { number, body: udd(key, b"3") })
        .collect();
    rig.context.take_batch(rig.now, &CLIENT, "station-1", &sends);
    rig.context.store().expect_err("the disk takes nothing");
    let shown = ["old", "k", "", "new"].map(|key| rig.newest(key));
    assert_eq!(shown, [Some(1), Some(second), Some(unkeyed), None]);
    rig.context.break_disk(false);
    rig.context.store().expect("there is room again");
    let head = rig.context.head();
    assert_eq!(["old", "k", "", "new"].map(|key| rig.newest(key)), [head - 3, head - 2, head - 1, head].map(Some));
}

//! What is found when the folder was not left as it should be.

use copo_proto::v1::gap::Cause;
use proptest::prelude::*;

use super::super::block::Head;
use super::*;

fn flip(file: &Path, at: u64) {
    let mut bytes = std::fs::read(file).expect("readable");
    let at = at as usize % bytes.len();
    bytes[at] ^= 1 << (at % 8);
    std::fs::write(file, bytes).expect("writable");
}

fn filled() -> Rig {
    let mut rig = Rig::new(spec());
    for i in 0..120u8 {
        rig.record("", &[i; 3000]);
    }
    rig
}

fn open(rig: &Rig, folder: &Path) -> Context {
    Context::open(folder, &rig.spec, BOOT, rig.now).expect("opens")
}

#[test]
fn a_killed_orchestrator_loses_nothing_and_the_log_stays_the_same() {
    let mut rig = filled();
    let log_id = rig.context.log_id();
    for _ in 0..3 {
        rig.kill();
        assert_eq!(rig.context.findings(), []);
        assert_eq!(rig.context.log_id(), log_id);
        let mut all = rig.subscribe(first());
        let expected: Vec<_> = (1..=rig.context.head()).map(Brief::At).collect();
        assert_eq!(brief(&rig.read(&mut all)), expected);
        rig.record("", &[1; 3000]);
    }
    assert_eq!(rig.context.head(), 123);
}

#[test]
fn another_boot_without_a_clean_stop_makes_another_log_and_readers_are_told() {
    let mut rig = filled();
    let log_id = rig.context.log_id();
    let unclean = Context::open(rig.copy().path(), &rig.spec, "another boot", rig.now).expect("opens");
    assert_ne!(unclean.log_id(), log_id);
    rig.context.close();
    let copy = rig.copy();
    let mut clean = Context::open(copy.path(), &rig.spec, "another boot", rig.now).expect("opens");
    assert_eq!(clean.log_id(), log_id);
    let request = v1::Subscribe { log_id: vec![1; 16].into(), ..from_seq(40) };
    let (mut cursor, _) = clean.subscribe(rig.now, &request).expect("subscribes");
    let said = brief(&read(&clean, &mut cursor, rig.now));
    assert_eq!(said[..2], [Brief::Gap(Cause::LogReplaced, 0, 0), Brief::At(1)]);
}

#[test]
fn a_damaged_middle_is_told_once_with_its_seqs_and_passed_over() {
    let rig = filled();
    let copy = rig.copy();
    let file = &segments(copy.path(), "records-")[1];
    let bytes = std::fs::read(file).expect("readable");
    let data = bytes.windows(20).position(|part| part == [39u8; 20]).expect("record 40");
    flip(file, data as u64 + 5);
    let mut context = open(&rig, copy.path());
    let findings = context.findings();
    assert_eq!(findings.iter().map(|finding| (finding.first, finding.last)).collect::<Vec<_>>(), [(40, 40)]);
    assert_eq!(context.log_id(), rig.context.log_id());
    let mut cursor = context.subscribe(rig.now, &first()).expect("subscribes").0;
    let said = brief(&read(&context, &mut cursor, rig.now));
    let mut expected: Vec<_> = (1..=120).map(Brief::At).collect();
    expected[39] = Brief::Gap(Cause::Damaged, 40, 40);
    assert_eq!(said, expected);
    let mut inside = context.subscribe(rig.now, &from_seq(40)).expect("subscribes").0;
    assert_eq!(brief(&read(&context, &mut inside, rig.now))[..2], expected[39..41]);
    drop(context);
    assert_eq!(open(&rig, copy.path()).findings(), []);
}

#[test]
fn a_missing_segment_is_a_gap_in_the_middle_and_another_log_at_the_end() {
    let rig = filled();
    let copy = rig.copy();
    let files = segments(copy.path(), "records-");
    assert!(files.len() >= 3);
    std::fs::remove_file(&files[1]).expect("removed");
    let mut context = open(&rig, copy.path());
    assert_eq!(context.findings().len(), 1);
    let mut cursor = context.subscribe(rig.now, &first()).expect("subscribes").0;
    let said = brief(&read(&context, &mut cursor, rig.now));
    assert!(said.iter().any(|said| matches!(said, Brief::Gap(Cause::Damaged, first, last) if first < last)));
    drop(context);
    std::fs::remove_file(files.last().expect("some")).expect("removed");
    let mut context = open(&rig, copy.path());
    assert_eq!(context.findings().len(), 1);
    assert_ne!(context.log_id(), rig.context.log_id());
    let log_id = context.log_id();
    drop(context);
    let mut context = open(&rig, copy.path());
    assert_eq!((context.log_id(), context.findings()), (log_id, vec![]));
}

#[test]
fn the_newest_segment_is_missed_although_the_meta_file_does_not_know_it_and_a_lost_reach_is_told_once() {
    let rig = filled();
    let copy = rig.copy();
    std::fs::remove_file(segments(copy.path(), "records-").pop().expect("some")).expect("removed");
    let mut context = open(&rig, copy.path());
    assert!(context.findings()[0].reason.contains("is missing"));
    assert_ne!(context.log_id(), rig.context.log_id());

    let copy = rig.copy();
    std::fs::remove_file(copy.path().join("reach")).expect("removed");
    let mut context = open(&rig, copy.path());
    assert_eq!((context.findings().len(), context.head()), (1, 120));
    assert_ne!(context.log_id(), rig.context.log_id());
    let log_id = context.log_id();
    drop(context);
    let mut context = open(&rig, copy.path());
    assert_eq!((context.findings(), context.log_id()), (vec![], log_id));
}

#[test]
fn a_block_that_was_being_written_is_nothing() {
    let mut rig = filled();
    let head = rig.context.head();
    // As kill -9 in the middle of an append leaves it: everything but the length.
    let file = segments(rig.path(), "records-").pop().expect("some");
    rig.record("", &[200; 500]);
    let bytes = std::fs::read(&file).expect("readable");
    let copy = rig.copy();
    let data = bytes.windows(500).position(|part| part == [200; 500]).expect("the record");
    let mut cut = bytes.clone();
    let ends_there = |at: &usize| Head::read(&bytes[*at..]).is_some_and(|head| at + head.length == data + 500);
    let block = (0..data).rev().filter(|at| at % 8 == 0).find(ends_there);
    cut[block.expect("its block")..][..4].fill(0);
    std::fs::write(copy.path().join(file.file_name().expect("a name")), cut).expect("writable");
    let mut context = open(&rig, copy.path());
    assert_eq!((context.findings(), context.log_id()), (vec![], rig.context.log_id()));
    assert_eq!(context.join(&CLIENT, "token", rig.now).expect("joins").last_number, head);
}

#[test]
fn power_keeps_its_log_over_a_cut_of_the_power() {
    let mut power = spec();
    power.durability = Durability::Power;
    let mut rig = Rig::new(power);
    for _ in 0..30 {
        rig.publish(&[udd("k", &[5; 5000]), Body::Meta { data: b"x" }]);
    }
    let copy = rig.copy();
    let file = segments(copy.path(), "records-").pop().expect("some");
    let bytes = std::fs::read(&file).expect("readable");
    let last = bytes.windows(100).rposition(|part| part == [5; 100]).expect("the last record");
    flip(&file, last as u64);
    let mut context = Context::open(copy.path(), &rig.spec, "another boot", rig.now).expect("opens");
    assert_eq!((context.log_id(), context.findings().len()), (rig.context.log_id(), 1));
    let mut again = Context::open(rig.copy().path(), &rig.spec, "another boot", rig.now).expect("opens");
    assert_eq!((again.head(), again.findings()), (60, vec![]));
}

#[derive(Debug, Clone)]
enum Harm {
    Flip(u64),
    Truncate(u64),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![3 => any::<u64>().prop_map(Harm::Flip), 1 => any::<u64>().prop_map(Harm::Truncate)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever byte is hurt: what is delivered is what was sent, in order; what is missing lies in a gap or the log is
    /// another one, and is told; and the log can be used and opened again.
    #[test]
    fn no_damage_goes_unsaid(which in any::<prop::sample::Index>(), harm in harm(), sizes in prop::collection::vec(0usize..6000, 1..60)) {
        let mut rig = Rig::new(spec());
        for (i, size) in sizes.iter().enumerate() {
            let data = vec![i as u8; *size];
            let key = if i % 3 == 0 { "k" } else { "" };
            rig.publish(&[udd(key, &data), Body::Meta { data: &data[..size / 10] }]);
        }
        let copy = rig.copy();
        let files = files(copy.path());
        let file = &files[which.index(files.len())];
        match harm {
            Harm::Flip(at) => flip(file, at),
            Harm::Truncate(at) => {
                let length = file.metadata().expect("a file").len();
                std::fs::OpenOptions::new().write(true).open(file).expect("opens").set_len(at % length).expect("cut");
            }
        }
        let mut context = open(&rig, copy.path());
        let findings = context.findings();
        let is_same = context.log_id() == rig.context.log_id();
        let mut cursor = context.subscribe(rig.now, &both(first())).expect("subscribes").0;
        let said = read(&context, &mut cursor, rig.now);
        let mut next = 1;
        let mut missing = 0;
        for (said, brief) in said.iter().zip(brief(&said)) {
            match brief {
                Brief::At(seq) => {
                    prop_assert!(seq >= next);
                    prop_assert!(seq == next || !is_same, "{} to {} missing and not told", next, seq - 1);
                    missing += seq - next;
                    let i = (seq as usize - 1) / 2;
                    let data = vec![i as u8; sizes[i]];
                    match said {
                        Said::Record(record) => prop_assert_eq!(&record.udd_buff[..], &data[..]),
                        Said::Report(report) => prop_assert_eq!(&report.report_buff[..], &data[..sizes[i] / 10]),
                        other => prop_assert!(false, "{:?}", other),
                    }
                    next = seq + 1;
                }
                Brief::Gap(cause, first, last) => {
                    prop_assert_eq!((cause, first), (Cause::Damaged, next));
                    missing += last + 1 - first;
                    next = last + 1;
                }
                Brief::End => {}
            }
        }
        let all = 2 * sizes.len() as u64;
        prop_assert!(next == all + 1 || !is_same, "the tail from {} is missing and not told", next);
        prop_assert!((missing == 0 && next == all + 1) || !findings.is_empty());
        let facts = v1::Facts::default();
        let seq = context.report(rig.now, facts).expect("goes on");
        drop(context);
        let mut context = open(&rig, copy.path());
        prop_assert_eq!(context.findings(), vec![]);
        prop_assert_eq!(context.head(), seq);
    }
}

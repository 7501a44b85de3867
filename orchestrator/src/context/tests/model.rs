//! Random use against a list: nothing acknowledged is lost, doubled or reordered; gaps and retention are exact.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    /// Sends: (client, key, size, is a report); `again` numbers sent before come once more in front.
    Publish {
        client: u8,
        again: u64,
        sends: Vec<(u8, usize, bool)>,
    },
    Report,
    /// A reader reads what there is.
    Read(usize),
    Wait(u64),
    Kill,
    Reopen,
    Purge,
}

fn op() -> impl Strategy<Value = Op> {
    let sends = prop::collection::vec(
        (0u8..8, prop_oneof![8 => 0usize..200, 2 => 0usize..9000], prop::bool::weighted(0.2)),
        1..30,
    );
    prop_oneof![
        12 => (0u8..3, 0u64..4, sends).prop_map(|(client, again, sends)| Op::Publish { client, again, sends }),
        2 => Just(Op::Report),
        4 => (0usize..3).prop_map(Op::Read),
        2 => (0u64..20).prop_map(Op::Wait),
        1 => Just(Op::Kill),
        1 => Just(Op::Reopen),
        1 => prop::bool::weighted(0.2).prop_map(|purge| if purge { Op::Purge } else { Op::Report }),
    ]
}

/// What was acknowledged.
#[derive(Debug, Clone)]
struct Entry {
    seq: u64,
    time: u64,
    /// `None`: a report.
    key: Option<String>,
    data: Vec<u8>,
    bytes: u64,
}

struct World {
    rig: Rig,
    log: Vec<Entry>,
    purged: u64,
    /// Per client: its sends, in order of number.
    sent: BTreeMap<u8, Vec<(String, Vec<u8>, bool)>>,
    readers: Vec<Option<Reader>>,
}

struct Reader {
    cursor: Cursor,
    next: u64,
    /// Reports and records before these were not asked for.
    from: [u64; 2],
}

impl World {
    fn new() -> Self {
        let mut spec = spec();
        spec.retain.records = 120;
        spec.retain.bytes = 200_000;
        spec.retain.age = Duration::from_secs(40);
        spec.retain.keys = 4;
        spec.retain.reports = 30;
        let mut world =
            Self { rig: Rig::new(spec), log: Vec::new(), purged: 0, sent: BTreeMap::new(), readers: Vec::new() };
        world.join();
        world
    }

    fn join(&mut self) {
        for client in 0..3u8 {
            let sent = self.sent.entry(client).or_default().len() as u64;
            let known = self.rig.context.join(&[client + 10; 16], "token", self.rig.now).expect("joins");
            assert_eq!(known.last_number, sent);
        }
        self.readers = (0..3).map(|_| None).collect();
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Publish { client, again, sends } => self.publish(client, again, &sends),
            Op::Report => {
                let seq = self.rig.context.report(self.rig.now, v1::Facts::default()).expect("stored");
                self.push(seq, None, Vec::new(), "orchestrator");
            }
            Op::Read(reader) => self.read(reader),
            Op::Wait(seconds) => self.rig.now += seconds * SECOND,
            Op::Kill => {
                self.rig.kill();
                self.join();
            }
            Op::Reopen => {
                self.rig.context.close();
                let path = self.rig.path().to_owned();
                self.rig.context = Context::open(&path, &self.rig.spec, "another boot", self.rig.now).expect("opens");
                let log_id = self.rig.context.log_id();
                self.rig.context.close();
                self.rig.context = Context::open(&path, &self.rig.spec, BOOT, self.rig.now).expect("opens");
                assert_eq!(self.rig.context.log_id(), log_id);
                self.join();
            }
            Op::Purge => {
                self.rig.context.purge(self.rig.now, "@cli").expect("purged");
                self.purged = self.log.last().map_or(0, |entry| entry.seq);
            }
        }
    }

    fn publish(&mut self, client: u8, again: u64, sends: &[(u8, usize, bool)]) {
        let sent = self.sent.entry(client).or_default();
        let known = sent.len();
        for (key, size, is_report) in sends {
            let key = if *key == 0 { String::new() } else { format!("k/{key}") };
            sent.push((key, vec![*size as u8; *size], *is_report));
        }
        let from = known.saturating_sub(again as usize);
        let numbered: Vec<Send<'_>> = (from as u64 + 1..)
            .zip(&sent[from..])
            .map(|(number, (key, data, is_report))| {
                let body = if *is_report { Body::Meta { data } } else { udd(key, data) };
                Send { number, body }
            })
            .collect();
        let by = format!("client-{client}");
        let published = self.rig.context.publish(self.rig.now, &[client + 10; 16], &by, &numbered);
        let Some(Answer::Ack(last)) = published.answers.last() else { panic!("{published:?}") };
        assert_eq!(last.number, sent.len() as u64);
        let fresh = sent[known..].to_vec();
        let first_seq = self.rig.context.head() + 1 - fresh.len() as u64;
        assert_eq!(last.seq, self.rig.context.head());
        for (seq, (key, data, is_report)) in (first_seq..).zip(fresh) {
            self.push(seq, (!is_report).then_some(key), data, &by);
        }
    }

    fn push(&mut self, seq: u64, key: Option<String>, data: Vec<u8>, by: &str) {
        assert_eq!(seq, self.log.last().map_or(0, |entry| entry.seq) + 1);
        let record = v1::UddRecord {
            seq,
            sent_time: self.rig.now,
            sent_by: by.into(),
            key: key.clone().unwrap_or_default(),
            udd_buff: data.clone().into(),
        };
        self.log.push(Entry { seq, time: self.rig.now, key, data, bytes: frame_len(&record) });
    }

    /// What is readable now.
    fn readable(&self) -> Vec<&Entry> {
        let retain = &self.rig.spec.retain;
        let oldest = self.rig.now.saturating_sub(40 * SECOND);
        let (mut records, mut bytes, mut reports) = (0, 0, 0);
        let mut readable = Vec::new();
        let mut is_cut = false;
        for entry in self.log.iter().rev() {
            if entry.key.is_none() {
                reports += 1;
                if reports <= retain.reports {
                    readable.push(entry);
                }
                continue;
            }
            (records, bytes) = (records + 1, bytes + entry.bytes);
            let within = records <= retain.records && (bytes <= retain.bytes || records == 1);
            is_cut |= !(within && entry.time >= oldest && entry.seq > self.purged);
            if !is_cut {
                readable.push(entry);
            }
        }
        readable.reverse();
        readable
    }

    fn check(&mut self) {
        let now = self.rig.now;
        let mut cursor = self.rig.subscribe(both(first()));
        let said = self.rig.read(&mut cursor);
        let got: Vec<(u64, Vec<u8>)> = said.iter().map(content).collect();
        let expected: Vec<_> =
            self.readable().iter().map(|entry| (entry.seq, entry.key.is_some(), entry.data.clone())).collect();
        let got_seqs: Vec<u64> = got.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(got_seqs, expected.iter().map(|(seq, ..)| *seq).collect::<Vec<_>>());
        for ((_, got), (seq, is_record, data)) in got.iter().zip(&expected) {
            assert!(!is_record || got == data, "the data of {seq}");
        }
        let first = expected.iter().find(|(_, is_record, _)| *is_record).map_or(u64::MAX, |(seq, ..)| *seq);
        let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
        for entry in self.log.iter().filter(|entry| entry.seq > self.purged) {
            if let Some(key) = entry.key.as_deref().filter(|key| !key.is_empty()) {
                newest.insert(key, entry.seq);
            }
        }
        // Which keys are forgotten depends on when there were too many; that is the index's own test.
        let (all, mut beyond) = (newest.len(), 0);
        for (key, seq) in newest {
            let found = self.rig.context.newest(now, Some(key)).map(|record| record.seq);
            let may_be_forgotten = seq < first && all > 4;
            assert!(
                found == Some(seq) || (found.is_none() && may_be_forgotten),
                "newest of {key}: {found:?}, not {seq}"
            );
            beyond += usize::from(found.is_some() && seq < first);
        }
        assert!(beyond <= 4);
    }

    /// A reader is given all of the log from where it began, but for gaps, and a gap holds only what is not readable.
    fn read(&mut self, reader: usize) {
        let head = self.rig.context.head();
        if self.readers[reader].is_none() {
            let request = [first(), from_seq(1), v1::Subscribe::default()][reader].clone();
            let cursor = self.rig.subscribe(both(request));
            let readable = self.readable();
            let oldest = |is_record: bool| readable.iter().find(|entry| entry.key.is_some() == is_record);
            let from = |is_record| [oldest(is_record).map_or(head + 1, |entry| entry.seq), 1, head + 1][reader];
            self.readers[reader] = Some(Reader { cursor, next: 1, from: [from(false), from(true)] });
        }
        let mut it = self.readers[reader].take().expect("made");
        let readable: Vec<u64> = self.readable().iter().map(|entry| entry.seq).collect();
        let is_due = |entry: &Entry| entry.seq >= it.from[usize::from(entry.key.is_some())];
        let untold = |next: u64, seq: u64| self.log.iter().find(|e| (next..seq).contains(&e.seq) && is_due(e));
        for brief in brief(&self.rig.read(&mut it.cursor)) {
            let (first, last) = match brief {
                Brief::At(seq) => (seq, seq),
                Brief::Gap(_, first, last) => {
                    assert!(
                        last >= first && !readable.iter().any(|seq| (first..=last).contains(seq)),
                        "{first}..{last}"
                    );
                    (first, last)
                }
                Brief::End => panic!("it follows"),
            };
            assert!(first >= it.next, "{first} after {}", it.next);
            assert_eq!(untold(it.next, first).map(|entry| entry.seq), None, "before {first}");
            it.next = last + 1;
        }
        assert_eq!(untold(it.next, head + 1).map(|entry| entry.seq), None, "at the end");
        self.readers[reader] = Some(it);
    }
}

fn content(said: &Said) -> (u64, Vec<u8>) {
    match said {
        Said::Record(record) => (record.seq, record.udd_buff.to_vec()),
        Said::Report(report) => (report.seq, report.report_buff.to_vec()),
        other => panic!("not expected: {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_use_is_as_the_list_says(ops in prop::collection::vec(op(), 1..60)) {
        let mut world = World::new();
        for op in ops {
            world.apply(op);
            world.check();
        }
    }
}

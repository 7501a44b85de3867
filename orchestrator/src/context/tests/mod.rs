//! The context as a whole: what its users may rely on.

mod damage;
mod model;
mod publishing;
mod reading;

use std::path::{Path, PathBuf};
use std::time::Duration;

use copo_proto::{Message, frame as framing, v1};
use v1::server_message::Kind as Said;

use super::{Answer, Body, ClientId, Context, Cursor, Published, Send};
use crate::plan::{ContextSpec, Durability, Retain, WhenFull};

pub(super) const CLIENT: ClientId = [1; 16];
pub(super) const BOOT: &str = "boot";
pub(super) const SECOND: u64 = 1_000_000;

pub(super) fn spec() -> ContextSpec {
    ContextSpec {
        headers: None,
        durability: Durability::Crash,
        retain: Retain { records: 1_000_000, bytes: 1 << 28, age: Duration::from_secs(3600), keys: 100, reports: 1000 },
        when_full: WhenFull::Trim,
        wait_limit: Duration::from_secs(5),
        max_record: 1 << 20,
    }
}

/// A context in a folder of its own, and a clock.
pub(super) struct Rig {
    folder: tempfile::TempDir,
    pub spec: ContextSpec,
    pub context: Context,
    pub now: u64,
    pub number: u64,
}

impl Rig {
    pub fn new(spec: ContextSpec) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut context = Context::open(folder.path(), &spec, BOOT, SECOND).expect("opens");
        context.join(&CLIENT, "token", SECOND).expect("joins");
        Self { folder, spec, context, now: SECOND, number: 0 }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// As after kill -9: what lies in the folder now, opened elsewhere while the old one is still in memory.
    pub fn killed(&self) -> (tempfile::TempDir, Context) {
        let copy = self.copy();
        let context = Context::open(copy.path(), &self.spec, BOOT, self.now).expect("opens");
        (copy, context)
    }

    pub fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().expect("a folder");
        for file in files(self.path()) {
            std::fs::copy(&file, copy.path().join(file.file_name().expect("a name"))).expect("copies");
        }
        copy
    }

    /// Goes on as after kill -9, which is never taken for damage.
    pub fn kill(&mut self) {
        let log_id = self.context.log_id();
        (self.folder, self.context) = self.killed();
        assert_eq!((self.context.findings(), self.context.log_id()), (vec![], log_id));
        self.context.join(&CLIENT, "token", self.now).expect("joins");
    }

    pub fn publish(&mut self, bodies: &[Body<'_>]) -> Published {
        let sends: Vec<Send<'_>> =
            (self.number + 1..).zip(bodies).map(|(number, body)| Send { number, body: *body }).collect();
        let published = self.context.publish(self.now, &CLIENT, "station-1", &sends);
        self.number += sends.len() as u64;
        published
    }

    /// Sends one record; returns its Seq.
    pub fn record(&mut self, key: &str, data: &[u8]) -> u64 {
        acked(&self.publish(&[udd(key, data)]))
    }

    pub fn subscribe(&mut self, request: v1::Subscribe) -> Cursor {
        self.context.subscribe(self.now, &request).expect("subscribes").0
    }

    pub fn read(&self, cursor: &mut Cursor) -> Vec<Said> {
        read(&self.context, cursor, self.now)
    }

    pub fn newest(&mut self, key: &str) -> Option<u64> {
        self.context.newest(self.now, Some(key)).map(|record| record.seq)
    }
}

pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

pub(super) fn segments(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
    files(folder).into_iter().filter(named).collect()
}

pub(super) fn udd<'a>(key: &'a str, data: &'a [u8]) -> Body<'a> {
    Body::Udd { key, data, expect_seq: None }
}

pub(super) fn acked(published: &Published) -> u64 {
    match &published.answers[..] {
        [Answer::Ack(ack)] => ack.seq,
        other => panic!("not acknowledged: {other:?} {:?} {:?}", published.refused, published.blocked),
    }
}

pub(super) fn first() -> v1::Subscribe {
    v1::Subscribe { from: Some(v1::subscribe::From::First(true)), ..Default::default() }
}

pub(super) fn from_seq(seq: u64) -> v1::Subscribe {
    v1::Subscribe { from: Some(v1::subscribe::From::Seq(seq)), ..Default::default() }
}

pub(super) fn both(request: v1::Subscribe) -> v1::Subscribe {
    v1::Subscribe { records: true, reports: true, ..request }
}

/// All there is for a subscriber, read in small pieces.
pub(super) fn read(context: &Context, cursor: &mut Cursor, now: u64) -> Vec<Said> {
    let mut said = Vec::new();
    loop {
        let batch = context.read(now, cursor, 1000);
        for slice in &batch.slices {
            let mut rest = slice.clone();
            while !rest.is_empty() {
                said.push(v1::ServerMessage::decode_length_delimited(&mut rest).expect("a frame").kind.expect("said"));
            }
        }
        if batch.caught_up {
            return said;
        }
    }
}

/// What was said, in short: the Seq of a record or report, `[first, last]` of a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Brief {
    At(u64),
    Gap(v1::gap::Cause, u64, u64),
    End,
}

pub(super) fn brief(said: &[Said]) -> Vec<Brief> {
    said.iter()
        .map(|said| match said {
            Said::Record(record) => Brief::At(record.seq),
            Said::Report(report) => Brief::At(report.seq),
            Said::Gap(gap) => Brief::Gap(gap.cause(), gap.first, gap.last),
            Said::End(_) => Brief::End,
            other => panic!("not expected here: {other:?}"),
        })
        .collect()
}

pub(super) fn frame_len(record: &v1::UddRecord) -> u64 {
    framing::to_vec(&v1::ServerMessage { kind: Some(Said::Record(record.clone())) }).len() as u64
}

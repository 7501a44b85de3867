//! The Context: what all processes share. One log of records and reports under one Seq, and the little beside it.
//!
//! ```text
//! publish ─▶ clients (taken?) ─▶ append (Seq, time, frame) ─▶ stream ▶ segment ▶ chunk (= file)
//!                                        keys ◀┘                 ▲
//! subscriber ─▶ read ─▶ cursor ──────── ranges of ───────────────┘
//! ```
//! Decisions are pure: no clock (times come in) and no file; only `store` touches the disk. A frame is composed once,
//! into the segment, and what a subscriber gets are ranges of segments. `appended` is the last Seq given, `visible` the
//! last one that is as durable as configured: nobody is shown or told of more than that.

use std::io;
use std::path::Path;

use copo_proto::{key, v1};

use crate::plan::{ContextSpec, Durability};

mod batch;
mod block;
mod clients;
mod cursor;
mod frame;
mod headers;
pub mod json;
mod keys;
mod lookup;
mod publish;
mod recover;
mod reports;
mod retain;
mod segment;
mod sentence;
mod store;
mod stream;
mod terms;
mod upkeep;

use clients::Clients;
pub use cursor::Cursor;
use cursor::{From, View, Wanted};
use keys::Keys;
use recover::Tail;
use store::{Disk, Meta, MetaFile, Reach, ReachFile};
use stream::{Limits, Stream, Tag};
pub use terms::{
    Answer, Batch, Body, ClientId, Finding, Floor, JoinError, Known, OpenError, Published, Send, StoreError,
    SubscribeError, WINDOW,
};

/// The stream of kept things is cleaned only when more than this is waste, in bytes.
const CLEAN_ABOVE: usize = stream::SMALLEST;
/// A record's length has to fit into a block's, whatever is configured.
const LARGEST_RECORD: usize = 1 << 30;
/// The streams, in the order of the reach.
const REACHING: [Tag; 3] = [Tag::Records, Tag::Reports, Tag::Kept];
/// Reports have no limit in bytes; their segments grow as if this were retained.
const REPORTS_BYTES: u64 = 64 * 1024 * 1024;

/// The shared context of one application.
#[derive(Debug)]
pub struct Context {
    durability: Durability,
    max_record: usize,
    disk: Disk,
    meta: Meta,
    meta_file: MetaFile,
    reach_file: ReachFile,
    records: Stream,
    reports: Stream,
    kept: Stream,
    keys: Keys,
    clients: Clients,
    /// The last Seq given.
    appended: u64,
    /// The last Seq that is as durable as configured.
    visible: u64,
    /// Something was appended and is not visible yet.
    unshown: bool,
    /// The stream of kept things is being cleaned.
    cleaning: bool,
    last_time: u64,
    changed_at: u64,
    changed_by: String,
    floor: Option<Floor>,
    findings: Vec<Finding>,
}

impl Context {
    /// Opens the context kept in `dir` and recovers it; with durability `memory` a fresh one, and nothing on disk.
    /// `boot_id` names this boot of the machine; `now` is microseconds since the Unix epoch, here and everywhere.
    pub fn open(dir: &Path, spec: &ContextSpec, boot_id: &str, now: u64) -> Result<Self, OpenError> {
        let opened = match spec.durability {
            Durability::Memory => Self::fresh(spec, Disk::memory(), MetaFile::memory()),
            Durability::Crash | Durability::Power => Self::recovered(dir, spec, boot_id, now),
        };
        opened.map_err(|why| OpenError { path: dir.to_owned(), why })
    }

    fn fresh(spec: &ContextSpec, disk: Disk, meta_file: MetaFile) -> io::Result<Self> {
        let retain = &spec.retain;
        let (records, reports) = (retain::of_records(retain), retain::of_reports(retain));
        Ok(Self {
            durability: spec.durability,
            max_record: spec.max_record.min(LARGEST_RECORD),
            disk,
            meta: Meta { log_id: new_log_id()?, ..Meta::default() },
            meta_file,
            reach_file: ReachFile::memory(),
            records: Stream::new(Tag::Records, records, retain.bytes),
            reports: Stream::new(Tag::Reports, reports, REPORTS_BYTES),
            kept: Stream::new(Tag::Kept, Limits::NONE, retain.bytes),
            keys: Keys::new(retain.keys),
            clients: Clients::default(),
            appended: 0,
            visible: 0,
            unshown: false,
            cleaning: false,
            last_time: 0,
            changed_at: 0,
            changed_by: String::new(),
            floor: None,
            findings: Vec::new(),
        })
    }

    fn recovered(dir: &Path, spec: &ContextSpec, boot_id: &str, now: u64) -> io::Result<Self> {
        let mut context = Self::fresh(spec, Disk::folder(dir)?, MetaFile::folder(dir))?;
        let fresh_id = context.meta.log_id;
        let (mut is_proven, mut is_new) = (true, false);
        match context.meta_file.read() {
            Ok(Some(meta)) => context.meta = meta,
            Ok(None) => is_new = true,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                context.findings.push(Finding {
                    first: 1,
                    last: 0,
                    reason: "the context's meta file is damaged".into(),
                });
                is_proven = false;
            }
            Err(error) => return Err(error),
        }
        is_proven &= context.find_reach(dir, is_new)?;
        let same_boot = context.meta.boot_id == boot_id;
        context.appended = context.meta.head.max(context.meta.purged);
        // Kept things first: what is found later is newer.
        for tag in [Tag::Kept, Tag::Records, Tag::Reports] {
            is_proven &= match context.recover_stream(tag)? {
                Tail::Proven => true,
                // With `power` what was acknowledged is on the disk: what a cut of the power tore never was.
                Tail::Torn => spec.durability == Durability::Power && !same_boot,
                Tail::Lost => false,
            };
        }
        is_proven = context.reaches_its_head(is_proven) && is_proven;
        // After another boot, the kernel may have lost what it had not yet written.
        is_proven &= same_boot || context.meta.clean || spec.durability == Durability::Power;
        if is_new && context.appended > 0 {
            let reason = "the context's meta file is missing".to_owned();
            context.findings.push(Finding { first: 1, last: 0, reason });
        }
        if !is_proven || is_new {
            context.meta.log_id = fresh_id;
        }
        context.begin(boot_id, now)?;
        Ok(context)
    }

    /// How far the log has come: where this says more than the meta file, it holds. False when it is lost.
    fn find_reach(&mut self, dir: &Path, is_new: bool) -> io::Result<bool> {
        let (file, found) = ReachFile::folder(dir)?;
        self.reach_file = file;
        match found {
            Some(reach) if !is_new => {
                self.meta.head = self.meta.head.max(reach.head);
                for (tag, id) in REACHING.into_iter().zip(reach.newest) {
                    let newest = self.meta.newest.entry(tag.name().to_owned()).or_default();
                    *newest = id.max(*newest);
                }
            }
            None if self.meta.has_reach => {
                let reason = "the context's reach file is missing or damaged".to_owned();
                self.findings.push(Finding { first: 1, last: 0, reason });
                return Ok(false);
            }
            Some(_) | None => {}
        }
        Ok(true)
    }

    /// Is what the meta file knows to have been given there? What ends in zeros looks like a whole end. Told once, and not
    /// at all (`tell`) where the same loss was found another way.
    fn reaches_its_head(&mut self, tell: bool) -> bool {
        let last = self.records.last_seq().max(self.reports.last_seq()).max(self.meta.purged);
        let name = format!("head@{}", self.meta.head);
        if last >= self.meta.head || self.meta.told.contains(&name) {
            return true;
        }
        if tell {
            let (first, last) = (last + 1, self.meta.head);
            let reason = format!("the log ends too early: what stood from Seq {first} to {last} is lost");
            self.findings.push(Finding { first, last, reason });
        }
        self.meta.told.retain(|told| !told.starts_with("head@"));
        self.meta.told.push(name);
        false
    }

    /// Everything is read: from here on it is in use.
    fn begin(&mut self, boot_id: &str, now: u64) -> io::Result<()> {
        self.visible = self.appended;
        self.clients.recovered(now);
        (self.changed_at, self.changed_by) = (self.meta.changed_at, self.meta.changed_by.clone());
        let newest = self.record_frame(self.records.last_seq()).and_then(|frame| frame::record(&frame));
        if let Some(record) = newest.filter(|record| record.sent_time >= self.changed_at) {
            (self.changed_at, self.changed_by) = (record.sent_time, record.sent_by);
        }
        self.last_time = self.last_time.max(self.changed_at);
        self.meta.boot_id = boot_id.to_owned();
        self.meta.clean = false;
        self.meta.has_reach = true;
        self.meta_file.write(&self.meta, self.is_synced())?;
        self.reach_file.write(&self.reach(), self.is_synced())
    }

    /// Damage found since the last call; each is told once in the life of a log.
    pub fn findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// Names this log; another one when the tail could not be proven.
    #[must_use]
    pub fn log_id(&self) -> [u8; 16] {
        self.meta.log_id
    }

    /// Seq of the newest visible record or report; 0 when there is none.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.visible
    }

    /// Largest `udd_buff` and `report_buff` taken, in bytes.
    #[must_use]
    pub fn max_record(&self) -> usize {
        self.max_record
    }

    /// A client comes (back). `binding` names whoever it belongs to: its token, or something for "no token"; of it
    /// only a digest is kept.
    pub fn join(&mut self, client: &ClientId, binding: &str, now: u64) -> Result<Known, JoinError> {
        self.clients.join(client, &digest(binding), now)
    }

    /// A client's connection ended: its 24 hours begin.
    pub fn leave(&mut self, client: &ClientId, now: u64) {
        self.clients.leave(client, now);
    }

    /// Begins a subscription. A `from` that is not set means the next that comes.
    pub fn subscribe(&mut self, now: u64, request: &v1::Subscribe) -> Result<(Cursor, v1::Subscribed), SubscribeError> {
        use v1::subscribe::From as Asked;
        let pattern = key::Pattern::parse(&request.key_pattern).map_err(|why| v1::Error {
            code: v1::ErrorCode::InvalidKey.into(),
            message: format!("cannot subscribe to {:?}: {why}", request.key_pattern),
        })?;
        let from = match request.from {
            Some(Asked::First(_)) => From::First,
            Some(Asked::Seq(seq)) => From::Seq(seq),
            Some(Asked::Time(time)) => From::Time(time),
            Some(Asked::New(_)) | None => From::New,
        };
        let is_other = !request.log_id.is_empty() && request.log_id[..] != self.meta.log_id;
        let no_follow = request.no_follow.then_some(self.visible);
        let wanted = Wanted {
            from,
            records: request.records || !request.reports,
            reports: request.reports,
            pattern: Some(pattern),
            to: request.to.into_iter().chain(no_follow).min(),
            replaced: is_other && matches!(from, From::Seq(_)),
        };
        let cursor = Cursor::new(&self.view(now), wanted);
        Ok((cursor, v1::Subscribed { log_id: self.meta.log_id.to_vec().into(), head: self.visible }))
    }

    /// The next frames for a subscriber, about `budget` bytes of them (one block of up to 128 KiB, or one frame, may go
    /// beyond it).
    #[must_use]
    pub fn read(&self, now: u64, cursor: &mut Cursor, budget: usize) -> Batch {
        cursor.read(&self.view(now), budget)
    }

    fn view(&self, now: u64) -> View<'_> {
        View {
            records: (&self.records, self.records.cut(now, self.floor)),
            reports: (&self.reports, self.reports.cut(now, None)),
            head: self.visible,
            log_id: self.meta.log_id,
        }
    }

    /// With `when_full = "wait"`: the lowest place a connected subscriber has still to read from; `None`: nobody reads.
    pub fn set_floor(&mut self, floor: Option<Floor>) {
        self.floor = floor;
    }

    /// After NO_SPACE: is there room again? Asked on a timer while someone waits.
    pub fn resume_ready(&mut self) -> bool {
        [Tag::Kept, Tag::Records, Tag::Reports].into_iter().all(|tag| match self.stream(tag).wanted {
            Some(length) => self.make_room(tag, length).is_ok(),
            None => true,
        })
    }

    /// All segments together may take so many bytes: a smaller disk, for tests.
    #[doc(hidden)]
    pub fn limit_disk(&mut self, bytes: Option<u64>) {
        self.disk.limit = bytes;
    }

    /// The disk takes nothing from here on, or everything again.
    #[cfg(test)]
    pub(crate) fn break_disk(&mut self, is_broken: bool) {
        self.disk.limit = is_broken.then_some(1);
        for stream in [&mut self.kept, &mut self.records, &mut self.reports] {
            stream.segments.iter_mut().for_each(|segment| segment.chunk.is_broken = is_broken);
        }
    }

    /// A clean stop: all is on disk, and the next open need not doubt the tail.
    pub fn close(&mut self) {
        let stored = self.commit().is_ok()
            && [&self.kept, &self.records, &self.reports].iter().all(|stream| stream.flush_all().is_ok());
        self.meta.clean = stored;
        // Without its mark the next open only doubts more than it must.
        let _ = self.write_meta(true);
    }

    fn is_synced(&self) -> bool {
        self.durability == Durability::Power
    }

    fn reach(&self) -> Reach {
        let newest = REACHING.map(|tag| self.meta.newest.get(tag.name()).copied().unwrap_or(0));
        Reach { head: self.meta.head.max(self.visible), newest }
    }

    fn write_reach(&mut self, synced: bool) -> Result<(), StoreError> {
        Ok(self.reach_file.write(&self.reach(), synced)?)
    }

    fn write_meta(&mut self, synced: bool) -> Result<(), StoreError> {
        self.meta.head = self.visible;
        (self.meta.changed_at, self.meta.changed_by) = (self.changed_at, self.changed_by.clone());
        Ok(self.meta_file.write(&self.meta, synced)?)
    }
}

/// The client's binding lies on disk, and a token is a secret.
fn digest(binding: &str) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(binding.as_bytes())[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn new_log_id() -> io::Result<[u8; 16]> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    Ok(id)
}

#[cfg(test)]
mod tests;

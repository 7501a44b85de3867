//! What the log holds, as C sees it.

use std::ffi::{c_char, c_void};
use std::ptr;

use copo::v1::Facts;
use copo::{Gap, ItemRef, MetaReport, RecordRef, UddRecord};

use crate::guard::quietly;
use crate::handle::Place;
use crate::text::Texts;

/// A CopoItem that is a record.
pub const COPO_ITEM_RECORD: u32 = 1;
/// A CopoItem that is a report.
pub const COPO_ITEM_REPORT: u32 = 2;
/// A CopoItem that is a gap.
pub const COPO_ITEM_GAP: u32 = 3;

/// One record of the user-defined data.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CopoRecord {
    /// Its place in the one sequence that records and reports share; rising, from 1.
    pub seq: u64,
    /// When the orchestrator took it.
    pub sent_time: u64,
    /// Internal name of the process that sent it, or "@name" for a person.
    pub sent_by: *const c_char,
    /// Its key; "" is none.
    pub key: *const c_char,
    /// What the sender gave.
    pub udd_buff: *const c_void,
    /// Bytes in udd_buff.
    pub udd_len: usize,
}

/// What the orchestrator reports about a process or itself. Strings that mean nothing there are NULL.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CopoFacts {
    /// What happened, a CopoEventKind; 0 in a report that a process or person sent.
    pub event: i32,
    /// Is exit_code set?
    pub has_exit_code: bool,
    /// Exit code of the run's main process.
    pub exit_code: i32,
    /// Process id of the run's main process; 0: absent.
    pub pid: u32,
    /// Name of the process as configured.
    pub process: *const c_char,
    /// Internal name of the instance.
    pub internal_name: *const c_char,
    /// RunId of the run.
    pub run: *const c_char,
    /// Name of the signal that ended the run's main process, such as "SIGKILL".
    pub signal: *const c_char,
    /// Why, in words.
    pub reason: *const c_char,
}

/// One report about the application.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CopoReport {
    /// Its place in the one sequence that records and reports share.
    pub seq: u64,
    /// When the orchestrator took it.
    pub report_time: u64,
    /// Internal name of the process that sent it, "@name" for a person, or "orchestrator".
    pub sent_by: *const c_char,
    /// What the sender gave; from the orchestrator a sentence for people.
    pub report_buff: *const c_void,
    /// Bytes in report_buff.
    pub report_len: usize,
    /// What happened, typed.
    pub facts: CopoFacts,
}

/// Tells a reader that it was not given what it asked for.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CopoGap {
    /// Why, a CopoGapCause.
    pub cause: i32,
    /// First seq passed over; 0 where the log is another one.
    pub first: u64,
    /// Last seq passed over; 0 where the log is another one.
    pub last: u64,
    /// The 16 bytes that name the log read from here on.
    pub log_id: [u8; 16],
}

/// What a subscription gives next. Only the struct that `kind` names is set; the others are zero.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CopoItem {
    /// COPO_ITEM_RECORD, COPO_ITEM_REPORT or COPO_ITEM_GAP.
    pub kind: u32,
    /// The record.
    pub record: CopoRecord,
    /// The report.
    pub report: CopoReport,
    /// The gap.
    pub gap: CopoGap,
}

/// Lends an item out, valid as long as what it borrows from and until `texts` and `kept` are used anew.
pub(crate) fn lend(item: ItemRef<'_>, texts: &mut Texts, kept: &mut Option<Box<MetaReport>>, out: Place<'_, CopoItem>) {
    // Written where it stays: most of it is nothing, and to carry that around would cost more than the rest.
    let out = out.fill(CopoItem { kind: 0, record: NO_RECORD, report: NO_REPORT, gap: NO_GAP });
    match item {
        ItemRef::Record(record) => (out.kind, out.record) = (COPO_ITEM_RECORD, lend_record(&record, texts)),
        ItemRef::Report(report) => {
            let report = kept.insert(report);
            (out.kind, out.report) = (COPO_ITEM_REPORT, lend_report(report, texts));
        }
        ItemRef::Gap(gap) => (out.kind, out.gap) = (COPO_ITEM_GAP, lend_gap(&gap)),
    }
}

const NO_RECORD: CopoRecord =
    CopoRecord { seq: 0, sent_time: 0, sent_by: ptr::null(), key: ptr::null(), udd_buff: ptr::null(), udd_len: 0 };
const NO_FACTS: CopoFacts = CopoFacts {
    event: 0,
    has_exit_code: false,
    exit_code: 0,
    pid: 0,
    process: ptr::null(),
    internal_name: ptr::null(),
    run: ptr::null(),
    signal: ptr::null(),
    reason: ptr::null(),
};
const NO_REPORT: CopoReport = CopoReport {
    seq: 0,
    report_time: 0,
    sent_by: ptr::null(),
    report_buff: ptr::null(),
    report_len: 0,
    facts: NO_FACTS,
};
const NO_GAP: CopoGap = CopoGap { cause: 0, first: 0, last: 0, log_id: [0; 16] };

fn lend_record(record: &RecordRef<'_>, texts: &mut Texts) -> CopoRecord {
    let [sent_by, key] = texts.lend([Some(record.sent_by), Some(record.key)]);
    let RecordRef { seq, sent_time, udd_buff, .. } = *record;
    CopoRecord { seq, sent_time, sent_by, key, udd_buff: udd_buff.as_ptr().cast(), udd_len: udd_buff.len() }
}

fn lend_report(report: &MetaReport, texts: &mut Texts) -> CopoReport {
    let none = Facts::default();
    let facts = report.facts.as_ref().unwrap_or(&none);
    let [sent_by, process, internal_name, run, signal, reason] = texts.lend([
        Some(&report.sent_by),
        facts.process.as_deref(),
        facts.internal_name.as_deref(),
        facts.run.as_deref(),
        facts.signal.as_deref(),
        facts.reason.as_deref(),
    ]);
    let facts = CopoFacts {
        event: facts.event,
        has_exit_code: facts.exit_code.is_some(),
        exit_code: facts.exit_code.unwrap_or(0),
        pid: facts.pid.unwrap_or(0),
        process,
        internal_name,
        run,
        signal,
        reason,
    };
    let (report_buff, report_len) = (report.report_buff.as_ptr().cast(), report.report_buff.len());
    CopoReport { seq: report.seq, report_time: report.report_time, sent_by, report_buff, report_len, facts }
}

fn lend_gap(gap: &Gap) -> CopoGap {
    let log_id = <[u8; 16]>::try_from(&gap.log_id[..]).unwrap_or_default();
    CopoGap { cause: gap.cause, first: gap.first, last: gap.last, log_id }
}

/// A record and what it points into; the public part stands first, so that a pointer to one is a pointer to the other.
#[repr(C)]
struct OwnedRecord {
    public: CopoRecord,
    texts: Texts,
    record: UddRecord,
}

/// Makes an owned record; [`copo_record_free`] frees it.
pub(crate) fn own_record(record: UddRecord) -> *mut CopoRecord {
    let mut texts = Texts::default();
    // The pointers stay right when the three move together: they point into the heap.
    let UddRecord { seq, sent_time, sent_by, key, udd_buff } = &record;
    let borrowed = RecordRef { seq: *seq, sent_time: *sent_time, sent_by, key, udd_buff };
    let public = lend_record(&borrowed, &mut texts);
    Box::into_raw(Box::new(OwnedRecord { public, texts, record })).cast()
}

/// Frees a record that `copo_udd_get` gave; NULL is left alone. Not for the records in a CopoItem, which are borrowed.
///
/// # Safety
/// `record` is NULL or came from `copo_udd_get` and was not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_record_free(record: *mut CopoRecord) {
    quietly(|| {
        if !record.is_null() {
            // SAFETY: it is what `own_record` leaked, so it is an OwnedRecord; the caller frees it once.
            drop(unsafe { Box::from_raw(record.cast::<OwnedRecord>()) });
        }
    });
}

//! What is kept, as limits of the streams; it may change while the log is in use. What counts no longer goes with its
//! segment, as ever.

use super::Context;
use super::stream::Limits;
use crate::plan::Retain;

impl Context {
    /// From here on so much is kept.
    pub fn set_retain(&mut self, retain: &Retain) {
        self.records.limits = of_records(retain);
        self.reports.limits = of_reports(retain);
        self.keys.set_limit(retain.keys);
    }
}

/// Of the records.
pub(super) fn of_records(retain: &Retain) -> Limits {
    let age = u64::try_from(retain.age.as_micros()).unwrap_or(u64::MAX);
    Limits { records: retain.records, bytes: retain.bytes, age }
}

/// Of the reports.
pub(super) fn of_reports(retain: &Retain) -> Limits {
    Limits { records: retain.reports, ..Limits::NONE }
}

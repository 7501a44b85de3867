//! What a subscription delivers, owned or borrowed from what was read.

use copo_proto::record::RecordRef;
use copo_proto::v1::{Gap, MetaReport, UddRecord};

/// What a subscription delivers.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A record.
    Record(UddRecord),
    /// A report.
    Report(MetaReport),
    /// What was passed over, and why.
    Gap(Gap),
}

/// What a subscription delivers, a record being borrowed from what was read: it costs neither an allocation nor a copy,
/// and is gone with the next call. Reports and gaps are rare and stay owned.
#[derive(Debug, Clone, PartialEq)]
pub enum ItemRef<'a> {
    /// A record.
    Record(RecordRef<'a>),
    /// A report; boxed, so that what carries a record stays small.
    Report(Box<MetaReport>),
    /// What was passed over, and why.
    Gap(Gap),
}

impl ItemRef<'_> {
    /// The same, to keep.
    #[must_use]
    pub fn into_owned(self) -> Item {
        match self {
            Self::Record(record) => Item::Record(UddRecord {
                seq: record.seq,
                sent_time: record.sent_time,
                sent_by: record.sent_by.to_owned(),
                key: record.key.to_owned(),
                udd_buff: bytes::Bytes::copy_from_slice(record.udd_buff),
            }),
            Self::Report(report) => Item::Report(*report),
            Self::Gap(gap) => Item::Gap(gap),
        }
    }
}

//! Frames of records and reports: what lies in a segment and goes over every subscriber's wire, the same bytes.
//!
//! A frame is the length prefix and a `ServerMessage{record | report}`. What the orchestrator sets stands in front, at
//! fixed width; what is the same in a whole batch is put together once for it. Pure.

use bytes::BufMut;
use copo_proto::{Message, v1};
use prost::encoding::{encode_varint, encoded_len_varint};

/// Tags of `ServerMessage.kind`; the wire type (length-delimited) is in the low bits.
const RECORD: u8 = 1 << 3 | 2;
const REPORT: u8 = 2 << 3 | 2;
/// Tags that `UddRecord` and `MetaReport` share: seq and time (fixed64), sent_by, and two more delimited fields.
const SEQ: u8 = 1 << 3 | 1;
const TIME: u8 = 2 << 3 | 1;
const SENT_BY: u8 = 3 << 3 | 2;
const SECOND: u8 = 4 << 3 | 2;
const THIRD: u8 = 5 << 3 | 2;
/// Seq and time with their tags.
const SEQ_LEN: usize = 9;
const TIME_LEN: usize = 9;

/// Which of the two kinds of things the log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Record,
    Report,
}

/// The two fields of a frame that its sender gave: for a record key and udd_buff, for a report report_buff and the encoded
/// facts. Empty ones are left out.
pub(super) type Fields<'a> = (&'a [u8], &'a [u8]);

/// Composes the frames of one batch, in which kind, time and sender are the same. `UddRecord` and `MetaReport` have the same
/// shape on the wire.
#[derive(Debug)]
pub(super) struct Composer {
    tag: u8,
    /// Time and sender, as they stand in each frame.
    common: Vec<u8>,
}

impl Composer {
    pub fn new(kind: Kind, time: u64, sent_by: &str) -> Self {
        let mut common = Vec::with_capacity(common_len(sent_by));
        common.put_u8(TIME);
        common.put_u64_le(time);
        common.put_u8(SENT_BY);
        encode_varint(sent_by.len() as u64, &mut common);
        common.put_slice(sent_by.as_bytes());
        let tag = match kind {
            Kind::Record => RECORD,
            Kind::Report => REPORT,
        };
        Self { tag, common }
    }

    /// Writes the frame to the start of `out` and returns its length.
    #[inline]
    pub fn write(&self, seq: u64, fields: Fields<'_>, out: &mut [u8]) -> usize {
        let inner = inner_len(self.common.len(), fields);
        let mut at = put_varint(1 + prefixed_len(inner), out);
        out[at] = self.tag;
        at += 1;
        at += put_varint(inner, &mut out[at..]);
        out[at] = SEQ;
        out[at + 1..at + SEQ_LEN].copy_from_slice(&seq.to_le_bytes());
        at += SEQ_LEN;
        at += put(&self.common, &mut out[at..]);
        for (tag, field) in [(SECOND, fields.0), (THIRD, fields.1)] {
            if !field.is_empty() {
                out[at] = tag;
                at += 1;
                at += put_varint(field.len(), &mut out[at..]);
                at += put(field, &mut out[at..]);
            }
        }
        at
    }
}

/// Bytes of the whole frame of someone's.
#[inline]
pub(super) fn len(sent_by: &str, fields: Fields<'_>) -> usize {
    prefixed_len(1 + prefixed_len(inner_len(common_len(sent_by), fields)))
}

#[inline]
fn common_len(sent_by: &str) -> usize {
    TIME_LEN + 1 + prefixed_len(sent_by.len())
}

#[inline]
fn inner_len(common: usize, fields: Fields<'_>) -> usize {
    SEQ_LEN + common + optional_len(fields.0) + optional_len(fields.1)
}

#[inline]
fn prefixed_len(length: usize) -> usize {
    encoded_len_varint(length as u64) + length
}

#[inline]
fn optional_len(field: &[u8]) -> usize {
    if field.is_empty() { 0 } else { 1 + prefixed_len(field.len()) }
}

#[inline]
fn put(bytes: &[u8], out: &mut [u8]) -> usize {
    out[..bytes.len()].copy_from_slice(bytes);
    bytes.len()
}

#[inline]
fn put_varint(mut value: usize, out: &mut [u8]) -> usize {
    let mut at = 0;
    while value >= 0x80 {
        out[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    out[at] = value as u8;
    at + 1
}

/// A varint at the start of `bytes`: its value and its length.
fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0usize;
    for (i, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

/// Bytes of the first frame of `bytes`; `None` when there is no whole one.
pub(super) fn first_len(bytes: &[u8]) -> Option<usize> {
    let (length, prefix) = varint(bytes)?;
    let whole = prefix.checked_add(length)?;
    (whole <= bytes.len()).then_some(whole)
}

/// Bytes of the first `n` frames of `bytes` (of all there are, if fewer).
pub(super) fn skip(bytes: &[u8], n: u64) -> usize {
    let mut at = 0;
    for _ in 0..n {
        match first_len(&bytes[at..]) {
            Some(length) => at += length,
            None => break,
        }
    }
    at
}

/// The key of a record's frame, as composed here.
pub(super) fn key(frame: &[u8]) -> &str {
    key_bytes(frame).and_then(|key| std::str::from_utf8(key).ok()).unwrap_or("")
}

fn key_bytes(frame: &[u8]) -> Option<&[u8]> {
    let (_, prefix) = varint(frame)?;
    let rest = &frame[prefix + 1..]; // after the tag of the record
    let (_, prefix) = varint(rest)?;
    let rest = rest.get(prefix + SEQ_LEN + TIME_LEN + 1..)?; // after seq, time and the tag of sent_by
    let (length, prefix) = varint(rest)?;
    let rest = rest.get(prefix + length..)?;
    if rest.first() != Some(&SECOND) {
        return None;
    }
    let (length, prefix) = varint(&rest[1..])?;
    rest.get(1 + prefix..1 + prefix + length)
}

/// The record of a frame.
pub(super) fn record(frame: &[u8]) -> Option<v1::UddRecord> {
    match v1::ServerMessage::decode_length_delimited(frame).ok()?.kind? {
        v1::server_message::Kind::Record(record) => Some(record),
        _ => None,
    }
}

/// The report of a frame.
pub(super) fn report(frame: &[u8]) -> Option<v1::MetaReport> {
    match v1::ServerMessage::decode_length_delimited(frame).ok()?.kind? {
        v1::server_message::Kind::Report(report) => Some(report),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_frame_is_what_prost_would_write(
            seq in 1u64.., time in 1u64.., key in "([a-z]{1,9}(/[a-z]{1,9}){0,3})?",
            data in prop::collection::vec(any::<u8>(), 0..400), by in "@?[a-z]{1,40}-1",
        ) {
            let fields = (key.as_bytes(), &data[..]);
            let mut out = vec![0; len(&by, fields) + 3];
            let length = Composer::new(Kind::Record, time, &by).write(seq, fields, &mut out);
            prop_assert_eq!(length, len(&by, fields));
            let record = v1::UddRecord { seq, sent_time: time, sent_by: by, key: key.clone(), udd_buff: data.into() };
            let message = v1::ServerMessage { kind: Some(v1::server_message::Kind::Record(record.clone())) };
            let expected = copo_proto::frame::to_vec(&message);
            prop_assert_eq!(&out[..length], &expected[..]);
            prop_assert_eq!(super::key(&out[..length]), key);
            prop_assert_eq!(super::record(&out[..length]), Some(record));
            prop_assert_eq!(first_len(&out), Some(length));
        }
    }

    #[test]
    fn a_report_is_what_prost_would_write() {
        let facts = v1::Facts { event: v1::EventKind::Exited.into(), exit_code: Some(-1), ..Default::default() };
        let encoded = facts.encode_to_vec();
        let fields = (&b"it ended"[..], &encoded[..]);
        let mut out = vec![0; len("orchestrator", fields)];
        Composer::new(Kind::Report, 9, "orchestrator").write(7, fields, &mut out);
        let expected = v1::MetaReport {
            seq: 7,
            report_time: 9,
            sent_by: "orchestrator".into(),
            report_buff: "it ended".into(),
            facts: Some(facts),
        };
        assert_eq!(report(&out), Some(expected));
    }
}

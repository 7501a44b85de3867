//! Frames of records and reports: what lies in a segment and goes over every subscriber's wire, the same bytes.
//!
//! A frame is the length prefix and a `ServerMessage{record | report}`. What the orchestrator sets stands in front, at
//! fixed width, so that composing is two passes over the lengths and one copy. Pure.

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
const FIXED: usize = 18;

/// Which of the two kinds of things the log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Record,
    Report,
}

/// What a frame is composed of. `UddRecord` and `MetaReport` have the same shape on the wire: for a record the fields
/// after `sent_by` are key and udd_buff, for a report report_buff and the encoded facts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    pub kind: Kind,
    pub sent_by: &'a [u8],
    pub second: &'a [u8],
    pub third: &'a [u8],
}

impl Parts<'_> {
    fn inner_len(&self) -> usize {
        FIXED + 1 + delimited_len(self.sent_by) + optional_len(self.second) + optional_len(self.third)
    }

    /// Bytes of the whole frame.
    pub fn len(&self) -> usize {
        let message = 1 + prefixed_len(self.inner_len());
        prefixed_len(message)
    }

    /// Writes the frame to the start of `out` and returns its length.
    pub fn write(&self, seq: u64, time: u64, mut out: &mut [u8]) -> usize {
        let before = out.len();
        let inner = self.inner_len();
        encode_varint((1 + prefixed_len(inner)) as u64, &mut out);
        out.put_u8(match self.kind {
            Kind::Record => RECORD,
            Kind::Report => REPORT,
        });
        encode_varint(inner as u64, &mut out);
        out.put_u8(SEQ);
        out.put_u64_le(seq);
        out.put_u8(TIME);
        out.put_u64_le(time);
        put_field(SENT_BY, self.sent_by, &mut out);
        for (tag, field) in [(SECOND, self.second), (THIRD, self.third)] {
            if !field.is_empty() {
                put_field(tag, field, &mut out);
            }
        }
        before - out.len()
    }
}

fn prefixed_len(length: usize) -> usize {
    encoded_len_varint(length as u64) + length
}

fn delimited_len(field: &[u8]) -> usize {
    prefixed_len(field.len())
}

fn optional_len(field: &[u8]) -> usize {
    if field.is_empty() { 0 } else { 1 + delimited_len(field) }
}

fn put_field(tag: u8, field: &[u8], out: &mut &mut [u8]) {
    out.put_u8(tag);
    encode_varint(field.len() as u64, out);
    out.put_slice(field);
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
    let rest = rest.get(prefix + FIXED + 1..)?; // after seq, time and the tag of sent_by
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
            let parts = Parts { kind: Kind::Record, sent_by: by.as_bytes(), second: key.as_bytes(), third: &data };
            let mut out = vec![0; parts.len() + 3];
            let length = parts.write(seq, time, &mut out);
            prop_assert_eq!(length, parts.len());
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
        let parts = Parts { kind: Kind::Report, sent_by: b"orchestrator", second: b"it ended", third: &encoded };
        let mut out = vec![0; parts.len()];
        parts.write(7, 9, &mut out);
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

//! A record read where it lies: the fields of a `ServerMessage` that holds an `UddRecord`, borrowed from its bytes.
//!
//! The orchestrator writes a record's fields in order, the first two at fixed width, and so it is found here without an
//! allocation and nearly without a branch. Whatever else protobuf allows (other orders, doubled and unknown fields) is
//! read as the generated code reads it; a property test holds the two together.

use prost::DecodeError;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::v1::{ServerMessage, server_message};

const RECORD: u8 = 1 << 3 | 2;
const SEQ: u8 = 1 << 3 | 1;
const SENT_TIME: u8 = 2 << 3 | 1;
const SENT_BY: u8 = 3 << 3 | 2;
const KEY: u8 = 4 << 3 | 2;
const UDD_BUFF: u8 = 5 << 3 | 2;

/// One record of the user-defined data, borrowed. The fields are those of [`crate::v1::UddRecord`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Its place in the one sequence that records and reports share.
    pub seq: u64,
    /// When the orchestrator took it, microseconds since the Unix epoch.
    pub sent_time: u64,
    /// Internal name of the process that sent it, or "@name" for a person.
    pub sent_by: &'a str,
    /// Its key; "" is none.
    pub key: &'a str,
    /// What the sender gave.
    pub udd_buff: &'a [u8],
}

/// A record's frame in the form in which the orchestrator writes it, at the start of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framed<'a> {
    /// Bytes of the frame, its length prefix included.
    pub length: usize,
    /// The record's place in the sequence.
    pub seq: u64,
    /// When the orchestrator took it.
    pub sent_time: u64,
    /// Who sent it, in ASCII.
    pub sent_by: &'a [u8],
    /// Its key, in ASCII.
    pub key: &'a [u8],
    /// What the sender gave.
    pub udd_buff: &'a [u8],
}

impl<'a> Framed<'a> {
    /// The frame at the start of `stream`, of at most `max` bytes without its prefix; `None`: there is none, or it has to be
    /// looked at in another way.
    #[inline]
    #[must_use]
    pub fn read(stream: &'a [u8], max: usize) -> Option<Self> {
        let (length, rest) = short_length(stream)?;
        let prefix = stream.len() - rest.len();
        let message = rest.get(..length).filter(|_| length <= max)?;
        let (seq, sent_time, rest) = front(message)?;
        let (sent_by, rest) = field(SENT_BY, rest)?;
        let (key, rest) = field(KEY, rest)?;
        let (udd_buff, rest) = field(UDD_BUFF, rest)?;
        let is_plain = rest.is_empty() && is_ascii(sent_by) && is_ascii(key);
        is_plain.then_some(Self { length: prefix + length, seq, sent_time, sent_by, key, udd_buff })
    }
}

impl<'a> RecordRef<'a> {
    /// The record in a `ServerMessage`'s bytes; `None`: it holds something else.
    ///
    /// # Errors
    /// Whenever decoding the message would fail.
    #[inline]
    pub fn read(message: &'a [u8]) -> Result<Option<Self>, DecodeError> {
        match Self::plain(message) {
            Some(record) => Ok(Some(record)),
            None => Self::general(message),
        }
    }

    /// The form in which the orchestrator writes a record; `None`: it is another.
    #[inline]
    fn plain(message: &'a [u8]) -> Option<Self> {
        let (seq, sent_time, rest) = front(message)?;
        let (sent_by, rest) = text(SENT_BY, rest)?;
        let (key, rest) = text(KEY, rest)?;
        let (udd_buff, rest) = field(UDD_BUFF, rest)?;
        rest.is_empty().then_some(Self { seq, sent_time, sent_by, key, udd_buff })
    }

    #[cold]
    fn general(message: &'a [u8]) -> Result<Option<Self>, DecodeError> {
        // The generated code decides whether it is well formed, so that the walk below need not.
        let Some(server_message::Kind::Record(_)) = ServerMessage::decode(message)?.kind else { return Ok(None) };
        let mut rest = message;
        let mut record = Self::default();
        while !rest.is_empty() {
            match decode_key(&mut rest)? {
                // A second occurrence is merged into the first, unless another kind came between.
                (1, WireType::LengthDelimited) => record.merge(delimited(&mut rest)?)?,
                (tag, wire) => {
                    if KINDS.contains(&tag) {
                        record = Self::default();
                    }
                    skip_field(wire, tag, &mut rest, DecodeContext::default())?;
                }
            }
        }
        Ok(Some(record))
    }

    fn merge(&mut self, mut rest: &'a [u8]) -> Result<(), DecodeError> {
        while !rest.is_empty() {
            match decode_key(&mut rest)? {
                (1, WireType::SixtyFourBit) => self.seq = fixed(&mut rest),
                (2, WireType::SixtyFourBit) => self.sent_time = fixed(&mut rest),
                (3, WireType::LengthDelimited) => self.sent_by = utf8(delimited(&mut rest)?),
                (4, WireType::LengthDelimited) => self.key = utf8(delimited(&mut rest)?),
                (5, WireType::LengthDelimited) => self.udd_buff = delimited(&mut rest)?,
                (tag, wire) => skip_field(wire, tag, &mut rest, DecodeContext::default())?,
            }
        }
        Ok(())
    }
}

/// Numbers of `ServerMessage.kind`'s other arms: the last arm that occurs is the one that counts.
const KINDS: std::ops::RangeInclusive<u32> = 2..=11;

/// Seq and time of a message that is a record, and its other fields.
#[inline]
fn front(message: &[u8]) -> Option<(u64, u64, &[u8])> {
    let (&RECORD, rest) = message.split_first()? else { return None };
    let (length, rest) = short_length(rest)?;
    if rest.len() != length {
        return None;
    }
    let (front, rest) = rest.split_first_chunk::<18>()?;
    let [SEQ, s0, s1, s2, s3, s4, s5, s6, s7, SENT_TIME, t0, t1, t2, t3, t4, t5, t6, t7] = *front else {
        return None;
    };
    let seq = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
    Some((seq, u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]), rest))
}

/// Eight bytes at a time; what is looked at is mostly a name of a dozen.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    let (eights, rest) = bytes.as_chunks::<8>();
    let high = eights.iter().fold(0, |high, eight| high | u64::from_le_bytes(*eight));
    let last = rest.iter().fold(0, |high, byte| high | byte);
    high & 0x8080_8080_8080_8080 == 0 && last < 0x80
}

/// A length as a varint of at most four bytes; `None`: it is no such.
#[inline]
fn short_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut length = 0;
    for (i, byte) in bytes.iter().enumerate().take(4) {
        length |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((length, &bytes[i + 1..]));
        }
    }
    None
}

/// The field at the start, if it is this one; an absent one is empty.
#[inline]
fn field(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if bytes.first() != Some(&tag) {
        return Some((&[], bytes));
    }
    let (length, rest) = short_length(&bytes[1..])?;
    rest.split_at_checked(length)
}

#[inline]
fn text(tag: u8, bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (text, rest) = field(tag, bytes)?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

fn delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let length = usize::try_from(decode_varint(rest)?).unwrap_or(usize::MAX);
    // The message was found well formed before.
    let (field, after) = rest.split_at_checked(length).unwrap_or_default();
    *rest = after;
    Ok(field)
}

fn fixed(rest: &mut &[u8]) -> u64 {
    let (bytes, after) = rest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    *rest = after;
    u64::from_le_bytes(*bytes)
}

fn utf8(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Ack, UddRecord};
    use proptest::prelude::*;
    use prost::encoding::{encode_key, encode_varint};

    fn borrowed(record: &UddRecord) -> RecordRef<'_> {
        let UddRecord { seq, sent_time, sent_by, key, udd_buff } = record;
        RecordRef { seq: *seq, sent_time: *sent_time, sent_by, key, udd_buff }
    }

    fn of_frame<'a>(framed: &Framed<'a>) -> RecordRef<'a> {
        let Framed { seq, sent_time, sent_by, key, udd_buff, .. } = *framed;
        let text = |bytes| std::str::from_utf8(bytes).expect("ASCII");
        RecordRef { seq, sent_time, sent_by: text(sent_by), key: text(key), udd_buff }
    }

    /// Reads with both, and says what both say.
    fn assert_same(message: &[u8]) {
        let decoded = ServerMessage::decode(message);
        // As a frame it is the same record, or one to be looked at in the other way.
        let mut stream = Vec::new();
        prefixed(message, &mut stream);
        if let Some(framed) = Framed::read(&stream, usize::MAX) {
            assert_eq!(framed.length, stream.len());
            assert_eq!(RecordRef::read(message), Ok(Some(of_frame(&framed))));
        }
        assert_eq!(Framed::read(&stream[..stream.len() - 1], usize::MAX), None);
        match (RecordRef::read(message), &decoded) {
            (Ok(Some(ours)), Ok(ServerMessage { kind: Some(server_message::Kind::Record(theirs)) })) => {
                assert_eq!(ours, borrowed(theirs));
            }
            (Ok(None), Ok(ServerMessage { kind })) => {
                assert!(!matches!(kind, Some(server_message::Kind::Record(_))), "{kind:?}");
            }
            (Err(_), Err(_)) => {}
            (ours, theirs) => panic!("{ours:?} is not {theirs:?}"),
        }
    }

    fn prefixed(bytes: &[u8], out: &mut Vec<u8>) {
        encode_varint(bytes.len() as u64, out);
        out.extend_from_slice(bytes);
    }

    fn delimited_field(tag: u32, bytes: &[u8], out: &mut Vec<u8>) {
        encode_key(tag, WireType::LengthDelimited, out);
        prefixed(bytes, out);
    }

    /// A field of a record, known or not, in whatever form.
    fn a_field() -> impl Strategy<Value = Vec<u8>> {
        let made = |make: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            make(&mut out);
            out
        };
        prop_oneof![
            (1u32..8, any::<u64>()).prop_map(move |(tag, value)| made(&|out| {
                encode_key(tag, WireType::SixtyFourBit, out);
                out.extend_from_slice(&value.to_le_bytes());
            })),
            (1u32..8, any::<u64>()).prop_map(move |(tag, value)| made(&|out| {
                encode_key(tag, WireType::Varint, out);
                encode_varint(value, out);
            })),
            (3u32..8, prop::collection::vec(any::<u8>(), 0..40))
                .prop_map(move |(tag, bytes)| made(&|out| delimited_field(tag, &bytes, out))),
            (3u32..5, "[a-zé]{0,9}").prop_map(move |(tag, text)| made(&|out| delimited_field(
                tag,
                text.as_bytes(),
                out
            ))),
        ]
    }

    proptest! {
        #[test]
        fn what_the_orchestrator_writes_is_read_the_plain_way(
            seq in any::<u64>(),
            sent_time in any::<u64>(),
            sent_by in "[@a-zé-]{0,40}",
            key in "[a-z/]{0,200}",
            udd_buff in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let record = UddRecord { seq, sent_time, sent_by, key, udd_buff: udd_buff.into() };
            let message = ServerMessage { kind: Some(server_message::Kind::Record(record.clone())) }.encode_to_vec();
            assert_same(&message);
            // Proto3 leaves out what is zero; what the orchestrator gives never is.
            if seq > 0 && sent_time > 0 {
                prop_assert_eq!(RecordRef::plain(&message), Some(borrowed(&record)));
                let mut stream = Vec::new();
                prefixed(&message, &mut stream);
                let length = stream.len();
                stream.push(1);
                let framed = Framed::read(&stream, message.len());
                prop_assert_eq!(framed.is_some(), record.sent_by.is_ascii());
                prop_assert!(framed.is_none_or(|framed| of_frame(&framed) == borrowed(&record) && framed.length == length));
                prop_assert_eq!(Framed::read(&stream, message.len() - 1), None);
            }
        }

        #[test]
        fn any_order_of_any_fields_is_read_as_the_generated_code_does(
            messages in prop::collection::vec((1u32..14, prop::collection::vec(a_field(), 0..6)), 0..4),
            cut in any::<prop::sample::Index>(),
            is_cut in any::<bool>(),
        ) {
            let mut message = Vec::new();
            for (tag, fields) in messages {
                // Mostly records, with other and unknown kinds between them.
                let tag = if tag < 9 { 1 } else { tag };
                delimited_field(tag, &fields.concat(), &mut message);
            }
            if is_cut && !message.is_empty() {
                message.truncate(cut.index(message.len()));
            }
            assert_same(&message);
        }

        #[test]
        fn arbitrary_bytes_are_refused_or_taken_as_the_generated_code_does(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            assert_same(&bytes);
            assert_same(&[&[RECORD, bytes.len() as u8][..], &bytes].concat());
        }
    }

    #[test]
    fn another_kind_after_a_record_counts() {
        let mut message = Vec::new();
        delimited_field(1, &[], &mut message);
        delimited_field(4, &Ack { number: 3, seq: 4 }.encode_to_vec(), &mut message);
        assert_same(&message);
        delimited_field(1, &UddRecord { seq: 9, ..UddRecord::default() }.encode_to_vec(), &mut message);
        assert_same(&message);
    }
}

//! A send's frame, written field by field straight into the outgoing buffer: no message is built and no byte copied
//! twice. A test holds it against the generated code.

use copo_proto::v1::{Request, request};
use prost::encoding::encoded_len_varint;

const REQUEST_UDD_SEND: u8 = 2 << 3 | 2;
const REQUEST_META_SEND: u8 = 3 << 3 | 2;
const NUMBER: u8 = 1 << 3;
const UDD_KEY: u8 = 2 << 3 | 2;
const UDD_BUFF: u8 = 3 << 3 | 2;
const UDD_EXPECT_SEQ: u8 = 4 << 3 | 1;
const META_BUFF: u8 = 2 << 3 | 2;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    /// A record.
    Udd {
        /// `""` or a key.
        key: &'a str,
        /// Its data.
        data: &'a [u8],
        /// Compare-and-set.
        expect_seq: Option<u64>,
    },
    /// A report.
    Meta {
        /// Its data.
        data: &'a [u8],
    },
}

/// Most bytes of a frame beside key and data: five tags, four lengths, a number, a Seq, rounded up.
pub(super) const MOST_AROUND: usize = 64;

/// What a frame and the messages in it measure.
struct Measure {
    message: usize,
    request: usize,
    frame: usize,
}

impl Body<'_> {
    /// No frame of this body is longer; cheaper than to measure.
    pub(super) fn most_len(&self) -> usize {
        match self {
            Self::Udd { key, data, .. } => MOST_AROUND + key.len() + data.len(),
            Self::Meta { data } => MOST_AROUND + data.len(),
        }
    }

    /// Bytes of the frame under this number.
    pub(super) fn frame_len(&self, number: u64) -> usize {
        self.measure(number).frame
    }

    #[inline]
    fn measure(&self, number: u64) -> Measure {
        let fields = match self {
            Self::Udd { key, data, expect_seq } => {
                bytes_len(key.len()) + bytes_len(data.len()) + expect_seq.map_or(0, |_| 9)
            }
            Self::Meta { data } => bytes_len(data.len()),
        };
        let message = 1 + encoded_len_varint(number) + fields;
        let request = 1 + prefixed(message);
        Measure { message, request, frame: prefixed(request) }
    }

    /// Appends the frame; gives its length.
    #[inline]
    pub(super) fn encode(&self, number: u64, out: &mut Vec<u8>) -> usize {
        let measure = self.measure(number);
        match self {
            Self::Udd { key, data, expect_seq } => {
                Head::on(out, |head| {
                    head.begin(&measure, REQUEST_UDD_SEND, number);
                    head.field(UDD_KEY, key.len());
                    if key.is_empty() {
                        head.field(UDD_BUFF, data.len());
                    }
                });
                if !key.is_empty() {
                    out.extend_from_slice(key.as_bytes());
                    Head::on(out, |head| head.field(UDD_BUFF, data.len()));
                }
                out.extend_from_slice(data);
                if let Some(seq) = expect_seq {
                    out.push(UDD_EXPECT_SEQ);
                    out.extend_from_slice(&seq.to_le_bytes());
                }
            }
            Self::Meta { data } => {
                Head::on(out, |head| {
                    head.begin(&measure, REQUEST_META_SEND, number);
                    head.field(META_BUFF, data.len());
                });
                out.extend_from_slice(data);
            }
        }
        measure.frame
    }
}

/// Tags, lengths and the number in front of data, written where they stay: to gather them elsewhere and copy them at once
/// would read what was written byte by byte a moment before, which stalls.
struct Head<'a> {
    bytes: &'a mut [u8; MOST_AROUND],
    length: usize,
}

impl Head<'_> {
    /// Appends what `write` writes.
    #[inline]
    fn on(out: &mut Vec<u8>, write: impl FnOnce(&mut Head<'_>)) {
        let start = out.len();
        out.extend_from_slice(&[0; MOST_AROUND]);
        let Some(bytes) = out.last_chunk_mut() else { return };
        let mut head = Head { bytes, length: 0 };
        write(&mut head);
        let end = start + head.length;
        out.truncate(end);
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    #[inline]
    fn varint(&mut self, mut value: u64) {
        // Lengths and numbers are mostly so small; then four bytes are written without a loop, of which some do not count.
        if value < 1 << 28
            && let Some(place) = self.bytes.get_mut(self.length..self.length + 4)
        {
            let length = encoded_len_varint(value);
            let value = value as u32;
            let sevens = value & 0x7f | value << 1 & 0x7f00 | value << 2 & 0x7f_0000 | value << 3 & 0x7f00_0000;
            let more = 0x0080_8080u32 & ((1u32 << (8 * (length as u32 - 1))) - 1);
            place.copy_from_slice(&(sevens | more).to_le_bytes());
            self.length += length;
            return;
        }
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    #[inline]
    fn begin(&mut self, measure: &Measure, tag: u8, number: u64) {
        self.varint(measure.request as u64);
        self.byte(tag);
        self.varint(measure.message as u64);
        self.byte(NUMBER);
        self.varint(number);
    }

    /// The start of a field; an empty one is not written, as proto3 has it.
    #[inline]
    fn field(&mut self, tag: u8, length: usize) {
        if length > 0 {
            self.byte(tag);
            self.varint(length as u64);
        }
    }
}

/// The body of a frame that [`Body::encode`] wrote.
pub(super) fn body(request: &Request) -> Option<Body<'_>> {
    match request.kind.as_ref()? {
        request::Kind::UddSend(send) => {
            Some(Body::Udd { key: &send.key, data: &send.udd_buff, expect_seq: send.expect_seq })
        }
        request::Kind::MetaSend(send) => Some(Body::Meta { data: &send.report_buff }),
        request::Kind::Subscribe(_)
        | request::Kind::UddGet(_)
        | request::Kind::UddHeaders(_)
        | request::Kind::UddSetHeaders(_)
        | request::Kind::UddPurge(_)
        | request::Kind::Ready(_)
        | request::Kind::WatchStop(_)
        | request::Kind::Status(_)
        | request::Kind::Ps(_)
        | request::Kind::Start(_)
        | request::Kind::Stop(_)
        | request::Kind::Restart(_)
        | request::Kind::Trigger(_)
        | request::Kind::Kill(_)
        | request::Kind::Wait(_)
        | request::Kind::Down(_)
        | request::Kind::Upgrade(_)
        | request::Kind::Scale(_)
        | request::Kind::Converge(_) => None,
    }
}

#[inline]
fn prefixed(length: usize) -> usize {
    encoded_len_varint(length as u64) + length
}

/// An empty field is not written, as proto3 has it.
#[inline]
fn bytes_len(length: usize) -> usize {
    if length == 0 { 0 } else { 1 + prefixed(length) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use copo_proto::v1::{MetaSend, UddSend};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_frame_is_what_the_generated_code_writes(
            // As many of each length.
            number in (1u64.., 0u32..64).prop_map(|(number, shift)| (number >> shift).max(1)),
            key in "[a-z/]{0,200}",
            data in prop::collection::vec(any::<u8>(), 0..400),
            expect_seq in any::<Option<u64>>(),
        ) {
            let udd = UddSend { number, key: key.clone(), udd_buff: data.clone().into(), expect_seq };
            let meta = MetaSend { number, report_buff: data.clone().into() };
            for (ours, theirs) in [
                (Body::Udd { key: &key, data: &data, expect_seq }, request::Kind::UddSend(udd)),
                (Body::Meta { data: &data }, request::Kind::MetaSend(meta)),
            ] {
                let request = Request { id: 0, kind: Some(theirs) };
                let mut out = Vec::new();
                let length = ours.encode(number, &mut out);
                prop_assert_eq!(&out, &copo_proto::frame::to_vec(&request));
                prop_assert_eq!(out.len(), length);
                prop_assert_eq!(out.len(), ours.frame_len(number));
                prop_assert!(out.len() <= ours.most_len());
                prop_assert_eq!(body(&request), Some(ours));
            }
        }
    }
}

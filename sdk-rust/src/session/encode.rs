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

/// What a frame measures under its number: worked out once per send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measure {
    message: usize,
    request: usize,
    /// The whole frame, length prefix included.
    pub(super) frame: usize,
}

/// Most bytes of a frame beside key and data: five tags, four lengths, a number, a Seq, rounded up.
pub(super) const MOST_AROUND: usize = 64;

impl Body<'_> {
    /// No frame of this body is longer; cheaper than to measure.
    pub(super) fn most_len(&self) -> usize {
        match self {
            Self::Udd { key, data, .. } => MOST_AROUND + key.len() + data.len(),
            Self::Meta { data } => MOST_AROUND + data.len(),
        }
    }

    /// Measures the frame under this number.
    pub(super) fn measure(&self, number: u64) -> Measure {
        let number = 1 + encoded_len_varint(number);
        let message = match self {
            Self::Udd { key, data, expect_seq } => {
                number + bytes_len(key.len()) + bytes_len(data.len()) + expect_seq.map_or(0, |_| 9)
            }
            Self::Meta { data } => number + bytes_len(data.len()),
        };
        let request = 1 + prefixed(message);
        Measure { message, request, frame: prefixed(request) }
    }

    /// Appends the frame.
    pub(super) fn encode(&self, measure: &Measure, number: u64, out: &mut Vec<u8>) {
        match self {
            Self::Udd { key, data, expect_seq } => {
                Head::on(out, |head| {
                    head.begin(measure, REQUEST_UDD_SEND, number);
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
                    head.begin(measure, REQUEST_META_SEND, number);
                    head.field(META_BUFF, data.len());
                });
                out.extend_from_slice(data);
            }
        }
    }
}

/// Tags, lengths and the number in front of data, written where they stay: to gather them elsewhere and copy them at once
/// would read what was written byte by byte a moment before, which stalls.
struct Head<'a> {
    bytes: &'a mut [u8],
    length: usize,
}

impl Head<'_> {
    /// Appends what `write` writes.
    fn on(out: &mut Vec<u8>, write: impl FnOnce(&mut Head<'_>)) {
        let start = out.len();
        out.extend_from_slice(&[0; MOST_AROUND]);
        let mut head = Head { bytes: &mut out[start..], length: 0 };
        write(&mut head);
        let end = start + head.length;
        out.truncate(end);
    }

    fn byte(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    fn begin(&mut self, measure: &Measure, tag: u8, number: u64) {
        self.varint(measure.request as u64);
        self.byte(tag);
        self.varint(measure.message as u64);
        self.byte(NUMBER);
        self.varint(number);
    }

    /// The start of a field; an empty one is not written, as proto3 has it.
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

fn prefixed(length: usize) -> usize {
    encoded_len_varint(length as u64) + length
}

/// An empty field is not written, as proto3 has it.
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
            number in 1u64..,
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
                let measure = ours.measure(number);
                ours.encode(&measure, number, &mut out);
                prop_assert_eq!(&out, &copo_proto::frame::to_vec(&request));
                prop_assert_eq!(out.len(), measure.frame);
                prop_assert!(out.len() <= ours.most_len());
                prop_assert_eq!(body(&request), Some(ours));
            }
        }
    }
}

//! A send's frame, written field by field straight into the outgoing buffer: no message is built and no byte copied
//! twice. A test holds it against the generated code.

use copo_proto::v1::{Request, request};
use prost::encoding::{encode_varint, encoded_len_varint};

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

impl Body<'_> {
    /// The length of the frame under this number, prefix included.
    pub(super) fn frame_len(&self, number: u64) -> usize {
        let request = 1 + prefixed(self.message_len(number));
        prefixed(request)
    }

    /// Appends the frame.
    pub(super) fn encode(&self, number: u64, out: &mut Vec<u8>) {
        let message = self.message_len(number);
        encode_varint((1 + prefixed(message)) as u64, out);
        match self {
            Self::Udd { key, data, expect_seq } => {
                start(REQUEST_UDD_SEND, message, number, out);
                put_bytes(UDD_KEY, key.as_bytes(), out);
                put_bytes(UDD_BUFF, data, out);
                if let Some(seq) = expect_seq {
                    out.push(UDD_EXPECT_SEQ);
                    out.extend_from_slice(&seq.to_le_bytes());
                }
            }
            Self::Meta { data } => {
                start(REQUEST_META_SEND, message, number, out);
                put_bytes(META_BUFF, data, out);
            }
        }
    }

    fn message_len(&self, number: u64) -> usize {
        let number = 1 + encoded_len_varint(number);
        match self {
            Self::Udd { key, data, expect_seq } => {
                number + bytes_len(key.len()) + bytes_len(data.len()) + expect_seq.map_or(0, |_| 9)
            }
            Self::Meta { data } => number + bytes_len(data.len()),
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
        | request::Kind::Scale(_) => None,
    }
}

fn prefixed(length: usize) -> usize {
    encoded_len_varint(length as u64) + length
}

/// An empty field is not written, as proto3 has it.
fn bytes_len(length: usize) -> usize {
    if length == 0 { 0 } else { 1 + prefixed(length) }
}

fn start(tag: u8, message: usize, number: u64, out: &mut Vec<u8>) {
    out.push(tag);
    encode_varint(message as u64, out);
    out.push(NUMBER);
    encode_varint(number, out);
}

fn put_bytes(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        out.push(tag);
        encode_varint(bytes.len() as u64, out);
        out.extend_from_slice(bytes);
    }
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
                ours.encode(number, &mut out);
                prop_assert_eq!(&out, &copo_proto::frame::to_vec(&request));
                prop_assert_eq!(out.len(), ours.frame_len(number));
                prop_assert_eq!(body(&request), Some(ours));
            }
        }
    }
}

//! Sends as they lie in a frame: read in place, field by field, without owning anything.
//!
//! What is said here of a frame is what prost would say of it. Everything unusual (another request, both arms at once, groups,
//! anything malformed) is left to prost: [`read`] answers `None`.

/// One send, borrowed from the frame that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Send<'a> {
    /// A `UddSend`.
    Udd {
        /// Its number.
        number: u64,
        /// Its key.
        key: &'a str,
        /// Its data.
        udd_buff: &'a [u8],
        /// The Seq that the newest record of the key is to have.
        expect_seq: Option<u64>,
    },
    /// A `MetaSend`.
    Meta {
        /// Its number.
        number: u64,
        /// Its data.
        report_buff: &'a [u8],
    },
}

/// Tags of `Request` (see session.proto): its id, and the two arms that are sends. Other arms have other tags up to 24.
const ID: u64 = 1;
const UDD_SEND: u64 = 2;
const META_SEND: u64 = 3;
/// Whatever has a tag up to here may be a request of another kind, now or in a later version.
const LAST_KIND: u64 = 127;

/// The send that a `Request` frame (without its length) holds; `None` when it is anything but a plain send.
#[must_use]
#[inline]
pub fn read(frame: &[u8]) -> Option<Send<'_>> {
    let mut rest = frame;
    let mut send = None;
    while !rest.is_empty() {
        match (Field::read(&mut rest)?, &send) {
            (Field { tag: ID, value: Value::Varint(_) }, _) => {}
            (Field { tag: UDD_SEND, value: Value::Bytes(body) }, None) => send = Some(udd(body)?),
            (Field { tag: META_SEND, value: Value::Bytes(body) }, None) => send = Some(meta(body)?),
            (Field { tag, .. }, _) if tag > LAST_KIND => {}
            _ => return None,
        }
    }
    send
}

#[inline]
fn udd(body: &[u8]) -> Option<Send<'_>> {
    let (mut number, mut key, mut udd_buff, mut expect_seq) = (0, "", &[][..], None);
    let mut rest = body;
    while !rest.is_empty() {
        match Field::read(&mut rest)? {
            Field { tag: 1, value: Value::Varint(value) } => number = value,
            Field { tag: 2, value: Value::Bytes(value) } => key = std::str::from_utf8(value).ok()?,
            Field { tag: 3, value: Value::Bytes(value) } => udd_buff = value,
            Field { tag: 4, value: Value::Fixed64(value) } => expect_seq = Some(value),
            Field { tag: 1..=4, .. } => return None,
            Field { .. } => {}
        }
    }
    Some(Send::Udd { number, key, udd_buff, expect_seq })
}

fn meta(body: &[u8]) -> Option<Send<'_>> {
    let (mut number, mut report_buff) = (0, &[][..]);
    let mut rest = body;
    while !rest.is_empty() {
        match Field::read(&mut rest)? {
            Field { tag: 1, value: Value::Varint(value) } => number = value,
            Field { tag: 2, value: Value::Bytes(value) } => report_buff = value,
            Field { tag: 1..=2, .. } => return None,
            Field { .. } => {}
        }
    }
    Some(Send::Meta { number, report_buff })
}

/// One field of a message.
struct Field<'a> {
    tag: u64,
    value: Value<'a>,
}

enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

impl<'a> Field<'a> {
    /// Takes a field from the start of `rest`; `None` when none stands there, or a group.
    #[inline]
    fn read(rest: &mut &'a [u8]) -> Option<Self> {
        let key = varint(rest)?;
        let tag = key >> 3;
        if key > u64::from(u32::MAX) || tag == 0 {
            return None;
        }
        let value = match key & 7 {
            0 => Value::Varint(varint(rest)?),
            1 => Value::Fixed64(u64::from_le_bytes(*take(rest, 8)?.first_chunk()?)),
            2 => {
                let length = usize::try_from(varint(rest)?).ok()?;
                Value::Bytes(take(rest, length)?)
            }
            5 => take(rest, 4).map(|_| Value::Fixed32)?,
            _ => return None,
        };
        Some(Self { tag, value })
    }
}

#[inline]
fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

/// Takes a varint of up to 64 bits.
#[inline]
fn varint(rest: &mut &[u8]) -> Option<u64> {
    match **rest {
        [first @ ..0x80, ref left @ ..] => {
            *rest = left;
            Some(first.into())
        }
        [first, second @ ..0x80, ref left @ ..] => {
            *rest = left;
            Some(u64::from(first & 0x7f) | u64::from(second) << 7)
        }
        _ => long_varint(rest),
    }
}

fn long_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (i, &byte) in rest.iter().enumerate().take(10) {
        if i == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *rest = &rest[i + 1..];
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{MetaSend, Request, UddGet, UddSend, request::Kind};
    use proptest::prelude::*;
    use prost::Message;

    /// What prost makes of the frame, in our terms.
    fn by_prost(request: &Request) -> Option<Send<'_>> {
        match request.kind.as_ref()? {
            Kind::UddSend(UddSend { number, key, udd_buff, expect_seq }) => {
                Some(Send::Udd { number: *number, key, udd_buff, expect_seq: *expect_seq })
            }
            Kind::MetaSend(MetaSend { number, report_buff }) => Some(Send::Meta { number: *number, report_buff }),
            _ => None,
        }
    }

    /// A field as someone else might write it: any tag near ours, any wire type, at times cut or overlong.
    fn field() -> impl Strategy<Value = Vec<u8>> {
        let body = prop_oneof![
            "[a-z/]{0,6}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..12),
            Just(vec![0xff, 0xfe]),
        ];
        let tag = prop_oneof![6 => 1u64..6, 1 => 120u64..140, 1 => any::<u64>()];
        (tag, 0u64..8, any::<u64>(), body, any::<prop::sample::Index>(), 0..20u8).prop_map(
            |(tag, wire, number, body, cut, harm)| {
                let mut out = Vec::new();
                prost::encoding::encode_varint(tag << 3 | wire, &mut out);
                match wire {
                    0 => prost::encoding::encode_varint(number >> (number % 64), &mut out),
                    1 => out.extend(number.to_le_bytes()),
                    2 => {
                        prost::encoding::encode_varint(body.len() as u64, &mut out);
                        out.extend(&body);
                    }
                    5 => out.extend(&number.to_le_bytes()[..4]),
                    _ => {}
                }
                if harm == 0 {
                    out.truncate(cut.index(out.len() + 1));
                }
                out
            },
        )
    }

    fn arm() -> impl Strategy<Value = Vec<u8>> {
        (1u64..5, prop::collection::vec(field(), 0..5)).prop_map(|(tag, fields)| {
            let body = fields.concat();
            let mut out = Vec::new();
            prost::encoding::encode_varint(tag << 3 | 2, &mut out);
            prost::encoding::encode_varint(body.len() as u64, &mut out);
            out.extend(body);
            out
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

        #[test]
        fn what_is_read_is_what_prost_reads(parts in prop::collection::vec(prop_oneof![3 => arm(), 1 => field()], 0..4)) {
            let frame = parts.concat();
            if let Some(send) = read(&frame) {
                let request = Request::decode(&frame[..]);
                prop_assert!(request.is_ok(), "prost refuses it: {:?}", request);
                let request = request.unwrap_or_default();
                prop_assert_eq!(Some(send), by_prost(&request));
            }
        }

        #[test]
        fn arbitrary_bytes_are_read_as_prost_reads_them(frame in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(send) = read(&frame) {
                let request = Request::decode(&frame[..]).expect("prost reads it too");
                prop_assert_eq!(Some(send), by_prost(&request));
            }
        }

        #[test]
        fn what_prost_writes_is_read(
            id in any::<u64>(), number in any::<u64>(), key in "\\PC{0,20}", data in prop::collection::vec(any::<u8>(), 0..300),
            expect_seq in any::<Option<u64>>(), is_report in any::<bool>(),
        ) {
            let kind = if is_report {
                Kind::MetaSend(MetaSend { number, report_buff: data.into() })
            } else {
                Kind::UddSend(UddSend { number, key, udd_buff: data.into(), expect_seq })
            };
            let request = Request { id, kind: Some(kind) };
            let frame = request.encode_to_vec();
            let send = read(&frame);
            prop_assert!(send.is_some());
            prop_assert_eq!(send, by_prost(&request));
        }
    }

    #[test]
    fn the_last_occurrence_of_a_field_wins() {
        let twice = [
            UddSend { number: 1, key: "a".into(), udd_buff: "x".into(), expect_seq: Some(4) }.encode_to_vec(),
            UddSend { number: 2, key: "b".into(), udd_buff: "y".into(), expect_seq: None }.encode_to_vec(),
        ];
        let body = twice.concat();
        let mut frame = vec![2 << 3 | 2, body.len() as u8];
        frame.extend(body);
        let expected = Send::Udd { number: 2, key: "b", udd_buff: b"y", expect_seq: Some(4) };
        assert_eq!(read(&frame), Some(expected));
        assert_eq!(by_prost(&Request::decode(&frame[..]).expect("decodes")), Some(expected));
    }

    #[test]
    fn what_is_no_plain_send_is_left_to_prost() {
        let get = Request { id: 7, kind: Some(Kind::UddGet(UddGet { key: None })) };
        let send = Request { id: 0, kind: Some(Kind::UddSend(UddSend::default())) };
        let both = [send.encode_to_vec(), get.encode_to_vec()].concat();
        let again = [send.encode_to_vec(), send.encode_to_vec()].concat();
        let bad_key = [2 << 3 | 2, 3, 2 << 3 | 2, 1, 0xff];
        for frame in [&get.encode_to_vec()[..], &both, &again, &bad_key, &[], &[8]] {
            assert_eq!(read(frame), None, "{frame:?}");
        }
    }
}

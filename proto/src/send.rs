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
/// Wire types, in the low bits of a field's key.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// The send that a `Request` frame (without its length) holds; `None` when it is anything but a plain send.
#[inline]
#[must_use]
pub fn read(frame: &[u8]) -> Option<Send<'_>> {
    // As the SDKs write it: one arm and nothing else.
    let mut rest = frame;
    let key = varint(&mut rest)?;
    if key == key_of(UDD_SEND, BYTES) && varint(&mut rest)? == rest.len() as u64 {
        return udd(rest);
    }
    read_any(frame)
}

fn read_any(frame: &[u8]) -> Option<Send<'_>> {
    let mut rest = frame;
    let mut send = None;
    while !rest.is_empty() {
        let key = key(&mut rest)?;
        match (key >> 3, key & 7, &send) {
            (ID, VARINT, _) => drop(varint(&mut rest)?),
            (UDD_SEND, BYTES, None) => send = Some(udd(bytes(&mut rest)?)?),
            (META_SEND, BYTES, None) => send = Some(meta(bytes(&mut rest)?)?),
            (tag, ..) if tag > LAST_KIND => skip(key, &mut rest)?,
            _ => return None,
        }
    }
    send
}

#[inline]
fn udd(body: &[u8]) -> Option<Send<'_>> {
    let (mut number, mut udd_key, mut udd_buff, mut expect_seq) = (0, "", &[][..], None);
    let mut rest = body;
    while !rest.is_empty() {
        let key = key(&mut rest)?;
        match (key >> 3, key & 7) {
            (1, VARINT) => number = varint(&mut rest)?,
            (2, BYTES) => udd_key = std::str::from_utf8(bytes(&mut rest)?).ok()?,
            (3, BYTES) => udd_buff = bytes(&mut rest)?,
            (4, FIXED64) => expect_seq = Some(u64::from_le_bytes(*take(&mut rest, 8)?.first_chunk()?)),
            (1..=4, _) => return None,
            _ => skip(key, &mut rest)?,
        }
    }
    Some(Send::Udd { number, key: udd_key, udd_buff, expect_seq })
}

fn meta(body: &[u8]) -> Option<Send<'_>> {
    let (mut number, mut report_buff) = (0, &[][..]);
    let mut rest = body;
    while !rest.is_empty() {
        let key = key(&mut rest)?;
        match (key >> 3, key & 7) {
            (1, VARINT) => number = varint(&mut rest)?,
            (2, BYTES) => report_buff = bytes(&mut rest)?,
            (1..=2, _) => return None,
            _ => skip(key, &mut rest)?,
        }
    }
    Some(Send::Meta { number, report_buff })
}

const fn key_of(tag: u64, wire_type: u64) -> u64 {
    tag << 3 | wire_type
}

/// Takes a field's key: its tag and wire type.
#[inline]
fn key(rest: &mut &[u8]) -> Option<u64> {
    varint(rest).filter(|key| *key <= u64::from(u32::MAX) && key >> 3 > 0)
}

#[inline]
fn bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(rest)?).ok()?;
    take(rest, length)
}

/// Passes over the value of a field that means nothing here; groups are left to prost.
fn skip(key: u64, rest: &mut &[u8]) -> Option<()> {
    match key & 7 {
        VARINT => varint(rest).map(drop),
        FIXED64 => take(rest, 8).map(drop),
        BYTES => bytes(rest).map(drop),
        FIXED32 => take(rest, 4).map(drop),
        _ => None,
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
        [first, second, third @ ..0x80, ref left @ ..] => {
            *rest = left;
            Some(u64::from(first & 0x7f) | u64::from(second & 0x7f) << 7 | u64::from(third) << 14)
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

//! Frames: a message's length as a varint, then the message; protobuf's own delimited form.
//!
//! [`Decoder`] is fed whatever a socket gave and yields whole messages as slices of it, so that one read of 64 KiB
//! serves hundreds of frames without a copy.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

/// Longest varint of a length, in bytes.
pub const MAX_PREFIX: usize = 10;

/// Why a stream of frames cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is more than the stream's maximum.
    #[error("a frame of {length} bytes is larger than the limit of {max} bytes")]
    TooLarge {
        /// What the frame says it holds.
        length: u64,
        /// What the decoder takes.
        max: usize,
    },
    /// The length is no varint.
    #[error("what stands where a frame's length should be is no varint")]
    BadLength,
}

/// Appends `message` as one frame.
pub fn encode(message: &impl Message, out: &mut impl BufMut) {
    let length = message.encoded_len();
    prost::encoding::encode_varint(length as u64, out);
    message.encode_raw(out);
}

/// `message` as one frame.
#[must_use]
pub fn to_vec(message: &impl Message) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.encoded_len() + MAX_PREFIX);
    encode(message, &mut out);
    out
}

/// What stands at the start of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// A whole frame: its prefix's length and its message's length.
    Whole {
        /// Bytes of the length prefix.
        prefix: usize,
        /// Bytes of the message.
        length: usize,
    },
    /// Not yet a whole frame; at least this many more bytes are needed.
    Partial {
        /// A lower bound of what is missing.
        missing: usize,
    },
}

/// Looks at the start of `buffer` without taking anything from it.
#[inline]
pub fn peek(buffer: &[u8], max: usize) -> Result<Head, FrameError> {
    let mut length = 0u64;
    for (i, byte) in buffer.iter().enumerate().take(MAX_PREFIX) {
        if i == MAX_PREFIX - 1 && *byte > 1 {
            return Err(FrameError::BadLength);
        }
        length |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return head(length, i + 1, buffer.len(), max);
        }
    }
    Ok(Head::Partial { missing: 1 })
}

#[inline]
fn head(length: u64, prefix: usize, have: usize, max: usize) -> Result<Head, FrameError> {
    if length > max as u64 {
        return Err(FrameError::TooLarge { length, max });
    }
    let length = length as usize;
    let whole = prefix + length;
    if have < whole { Ok(Head::Partial { missing: whole - have }) } else { Ok(Head::Whole { prefix, length }) }
}

/// Cuts a byte stream into frames.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    max: usize,
}

impl Decoder {
    /// A decoder that takes frames of up to `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { buffer: BytesMut::new(), max }
    }

    /// From the next frame on, take frames of up to `max` bytes.
    pub fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// The buffer to read into; what is appended to it is the stream's continuation.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole message's bytes, or `None` until more was read. After an error the stream is lost.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        match peek(&self.buffer, self.max)? {
            Head::Whole { prefix, length } => {
                self.buffer.advance(prefix);
                Ok(Some(self.buffer.split_to(length).freeze()))
            }
            Head::Partial { missing } => {
                // A large frame gets its room at once: doubling would copy it again and again.
                self.buffer.reserve(missing);
                Ok(None)
            }
        }
    }

    /// Is there a part of a frame that has not come whole?
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        !self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Request, UddSend, request};
    use proptest::prelude::*;

    fn send(key: &str, data: Vec<u8>, number: u64) -> Request {
        let udd_send = UddSend { number, key: key.into(), udd_buff: data.into(), expect_seq: None };
        Request { id: 0, kind: Some(request::Kind::UddSend(udd_send)) }
    }

    #[test]
    fn a_length_beyond_the_maximum_is_refused_before_its_bytes_come() {
        let mut decoder = Decoder::new(1024);
        let mut five_gib = Vec::new();
        prost::encoding::encode_varint(5 << 30, &mut five_gib);
        decoder.buffer().extend_from_slice(&five_gib);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLarge { length: 5 << 30, max: 1024 }));
        assert!(decoder.buffer().capacity() < 4096);
    }

    #[test]
    fn a_length_that_is_no_varint_is_refused() {
        assert_eq!(peek(&[0xff; 10], 1024), Err(FrameError::BadLength));
        assert_eq!(peek(&[0xff; 9], 1024), Ok(Head::Partial { missing: 1 }));
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_the_stream_is_cut(
            messages in prop::collection::vec(("[a-z/]{0,9}", prop::collection::vec(any::<u8>(), 0..300), any::<u64>()), 0..20),
            cut in 1usize..97,
        ) {
            let sent: Vec<Request> = messages.into_iter().map(|(k, d, n)| send(&k, d, n)).collect();
            let mut stream = Vec::new();
            sent.iter().for_each(|message| encode(message, &mut stream));
            let mut decoder = Decoder::new(4096);
            let mut got = Vec::new();
            for part in stream.chunks(cut) {
                decoder.buffer().extend_from_slice(part);
                while let Some(frame) = decoder.next_frame().expect("well formed") {
                    got.push(Request::decode(frame).expect("a request"));
                }
            }
            prop_assert_eq!(got, sent);
            prop_assert!(!decoder.is_mid_frame());
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_never_yield_more_than_came(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut decoder = Decoder::new(256);
            decoder.buffer().extend_from_slice(&bytes);
            let mut yielded = 0;
            while let Ok(Some(frame)) = decoder.next_frame() {
                yielded += frame.len() + 1;
                let _ = Request::decode(frame.clone());
                let _ = crate::v1::ServerMessage::decode(frame);
            }
            prop_assert!(yielded <= bytes.len());
        }
    }
}

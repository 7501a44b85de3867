//! The way nearly all sends go: what was found out once holds for as many sends as there is room for, until anything else
//! happens to the session.

use copo_proto::key;

use super::Session;
use super::encode::MOST_AROUND;

/// How much may be pushed without a further look. Whoever does anything else disarms first.
#[derive(Debug, Default)]
pub(super) struct Quick {
    sends: u64,
    bytes: usize,
}

impl Session {
    /// Works out how much may follow without a look: records that gather behind what is on the wire, in the open chunk, until so
    /// much is unwritten.
    pub(crate) fn arm(&mut self, unwritten: usize) {
        let is_plain = self.is_in_flight() && self.first_error.is_none() && self.final_error.is_none();
        if is_plain && self.refused.is_none() {
            let bytes = self.window.gatherable(unwritten).min(self.window_bytes.saturating_sub(self.window.bytes()));
            let sends = self.window_sends.saturating_sub(self.in_window());
            self.quick = Quick { sends, bytes: bytes.min(self.max_record) };
        }
    }

    /// From here on a look is needed.
    pub(crate) fn disarm(&mut self) {
        self.quick = Quick::default();
    }

    /// Pushes a record, if that needs no further look and leaves nothing to write yet.
    #[inline]
    pub(crate) fn push_quick(&mut self, key: &str, data: &[u8]) -> bool {
        let most = MOST_AROUND + key.len() + data.len();
        if self.quick.sends == 0 || most > self.quick.bytes || (!key.is_empty() && key::check(key).is_err()) {
            return false;
        }
        let length = self.window.gather(self.on_wire(self.next), key, data);
        self.next += 1;
        self.quick.sends -= 1;
        self.quick.bytes -= length;
        true
    }
}

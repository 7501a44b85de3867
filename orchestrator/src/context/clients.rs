//! Who sends, and which numbers were taken: exactly once for the life of a client handle (C4). Pure.

use std::collections::{HashMap, VecDeque};

use copo_proto::v1;

use super::stream::Tag;
use super::{ClientId, JoinError, Known, WINDOW};

/// After so long a client that left is not taken back, in microseconds.
const KEPT_FOR: u64 = 24 * 3600 * 1_000_000;
/// Beyond so many clients those that are expired are forgotten.
const MANY: usize = 100_000;
/// Of so many batches of a client it is known which Seqs they got. More are never unacknowledged at once, and all that is
/// known of a client is held for a day after it left.
const RANGES: usize = 4096;
/// Stands for the Seq of a number that was taken and not appended.
const CONFLICT: u64 = 0;

/// What is known of one client.
#[derive(Debug, Default)]
pub(super) struct Client {
    binding: String,
    last_number: u64,
    /// The newest numbers and their Seqs, rising; a number taken and not appended (a conflict) has Seq 0.
    taken: VecDeque<v1::Taken>,
    /// When it left; `None` while it is connected.
    left: Option<u64>,
    /// A send failed: later numbers are ignored until it is sent again.
    waiting: Option<u64>,
    /// The segment of records or reports that proves its last number.
    proof: Option<(Tag, u64)>,
    /// Segments of the stream of kept things that hold something of it: its entry, marks.
    entries: Vec<u64>,
}

/// What is to be done with a numbered send.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is the next one: append it.
    Next,
    /// It was taken before, with this Seq (0: no longer known).
    Taken(u64),
    /// It was taken before and not appended: a conflict.
    Conflict,
    /// An earlier one has to be sent again first.
    Ignored,
    /// The connection cannot go on.
    Refused(v1::ErrorCode, String),
}

/// All clients.
#[derive(Debug, Default)]
pub(super) struct Clients {
    all: HashMap<ClientId, Client>,
}

impl Clients {
    /// A client comes (back).
    pub fn join(&mut self, id: &ClientId, binding: &str, now: u64) -> Result<Known, JoinError> {
        if self.all.len() > MANY {
            self.all.retain(|_, client| !is_expired(client, now));
        }
        let fresh = || Client { binding: binding.to_owned(), ..Client::default() };
        let client = self.all.entry(*id).or_insert_with(fresh);
        // A client known only by its blocks (its entry was damaged) takes the binding it comes with.
        if client.binding.is_empty() {
            binding.clone_into(&mut client.binding);
        }
        if is_expired(client, now) {
            return Err(JoinError::Expired);
        }
        if client.binding != binding {
            return Err(JoinError::NotBound);
        }
        (client.left, client.waiting) = (None, None);
        Ok(Known { last_number: client.last_number, taken: client.appended() })
    }

    /// A client's connection ended.
    pub fn leave(&mut self, id: &ClientId, now: u64) {
        // Who never sent anything can come back as if it were new.
        if self.all.get(id).is_some_and(|client| client.last_number == 0) {
            self.all.remove(id);
        }
        if let Some(client) = self.all.get_mut(id) {
            client.left = Some(now);
        }
    }

    /// What is to be done with this number?
    pub fn judge(&mut self, id: &ClientId, number: u64) -> Judgement {
        let Some(client) = self.all.get_mut(id) else {
            return Judgement::Refused(v1::ErrorCode::Internal, "cannot take a send: its client has not joined".into());
        };
        match client.waiting {
            Some(waiting) if number > waiting => return Judgement::Ignored,
            Some(waiting) if number == waiting => client.waiting = None,
            Some(_) | None => {}
        }
        let next = client.last_number + 1;
        if number == next {
            return Judgement::Next;
        }
        if number < next {
            return client.seq_of(number);
        }
        if client.last_number == 0 {
            let why = format!("cannot go on at send {number}: this client is not known (any more)");
            return Judgement::Refused(v1::ErrorCode::Expired, why);
        }
        Judgement::Refused(v1::ErrorCode::Malformed, format!("cannot take send {number}: {next} has not come"))
    }

    /// A send failed: later ones wait for it.
    pub fn fail(&mut self, id: &ClientId, number: u64) {
        if let Some(client) = self.all.get_mut(id) {
            client.waiting = Some(number);
        }
    }

    /// Numbers were taken and appended to a segment.
    pub fn took(&mut self, id: &ClientId, taken: v1::Taken, segment: (Tag, u64)) {
        let client = self.all.entry(*id).or_default();
        client.take(taken);
        // Recovery reads stream by stream: what proves the last number may have come before.
        if taken.first_number + taken.count > client.last_number {
            client.proof = Some(segment);
        }
    }

    /// A number was taken and not appended, and a segment of kept things says so.
    pub fn marked(&mut self, id: &ClientId, number: u64, segment: u64) {
        let client = self.all.entry(*id).or_default();
        client.take(v1::Taken { first_number: number, first_seq: CONFLICT, count: 1 });
        client.wrote(segment);
    }

    /// Has the client an entry among the kept things? Its binding stands nowhere else.
    pub fn has_entry(&self, id: &ClientId) -> bool {
        self.all.get(id).is_some_and(|client| !client.entries.is_empty())
    }

    /// The client's entry was written to this segment; what earlier ones say of it is in there too.
    pub fn wrote_entry(&mut self, id: &ClientId, segment: u64) {
        if let Some(client) = self.all.get_mut(id) {
            client.entries = vec![segment];
        }
    }

    /// Whose last number is proven by a segment that is about to go.
    pub fn proven_in(&self, tag: Tag, segment: u64) -> Vec<ClientId> {
        let there = |client: &Client| match tag {
            Tag::Kept => client.entries.contains(&segment),
            Tag::Records | Tag::Reports => client.proof == Some((tag, segment)),
        };
        self.all.iter().filter(|(_, client)| there(client)).map(|(id, _)| *id).collect()
    }

    /// A client's entry: its last number, when it left (0: it has not), and the rest as bytes.
    pub fn entry(&self, id: &ClientId) -> Option<(u64, u64, Vec<u8>)> {
        let client = self.all.get(id)?;
        let mut bytes = (client.binding.len() as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(client.binding.as_bytes());
        for taken in &client.taken {
            for number in [taken.first_number, taken.first_seq, taken.count] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
        Some((client.last_number, client.left.unwrap_or(0), bytes))
    }

    /// An entry was found at recovery. `None` when it makes no sense.
    pub fn found_entry(&mut self, id: &ClientId, last_number: u64, left: u64, bytes: &[u8], at: u64) -> Option<()> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (binding, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let client = self.all.entry(*id).or_default();
        client.binding = String::from_utf8(binding.to_vec()).ok()?;
        client.last_number = client.last_number.max(last_number);
        client.left = (left > 0).then_some(left);
        client.wrote(at);
        for range in rest.chunks_exact(24) {
            let number = |i: usize| u64::from_le_bytes(*range[8 * i..].first_chunk().expect("24 bytes"));
            client.take(v1::Taken { first_number: number(0), first_seq: number(1), count: number(2) });
        }
        Some(())
    }

    /// Recovery is over: nobody is connected. Who was when the orchestrator died has its 24 hours from now on.
    pub fn recovered(&mut self, now: u64) {
        for client in self.all.values_mut() {
            let unknown = client.left.is_none() || client.proof.is_some();
            client.left = if unknown { Some(now) } else { client.left };
        }
    }

    /// Bytes that entries of all clients take, roughly.
    pub fn entries_size(&self) -> usize {
        self.all.values().map(|client| 160 + client.binding.len() + 24 * client.taken.len()).sum()
    }
}

fn is_expired(client: &Client, now: u64) -> bool {
    client.left.is_some_and(|left| now.saturating_sub(left) > KEPT_FOR)
}

impl Client {
    fn wrote(&mut self, segment: u64) {
        if self.entries.last() != Some(&segment) {
            self.entries.push(segment);
        }
    }

    fn seq_of(&self, number: u64) -> Judgement {
        let after = self.taken.partition_point(|range| range.first_number <= number);
        let Some(range) = after.checked_sub(1).map(|place| self.taken[place]) else { return Judgement::Taken(0) };
        let inside = number - range.first_number;
        if inside >= range.count {
            return Judgement::Taken(0);
        }
        if range.first_seq == CONFLICT { Judgement::Conflict } else { Judgement::Taken(range.first_seq + inside) }
    }

    fn appended(&self) -> Vec<v1::Taken> {
        self.taken.iter().filter(|range| range.first_seq != CONFLICT).copied().collect()
    }

    /// Notes numbers that were taken; ranges come in rising order but for recovery, which reads stream by stream.
    fn take(&mut self, taken: v1::Taken) {
        let last = taken.first_number + taken.count - 1;
        self.last_number = self.last_number.max(last);
        let oldest = (self.last_number + 1).saturating_sub(u64::from(WINDOW));
        if last < oldest {
            return;
        }
        match self.taken.back_mut() {
            Some(back) if follows(back, &taken) => back.count += taken.count,
            Some(back) if back.first_number + back.count > taken.first_number => self.take_out_of_order(taken),
            Some(_) | None => self.taken.push_back(taken),
        }
        let is_old = |front: &v1::Taken| front.first_number + front.count <= oldest;
        while self.taken.len() > RANGES || self.taken.front().is_some_and(is_old) {
            self.taken.pop_front();
        }
    }

    fn take_out_of_order(&mut self, taken: v1::Taken) {
        let place = self.taken.partition_point(|range| range.first_number < taken.first_number);
        let before = place.checked_sub(1).map(|place| self.taken[place]);
        let known = |range: &v1::Taken| range.first_number + range.count >= taken.first_number + taken.count;
        let is_known = before.as_ref().is_some_and(known)
            || self.taken.get(place).is_some_and(|range| range.first_number == taken.first_number && known(range));
        if !is_known {
            self.taken.insert(place, taken);
        }
    }
}

fn follows(back: &v1::Taken, taken: &v1::Taken) -> bool {
    let appended = back.first_seq != CONFLICT && taken.first_seq != CONFLICT;
    appended && back.first_number + back.count == taken.first_number && back.first_seq + back.count == taken.first_seq
}

#[cfg(test)]
#[path = "clients_tests.rs"]
mod tests;

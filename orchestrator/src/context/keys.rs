//! The newest record of each key: its Seq, and where it is kept once its segment is gone. Pure.
//!
//! ```text
//!   appended ──▶ recent ──(retention passes)──▶ beyond ──(more than retain.keys)──▶ forgotten
//!                   ▲                              │
//!                   └────── a newer record ◀───────┘
//! ```
//! Both lists are in Seq order and may hold entries that are no longer their key's newest; those are skipped when they
//! are met. So each record is touched once when it comes and once when it leaves.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// A kept record: number of the segment in the stream of kept things, and the block's place in it.
pub(super) type KeptAt = (u64, usize);

#[derive(Debug)]
struct Slot {
    key: Rc<str>,
    seq: u64,
    kept: Option<KeptAt>,
    beyond: bool,
}

/// The index. The key `""` is in it too, but is not kept beyond retention.
#[derive(Debug, Default)]
pub(super) struct Keys {
    slots: HashMap<Rc<str>, Slot>,
    recent: VecDeque<(u64, Rc<str>)>,
    beyond: VecDeque<(u64, Rc<str>)>,
    /// How many keys are beyond retention.
    beyond_keys: usize,
    /// At most so many stay.
    limit: usize,
    unkeyed: u64,
}

impl Keys {
    pub fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// From here on at most so many stay.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// A record of this key was appended.
    pub fn note(&mut self, key: &str, seq: u64) {
        if key.is_empty() {
            self.unkeyed = seq;
            return;
        }
        let Some(slot) = self.slots.get_mut(key) else { return self.insert(key, seq, None) };
        if slot.beyond {
            self.beyond_keys -= 1;
        }
        (slot.seq, slot.kept, slot.beyond) = (seq, None, false);
        self.recent.push_back((seq, Rc::clone(&slot.key)));
        if self.recent.len() > 2 * self.slots.len() + 1024 {
            let slots = &self.slots;
            self.recent.retain(|(seq, key)| slots.get(key).is_some_and(|slot| slot.seq == *seq && !slot.beyond));
        }
    }

    fn insert(&mut self, key: &str, seq: u64, kept: Option<KeptAt>) {
        let key: Rc<str> = key.into();
        self.slots.insert(Rc::clone(&key), Slot { key: Rc::clone(&key), seq, kept, beyond: false });
        self.recent.push_back((seq, key));
    }

    /// A kept record was found at recovery. These come first, in any order; call [`Keys::recovered`] before `note`.
    pub fn found_kept(&mut self, key: &str, seq: u64, at: KeptAt) {
        match self.slots.get_mut(key) {
            Some(slot) if slot.seq > seq => {}
            Some(slot) => (slot.seq, slot.kept) = (seq, Some(at)),
            None => self.insert(key, seq, Some(at)),
        }
    }

    /// All kept records are found.
    pub fn recovered(&mut self) {
        let mut order: Vec<_> = self.slots.values().map(|slot| (slot.seq, Rc::clone(&slot.key))).collect();
        order.sort_by_key(|(seq, _)| *seq);
        self.recent = order.into();
    }

    /// Retention has passed all Seqs below `first`.
    pub fn settle(&mut self, first: u64) {
        while self.recent.front().is_some_and(|(seq, _)| *seq < first) {
            let (seq, key) = self.recent.pop_front().expect("seen");
            if let Some(slot) = self.slots.get_mut(&key).filter(|slot| slot.seq == seq && !slot.beyond) {
                slot.beyond = true;
                self.beyond_keys += 1;
                self.beyond.push_back((seq, key));
            }
        }
        while self.beyond_keys > self.limit {
            let Some((seq, key)) = self.beyond.pop_front() else { break };
            if self.slots.get(&key).is_some_and(|slot| slot.seq == seq) {
                self.slots.remove(&key);
                self.beyond_keys -= 1;
            }
        }
        // Entries of keys that have a newer record again would pile up behind a front that stays.
        if self.beyond.len() > 2 * self.beyond_keys + 1024 {
            let slots = &self.slots;
            self.beyond.retain(|(seq, key)| slots.get(key).is_some_and(|slot| slot.seq == *seq && slot.beyond));
        }
    }

    /// The newest record of a key; 0 when there is none. For `""` retention is the caller's to ask.
    pub fn newest(&self, key: &str) -> u64 {
        if key.is_empty() { self.unkeyed } else { self.slots.get(key).map_or(0, |slot| slot.seq) }
    }

    /// Where a key's newest record is kept, once it is.
    pub fn kept_at(&self, key: &str) -> Option<KeptAt> {
        self.slots.get(key).and_then(|slot| slot.kept)
    }

    /// The newest of the records that are beyond retention and still readable by key.
    pub fn newest_beyond(&self) -> Option<Rc<str>> {
        let live = |(seq, key): &&(u64, Rc<str>)| self.slots.get(key).is_some_and(|slot| slot.seq == *seq);
        self.beyond.iter().rev().find(live).map(|(_, key)| Rc::clone(key))
    }

    /// What has to be copied when the segment with the Seqs `first..=last` goes: newest records that are beyond retention
    /// and lie in it.
    pub fn to_keep(&self, first: u64, last: u64) -> Vec<(Rc<str>, u64)> {
        let from = self.beyond.partition_point(|(seq, _)| *seq < first);
        let inside = self.beyond.range(from..).take_while(|(seq, _)| *seq <= last);
        let live = |seq: u64, key: &Rc<str>| self.slots.get(key).is_some_and(|s| s.seq == seq && s.kept.is_none());
        inside.filter(|(seq, key)| live(*seq, key)).map(|(seq, key)| (Rc::clone(key), *seq)).collect()
    }

    /// The kept records in a segment of the stream of kept things.
    pub fn kept_in(&self, segment: u64) -> Vec<(Rc<str>, KeptAt)> {
        let inside = |slot: &&Slot| slot.kept.is_some_and(|(id, _)| id == segment);
        self.slots.values().filter(inside).filter_map(|slot| Some((Rc::clone(&slot.key), slot.kept?))).collect()
    }

    /// A key's newest record is kept here from now on.
    pub fn keep(&mut self, key: &str, at: KeptAt) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.kept = Some(at);
        }
    }

    /// Places of all kept records.
    pub fn kept(&self) -> impl Iterator<Item = KeptAt> {
        self.slots.values().filter_map(|slot| slot.kept)
    }

    /// Everything was purged.
    pub fn clear(&mut self) {
        *self = Self::new(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_retention_the_newest_keys_stay_up_to_the_limit() {
        let mut keys = Keys::new(2);
        for (seq, key) in [(1, "a"), (2, "b"), (3, "c"), (4, "a"), (5, "d")] {
            keys.note(key, seq);
        }
        keys.settle(5);
        assert_eq!(["a", "b", "c", "d"].map(|key| keys.newest(key)), [4, 0, 3, 5]);
        keys.settle(6);
        assert_eq!(["a", "c", "d"].map(|key| keys.newest(key)), [4, 0, 5]);
    }

    #[test]
    fn a_key_that_comes_back_is_no_longer_counted_as_beyond() {
        let mut keys = Keys::new(1);
        keys.note("a", 1);
        keys.settle(2);
        keys.note("a", 2);
        keys.note("b", 3);
        keys.settle(3);
        assert_eq!((keys.newest("a"), keys.newest("b"), keys.beyond_keys), (2, 3, 1));
        assert_eq!(keys.to_keep(1, 9).len(), 1);
    }

    #[test]
    fn a_key_written_over_and_over_does_not_pile_up() {
        let mut keys = Keys::new(10);
        (1..100_000).for_each(|seq| {
            keys.note("a", seq);
            keys.settle(seq.saturating_sub(5));
        });
        assert!(keys.recent.len() + keys.beyond.len() < 5_000);
    }
}

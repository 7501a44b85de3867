//! What names a run: its instance and its RunId.

use std::fmt;

use crate::plan::PrcId;

/// One instance of a process: the process and its number, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance {
    /// The process.
    pub prc: PrcId,
    /// Its number, from 1; internal name `<name>-<number>`.
    pub number: u32,
}

/// Names one run, for ever: a UUIDv7.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RunId(uuid::Uuid);

impl RunId {
    /// Its sixteen bytes.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// Reads a RunId as written by [`fmt::Display`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::parse_str(text).ok().map(Self)
    }

    /// A number from 0 to 1 that differs from run to run as its id does: for what is to differ between runs and yet to be
    /// the same when their events are replayed.
    #[must_use]
    pub fn chance(&self) -> f64 {
        // The last six bytes are all random.
        let random = self.0.as_u128() & 0xffff_ffff_ffff;
        random as f64 / 0xffff_ffff_ffff_u64 as f64
    }
}

impl From<RunId> for String {
    fn from(run: RunId) -> Self {
        run.to_string()
    }
}

impl TryFrom<String> for RunId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is no RunId"))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Makes RunIds: the same seed and the same times give the same ids, so that a run of events can be replayed.
#[derive(Debug, Clone)]
pub struct RunSeed {
    state: u64,
}

impl RunSeed {
    /// A maker of RunIds; the edge gives it randomness from the system.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next RunId, for a run decided at `wall` (microseconds since the Unix epoch).
    pub fn next_id(&mut self, wall: u64) -> RunId {
        let (high, low) = (self.next_word().to_be_bytes(), self.next_word().to_be_bytes());
        let mut random = [0; 10];
        random[..8].copy_from_slice(&high);
        random[8..].copy_from_slice(&low[..2]);
        RunId(uuid::Builder::from_unix_timestamp_millis(wall / 1000, &random).into_uuid())
    }

    /// A number that is of this maker and of none of its ids.
    pub(super) fn salt(&self) -> u64 {
        self.clone().next_word().rotate_left(32)
    }

    /// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
    fn next_word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

//! With `when_full = "wait"`: what connected subscribers have still to read, and who holds publishers up for how long.
//!
//! A subscriber that makes no progress for `wait_limit` while publishers wait for it no longer counts: it is told the gap
//! when it reads again, and counts anew from there. One that reads slowly slows publishers down to its speed.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::line::LineId;
use crate::context::Floor;

/// The places of all subscribers that count.
#[derive(Debug, Default)]
pub(super) struct Floors {
    lowest: BTreeSet<(Floor, LineId)>,
    of_line: HashMap<LineId, Floor>,
    /// The lowest one, since publishers wait for it: it is given up at this time if it has not moved.
    stalled: Option<(Floor, Instant)>,
}

impl Floors {
    /// A subscriber has still to read from here (`None`: nothing). True when that changes the lowest place.
    pub(super) fn set(&mut self, line: LineId, floor: Option<Floor>) -> bool {
        let before = self.lowest();
        let old = match floor {
            Some(floor) => self.of_line.insert(line, floor),
            None => self.of_line.remove(&line),
        };
        if let Some(old) = old {
            self.lowest.remove(&(old, line));
        }
        if let Some(floor) = floor {
            self.lowest.insert((floor, line));
        }
        before != self.lowest()
    }

    /// The lowest place that a subscriber has still to read from.
    pub(super) fn lowest(&self) -> Option<Floor> {
        self.lowest.first().map(|(floor, _)| *floor)
    }

    /// Publishers wait: answers until when, at most.
    pub(super) fn stall(&mut self, now: Instant, limit: Duration) -> Option<Instant> {
        let lowest = self.lowest()?;
        match self.stalled {
            Some((floor, until)) if floor == lowest => Some(until),
            Some(_) | None => {
                let until = now + limit;
                self.stalled = Some((lowest, until));
                Some(until)
            }
        }
    }

    /// Gives up those that hold publishers up for too long. True when that changes the lowest place.
    pub(super) fn give_up(&mut self, now: Instant) -> bool {
        let Some((floor, until)) = self.stalled else { return false };
        if now < until || self.lowest() != Some(floor) {
            return false;
        }
        self.stalled = None;
        while let Some(&(lowest, line)) = self.lowest.first()
            && lowest == floor
        {
            self.lowest.pop_first();
            self.of_line.remove(&line);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);
    const A: LineId = LineId(1);
    const B: LineId = LineId(2);

    fn floor(count: u64) -> Option<Floor> {
        Some(Floor::at(count, 100 * count))
    }

    #[test]
    fn the_lowest_place_counts() {
        let mut floors = Floors::default();
        assert!(floors.set(A, floor(5)));
        assert!(!floors.set(B, floor(7)));
        assert!(floors.set(A, floor(9)));
        assert_eq!(floors.lowest(), floor(7));
        assert!(floors.set(B, None));
        assert_eq!(floors.lowest(), floor(9));
        assert!(floors.set(A, None));
        assert_eq!(floors.lowest(), None);
    }

    #[test]
    fn who_stands_still_for_too_long_no_longer_counts_until_it_reads_again() {
        let mut floors = Floors::default();
        let start = Instant::now();
        floors.set(A, floor(1));
        floors.set(B, floor(4));
        assert_eq!(floors.stall(start, LIMIT), Some(start + LIMIT));
        assert!(!floors.give_up(start + LIMIT / 2));
        assert_eq!(floors.stall(start + LIMIT / 2, LIMIT), Some(start + LIMIT), "the first wait counts");
        assert!(floors.give_up(start + LIMIT));
        assert_eq!(floors.lowest(), floor(4));
        assert!(floors.set(A, floor(2)));
        assert_eq!(floors.lowest(), floor(2));
    }

    #[test]
    fn who_moves_has_its_time_anew() {
        let mut floors = Floors::default();
        let start = Instant::now();
        floors.set(A, floor(1));
        floors.stall(start, LIMIT);
        floors.set(A, floor(2));
        assert!(!floors.give_up(start + LIMIT));
        assert_eq!(floors.stall(start + LIMIT, LIMIT), Some(start + 2 * LIMIT));
    }
}

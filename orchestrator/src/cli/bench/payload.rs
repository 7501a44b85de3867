//! What a record of a measurement holds: who sent it, as which one, and when. And the check that every one came, once, in
//! order.

/// Bytes of the stamp: publisher (4), number (8), time (8).
pub const STAMP: usize = 20;

/// Writes the stamp.
pub fn stamp(data: &mut [u8], publisher: u32, number: u64, time: u64) {
    data[..4].copy_from_slice(&publisher.to_le_bytes());
    data[4..12].copy_from_slice(&number.to_le_bytes());
    data[12..STAMP].copy_from_slice(&time.to_le_bytes());
}

/// Reads the stamp: publisher, number, time; `None`: this is none of ours.
pub fn read(data: &[u8]) -> Option<(u32, u64, u64)> {
    let publisher = u32::from_le_bytes(data.get(..4)?.try_into().ok()?);
    let number = u64::from_le_bytes(data.get(4..12)?.try_into().ok()?);
    let time = u64::from_le_bytes(data.get(12..STAMP)?.try_into().ok()?);
    Some((publisher, number, time))
}

/// What a subscriber has received.
#[derive(Debug, Default)]
pub struct Tally {
    next: Vec<u64>,
    /// Records received.
    pub received: u64,
    /// Records that were passed over.
    pub lost: u64,
    /// Records that came again at once.
    pub duplicated: u64,
    /// Records that came after a later one.
    pub reordered: u64,
}

impl Tally {
    /// For so many publishers.
    pub fn new(publishers: usize) -> Self {
        Self { next: vec![0; publishers], ..Self::default() }
    }

    /// Takes note of a record.
    pub fn take(&mut self, publisher: u32, number: u64) {
        self.received += 1;
        let Some(next) = self.next.get_mut(publisher as usize) else {
            self.reordered += 1;
            return;
        };
        match number.checked_sub(*next) {
            Some(passed_over) => {
                self.lost += passed_over;
                *next = number + 1;
            }
            None if number + 1 == *next => self.duplicated += 1,
            None => self.reordered += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_tells_lost_doubled_and_reordered_apart() {
        let mut tally = Tally::new(2);
        for (publisher, number) in [(0, 0), (1, 0), (0, 1), (0, 1), (0, 4), (0, 2), (1, 1)] {
            tally.take(publisher, number);
        }
        assert_eq!((tally.received, tally.lost, tally.duplicated, tally.reordered), (7, 2, 1, 1));
    }

    #[test]
    fn a_stamp_comes_out_as_it_went_in() {
        let mut data = [0; 32];
        stamp(&mut data, 7, 1 << 40, 99);
        assert_eq!(read(&data), Some((7, 1 << 40, 99)));
        assert_eq!(read(&data[..10]), None);
    }
}

//! When which part of a log was written: an index beside the log, so that the log holds exactly what the process wrote.
//!
//! Entries of 16 bytes: offset in the log file (u64 LE), time (u64 LE, microseconds since the Unix epoch). An entry says
//! when the bytes from its offset on were read from the process; there is at most one for each chunk and each millisecond.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::layout;

/// Bytes of one entry.
pub const ENTRY: usize = 16;
/// Chunks that follow an entry within this time, in microseconds, share it.
const RESOLUTION: u64 = 1000;

/// The index of one log file, read whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimeIndex {
    entries: Vec<(u64, u64)>,
}

impl TimeIndex {
    /// Reads the index that stands beside a log file; one that is not there is empty.
    ///
    /// # Errors
    /// It is there, but cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(bytes) => Ok(Self::parse(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// When the byte at `offset` of the log file was read from the process, in microseconds since the Unix epoch.
    #[must_use]
    pub fn time_of(&self, offset: u64) -> Option<u64> {
        let after = self.entries.partition_point(|(start, _)| *start <= offset);
        self.entries[..after].last().map(|(_, time)| *time)
    }

    /// The offset from which on the newest entry holds.
    #[must_use]
    pub fn newest_offset(&self) -> Option<u64> {
        self.entries.last().map(|(offset, _)| *offset)
    }

    /// Takes in further entries, as they stand in the file.
    pub fn extend(&mut self, bytes: &[u8]) {
        let word = |entry: &[u8], at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().expect("eight bytes"));
        self.entries.extend(bytes.chunks_exact(ENTRY).map(|entry| (word(entry, 0), word(entry, 8))));
    }

    /// The bytes of an entry that a kill cut off are passed over.
    fn parse(bytes: &[u8]) -> Self {
        let mut index = Self::default();
        index.extend(bytes);
        index
    }
}

/// Writes the index of the current log file.
#[derive(Debug)]
pub(super) struct TimeWriter {
    file: File,
    len: u64,
    last: Option<u64>,
}

impl TimeWriter {
    /// Goes on with the index of a log file that holds `log_len` bytes.
    pub(super) fn open(path: &Path, log_len: u64) -> io::Result<Self> {
        let known = TimeIndex::open(path)?;
        // What points behind the end of the log belongs to a log that someone emptied.
        let sound = known.entries.partition_point(|(offset, _)| *offset < log_len);
        let file = layout::private_file().append(true).open(path)?;
        let len = (sound * ENTRY) as u64;
        file.set_len(len)?;
        Ok(Self { file, len, last: None })
    }

    /// Notes that the bytes from `offset` on were read at `time`.
    pub(super) fn note(&mut self, offset: u64, time: u64) -> io::Result<()> {
        if self.last.is_some_and(|last| last <= time && time - last < RESOLUTION) {
            return Ok(());
        }
        let mut entry = [0; ENTRY];
        entry[..8].copy_from_slice(&offset.to_le_bytes());
        entry[8..].copy_from_slice(&time.to_le_bytes());
        // Half an entry, from a full disk, would shift all that follow.
        self.file.write_all(&entry).inspect_err(|_| drop(self.file.set_len(self.len)))?;
        self.len += ENTRY as u64;
        self.last = Some(time);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_has_the_time_of_the_chunk_it_came_in() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("web-1.times");
        let mut writer = TimeWriter::open(&path, 0).expect("made");
        for (offset, time) in [(0, 10_000), (100, 10_500), (200, 11_000), (300, 20_000)] {
            writer.note(offset, time).expect("written");
        }

        let index = TimeIndex::open(&path).expect("read");

        assert_eq!([0, 150, 250, 999].map(|at| index.time_of(at)), [10_000, 10_000, 11_000, 20_000].map(Some));
    }

    #[test]
    fn a_torn_entry_and_entries_of_a_lost_log_are_passed_over() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("web-1.times");
        let mut writer = TimeWriter::open(&path, 0).expect("made");
        writer.note(0, 10_000).expect("written");
        writer.note(500, 20_000).expect("written");
        writer.file.write_all(b"torn").expect("written");

        assert_eq!(TimeIndex::open(&path).expect("read").time_of(600), Some(20_000));
        let mut writer = TimeWriter::open(&path, 400).expect("opened again");
        writer.note(400, 30_000).expect("written");

        let index = TimeIndex::open(&path).expect("read");
        assert_eq!([399, 600].map(|at| index.time_of(at)), [Some(10_000), Some(30_000)]);
        assert_eq!(TimeIndex::open(&folder.path().join("none")).expect("nothing").time_of(0), None);
    }
}

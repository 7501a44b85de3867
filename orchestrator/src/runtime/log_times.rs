//! When which part of a log was written: an index beside the log, so that the log holds exactly what the process wrote.
//!
//! A head, then entries of 16 bytes: offset in the log file (u64 LE), time (u64 LE, microseconds since the Unix epoch). An
//! entry says when the bytes from its offset on were read from the process; there is at most one for each chunk and each
//! millisecond. The head says what came before this file, so that a reader knows what it has missed: a word that no entry
//! begins with, and a number for each of the fields of [`Head`]. An index of an earlier version has none.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::log_identity;
use crate::layout;

/// Bytes of one entry.
const ENTRY: usize = 16;
/// Chunks that follow an entry within this time, in microseconds, share it.
const RESOLUTION: u64 = 1000;
/// How a head begins: no log is as long as this offset says.
const MARK: [u8; 8] = *b"copolog\xff";
/// Bytes of a head: as many as three entries.
const HEAD: usize = 48;

/// Where a log file stands among all that its instance has ever written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The same in all files that followed each other without a hole.
    pub chain: u64,
    /// Bytes in the files before this one.
    pub bytes: u64,
    /// Line ends in the files before this one.
    pub lines: u64,
    /// The number of the log file that this index belongs to, as its file system tells it.
    pub file: u64,
}

impl Head {
    /// Of the first file there is: nothing is known of what was before.
    fn first(log: &File) -> io::Result<Self> {
        let mut chain = [0; 8];
        getrandom::fill(&mut chain).map_err(io::Error::other)?;
        Ok(Self { chain: u64::from_le_bytes(chain), bytes: 0, lines: 0, file: log_identity::of(log)?.1 })
    }

    /// Of the file that follows one with this head, which held so much.
    fn next(self, bytes: u64, lines: u64, log: &File) -> io::Result<Self> {
        let (bytes, lines) = (self.bytes + bytes, self.lines + lines);
        Ok(Self { bytes, lines, file: log_identity::of(log)?.1, ..self })
    }

    fn to_bytes(self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&MARK);
        for (place, word) in head[8..].chunks_exact_mut(8).zip([self.chain, self.bytes, self.lines, self.file]) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        head
    }

    fn parse(head: &[u8]) -> Self {
        Self { chain: word(head, 8), bytes: word(head, 16), lines: word(head, 24), file: word(head, 32) }
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The index of one log file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimeIndex {
    head: Option<Head>,
    entries: Vec<(u64, u64)>,
    /// Bytes of an entry whose others have not come yet.
    rest: Vec<u8>,
}

impl TimeIndex {
    /// Reads the index that stands beside a log file; one that is not there is empty.
    ///
    /// # Errors
    /// It is there, but cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut index = Self::default();
        match fs::read(path) {
            // The bytes of an entry that a kill cut off are passed over.
            Ok(bytes) => index.extend(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(index)
    }

    /// What is known of the files before.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        self.head
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

    /// Takes in what follows in the file.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let mut whole = self.rest.as_slice();
        if self.head.is_none() && self.entries.is_empty() && whole.starts_with(&MARK) {
            let Some((head, entries)) = whole.split_at_checked(HEAD) else { return };
            self.head = Some(Head::parse(head));
            whole = entries;
        }
        let entries = whole.chunks_exact(ENTRY);
        let left = entries.remainder().len();
        self.entries.extend(entries.map(|entry| (word(entry, 0), word(entry, 8))));
        self.rest.drain(..self.rest.len() - left);
    }
}

/// Writes the index of the current log file.
#[derive(Debug)]
pub(super) struct TimeWriter {
    file: File,
    head: Option<Head>,
    len: u64,
    last: Option<u64>,
}

impl TimeWriter {
    /// Goes on with the index of a log file that holds `log_len` bytes; `follows` is the head of a new one.
    pub(super) fn open(path: &Path, log: &File, log_len: u64, follows: Option<Follows>) -> io::Result<Self> {
        let known = TimeIndex::open(path)?;
        // Another log's that was removed, or turned when a kill kept this one from turning.
        let is_its_own = match known.head {
            // Numbers are given again: of an empty one that is no proof.
            Some(head) => head.file == log_identity::of(log)?.1 && (log_len > 0 || known.entries.is_empty()),
            None => log_len > 0,
        };
        let mut file = layout::private_file().append(true).open(path)?;
        if !is_its_own {
            let head = match follows {
                Some(Follows { head, bytes, lines }) => head.next(bytes, lines, log)?,
                None => Head::first(log)?,
            };
            file.set_len(0)?;
            file.write_all(&head.to_bytes())?;
            return Ok(Self { file, head: Some(head), len: HEAD as u64, last: None });
        }
        // What points behind the end of the log belongs to a log that someone emptied.
        let sound = known.entries.partition_point(|(offset, _)| *offset < log_len);
        let len = (known.head.map_or(0, |_| HEAD) + sound * ENTRY) as u64;
        file.set_len(len)?;
        Ok(Self { file, head: known.head, len, last: None })
    }

    /// What is known of the files before.
    pub(super) fn head(&self) -> Option<Head> {
        self.head
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

/// The file that a new one follows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Follows {
    /// Its head.
    pub(super) head: Head,
    /// How much it held.
    pub(super) bytes: u64,
    /// How many line ends.
    pub(super) lines: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(folder: &tempfile::TempDir) -> File {
        File::create(folder.path().join("web-1.log")).expect("made")
    }

    #[test]
    fn a_head_says_what_came_before_and_of_another_log_it_counts_for_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (path, log) = (folder.path().join("web-1.times"), log_of(&folder));
        let mut first = TimeWriter::open(&path, &log, 0, None).expect("made");
        first.note(0, 10_000).expect("written");
        let head = first.head().expect("it is new");
        assert_eq!((head.bytes, head.lines), (0, 0));
        assert_eq!(TimeWriter::open(&path, &log, 100, None).expect("opened again").head(), Some(head));

        let later = File::create(folder.path().join("later")).expect("made");
        let follows = Follows { head, bytes: 100, lines: 7 };
        let second = TimeWriter::open(&path, &later, 0, Some(follows)).expect("made anew").head().expect("it is new");
        assert_eq!((second.chain, second.bytes, second.lines), (head.chain, 100, 7));
        let index = TimeIndex::open(&path).expect("read");
        assert_eq!((index.head(), index.time_of(0)), (Some(second), None));
        assert_ne!(
            TimeWriter::open(&path, &log, 100, None).expect("opened").head().map(|new| new.chain),
            Some(head.chain)
        );
    }

    #[test]
    fn an_index_of_an_earlier_version_has_no_head_and_is_gone_on_with() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (path, log) = (folder.path().join("web-1.times"), log_of(&folder));
        fs::write(&path, [0_u64.to_le_bytes(), 10_000_u64.to_le_bytes()].concat()).expect("written");
        let mut writer = TimeWriter::open(&path, &log, 50, None).expect("opened");
        writer.note(50, 20_000).expect("written");
        assert_eq!(writer.head(), None);
        let index = TimeIndex::open(&path).expect("read");
        assert_eq!([0, 60].map(|at| index.time_of(at)), [10_000, 20_000].map(Some));
    }

    #[test]
    fn a_byte_has_the_time_of_the_chunk_it_came_in() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("web-1.times");
        let log = log_of(&folder);
        let mut writer = TimeWriter::open(&path, &log, 0, None).expect("made");
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
        let log = log_of(&folder);
        let mut writer = TimeWriter::open(&path, &log, 0, None).expect("made");
        writer.note(0, 10_000).expect("written");
        writer.note(500, 20_000).expect("written");
        writer.file.write_all(b"torn").expect("written");

        assert_eq!(TimeIndex::open(&path).expect("read").time_of(600), Some(20_000));
        let mut writer = TimeWriter::open(&path, &log, 400, None).expect("opened again");
        writer.note(400, 30_000).expect("written");

        let index = TimeIndex::open(&path).expect("read");
        assert_eq!([399, 600].map(|at| index.time_of(at)), [Some(10_000), Some(30_000)]);
        assert_eq!(TimeIndex::open(&folder.path().join("none")).expect("nothing").time_of(0), None);
    }
}

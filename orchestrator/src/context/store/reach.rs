//! The reach: how far the log has come, in a small mapped file. Every new segment moves it: replacing a file for that (the
//! meta file, which holds what changes rarely) costs as much as filling the segment.
//!
//! ```text
//!   0, 512   two places, written in turn: a kill or a cut of the power in the middle of one leaves the other
//!            generation u64, head u64, newest segment of records, reports, kept u64 each, crc32c u32; little-endian
//! ```

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use memmap2::MmapRaw;

use super::Chunk;
use super::disk::{allocate_file, sync_folder};

const NAME: &str = "reach";
const CAPACITY: usize = 4096;
/// The places are in sectors of their own.
const PLACES: [usize; 2] = [0, 512];
const LENGTH: usize = 44;

/// How far the log has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::context) struct Reach {
    /// At least this Seq was given.
    pub head: u64,
    /// Numbers of the newest segments of records, reports and what is kept.
    pub newest: [u64; 3],
}

/// The file of it; in durability `memory` there is none.
#[derive(Debug)]
pub(in crate::context) struct ReachFile {
    chunk: Option<Chunk>,
    generation: u64,
}

impl Reach {
    fn to_bytes(self, generation: u64) -> [u8; LENGTH] {
        let mut out = [0; LENGTH];
        let [records, reports, kept] = self.newest;
        for (place, number) in out.chunks_exact_mut(8).zip([generation, self.head, records, reports, kept]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out[..LENGTH - 4]);
        out[LENGTH - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// What stands at a place, and its generation.
    fn read(bytes: &[u8]) -> Option<(u64, Self)> {
        let number = |at: usize| bytes.get(at..).and_then(<[u8]>::first_chunk).map(|bytes| u64::from_le_bytes(*bytes));
        let (generation, head) = (number(0)?, number(8)?);
        let read = Self { head, newest: [number(16)?, number(24)?, number(32)?] };
        (bytes.get(..LENGTH)? == read.to_bytes(generation)).then_some((generation, read))
    }
}

impl ReachFile {
    pub fn memory() -> Self {
        Self { chunk: None, generation: 0 }
    }

    /// Opens the file in a folder, which is made if there is none; `None` when nothing can be read from it.
    pub fn folder(dir: &Path) -> io::Result<(Self, Option<Reach>)> {
        let path = dir.join(NAME);
        if let Some(chunk) = open(&path)? {
            let found =
                PLACES.iter().filter_map(|at| Reach::read(chunk.bytes(*at, CAPACITY))).max_by_key(|found| found.0);
            if let Some((generation, reach)) = found {
                return Ok((Self { chunk: Some(chunk), generation }, Some(reach)));
            }
        }
        Ok((Self { chunk: Some(make(dir, &path)?), generation: 0 }, None))
    }

    /// Writes how far it has come; `synced`: returns when it is on the disk.
    pub fn write(&mut self, reach: &Reach, synced: bool) -> io::Result<()> {
        let Some(chunk) = &mut self.chunk else { return Ok(()) };
        self.generation += 1;
        let at = PLACES[usize::from(self.generation.is_multiple_of(2))];
        chunk.writable(at, at + LENGTH).copy_from_slice(&reach.to_bytes(self.generation));
        if synced { chunk.flush(at, at + LENGTH) } else { Ok(()) }
    }
}

/// Maps the file if it is there and as long as it should be.
fn open(path: &Path) -> io::Result<Option<Chunk>> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let is_whole = file.metadata()?.len() == CAPACITY as u64;
    Ok(if is_whole { Some(Chunk::new(MmapRaw::map_raw(&file)?, Some(path.to_owned()))) } else { None })
}

fn make(dir: &Path, path: &PathBuf) -> io::Result<Chunk> {
    let fresh = path.with_extension("new");
    let mut chunk = allocate_file(&fresh, CAPACITY)?;
    chunk.flush(0, CAPACITY)?;
    fs::rename(&fresh, path)?;
    sync_folder(dir)?;
    chunk.path = Some(path.clone());
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(head: u64) -> Reach {
        Reach { head, newest: [head + 1, 2, 3] }
    }

    #[test]
    fn what_was_written_is_found_as_it_was_written_and_without_a_file_there_is_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut file, found) = ReachFile::folder(dir.path()).expect("made");
        assert_eq!(found, None);
        for head in 1..5 {
            file.write(&reach(head), head % 2 == 0).expect("written");
            assert_eq!(ReachFile::folder(dir.path()).expect("opens").1, Some(reach(head)));
        }
        ReachFile::memory().write(&reach(1), true).expect("nothing to write to");
    }

    #[test]
    fn whatever_is_torn_what_stood_before_it_holds() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut file, _) = ReachFile::folder(dir.path()).expect("made");
        (1..4).for_each(|head| file.write(&reach(head), false).expect("written"));
        let path = dir.path().join(NAME);
        let whole = fs::read(&path).expect("readable");
        for bit in 0..LENGTH * 8 {
            let mut torn = whole.clone();
            torn[PLACES[0] + bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, torn).expect("writable");
            assert_eq!(ReachFile::folder(dir.path()).expect("opens").1, Some(reach(2)), "bit {bit}");
        }
        fs::write(&path, b"short").expect("writable");
        assert_eq!(ReachFile::folder(dir.path()).expect("opens").1, None);
        assert_eq!(fs::metadata(&path).expect("there").len(), CAPACITY as u64);
    }
}

//! Where the children of a round leave word: one file that each appends to once it runs.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::child::STAMP;
use crate::cli::failure::{FAILED, Failure};

/// How often it is looked: the stamps themselves are exact.
const LOOK: Duration = Duration::from_millis(1);
/// Nothing measured here takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// The file.
pub struct Stamps {
    path: PathBuf,
}

impl Stamps {
    /// A new, empty one.
    pub fn new(path: PathBuf) -> Result<Self, Failure> {
        fs::write(&path, b"").map_err(|error| Failure::io(format!("make {}", path.display()), &error))?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until so many have left word; when each started (nanoseconds, monotonic), by pid.
    pub fn wait(&self, count: usize) -> Result<BTreeMap<u32, u64>, Failure> {
        let read = || -> io::Result<Option<Vec<u8>>> {
            let is_whole = fs::metadata(&self.path)?.len() >= (count * STAMP) as u64;
            is_whole.then(|| fs::read(&self.path)).transpose()
        };
        let bytes = until("the children to start", || {
            read().map_err(|error| Failure::io(format!("read {}", self.path.display()), &error))
        })?;
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        let stamp = |stamp: &[u8]| (u32::try_from(number(&stamp[..8])).unwrap_or(0), number(&stamp[8..]));
        Ok(bytes.chunks_exact(STAMP).map(stamp).collect())
    }
}

/// Looks again and again until there is something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>, Failure>) -> Result<T, Failure> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > PATIENCE {
            return Err(Failure::new(FAILED, format!("cannot measure: waited too long for {what}")));
        }
        thread::sleep(LOOK);
    }
}

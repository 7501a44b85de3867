//! The files of one instance's log: `web-1.log`, before it `web-1.log.1`, and so on.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use copo_orchestrator::runtime::log::rotated;
use copo_orchestrator::runtime::log_identity::{self, Identity};
use copo_orchestrator::runtime::log_times::{Head, TimeIndex};

use super::super::failure::Failure;

/// How long a log and its index may not fit together, in milliseconds: as long as one rotation takes.
const TURNED_WITHIN: u32 = 20;

/// One opened file of a chain.
#[derive(Debug)]
pub struct Link {
    pub file: File,
    pub identity: Identity,
    pub times: Times,
}

/// When the lines of one file were written; its index is read on as it grows.
#[derive(Debug)]
pub struct Times {
    path: PathBuf,
    /// There is none until the process writes its first line.
    file: Option<File>,
    index: TimeIndex,
    log: Identity,
}

impl Times {
    fn open(path: PathBuf, log: Identity) -> io::Result<Self> {
        Ok(Self { file: open_if_there(&path)?, path, index: TimeIndex::default(), log })
    }

    /// What came before this file, as far as that is known.
    pub fn head(&mut self) -> io::Result<Option<Head>> {
        if self.index.head().is_none() {
            self.read_on()?;
        }
        Ok(self.index.head())
    }

    /// Is it this log's own index (not yet that of the file before), with a head if it is to have one?
    fn is_known(&mut self) -> io::Result<bool> {
        Ok(self.head()?.is_some() || self.index.newest_offset().is_some())
    }

    /// When the byte at `offset` was written, as far as that is known.
    pub fn of(&mut self, offset: u64) -> io::Result<Option<u64>> {
        if self.index.newest_offset().is_none_or(|newest| newest < offset) {
            self.read_on()?;
        }
        Ok(self.index.time_of(offset))
    }

    fn read_on(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            self.file = open_if_there(&self.path)?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut more = Vec::new();
        file.read_to_end(&mut more)?;
        self.index.extend(&more);
        // Opened in the middle of a turn, it is another file's.
        if self.index.head().is_some_and(|head| head.file != self.log.1) {
            (self.file, self.index) = (None, TimeIndex::default());
        }
        Ok(())
    }
}

fn open_if_there(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Internal names of all instances that have a log in this folder, sorted.
pub fn instances(folder: &Path) -> Result<Vec<String>, Failure> {
    let cannot = |error: io::Error| Failure::io(format!("read {}", folder.display()), &error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        names.extend(entry.map_err(cannot)?.file_name().to_str().and_then(instance_of));
    }
    names.sort();
    Ok(names)
}

/// The instance whose current log has this file name.
pub fn instance_of(file_name: &str) -> Option<String> {
    file_name.strip_suffix(".log").map(str::to_owned)
}

/// Opens the whole chain, oldest first; where the newest and the oldest file stand among all that was written is known,
/// unless an earlier version wrote them.
pub fn open(folder: &Path, internal_name: &str) -> io::Result<Vec<Link>> {
    for _ in 0..TURNED_WITHIN {
        let mut links = open_as_it_is(folder, internal_name)?;
        let is_known = |link: Option<&mut Link>| link.map_or(Ok(true), |link| link.times.is_known());
        if is_known(links.first_mut())? && is_known(links.last_mut())? {
            return Ok(links);
        }
        // The log has been turned, its index has not: that takes a moment.
        thread::sleep(Duration::from_millis(1));
    }
    open_as_it_is(folder, internal_name)
}

/// While it is listed it may turn: read from the newest on, a file can only be met twice, never missed.
fn open_as_it_is(folder: &Path, internal_name: &str) -> io::Result<Vec<Link>> {
    let mut links: Vec<Link> = Vec::new();
    let mut missing = 0;
    for age in 0.. {
        // In the middle of a turn one file is away for a moment.
        if missing > 1 {
            break;
        }
        match open_link(folder, internal_name, age) {
            Ok(link) => {
                if links.iter().all(|known| known.identity != link.identity) {
                    links.push(link);
                }
                missing = 0;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing += 1,
            Err(error) => return Err(error),
        }
    }
    links.reverse();
    Ok(links)
}

fn open_link(folder: &Path, internal_name: &str, age: u32) -> io::Result<Link> {
    let file = File::open(rotated(&current(folder, internal_name), age))?;
    let identity = log_identity::of(&file)?;
    let times = Times::open(rotated(&folder.join(format!("{internal_name}.times")), age), identity)?;
    Ok(Link { file, identity, times })
}

/// Is this still the file that is written to?
pub fn is_current(folder: &Path, internal_name: &str, known: Identity) -> io::Result<bool> {
    match File::open(current(folder, internal_name)) {
        Ok(file) => Ok(log_identity::of(&file)? == known),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn current(folder: &Path, internal_name: &str) -> PathBuf {
    folder.join(format!("{internal_name}.log"))
}

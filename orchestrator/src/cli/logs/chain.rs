//! The files of one instance's log: `web-1.log`, before it `web-1.log.1`, and so on.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use copo_orchestrator::runtime::log::rotated;
use copo_orchestrator::runtime::log_times::{ENTRY, TimeIndex};

use super::super::failure::Failure;

/// What stays the same of a file while it is renamed.
pub type Identity = (u64, u64);

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
    /// The first bytes of an entry whose others have not come yet.
    rest: Vec<u8>,
}

impl Times {
    fn open(path: PathBuf) -> io::Result<Self> {
        Ok(Self { file: open_if_there(&path)?, path, index: TimeIndex::default(), rest: Vec::new() })
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
        file.read_to_end(&mut self.rest)?;
        let whole = self.rest.len() - self.rest.len() % ENTRY;
        self.index.extend(&self.rest[..whole]);
        self.rest.drain(..whole);
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

/// Opens the whole chain, oldest first.
///
/// While it is listed it may turn: read from the newest on, a file can only be met twice, never missed.
pub fn open(folder: &Path, internal_name: &str) -> io::Result<Vec<Link>> {
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
    let identity = identity(&file)?;
    let times = Times::open(rotated(&folder.join(format!("{internal_name}.times")), age))?;
    Ok(Link { file, identity, times })
}

/// Is this still the file that is written to?
pub fn is_current(folder: &Path, internal_name: &str, known: Identity) -> io::Result<bool> {
    match File::open(current(folder, internal_name)) {
        Ok(file) => Ok(identity(&file)? == known),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn current(folder: &Path, internal_name: &str) -> PathBuf {
    folder.join(format!("{internal_name}.log"))
}

#[cfg(unix)]
fn identity(file: &File) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(windows)]
fn identity(file: &File) -> io::Result<Identity> {
    use std::os::windows::io::AsRawHandle;
    use windows_sys::Win32::Storage::FileSystem::{BY_HANDLE_FILE_INFORMATION, GetFileInformationByHandle};
    let mut info = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open for as long as `file` is borrowed, and `info` is of the type the call fills in.
    if unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut info) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let index = u64::from(info.nFileIndexHigh) << 32 | u64::from(info.nFileIndexLow);
    Ok((u64::from(info.dwVolumeSerialNumber), index))
}

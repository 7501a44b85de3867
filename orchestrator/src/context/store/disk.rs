//! The folder of the segments: makes, names, recycles, opens and removes their files. Room is taken when a file is made,
//! so that a full disk is an error here and never a fault at a later store to the mapping.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use memmap2::{MmapMut, MmapOptions, MmapRaw};

use super::Chunk;
use crate::context::StoreError;
use crate::layout;

/// Files that are not (or no longer) part of the log begin with this and are removed at open.
const SPARE: &str = "spare-";

/// The folder; `None` in durability `memory`.
#[derive(Debug)]
pub(in crate::context) struct Disk {
    dir: Option<PathBuf>,
    /// Bytes all segments may have together; a smaller disk, for tests.
    pub limit: Option<u64>,
    used: u64,
    spares: u64,
}

impl Disk {
    pub fn memory() -> Self {
        Self { dir: None, limit: None, used: 0, spares: 0 }
    }

    /// Uses `dir`, made if need be; what earlier uses left unfinished is removed.
    pub fn folder(dir: &Path) -> io::Result<Self> {
        layout::private_folder(dir)?;
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(SPARE) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { dir: Some(dir.to_owned()), limit: None, used: 0, spares: 0 })
    }

    /// The names in the folder that begin with `prefix`, sorted.
    pub fn names(&self, prefix: &str) -> io::Result<Vec<String>> {
        let Some(dir) = &self.dir else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with(prefix) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// A chunk of zeros whose room is taken; it has no name yet.
    pub fn allocate(&mut self, capacity: usize) -> Result<Chunk, StoreError> {
        if self.limit.is_some_and(|limit| self.used + capacity as u64 > limit) {
            return Err(StoreError::NoSpace);
        }
        let chunk = match self.spare_path() {
            None => Chunk::new(MmapMut::map_anon(capacity)?.into(), None),
            Some(path) => allocate_file(&path, capacity).map_err(|error| {
                let _ = fs::remove_file(&path); // What could not be made whole takes no room.
                StoreError::from(error)
            })?,
        };
        self.used += capacity as u64;
        Ok(chunk)
    }

    /// Maps a file of the folder as long as it is.
    pub fn open(&mut self, name: &str) -> io::Result<Chunk> {
        let path = self.path(name).expect("only folders are opened");
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let length = file.metadata()?.len();
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is empty"));
        }
        self.used += length;
        Ok(Chunk::new(MmapRaw::map_raw(&file)?, Some(path)))
    }

    /// Gives a chunk's file its name in the log.
    pub fn name(&self, chunk: &mut Chunk, name: &str) -> Result<(), StoreError> {
        Ok(self.rename(chunk, self.path(name))?)
    }

    /// Takes a chunk's file out of the log; it may be named anew or removed.
    pub fn retire(&mut self, chunk: &mut Chunk) -> io::Result<()> {
        let path = self.spare_path();
        self.rename(chunk, path)
    }

    /// Removes a file that never came into use.
    pub fn discard(&self, name: &str) -> io::Result<()> {
        self.path(name).map_or(Ok(()), fs::remove_file)
    }

    /// Takes a file that is no usable segment out of the log without losing what it holds.
    pub fn put_aside(&self, name: &str) -> io::Result<()> {
        match (self.path(name), self.path(&format!("damaged-{name}"))) {
            (Some(from), Some(to)) => fs::rename(from, to),
            _ => Ok(()),
        }
    }

    /// Removes a chunk's file. Where a mapped file cannot be removed (Windows) it goes at the next open.
    pub fn remove(&mut self, chunk: Chunk) {
        self.used = self.used.saturating_sub(chunk.capacity() as u64);
        if let Some(path) = chunk.path.clone() {
            drop(chunk);
            let _ = fs::remove_file(path);
        }
    }

    /// Makes the names in the folder as durable as the files.
    pub fn sync(&self) -> io::Result<()> {
        match &self.dir {
            Some(dir) => sync_folder(dir),
            None => Ok(()),
        }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.dir.as_ref().map(|dir| dir.join(name))
    }

    fn spare_path(&mut self) -> Option<PathBuf> {
        self.spares += 1;
        self.path(&format!("{SPARE}{}", self.spares))
    }

    fn rename(&self, chunk: &mut Chunk, to: Option<PathBuf>) -> io::Result<()> {
        if let (Some(from), Some(to)) = (&chunk.path, to) {
            fs::rename(from, &to)?;
            chunk.path = Some(to);
        }
        Ok(())
    }
}

pub(super) fn allocate_file(path: &Path, capacity: usize) -> io::Result<Chunk> {
    let file = layout::private_file().read(true).truncate(true).open(path)?;
    take_room(&file, capacity as u64)?;
    let map = MmapOptions::new().len(capacity).map_raw(&file)?;
    Ok(Chunk::new(map, Some(path.to_owned())))
}

#[cfg(target_os = "linux")]
fn take_room(file: &File, capacity: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    match fallocate(file, FallocateFlags::empty(), 0, capacity) {
        // Not every file system can: then the room is taken by writing to it.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(file, capacity),
        other => Ok(other?),
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
fn take_room(file: &File, capacity: u64) -> io::Result<()> {
    write_zeros(file, capacity)
}

/// NTFS takes the room of a file that is not sparse when its length is set.
#[cfg(windows)]
fn take_room(file: &File, capacity: u64) -> io::Result<()> {
    file.set_len(capacity)
}

#[cfg(unix)]
fn write_zeros(mut file: &File, capacity: u64) -> io::Result<()> {
    use std::io::Write as _;
    let zeros = vec![0; 1 << 20];
    let mut left = capacity;
    while left > 0 {
        let part = left.min(zeros.len() as u64);
        file.write_all(&zeros[..part as usize])?;
        left -= part;
    }
    Ok(())
}

#[cfg(unix)]
pub(super) fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Windows has no way to ask for it; renames are journalled.
#[cfg(windows)]
pub(super) fn sync_folder(_dir: &Path) -> io::Result<()> {
    Ok(())
}

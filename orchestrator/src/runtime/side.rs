//! Linux: the way that much output takes from a child's pipe into its log.
//!
//! ```text
//! child ──▶ its pipe ──pages move──▶ side pipe ──one copy──▶ log
//! ```
//!
//! A pipe is locked for as long as its bytes are being copied into a file, and whoever writes to it waits. Here only the side
//! pipe is: the child's own has room again at once, and the child goes on while the copy is made. Pages move in one step
//! and what was copied leaves the side pipe in one step, so a kill leaves each byte in one of the three places.
//!
//! The keeper holds the side pipe, and `orchestrator/side` says which one it is and whose bytes lie in it: the next
//! orchestrator moves them on. Without a keeper there is none.

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::io::ioctl_fionread;
use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, splice};

use super::boot;
use super::kept::Kept;
use crate::layout::{self, Layout};

/// What it holds at most: a pipe of the largest size.
const SIZE: usize = 1024 * 1024;
/// The note is always this long, so that it lies in one block that is there from the beginning.
const NOTE: usize = 512;

/// The side pipe, empty but within one call.
pub(super) struct Side {
    read_end: OwnedFd,
    write_end: OwnedFd,
    file: File,
    note: RefCell<Note>,
    /// An orchestrator that was killed has left something in it.
    is_left: Cell<bool>,
}

/// What `orchestrator/side` says: `<boot> <inode> <internal name>`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Note {
    boot: String,
    inode: u64,
    owner: String,
}

impl Side {
    /// The one that an earlier orchestrator has had, or a new one.
    pub(super) fn open(layout: &Layout, kept: &Kept) -> Option<Self> {
        if !kept.is_there() {
            return None;
        }
        let found = Self::reopen(&layout.side(), kept).or_else(|_| Self::make(&layout.side(), kept));
        found.inspect_err(|error| tracing::warn!("cannot have a side pipe; output is logged more slowly: {error}")).ok()
    }

    fn reopen(path: &Path, kept: &Kept) -> io::Result<Self> {
        let known = fs::read_to_string(path).ok().and_then(|text| Note::parse(&text));
        let note = known.filter(|note| note.boot == boot::id()).ok_or(io::ErrorKind::NotFound)?;
        let ends = kept.open_pipe(note.inode, false).zip(kept.open_pipe(note.inode, true));
        let (read_end, write_end) = ends.ok_or(io::ErrorKind::NotFound)?;
        let is_left = Cell::new(ioctl_fionread(&read_end)? > 0);
        let file = layout::private_file().truncate(false).open(path)?;
        Ok(Self { read_end, write_end, file, note: RefCell::new(note), is_left })
    }

    fn make(path: &Path, kept: &Kept) -> io::Result<Self> {
        let (read_end, write_end) = io::pipe()?;
        let (read_end, write_end) = (OwnedFd::from(read_end), OwnedFd::from(write_end));
        // A smaller one moves less at a time.
        let _ = fcntl_setpipe_size(&write_end, SIZE);
        let note = Note { boot: boot::id(), inode: rustix::fs::fstat(&read_end)?.st_ino, owner: String::new() };
        let file = layout::private_file().truncate(false).open(path)?;
        note.write(&file)?;
        kept.hold_side(read_end.as_fd());
        Ok(Self { read_end, write_end, file, note: RefCell::new(note), is_left: Cell::new(false) })
    }

    /// Whose bytes a killed orchestrator has left in it; from here on they count as moved on.
    pub(super) fn take_left(&self, is_it: impl Fn(&str) -> bool) -> Option<String> {
        let owner = self.note.borrow().owner.clone();
        (self.is_left.get() && is_it(&owner)).then(|| {
            self.is_left.set(false);
            owner
        })
    }

    /// Has what comes next noted as this instance's; false while that cannot be.
    pub(super) fn claim(&self, internal_name: &str) -> bool {
        if self.is_left.get() {
            return false;
        }
        let mut note = self.note.borrow_mut();
        if note.owner == internal_name {
            return true;
        }
        let new = Note { owner: internal_name.to_owned(), ..note.clone() };
        // What the file says counts only while something lies in the pipe: it may be written in any way.
        let is_noted = new.write(&self.file).is_ok();
        note.owner = if is_noted { new.owner } else { String::new() };
        is_noted
    }

    /// Moves what lies in a pipe into this one; says how much.
    pub(super) fn take_from(&self, pipe: BorrowedFd<'_>) -> io::Result<usize> {
        Ok(splice(pipe, None, &self.write_end, None, SIZE, SpliceFlags::NONBLOCK)?)
    }

    /// How much lies in it.
    pub(super) fn holds(&self) -> io::Result<u64> {
        Ok(ioctl_fionread(&self.read_end)?)
    }

    /// Where it is read.
    pub(super) fn read_end(&self) -> BorrowedFd<'_> {
        self.read_end.as_fd()
    }

    /// Takes out what lies in it.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        let mut rest = vec![0; usize::try_from(self.holds()?).unwrap_or(0)];
        let mut filled = 0;
        while filled < rest.len() {
            match rustix::io::retry_on_intr(|| rustix::io::read(&self.read_end, &mut rest[filled..]))? {
                0 => break,
                read => filled += read,
            }
        }
        rest.truncate(filled);
        Ok(rest)
    }
}

impl Note {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.lines().next()?.trim_end().splitn(3, ' ');
        let (boot, inode) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        Some(Self { boot, inode, owner: words.next().unwrap_or_default().to_owned() })
    }

    fn write(&self, file: &File) -> io::Result<()> {
        let text = format!("{} {} {}", self.boot, self.inode, self.owner);
        file.write_all_at(format!("{text:width$}\n", width = NOTE - 1).as_bytes(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("side");
        let file = layout::private_file().truncate(false).open(&path).expect("made");
        for owner in ["", "a-rather-long-name-1", "b-1"] {
            let note = Note { boot: "b".to_owned(), inode: 7, owner: owner.to_owned() };
            note.write(&file).expect("written");
            assert_eq!(Note::parse(&fs::read_to_string(&path).expect("readable")), Some(note));
        }
        assert_eq!(fs::metadata(&path).expect("there").len(), NOTE as u64);
        assert_eq!(Note::parse("torn"), None);
    }
}

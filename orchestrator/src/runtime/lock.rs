//! The lock file: one orchestrator per application. Holds, for people and for `copo`, who has it.
//!
//! The file stays when the orchestrator ends: removing it would let two of them hold locks on two files of one name.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::layout::{self, Layout};

/// Who holds the lock of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Process id of the orchestrator.
    pub pid: u32,
    /// Absolute path of the copo.toml it was started with.
    pub config_path: PathBuf,
}

/// The lock, held until it is dropped or the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Why the lock was not had.
#[derive(Debug)]
pub enum LockError {
    /// Another orchestrator has it.
    Held(Holder),
    /// The file could not be opened, locked or written.
    Io(io::Error),
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Who holds the lock; `None` when nobody does.
///
/// # Errors
/// The lock file is there but cannot be read.
pub fn holder(layout: &Layout) -> io::Result<Option<Holder>> {
    let path = layout.lock();
    let file = match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Between taking the lock and writing who took it there is a moment, and a moment later the holder may be gone.
    for _ in 0..1000 {
        if sys::try_shared(&file)? {
            return Ok(None);
        }
        if let Some(holder) = read(&path)? {
            return Ok(Some(holder));
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(io::Error::other(format!("{} is locked, but does not say by whom", path.display())))
}

/// The pid of the application's keeper, while one lives.
#[must_use]
pub fn keeper(layout: &Layout) -> Option<u32> {
    let path = layout.keeper();
    let file = OpenOptions::new().read(true).write(true).open(&path).ok()?;
    if sys::try_shared(&file).ok()? {
        return None;
    }
    std::fs::read_to_string(&path).ok()?.trim_end().parse().ok()
}

/// Takes the lock.
///
/// # Errors
/// [`LockError::Held`] when another orchestrator lives.
pub fn acquire(layout: &Layout, config_path: &Path) -> Result<Lock, LockError> {
    let path = layout.lock();
    loop {
        let mut file = layout::private_file().read(true).truncate(false).open(&path)?;
        if sys::try_exclusive(&file)? {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(format!("{}\n{}\n", std::process::id(), config_path.display()).as_bytes())?;
            return Ok(Lock { file });
        }
        // Refused either by an orchestrator or by someone who asks for the holder at this very moment.
        if let Some(holder) = holder(layout)? {
            return Err(LockError::Held(holder));
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Who comes after must not read our name; the lock itself goes with the descriptor.
        let _ = self.file.set_len(0);
    }
}

fn read(path: &Path) -> io::Result<Option<Holder>> {
    let mut text = String::new();
    File::open(path)?.read_to_string(&mut text)?;
    let mut lines = text.lines();
    let pid = lines.next().and_then(|line| line.parse().ok());
    // The newline shows that the line is whole.
    let config_path = lines.next().filter(|_| text.ends_with('\n')).map(PathBuf::from);
    Ok(pid.zip(config_path).map(|(pid, config_path)| Holder { pid, config_path }))
}

#[cfg(unix)]
mod sys {
    use std::fs::File;
    use std::io;

    use rustix::fs::{FlockOperation, flock};
    use rustix::io::Errno;

    pub fn try_exclusive(file: &File) -> io::Result<bool> {
        taken(flock(file, FlockOperation::NonBlockingLockExclusive))
    }

    pub fn try_shared(file: &File) -> io::Result<bool> {
        taken(flock(file, FlockOperation::NonBlockingLockShared))
    }

    fn taken(result: Result<(), Errno>) -> io::Result<bool> {
        match result {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(windows)]
mod sys {
    use std::fs::File;
    use std::io;
    use std::os::windows::io::AsRawHandle;

    use windows_sys::Win32::Foundation::ERROR_LOCK_VIOLATION;
    use windows_sys::Win32::Storage::FileSystem::{
        LOCK_FILE_FLAGS, LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY, LockFileEx,
    };
    use windows_sys::Win32::System::IO::OVERLAPPED;

    pub fn try_exclusive(file: &File) -> io::Result<bool> {
        lock(file, LOCKFILE_EXCLUSIVE_LOCK)
    }

    pub fn try_shared(file: &File) -> io::Result<bool> {
        lock(file, 0)
    }

    /// Locks one byte far behind the text: a locked range could not be read by others.
    fn lock(file: &File, kind: LOCK_FILE_FLAGS) -> io::Result<bool> {
        let mut place = OVERLAPPED::default();
        place.Anonymous.Anonymous.OffsetHigh = 1;
        // SAFETY: the handle is open for as long as `file` is borrowed, and with FAIL_IMMEDIATELY the call is over when
        // it returns, so that `place` outlives it.
        let done =
            unsafe { LockFileEx(file.as_raw_handle(), kind | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &raw mut place) };
        if done != 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(ERROR_LOCK_VIOLATION as i32) { Ok(false) } else { Err(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> (tempfile::TempDir, Layout) {
        let home = tempfile::tempdir().expect("a temporary folder");
        let layout = Layout::new(home.path(), "app");
        layout::prepare(&layout).expect("folders");
        (home, layout)
    }

    #[test]
    fn a_second_orchestrator_is_refused_and_told_who_holds_the_lock() {
        let (_home, layout) = layout();
        assert_eq!(holder(&layout).expect("readable"), None);
        let held = acquire(&layout, Path::new("/a/copo.toml")).expect("free");
        let expected = Holder { pid: std::process::id(), config_path: "/a/copo.toml".into() };

        assert_eq!(holder(&layout).expect("readable"), Some(expected.clone()));
        match acquire(&layout, Path::new("/b/copo.toml")) {
            Err(LockError::Held(holder)) => assert_eq!(holder, expected),
            other => panic!("not refused: {other:?}"),
        }

        drop(held);
        assert_eq!(holder(&layout).expect("readable"), None);
        acquire(&layout, Path::new("/b/copo.toml")).expect("free again");
    }

    #[test]
    fn who_only_asks_for_the_holder_keeps_no_orchestrator_from_starting() {
        let (_home, layout) = layout();
        let asking = thread::spawn({
            let layout = layout.clone();
            move || (0..2000).for_each(|_| drop(holder(&layout)))
        });
        while !asking.is_finished() {
            drop(acquire(&layout, Path::new("/a/copo.toml")).expect("nobody holds it"));
        }
    }
}

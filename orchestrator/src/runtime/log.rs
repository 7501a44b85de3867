//! One log: bytes are appended as they came; rotation cuts at line ends and loses none.
//!
//! `web-1.log` is the current file, `web-1.log.1` the one before it, and so on; the time index turns with it.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::layout;
use crate::plan::LogSpec;

use super::log_budget::Budget;
use super::log_identity;
use super::log_times::{Follows, TimeWriter};

/// A line that does not end is cut after all when the file has become this many times as large as it should be.
const LARGEST: u64 = 2;
/// Moved at once, at most: a pipe of the largest size.
#[cfg(target_os = "linux")]
const LARGEST_SPLICE: u64 = 1024 * 1024;

/// The open log of one instance, or of the orchestrator itself.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    times_path: Option<PathBuf>,
    spec: LogSpec,
    file: File,
    times: Option<TimeWriter>,
    len: u64,
    at_line_start: bool,
    dropped: u64,
    /// What comes next belongs into the next file.
    is_due: bool,
    budget: Option<Arc<Budget>>,
}

impl Log {
    /// Opens a log to go on with it; `times_path` is where its time index stands, if it has one.
    pub(super) fn open(path: PathBuf, times_path: Option<PathBuf>, spec: LogSpec) -> io::Result<Self> {
        let (file, len, at_line_start) = open_file(&path, times_path.is_some())?;
        let times = times_path.as_deref().map(|path| TimeWriter::open(path, &file, len, None)).transpose()?;
        Ok(Self { path, times_path, spec, file, times, len, at_line_start, dropped: 0, is_due: false, budget: None })
    }

    /// What it shares with the other logs of its application.
    pub(super) fn within(self, budget: Arc<Budget>) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// Rotates by these settings from here on.
    pub(super) fn set_spec(&mut self, spec: LogSpec) {
        self.spec = spec;
    }

    /// Appends what was read at `time` (microseconds since the Unix epoch).
    ///
    /// # Errors
    /// It could not be written whole (a full disk): the rest is dropped and counted, since no process may be held up by it.
    pub(super) fn write(&mut self, chunk: &[u8], time: u64) -> io::Result<()> {
        let ready = self.look().and_then(|()| if self.is_due && !chunk.is_empty() { self.rotate() } else { Ok(()) });
        ready.inspect_err(|_| self.dropped += chunk.len() as u64)?;
        let mut rest = chunk;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(self.cut(rest));
            self.append(now, time).inspect_err(|_| self.dropped += later.len() as u64)?;
            rest = later;
            if !rest.is_empty() {
                self.rotate().inspect_err(|_| self.dropped += rest.len() as u64)?;
            }
        }
        Ok(())
    }

    /// So many bytes came while it could not be opened.
    pub(super) fn note_dropped(&mut self, count: u64) {
        self.dropped += count;
    }

    /// How many bytes were dropped since this was asked last.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// How many bytes of the chunk still belong into the current file: up to a line end, where there is one.
    fn cut(&self, chunk: &[u8]) -> usize {
        let room = usize::try_from(self.spec.size.saturating_sub(self.len)).unwrap_or(usize::MAX);
        if chunk.len() <= room {
            return chunk.len();
        }
        if let Some(end) = memchr::memrchr(b'\n', &chunk[..room]) {
            return end + 1;
        }
        if self.at_line_start && self.len > 0 {
            return 0;
        }
        let most = (self.spec.size.saturating_mul(LARGEST)).saturating_sub(self.len).max(1);
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(chunk.len());
        memchr::memchr(b'\n', &chunk[..most]).map_or(most, |end| end + 1)
    }

    fn append(&mut self, bytes: &[u8], time: u64) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some(times) = &mut self.times {
            // Without its entry a line has the time of the one before: no reason to drop the line.
            let _ = times.note(self.len, time);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match write_at(&mut self.file, rest, self.len) {
                Ok(0) => return Err(self.drop_rest(rest, io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    self.at_line_start = rest[written - 1] == b'\n';
                    self.len += written as u64;
                    rest = &rest[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.drop_rest(rest, error)),
            }
        }
        Ok(())
    }

    /// Moves what lies in a pipe into the log, up to where a line or the file ends; says from where to where in the file.
    ///
    /// The kernel does it in one step: a kill leaves the bytes in the pipe or in the log, never in neither or both.
    ///
    /// # Errors
    /// `WouldBlock` when the pipe is empty; anything else: it cannot be done in this way.
    #[cfg(target_os = "linux")]
    pub(super) fn splice(&mut self, pipe: std::os::fd::BorrowedFd<'_>, time: u64) -> io::Result<std::ops::Range<u64>> {
        self.look()?;
        let available = rustix::io::ioctl_fionread(pipe)?;
        if self.is_due && available > 0 {
            self.rotate()?;
        }
        let room = self.spec.size.saturating_sub(self.len);
        let mut most = room.clamp(1, LARGEST_SPLICE);
        if available > room {
            (most, self.is_due) = self.cut_of(pipe, available)?;
            if most == 0 {
                return self.splice(pipe, time);
            }
        }
        let (start, mut end) = (self.len, self.len);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        rustix::pipe::splice(pipe, None, &self.file, Some(&mut end), most, rustix::pipe::SpliceFlags::NONBLOCK)?;
        if end > start
            && let Some(times) = &mut self.times
        {
            // Without its entry a line has the time of the one before: no reason to drop the line.
            let _ = times.note(start, time);
        }
        self.is_due &= end - start == most as u64;
        self.len = end;
        Ok(start..end)
    }

    /// [`Self::cut`] of what lies in a pipe and stays there, and whether what follows belongs into the next file.
    #[cfg(target_os = "linux")]
    fn cut_of(&mut self, pipe: std::os::fd::BorrowedFd<'_>, available: u64) -> io::Result<(u64, bool)> {
        use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, tee};
        let (mut copy, end) = io::pipe()?;
        // As large as the other can be; a smaller one shows less at a time.
        let _ = fcntl_setpipe_size(&end, usize::try_from(LARGEST_SPLICE).unwrap_or(usize::MAX));
        let most = usize::try_from(available).unwrap_or(usize::MAX);
        let mut bytes = vec![0; tee(pipe, &end, most, SpliceFlags::NONBLOCK)?];
        copy.read_exact(&mut bytes)?;
        self.at_line_start = self.len == 0 || self.read_back(self.len - 1..self.len)? == b"\n";
        let cut = self.cut(&bytes);
        Ok((cut as u64, cut < bytes.len()))
    }

    /// What stands in the current file.
    #[cfg(target_os = "linux")]
    pub(super) fn read_back(&self, range: std::ops::Range<u64>) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
        std::os::unix::fs::FileExt::read_exact_at(&self.file, &mut bytes, range.start)?;
        Ok(bytes)
    }

    /// Somebody may have emptied the file, or removed it, with its folder even: then there is a new one.
    fn look(&mut self) -> io::Result<()> {
        let found = self.file.metadata()?;
        // While it takes nothing, it may be that its path leads elsewhere by now.
        if is_removed(&found) || (self.dropped > 0 && !is_at(&found, &self.path)) {
            if let Some(folder) = self.path.parent() {
                layout::private_folder(folder)?;
            }
            return self.open_again(None);
        }
        if found.is_file() && found.len() < self.len {
            self.len = found.len();
            self.at_line_start = true;
        }
        Ok(())
    }

    fn drop_rest(&mut self, rest: &[u8], error: io::Error) -> io::Error {
        self.dropped += rest.len() as u64;
        error
    }

    /// Turns the files: the current one becomes `.1`, the oldest goes.
    fn rotate(&mut self) -> io::Result<()> {
        let head = self.times.as_ref().and_then(TimeWriter::head);
        // Counted at once, while it is in the cache; a reader that comes too late is told how many it has missed.
        let follows = head.and_then(|head| {
            let lines = log_identity::count_lines(&self.file).ok()?;
            Some(Follows { head, bytes: self.len, lines })
        });
        turn(&self.path, self.spec.files)?;
        if let Some(times_path) = &self.times_path {
            self.times = None;
            turn(times_path, self.spec.files)?;
        }
        self.open_again(follows)?;
        if let Some(budget) = &self.budget {
            budget.keep();
        }
        Ok(())
    }

    fn open_again(&mut self, follows: Option<Follows>) -> io::Result<()> {
        let (file, len, at_line_start) = open_file(&self.path, self.times_path.is_some())?;
        let times = self.times_path.as_deref().map(|path| TimeWriter::open(path, &file, len, follows));
        (self.times, self.file, self.len, self.at_line_start) = (times.transpose()?, file, len, at_line_start);
        self.is_due = false;
        Ok(())
    }
}

#[cfg(unix)]
fn is_removed(found: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    found.nlink() == 0
}

/// Is this the file at that path?
#[cfg(unix)]
fn is_at(found: &Metadata, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (found.dev(), found.ino()))
}

/// An open file stays where it is.
#[cfg(windows)]
fn is_removed(_found: &Metadata) -> bool {
    false
}

#[cfg(windows)]
fn is_at(_found: &Metadata, _path: &Path) -> bool {
    true
}

/// Appends; where several processes write, the system finds the end.
#[cfg(unix)]
fn write_at(file: &mut File, bytes: &[u8], end: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, end)
}

#[cfg(not(unix))]
fn write_at(file: &mut File, bytes: &[u8], _end: u64) -> io::Result<usize> {
    io::Write::write(file, bytes)
}

/// Opens a file for appending: with its length, and whether it ends with a whole line. One that is spliced into must not
/// be open for appending by the system's lights.
fn open_file(path: &Path, is_spliced_into: bool) -> io::Result<(File, u64, bool)> {
    let appends = !(cfg!(target_os = "linux") && is_spliced_into);
    let mut file = layout::private_file().append(appends).write(true).read(true).open(path)?;
    let len = file.metadata()?.len();
    let mut last = [b'\n'];
    if len > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    Ok((file, len, last == [b'\n']))
}

/// The place of the file that was rotated `age` rotations ago; 0 is the current one.
#[must_use]
pub fn rotated(path: &Path, age: u32) -> PathBuf {
    if age == 0 {
        return path.to_owned();
    }
    let mut name = OsString::from(path);
    name.push(format!(".{age}"));
    name.into()
}

/// Renames `path` to `path.1` and so on; with `files` = 1 the current file is all there is, and goes.
fn turn(path: &Path, files: u32) -> io::Result<()> {
    let oldest = files.max(1) - 1;
    present(fs::remove_file(rotated(path, oldest)))?;
    for age in (0..oldest).rev() {
        present(fs::rename(rotated(path, age), rotated(path, age + 1)))?;
    }
    Ok(())
}

/// A file that is not there needs no turning.
fn present(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;

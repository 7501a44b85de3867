//! What stays the same of a log file while it is renamed, and how many lines it holds.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Read at once while lines are counted: it stays in the cache.
const BLOCK: usize = 256 * 1024;

/// The file system's number and the file's.
pub type Identity = (u64, u64);

/// Which file this is.
///
/// # Errors
/// The system cannot tell.
#[cfg(unix)]
pub fn of(file: &File) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Which file this is.
///
/// # Errors
/// The system cannot tell.
#[cfg(windows)]
pub fn of(file: &File) -> io::Result<Identity> {
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

/// Line ends in a file, from its beginning to its end; where it is read afterwards is not said.
///
/// # Errors
/// It cannot be read.
pub fn count_lines(mut file: &File) -> io::Result<u64> {
    file.seek(SeekFrom::Start(0))?;
    let (mut block, mut lines) = (vec![0; BLOCK], 0);
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(lines),
            Ok(read) => lines += memchr::memchr_iter(b'\n', &block[..read]).count() as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

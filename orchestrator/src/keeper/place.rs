//! What a keeper takes for itself when it begins: the file that says who it is, and room for descriptors.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Arguments;

/// The file that is held locked while a keeper lives, for those who look for one.
pub fn take_file(arguments: &Arguments) -> io::Result<File> {
    let mut file = match &arguments.file_descriptor {
        Some(inherited) => {
            rustix::io::fcntl_setfd(inherited, rustix::io::FdFlags::CLOEXEC)?;
            File::from(inherited.try_clone()?)
        }
        None => OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&arguments.file)?,
    };
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        Errno::WOULDBLOCK => io::Error::other("its keeper runs already"),
        error => error.into(),
    })?;
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
    Ok(file)
}

/// Two for each child of which they are held.
pub fn raise_descriptors() {
    let found = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: found.maximum, ..found });
}

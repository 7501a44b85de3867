//! Unix: the terminal of a process with `tty = true`. Our end is read and written like its pipes would be; its end is its
//! stdin, stdout and stderr and, since it leads a session of its own, its controlling terminal.
//!
//! `<process>/tty` names the process's end while a run is, so that who attaches can say how large its own terminal is.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};

use rustix::fs::{Uid, fchown};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::layout::Layout;

/// What programs expect of a terminal that nobody looks at.
const SIZE: Winsize = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };

/// A new terminal: our end, and the process's, which is to belong to `owner`.
pub(super) fn open(owner: Option<u32>) -> io::Result<(OwnedFd, OwnedFd)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    // Nobody else starts programs meanwhile.
    fcntl_setfd(&ours, FdFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    // An orchestrator leads a session without a terminal: this one is not to become its own.
    let path = OsStr::from_bytes(name.as_bytes());
    let theirs = File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(path)?;
    tcsetwinsize(&ours, SIZE)?;
    if let Some(owner) = owner {
        fchown(&theirs, Some(Uid::from_raw(owner)), None)?;
    }
    Ok((ours, theirs.into()))
}

/// In the child, when the terminal is its stdin: makes it the one of a session of its own. Async-signal-safe.
pub(super) fn take() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?)
}

/// Names the process's end of the terminal that this is our end of.
pub(super) fn publish(layout: &Layout, internal_name: &str, ours: &OwnedFd) {
    let link = layout.terminal(internal_name);
    let published = ptsname(ours, Vec::new()).map_err(io::Error::from).and_then(|name| {
        if let Some(folder) = link.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let _ = fs::remove_file(&link);
        symlink(OsStr::from_bytes(name.as_bytes()), &link)
    });
    if let Err(error) = published {
        tracing::warn!("cannot make {}: {error}", link.display());
    }
}

/// The run is no more.
pub(super) fn withdraw(layout: &Layout, internal_name: &str) {
    let _ = fs::remove_file(layout.terminal(internal_name));
}

//! A run that is another user's needs a way to `sock` (C2): the folders down to it may be passed through, and it may be
//! connected to. Who connects is asked from the kernel and must show a run's token; nothing else in the folders is
//! readable, since each file and folder is closed by itself.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::layout::Layout;

/// To pass through a folder. A user who happens to be in the folder's group is judged by that group's bits alone.
const PASS: u32 = 0o011;
/// To connect to a socket.
const CONNECT: u32 = 0o066;

/// Opens the way to `sock` for others.
pub(super) fn open(layout: &Layout, uid: u32) {
    let private = layout.context();
    if private.is_dir()
        && let Err(error) = fs::set_permissions(&private, Permissions::from_mode(0o700))
    {
        tracing::error!("cannot close {} to others: {error}; uid {uid} gets no way to the server", private.display());
        return;
    }
    let (root, orchestrator, socket) = (layout.root(), layout.orchestrator(), layout.socket());
    let ways = [(layout.home(), PASS), (&root, PASS), (&orchestrator, PASS), (&socket, CONNECT)];
    for (path, bits) in ways {
        if let Err(error) = add(path, bits) {
            tracing::warn!("cannot open {} for uid {uid}: {error}", path.display());
        }
    }
    // What lies above COPO_HOME is not ours to open.
    let closed = layout.home().ancestors().skip(1).find(|folder| !is_passable(folder, uid));
    if let Some(closed) = closed {
        tracing::warn!("uid {uid} cannot reach {}: {} is closed to it", socket.display(), closed.display());
    }
}

/// Opens the way from the application's folder to the socket of one run, for the user it runs as.
pub(super) fn open_socket(socket: &Path) {
    let folder = socket.parent().map(|folder| (folder, PASS));
    for (path, bits) in folder.into_iter().chain([(socket, CONNECT)]) {
        if let Err(error) = add(path, bits) {
            tracing::warn!("cannot open {}: {error}", path.display());
        }
    }
}

/// Closes it again, when nobody is left to go there. COPO_HOME may have to stay open for another application.
pub(super) fn close(layout: &Layout) {
    for folder in [layout.orchestrator(), layout.root()] {
        let closed = fs::metadata(&folder).map(|found| found.permissions().mode()).and_then(|mode| {
            if mode & PASS == 0 {
                Ok(())
            } else {
                fs::set_permissions(&folder, Permissions::from_mode(mode & !PASS & 0o7777))
            }
        });
        if let Err(error) = closed {
            tracing::warn!("cannot close {} to others: {error}", folder.display());
        }
    }
}

fn add(path: &Path, bits: u32) -> std::io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
    if mode & bits == bits { Ok(()) } else { fs::set_permissions(path, Permissions::from_mode(mode | bits)) }
}

/// As far as the permissions tell; groups and access lists may let it through all the same.
fn is_passable(folder: &Path, uid: u32) -> bool {
    fs::metadata(folder)
        .is_ok_and(|found| found.mode() & 0o011 != 0 || (found.uid() == uid && found.mode() & 0o100 != 0))
}

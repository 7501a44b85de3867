//! What is there only while an orchestrator runs: pid files and sockets.

use std::collections::HashSet;

use super::pids;
use crate::layout::Layout;

/// Removes all of them.
pub(super) fn remove(layout: &Layout) {
    remove_but(layout, &HashSet::new());
}

/// Removes all of them but those of these instances, by their internal names.
pub(super) fn remove_but(layout: &Layout, kept: &HashSet<&str>) {
    pids::remove_but(layout, kept);
    #[cfg(unix)]
    if let Err(error) = remove_sockets(layout, kept) {
        tracing::warn!("cannot remove the sockets in {}: {error}", layout.root().display());
    }
}

/// Removes those of one instance.
pub(super) fn remove_of(layout: &Layout, internal_name: &str) {
    pids::remove(layout, internal_name);
    #[cfg(unix)]
    remove_sockets_in(&layout.root().join(internal_name));
}

#[cfg(unix)]
fn remove_sockets(layout: &Layout, kept: &HashSet<&str>) -> std::io::Result<()> {
    use std::{fs, io};
    for entry in fs::read_dir(layout.root())? {
        let entry = entry?;
        if entry.file_name().to_str().is_none_or(|name| !kept.contains(name)) {
            remove_sockets_in(&entry.path());
        }
    }
    match fs::remove_file(layout.socket()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Err(_) | Ok(()) => Ok(()),
    }
}

#[cfg(unix)]
fn remove_sockets_in(folder: &std::path::Path) {
    use std::fs;
    let _ = fs::remove_file(folder.join("tty"));
    let _ = fs::remove_file(folder.join("notify"));
    // Only a folder that held nothing but its socket goes with it.
    if fs::remove_file(folder.join("stdio")).is_ok() {
        let _ = fs::remove_dir(folder);
    }
}

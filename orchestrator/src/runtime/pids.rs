//! `pids/<process>.pid`: there while a run is, with the number of its main process.

use std::fs;
use std::io::Write;

use crate::layout::{self, Layout};

/// Writes an instance's pid file.
pub(super) fn write(layout: &Layout, internal_name: &str, pid: u32) {
    let file = layout::private_file().truncate(true).open(layout.pid(internal_name));
    if let Err(error) = file.and_then(|mut file| writeln!(file, "{pid}")) {
        tracing::warn!("cannot write the pid file of {internal_name}: {error}");
    }
}

/// Removes an instance's pid file.
pub(super) fn remove(layout: &Layout, internal_name: &str) {
    let _ = fs::remove_file(layout.pid(internal_name));
}

/// Removes those that a killed orchestrator left.
pub(super) fn remove_all(layout: &Layout) {
    for entry in fs::read_dir(layout.pids()).into_iter().flatten().flatten() {
        let _ = fs::remove_file(entry.path());
    }
}

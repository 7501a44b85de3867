//! An end that is none: another orchestrator takes the place of this one, and nothing of what runs notices.
//!
//! With a keeper it is the keeper that starts the next one. Without (its keeper was killed) this process becomes one: exec
//! keeps its number, its children and the descriptors it wants to keep, and the next orchestrator is its child.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::driver::Driver;
use super::lock::Lock;
use super::processes;
use crate::keeper::{self, Arguments, Held};

/// Ends without ending anything. Returns when the keeper goes on from here.
pub(super) async fn hand_over(driver: Driver, lock: Lock, binary: Option<PathBuf>) -> u8 {
    let performer = driver.performer;
    let has_keeper = performer.kept.is_there() && !performer.kept.is_lost();
    // Opened before the present ends are closed: no writer meets a pipe without a reader.
    let held = if has_keeper { Vec::new() } else { held(&performer) };
    if let Some(binary) = binary.as_ref().filter(|_| has_keeper) {
        performer.kept.upgrade(binary);
    }
    let mut arguments = Arguments::new(&performer.plan.config_path, &performer.layout.keeper(), Vec::new());
    arguments.is_resumed = true;
    performer.hub.close().await;
    performer.output.close();
    tracing::info!("another orchestrator takes over");
    drop(lock);
    if has_keeper {
        return 0;
    }
    let error = become_keeper(&binary.unwrap_or_else(keeper::own_binary), &arguments, &held);
    tracing::error!("cannot become a keeper: {error}; what runs goes on, and copo up takes it over");
    1
}

fn held(performer: &super::perform::Performer) -> Vec<Held> {
    let journal = performer.journal.borrow();
    let of_run = |(run, live): (&crate::supervisor::RunId, &super::perform::Run)| {
        let noted = journal.run(*run)?;
        let output = processes::open_pipe(live.pid, noted.output?, false)?;
        let stdin = noted.stdin.and_then(|inode| processes::open_pipe(live.pid, inode, true));
        Some(Held { run: run.bytes(), output, stdin })
    };
    performer.runs.iter().filter_map(of_run).collect()
}

fn become_keeper(binary: &Path, arguments: &Arguments, held: &[Held]) -> io::Error {
    for descriptor in held.iter().flat_map(Held::descriptors) {
        if let Err(error) = rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty()) {
            return error.into();
        }
    }
    Command::new(binary).arg0("copo").args(arguments.of_keeper(held, &[])).exec()
}

//! reports.json (C7): the Meta struct as people read it, replaced within 100 ms of a report, at most ten times a second.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::memory;
use super::output::Output;
use crate::layout::{self, Layout};
use crate::server::Hub;

/// The shortest time between two replacements.
const PERIOD: Duration = Duration::from_millis(100);

/// After so long without a report, what was going on is over.
const QUIET: Duration = Duration::from_secs(1);

/// Keeps the file as new as it must be, for ever; sleeps while nothing is reported. Whatever takes much memory for a moment
/// is reported, so it is known here when that is over.
pub(super) async fn keep(hub: Rc<Hub>, output: Rc<Output>, layout: Layout) {
    loop {
        hub.reports_changed().await;
        loop {
            output.reports(layout.reports(), hub.reports_json());
            tokio::time::sleep(PERIOD).await;
            if tokio::time::timeout(QUIET, hub.reports_changed()).await.is_err() {
                break;
            }
        }
        memory::give_back();
    }
}

/// Replaces the file; whoever reads it, and whoever is killed meanwhile, sees the old one or the new one.
pub(super) fn replace(path: &Path, json: &[u8]) {
    if let Err(error) = write_and_rename(path, json) {
        tracing::warn!("cannot write {}: {error}", path.display());
    }
}

fn write_and_rename(path: &Path, json: &[u8]) -> io::Result<()> {
    let new = path.with_extension("json.new");
    let mut file = layout::private_file().truncate(true).open(&new)?;
    file.write_all(json)?;
    drop(file);
    fs::rename(&new, path)
}

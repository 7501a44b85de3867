//! Tells when a log in a folder grows or is new, without asking again and again.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::super::failure::{FAILED, Failure};
use super::chain;

/// What has changed since it was asked last.
#[derive(Debug, Default)]
pub struct Changes {
    /// These instances' logs.
    pub instances: BTreeSet<String>,
    /// Too much to tell: look at everything.
    pub everything: bool,
}

/// Watches a folder of logs for as long as it lives.
#[derive(Debug)]
pub struct Watch {
    changes: Arc<Mutex<Changes>>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// From here on `wake` is called, on another thread, whenever something has changed.
    pub fn new(folder: &Path, wake: impl Fn() + Send + 'static) -> Result<Self, Failure> {
        let cannot = |error: notify::Error| Failure::new(FAILED, format!("cannot watch {}: {error}", folder.display()));
        let changes = Arc::new(Mutex::new(Changes::default()));
        let noted = Arc::clone(&changes);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if note(&mut noted.lock().unwrap_or_else(PoisonError::into_inner), event) {
                wake();
            }
        })
        .map_err(cannot)?;
        watcher.watch(folder, RecursiveMode::NonRecursive).map_err(cannot)?;
        Ok(Self { changes, _watcher: watcher })
    }

    /// What has changed since this was called last.
    pub fn take(&self) -> Changes {
        std::mem::take(&mut self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Notes what an event says; is it the first news since the last taking?
fn note(changes: &mut Changes, event: notify::Result<Event>) -> bool {
    let had_news = changes.everything || !changes.instances.is_empty();
    match event {
        Ok(event) if event.need_rescan() => changes.everything = true,
        // Reading is what we do ourselves.
        Ok(Event { kind: EventKind::Access(_), .. }) => {}
        Ok(event) => {
            let names = event.paths.iter().filter_map(|path| path.file_name()?.to_str());
            changes.instances.extend(names.filter_map(chain::instance_of));
        }
        Err(_) => changes.everything = true,
    }
    !had_news && (changes.everything || !changes.instances.is_empty())
}

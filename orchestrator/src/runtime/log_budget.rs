//! How much all logs of an application may hold together. When it is more, the oldest rotated files go first, whosesoever
//! they are; a current file never does.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// The limit, shared by all logs in a folder.
#[derive(Debug)]
pub(super) struct Budget {
    folder: PathBuf,
    /// In bytes, time indexes included.
    total: AtomicU64,
}

/// The rotated files of one log by age, each with its size (that of its time index included) and when it was written last.
type Rotated = BTreeMap<u32, (u64, SystemTime)>;

impl Budget {
    /// Without a limit yet.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, total: AtomicU64::new(u64::MAX) }
    }

    /// Holds from here on.
    pub(super) fn set(&self, total: Option<u64>) {
        self.total.store(total.unwrap_or(u64::MAX), Ordering::Relaxed);
        self.keep();
    }

    /// To be called when a file has been rotated.
    pub(super) fn keep(&self) {
        let total = self.total.load(Ordering::Relaxed);
        if total == u64::MAX {
            return;
        }
        if let Err(error) = keep(&self.folder, total) {
            tracing::warn!("cannot keep the logs in {} within {total} bytes: {error}", self.folder.display());
        }
    }
}

fn keep(folder: &Path, total: u64) -> io::Result<()> {
    let (mut used, mut logs) = look(folder)?;
    while used > total {
        // Of one log the oldest file goes first whatever the clock says, so that no hole comes into it.
        let oldest_of = |(name, files): (&String, &Rotated)| {
            files.last_key_value().map(|(age, (size, written))| (*written, name.clone(), *age, *size))
        };
        let Some((_, name, age, size)) = logs.iter().filter_map(oldest_of).min() else { return Ok(()) };
        gone(&folder.join(format!("{name}.log.{age}")))?;
        gone(&folder.join(format!("{name}.times.{age}")))?;
        logs.get_mut(&name).and_then(|files| files.remove(&age));
        used -= size;
    }
    Ok(())
}

/// What all files hold together, and which ones may go.
fn look(folder: &Path) -> io::Result<(u64, BTreeMap<String, Rotated>)> {
    let mut used = 0;
    let mut logs: BTreeMap<String, Rotated> = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        used += metadata.len();
        let name = entry.file_name();
        let Some((rest, age)) = name.to_str().and_then(|name| name.rsplit_once('.')) else { continue };
        let Ok(age) = age.parse() else { continue };
        let (log, times) = (rest.strip_suffix(".log"), rest.strip_suffix(".times"));
        let Some(log) = log.or(times) else { continue };
        let files = logs.entry(log.to_owned()).or_default();
        let (size, written) = files.entry(age).or_insert((0, SystemTime::UNIX_EPOCH));
        *size += metadata.len();
        *written = metadata.modified()?.max(*written);
    }
    Ok((used, logs))
}

/// One that is gone already is as good.
fn gone(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Err(_) | Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_oldest_rotated_files_of_all_go_first_and_no_current_one_does() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, at: u64| {
            let file = fs::File::create(folder.path().join(name)).expect("made");
            file.set_len(100).expect("its size");
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(at)).expect("its time");
        };
        // The clock was wrong when b's second file was written.
        for (name, at) in [("a.b-1.log", 1), ("a.b-1.log.1", 30), ("a.b-1.times.1", 30), ("a.b-1.log.2", 10)] {
            write(name, at);
        }
        for (name, at) in [("b-1.log", 1), ("b-1.log.1", 20), ("b-1.log.2", 25), ("other", 0)] {
            write(name, at);
        }
        let left = || {
            let names = fs::read_dir(folder.path()).expect("read").flatten();
            let mut names: Vec<_> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
            names.sort();
            names
        };
        let budget = Budget::new(folder.path().to_owned());
        budget.keep();
        assert_eq!(left().len(), 8);

        budget.set(Some(700));
        assert!(!left().contains(&"a.b-1.log.2".to_owned()), "{:?}", left());
        assert_eq!(left().len(), 7);
        budget.set(Some(599));
        assert_eq!(left(), ["a.b-1.log", "a.b-1.log.1", "a.b-1.times.1", "b-1.log", "other"]);
        budget.set(Some(1));
        assert_eq!(left(), ["a.b-1.log", "b-1.log", "other"]);
    }
}

//! `orchestrator/schedules`: what the next orchestrator is to know of schedules that make up for what they missed.
//!
//! One JSON document, replaced by rename, for its owner alone. It is a file of its own and not read off the reports: those
//! are gone with `durability = "memory"`, with retention and with a purge, and say nothing of a schedule that has never
//! fired yet.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use crate::supervisor::ScheduleNote;

/// The file, and what it holds.
pub(super) struct Schedules {
    path: PathBuf,
    notes: BTreeMap<String, ScheduleNote>,
}

impl Schedules {
    /// Reads the file. One that cannot be read is said to be so, and counts as empty: nothing was missed.
    pub fn read(path: PathBuf) -> Self {
        let notes = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        };
        let notes = notes.unwrap_or_else(|error| {
            tracing::error!("cannot read {}: {error}; no missed time is made up for", path.display());
            BTreeMap::new()
        });
        Self { path, notes }
    }

    /// What is known, by the names of the processes.
    pub fn notes(&self) -> impl Iterator<Item = (&str, &ScheduleNote)> {
        self.notes.iter().map(|(name, note)| (name.as_str(), note))
    }

    /// Keeps this of a process's schedule, or nothing any more.
    pub fn keep(&mut self, process: String, note: Option<ScheduleNote>) {
        let is_new = match note {
            Some(note) => self.notes.insert(process, note.clone()).as_ref() != Some(&note),
            None => self.notes.remove(&process).is_some(),
        };
        if is_new && let Err(error) = self.write() {
            tracing::error!("cannot write {}: {error}", self.path.display());
        }
    }

    fn write(&self) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = own_file(&new)?;
        file.write_all(&serde_json::to_vec(&self.notes)?)?;
        drop(file);
        fs::rename(&new, &self.path)
    }
}

#[cfg(unix)]
fn own_file(path: &std::path::Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// The folder above it is its owner's alone.
#[cfg(windows)]
fn own_file(path: &std::path::Path) -> io::Result<File> {
    File::create(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::Stretch;

    fn note(last: u64) -> ScheduleNote {
        let dealt = vec![Stretch { first: 1, last, then: Some(9) }];
        ScheduleNote { schedule: "@daily UTC".to_owned(), until: 7, dealt, missed: Some((3, 4)) }
    }

    #[test]
    fn what_is_kept_is_there_again_and_a_damaged_file_holds_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("schedules");
        let mut schedules = Schedules::read(path.clone());
        schedules.keep("daily".to_owned(), Some(note(2)));
        schedules.keep("hourly".to_owned(), Some(note(5)));
        schedules.keep("hourly".to_owned(), None);

        let again = Schedules::read(path.clone());
        assert_eq!(again.notes().collect::<Vec<_>>(), [("daily", &note(2))]);

        fs::write(&path, "{\"daily\":").expect("written");
        assert_eq!(Schedules::read(path).notes().count(), 0);
    }
}

//! `orchestrator/state`: what the next orchestrator needs to go on where this one was, should it be killed.
//!
//! A line for each change, written before what was decided is done: a checksum and JSON. A line that a kill cut off, and
//! whatever follows it, counts for nothing. When the file has grown it is replaced by the whole state, by rename. It is
//! for its owner alone (the tokens are in it), and gone after an end in order.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::layout;
use crate::supervisor::{RunId, Saved};

/// The newest form of the file that is written and read here; older ones are read, too.
pub const FORMAT: u32 = 1;
/// A file of at least this size is replaced once it has become four times as long as the state.
const LARGE: u64 = 1024 * 1024;

/// What is noted of a live run beside what the supervisor knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NotedRun {
    pub run: RunId,
    pub internal_name: String,
    pub token: String,
    pub stop_signal: String,
    pub stop_grace: Duration,
    /// The port it was given.
    #[serde(default)]
    pub port: Option<u16>,
    /// The pipes' inode numbers, where they can be found again.
    #[serde(default)]
    pub output: Option<u64>,
    #[serde(default)]
    pub stdin: Option<u64>,
    /// Once its program runs.
    #[serde(default)]
    pub main: Option<Main>,
}

/// A main process. A pid alone names nobody, since numbers are given again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Main {
    pub pid: u32,
    /// When it started, in the system's own unit.
    pub started: u64,
    pub session: u32,
}

/// What an orchestrator that was killed has left.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// Which boot of the machine it was in.
    pub boot: String,
    pub saved: Saved,
    pub runs: BTreeMap<RunId, NotedRun>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<Head>,
    #[serde(skip_serializing_if = "Option::is_none")]
    saved: Option<Saved>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runs: Vec<NotedRun>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gone: Option<RunId>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    version: String,
    boot: String,
}

impl Line {
    fn bytes(&self) -> io::Result<Vec<u8>> {
        let json = serde_json::to_vec(self)?;
        let mut line = format!("{:08x} ", crc32c::crc32c(&json)).into_bytes();
        line.extend(json);
        line.push(b'\n');
        Ok(line)
    }

    /// `None` for half a line.
    fn parse(line: &[u8]) -> Option<io::Result<Self>> {
        let (sum, json) = line.split_at_checked(9)?;
        let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?.strip_suffix(' ')?, 16).ok()?;
        (sum == crc32c::crc32c(json)).then(|| serde_json::from_slice(json).map_err(io::Error::from))
    }
}

/// Reads what was left; `None` when nothing was.
///
/// # Errors
/// It cannot be read, or another version has written it in a form that is not known here.
pub(super) fn read(path: &Path) -> io::Result<Option<Left>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut left = Left::default();
    // What follows the last line end is no line.
    let whole = memchr::memrchr(b'\n', &bytes).map_or(&[][..], |end| &bytes[..end]);
    let lines = whole.split(|byte| *byte == b'\n').map_while(Line::parse);
    let mut has_head = false;
    for (number, line) in lines.enumerate() {
        let unknown = |why: io::Error| io::Error::other(format!("line {} of {}: {why}", number + 1, path.display()));
        let Line { head, saved, runs, gone } = line.map_err(unknown)?;
        if let Some(Head { format, version, boot }) = head {
            if format > FORMAT {
                let known = "this copo reads up to";
                return Err(io::Error::other(format!("version {version} wrote it in form {format}; {known} {FORMAT}")));
            }
            left.boot = boot;
            has_head = true;
        }
        left.saved.merge(saved.unwrap_or_default());
        left.runs.extend(runs.into_iter().map(|run| (run.run, run)));
        gone.map(|run| left.runs.remove(&run));
    }
    Ok(has_head.then_some(left))
}

/// The file, while an orchestrator lives.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    boot: String,
    file: File,
    len: u64,
    /// Its length when it was written whole.
    base: u64,
    runs: BTreeMap<RunId, NotedRun>,
    /// A write failed: said once, not for every change.
    is_failing: bool,
}

impl Journal {
    /// Begins the file with this state, in place of what was there.
    pub(super) fn begin(
        path: PathBuf,
        boot: String,
        saved: Saved,
        runs: BTreeMap<RunId, NotedRun>,
    ) -> io::Result<Self> {
        let (file, len) = write_whole(&path, &boot, saved, &runs)?;
        Ok(Self { path, boot, file, len, base: len, runs, is_failing: false })
    }

    /// Notes what has changed.
    pub(super) fn note(&mut self, saved: Saved) {
        self.append(&Line { saved: Some(saved), ..Line::default() });
    }

    /// Notes a run that is about to start, or has started.
    pub(super) fn note_run(&mut self, run: NotedRun) {
        self.append(&Line { runs: vec![run.clone()], ..Line::default() });
        self.runs.insert(run.run, run);
    }

    /// What is noted of a run.
    pub(super) fn run(&self, run: RunId) -> Option<&NotedRun> {
        self.runs.get(&run)
    }

    /// Forgets a run of which nothing is left.
    pub(super) fn forget_run(&mut self, run: RunId) {
        if self.runs.remove(&run).is_some() {
            self.append(&Line { gone: Some(run), ..Line::default() });
        }
    }

    /// It has grown so long that the whole state should take its place.
    pub(super) fn is_due(&self) -> bool {
        self.len > LARGE.max(self.base.saturating_mul(4))
    }

    /// Replaces it by the whole state.
    pub(super) fn rewrite(&mut self, saved: Saved) {
        match write_whole(&self.path, &self.boot, saved, &self.runs) {
            Ok((file, len)) => (self.file, self.len, self.base) = (file, len, len),
            Err(error) => self.failed(&error),
        }
    }

    /// Everything has ended in order: nothing is left for anyone.
    pub(super) fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }

    fn append(&mut self, line: &Line) {
        let written = line.bytes().and_then(|bytes| {
            // Half a line would hide those that follow it.
            self.file.write_all(&bytes).inspect_err(|_| drop(self.file.set_len(self.len)))?;
            Ok(bytes.len() as u64)
        });
        match written {
            Ok(len) => {
                self.len += len;
                self.is_failing = false;
            }
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::error!("cannot write {}: {error}; a killed orchestrator would be missed", self.path.display());
        }
    }
}

fn write_whole(path: &Path, boot: &str, saved: Saved, runs: &BTreeMap<RunId, NotedRun>) -> io::Result<(File, u64)> {
    let head = Head { format: FORMAT, version: env!("CARGO_PKG_VERSION").to_owned(), boot: boot.to_owned() };
    let line = Line { head: Some(head), saved: Some(saved), runs: runs.values().cloned().collect(), gone: None };
    let bytes = line.bytes()?;
    let new = path.with_extension("new");
    layout::private_file().truncate(true).open(&new)?.write_all(&bytes)?;
    fs::rename(&new, path)?;
    // Windows renames no open file; for appending it is opened anew.
    Ok((OpenOptions::new().append(true).open(path)?, bytes.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::RunSeed;

    fn noted(run: RunId) -> NotedRun {
        let main = Main { pid: 7, started: 8, session: 9 };
        NotedRun {
            run,
            internal_name: "a-1".to_owned(),
            token: "t".to_owned(),
            stop_signal: "SIGTERM".to_owned(),
            stop_grace: Duration::from_secs(10),
            port: None,
            output: Some(10),
            stdin: None,
            main: Some(main),
        }
    }

    fn journal() -> (tempfile::TempDir, PathBuf, Journal) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("state");
        let journal = Journal::begin(path.clone(), "b".to_owned(), Saved::default(), BTreeMap::new()).expect("made");
        (folder, path, journal)
    }

    #[test]
    fn what_was_noted_is_read_and_what_is_gone_is_not() {
        let (_folder, path, mut journal) = journal();
        let mut seed = RunSeed::new(1);
        let (first, second) = (noted(seed.next_id(0)), noted(seed.next_id(0)));
        journal.note_run(first.clone());
        journal.note_run(NotedRun { main: None, ..second.clone() });
        journal.note_run(second.clone());
        journal.forget_run(first.run);

        let left = read(&path).expect("readable").expect("there");

        assert_eq!((left.boot.as_str(), left.runs.into_values().collect::<Vec<_>>()), ("b", vec![second.clone()]));
        journal.rewrite(Saved::default());
        assert_eq!(read(&path).expect("readable").expect("there").runs.len(), 1);
        journal.remove();
        assert!(read(&path).expect("no failure").is_none());
    }

    #[test]
    fn wherever_a_kill_cuts_it_the_whole_lines_before_count() {
        let (_folder, path, mut journal) = journal();
        let mut seed = RunSeed::new(1);
        let ends: Vec<usize> = (0..3)
            .map(|_| {
                let end = fs::metadata(&path).expect("there").len();
                journal.note_run(noted(seed.next_id(0)));
                usize::try_from(end).expect("short")
            })
            .collect();
        let bytes = fs::read(&path).expect("there");
        for cut in ends[0]..bytes.len() {
            fs::write(&path, &bytes[..cut]).expect("written");
            let whole = ends[1..].iter().filter(|end| **end <= cut).count();
            assert_eq!(read(&path).expect("readable").expect("there").runs.len(), whole, "cut at {cut}");
        }
        fs::write(&path, &bytes[..ends[0] - 1]).expect("written");
        assert!(read(&path).expect("readable").is_none(), "half a file names nobody");
    }

    #[test]
    fn what_a_later_version_wrote_is_refused_and_what_it_added_passed_over() {
        let (_folder, path, _journal) = journal();
        let write = |json: &str| {
            let line = format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes()));
            fs::write(&path, line).expect("written");
        };
        write(r#"{"head":{"format":1,"version":"9","boot":"b","more":1},"another":[]}"#);
        assert!(read(&path).expect("readable").is_some());
        write(r#"{"head":{"format":2,"version":"9","boot":"b"}}"#);
        let error = read(&path).expect_err("not known").to_string();
        assert!(error.contains("version 9") && error.contains("form 2"), "{error}");
    }
}

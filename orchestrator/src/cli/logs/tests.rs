//! Logs are read here as the orchestrator writes and rotates them, by plain files.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::source::{Gap, Line, Source, Start};
use super::*;

struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn log(&self) -> PathBuf {
        self.path().join("web-1.log")
    }

    fn write(&self, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.log()).expect("opened");
        file.write_all(text.as_bytes()).expect("written");
    }

    fn note(&self, offset: u64, time: u64) {
        let path = self.path().join("web-1.times");
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("opened");
        file.write_all(&[offset.to_le_bytes(), time.to_le_bytes()].concat()).expect("written");
    }

    /// Begins the index of the current file anew, with a head.
    fn head(&self, chain: u64, lines: u64) {
        let file = fs::File::open(self.log()).expect("there");
        let number = copo_orchestrator::runtime::log_identity::of(&file).expect("known").1;
        let words = [chain, 0, lines, number, 0].map(u64::to_le_bytes).concat();
        fs::write(self.path().join("web-1.times"), [&b"copolog\xff"[..], &words].concat()).expect("written");
    }

    fn rotate(&self) {
        let age = |age: u32| self.path().join(format!("web-1.log.{age}"));
        for older in (1..9).rev().filter(|older| age(*older).exists()) {
            fs::rename(age(older), age(older + 1)).expect("renamed");
        }
        fs::rename(self.log(), age(1)).expect("renamed");
    }

    fn open(&self, start: Start) -> Source {
        Source::open(self.path(), "web-1", start).expect("opened")
    }
}

fn lines(source: &mut Source) -> Vec<String> {
    let mut lost = |_: &str, _: Gap| panic!("nothing is lost");
    let next = std::iter::from_fn(|| source.next_line(&mut lost).expect("read"));
    next.map(|line| String::from_utf8(line.bytes).expect("text").trim_end().to_owned()).collect()
}

#[test]
fn the_chain_is_read_oldest_first() {
    let folder = Folder::new();
    folder.write("a\nb\n");
    folder.rotate();
    folder.write("c\n");
    folder.rotate();
    folder.write("d\ne");

    let mut source = folder.open(Start::First);

    assert_eq!(lines(&mut source), ["a", "b", "c", "d"]);
    let unfinished = source.take_unfinished().map(|line| line.bytes);
    assert_eq!(unfinished.as_deref(), Some(b"e".as_slice()));
}

#[test]
fn the_last_lines_reach_over_files_and_blocks() {
    let folder = Folder::new();
    let long = "x".repeat(100_000);
    folder.write(&format!("a\n{long}\n"));
    folder.rotate();
    folder.write("c\nd");

    let last = |count| {
        let mut source = folder.open(Start::LastLines(count));
        let mut all = lines(&mut source);
        all.extend(source.take_unfinished().map(|line| String::from_utf8(line.bytes).expect("text")));
        all
    };

    assert_eq!(last(0), Vec::<String>::new());
    assert_eq!(last(1), ["d"]);
    assert_eq!(last(2), ["c", "d"]);
    assert_eq!(last(3), [long.as_str(), "c", "d"]);
    assert_eq!(last(4), ["a", &long, "c", "d"]);
    assert_eq!(last(5), ["a", &long, "c", "d"]);
}

#[test]
fn a_reader_follows_across_several_rotations() {
    let folder = Folder::new();
    folder.write("old\n");
    let mut source = folder.open(Start::End);
    assert_eq!(lines(&mut source), Vec::<String>::new());

    folder.write("a\n");
    folder.rotate();
    folder.write("b\n");
    folder.rotate();
    assert_eq!(lines(&mut source), ["a", "b"]);

    folder.write("c");
    assert_eq!(lines(&mut source), Vec::<String>::new());
    folder.write("d\n");
    assert_eq!(lines(&mut source), ["cd"]);
}

#[test]
fn what_was_rotated_away_unread_is_told() {
    let folder = Folder::new();
    folder.write("a\n");
    let mut source = folder.open(Start::First);
    lines(&mut source);
    folder.rotate();
    fs::remove_file(folder.path().join("web-1.log.1")).expect("removed");
    folder.write("c\n");

    let mut told = Vec::new();
    let line = source.next_line(&mut |name: &str, gap: Gap| told.push((name.to_owned(), gap))).expect("read");

    assert_eq!(line, Some(Line { bytes: b"c\n".to_vec(), time: None }));
    assert_eq!(told, [("web-1".to_owned(), None)]);
}

#[test]
fn how_much_was_rotated_away_unread_is_told_exactly_and_at_its_place() {
    let folder = Folder::new();
    folder.write("a\nb\n");
    folder.head(7, 0);
    let mut source = folder.open(Start::LastLines(1));
    let mut told = Vec::new();
    let mut next = |told: &mut Vec<Gap>| {
        let line = source.next_line(&mut |_: &str, gap: Gap| told.push(gap)).expect("read");
        line.map(|line| String::from_utf8(line.bytes).expect("text"))
    };
    assert_eq!(next(&mut told).as_deref(), Some("b\n"));
    assert_eq!(next(&mut told), None);
    // Written, and rotated away twice, before it was looked at again.
    folder.write("c\nd");
    fs::rename(folder.log(), folder.path().join("gone")).expect("renamed");
    folder.write("x\n");
    folder.head(7, 10);

    assert_eq!((next(&mut told).as_deref(), told.len()), (Some("c\n"), 0));
    assert_eq!((next(&mut told).as_deref(), told.len()), (Some("d"), 0), "it goes on nowhere");
    assert_eq!((next(&mut told).as_deref(), told.clone()), (Some("x\n"), vec![Some(7)]));

    // Nothing was between them: with one file only, the one before is always gone.
    fs::rename(folder.log(), folder.path().join("gone too")).expect("renamed");
    folder.write("y\n");
    folder.head(7, 11);
    assert_eq!((next(&mut told).as_deref(), told.len()), (Some("y\n"), 1));

    // Another chain: somebody has removed the log.
    fs::rename(folder.log(), folder.path().join("gone three")).expect("renamed");
    folder.write("z\n");
    folder.head(8, 0);
    assert_eq!((next(&mut told).as_deref(), told.clone()), (Some("z\n"), vec![Some(7), None]));
}

#[test]
fn a_line_has_the_time_its_beginning_was_written() {
    let folder = Folder::new();
    folder.note(0, 10);
    folder.write("a\nb");
    let mut source = folder.open(Start::First);
    let mut next = || source.next_line(&mut |_: &str, _: Gap| ()).expect("read").and_then(|line| line.time);
    assert_eq!(next(), Some(10));
    assert_eq!(next(), None);
    folder.note(3, 20);
    folder.write("c\nd\n");
    assert_eq!([next(), next()], [Some(10), Some(20)]);
}

#[test]
fn a_name_means_a_process_or_one_instance() {
    assert!(means("web", "web-1") && means("web-1", "web-1"));
    assert!(!means("web", "web-api-1") && !means("we", "web-1") && !means("web-2", "web-1"));
    assert!(Selection::everything().has("web-1"));
}

#[test]
fn a_waking_comes_when_a_log_grows_and_when_one_is_new() {
    let folder = Folder::new();
    folder.write("old\n");
    let (wake, woken) = mpsc::channel();
    let wake = move || {
        let _ = wake.send(());
    };
    let watch = watch::Watch::new(folder.path(), wake).expect("watched");
    let changed = || {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            let changes = watch.take();
            if changes.everything || !changes.instances.is_empty() {
                return changes.instances;
            }
            woken.recv_timeout(deadline.saturating_duration_since(std::time::Instant::now())).expect("a waking");
        }
    };

    folder.write("new\n");
    assert!(changed().contains("web-1"));

    fs::write(folder.path().join("db-1.log"), "first\n").expect("written");
    while !changed().contains("db-1") {}
}

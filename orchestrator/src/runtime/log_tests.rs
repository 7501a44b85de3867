use proptest::prelude::*;

use super::super::log_times::TimeIndex;
use super::*;

fn open(folder: &Path, size: u64, files: u32) -> Log {
    Log::open(folder.join("web-1.log"), Some(folder.join("web-1.times")), LogSpec { size, files }).expect("opened")
}

/// All files of a log, oldest first.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let path = folder.join("web-1.log");
    let there = (0..200).map(|age| rotated(&path, age)).take_while(|path| path.exists());
    let mut files: Vec<_> = there.map(|path| fs::read(path).expect("readable")).collect();
    files.reverse();
    files
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rotation_keeps_every_byte_and_cuts_at_line_ends(
        lines in prop::collection::vec("[a-z]{0,40}\n", 0..60),
        cuts in prop::collection::vec(1_usize..100, 1..40),
        size in 50_u64..300,
    ) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let text = lines.concat();
        let mut rest = text.as_bytes();
        for (at, cut) in cuts.iter().cycle().enumerate() {
            if rest.is_empty() {
                break;
            }
            let (chunk, later) = rest.split_at((*cut).min(rest.len()));
            // Opened anew now and then, as by the next orchestrator.
            let mut log = open(folder.path(), size, 200);
            log.write(chunk, 1_000_000 + at as u64 * 10_000).expect("written");
            rest = later;
        }

        let files = files(folder.path());

        prop_assert_eq!(files.concat(), text.as_bytes());
        for file in files.iter().rev().skip(1).rev() {
            prop_assert!(file.ends_with(b"\n"));
            prop_assert!(file.len() as u64 <= size + 41);
        }
    }
}

#[test]
fn only_so_many_files_are_kept_and_the_newest_lines_are_in_the_current_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut log = open(folder.path(), 100, 3);
    for number in 0..1000 {
        log.write(format!("line {number:04}\n").as_bytes(), number * 2000).expect("written");
    }

    let files = files(folder.path());

    assert_eq!(files.len(), 3);
    assert!(files[2].ends_with(b"line 0999\n"));
    assert!(files.iter().all(|file| file.len() <= 100 && file.starts_with(b"line ")));
    // Each file's own index knows its first line, which was written 10 lines after the first of the file before it.
    let first = |age| TimeIndex::open(&rotated(&folder.path().join("web-1.times"), age)).expect("read").time_of(0);
    assert_eq!(first(0).zip(first(1)).map(|(now, before)| now - before), Some(20_000));
}

#[test]
fn a_line_without_end_is_cut_at_twice_the_size() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut log = open(folder.path(), 100, 100);
    for _ in 0..10 {
        log.write(&[b'x'; 77], 0).expect("written");
    }

    let files = files(folder.path());

    assert_eq!(files.concat().len(), 770);
    assert!(files.iter().all(|file| file.len() <= 200));
}

#[test]
fn what_cannot_be_written_is_dropped_and_counted_and_later_lines_are_written_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut log = open(folder.path(), 10, 2);
    log.write(b"0123456\n", 0).expect("written");
    // A folder in the way of the rotation stands for a disk that takes nothing.
    let obstacle = rotated(&folder.path().join("web-1.log"), 1);
    fs::create_dir(&obstacle).expect("made");

    assert!(log.write(b"lost line\n", 0).is_err());
    assert_eq!(log.take_dropped(), 10);
    fs::remove_dir(&obstacle).expect("removed");
    log.write(b"new\n", 0).expect("written");

    assert_eq!(files(folder.path()), [b"0123456\n".to_vec(), b"new\n".to_vec()]);
}

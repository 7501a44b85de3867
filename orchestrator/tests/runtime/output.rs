//! What children write: all of it, in order, in files that are cut at line ends.

use std::fs;

use copo_orchestrator::runtime::log::rotated;
use copo_orchestrator::runtime::log_times::TimeIndex;

use crate::app::{App, lives, until};

#[test]
fn stdout_and_stderr_are_one_stream_in_order() {
    let script = "for n in 1 2 3 4 5; do echo out $n; echo err $n >&2; done; printf end";
    let app = App::up(&format!("[process.web]\nexecutable_path = \"sh\"\nargs = [\"-c\", '''{script}''']\n"));
    app.reported("finished", "web-1");

    let expected: String = (1..=5).map(|n| format!("out {n}\nerr {n}\n")).collect();

    assert_eq!(app.log("web-1"), expected + "end");
}

#[test]
fn rotation_keeps_every_line_and_each_file_has_its_times() {
    let script = "i=0; while [ $i -lt 20 ]; do seq $((i * 5000 + 1)) $((i * 5000 + 5000)); i=$((i + 1)); done";
    let log = "log = { size = \"64KiB\", files = 100 }";
    let app = App::up(&format!("[process.web]\nexecutable_path = \"sh\"\nargs = [\"-c\", '''{script}''']\n{log}\n"));
    app.reported("finished", "web-1");
    let (path, times) = (app.layout.log("web-1"), app.layout.log_times("web-1"));

    let ages: Vec<u32> = (0..).take_while(|age| rotated(&path, *age).exists()).collect();
    let files: Vec<String> =
        ages.iter().rev().map(|age| fs::read_to_string(rotated(&path, *age)).expect("readable")).collect();

    assert!(files.len() > 5);
    assert!(files.iter().all(|file| file.ends_with('\n') && file.len() <= 64 * 1024));
    assert!(files.concat().lines().eq((1..=100_000).map(|n| n.to_string())));
    for age in ages {
        assert!(TimeIndex::open(&rotated(&times, age)).expect("readable").time_of(0).is_some());
    }
}

#[test]
fn a_stray_process_that_holds_the_output_keeps_no_run_from_ending() {
    // The stray leaves the group, so that it outlives it, and goes on holding stdout.
    let script = "setsid sh -c 'echo $$; exec sleep 1000' & sleep 0.2; echo last words";
    let app = App::up(&format!("[process.web]\nexecutable_path = \"sh\"\nargs = [\"-c\", '''{script}''']\n"));

    app.reported("finished", "web-1");

    let lines = app.lines("web-1", 2);
    let stray: i32 = lines[0].parse().expect("a pid");
    assert_eq!(lines[1], "last words");
    assert!(!lives(stray), "it is gone with the run that left it");
}

#[test]
fn the_log_goes_on_where_the_last_orchestrator_left_it() {
    let mut app = App::up("[process.web]\nexecutable_path = \"echo\"\nargs = [\"once\"]\n");
    app.reported("finished", "web-1");
    assert!(app.down().success());

    app.start(&[]);

    until("the second line", || (app.log("web-1") == "once\nonce\n").then_some(()));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_costs_the_log_and_not_the_process() {
    let mut app = App::new("[process.web]\nexecutable_path = \"seq\"\nargs = [\"1\", \"300000\"]\n");
    fs::create_dir_all(app.layout.logs()).expect("made");
    std::os::unix::fs::symlink("/dev/full", app.layout.log("web-1")).expect("made");
    app.start(&[]);

    app.reported("finished", "web-1");

    let own = fs::read_to_string(app.layout.orchestrator_log()).expect("readable");
    assert_eq!(own.matches("cannot write the log of web-1").count(), 1, "{own}");
}

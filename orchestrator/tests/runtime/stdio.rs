//! `<process>/stdio`: following live, and speaking to a process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::app::{App, until};

const CAT: &str = "[process.cat]\nexecutable_path = \"cat\"\nstdin = \"attach\"\nstop_grace = \"1s\"\n";

fn attach(app: &App, internal_name: &str) -> UnixStream {
    let path = app.layout.stdio(internal_name);
    let stream = until("someone listens", || UnixStream::connect(&path).ok());
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    stream
}

fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).expect("a line");
    line
}

#[test]
fn readers_follow_live_and_the_first_speaks_to_the_process() {
    let mut app = App::up(CAT);
    let mut first = attach(&app, "cat-1");
    let mut first_reader = BufReader::new(first.try_clone().expect("cloned"));
    first.write_all(b"one\n").expect("written");
    // An echo shows that the connection has been taken.
    assert_eq!(line(&mut first_reader), "one\n");
    let mut second = attach(&app, "cat-1");
    let mut second_reader = BufReader::new(second.try_clone().expect("cloned"));

    second.write_all(b"from the second\n").expect("written");
    let heard_by_both = until("both hear the same", || {
        first.write_all(b"again\n").expect("written");
        assert_eq!(line(&mut first_reader), "again\n");
        second.set_read_timeout(Some(Duration::from_millis(50))).expect("set");
        let mut heard = String::new();
        second_reader.read_line(&mut heard).is_ok().then_some(heard)
    });

    assert_eq!(heard_by_both, "again\n");
    assert!(!app.log("cat-1").contains("from the second"));
    // Who goes away only detaches: the next one speaks, and the process runs on.
    drop((first, first_reader));
    let heard = until("the second speaks", || {
        second.write_all(b"now me\n").expect("written");
        let mut heard = String::new();
        second_reader.read_line(&mut heard).ok().filter(|_| heard == "now me\n")
    });
    assert_ne!(heard, 0);
    assert!(app.facts("exited", "cat-1").is_empty());
    assert!(app.down().success());
    let mut rest = String::new();
    second.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    second_reader.read_to_string(&mut rest).expect("to the end");
}

#[test]
fn who_stops_speaking_ends_the_stdin_and_still_hears_the_rest() {
    let script = "tr a-z A-Z; echo done";
    let app = App::up(&format!(
        "[process.up]\nexecutable_path = \"sh\"\nargs = [\"-c\", \"{script}\"]\nstdin = \"attach\"\n"
    ));
    let mut stream = attach(&app, "up-1");
    stream.write_all(b"shout\n").expect("written");
    stream.shutdown(Shutdown::Write).expect("half closed");

    let mut reader = BufReader::new(stream);

    assert_eq!(line(&mut reader), "SHOUT\n");
    assert_eq!(line(&mut reader), "done\n");
    app.reported("finished", "up-1");
}

#[test]
fn a_slow_reader_is_told_what_it_missed_and_holds_nobody_up() {
    let script = "read go; seq 1 400000; echo END; exec sleep 1000";
    let process =
        format!("[process.loud]\nexecutable_path = \"sh\"\nargs = [\"-c\", \"{script}\"]\nstdin = \"attach\"\n");
    let app = App::up(&process);
    let mut slow = attach(&app, "loud-1");
    slow.write_all(b"go\n").expect("written");

    // It reads nothing, and the process gets on all the same.
    until("all is in the log", || app.log("loud-1").ends_with("END\n").then_some(()));

    let mut said = String::new();
    let mut reader = BufReader::new(slow);
    let mut skipped = 0;
    while !said.ends_with("END\n") {
        said.clear();
        reader.read_line(&mut said).expect("a line");
        if let Some(notice) = said.strip_prefix("[copo: ") {
            let count = notice.strip_suffix(" bytes skipped]\n").expect("the whole notice");
            skipped += count.parse::<u64>().expect("a number");
        }
    }
    assert!(skipped > 100_000, "{skipped}");
}

#[test]
fn a_process_without_attach_reads_an_empty_stdin() {
    let app = App::up("[process.cat]\nexecutable_path = \"cat\"\n");
    app.reported("finished", "cat-1");
    assert!(app.layout.stdio("cat-1").exists());
}

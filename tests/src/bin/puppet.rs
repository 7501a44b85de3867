//! A child that does what its arguments say, one after the other:
//!
//! `print TEXT`, `error TEXT` (to stderr), `exit CODE`, `abort`, `sleep` (for ever), `wait-file PATH`, `touch PATH`,
//! `append PATH TEXT`, `env NAME` (prints it), `args` (prints the rest), `on-term CODE` (exit with it on SIGTERM),
//! `ignore-term`, `grandchild` (a sleeping child that ignores SIGTERM; prints its pid), `stray` (one in a session of its
//! own), `daemon` (one whose parent has ended as well), `bare-daemon` (one that has an empty environment, too), `lines N` (prints N numbered
//! lines), `flood N` (N numbered lines of 100 bytes, fast), `lines-until PATH` and `send-until PATH` (until there is such a file; the second writes how many to `sent`),
//! `send KEY TEXT`, `send-many N`, `send-numbers` (pid and number, for ever; prints those it knows to be stored), `follow-on
//! PATTERN PATH` (appends each record's Seq to the file, from where it ends), `ready`, `report TEXT`, `wait-stop`, `follow PATTERN N` (prints N records),
//! `cat` (stdin to stdout), `cwd` (prints it), `pid` (prints it), `ids` (prints as whom it runs, and its limits),
//! `terminal` (prints which of its streams are one), `wait-size COLUMNSxROWS` (of its terminal; prints it), `notify TEXT`
//! (to NOTIFY_SOCKET, as sd_notify(3) does), `feed N MILLIS` (N times WATCHDOG=1, with that much in between), `main-child`
//! (a sleeping child in a group of its own that becomes the main process), `subscribe PATTERN` (and reads nothing of it).

use std::io::Write;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

fn main() {
    let mut args = std::env::args().skip(1);
    while let Some(verb) = args.next() {
        perform(&verb, &mut args);
    }
}

fn perform(verb: &str, args: &mut impl Iterator<Item = String>) {
    let mut next = || args.next().unwrap_or_else(|| panic!("{verb} wants an argument"));
    match verb {
        "print" => say(&next()),
        "error" => eprintln!("{}", next()),
        "exit" => std::process::exit(next().parse().expect("an exit code")),
        "abort" => std::process::abort(),
        "sleep" => sleep_for_ever(),
        "wait-file" => wait_file(&next()),
        "touch" => std::fs::write(next(), "").expect("the file can be written"),
        "append" => append(&next(), &next()),
        "env" => say(&std::env::var(next()).unwrap_or_else(|_| "(not set)".to_owned())),
        "args" => say(&args.collect::<Vec<_>>().join("|")),
        "on-term" => exit_on_term(next().parse().expect("an exit code")),
        "ignore-term" => ignore_term(),
        "grandchild" => grandchild(false, false),
        "stray" => grandchild(true, false),
        "bare-stray" => grandchild(true, true),
        "daemon" => run_to_its_end("stray"),
        "bare-daemon" => run_to_its_end("bare-stray"),
        "ids" => say(&ids()),
        "lines" => lines(next().parse().expect("a count")),
        "flood" => flood(next().parse().expect("a count")),
        "lines-until" => lines_until(&next()),
        "send-until" => send_until(&next()),
        "send" => client().udd_send_key_sync(&next(), next().as_bytes()).map(drop).expect("the record is taken"),
        "send-numbers" => send_numbers(),
        "send-many" => send_many(next().parse().expect("a count")),
        "ready" => client().ready().expect("readiness is taken"),
        "report" => report(&next()),
        "wait-stop" => drop(client().wait_stop(None).expect("stop events are told")),
        "follow-on" => follow_on(&next(), &next()),
        "follow" => follow(&next(), next().parse().expect("a count")),
        "cat" => drop(std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).expect("stdin is read to its end")),
        "cwd" => say(&std::env::current_dir().expect("a working folder").display().to_string()),
        "pid" => say(&std::process::id().to_string()),
        "terminal" => say(&terminal()),
        "wait-size" => wait_size(&next()),
        "notify" => notify(&next()),
        "feed" => feed(next().parse().expect("a count"), next().parse().expect("milliseconds")),
        "main-child" => main_child(),
        "subscribe" => subscribe(&next()),
        other => panic!("the puppet does not know {other}"),
    }
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).expect("stdout is open");
}

fn client() -> &'static copo::Client {
    static CLIENT: std::sync::OnceLock<copo::Client> = std::sync::OnceLock::new();
    CLIENT.get_or_init(|| copo::Client::connect().expect("an orchestrator answers"))
}

fn sleep_for_ever() {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn wait_file(path: &str) {
    while !std::path::Path::new(path).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn append(path: &str, text: &str) {
    let mut file = std::fs::File::options().append(true).create(true).open(path).expect("the file can be opened");
    file.write_all(format!("{text}\n").as_bytes()).expect("the file can be written");
}

fn lines(count: u64) {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for i in 0..count {
        writeln!(out, "line {i}").expect("stdout is open");
    }
    out.flush().expect("stdout is open");
}

/// Numbered lines of 100 bytes, as fast as they are taken.
fn flood(count: usize) {
    let mut out = std::io::stdout().lock();
    let (mut block, mut filled) = (vec![b'.'; 640 * 100], 0);
    for number in 0..count {
        let line = &mut block[filled..filled + 100];
        line[..12].copy_from_slice(format!("{number:012}").as_bytes());
        line[99] = b'\n';
        filled += 100;
        if filled == block.len() || number + 1 == count {
            out.write_all(&block[..filled]).expect("stdout is open");
            filled = 0;
        }
    }
}

fn lines_until(path: &str) {
    let mut out = std::io::stdout().lock();
    for i in (0u64..).step_by(100) {
        let lines: String = (i..i + 100).map(|n| format!("line {n}\n")).collect();
        out.write_all(lines.as_bytes()).expect("stdout is open");
        // A hundred thousand lines a second are enough.
        std::thread::sleep(Duration::from_millis(1));
        if std::path::Path::new(path).exists() {
            return;
        }
    }
}

fn send_until(path: &str) {
    let mut sent = 0u64;
    while !std::path::Path::new(path).exists() {
        client().udd_send_key("many", sent.to_string().as_bytes()).expect("the record is accepted");
        sent += 1;
        if sent.is_multiple_of(50) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    client().flush().expect("all are acknowledged");
    std::fs::write("sent", format!("{sent}\n")).expect("the file can be written");
}

fn send_many(count: u64) {
    for i in 0..count {
        client().udd_send_key("many", i.to_string().as_bytes()).expect("the record is accepted");
    }
    client().flush().expect("all are acknowledged");
}

fn send_numbers() {
    let pid = std::process::id();
    for number in 0u64.. {
        let text = format!("{pid} {number}");
        if number % 20 == 19 {
            client().udd_send_key_sync("numbers", text.as_bytes()).expect("the record is taken");
            say(&text);
            std::thread::sleep(Duration::from_millis(1));
        } else {
            client().udd_send_key("numbers", text.as_bytes()).expect("the record is accepted");
        }
    }
}

fn follow_on(pattern: &str, path: &str) {
    let seen = std::fs::read_to_string(path).unwrap_or_default();
    let from = match seen.lines().last() {
        Some(seq) => copo::From::Seq(seq.parse::<u64>().expect("a Seq") + 1),
        None => copo::From::First,
    };
    let options = copo::SubscribeOptions::default().from(from).key_pattern(pattern);
    let mut subscription = client().udd_subscribe(&options).expect("the subscription stands");
    loop {
        match subscription.next(None).expect("a record comes") {
            copo::Item::Record(record) => append(path, &record.seq.to_string()),
            other => panic!("{other:?} is no record"),
        }
    }
}

fn report(text: &str) {
    client().meta_report(text.as_bytes()).and_then(|()| client().flush()).expect("the report is taken");
}

fn follow(pattern: &str, count: usize) {
    let options = copo::SubscribeOptions::default().from(copo::From::First).key_pattern(pattern);
    let mut subscription = client().udd_subscribe(&options).expect("the subscription stands");
    for _ in 0..count {
        if let copo::Item::Record(record) = subscription.next(None).expect("a record comes") {
            say(&format!("{} {} {}", record.sent_by, record.key, String::from_utf8_lossy(&record.udd_buff)));
        }
    }
}

fn subscribe(pattern: &str) {
    let options = copo::SubscribeOptions::default().from(copo::From::First).key_pattern(pattern);
    // Kept open to the end of the process.
    std::mem::forget(client().udd_subscribe(&options).expect("the subscription stands"));
}

#[cfg(unix)]
fn notify(text: &str) {
    let path = std::env::var_os("NOTIFY_SOCKET").expect("a NOTIFY_SOCKET");
    let socket = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
    socket.send_to(text.as_bytes(), path).expect("the message is taken");
}

fn feed(count: u32, millis: u64) {
    for _ in 0..count {
        notify("WATCHDOG=1");
        std::thread::sleep(Duration::from_millis(millis));
    }
}

/// Never waited for: it is to outlive this process.
#[cfg(unix)]
#[allow(clippy::zombie_processes)]
fn main_child() {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = std::process::Command::new(program);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command.arg("sleep").spawn().expect("the puppet runs");
    notify(&format!("MAINPID={}\nREADY=1", child.id()));
}

static TERM_CODE: AtomicI32 = AtomicI32::new(0);

#[cfg(unix)]
fn exit_on_term(code: i32) {
    extern "C" fn on_term(_signal: i32) {
        // SAFETY: _exit and an atomic load are async-signal-safe.
        unsafe { libc::_exit(TERM_CODE.load(Ordering::Relaxed)) }
    }
    TERM_CODE.store(code, Ordering::Relaxed);
    // SAFETY: the handler is async-signal-safe, and stays for the life of the process.
    unsafe { libc::signal(libc::SIGTERM, on_term as *const () as libc::sighandler_t) };
}

#[cfg(unix)]
fn ignore_term() {
    // SAFETY: ignoring a signal has no precondition.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
}

#[cfg(not(unix))]
fn exit_on_term(code: i32) {
    TERM_CODE.store(code, Ordering::Relaxed);
}

#[cfg(not(unix))]
fn ignore_term() {}

#[cfg(not(unix))]
fn notify(_text: &str) {
    panic!("there is no NOTIFY_SOCKET here");
}

#[cfg(not(unix))]
fn main_child() {
    notify("MAINPID");
}

/// Never waited for: it is to outlive this process, or to be killed with its group.
#[allow(clippy::zombie_processes)]
fn grandchild(own_session: bool, is_bare: bool) {
    let mut command = puppet();
    command.args(["ignore-term", "sleep"]);
    if is_bare {
        command.env_clear();
    }
    if own_session {
        lead_a_session(&mut command);
    }
    say(&command.spawn().expect("the puppet runs").id().to_string());
}

fn run_to_its_end(verb: &str) {
    assert!(puppet().arg(verb).status().expect("the puppet runs").success());
}

fn puppet() -> std::process::Command {
    std::process::Command::new(std::env::current_exe().expect("this program has a path"))
}

#[cfg(unix)]
fn lead_a_session(command: &mut std::process::Command) {
    // SAFETY: setsid is async-signal-safe.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(command, || {
            if libc::setsid() < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
        });
    }
}

#[cfg(not(unix))]
fn lead_a_session(_command: &mut std::process::Command) {}

/// uid, gid, niceness, umask, limit of open files, limit of the core file.
#[cfg(unix)]
fn ids() -> String {
    let limit = |resource| {
        let limit = rustix::process::getrlimit(resource);
        limit.current.map_or("infinity".to_owned(), |limit| limit.to_string())
    };
    let umask = rustix::process::umask(rustix::fs::Mode::empty()).as_raw_mode();
    let nice = rustix::process::getpriority_process(None).expect("a niceness");
    let (nofile, core) = (limit(rustix::process::Resource::Nofile), limit(rustix::process::Resource::Core));
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    format!("{uid} {gid} {nice} {umask:o} {nofile} {core}")
}

#[cfg(not(unix))]
fn ids() -> String {
    String::new()
}

fn terminal() -> String {
    use std::io::IsTerminal;
    let (stdin, stdout) = (std::io::stdin().is_terminal(), std::io::stdout().is_terminal());
    format!("{stdin} {stdout} {}", std::io::stderr().is_terminal())
}

#[cfg(unix)]
fn wait_size(wanted: &str) {
    let size = || rustix::termios::tcgetwinsize(rustix::stdio::stdin()).expect("a terminal");
    let text = |size: rustix::termios::Winsize| format!("{}x{}", size.ws_col, size.ws_row);
    while text(size()) != wanted {
        std::thread::sleep(Duration::from_millis(5));
    }
    say(wanted);
}

#[cfg(not(unix))]
fn wait_size(_wanted: &str) {}

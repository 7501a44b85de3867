//! `copo down`: returns when every process group and the orchestrator are gone.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use copo::v1::request::Kind;
use copo::v1::{self, State};
use copo::{Client, ErrorCode};
use copo_orchestrator::layout::Layout;
use copo_orchestrator::runtime;
use copo_orchestrator::runtime::lock::{self, Holder, LockError};

use super::args::{Down, Place};
use super::control;
use super::failure::{FAILED, Failure, Outcome};
use super::find::{self, Target};
use super::output;

/// After this long, and from then on each time as long again, it is said who blocks.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// An orchestrator that holds its lock answers within this time, or not at all.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How often the lock is looked at while an orchestrator starts or ends: both take a few milliseconds.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// `copo down [-t S] [--purge]`
pub fn run(place: &Place, down: &Down) -> Outcome {
    let target = find::target(place)?;
    let Some(client) = reach(&target)? else { return sweep(&target.layout, down.purge) };
    let grace_ms = down.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    stop(&client, v1::Down { grace_ms, kill: false, purge: down.purge })?;
    wait_until_free(&target.layout)
}

/// Connects; `None` when nothing is up. One that is only just starting or ending holds the lock and does not answer yet
/// or any more: that is waited for.
fn reach(target: &Target) -> Result<Option<Client>, Failure> {
    let deadline = Instant::now() + ANSWER_WITHIN;
    loop {
        if let Some(client) = target.connect_if_up()? {
            return Ok(Some(client));
        }
        let Some(holder) = holder(&target.layout)? else {
            end_keeper(&target.layout);
            return Ok(None);
        };
        if Instant::now() > deadline {
            let (application, pid) = (target.layout.application(), holder.pid);
            let message = format!("cannot stop {application}: its orchestrator (pid {pid}) runs, but does not answer");
            return Err(Failure::new(FAILED, message));
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// Asks for the end and waits for it, saying who blocks.
fn stop(client: &Client, request: v1::Down) -> Outcome {
    let (sender, answers) = mpsc::channel();
    let asking = client.clone();
    thread::spawn(move || sender.send(ask(&asking, request)));
    let mut said = String::new();
    loop {
        match answers.recv_timeout(PATIENCE) {
            Ok(answer) => return answer,
            Err(RecvTimeoutError::Timeout) => said = say_who_blocks(client, said),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// Asks the orchestrator to end. One that is gone before its answer came has ended as well.
pub fn ask(client: &Client, request: v1::Down) -> Outcome {
    match client.call(Kind::Down(request), None) {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.code(), ErrorCode::Closed | ErrorCode::NoOrchestrator) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// So many of those who block are named; of more nobody reads the names.
const MOST_NAMED: usize = 10;

/// Says which processes are still there, unless that was said last; returns what was said last.
pub fn say_who_blocks(client: &Client, said: String) -> String {
    let Ok(processes) = control::processes(client) else { return said };
    let blocking = |process: &&v1::ProcessStatus| process.state() == State::Stopping || process.pid.is_some();
    let count = processes.iter().filter(blocking).count();
    let mut names: Vec<String> = processes
        .iter()
        .filter(blocking)
        .take(MOST_NAMED)
        .map(|process| match process.pid {
            Some(pid) => format!("{} (pid {pid}{})", process.internal_name, command_of(pid)),
            None => process.internal_name.clone(),
        })
        .collect();
    if count > MOST_NAMED {
        names.push(format!("{} more", count - MOST_NAMED));
    }
    let names = names.join(", ");
    if names != said && !names.is_empty() {
        output::say(&format!("waiting for {names} to end"));
    }
    names
}

/// ", <command line>" of a process, where the system tells it.
fn command_of(pid: u32) -> String {
    /// More nobody reads.
    const MOST: usize = 60;
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).trim_end_matches('\0').replace(['\0', '\n'], " ");
    let cut: String = line.chars().take(MOST).collect();
    let more = if cut.len() < line.len() { "…" } else { "" };
    if cut.is_empty() { String::new() } else { format!(", {cut}{more}") }
}

/// A keeper without an orchestrator has waited in vain for one to answer: it ends, and what it kept is swept up.
fn end_keeper(layout: &Layout) {
    #[cfg(target_os = "linux")]
    while let Some(keeper) = lock::keeper(layout) {
        copo_orchestrator::keeper::end(keeper);
        thread::sleep(LOOK_AGAIN);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = layout;
}

/// The orchestrator's lock goes with its process, whatever became of its answer.
fn wait_until_free(layout: &Layout) -> Outcome {
    while holder(layout)?.is_some() || lock::keeper(layout).is_some() {
        thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

fn holder(layout: &Layout) -> Result<Option<Holder>, Failure> {
    lock::holder(layout).map_err(|error| Failure::io(format!("read {}", layout.lock().display()), &error))
}

/// Leaves nothing behind of an application that is not up: neither what a killed orchestrator left running, nor, if
/// `purge` says so, its context.
fn sweep(layout: &Layout, purge: bool) -> Outcome {
    if !layout.orchestrator().is_dir() {
        return Ok(());
    }
    let application = layout.application();
    // Held meanwhile, so that no orchestrator starts on half a context.
    let _lock = lock::acquire(layout, &layout.context()).map_err(|error| match error {
        LockError::Held(Holder { pid, .. }) => {
            Failure::new(FAILED, format!("cannot clean up {application}: an orchestrator (pid {pid}) has just started"))
        }
        LockError::Io(error) => Failure::io(format!("lock {}", layout.lock().display()), &error),
    })?;
    runtime::sweep(layout, purge).map_err(|error| Failure::io(format!("empty the context of {application}"), &error))
}

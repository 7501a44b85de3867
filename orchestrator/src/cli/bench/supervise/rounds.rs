//! A round: so many processes started, looked at while they idle, crashed one by one, left alone by their orchestrator, and
//! stopped.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;

use super::child::WORD;
use super::limit::{self, Limit};
use super::stamps::{Stamps, until};
use super::usage::Usage;
use crate::cli::bench::args::Supervise;
use crate::cli::bench::meter;
use crate::cli::bench::own::Own;
use crate::cli::failure::{FAILED, Failure};

/// How many are crashed, one after the other.
const CRASHES: usize = 20;
/// What was set going by the start is over after this.
const SETTLED: Duration = Duration::from_secs(2);

/// What came of it; times in nanoseconds.
#[derive(Debug, Default)]
pub struct Round {
    pub start: f64,
    pub stop: f64,
    pub down: f64,
    pub restarts: Vec<f64>,
    pub pss_kb: f64,
    pub wakeups: f64,
    pub adopt: f64,
}

/// Of the limit.
pub fn limit(program: &Path, processes: usize) -> Result<Round, Failure> {
    let folder = tempfile::tempdir().map_err(|error| Failure::io("make a folder for the limit", &error))?;
    let stamps = Stamps::new(folder.path().join("stamps"))?;
    let mut limit = Limit::new(program)?;
    let start = limit.start(processes, &stamps)?;
    let crashed = crashed(processes).enumerate();
    let restarts =
        crashed.map(|(crash, which)| limit.restart(which, &stamps, processes + crash)).collect::<Result<_, _>>()?;
    Ok(Round { start, restarts, stop: limit.stop(), ..Round::default() })
}

/// Of Copo.
pub fn copo(program: &Path, asked: &Supervise) -> Result<Round, Failure> {
    let processes = asked.processes as usize;
    let mut own = Own::new()?;
    let stamps = Stamps::new(own.folder().join("stamps"))?;
    own.configure(&config(program, processes, &stamps))?;
    let before = meter::now();
    own.up()?;
    let mut started = stamps.wait(processes)?;
    let mut round =
        Round { start: (started.values().max().copied().unwrap_or(before) - before) as f64, ..Round::default() };
    thread::sleep(SETTLED);
    let usage = Usage::of(own.pid);
    round.pss_kb = usage.pss_kb() as f64;
    let switches = usage.switches();
    thread::sleep(Duration::from_secs(asked.idle.into()));
    round.wakeups = (usage.switches() - switches) as f64 / f64::from(asked.idle);
    round.restarts = crash(&mut started, &stamps)?;
    round.adopt = leave_alone(&mut own, &usage, processes)?;
    (round.stop, round.down) = stop(&own, &started)?;
    Ok(round)
}

fn config(program: &Path, processes: usize, stamps: &Stamps) -> String {
    format!(
        "application = \"bench\"\n[process.child]\nexecutable_path = {:?}\nargs = [{WORD:?}, \"stamp\", {:?}]\n\
         replicas = {processes}\nrestart = \"always\"\n",
        program.display().to_string(),
        stamps.path().display().to_string()
    )
}

/// Which ones are crashed: spread over all.
fn crashed(processes: usize) -> impl Iterator<Item = usize> {
    let crashes = CRASHES.min(processes);
    (0..crashes).map(move |crash| crash * processes / crashes)
}

fn crash(started: &mut BTreeMap<u32, u64>, stamps: &Stamps) -> Result<Vec<f64>, Failure> {
    let pids: Vec<u32> = started.keys().copied().collect();
    let mut restarts = Vec::new();
    let before = started.len();
    for (crash, which) in crashed(pids.len()).enumerate() {
        let start = meter::now();
        let _ = kill_process(pid(pids[which])?, Signal::KILL);
        let all = stamps.wait(before + crash + 1)?;
        restarts.push((all.values().max().copied().unwrap_or(start) - start) as f64);
        started.remove(&pids[which]);
        started.extend(all.into_iter().filter(|(_, time)| *time > start));
    }
    Ok(restarts)
}

/// Kills the orchestrator; nanoseconds until one has all its processes in hand again.
fn leave_alone(own: &mut Own, usage: &Usage, processes: usize) -> Result<f64, Failure> {
    // What the last crash has set going is to be written down.
    thread::sleep(Duration::from_millis(200));
    let start = meter::now();
    let _ = kill_process(pid(own.pid)?, Signal::KILL);
    if !usage.has_keeper() {
        own.copo(&["up", "-d"])?;
    }
    let in_hand = until("an orchestrator to be back", || {
        let Ok(ps) = own.ask(&["ps", "--json"]) else { return Ok(None) };
        let ps: Value = serde_json::from_slice(&ps).unwrap_or_default();
        let running = ps.as_array().into_iter().flatten().filter(|process| process["state"] == "running");
        Ok((running.count() == processes).then(meter::now))
    })?;
    own.find_pid()?;
    Ok((in_hand - start) as f64)
}

/// Nanoseconds until the last process is gone, and until the orchestrator is.
fn stop(own: &Own, started: &BTreeMap<u32, u64>) -> Result<(f64, f64), Failure> {
    let open = |pid| pidfd_open(pid, PidfdFlags::empty());
    let watched: Vec<OwnedFd> = started.keys().filter_map(|number| open(pid(*number).ok()?).ok()).collect();
    if watched.len() < started.len() {
        let gone = started.len() - watched.len();
        return Err(Failure::new(
            FAILED,
            format!("cannot measure: {gone} processes did not survive their orchestrator"),
        ));
    }
    let start = meter::now();
    thread::scope(|scope| {
        let down = scope.spawn(|| own.copo(&["down"]).map(|_| meter::now()));
        watched.iter().for_each(limit::ended);
        let stopped = meter::now();
        let down = down.join().map_err(|_| Failure::new(FAILED, "cannot measure: down did not end"))??;
        Ok(((stopped - start) as f64, (down - start) as f64))
    })
}

fn pid(pid: u32) -> Result<Pid, Failure> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| Failure::new(FAILED, "cannot measure: a process left no pid"))
}

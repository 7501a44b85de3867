//! Linux without a cgroup: what a run has started and what has left its group since (a session of its own, a daemon that
//! forked twice). Orphans come to us (PR_SET_CHILD_SUBREAPER), so the strays of a run whose main process has ended are
//! children of ours, or below one. They are told by COPO_RUN in their environment; those that emptied it by having been
//! seen below the main process when the run was signalled.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use copo_proto::env;
use rustix::process::{Signal, kill_process};

use super::census::Look;
use super::child::pid_of;

/// How often, and after how long each time, it is looked whether what was killed at the end is gone. Longer than this
/// takes only what hangs in the kernel.
const LAST_LOOKS: u32 = 200;
const LAST_LOOK: Duration = Duration::from_millis(5);

/// The strays of one run.
#[derive(Debug)]
pub(super) struct Strays {
    run: String,
    /// Those seen below the main process, with the time each started: a number alone names nobody.
    seen: RefCell<BTreeMap<u32, u64>>,
}

impl Strays {
    /// Of a run, by its id in text.
    pub(super) fn of(run: &str) -> Self {
        Self { run: run.to_owned(), seen: RefCell::default() }
    }

    /// Takes note of who is below the main process, as long as it is there to be asked.
    pub(super) fn look(&self, leader: u32) {
        let below = below(leader);
        let known = below.into_iter().filter_map(|pid| Some((pid, started(pid)?)));
        self.seen.borrow_mut().extend(known);
    }

    /// Kills those that live; whether there was one. `is_leader` says which of our children are others' main processes.
    pub(super) fn kill(&self, is_leader: &impl Fn(u32) -> bool) -> bool {
        let ours = children(std::process::id()).into_iter().filter(|pid| !is_leader(*pid));
        self.kill_below(ours.filter(|pid| self.is_marked(*pid)))
    }

    /// The same of a run whose orphans may have gone to others than us.
    pub(super) fn kill_anywhere(&self, is_leader: &impl Fn(u32) -> bool, look: &Look) -> bool {
        // The look may be older than a process that has the number now.
        let marked = look.of_run(&self.run).iter().copied().filter(|pid| !is_leader(*pid));
        self.kill_below(marked.filter(|pid| self.is_marked(*pid)))
    }

    /// Kills those that live of these, of those below them, and of those seen.
    fn kill_below(&self, marked: impl Iterator<Item = u32>) -> bool {
        let marked = marked.flat_map(|pid| {
            let mut tree = below(pid);
            tree.push(pid);
            tree
        });
        let mut seen = self.seen.borrow_mut();
        seen.retain(|pid, then| started(*pid) == Some(*then));
        let mut alive: Vec<u32> = marked.chain(seen.keys().copied()).filter(|pid| started(*pid).is_some()).collect();
        alive.sort_unstable();
        alive.dedup();
        for pid in &alive {
            let _ = kill_process(pid_of(*pid), Signal::KILL);
        }
        !alive.is_empty()
    }

    fn is_marked(&self, pid: u32) -> bool {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        let run = variables.find_map(|variable| variable.strip_prefix(env::RUN.as_bytes())?.strip_prefix(b"="));
        run == Some(self.run.as_bytes())
    }
}

/// At the end of the application: nothing may be left that descends from us, whoever it was. What runs our own program
/// serves us (a keeper) and ends by itself.
pub(super) async fn end_all() {
    let own = fs::read_link("/proc/self/exe").ok();
    let is_own = |pid: &u32| own.is_some() && fs::read_link(format!("/proc/{pid}/exe")).ok() == own;
    for _ in 0..LAST_LOOKS {
        let left: Vec<u32> = children(std::process::id()).into_iter().filter(|pid| !is_own(pid)).collect();
        let left: Vec<u32> = left.iter().copied().chain(left.iter().flat_map(|pid| below(*pid))).collect();
        let alive: Vec<u32> = left.into_iter().filter(|pid| started(*pid).is_some()).collect();
        if alive.is_empty() {
            return;
        }
        for pid in alive {
            let _ = kill_process(pid_of(pid), Signal::KILL);
        }
        tokio::time::sleep(LAST_LOOK).await;
    }
}

/// All that descend from a process, itself not included.
fn below(pid: u32) -> Vec<u32> {
    let mut all = children(pid);
    let mut next = 0;
    while let Some(pid) = all.get(next) {
        all.extend(children(*pid));
        next += 1;
    }
    all
}

/// The children of a process, dead or alive.
fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists: Vec<_> = tasks.map(|task| fs::read_to_string(task.path().join("children"))).collect();
    if lists.iter().any(Result::is_ok) {
        return lists.into_iter().flatten().flat_map(|list| numbers(&list)).collect();
    }
    // A kernel without those lists (CONFIG_PROC_CHILDREN): everybody is asked for its parent.
    all().into_iter().filter(|other| stat(*other).is_some_and(|stat| stat.parent == pid)).collect()
}

/// Every process there is.
fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn numbers(list: &str) -> Vec<u32> {
    list.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

struct Stat {
    is_dead: bool,
    parent: u32,
    started: u64,
}

/// When a living process started, in ticks since the boot.
fn started(pid: u32) -> Option<u64> {
    stat(pid).filter(|stat| !stat.is_dead).map(|stat| stat.started)
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; behind it stand state, parent …
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Stat {
        is_dead: matches!(*fields.first()?, "Z" | "X"),
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

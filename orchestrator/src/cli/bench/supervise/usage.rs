//! What an orchestrator uses of the machine, its keeper included.

use std::fs;
use std::path::PathBuf;

/// An orchestrator, and its keeper if it has one.
pub struct Usage {
    pids: Vec<u32>,
}

impl Usage {
    pub fn of(orchestrator: u32) -> Self {
        let keeper = parent(orchestrator).filter(|parent| executable(*parent) == executable(orchestrator));
        Self { pids: [Some(orchestrator), keeper].into_iter().flatten().collect() }
    }

    /// Is somebody there who starts it anew?
    pub fn has_keeper(&self) -> bool {
        self.pids.len() > 1
    }

    /// Memory in kB, what is shared counted in shares (PSS).
    pub fn pss_kb(&self) -> u64 {
        self.pids.iter().map(|pid| field(format!("/proc/{pid}/smaps_rollup"), "Pss:")).sum()
    }

    /// How often a thread of theirs has given a processor up, that is, been woken before.
    pub fn switches(&self) -> u64 {
        let tasks = self.pids.iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten());
        let status = |task: PathBuf| {
            let status = task.join("status");
            field(status.display().to_string(), "voluntary_ctxt_switches:")
        };
        tasks.flatten().map(|task| status(task.path())).sum()
    }
}

fn parent(pid: u32) -> Option<u32> {
    u32::try_from(field(format!("/proc/{pid}/status"), "PPid:")).ok().filter(|parent| *parent > 1)
}

fn executable(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// A number in a file of /proc; 0 where there is none.
fn field(path: String, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

//! What has left its run's group: a session of its own, a daemon that forked twice. On Linux it is found in the run's
//! cgroup, or else by COPO_RUN in its environment. Elsewhere nobody can say whose it was.

use super::census::Census;
#[cfg(target_os = "linux")]
use super::cgroup::Cgroup;
use super::leaders::Leaders;
#[cfg(target_os = "linux")]
use super::strays::Strays;

/// Where it is found.
#[derive(Debug)]
pub(super) struct Rest {
    #[cfg(target_os = "linux")]
    place: Place,
}

#[cfg(target_os = "linux")]
#[derive(Debug)]
enum Place {
    In(Cgroup),
    Among(Strays),
}

#[cfg(target_os = "linux")]
impl Rest {
    /// Of a run of ours, with its cgroup if it has one.
    pub(super) fn new(run: &str, cgroup: Option<Cgroup>) -> Self {
        Self { place: cgroup.map_or_else(|| Place::Among(Strays::of(run)), Place::In) }
    }

    /// Of a run that was started by an orchestrator before us; to be called while its main process is there, dead or alive.
    pub(super) fn of_left(run: &str, internal_name: &str, pid: u32, census: &Census) -> Self {
        Self::new(run, census.cgroup_of(pid, internal_name))
    }

    /// Who descends from the main process can be seen only while that lives.
    pub(super) fn look(&self, leader: u32) {
        match &self.place {
            Place::In(_) => {}
            Place::Among(strays) => strays.look(leader),
        }
    }

    /// Kills it; whether there was something.
    pub(super) fn kill(&self, leaders: &Leaders) -> bool {
        match &self.place {
            Place::In(cgroup) => kill_in(cgroup),
            Place::Among(strays) => strays.kill(&|pid| leaders.has(pid)),
        }
    }

    /// The same, where orphans may have gone to others than us.
    pub(super) async fn kill_left(&self, leaders: &Leaders, census: &Census) -> bool {
        match &self.place {
            Place::In(cgroup) => kill_in(cgroup),
            Place::Among(strays) => strays.kill_anywhere(&|pid| leaders.has(pid), &*census.look().await),
        }
    }
}

#[cfg(target_os = "linux")]
fn kill_in(cgroup: &Cgroup) -> bool {
    let is_populated = cgroup.is_populated();
    if is_populated {
        cgroup.kill();
    }
    is_populated
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::unused_self, reason = "as on Linux")]
impl Rest {
    pub(super) fn new() -> Self {
        Self {}
    }

    pub(super) fn of_left(_run: &str, _internal_name: &str, _pid: u32, _census: &Census) -> Self {
        Self {}
    }

    #[cfg(unix)]
    pub(super) fn look(&self, _leader: u32) {}

    pub(super) fn kill(&self, _leaders: &Leaders) -> bool {
        false
    }

    #[allow(clippy::unused_async, reason = "as on Linux")]
    pub(super) async fn kill_left(&self, _leaders: &Leaders, _census: &Census) -> bool {
        false
    }
}

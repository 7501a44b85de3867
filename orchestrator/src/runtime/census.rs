//! One look at every process there is, for all who want one at the same time: a thousand runs that end together ask the
//! system once, and not a thousand times.

#[cfg(target_os = "linux")]
use std::cell::OnceCell;
use std::cell::{Cell, RefCell};
#[cfg(target_os = "linux")]
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

pub(super) use look::Look;

#[cfg(target_os = "linux")]
use super::cgroup::{self, Cgroup};

/// How long a look is put off for others who are about to want one; at least as long as the last one took, so that no more
/// than half of the time goes into looking.
const GATHERING: Duration = Duration::from_millis(5);

/// Who shares looks.
#[derive(Debug, Clone, Default)]
pub(super) struct Census(Rc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Looks that have been begun.
    begun: Cell<u64>,
    /// How long the last one took.
    took: Cell<Duration>,
    waiting: Cell<usize>,
    /// The last one, while somebody waits who has not seen it.
    newest: RefCell<Option<Rc<Look>>>,
    /// Where cgroup v2 is mounted.
    #[cfg(target_os = "linux")]
    cgroups: OnceCell<Option<PathBuf>>,
}

impl Census {
    /// A look that is begun after this call.
    pub(super) async fn look(&self) -> Rc<Look> {
        let Self(shared) = self;
        let begun = shared.begun.get();
        shared.waiting.set(shared.waiting.get() + 1);
        tokio::time::sleep(GATHERING.max(shared.took.get())).await;
        let newest = shared.newest.borrow().clone().filter(|_| shared.begun.get() > begun);
        let look = newest.unwrap_or_else(|| self.take());
        shared.waiting.set(shared.waiting.get() - 1);
        if shared.waiting.get() == 0 {
            *shared.newest.borrow_mut() = None;
        }
        look
    }

    /// The cgroup that an orchestrator before us has put a process into.
    #[cfg(target_os = "linux")]
    pub(super) fn cgroup_of(&self, pid: u32, internal_name: &str) -> Option<Cgroup> {
        Cgroup::of_process(self.0.cgroups.get_or_init(cgroup::mount).as_deref()?, pid, internal_name)
    }

    fn take(&self) -> Rc<Look> {
        let Self(shared) = self;
        let start = Instant::now();
        let look = Rc::new(Look::take());
        shared.begun.set(shared.begun.get() + 1);
        shared.took.set(start.elapsed());
        *shared.newest.borrow_mut() = Some(Rc::clone(&look));
        look
    }
}

#[cfg(target_os = "linux")]
mod look {
    use std::cell::OnceCell;
    use std::collections::HashMap;
    use std::fs;

    use copo_proto::env;

    use crate::runtime::journal::Main;
    use crate::runtime::processes::{all, stat};

    /// What lives. A zombie that its new parent does not reap is nobody.
    #[derive(Debug)]
    pub struct Look {
        /// By the number of its group.
        groups: HashMap<u32, Vec<Member>>,
        /// By the run in its environment; asked for only where something has to be found by that.
        runs: OnceCell<HashMap<String, Vec<u32>>>,
    }

    #[derive(Debug)]
    struct Member {
        pid: u32,
        session: u32,
        started: u64,
    }

    impl Look {
        /// Looks.
        pub fn take() -> Self {
            let mut groups: HashMap<u32, Vec<Member>> = HashMap::new();
            for (pid, stat) in all().filter_map(|pid| Some((pid, stat(pid)?))).filter(|(_, stat)| !stat.is_dead) {
                let member = Member { pid, session: stat.session, started: stat.started };
                groups.entry(stat.group).or_default().push(member);
            }
            Self { groups, runs: OnceCell::new() }
        }

        /// Does something live in the group of this main process? A group's number is given to nobody else while one member
        /// lives, and a member stays in the session it was born in unless it leaves the group with it.
        pub fn has_group_of(&self, main: &Main) -> bool {
            let is_of = |member: &Member| member.session == main.session && member.started >= main.started;
            let is_there = self.groups.get(&main.pid).is_some_and(|members| members.iter().any(is_of));
            is_there && stat(main.pid).is_none_or(|leader| leader.started == main.started)
        }

        /// Those that find this run in their environment.
        pub fn of_run(&self, run: &str) -> &[u32] {
            self.runs.get_or_init(|| self.find_runs()).get(run).map_or(&[], Vec::as_slice)
        }

        fn find_runs(&self) -> HashMap<String, Vec<u32>> {
            let prefix = format!("{}=", env::RUN);
            let mut runs: HashMap<String, Vec<u32>> = HashMap::new();
            for member in self.groups.values().flatten() {
                let environment = fs::read(format!("/proc/{}/environ", member.pid)).unwrap_or_default();
                let mut variables = environment.split(|byte| *byte == 0);
                let run = variables.find_map(|variable| variable.strip_prefix(prefix.as_bytes()));
                if let Some(run) = run.and_then(|run| std::str::from_utf8(run).ok()) {
                    runs.entry(run.to_owned()).or_default().push(member.pid);
                }
            }
            runs
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod look {
    use crate::runtime::journal::Main;
    use crate::runtime::processes;

    /// Who is left of a group without its main process cannot be told from strangers, so that one is asked for alone.
    #[derive(Debug)]
    pub struct Look;

    impl Look {
        /// Looks.
        pub fn take() -> Self {
            Self
        }

        /// Does the main process live?
        #[allow(clippy::unused_self, reason = "as on Linux")]
        pub fn has_group_of(&self, main: &Main) -> bool {
            processes::has_number(main)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_at_the_same_time_gets_the_same_look_and_who_asks_later_a_later_one() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let census = Census::default();

            let (one, other) = tokio::join!(census.look(), census.look());
            assert!(Rc::ptr_eq(&one, &other));
            assert!(census.0.newest.borrow().is_none(), "nobody waits: nothing is kept");

            let third = census.look().await;
            assert!(!Rc::ptr_eq(&one, &third));
            assert_eq!(census.0.begun.get(), 2);
        });
    }
}

//! Which process of a run is its main one: the one that was started, until it names another (`MAINPID=`).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use copo_proto::env;
use rustix::process::{Signal, getpgid, kill_process};
use tokio::sync::mpsc::UnboundedSender;

use crate::runtime::child::{Child, pid_of};
use crate::runtime::leaders::Leaders;
use crate::signal;
use crate::supervisor::{Event, RunId};

/// How many ancestors are looked at: no run nests deeper.
#[cfg(target_os = "linux")]
const MOST_ANCESTORS: usize = 64;

/// The main process of one run.
pub(in crate::runtime) struct MainProcess {
    run: RunId,
    /// The process that was started; its number is that of the group.
    leader: u32,
    main: Cell<u32>,
    has_ended: Cell<bool>,
    /// Those of whose ends nobody else is to hear first.
    named: RefCell<Vec<u32>>,
    leaders: Leaders,
    events: UnboundedSender<Event>,
}

impl MainProcess {
    pub(super) fn of(run: RunId, leader: u32, leaders: Leaders, events: UnboundedSender<Event>) -> Rc<Self> {
        let (main, has_ended, named) = (Cell::new(leader), Cell::new(false), RefCell::default());
        Rc::new(Self { run, leader, main, has_ended, named, leaders, events })
    }

    pub(super) fn pid(&self) -> u32 {
        self.main.get()
    }

    /// Is this a process of the run? One that has ended already cannot be told from any other: whoever knew the path of the
    /// run's own socket is believed.
    pub(super) fn knows(&self, pid: u32) -> bool {
        if pid == self.leader || pid == self.main.get() {
            return true;
        }
        match getpgid(Some(pid_of(pid))) {
            Ok(group) => group == pid_of(self.leader) || self.is_descendant(pid) || self.carries_run(pid),
            Err(_) => true,
        }
    }

    #[cfg(target_os = "linux")]
    fn is_descendant(&self, pid: u32) -> bool {
        let parents = std::iter::successors(parent_of(pid), |pid| parent_of(*pid));
        parents.take(MOST_ANCESTORS).any(|parent| parent == self.leader || parent == self.main.get())
    }

    /// An orphan has lost its ancestors, and has still what it was started with.
    #[cfg(target_os = "linux")]
    fn carries_run(&self, pid: u32) -> bool {
        let variable = format!("{}={}", env::RUN, self.run);
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
    }

    #[cfg(not(target_os = "linux"))]
    fn carries_run(&self, _pid: u32) -> bool {
        false
    }

    /// Elsewhere the group is all that can be asked for at little cost.
    #[cfg(not(target_os = "linux"))]
    fn is_descendant(&self, _pid: u32) -> bool {
        false
    }

    /// The run names another main process; false if it is none of its own.
    pub(super) fn name(self: &Rc<Self>, pid: u32) -> bool {
        if pid == self.main.get() {
            return true;
        }
        if getpgid(Some(pid_of(pid))).is_err() || !self.knows(pid) {
            return false;
        }
        if pid == self.leader {
            self.main.set(pid);
            return true;
        }
        let Ok(child) = Child::watch(pid) else { return false };
        self.leaders.add(pid);
        self.named.borrow_mut().push(pid);
        self.main.set(pid);
        let main = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let outcome = child.wait_for_any().await;
            if main.main.get() == pid {
                main.has_ended.set(true);
                let _ = main.events.send(Event::Exited { run: main.run, outcome });
            }
        });
        true
    }

    /// Signals the main process where the signal to the group did not reach it.
    pub(in crate::runtime) fn signal_outside_group(&self, name: &str) {
        let Some(number) = signal::number(name) else { return };
        let main = self.main.get();
        let is_outside = || getpgid(Some(pid_of(main))).is_ok_and(|group| group != pid_of(self.leader));
        if main != self.leader && !self.has_ended.get() && is_outside() {
            // SAFETY: the number is one of the platform's own, and it is only sent, never handled or blocked.
            let _ = kill_process(pid_of(main), unsafe { Signal::from_raw_unchecked(number) });
        }
    }
}

impl Drop for MainProcess {
    fn drop(&mut self) {
        self.named.borrow().iter().for_each(|pid| self.leaders.remove(*pid));
        self.leaders.reap_orphans();
    }
}

#[cfg(target_os = "linux")]
fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; behind it come the state and the parent.
    let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
    (parent > 1).then_some(parent)
}

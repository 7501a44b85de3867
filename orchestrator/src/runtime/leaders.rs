//! Whose end somebody waits for: what is told apart from the orphans that come to us.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use super::group::Orphans;

/// The main processes that nobody else may wait for.
#[derive(Debug, Clone, Default)]
pub(super) struct Leaders(Rc<RefCell<HashSet<u32>>>);

impl Leaders {
    /// Is it a main process?
    pub(super) fn has(&self, pid: u32) -> bool {
        self.0.borrow().contains(&pid)
    }

    pub(super) fn add(&self, pid: u32) {
        self.0.borrow_mut().insert(pid);
    }

    pub(super) fn remove(&self, pid: u32) {
        self.0.borrow_mut().remove(&pid);
    }

    /// Reaps the orphans that have come to us and ended.
    pub(super) fn reap_orphans(&self) {
        let leaders = self.0.borrow();
        Orphans::reap(|pid| leaders.contains(&pid));
    }
}

//! Whether a run reads what it follows: of each of its subscriptions, whether anything was read since the last look.

use std::cell::RefCell;
use std::rc::Rc;

use crate::server::Backlog;
use crate::supervisor::Answer;

/// What was seen at the last look.
#[derive(Clone, Default)]
pub(super) struct Read(Rc<RefCell<Vec<Backlog>>>);

impl Read {
    /// One that stands where it stood, with something to read, does not read.
    pub(super) fn look(&self, backlogs: Vec<Backlog>) -> Answer {
        let stands_still = |backlog: &Backlog| backlog.unread > 0 && self.0.borrow().contains(backlog);
        let stalled = backlogs.iter().any(stands_still);
        *self.0.borrow_mut() = backlogs;
        if stalled {
            Err("it reads nothing of what it follows, and there is something to read".to_owned())
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u64, written: u64, unread: usize) -> Backlog {
        Backlog { line, written, unread }
    }

    #[test]
    fn only_who_could_read_and_did_not_stands_still() {
        let read = Read::default();
        assert!(read.look(vec![at(1, 10, 5)]).is_ok(), "seen for the first time");
        assert!(read.look(vec![at(1, 10, 5)]).is_err());
        assert!(read.look(vec![at(1, 10, 3)]).is_ok(), "it read some");
        assert!(read.look(vec![at(1, 20, 3)]).is_ok(), "more was written, so it made room");
        assert!(read.look(vec![at(1, 20, 0)]).is_ok());
        assert!(read.look(vec![at(1, 20, 0)]).is_ok(), "nothing to read");
        assert!(read.look(vec![at(2, 20, 3), at(3, 1, 1)]).is_ok());
        assert!(read.look(vec![at(2, 20, 0), at(3, 1, 1)]).is_err(), "one of several");
    }
}

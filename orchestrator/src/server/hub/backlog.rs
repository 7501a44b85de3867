//! How far the subscriptions of a run have read, as far as that can be seen from here.

use super::Hub;
use crate::supervisor::RunId;

/// One subscription at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Which; never the same for two connections.
    pub line: u64,
    /// Bytes written to it since it began.
    pub written: u64,
    /// What its reader has not read: 0 when there is nothing, else a number that changes when it reads.
    pub unread: usize,
}

impl Hub {
    /// The backlogs of a run's subscriptions.
    pub async fn backlogs(&self, run: RunId) -> Vec<Backlog> {
        let asked: Vec<_> = {
            let lines = self.lines.borrow();
            lines.of_run(run).iter().filter(|line| line.is_subscribed()).map(|line| line.ask_backlog()).collect()
        };
        let mut backlogs = Vec::with_capacity(asked.len());
        for answer in asked {
            backlogs.extend(answer.await); // A connection that has gone has none.
        }
        backlogs
    }
}

//! The orchestrator's own reports: in the order of what happened, also when the disk is full for a while.

use std::collections::VecDeque;
use std::rc::Rc;

use copo_proto::v1;
use tracing::warn;

use super::waiting::ASK_FOR_SPACE;
use super::{Hub, wall_clock};
use crate::context::StoreError;

/// Reports that may wait for room; as many as a large application makes in an hour of trouble, and little memory.
const MAX_WAITING: usize = 10_000;

/// What happened and found no room in the log yet, each with its time.
#[derive(Default)]
pub(super) struct Unreported {
    waiting: VecDeque<(u64, v1::Facts)>,
    /// Beyond [`MAX_WAITING`]: said once there is room.
    dropped: u64,
    is_asking: bool,
}

impl Hub {
    /// Appends a report of the orchestrator's own; when the disk is full, as soon as there is room.
    pub fn report(self: &Rc<Self>, facts: v1::Facts) {
        {
            let mut unreported = self.unreported.borrow_mut();
            if unreported.waiting.len() < MAX_WAITING {
                unreported.waiting.push_back((wall_clock(), facts));
            } else {
                unreported.dropped += 1;
            }
        }
        if self.unreported.borrow().is_asking || self.report_what_waits() {
            return; // It is reported, or goes behind those that wait already.
        }
        self.unreported.borrow_mut().is_asking = true;
        tokio::task::spawn_local(Rc::clone(self).ask_to_report());
    }

    async fn ask_to_report(self: Rc<Self>) {
        while !self.report_what_waits() {
            tokio::time::sleep(ASK_FOR_SPACE).await;
        }
        self.unreported.borrow_mut().is_asking = false;
    }

    /// Appends what waits, in order; false when there is no room for all of it.
    pub(super) fn report_what_waits(&self) -> bool {
        let mut unreported = self.unreported.borrow_mut();
        let before = unreported.waiting.len();
        while let Some((time, facts)) = unreported.waiting.front() {
            match self.context.borrow_mut().report(*time, facts.clone()) {
                Err(StoreError::NoSpace) => break,
                Err(error) => warn!("cannot report: {error}"),
                Ok(_) => {}
            }
            unreported.waiting.pop_front();
        }
        let is_done = unreported.waiting.is_empty();
        let is_moved = unreported.waiting.len() < before;
        let dropped = if is_done { std::mem::take(&mut unreported.dropped) } else { 0 };
        drop(unreported);
        if dropped > 0 {
            warn!("{dropped} reports are lost: the disk was full for too long");
        }
        if is_moved {
            self.report_appended();
        }
        is_done
    }
}

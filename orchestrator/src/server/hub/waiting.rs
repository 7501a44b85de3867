//! Who waits for what: readers for the head, publishers for the disk's room and for slow readers.
//!
//! A timer runs only while someone waits.

use std::rc::Rc;
use std::time::Duration;

use copo_proto::v1::{self, server_message};
use tokio::time::Instant;

use super::Hub;
use crate::context::Floor;
use crate::server::line::Line;
use crate::server::subscribe::Feed;

/// How often to ask whether the disk has room again.
pub(super) const ASK_FOR_SPACE: Duration = Duration::from_millis(200);

impl Hub {
    /// The subscriber has read up to the head: it is written to when that moves.
    pub(in crate::server) fn wait_for_head(&self, feed: &Rc<Feed>) {
        if feed.line().wait_for_head() {
            self.wait_for_head.borrow_mut().push(Rc::clone(feed));
        }
    }

    /// The head moved: writes to every subscriber that has read up to it, and wakes those that cannot take it now.
    pub(super) fn head_moved(&self) {
        let mut waiting = self.wait_for_head.take();
        waiting.retain(|feed| {
            let goes_on = feed.push(self);
            if !goes_on {
                feed.wake();
            }
            goes_on
        });
        let mut others = self.wait_for_head.borrow_mut();
        waiting.append(&mut others);
        *others = waiting;
    }

    /// The head moved by a report.
    pub(super) fn report_appended(&self) {
        self.reports.notify_one();
        self.head_moved();
    }

    /// A send failed with NO_SPACE: tells the connection when there is room again.
    pub(in crate::server) fn wait_for_space(self: &Rc<Self>, line: &Rc<Line>) {
        let mut waiting = self.wait_for_space.borrow_mut();
        if waiting.iter().any(|other| other.id == line.id) {
            return;
        }
        waiting.push(Rc::clone(line));
        if waiting.len() == 1 {
            tokio::task::spawn_local(Rc::clone(self).ask_for_space());
        }
    }

    async fn ask_for_space(self: Rc<Self>) {
        loop {
            tokio::time::sleep(ASK_FOR_SPACE).await;
            if self.wait_for_space.borrow().is_empty() {
                return;
            }
            if self.context.borrow_mut().resume_ready() {
                let waiting = self.wait_for_space.take();
                waiting.iter().for_each(|line| line.say(server_message::Kind::Resume(v1::Resume {})));
                return;
            }
        }
    }

    /// A subscriber has still to read from here.
    pub(super) fn set_floor(&self, line: &Line, floor: Option<Floor>) {
        if self.floors.borrow_mut().set(line.id, floor) {
            self.lowest_floor_moved();
        }
    }

    /// A subscription has ended: nobody waits for it any more.
    pub(in crate::server) fn stop_following(&self, line: &Line) {
        self.wait_for_head.borrow_mut().retain(|other| other.line().id != line.id);
        if self.wait_limit.is_some() {
            self.set_floor(line, None);
        }
    }

    fn lowest_floor_moved(&self) {
        let lowest = self.floors.borrow().lowest();
        self.context.borrow_mut().set_floor(lowest);
        self.lines.borrow().iter().for_each(|line| line.room_made());
    }

    /// The connection holds sends that readers leave no room for: it is woken when there may be.
    pub(in crate::server) fn wait_for_readers(self: &Rc<Self>, line: &Line) {
        line.wait_for_room();
        if !self.watches_readers.replace(true) {
            tokio::task::spawn_local(Rc::clone(self).watch_readers());
        }
    }

    /// Gives up readers that do not move, as long as someone waits for them.
    async fn watch_readers(self: Rc<Self>) {
        while self.lines.borrow().iter().any(|line| line.is_waiting_for_room()) {
            let limit = self.wait_limit.unwrap_or_default();
            let until = self.floors.borrow_mut().stall(Instant::now(), limit);
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                // Nobody holds anything up any more, so there is room.
                None => self.lowest_floor_moved(),
            }
            if self.floors.borrow_mut().give_up(Instant::now()) {
                self.lowest_floor_moved();
            }
            tokio::task::yield_now().await; // Those with room go on before it is asked who still waits.
        }
        self.watches_readers.set(false);
    }
}

#[cfg(test)]
impl Hub {
    /// For tests: the context may take so many bytes on the disk.
    pub(in crate::server) fn limit_disk(&self, bytes: Option<u64>) {
        self.context.borrow_mut().limit_disk(bytes);
    }

    /// For tests: does a publisher wait for readers?
    pub(in crate::server) fn is_someone_waiting_for_readers(&self) -> bool {
        self.lines.borrow().iter().any(|line| line.is_waiting_for_room())
    }
}

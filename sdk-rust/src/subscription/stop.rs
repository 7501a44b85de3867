//! How another thread ends a subscription that waits.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::connection::{Line, Waker};
use crate::fork;

/// What a subscription and its stoppers share.
#[derive(Debug)]
pub(super) struct Stop {
    is_asked: AtomicBool,
    waker: Waker,
    /// The line that the subscription reads, so that a read that waits can be broken off.
    line: Mutex<Option<Arc<Line>>>,
    /// The process it is for: in a forked child the line is the parent's, and its lock may be held by nobody.
    generation: u64,
}

impl Stop {
    pub(super) fn new() -> io::Result<Self> {
        let (is_asked, waker, line) = (AtomicBool::new(false), Waker::new()?, Mutex::new(None));
        Ok(Self { is_asked, waker, line, generation: fork::generation() })
    }

    /// In a forked child: nothing is shared with the parent any more.
    pub(super) fn renew(&self) -> io::Result<()> {
        if let Ok(mut line) = self.line.try_lock() {
            *line = None;
        }
        self.waker.renew()
    }

    #[inline]
    pub(super) fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Acquire)
    }

    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Is a stop heard by who waits inside a read of the line?
    pub(super) fn is_heard_inside_a_read(&self) -> bool {
        Line::CAN_WAIT_INSIDE && self.generation == fork::generation()
    }

    /// From here on the subscription reads this line. Whoever looks afterwards whether it is asked to stop misses none.
    pub(super) fn watch(&self, line: Option<&Arc<Line>>) {
        if self.is_heard_inside_a_read() {
            *self.line.lock().unwrap_or_else(PoisonError::into_inner) = line.cloned();
        }
    }
}

/// Ends a blocked [`Subscription::next`](super::Subscription::next) from another thread.
#[derive(Debug, Clone)]
pub struct Stopper {
    stop: Arc<Stop>,
}

impl Stopper {
    pub(super) fn new(stop: &Arc<Stop>) -> Self {
        Self { stop: Arc::clone(stop) }
    }

    /// The subscription's present and every later `next` returns CLOSED.
    pub fn stop(&self) {
        let Stop { is_asked, waker, line, .. } = &*self.stop;
        is_asked.store(true, Ordering::Release);
        waker.wake();
        if self.stop.is_heard_inside_a_read()
            && let Some(line) = &*line.lock().unwrap_or_else(PoisonError::into_inner)
        {
            line.hang_up();
        }
    }
}

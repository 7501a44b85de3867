//! A subscription: its own connection, read on the caller's thread.

use std::time::Duration;

use copo_proto::v1::{Gap, MetaReport, UddRecord};

use crate::error::{Error, Result};
use crate::v1::ErrorCode;

/// What a subscription delivers.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A record.
    Record(UddRecord),
    /// A report.
    Report(MetaReport),
    /// What was passed over, and why.
    Gap(Gap),
}

/// Follows the log from a place on. Ends with END (all delivered) or STOPPING (the run was asked to stop).
#[derive(Debug)]
pub struct Subscription {
    _line: (),
}

/// Ends a blocked [`Subscription::next`] from another thread.
#[derive(Debug, Clone)]
pub struct Stopper {
    _line: (),
}

impl Stopper {
    /// The subscription's present and every later `next` returns CLOSED.
    pub fn stop(&self) {}
}

impl Subscription {
    /// The next item; waits for it at most `timeout` (TIMED_OUT).
    pub fn next(&mut self, _timeout: Option<Duration>) -> Result<Item> {
        Err(Error::new(ErrorCode::End, "the subscription has ended"))
    }

    /// The next item if it has come already.
    pub fn try_next(&mut self) -> Result<Option<Item>> {
        Ok(None)
    }

    /// Seq of the newest record or report when the subscription began.
    #[must_use]
    pub fn head(&self) -> u64 {
        0
    }

    /// log_id of the log that is read; with a Seq it is a cursor.
    #[must_use]
    pub fn log_id(&self) -> Vec<u8> {
        Vec::new()
    }

    /// What ends a blocked `next` from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper { _line: () }
    }
}

impl Iterator for Subscription {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Self::Item> {
        match Self::next(self, None) {
            Err(error) if matches!(error.code(), ErrorCode::End | ErrorCode::Stopping) => None,
            item => Some(item),
        }
    }
}

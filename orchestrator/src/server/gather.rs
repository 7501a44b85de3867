//! What has come over a connection, cut into stretches of sends, which are read where they lie. It decides nothing.

use copo_proto::frame::{FrameError, Head};
use copo_proto::send;

use super::inbox::Inbox;
use super::publish;
use crate::context::Send;

/// So many sends are expected at once, at most.
const MANY: usize = 1024;

/// What stands behind a stretch of sends.
pub(super) enum Behind {
    /// Not yet a whole frame: so much is missing at least.
    Part(usize),
    /// A frame that is no plain send.
    Other,
    /// What is no frame.
    Nonsense(FrameError),
}

/// The sends that what has come begins with, how many bytes they take, and what stands behind them.
pub(super) fn gather(inbox: &Inbox) -> (Vec<Send<'_>>, usize, Behind) {
    let mut sends = Vec::new();
    let mut at = 0;
    loop {
        let (prefix, length) = match inbox.peek(at) {
            Ok(Head::Whole { prefix, length }) => (prefix, length),
            Ok(Head::Partial { missing }) => return (sends, at, Behind::Part(missing)),
            Err(error) => return (sends, at, Behind::Nonsense(error)),
        };
        match send::read(&inbox.arrived()[at + prefix..at + prefix + length]) {
            Some(sent) => {
                if at == 0 {
                    // Most often the others are as large.
                    sends.reserve((inbox.arrived().len() / (prefix + length)).min(MANY));
                }
                sends.push(publish::of(sent));
            }
            None => return (sends, at, Behind::Other),
        }
        at += prefix + length;
    }
}

/// How many bytes the first `count` frames take.
pub(super) fn length_of(inbox: &Inbox, count: usize) -> usize {
    (0..count).fold(0, |at, _| match inbox.peek(at) {
        Ok(Head::Whole { prefix, length }) => at + prefix + length,
        Ok(Head::Partial { .. }) | Err(_) => at,
    })
}

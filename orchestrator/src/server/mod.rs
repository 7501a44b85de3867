//! The Server: the listener of the application, and a session for each connection.
//!
//! Runs on the one thread that also runs the driver and holds the context. [`Hub`] is what sessions and the driver share;
//! what a session may do itself (send, read, follow) it does on the context, everything else goes to the supervisor as an
//! event, and the driver brings the answer back by [`Hub::reply`].

mod accept;
mod converge;
mod floors;
mod gather;
mod handshake;
mod hub;
mod identity;
mod inbox;
mod line;
mod lines;
mod publish;
mod request;
mod session;
mod stream;
mod subscribe;

#[cfg(test)]
mod tests;

use std::time::Duration;

use copo_proto::v1;

pub use accept::serve;
pub use hub::{About, Backlog, Hub};
pub use identity::Identity;
pub use stream::{Listener, bind};

/// What a connection may cost the others.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a connection may be silent before its Hello.
    pub hello: Duration,
    /// How long an ended run's connections are read for what had arrived on them.
    pub drain: Duration,
    /// How many bytes may be said to a client that it has not read; beyond, it is not read from.
    pub pending: usize,
    /// How many connections there may be at once.
    pub connections: usize,
    /// How many requests of one connection may be unanswered at once.
    pub requests: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hello: Duration::from_secs(5),
            drain: Duration::from_millis(100),
            pending: 1024 * 1024,
            connections: 4096,
            requests: 1024,
        }
    }
}

/// An error as it travels.
fn error(code: v1::ErrorCode, message: impl Into<String>) -> v1::Error {
    v1::Error { code: code.into(), message: message.into() }
}

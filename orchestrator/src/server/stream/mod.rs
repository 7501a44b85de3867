//! One connection's bytes: `unix` over the socket itself, `windows` over the pipe, with the same functions.
//!
//! The enum that `interprocess` offers for both forwards no vectored writes, which is how records leave; so each platform
//! uses its own stream.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::{Listener, bind};
#[cfg(unix)]
pub(crate) use unix::{Stream, is_exhausted};
#[cfg(windows)]
pub use windows::{Listener, bind};
#[cfg(windows)]
pub(crate) use windows::{Stream, is_exhausted};

/// One read takes at most this much, so that one large record in flight does not keep the others waiting.
const MAX_READ: usize = 1024 * 1024;

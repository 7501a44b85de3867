//! The words of Copo: the `copo.v1` messages, their framing, and the names and keys both ends check alike.
//!
//! Pure: no I/O, no clock, no threads. The orchestrator and the SDKs agree on what stands here and on nothing else.

#![forbid(unsafe_code)]

pub mod env;
pub mod frame;
pub mod key;
pub mod name;
pub mod record;
pub mod send;

/// The messages of the package `copo.v1`, generated from `proto/copo/v1/*.proto`.
#[path = "generated/copo.v1.rs"]
#[allow(missing_docs, clippy::all, rustdoc::invalid_html_tags)]
#[rustfmt::skip]
pub mod v1;

pub use prost::Message;

/// The only protocol version there is yet.
pub const VERSION: u32 = 1;
/// A first frame (Hello) larger than this ends the connection.
pub const MAX_HELLO: usize = 64 * 1024;
/// Largest `udd_buff` and `report_buff` unless configured otherwise, in bytes.
pub const MAX_RECORD: usize = 64 * 1024 * 1024;
/// What a frame may hold beyond its `udd_buff`: key, names, tags and lengths.
pub const FRAME_OVERHEAD: usize = 1024;

//! The Copo SDK for Rust: take part in the shared context of a Copo application.
//!
//! ```no_run
//! # fn main() -> copo::Result<()> {
//! let client = copo::Client::connect()?; // COPO_SOCKET and COPO_TOKEN, as the orchestrator sets them
//! client.udd_send(b"21.5")?; // pipelined: returns before the record is stored
//! for item in client.udd_subscribe(&copo::SubscribeOptions::default())? {
//!     if let copo::Item::Record(record) = item? {
//!         println!("{} from {}", record.seq, record.sent_by);
//!     }
//! }
//! client.close()
//! # }
//! ```

#[cfg(feature = "tokio")]
pub mod aio;
mod client;
mod connection;
mod error;
mod fork;
mod handle;
mod inbox;
mod io;
mod item;
mod link;
mod options;
mod session;
mod subscription;

pub use client::{Client, OnAcked, OnResponse, OnStop, OnWindow};
pub use copo_proto::record::RecordRef;
pub use copo_proto::v1::{self, ErrorCode, Gap, MetaReport, UddRecord};
pub use error::{Error, Result};
pub use item::{Item, ItemRef};
pub use options::{ConnectOptions, From, Send, SubscribeOptions};
pub use subscription::{Stopper, Subscription};

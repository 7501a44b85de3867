//! The Copo orchestrator as a library: what the binary `copo` runs, and what its tests reach.
//!
//! Three rings (see ARCHITECTURE.md): words in `copo-proto`; decisions in [`supervisor`] and `context`, pure; edges in
//! `runtime`, `server`, `cli` and `config`.

pub mod config;
pub mod context;
#[cfg(target_os = "linux")]
pub mod keeper;
pub mod layout;
#[cfg(any(windows, test))]
mod pipe_name;
pub mod plan;
pub mod runtime;
pub mod server;
pub mod signal;
pub mod supervisor;
#[cfg(windows)]
pub mod windows_user;

//! The harness of the black-box tests: a real `copo`, a temporary COPO_HOME, a puppet child, and waiting for facts.
//!
//! Nothing here knows how copo works inside: it writes a copo.toml, runs the command line, and looks at what there is.

pub mod app;
pub mod build;
pub mod data;
#[cfg(unix)]
pub mod peer;
#[cfg(unix)]
pub mod terminal;
pub mod wait;

pub use app::{App, Ran};
pub use wait::{eventually, eventually_some};

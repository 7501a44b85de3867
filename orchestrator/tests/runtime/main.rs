//! The runtime with real processes: an orchestrator in a process of its own, a temporary COPO_HOME, children by /bin/sh.
#![cfg(unix)]

mod app;
mod life;
mod output;
mod stdio;

/// Not a test: what [`app::App::up`] runs as the orchestrator, this very binary once more.
#[test]
fn orchestrate() {
    if let Some(config) = std::env::var_os(app::ORCHESTRATE) {
        app::orchestrate(config.as_ref());
    }
}

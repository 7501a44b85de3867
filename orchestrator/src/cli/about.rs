//! `copo version` and `copo completions`: about the program itself.

use clap_complete::Shell;
use copo_orchestrator::runtime::STATE_FORM;
use serde_json::json;

use super::args::Place;
use super::control;
use super::failure::Outcome;
use super::find;
use super::help;
use super::output::Out;

/// This binary's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `copo version [--json]`: this binary's, and the running orchestrator's if there is one to ask.
pub fn version(place: &Place, as_json: bool) -> Outcome {
    let client = find::target(place).and_then(|target| target.connect_if_up()).ok().flatten();
    let status = client.map(|client| control::status(&client)).transpose()?;
    let mut out = Out::new();
    if as_json {
        let orchestrator = status.map(|status| {
            json!({
                "version": status.version,
                "pid": status.pid,
                "application": status.application,
                "config_path": status.config_path,
                "started_at": status.started_at,
            })
        });
        out.json(&json!({ "version": VERSION, "state_form": STATE_FORM, "orchestrator": orchestrator }))?;
    } else {
        out.line(&format!("copo {VERSION}"))?;
        if let Some(status) = status {
            out.line(&format!("orchestrator {} ({}, pid {})", status.version, status.application, status.pid))?;
        }
    }
    out.flush()
}

/// `copo completions SHELL`
pub fn completions(shell: Shell) -> Outcome {
    // Made in memory: the generator panics when its reader has gone.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut help::command(), "copo", &mut script);
    let mut out = Out::new();
    out.bytes(&script)?;
    out.flush()
}

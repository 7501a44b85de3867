//! `copo scale`: how many instances processes have, until copo.toml is read again.

use copo::v1::request::Kind;
use copo::v1::{self, response};
use copo_orchestrator::layout::{Layout, MAX_SOCKET_PATH};
use copo_proto::name;
use serde_json::{Value, json};

use super::args::{Place, Scale};
use super::control;
use super::failure::{Failure, Outcome, USAGE};
use super::find;
use super::output::Out;

/// `copo scale NAME=N… [--json]`
pub fn run(place: &Place, scale: &Scale) -> Outcome {
    let target = find::target(place)?;
    let client = target.connect()?;
    for (process, replicas) in &scale.to {
        check_socket(&target.layout, process, *replicas)?;
    }
    let to = scale.to.iter().cloned().map(|(process, replicas)| v1::Replicas { process, replicas }).collect();
    let response::Kind::Changes(changes) = client.call(Kind::Scale(v1::Scale { to }), None)? else {
        return Err(control::unexpected());
    };
    let mut out = Out::new();
    if scale.json {
        out.json(&Value::Array(changes.changes.iter().map(to_json).collect()))?;
    } else {
        changes.changes.iter().try_for_each(|change| out.line(&line(change)))?;
    }
    out.flush()
}

/// The path of a Unix domain socket has a limit far below that of a file.
fn check_socket(layout: &Layout, process: &str, replicas: u32) -> Outcome {
    let length = layout.stdio(&name::internal(process, replicas)).as_os_str().len();
    if length <= MAX_SOCKET_PATH {
        return Ok(());
    }
    let why = format!("the path of its last socket has {length} bytes, {MAX_SOCKET_PATH} are possible");
    Err(Failure::new(USAGE, format!("cannot scale {process} to {replicas}: {why}")))
}

/// "web: 1 → 3 instances"
fn line(change: &v1::Change) -> String {
    let (from, to) = numbers(change);
    let noun = if to == 1 { "instance" } else { "instances" };
    format!("{}: {from} → {to} {noun}", change.process)
}

fn to_json(change: &v1::Change) -> Value {
    let (from, to) = numbers(change);
    json!({ "process": change.process, "from": from, "to": to })
}

fn numbers(change: &v1::Change) -> (u32, u32) {
    let number = |text: Option<&String>| text.and_then(|text| text.parse().ok()).unwrap_or(0);
    let setting = change.settings.first();
    (number(setting.and_then(|s| s.from.as_ref())), number(setting.and_then(|s| s.to.as_ref())))
}

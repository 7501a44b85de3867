//! `copo ps`: the processes, as a table or as JSON.

use copo::v1::{ProcessStatus, State};
use serde_json::{Value, json};

use super::args::{Place, Ps};
use super::control;
use super::failure::{Failure, NO_SUCH_NAME, Outcome};
use super::find;
use super::output::{Out, local_time, table};

/// `copo ps [NAME…] [--json]`
pub fn run(place: &Place, ps: &Ps) -> Outcome {
    let mut processes = control::processes(&find::target(place)?.connect()?)?;
    let unknown = ps.names.iter().find(|name| !processes.iter().any(|process| is_meant(process, name)));
    if let Some(unknown) = unknown {
        return Err(Failure::new(NO_SUCH_NAME, format!("cannot show {unknown:?}: nothing is called that")));
    }
    processes.retain(|process| ps.names.is_empty() || ps.names.iter().any(|name| is_meant(process, name)));
    let mut out = Out::new();
    if ps.json {
        out.json(&Value::Array(processes.iter().map(to_json).collect()))?;
    } else {
        let mut head = vec![
            "PROCESS",
            "STATE",
            "READY",
            "PID",
            "STARTED",
            "RESTARTS",
            "EXIT",
            "NEXT RUN",
            "WAITING FOR",
            "STATUS",
        ];
        let mut rows: Vec<Vec<String>> = processes.iter().map(row).collect();
        if processes.iter().any(|process| process.port.is_some()) {
            head.insert(4, "PORT");
            let ports = processes.iter().map(|process| process.port.map(|port| port.to_string()).unwrap_or_default());
            rows.iter_mut().zip(ports).for_each(|(row, port)| row.insert(4, port));
        }
        out.bytes(table(&head, &rows).as_bytes())?;
    }
    out.flush()
}

/// Its own name, its process's, or that of a group it is in.
fn is_meant(process: &ProcessStatus, name: &str) -> bool {
    match name.strip_prefix('@') {
        Some(group) => process.groups.iter().any(|other| other == group),
        None => process.internal_name == name || process.name == name,
    }
}

fn row(process: &ProcessStatus) -> Vec<String> {
    let ready = if process.ready { "yes" } else { "no" };
    let exit = process.exit_code.map(|code| code.to_string()).or_else(|| process.signal.clone());
    vec![
        process.internal_name.clone(),
        state_name(process.state()).to_owned(),
        ready.to_owned(),
        process.pid.map(|pid| pid.to_string()).unwrap_or_default(),
        process.started_at.map(local_time).unwrap_or_default(),
        process.restarts.to_string(),
        exit.unwrap_or_default(),
        process.next_run.map(local_time).unwrap_or_default(),
        process.waiting_for.clone().unwrap_or_default(),
        process.status.clone().or_else(|| process.reason.clone()).unwrap_or_default(),
    ]
}

fn to_json(process: &ProcessStatus) -> Value {
    json!({
        "name": process.name,
        "internal_name": process.internal_name,
        "state": state_name(process.state()),
        "ready": process.ready,
        "pid": process.pid,
        "started_at": process.started_at,
        "restarts": process.restarts,
        "exit_code": process.exit_code,
        "signal": process.signal,
        "next_run": process.next_run,
        "waiting_for": process.waiting_for,
        "run": process.run,
        "trigger_type": process.trigger_type,
        "groups": process.groups,
        "port": process.port,
        "status": process.status,
        "reason": process.reason,
    })
}

/// A state as people and scripts read it (DESIGN.md §5).
pub fn state_name(state: State) -> &'static str {
    match state {
        State::Unspecified => "unknown",
        State::Idle => "idle",
        State::Waiting => "waiting",
        State::Starting => "starting",
        State::Running => "running",
        State::Backoff => "backoff",
        State::Stopping => "stopping",
        State::Stopped => "stopped",
        State::Finished => "finished",
        State::Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_null() {
        let process = ProcessStatus {
            name: "web".into(),
            internal_name: "web-1".into(),
            state: State::Idle.into(),
            trigger_type: "manual".into(),
            ..ProcessStatus::default()
        };
        let expected = json!({
            "name": "web", "internal_name": "web-1", "state": "idle", "ready": false, "pid": null, "started_at": null,
            "restarts": 0, "exit_code": null, "signal": null, "next_run": null, "waiting_for": null, "run": null,
            "trigger_type": "manual", "groups": [], "port": null, "status": null, "reason": null,
        });
        assert_eq!(to_json(&process), expected);
    }
}

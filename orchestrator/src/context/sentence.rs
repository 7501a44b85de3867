//! What a report of the orchestrator's says to people, made from its facts. Pure.

use copo_proto::v1::{EventKind, Facts};

/// One sentence, without a full stop.
pub(super) fn of(facts: &Facts) -> String {
    let who = facts.internal_name.as_deref().or(facts.process.as_deref()).unwrap_or("the application");
    let what = match facts.event() {
        EventKind::Unspecified => format!("{who}: something happened"),
        EventKind::Starting => format!("{who} is starting"),
        EventKind::Started => format!("{who} has started"),
        EventKind::Ready => format!("{who} is ready"),
        EventKind::NotReady => format!("{who} is not ready"),
        EventKind::Exited => format!("{who} {}", ended(facts)),
        EventKind::SpawnFailed => format!("{who} could not be started"),
        EventKind::Backoff => format!("{who} will be restarted after a delay"),
        EventKind::Stopping => format!("{who} was asked to stop"),
        EventKind::Stopped => format!("{who} is stopped"),
        EventKind::Finished => format!("{who} has finished"),
        EventKind::Failed => format!("{who} has failed"),
        EventKind::Skipped => format!("{who} was not started although its trigger fired"),
        EventKind::Adopted => format!("{who} is supervised again"),
        EventKind::Config => "the configuration was read anew".to_owned(),
        EventKind::Headers => "the headers have changed".to_owned(),
        EventKind::Damaged => "a part of the stored log is damaged".to_owned(),
        EventKind::OrchestratorStarted => "the orchestrator has started".to_owned(),
        EventKind::OrchestratorStopped => "the orchestrator is about to end".to_owned(),
    };
    match &facts.reason {
        Some(reason) => format!("{what}: {reason}"),
        None => what,
    }
}

fn ended(facts: &Facts) -> String {
    match (facts.exit_code, &facts.signal) {
        (_, Some(signal)) => format!("was ended by {signal}"),
        (Some(code), None) => format!("exited with code {code}"),
        (None, None) => "has ended".to_owned(),
    }
}

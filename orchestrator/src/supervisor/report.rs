//! The facts of the orchestrator's own reports (C7): what is absent means nothing there.

use copo_proto::name;
use copo_proto::v1::{EventKind, Facts};

use super::event::Outcome;
use super::live::Run;
use super::run::Instance;
use super::step::Order;
use crate::plan::ProcessSpec;

/// About the orchestrator as a whole.
#[must_use]
pub(super) fn of_orchestrator(event: EventKind) -> Facts {
    Facts { event: event.into(), ..Facts::default() }
}

/// A trigger of a process fired, and nothing came of it.
#[must_use]
pub(super) fn of_skipped(spec: &ProcessSpec, order: &Order, reason: String) -> Facts {
    Facts {
        process: Some(spec.name.clone()),
        reason: Some(reason),
        trigger: Some(order.trigger(spec).to_owned()),
        scheduled_time: order.scheduled_time,
        ..of_orchestrator(EventKind::Skipped)
    }
}

/// About an instance, and its run where there is one. How a run ended stands in `exited`, `finished` and `failed`.
#[must_use]
pub(super) fn of_instance(
    event: EventKind,
    spec: &ProcessSpec,
    instance: Instance,
    run: Option<&Run>,
    reason: Option<String>,
) -> Facts {
    let is_end = matches!(event, EventKind::Exited | EventKind::Finished | EventKind::Failed);
    let outcome = run.and_then(|run| run.outcome).filter(|_| is_end);
    Facts {
        event: event.into(),
        process: Some(spec.name.clone()),
        internal_name: Some(name::internal(&spec.name, instance.number)),
        run: run.map(|run| run.id.to_string()),
        pid: run.and_then(|run| run.pid),
        exit_code: outcome.and_then(exit_code),
        signal: outcome.and_then(signal).map(str::to_owned),
        reason,
        trigger: run.map(|run| run.order.trigger(spec).to_owned()),
        scheduled_time: run.and_then(|run| run.order.scheduled_time),
    }
}

/// The exit code of an end, if it has one.
#[must_use]
pub(super) fn exit_code(outcome: Outcome) -> Option<i32> {
    match outcome {
        Outcome::Code(code) => Some(code),
        Outcome::Signal { .. } | Outcome::Unknown => None,
    }
}

/// An end as the exit code of the application: 128 and the signal's number where one ended it; what failed is never 0.
#[must_use]
pub(super) fn as_exit_code(outcome: Option<Outcome>, succeeded: bool) -> u8 {
    let code = match outcome {
        // Windows has exit codes of 32 bits: what is left of one must not read as success.
        Some(Outcome::Code(code)) if code != 0 => u8::try_from(code & 0xff).unwrap_or(1).max(1),
        Some(Outcome::Signal { number, .. }) => u8::try_from(128 + number).unwrap_or(1),
        Some(Outcome::Code(_) | Outcome::Unknown) | None => 0,
    };
    if succeeded { code } else { code.max(1) }
}

/// The name of the signal of an end, if one ended it.
#[must_use]
pub(super) fn signal(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Signal { name, .. } => Some(name),
        Outcome::Code(_) | Outcome::Unknown => None,
    }
}

/// An end in words.
#[must_use]
pub(super) fn in_words(outcome: Outcome) -> String {
    match outcome {
        Outcome::Code(code) => format!("exit code {code}"),
        Outcome::Signal { name, .. } => format!("ended by {name}"),
        Outcome::Unknown => "how it ended is not known".to_owned(),
    }
}

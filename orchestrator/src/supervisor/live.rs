//! A live run: from the decision to spawn it until nothing of its process group is left; and how it is asked to stop.

use std::time::Duration;

use copo_proto::v1::EventKind;

use super::action::Action;
use super::event::Outcome;
use super::run::RunId;
use super::step::{Note, Order, Over, Step};
use super::watch::Watch;
use crate::plan::ProcessSpec;

/// How far a live run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Phase {
    /// To be spawned.
    Spawning,
    /// Its program runs and is not ready.
    Starting,
    /// Its program runs and is ready.
    Running,
    /// Asked to stop.
    Stopping,
    /// Its main process has ended; what it had sent is being appended.
    Draining,
    /// What is left of its group is being killed.
    Reaping,
}

/// A live run.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct Run {
    pub id: RunId,
    pub phase: Phase,
    pub pid: Option<u32>,
    pub outcome: Option<Outcome>,
    /// What follows when it is over.
    pub next: Next,
    pub order: Order,
    /// Its program runs since.
    pub since: Option<Duration>,
    pub said_ready: bool,
    pub watches_stop: bool,
    /// It was told to stop while being spawned: it is asked as soon as it can hear it.
    pub stop_later: Option<Ask>,
    pub signal_at: Option<Duration>,
    pub kill_at: Option<Duration>,
    /// Why its end counts as failed, whatever its exit code.
    pub fault: Option<String>,
    /// It ended while there was no orchestrator.
    #[serde(default)]
    pub ended_unseen: bool,
    /// How it is watched.
    #[serde(default)]
    pub watch: Watch,
    /// What it was started with (see `converge::settings::fingerprint`).
    #[serde(default)]
    pub made_with: Option<[u64; 2]>,
}

impl Run {
    /// It was asked to stop, or its main process has ended.
    pub fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Stopping | Phase::Draining | Phase::Reaping) || self.stop_later.is_some()
    }

    /// It is to end, whatever becomes of it.
    pub fn is_unwanted(&self) -> bool {
        let is_wanted = matches!(self.next, Next::Policy) && self.stop_later.is_none();
        !is_wanted
    }

    /// What is to be said of an end that nobody saw.
    pub fn absence(&self) -> Option<String> {
        self.ended_unseen.then(|| "it ended while there was no orchestrator".to_owned())
    }

    /// Its program runs.
    pub fn has_main_process(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Running | Phase::Stopping)
    }
}

/// What follows when a run is over.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) enum Next {
    /// What the restart policy says of its end.
    Policy,
    /// Nothing: it is stopped.
    Rest,
    /// Nothing but what its trigger fires later.
    Idle,
    /// This.
    Start(Order),
    /// The same again.
    Again,
}

/// How a run is asked to stop.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(super) struct Ask {
    /// From the request to the kill.
    pub grace: Duration,
    /// Kill at once.
    pub kill: bool,
}

/// As the plan says a run of this process is asked to stop.
pub(super) fn asking(spec: &ProcessSpec) -> Ask {
    Ask { grace: spec.stop_grace, kill: false }
}

/// What it depends on is gone.
pub(super) fn lose(step: &mut Step<'_>, run: &mut Run, why: String) {
    let ask = asking(step.spec);
    match run.phase {
        Phase::Spawning => run.stop_later = Some(harder(run.stop_later, ask)),
        Phase::Starting | Phase::Running => ask_to_stop(step, run, ask, Some(why)),
        Phase::Stopping | Phase::Draining | Phase::Reaping => {}
    }
}

/// Asks it to stop; `why` where it is not a person who wants it.
pub(super) fn ask_to_stop(step: &mut Step<'_>, run: &mut Run, ask: Ask, why: Option<String>) {
    stopping(step, run, why);
    if ask.kill {
        return step.act(Action::Kill { run: run.id });
    }
    let now = step.now.mono;
    let grace_ms = u64::try_from(ask.grace.as_millis()).unwrap_or(u64::MAX);
    step.act(Action::StopEvent { run: run.id, grace_ms });
    run.kill_at = Some(now.saturating_add(ask.grace));
    if run.watches_stop {
        run.signal_at = Some(now.saturating_add(ask.grace / 2));
    } else {
        step.act(Action::Signal { run: run.id, signal: step.spec.stop_signal.clone() });
    }
}

fn stopping(step: &mut Step<'_>, run: &mut Run, why: Option<String>) {
    run.phase = Phase::Stopping;
    run.stop_later = None;
    run.watch.end();
    step.report(EventKind::Stopping, Some(run), why);
}

/// It was asked to stop and is asked again: the earlier end holds.
pub(super) fn hurry(step: &mut Step<'_>, run: &mut Run, ask: Ask) {
    if ask.kill {
        run.signal_at = None;
        run.kill_at = None;
        return step.act(Action::Kill { run: run.id });
    }
    let now = step.now.mono;
    run.kill_at = run.kill_at.map(|at| at.min(now.saturating_add(ask.grace)));
    run.signal_at = run.signal_at.map(|at| at.min(now.saturating_add(ask.grace / 2)));
}

/// The time to signal, or to kill, has come.
pub(super) fn press(step: &mut Step<'_>, run: &mut Run) {
    let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= step.now.mono);
    let (signal, kill) = (is_due(run.signal_at), is_due(run.kill_at));
    if signal {
        run.signal_at = None;
        step.act(Action::Signal { run: run.id, signal: step.spec.stop_signal.clone() });
    }
    if kill {
        run.kill_at = None;
        step.act(Action::Kill { run: run.id });
    }
}

pub(super) fn harder(earlier: Option<Ask>, ask: Ask) -> Ask {
    let Some(earlier) = earlier else {
        return ask;
    };
    Ask { grace: earlier.grace.min(ask.grace), kill: earlier.kill || ask.kill }
}

/// Tells who waits for the run's finish.
pub(super) fn settle_order(step: &mut Step<'_>, run: &Run, succeeded: bool, why: String) {
    if let Some(request) = run.order.request {
        let over = Over { run: Some(run.id), outcome: run.outcome, succeeded, why };
        step.note(Note::Over(request, Box::new(over)));
    }
}

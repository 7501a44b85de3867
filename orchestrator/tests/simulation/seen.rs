//! What the judge knows of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use copo_orchestrator::supervisor::{Instance, Outcome, ProbeKind};
use copo_proto::v1::EventKind;

/// How far a run is, as the edge knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Spawning,
    Running,
    Exited,
    Drained,
    Gone,
}

/// What is known of a run.
#[derive(Debug)]
pub struct Seen {
    pub instance: Instance,
    pub stage: Stage,
    pub is_ready: bool,
    /// The newest report of it.
    pub reported: Option<EventKind>,
    pub is_reaped: bool,
    /// When it was asked to stop, and when it may be killed.
    pub asked: Option<Duration>,
    pub kill_from: Option<Duration>,
    /// When it may be killed after all, because a later command has asked again and its process's own grace is shorter.
    pub hurried_from: Option<Duration>,
    pub was_signalled: bool,
    pub was_killed: bool,
    /// When its program started, and when its main process had ended, as the supervisor was told.
    pub since: Option<Duration>,
    pub ended: Option<Duration>,
    pub outcome: Option<Outcome>,
    /// Its spawning was not to be tried again.
    pub is_final: bool,
    /// It is held to have failed, whatever its exit code.
    pub has_fault: bool,
    /// It was asked to stop because of what it depends on.
    pub is_lost: bool,
    /// A command was about it: what follows it may be what that wants.
    pub was_meant: bool,
    pub scheduled_time: Option<u64>,
    /// It has been ready.
    pub was_ready: bool,
    /// It asked for more time.
    pub is_extended: bool,
    /// Its last sign of life, and how often it wants to give one.
    pub fed: Option<Duration>,
    pub own_watchdog: Option<Duration>,
    /// Of its probes: good and bad answers in a row, and whether one is under way.
    pub answers: BTreeMap<ProbeKind, (u32, u32, bool)>,
}

impl Seen {
    /// Reported as starting, and nothing more.
    pub fn new(instance: Instance, stage: Stage) -> Self {
        Self {
            instance,
            stage,
            is_ready: false,
            reported: Some(EventKind::Starting),
            is_reaped: false,
            asked: None,
            kill_from: None,
            hurried_from: None,
            was_signalled: false,
            was_killed: false,
            since: None,
            ended: None,
            outcome: None,
            is_final: false,
            has_fault: false,
            is_lost: false,
            was_meant: false,
            scheduled_time: None,
            was_ready: false,
            is_extended: false,
            fed: None,
            own_watchdog: None,
            answers: BTreeMap::new(),
        }
    }
}

/// `starting ≤ started ≤ ready ≤ stopping ≤ exited ≤ what follows`.
pub fn may_follow(earlier: EventKind, event: EventKind) -> bool {
    let place = |event| match event {
        EventKind::Starting => 1,
        EventKind::Started | EventKind::SpawnFailed => 2,
        EventKind::Ready | EventKind::NotReady => 3,
        EventKind::Stopping => 4,
        EventKind::Exited => 5,
        EventKind::Backoff | EventKind::Finished | EventKind::Failed | EventKind::Stopped => 6,
        _ => 0,
    };
    match (earlier, event) {
        // It may become ready and not ready again and again.
        (EventKind::Ready, EventKind::NotReady) | (EventKind::NotReady, EventKind::Ready) => true,
        (EventKind::SpawnFailed, _) => place(event) == 6,
        (_, EventKind::Started | EventKind::SpawnFailed) => earlier == EventKind::Starting,
        // What follows an end comes after the end.
        (_, _) if place(event) == 6 => earlier == EventKind::Exited,
        (EventKind::Starting, _) => false,
        (_, _) => place(event) > place(earlier),
    }
}

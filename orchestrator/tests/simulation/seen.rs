//! What the judge knows of a run.

use std::time::Duration;

use copo_orchestrator::supervisor::Instance;
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

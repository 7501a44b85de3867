//! How often each kind of thing has happened: what never happens is judged by nobody.

use std::collections::BTreeMap;
use std::fmt;

use copo_orchestrator::supervisor::{Action, Command, Event, Found, ProbeKind, Reply};
use copo_proto::v1::{Facts, change};

/// Counts by kind.
#[derive(Default)]
pub struct Tally(BTreeMap<String, u64>);

/// What each long enough run must reach, beside every kind of event, command, action and report there is: as it stands in
/// the reason of a report, or as the simulator calls it.
const REACHED: &[&str] = &[
    "because: a run is queued already",
    "because: a run is under way",
    "because: given up after",
    "because: it ended while there was no orchestrator",
    "because: it has read nothing of what it follows",
    "because: it ran for more than",
    "because: it says that it is stopping",
    "because: its time was missed",
    "because: its watchdog: it says",
    "because: its watchdog: no sign of life",
    "because: not ready within",
    "because: on which it depends, has ended",
    "because: runs are under way, and max_instances allows no more",
    "because: the application ends with",
    "because: the liveness probe failed",
    "because: the ready probe failed",
    "because: the startup probe failed",
    "because: the next run starts in",
    "life: ends by itself",
    "life: killed in the middle of what was decided",
    "life: started anew by a person",
    "life: taken over by the keeper's next",
    "life: the machine was booted",
    "run: an extra one of overlap = \"allow\"",
    "run: one of a missed time",
    "run: one of a schedule with jitter",
    "run: one that is replaced by its next",
    "run: stray",
];

const EVENTS: &[&str] = &[
    "event: up",
    "event: command",
    "event: request_gone",
    "event: resumed",
    "event: spawned",
    "event: spawn_failed",
    "event: ready",
    "event: probed",
    "event: notified",
    "event: stop_watched",
    "event: exited",
    "event: drained",
    "event: group_gone",
    "event: deadline_reached",
    "event: terminate",
    "found: alive",
    "found: ended",
    "found: unstarted",
    "asked: ps",
    "asked: start",
    "asked: stop",
    "asked: restart",
    "asked: trigger",
    "asked: kill",
    "asked: wait",
    "asked: scale",
    "asked: converge",
    "asked: diff",
    "asked: down",
    "asked: @group",
];

const ACTIONS: &[&str] = &[
    "action: spawn",
    "action: stop_event",
    "action: signal",
    "action: kill",
    "action: drain",
    "action: fence",
    "action: reap",
    "action: adopt",
    "action: forget",
    "action: note_schedule",
    "action: end",
    "probe: startup",
    "probe: ready",
    "probe: liveness",
    "probe: progress",
    "reply: done",
    "reply: processes",
    "reply: triggered",
    "reply: failed",
    "change: ADD",
    "change: REMOVE",
    "change: RESTART",
    "change: UPDATE",
    "change: SCALE",
    "change: START",
];

const REPORTS: &[&str] = &[
    "report: STARTING",
    "report: STARTED",
    "report: READY",
    "report: NOT_READY",
    "report: EXITED",
    "report: SPAWN_FAILED",
    "report: BACKOFF",
    "report: STOPPING",
    "report: STOPPED",
    "report: FINISHED",
    "report: FAILED",
    "report: SKIPPED",
    "report: ADOPTED",
    "report: CONFIG",
    "report: ORCHESTRATOR_STOPPED",
    "started by: on_start",
    "started by: manual",
    "started by: cron",
    "started by: dependence_finish",
];

impl Tally {
    pub fn count(&mut self, what: &str) {
        match self.0.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(self.0.insert(what.to_owned(), 1)),
        }
    }

    pub fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what.clone()).or_default() += count;
        }
    }

    /// What should have happened and has not.
    pub fn missing(&self) -> Vec<&'static str> {
        let all = [REACHED, EVENTS, ACTIONS, REPORTS].concat();
        all.into_iter().filter(|what| !self.0.contains_key(*what)).collect()
    }

    pub fn event(&mut self, event: &Event) {
        self.count(match event {
            Event::Up { .. } => "event: up",
            Event::Command { .. } => "event: command",
            Event::RequestGone { .. } => "event: request_gone",
            Event::Resumed { .. } => "event: resumed",
            Event::Spawned { .. } => "event: spawned",
            Event::SpawnFailed { .. } => "event: spawn_failed",
            Event::Ready { .. } => "event: ready",
            Event::Probed { .. } => "event: probed",
            Event::Notified { .. } => "event: notified",
            Event::StopWatched { .. } => "event: stop_watched",
            Event::Exited { .. } => "event: exited",
            Event::Drained { .. } => "event: drained",
            Event::GroupGone { .. } => "event: group_gone",
            Event::DeadlineReached => "event: deadline_reached",
            Event::Terminate => "event: terminate",
        });
        match event {
            Event::Command { command, .. } => self.command(command),
            Event::Resumed { found } => found.iter().for_each(|(_, found)| self.found(*found)),
            _ => {}
        }
    }

    fn found(&mut self, found: Found) {
        self.count(match found {
            Found::Alive { .. } => "found: alive",
            Found::Ended { .. } => "found: ended",
            Found::Unstarted => "found: unstarted",
        });
    }

    fn command(&mut self, command: &Command) {
        let (what, names) = match command {
            Command::Ps => ("asked: ps", &[][..]),
            Command::Start { names } => ("asked: start", &names[..]),
            Command::Stop { names } => ("asked: stop", &names[..]),
            Command::Restart { names } => ("asked: restart", &names[..]),
            Command::Trigger { name, .. } => ("asked: trigger", std::slice::from_ref(name)),
            Command::Kill { name, .. } => ("asked: kill", std::slice::from_ref(name)),
            Command::Wait { names, .. } => ("asked: wait", &names[..]),
            Command::Scale { .. } => ("asked: scale", &[][..]),
            Command::Converge { dry_run: true, .. } => ("asked: diff", &[][..]),
            Command::Converge { names, .. } => ("asked: converge", &names[..]),
            Command::Down { .. } => ("asked: down", &[][..]),
        };
        self.count(what);
        if names.iter().any(|name| name.starts_with('@')) {
            self.count("asked: @group");
        }
    }

    pub fn action(&mut self, action: &Action) {
        let what = match action {
            Action::Spawn(_) => "action: spawn",
            Action::StopEvent { .. } => "action: stop_event",
            Action::Signal { .. } => "action: signal",
            Action::Kill { .. } => "action: kill",
            Action::Probe { probe, .. } => match probe {
                ProbeKind::Startup => "probe: startup",
                ProbeKind::Ready => "probe: ready",
                ProbeKind::Liveness => "probe: liveness",
                ProbeKind::Progress => "probe: progress",
            },
            Action::Drain { .. } => "action: drain",
            Action::Fence { .. } => "action: fence",
            Action::Reap { .. } => "action: reap",
            Action::Report { facts } => return self.report(facts),
            Action::Reply { reply, .. } => match reply {
                Reply::Done => "reply: done",
                Reply::Processes(_) => "reply: processes",
                Reply::Triggered(_) => "reply: triggered",
                Reply::Failed { .. } => "reply: failed",
                Reply::Changes(changes) => {
                    let kinds = changes.changes.iter().map(|change| change.kind());
                    return kinds.for_each(|kind: change::Kind| {
                        self.count(&kind.as_str_name().replace("KIND_", "change: "));
                    });
                }
            },
            Action::Adopt { .. } => "action: adopt",
            Action::Forget { .. } => "action: forget",
            Action::NoteSchedule { .. } => "action: note_schedule",
            Action::End => "action: end",
        };
        self.count(what);
    }

    fn report(&mut self, facts: &Facts) {
        let kind = facts.event();
        self.count(&kind.as_str_name().replace("EVENT_KIND_", "report: "));
        if let Some(trigger) = facts.trigger.as_deref().filter(|_| kind == copo_proto::v1::EventKind::Starting) {
            self.count(&format!("started by: {trigger}"));
        }
        let Some(reason) = &facts.reason else { return };
        let words = REACHED.iter().filter_map(|what| Some((what, what.strip_prefix("because: ")?)));
        for (what, _) in words.filter(|(_, words)| reason.contains(words)) {
            self.count(what);
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.0 {
            writeln!(f, "{count:>12} {what}")?;
        }
        Ok(())
    }
}

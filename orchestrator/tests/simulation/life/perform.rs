//! The edge of a life: what becomes of what is decided, and what comes too late.

use std::time::Duration;

use copo_orchestrator::supervisor::{Action, Event, Notice, ProbeKind, RunId, Spawn};

use super::{Coming, KILLED, Life, Nature, SECOND, Stage, Verdict, ensure};

const MICRO: Duration = Duration::from_micros(1);

impl Life {
    /// What the edge and the children make of it.
    pub(super) fn perform(&mut self, action: &Action) {
        match action {
            Action::Spawn(Spawn { run, .. }) => {
                let nature = Nature::any(&mut self.chance);
                let (after, fails) = (nature.spawning, nature.fails);
                self.natures.insert(*run, nature);
                self.later(
                    Some(after),
                    fails.map_or(Coming::Spawned(*run), |is_final| Coming::SpawnFailed(*run, is_final)),
                );
            }
            Action::StopEvent { run, grace_ms } => {
                let obeys =
                    self.natures.get(run).filter(|nature| nature.watches.is_some()).and_then(|nature| nature.obeys);
                self.later(obeys, Coming::Exit(*run, false));
                self.later(Some(Duration::from_millis(*grace_ms) + SECOND), Coming::Grace(*run));
            }
            Action::Signal { run, .. } => {
                let obeys = self.natures.get(run).and_then(|nature| nature.obeys);
                self.later(obeys, Coming::Exit(*run, false));
            }
            Action::Kill { run } => {
                let dies = self.natures.get(run).map(|nature| nature.dies);
                self.later(dies, Coming::Exit(*run, true));
            }
            Action::Probe { run, probe, timeout, .. } => {
                let nature = self.natures.get(run);
                // Some answers never come.
                let answers = nature.filter(|nature| nature.answers).map(|_| self.chance.time(MICRO, *timeout));
                let is_good = !self.chance.once_in(6);
                self.later(answers, Coming::Probed(*run, *probe, is_good));
            }
            Action::Drain { run } => {
                let drains = self.natures.get(run).map(|nature| nature.drains);
                self.later(drains, Coming::Drained(*run));
            }
            Action::Reap { run } => {
                let vanishes = self.natures.get(run).map(|nature| nature.vanishes);
                self.later(vanishes, Coming::GroupGone(*run));
            }
            Action::Fence { .. }
            | Action::Report { .. }
            | Action::Reply { .. }
            | Action::Adopt { .. }
            | Action::Forget { .. }
            | Action::NoteSchedule { .. }
            | Action::End => {}
        }
    }

    /// An event of a run that is over yields nothing and changes nothing.
    pub(super) fn stale(&mut self) -> Verdict {
        let over = self.judge.newest.values().copied().filter(|run| self.judge.runs[run].stage == Stage::Gone);
        let over: Vec<RunId> = over.collect();
        if over.is_empty() {
            return Ok(());
        }
        let run = *self.chance.pick(&over);
        let event = match self.chance.below(9) {
            0 => Event::Spawned { run, pid: 2 },
            1 => Event::SpawnFailed { run, reason: String::new(), is_final: true },
            2 => Event::Ready { run },
            3 => Event::StopWatched { run },
            4 => Event::Exited { run, outcome: KILLED },
            5 => Event::Drained { run },
            6 => Event::Probed { run, probe: ProbeKind::Ready, answer: Ok(()) },
            7 => Event::Notified { run, notice: notice(0) },
            _ => Event::GroupGone { run },
        };
        let before = (self.orc.processes(), self.orc.next_deadline());
        let actions = self.orc.handle(self.now, event.clone());
        self.events += 1;
        let changes = before != (self.orc.processes(), self.orc.next_deadline());
        ensure(actions.is_empty() && !changes, || format!("{event:?} of a run that is over: {actions:?}"))
    }
}

/// What a run says of itself.
pub(super) fn notice(what: usize) -> Notice {
    let said = Notice::default();
    match what {
        0 => Notice { ready: true, main_pid: Some(7), ..said },
        1 => Notice { alive: true, watchdog: Some(60 * SECOND), ..said },
        2 => Notice { stopping: true, status: Some("it ends".to_owned()), ..said },
        _ => Notice { not_alive: true, ..said },
    }
}

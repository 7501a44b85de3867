//! The edge of a life: what becomes of what is decided, and what comes too late.

use std::time::Duration;

use copo_orchestrator::supervisor::{Action, Event, Instance, Notice, ProbeKind, RunId, Spawn};

use super::{Coming, KILLED, Life, Nature, SECOND, Stage, Verdict, ensure};

const MICRO: Duration = Duration::from_micros(1);

impl Life {
    /// What the edge and the children make of it.
    pub(super) fn perform(&mut self, action: &Action) {
        match action {
            Action::Spawn(Spawn { run, instance, scheduled_time, .. }) => {
                self.note_kind(*instance, *scheduled_time);
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
                if self.chance.once_in(16) {
                    let soon = self.chance.time(MICRO, 2 * SECOND);
                    self.later(Some(soon), Coming::Says(*run, MORE_TIME));
                }
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
            Action::NoteSchedule { process, note } => match note {
                Some(note) => drop(self.notes.insert(process.clone(), note.clone())),
                None => drop(self.notes.remove(process)),
            },
            Action::Fence { .. }
            | Action::Report { .. }
            | Action::Reply { .. }
            | Action::Adopt { .. }
            | Action::Forget { .. }
            | Action::End => {}
        }
    }

    /// What only actions together tell.
    pub(super) fn note_course(&mut self, event: &Event, actions: &[Action]) {
        let by_person = matches!(event, Event::Command { .. } | Event::Terminate | Event::Resumed { .. });
        if self.orc.is_going_down() && self.judge.down.is_none() && !by_person {
            self.tally.count("life: ends by itself");
        }
        let is_stopped = |pair: &[Action]| match pair {
            [Action::Report { facts }, Action::StopEvent { .. }] => facts.reason.is_none(),
            _ => false,
        };
        if *event == Event::DeadlineReached && actions.windows(2).any(is_stopped) {
            self.tally.count("run: one that is replaced by its next");
        }
    }

    fn note_kind(&mut self, instance: Instance, scheduled_time: Option<u64>) {
        let spec = self.judge.plan.process(instance.prc);
        if instance.number > spec.replicas {
            self.tally.count("run: an extra one of overlap = \"allow\"");
        }
        let Some(time) = scheduled_time else { return };
        if !spec.jitter.is_zero() {
            self.tally.count("run: one of a schedule with jitter");
        }
        if spec.catch_up.is_some() && time + 60_000_000 + (spec.jitter.as_micros() as u64) < self.now.wall {
            self.tally.count("run: one of a missed time");
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

/// What a run says again and again.
pub(super) const ALIVE: usize = 1;
/// What a run says that takes longer.
const MORE_TIME: usize = 4;

/// What a run says of itself.
pub(super) fn notice(what: usize) -> Notice {
    let said = Notice::default();
    match what {
        MORE_TIME => Notice { extend_timeout: Some(20 * SECOND), ..said },
        5 => Notice { errno: Some(2), ..said },
        0 => Notice { ready: true, main_pid: Some(7), ..said },
        ALIVE => Notice { alive: true, watchdog: Some(60 * SECOND), ..said },
        2 => Notice { stopping: true, status: Some("it ends".to_owned()), ..said },
        _ => Notice { not_alive: true, ..said },
    }
}

//! Stopping everything: each process once all that depend on it, however indirectly, are gone; then the end.

use std::time::Duration;

use copo_proto::v1::{ErrorCode, EventKind, Facts};

use super::action::{Action, Reply};
use super::event::Now;
use super::live::{Ask, Next, asking};
use super::orchestrator::Orchestrator;
use super::report;
use super::requests::Pending;
use super::run::Instance;
use super::step::{Input, Verdict};
use crate::plan::PrcId;

/// How far stopping everything is.
#[derive(Debug)]
pub(super) struct Down {
    /// In place of every `stop_grace`.
    grace: Option<Duration>,
    /// Killing, out of order.
    kill: bool,
    /// Of each process: how many of those that depend on it are not clear.
    held_by: Vec<usize>,
    /// Of each process: nothing of it runs, nor of what depends on it.
    is_clear: Vec<bool>,
    /// Processes not clear yet.
    left: usize,
    /// Why, when no person asked for it.
    verdict: Option<Verdict>,
}

impl Down {
    /// In place of every `stop_grace`, and whether it kills.
    pub fn how(&self) -> (Option<Duration>, bool) {
        (self.grace, self.kill)
    }
}

impl Orchestrator {
    /// The orchestrator was signalled: it stops everything in order; asked again, it kills.
    pub(super) fn terminate(&mut self, now: Now) {
        if self.has_ended {
            return;
        }
        let kill = self.down.is_some();
        self.go_down(now, None, kill);
    }

    /// Everything is being stopped, or is.
    #[must_use]
    pub fn is_going_down(&self) -> bool {
        self.down.is_some()
    }

    /// The exit code of the application: not 0 when it ended by itself, because something failed or said so.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let verdict = self.down.as_ref().and_then(|down| down.verdict.as_ref());
        verdict.map_or(0, |verdict| verdict.exit_code)
    }

    /// Stops everything because of an instance, unless that is under way already.
    pub(super) fn end_because_of(&mut self, now: Now, instance: Instance, verdict: Verdict) {
        if self.down.is_some() {
            return;
        }
        self.go_down(now, None, false);
        let why = format!("the application ends with {}: {}", self.internal_name(instance), verdict.why);
        if let Some(down) = &mut self.down {
            down.verdict = Some(Verdict { why, ..verdict });
        }
    }

    /// Stops everything and ends; under way already, it can only become faster.
    pub(super) fn go_down(&mut self, now: Now, grace: Option<Duration>, kill: bool) {
        self.unsaved.down();
        if let Some(down) = &mut self.down {
            down.grace = grace.or(down.grace);
            down.kill |= kill;
            if down.kill || grace.is_some() {
                self.hurry_all(now);
            }
            return;
        }
        self.replacing = None;
        self.down = Some(Down {
            grace,
            kill,
            held_by: self.dependents.iter().map(Vec::len).collect(),
            is_clear: vec![false; self.processes.len()],
            left: self.processes.len(),
            verdict: None,
        });
        self.answer(|pending| match pending {
            Pending::Restart(_) | Pending::Wait(_) | Pending::Change(_) => Some(is_stopping()),
            Pending::Stop(_) | Pending::Trigger(_) | Pending::Down => None,
        });
        for index in (0..self.order.len()).rev() {
            for instance in self.instances(self.order[index]) {
                self.step(now, instance, Input::Disarm);
            }
        }
        if kill || grace.is_some() {
            self.hurry_all(now); // What was asked to stop before has no more time than the rest.
        }
        // From the last dependents backwards, each process is looked at after all that depend on it.
        for index in (0..self.order.len()).rev() {
            self.go_on_down(now, self.order[index]);
        }
    }

    /// Something of a process has ended: if nothing of it is left, those it depends on may be stopped.
    pub(super) fn go_on_down(&mut self, now: Now, prc: PrcId) {
        if self.down.is_none() {
            return;
        }
        let mut to_look_at = vec![prc];
        while let Some(prc) = to_look_at.pop() {
            let is_live = self.instances(prc).any(|instance| self.run(instance).is_some());
            let Some(down) = &mut self.down else {
                return;
            };
            if down.held_by[prc.0] > 0 || down.is_clear[prc.0] {
                continue;
            }
            if is_live {
                self.stop_process(now, prc);
                continue;
            }
            down.is_clear[prc.0] = true;
            down.left -= 1;
            for dependence in &self.dependences[prc.0] {
                down.held_by[dependence.0] -= 1;
                to_look_at.push(*dependence);
            }
        }
    }

    fn stop_process(&mut self, now: Now, prc: PrcId) {
        for instance in self.instances(prc) {
            if self.run(instance).is_some_and(|run| !run.is_leaving()) {
                self.stop_instance(now, instance);
            }
        }
    }

    fn hurry_all(&mut self, now: Now) {
        let kill = self.down.as_ref().is_some_and(|down| down.kill);
        for index in (0..self.order.len()).rev() {
            for instance in self.instances(self.order[index]) {
                if self.run(instance).is_some_and(|run| kill || run.is_leaving()) {
                    self.stop_instance(now, instance);
                }
            }
        }
    }

    fn stop_instance(&mut self, now: Now, instance: Instance) {
        let planned = asking(self.plan.process(instance.prc));
        let ask = self
            .down
            .as_ref()
            .map_or(planned, |down| Ask { grace: down.grace.unwrap_or(planned.grace), kill: down.kill });
        self.step(now, instance, Input::Stop(ask, Next::Rest));
    }

    /// With nothing left to stop, the last requests are answered, and this is the end.
    pub(super) fn end_if_all_is_clear(&mut self) {
        if self.has_ended || self.down.as_ref().is_none_or(|down| down.left > 0) {
            return;
        }
        self.has_ended = true;
        self.answer(|pending| {
            Some(match pending {
                Pending::Down | Pending::Stop(_) => Reply::Done,
                Pending::Restart(_) | Pending::Trigger(_) | Pending::Wait(_) | Pending::Change(_) => is_stopping(),
            })
        });
        let verdict = self.down.as_ref().and_then(|down| down.verdict.as_ref());
        let facts = Facts {
            exit_code: verdict.map(|verdict| verdict.exit_code.into()),
            reason: verdict.map(|verdict| verdict.why.clone()),
            ..report::of_orchestrator(EventKind::OrchestratorStopped)
        };
        self.actions.push(Action::Report { facts });
        self.actions.push(Action::End);
    }
}

/// The answer to what can no longer be done.
pub(super) fn is_stopping() -> Reply {
    Reply::Failed { code: ErrorCode::Conflict, message: "cannot do that: the application is stopping".to_owned() }
}

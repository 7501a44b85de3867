//! Requests that are answered later: each exactly once, unless whoever made it has gone.

use std::collections::BTreeSet;

use copo_proto::v1::{self, ErrorCode};

use super::action::{Action, Reply};
use super::event::{Outcome, RequestId};
use super::live::Run;
use super::orchestrator::Orchestrator;
use super::report;
use super::run::Instance;
use super::step::Over;
use super::waits::Wait;

/// What a request waits for.
#[derive(Debug)]
pub(super) enum Pending {
    /// That nothing of these instances runs.
    Stop(BTreeSet<Instance>),
    /// That these instances run anew, or wait for what they depend on.
    Restart(BTreeSet<Instance>),
    /// That its runs finish.
    Trigger(Triggering),
    /// That a condition holds.
    Wait(Wait),
    /// That what changes has changed.
    Change(Changing),
    /// That everything is stopped.
    Down,
}

/// Changes under way.
#[derive(Debug)]
pub(super) struct Changing {
    /// Instances of which nothing is to run any more.
    pub stops: BTreeSet<Instance>,
    /// Instances that are to run anew, or to wait for what they depend on.
    pub restarts: BTreeSet<Instance>,
    /// What is answered.
    pub changes: v1::Changes,
}

impl Changing {
    pub fn is_done(&self) -> bool {
        self.stops.is_empty() && self.restarts.is_empty()
    }

    /// The answer, when removing an instance from what is waited for has left nothing.
    fn answer(&mut self, was_waited_for: bool) -> Option<Reply> {
        (was_waited_for && self.is_done()).then(|| Reply::Changes(std::mem::take(&mut self.changes)))
    }
}

/// Runs that were triggered and are waited for.
#[derive(Debug)]
pub(super) struct Triggering {
    /// As the person wrote it.
    pub name: String,
    /// Runs still to finish.
    pub left: usize,
    /// Of the runs over so far: the first, or the first that did not succeed.
    pub over: Option<Over>,
}

impl Orchestrator {
    pub(super) fn reply(&mut self, request: RequestId, reply: Reply) {
        self.actions.push(Action::Reply { request, reply });
    }

    pub(super) fn refuse(&mut self, request: RequestId, code: ErrorCode, message: String) {
        self.reply(request, Reply::Failed { code, message });
    }

    /// Answers `Done` once nothing is left to wait for; at once if nothing is.
    pub(super) fn reply_when_stopped(&mut self, request: RequestId, left: BTreeSet<Instance>) {
        if left.is_empty() {
            self.reply(request, Reply::Done);
        } else {
            self.pending.insert(request, Pending::Stop(left));
        }
    }

    /// Nothing of an instance runs any more.
    pub(super) fn stopped(&mut self, instance: Instance) {
        self.answer(|pending| match pending {
            Pending::Stop(left) => (left.remove(&instance) && left.is_empty()).then_some(Reply::Done),
            Pending::Change(changing) => {
                let was_waited_for = changing.stops.remove(&instance);
                changing.answer(was_waited_for)
            }
            Pending::Restart(_) | Pending::Trigger(_) | Pending::Wait(_) | Pending::Down => None,
        });
    }

    /// An instance runs anew (or waits to), or it cannot.
    pub(super) fn restarted(&mut self, instance: Instance, outcome: Result<(), String>) {
        if self.pending.is_empty() {
            return;
        }
        let name = self.internal_name(instance);
        self.answer(|pending| match pending {
            Pending::Restart(left) => match &outcome {
                Ok(()) => (left.remove(&instance) && left.is_empty()).then_some(Reply::Done),
                Err(why) => left.contains(&instance).then(|| Reply::Failed {
                    code: ErrorCode::Internal,
                    message: format!("cannot restart {name}: {why}"),
                }),
            },
            Pending::Change(changing) => {
                let was_waited_for = changing.restarts.remove(&instance);
                changing.answer(was_waited_for)
            }
            Pending::Stop(_) | Pending::Trigger(_) | Pending::Wait(_) | Pending::Down => None,
        });
    }

    /// A triggered run that someone waits for is over.
    pub(super) fn triggered(&mut self, request: RequestId, over: Over) {
        let Some(Pending::Trigger(triggering)) = self.pending.get_mut(&request) else {
            return; // Whoever waited has gone.
        };
        triggering.left = triggering.left.saturating_sub(1);
        if triggering.over.as_ref().is_none_or(|earlier| earlier.succeeded && !over.succeeded) {
            triggering.over = Some(over);
        }
        if triggering.left > 0 {
            return;
        }
        let reply = triggering.over.take().map(|over| answer_of(&triggering.name, over));
        self.pending.remove(&request);
        if let Some(reply) = reply {
            self.reply(request, reply);
        }
    }

    /// Answers every pending request for which `answer` has one.
    pub(super) fn answer(&mut self, mut answer: impl FnMut(&mut Pending) -> Option<Reply>) {
        let actions = &mut self.actions;
        self.pending.retain(|&request, pending| match answer(pending) {
            Some(reply) => {
                actions.push(Action::Reply { request, reply });
                false
            }
            None => true,
        });
    }

    /// Runs of these instances, if they have one.
    pub(super) fn first_run(&self, instances: &[Instance]) -> Option<String> {
        instances.iter().find_map(|instance| self.run(*instance)).map(|run: &Run| run.id.to_string())
    }
}

fn answer_of(name: &str, over: Over) -> Reply {
    let Over { run, outcome, succeeded, why } = over;
    match (run, outcome) {
        (Some(run), Some(outcome)) => Reply::Triggered(v1::Triggered {
            run: Some(run.to_string()),
            exit_code: report::exit_code(outcome),
            signal: match outcome {
                Outcome::Signal { number, .. } => Some(number),
                Outcome::Code(_) | Outcome::Unknown => None,
            },
            succeeded: Some(succeeded),
        }),
        (Some(_), None) => failed(ErrorCode::Internal, format!("cannot run {name}: {why}")),
        (None, _) => failed(ErrorCode::Conflict, format!("cannot run {name}: {why}")),
    }
}

fn failed(code: ErrorCode, message: String) -> Reply {
    Reply::Failed { code, message }
}

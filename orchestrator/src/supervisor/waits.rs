//! `Wait`: a request that is answered when a condition holds of all its instances at once.

use std::collections::BTreeSet;

use copo_proto::v1::{self, ErrorCode};

use super::action::Reply;
use super::dependence::holds;
use super::event::RequestId;
use super::live::Next;
use super::orchestrator::Orchestrator;
use super::process::State;
use super::requests::Pending;
use super::run::Instance;
use crate::plan::{Condition, Trigger};

/// What is waited for.
#[derive(Debug)]
pub(super) struct Wait {
    condition: v1::wait::Condition,
    /// All instances it is about.
    instances: BTreeSet<Instance>,
    /// Those of which the condition does not hold now.
    left: BTreeSet<Instance>,
}

/// What can be said of one instance.
enum Verdict {
    Holds,
    NotYet,
    /// Only a person could change that.
    Never(String),
}

impl Orchestrator {
    /// Begins a wait: answers it at once if it can be.
    pub(super) fn wait(&mut self, request: RequestId, condition: v1::wait::Condition, instances: BTreeSet<Instance>) {
        let mut wait = Wait { condition, left: instances.clone(), instances };
        for instance in wait.instances.clone() {
            if let Some(reply) = self.look_at(&mut wait, instance) {
                return self.reply(request, reply);
            }
        }
        if wait.left.is_empty() {
            self.reply(request, Reply::Done);
        } else {
            self.pending.insert(request, Pending::Wait(wait));
        }
    }

    /// An instance has changed: answers the waits that this decides.
    pub(super) fn look_at_waits(&mut self, instance: Instance) {
        let is_about = |pending: &Pending| matches!(pending, Pending::Wait(_));
        if !self.pending.values().any(is_about) {
            return;
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.retain(|&request, pending| {
            let Pending::Wait(wait) = pending else {
                return true;
            };
            let reply = self.look_again(wait, instance);
            reply.is_none_or(|reply| {
                self.reply(request, reply);
                false
            })
        });
        self.pending = pending;
    }

    /// An instance is no more: nobody waits for it.
    pub(super) fn forget_in_waits(&mut self, instance: Instance) {
        self.answer(|pending| match pending {
            Pending::Wait(wait) => {
                let was_waited_for = wait.instances.remove(&instance);
                wait.left.remove(&instance);
                (was_waited_for && wait.left.is_empty()).then_some(Reply::Done)
            }
            Pending::Stop(_) | Pending::Restart(_) | Pending::Trigger(_) | Pending::Change(_) | Pending::Down => None,
        });
    }

    fn look_again(&self, wait: &mut Wait, instance: Instance) -> Option<Reply> {
        if wait.instances.contains(&instance) {
            let reply = self.look_at(wait, instance);
            if reply.is_some() || wait.left.is_empty() {
                return reply.or(Some(Reply::Done));
            }
        }
        // What has come to rest may leave others waiting for good.
        let is_at_rest = self.slot(instance).is_some_and(|slot| slot.is_at_rest());
        if !is_at_rest || wait.condition != v1::wait::Condition::Up {
            return None;
        }
        wait.left.iter().find_map(|left| match self.verdict(wait.condition, *left) {
            Verdict::Never(why) => Some(self.never(*left, &why)),
            Verdict::Holds | Verdict::NotYet => None,
        })
    }

    fn look_at(&self, wait: &mut Wait, instance: Instance) -> Option<Reply> {
        match self.verdict(wait.condition, instance) {
            Verdict::Holds => {
                wait.left.remove(&instance);
                None
            }
            Verdict::NotYet => {
                wait.left.insert(instance);
                None
            }
            Verdict::Never(why) => Some(self.never(instance, &why)),
        }
    }

    fn never(&self, instance: Instance, why: &str) -> Reply {
        let message = format!("cannot bring up {}: {why}", self.internal_name(instance));
        Reply::Failed { code: ErrorCode::Internal, message }
    }

    fn verdict(&self, condition: v1::wait::Condition, instance: Instance) -> Verdict {
        let Some(slot) = self.slot(instance) else {
            return Verdict::NotYet;
        };
        let spec = self.plan.process(instance.prc);
        let is_there = match condition {
            v1::wait::Condition::Up => return self.is_up(instance),
            v1::wait::Condition::Ready => holds(Condition::Ready, spec, slot),
            v1::wait::Condition::Finished => matches!(slot.state, State::Finished | State::Failed),
            v1::wait::Condition::Unspecified => false,
        };
        if is_there { Verdict::Holds } else { Verdict::NotYet }
    }

    fn is_up(&self, instance: Instance) -> Verdict {
        let Some(slot) = self.slot(instance) else {
            return Verdict::NotYet;
        };
        let spec = self.plan.process(instance.prc);
        match &slot.state {
            State::Live(_) if slot.is_ready() => Verdict::Holds,
            State::Live(run) if matches!(run.next, Next::Rest) => Verdict::Never("it is being stopped".to_owned()),
            State::Live(_) | State::Backoff { .. } => Verdict::NotYet,
            State::Waiting(_) => match self.hopeless(instance.prc) {
                Some(why) => Verdict::Never(format!("it waits, and {why}")),
                None => Verdict::NotYet,
            },
            State::Finished => Verdict::Holds,
            State::Failed => Verdict::Never(format!("it failed: {}", slot.failure.as_deref().unwrap_or("no reason"))),
            State::Stopped => Verdict::Never("it is stopped".to_owned()),
            State::Idle if !slot.armed => Verdict::Never("it was not brought up".to_owned()),
            State::Idle => match spec.trigger {
                // Nothing more is to be done for it: it runs when its trigger fires.
                Trigger::Cron(_) | Trigger::DependenceFinish { .. } => Verdict::Holds,
                Trigger::OnStart | Trigger::Manual => Verdict::Never("nobody has started it".to_owned()),
            },
        }
    }
}

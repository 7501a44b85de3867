//! [`Orchestrator`]: the whole program in one signature, `handle(now, event) -> actions`.

use std::sync::Arc;

use copo_proto::v1;

use super::action::Action;
use super::event::{Deadline, Event, Now};
use super::run::RunSeed;
use crate::plan::Plan;

/// Owns the state of every process and decides what is to be done about what happens.
#[derive(Debug)]
pub struct Orchestrator {
    plan: Arc<Plan>,
    #[expect(dead_code, reason = "runs are not decided yet")]
    seed: RunSeed,
}

impl Orchestrator {
    /// Nothing runs, nothing is armed: it waits for [`Event::Up`].
    #[must_use]
    pub fn new(plan: Arc<Plan>, seed: RunSeed) -> Self {
        Self { plan, seed }
    }

    /// What to do, in this order, about what happened.
    #[must_use]
    pub fn handle(&mut self, _now: Now, _event: Event) -> Vec<Action> {
        Vec::new()
    }

    /// When it wants to be asked again; `None`: not before something happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Deadline> {
        None
    }

    /// The state of all processes, in the order of the plan and of instance numbers.
    #[must_use]
    pub fn processes(&self) -> v1::Processes {
        let _ = &self.plan;
        v1::Processes::default()
    }
}

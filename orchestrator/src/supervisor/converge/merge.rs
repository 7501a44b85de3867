//! Two plans as one, in which every process keeps the place it has: ids of live runs stay valid.

use std::collections::HashMap;

use crate::plan::{ContextSpec, Plan, PrcId};

/// The plan that follows another.
#[derive(Debug)]
pub(super) struct Merged {
    /// What was there stands at its old place, as it is now to be (or as it was, if it is no more); what is new comes
    /// behind.
    pub plan: Plan,
    /// Where the processes of the new plan stand in it, in their order.
    pub places: Vec<PrcId>,
}

/// Puts `new` in the place of `old`. What takes effect only in a new orchestrator stays as it was.
pub(super) fn merge(old: &Plan, new: &Plan) -> Merged {
    let known: HashMap<&str, PrcId> = old.ids().map(|prc| (old.process(prc).name.as_str(), prc)).collect();
    let mut next = old.processes.len();
    let mut place = |name: &str| {
        known.get(name).copied().unwrap_or_else(|| {
            next += 1;
            PrcId(next - 1)
        })
    };
    let places: Vec<PrcId> = new.processes.iter().map(|spec| place(&spec.name)).collect();
    let mut processes = old.processes.clone();
    for (spec, place) in new.processes.iter().zip(&places) {
        let mut spec = spec.clone();
        spec.others_mut().for_each(|other| *other = places[other.0]);
        match processes.get_mut(place.0) {
            Some(before) => *before = spec,
            // New ones were given their places in this order.
            None => processes.push(spec),
        }
    }
    let ContextSpec { durability, when_full, wait_limit, max_record, .. } = old.context;
    let context = ContextSpec { durability, when_full, wait_limit, max_record, ..new.context.clone() };
    let (application, config_path) = (old.application.clone(), old.config_path.clone());
    let plan = Plan { application, config_path, context, log_total: new.log_total, processes };
    Merged { plan, places }
}

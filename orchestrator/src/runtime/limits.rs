//! Limits of memory and processors that cannot be kept here are told, once for each process, when it is about to start.

use std::cell::RefCell;
use std::collections::HashSet;

use copo_proto::v1::{EventKind, Facts};

use crate::plan::ProcessSpec;

/// What has been told.
#[derive(Debug, Default)]
pub(super) struct LimitNotes {
    told: RefCell<HashSet<String>>,
}

impl LimitNotes {
    /// What is to be reported of a process that has limits, if they cannot be kept for the reason given.
    pub(super) fn note(&self, spec: &ProcessSpec, why_not: Option<&str>) -> Option<Facts> {
        let why = why_not.filter(|_| spec.attributes.wants_controllers())?;
        if !self.told.borrow_mut().insert(spec.name.clone()) {
            return None;
        }
        let reason = format!("cannot limit memory and cpu of {}: {why}", spec.name);
        tracing::warn!("{reason}");
        let (process, reason) = (Some(spec.name.clone()), Some(reason));
        Some(Facts { event: EventKind::Config.into(), process, reason, ..Facts::default() })
    }
}

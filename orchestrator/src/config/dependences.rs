//! `depends_on`: names → what they name.

use std::collections::HashMap;

use super::at::At;
use super::error::{Problems, did_you_mean};
use super::raw::RawDependence;
use crate::plan::{Condition, Dependence, PrcId};

/// What a process's `depends_on` says.
#[derive(Debug, Default)]
pub(super) struct Dependences {
    /// All entries; a plain name means ready.
    pub all: Vec<Dependence>,
    /// The entries with a condition.
    pub gates: Vec<Dependence>,
    /// The plain names.
    pub sources: Vec<PrcId>,
    /// There is not even a plain name that names nothing.
    pub has_no_source: bool,
    /// The processes depended on, and where that is said.
    pub edges: Vec<At<usize>>,
}

/// Resolves the entries of `depends_on` of process `own` among `names`.
pub(super) fn resolve(
    own: &str,
    raw: Vec<At<RawDependence>>,
    names: &HashMap<&str, usize>,
    problems: &mut Problems,
) -> Dependences {
    let mut dependences = Dependences { has_no_source: true, ..Dependences::default() };
    for At { span, value } in raw {
        let (name, condition) = match value {
            RawDependence::Name(name) => (Some(name), None),
            RawDependence::Gate(gate) => (gate.process, Some(gate.condition.map_or(Condition::Ready, Into::into))),
        };
        dependences.has_no_source &= condition.is_some();
        let Some(name) = name else {
            problems.push(span, format!("cannot tell on what process {own:?} depends here: process is missing"));
            continue;
        };
        let cannot = |why: String| format!("cannot let process {own:?} depend on {name:?}: {why}");
        if name == own {
            problems.push(span, cannot("that is itself".to_owned()));
            continue;
        }
        let Some(&index) = names.get(name.as_str()) else {
            let others = names.keys().copied().filter(|known| *known != own);
            let near = did_you_mean(&name, others);
            problems.push(span, cannot(format!("there is no such process{near}")));
            continue;
        };
        let dependence = Dependence { process: PrcId(index), condition: condition.unwrap_or(Condition::Ready) };
        if dependences.all.contains(&dependence) {
            problems.push(span, cannot("that stands there already".to_owned()));
            continue;
        }
        dependences.all.push(dependence);
        match condition {
            Some(_) => dependences.gates.push(dependence),
            None => dependences.sources.push(dependence.process),
        }
        dependences.edges.push(At { span, value: index });
    }
    dependences
}

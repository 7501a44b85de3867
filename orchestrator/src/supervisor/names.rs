//! What a person's NAME means: a process (all its instances), an internal name, or `@group`.

use copo_proto::name;

use super::orchestrator::Orchestrator;
use super::run::Instance;
use crate::plan::PrcId;

/// Names further apart than this are not taken for a slip of the pen (Jaro-Winkler, 1 = equal).
const NEAR: f64 = 0.75;

impl Orchestrator {
    /// The instances that a name means, or why it means none.
    pub(super) fn resolve(&self, written: &str) -> Result<Vec<Instance>, String> {
        if let Some(group) = written.strip_prefix('@') {
            return self.group(group);
        }
        if let Some(&prc) = self.by_name.get(written) {
            return Ok(self.instances(prc).filter(|instance| self.is_there(*instance)).collect());
        }
        let instance = name::split_internal(written)
            .and_then(|(name, number)| Some(Instance { prc: *self.by_name.get(name)?, number }))
            .filter(|instance| self.is_there(*instance));
        instance.map(|instance| vec![instance]).ok_or_else(|| self.unknown(written))
    }

    /// The instances of all processes of a group.
    fn group(&self, group: &str) -> Result<Vec<Instance>, String> {
        let present = || self.plan.ids().filter(|prc| !self.process(*prc).is_removed);
        let is_in = |prc: &PrcId| self.plan.process(*prc).groups.iter().any(|name| name == group);
        if present().any(|prc| is_in(&prc)) {
            let members = present().filter(is_in).flat_map(|prc| self.instances(prc));
            return Ok(members.filter(|instance| self.is_there(*instance)).collect());
        }
        let groups = present().flat_map(|prc| &self.plan.process(prc).groups);
        Err(match nearest(group, groups) {
            Some(near) => format!("no group is called {group}; is @{near} meant?"),
            None => format!("no group is called {group}"),
        })
    }

    fn unknown(&self, written: &str) -> String {
        match nearest(written, self.by_name.keys()) {
            Some(near) => format!("no process is called that; is {near} meant?"),
            None => "no process is called that".to_owned(),
        }
    }
}

/// The name most like what was written, if one is like it at all.
fn nearest<'a>(written: &str, names: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    names
        .map(|name| (strsim::jaro_winkler(name, written), name))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|(a, one), (b, other)| a.total_cmp(b).then(other.cmp(one)))
        .map(|(_, name)| name)
}

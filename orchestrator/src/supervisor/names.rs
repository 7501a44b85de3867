//! What a person's NAME means: a process (all its instances), an internal name, or `@group`.

use copo_proto::name;

use super::orchestrator::Orchestrator;
use super::run::Instance;

/// Names further apart than this are not taken for a slip of the pen (Jaro-Winkler, 1 = equal).
const NEAR: f64 = 0.75;

impl Orchestrator {
    /// The instances that a name means, or why it means none.
    pub(super) fn resolve(&self, written: &str) -> Result<Vec<Instance>, String> {
        if let Some(group) = written.strip_prefix('@') {
            return Err(format!("no group is called {group}"));
        }
        if let Some(&prc) = self.by_name.get(written) {
            return Ok(self.instances(prc).collect());
        }
        let instance = name::split_internal(written)
            .and_then(|(name, number)| Some(Instance { prc: *self.by_name.get(name)?, number }))
            .filter(|instance| self.slot(*instance).is_some());
        instance.map(|instance| vec![instance]).ok_or_else(|| self.unknown(written))
    }

    fn unknown(&self, written: &str) -> String {
        let nearest = self
            .plan
            .processes
            .iter()
            .map(|spec| (strsim::jaro_winkler(&spec.name, written), spec))
            .filter(|(likeness, _)| *likeness >= NEAR)
            .max_by(|(a, _), (b, _)| a.total_cmp(b));
        match nearest {
            Some((_, spec)) => format!("no process is called that; is {} meant?", spec.name),
            None => "no process is called that".to_owned(),
        }
    }
}

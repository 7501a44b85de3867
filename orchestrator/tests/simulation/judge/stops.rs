//! Why a run is asked to stop, and when it is its turn.

use copo_orchestrator::plan::{Condition, OnDependenceRestart, Overlap, PrcId};
use copo_orchestrator::supervisor::{Action, Command, Event, Instance, RunId};
use copo_proto::v1::EventKind;

use super::{Judge, Stage, Verdict, ensure};

impl Judge {
    /// A run is asked for the first time. `because`: the reason that was reported with it.
    pub fn look_at_stop(&mut self, event: &Event, run: RunId, because: Option<&str>) -> Verdict {
        let Some(seen) = self.runs.get(&run) else { return Ok(()) };
        let (instance, has_fault) = (seen.instance, seen.has_fault);
        if because.is_some() || has_fault {
            return Ok(()); // The supervisor itself has found why; `watched` looks at that.
        }
        let spec = self.plan.process(instance.prc);
        let is_making_way = self.making_way.contains(&instance.prc) || self.is_lost_while_spawned(instance);
        match event {
            // What was decided while it was being spawned.
            Event::Spawned { .. } | Event::Resumed { .. } => Ok(()),
            Event::Command { command: Command::Down { .. }, .. } | Event::Terminate => self.look_at_turn(instance),
            Event::Command { .. } => {
                let is_asked = self.is_meant(instance) || is_making_way || spec.overlap == Overlap::Replace;
                ensure(is_asked, || "it is stopped, and nobody has named it".to_owned())
            }
            Event::GroupGone { .. } | Event::SpawnFailed { .. } if self.was_going_down => self.look_at_turn(instance),
            _ => {
                let why = is_making_way || spec.overlap == Overlap::Replace || self.down.is_some();
                ensure(why, || "it is stopped, and nobody has asked for that".to_owned())
            }
        }
    }

    fn is_lost_while_spawned(&self, instance: Instance) -> bool {
        self.plan.process(instance.prc).on_dependence_restart != OnDependenceRestart::Ignore
    }

    /// Everything is being stopped: each process once nothing that depends on it lives any more.
    fn look_at_turn(&self, instance: Instance) -> Verdict {
        if self.may_kill {
            return Ok(());
        }
        let mut below = vec![instance.prc];
        let mut to_look_at = vec![instance.prc];
        while let Some(prc) = to_look_at.pop() {
            let dependents = self.plan.ids().filter(|other| self.depends_on(&self.plan, *other, true).contains(&prc));
            for dependent in dependents.filter(|dependent| !below.contains(dependent)).collect::<Vec<_>>() {
                below.push(dependent);
                to_look_at.push(dependent);
            }
        }
        let lives = |prc: &PrcId| {
            let of_it = self.newest.iter().filter(|(other, _)| other.prc == *prc);
            of_it.map(|(_, run)| &self.runs[run]).find(|run| run.stage != Stage::Gone)
        };
        let early = below[1..].iter().find_map(lives);
        ensure(early.is_none(), || format!("it is stopped before what depends on it: {early:?}"))
    }

    /// A run of what they depend on has ended: who is to follow is asked to stop.
    pub fn look_at_lost(&self, actions: &[Action]) -> Verdict {
        let ended = actions.iter().filter_map(|action| match action {
            Action::Report { facts } if matches!(facts.event(), EventKind::Exited | EventKind::SpawnFailed) => {
                facts.process.as_deref().and_then(|name| self.plan.find(name))
            }
            _ => None,
        });
        if self.down.is_some() {
            return Ok(());
        }
        for ended in ended {
            for (instance, run) in &self.newest {
                let spec = self.plan.process(instance.prc);
                let seen = &self.runs[run];
                let is_ignored = spec.on_dependence_restart == OnDependenceRestart::Ignore;
                if is_ignored || self.removed.contains(&instance.prc) || seen.stage != Stage::Running {
                    continue;
                }
                // What did its work and is wanted again at once was not missed when it ended.
                let has_finished = actions.iter().any(|action| match action {
                    Action::Report { facts } => {
                        facts.event() == EventKind::Finished
                            && facts.process.as_ref() == Some(&self.plan.process(ended).name)
                    }
                    _ => false,
                });
                let mut gates = spec.depends_on.iter().filter(|dependence| dependence.process == ended);
                let has_lost = !has_finished
                    && gates.any(|dependence| {
                        matches!(dependence.condition, Condition::Started | Condition::Ready) && !self.holds(dependence)
                    });
                ensure(!has_lost || seen.asked.is_some(), || {
                    format!("{ended:?} has ended, and what is to end with it does not: {instance:?} {seen:?}")
                })?;
            }
        }
        Ok(())
    }
}

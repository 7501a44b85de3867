//! What a command may bring about, and of which instances: nobody else is stopped, hurried or brought back by it.

use std::collections::HashSet;
use std::time::Duration;

use copo_orchestrator::plan::{Overlap, Plan, PrcId, Trigger};
use copo_orchestrator::supervisor::{Action, Command, Instance, Now, Reply, RequestId};
use copo_proto::name;
use copo_proto::v1::ErrorCode;

use super::Judge;

/// Whom a command is about.
#[derive(Debug, Default)]
pub struct Meant {
    /// As written.
    names: Vec<String>,
    /// All of these processes beside.
    processes: HashSet<PrcId>,
    /// Instances of these beyond so many.
    beyond: Vec<(PrcId, u32)>,
}

impl Judge {
    /// A command is about to be handled.
    pub fn asked(&mut self, now: Now, request: RequestId, command: &Command) {
        self.is_signalling = matches!(command, Command::Kill { .. });
        self.note_request(request, command);
        self.asking = Some((request, command.clone()));
        if let Command::Down { grace, kill } = command {
            self.may_kill |= kill;
            self.down.get_or_insert(now.mono);
            if let Some(grace) = grace {
                let from = now.mono + *grace;
                let asked = self.runs.values_mut().filter_map(|run| run.kill_from.as_mut());
                asked.for_each(|kill_from| *kill_from = (*kill_from).min(from));
            }
        }
    }

    /// The orchestrator is signalled.
    pub fn terminated(&mut self, now: Now, is_going_down: bool) {
        self.may_kill |= is_going_down;
        self.down.get_or_insert(now.mono);
    }

    /// What was asked has been decided about: unless it was refused, it may do what it does.
    pub fn granted(&mut self, now: Now, actions: &[Action]) {
        let Some((request, command)) = self.asking.take() else { return };
        let is_refused = actions.iter().any(|action| match action {
            Action::Reply { request: other, reply: Reply::Failed { code, .. } } => {
                // A trigger of a group may be refused for some of it only.
                *other == request && (*code != ErrorCode::Conflict || self.down.is_some())
            }
            _ => false,
        });
        if is_refused {
            return;
        }
        let new_plan = actions.iter().find_map(|action| match action {
            Action::Adopt { plan } => Some(std::sync::Arc::clone(plan)),
            _ => None,
        });
        let meant = self.meant(&command, new_plan.as_deref());
        self.by_request = meant;
        match &command {
            Command::Start { .. }
            | Command::Restart { .. }
            | Command::Trigger { .. }
            | Command::Scale { .. }
            | Command::Converge { dry_run: false, .. } => {
                let back: Vec<Instance> =
                    self.stopped.union(&self.disarmed).copied().filter(|instance| self.is_meant(*instance)).collect();
                for instance in back {
                    self.stopped.remove(&instance);
                    if self.arms(&command, instance) {
                        self.disarmed.remove(&instance);
                    }
                }
                self.hurried(now, new_plan.as_deref());
            }
            Command::Stop { .. } => self.hurried(now, None),
            Command::Ps
            | Command::Kill { .. }
            | Command::Wait { .. }
            | Command::Down { .. }
            | Command::Converge { dry_run: true, .. } => {}
        }
        if let Command::Converge { plan, names, dry_run: false } = &command {
            self.is_partly_up |= !names.is_empty();
            self.converging(plan);
        }
        let live: Vec<Instance> = self.newest.keys().copied().filter(|instance| self.is_meant(*instance)).collect();
        for instance in live {
            if let Some(run) = self.live_run(instance).and_then(|run| self.runs.get_mut(&run)) {
                run.was_meant = true;
            }
        }
        let touched: Vec<Instance> = self.chains.keys().copied().filter(|instance| self.is_meant(*instance)).collect();
        touched.iter().for_each(|instance| self.begins_anew(*instance));
    }

    /// Its triggers count from here on, for sure.
    fn arms(&self, command: &Command, instance: Instance) -> bool {
        let is_named = self.by_request.names.iter().any(|name| self.means(name, instance));
        match command {
            Command::Start { .. } | Command::Restart { .. } => is_named,
            Command::Converge { names, dry_run: false, .. } => names.is_empty() || is_named,
            Command::Scale { .. } => true,
            Command::Ps
            | Command::Stop { .. }
            | Command::Trigger { .. }
            | Command::Kill { .. }
            | Command::Wait { .. }
            | Command::Converge { dry_run: true, .. }
            | Command::Down { .. } => false,
        }
    }

    /// Everything is wanted up.
    pub fn all_is_wanted(&mut self) {
        self.stopped.clear();
        self.disarmed.clear();
        let all: Vec<Instance> = self.chains.keys().copied().collect();
        all.iter().for_each(|instance| self.begins_anew(*instance));
    }

    fn meant(&self, command: &Command, new_plan: Option<&Plan>) -> Meant {
        let mut meant = Meant::default();
        let plan_from_here = new_plan.unwrap_or(&self.plan);
        match command {
            Command::Start { names } => {
                meant.processes = self.dependences_of(&self.plan, names, false);
                meant.names = names.clone();
            }
            Command::Stop { names } | Command::Restart { names } => meant.names = names.clone(),
            Command::Trigger { name, .. } => {
                meant.names = vec![name.clone()];
                let is_replacing = |prc: &PrcId| self.plan.process(*prc).overlap == Overlap::Allow;
                meant.processes = named(&self.plan, &meant.names).filter(is_replacing).collect();
            }
            Command::Scale { to } => {
                let names: Vec<String> = to.iter().map(|(name, _)| name.clone()).collect();
                let Some(plan) = new_plan else { return meant };
                let kept = |prc: PrcId| plan.process(prc).replicas.min(self.plan.process(prc).replicas);
                meant.beyond = named(&self.plan, &names).map(|prc| (prc, kept(prc))).collect();
            }
            Command::Converge { names, dry_run: false, .. } if names.is_empty() => {
                meant.processes = self.plan.ids().collect();
            }
            Command::Converge { plan, names, dry_run: false } => {
                meant.processes = self.dependences_of(plan_from_here, names, true);
                meant.processes.extend(self.plan.ids().filter(|prc| self.differs(plan, *prc)));
                meant.names = names.clone();
            }
            Command::Ps
            | Command::Kill { .. }
            | Command::Wait { .. }
            | Command::Down { .. }
            | Command::Converge { dry_run: true, .. } => {}
        }
        meant
    }

    /// Is this instance one that the command under way is about?
    pub fn is_meant(&self, instance: Instance) -> bool {
        let meant = &self.by_request;
        meant.processes.contains(&instance.prc)
            || meant.names.iter().any(|name| self.means(name, instance))
            || meant.beyond.iter().any(|(prc, number)| *prc == instance.prc && instance.number > *number)
    }

    /// What a person's NAME means.
    pub fn means(&self, written: &str, instance: Instance) -> bool {
        let spec = self.plan.process(instance.prc);
        match written.strip_prefix('@') {
            // A group is of those in copo.toml; what is there no more is meant by its own name alone.
            Some(group) => !self.removed.contains(&instance.prc) && spec.groups.iter().any(|name| name == group),
            None => spec.name == written || name::internal(&spec.name, instance.number) == written,
        }
    }

    /// What these processes depend on, however indirectly.
    fn dependences_of(&self, plan: &Plan, names: &[String], with_sources: bool) -> HashSet<PrcId> {
        let mut found = HashSet::new();
        let mut to_look_at: Vec<PrcId> = named(plan, names).collect();
        while let Some(prc) = to_look_at.pop() {
            let others = self.depends_on(plan, prc, with_sources);
            to_look_at.extend(others.into_iter().filter(|other| found.insert(*other)));
        }
        found
    }

    /// What a process depends on directly.
    pub fn depends_on(&self, plan: &Plan, prc: PrcId, with_sources: bool) -> Vec<PrcId> {
        let spec = plan.process(prc);
        let mut others: Vec<PrcId> = spec.depends_on.iter().map(|dependence| dependence.process).collect();
        if let (Trigger::DependenceFinish { sources, .. }, true) = (&spec.trigger, with_sources) {
            others.extend(sources);
        }
        others
    }

    fn differs(&self, file: &Plan, prc: PrcId) -> bool {
        let spec = self.plan.process(prc);
        file.find(&spec.name).is_none_or(|other| file.process(other) != spec)
    }

    /// What is to make way for what copo.toml says now.
    fn converging(&mut self, file: &Plan) {
        let differing: Vec<PrcId> = self.plan.ids().filter(|prc| self.differs(file, *prc)).collect();
        self.making_way.extend(differing);
        self.removed = self.plan.ids().filter(|prc| file.find(&self.plan.process(*prc).name).is_none()).collect();
    }

    /// What is being stopped and is asked again has its process's own grace from now on, where that ends earlier.
    fn hurried(&mut self, now: Now, new_plan: Option<&Plan>) {
        let plan = new_plan.unwrap_or(&self.plan);
        let asked = self.runs.iter().filter(|(_, run)| run.kill_from.is_some() && run.stage != super::Stage::Gone);
        let hurried: Vec<_> = asked
            .filter(|(_, run)| {
                let spec = plan.process(run.instance.prc);
                // Its own trigger may ask again at any time, and nobody hears of it.
                let by_itself = spec.overlap == Overlap::Replace
                    && spec.stop_grace < self.plan.process(run.instance.prc).stop_grace;
                self.is_meant(run.instance) || by_itself
            })
            .map(|(id, run)| (*id, now.mono + plan.process(run.instance.prc).stop_grace))
            .collect();
        for (id, from) in hurried {
            let Some(run) = self.runs.get_mut(&id) else { continue };
            run.hurried_from = Some(run.hurried_from.map_or(from, |earlier: Duration| earlier.min(from)));
        }
    }
}

/// The processes that names are about.
fn named<'a>(plan: &'a Plan, names: &'a [String]) -> impl Iterator<Item = PrcId> + 'a {
    let of_instance = |name: &str| name::split_internal(name).map(|(process, _)| process.to_owned());
    plan.ids().filter(move |prc| {
        let spec = plan.process(*prc);
        let is_it = |name: &String| match name.strip_prefix('@') {
            Some(group) => spec.groups.iter().any(|name| name == group),
            None => *name == spec.name || of_instance(name).is_some_and(|process| process == spec.name),
        };
        names.iter().any(is_it)
    })
}

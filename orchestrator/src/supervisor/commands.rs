//! What people and processes may ask: who may, what it means, and the answer, at once or as a pending request.

use std::collections::{BTreeMap, BTreeSet};

use copo_proto::v1::{self, ErrorCode};

use super::action::{Action, Reply};
use super::event::{Command, Now, RequestId, Requester};
use super::live::{Ask, Next, asking};
use super::orchestrator::Orchestrator;
use super::process::State;
use super::requests::{Pending, Triggering};
use super::run::Instance;
use super::step::{Input, Order};
use crate::plan::{PrcId, Trigger};

impl Command {
    /// As it stands in "cannot … x: why".
    fn verb(&self) -> &'static str {
        match self {
            Self::Ps => "list processes",
            Self::Start { .. } => "start",
            Self::Stop { .. } => "stop",
            Self::Restart { .. } => "restart",
            Self::Trigger { .. } => "trigger",
            Self::Kill { .. } => "signal",
            Self::Wait { .. } => "wait for",
            Self::Scale { .. } => "scale",
            Self::Converge { .. } => "bring up",
            Self::Down { .. } => "stop the application",
        }
    }

    fn names(&self) -> &[String] {
        match self {
            Self::Start { names } | Self::Stop { names } | Self::Restart { names } | Self::Wait { names, .. } => names,
            Self::Trigger { name, .. } | Self::Kill { name, .. } => std::slice::from_ref(name),
            Self::Ps | Self::Scale { .. } | Self::Converge { .. } | Self::Down { .. } => &[],
        }
    }

    /// "cannot stop web, db: why".
    fn failure(&self, why: &str) -> String {
        let names = self.names().join(", ");
        let space = if names.is_empty() { "" } else { " " };
        format!("cannot {}{space}{names}: {why}", self.verb())
    }

    /// Runs of what it names are to come of it.
    fn runs_what_it_names(&self) -> bool {
        match self {
            Self::Start { .. } | Self::Restart { .. } | Self::Trigger { .. } => true,
            Self::Ps
            | Self::Stop { .. }
            | Self::Kill { .. }
            | Self::Wait { .. }
            | Self::Scale { .. }
            | Self::Converge { .. }
            | Self::Down { .. } => false,
        }
    }

    fn starts_something(&self) -> bool {
        match self {
            Self::Start { .. }
            | Self::Restart { .. }
            | Self::Trigger { .. }
            | Self::Wait { .. }
            | Self::Scale { .. } => true,
            Self::Converge { dry_run, .. } => !dry_run,
            Self::Ps | Self::Stop { .. } | Self::Kill { .. } | Self::Down { .. } => false,
        }
    }
}

impl Orchestrator {
    /// A command: answered now or later, once.
    pub(super) fn command(&mut self, now: Now, request: RequestId, by: Requester, command: Command) {
        if !self.may(by, &command) {
            let why = "this run may not control others (it needs `control = true` in copo.toml)";
            return self.refuse(request, ErrorCode::Forbidden, command.failure(why));
        }
        if self.has_ended || (self.down.is_some() && command.starts_something()) {
            return self.refuse(request, ErrorCode::Conflict, command.failure("the application is stopping"));
        }
        let mut instances = match self.resolve_all(&command) {
            Ok(instances) => instances,
            Err((code, message)) => return self.refuse(request, code, message),
        };
        if command.runs_what_it_names() {
            // What is on its way out for good is there to be stopped, but nothing more comes of it.
            instances.retain(|instance| !self.process(instance.prc).retired.contains(&instance.number));
        }
        match command {
            Command::Ps => {
                let processes = self.processes();
                self.reply(request, Reply::Processes(processes));
            }
            Command::Start { .. } => {
                self.start(now, &instances, Reach::Gates);
                self.settle(now); // The answer follows what it is about.
                self.reply(request, Reply::Done);
            }
            Command::Stop { .. } => self.stop(now, request, &instances),
            Command::Restart { .. } => self.restart(now, request, instances),
            Command::Trigger { name, args, wait } => self.trigger(now, request, &instances, (name, args, wait)),
            Command::Kill { name, signal } => self.signal(request, &instances, &name, &signal),
            Command::Wait { condition, .. } => self.wait(request, condition, instances),
            Command::Scale { to } => self.scale(now, request, &to),
            Command::Converge { plan, names, dry_run } => self.converge(now, request, &plan, &names, dry_run),
            Command::Down { grace, kill } => {
                self.pending.insert(request, Pending::Down);
                self.go_down(now, grace, kill);
            }
        }
    }

    /// A person may everything; a run may read and stop itself, and with `control = true` as much as a person.
    fn may(&self, by: Requester, command: &Command) -> bool {
        let Requester::Run(run) = by else {
            return true;
        };
        let own = self.runs.get(&run).copied();
        if own.is_some_and(|own| self.plan.process(own.prc).control) {
            return true;
        }
        match command {
            Command::Ps | Command::Wait { .. } => true,
            Command::Stop { names } => {
                let is_own =
                    |name: &String| own.is_some_and(|own| self.resolve(name).is_ok_and(|meant| meant == [own]));
                !names.is_empty() && names.iter().all(is_own)
            }
            Command::Start { .. }
            | Command::Restart { .. }
            | Command::Trigger { .. }
            | Command::Kill { .. }
            | Command::Scale { .. }
            | Command::Down { .. } => false,
            Command::Converge { dry_run, .. } => *dry_run,
        }
    }

    fn resolve_all(&self, command: &Command) -> Result<BTreeSet<Instance>, (ErrorCode, String)> {
        let mut instances = BTreeSet::new();
        for name in command.names() {
            let not_found = |why: String| (ErrorCode::NotFound, format!("cannot {} {name}: {why}", command.verb()));
            let meant = self.resolve(name).map_err(not_found)?;
            if command.starts_something() && meant.iter().any(|instance| self.process(instance.prc).is_removed) {
                return Err(not_found("it is in copo.toml no more".to_owned()));
            }
            instances.extend(meant);
        }
        let needs_names = match command {
            Command::Ps | Command::Scale { .. } | Command::Converge { .. } | Command::Down { .. } => false,
            Command::Wait { condition: v1::wait::Condition::Unspecified, .. } => {
                return Err((ErrorCode::InvalidArgument, command.failure("it is not said for what condition")));
            }
            Command::Wait { condition: v1::wait::Condition::Up, names } if names.is_empty() => {
                instances = self.on_start_instances().collect();
                false
            }
            Command::Wait { .. }
            | Command::Start { .. }
            | Command::Stop { .. }
            | Command::Restart { .. }
            | Command::Trigger { .. }
            | Command::Kill { .. } => true,
        };
        if needs_names && command.names().is_empty() {
            return Err((ErrorCode::InvalidArgument, command.failure("no name was given")));
        }
        Ok(instances)
    }

    fn on_start_instances(&self) -> impl Iterator<Item = Instance> {
        let on_start = self.plan.ids().filter(|prc| self.starts_with_application(*prc));
        on_start.flat_map(|prc| self.planned(prc))
    }

    fn starts_with_application(&self, prc: PrcId) -> bool {
        match self.plan.process(prc).trigger {
            Trigger::OnStart => true,
            Trigger::Manual | Trigger::Cron(_) | Trigger::DependenceFinish { .. } => false,
        }
    }

    /// The application comes up: all of it, or these and what they depend on.
    pub(super) fn up(&mut self, now: Now, names: &[String]) {
        if self.down.is_some() {
            return;
        }
        self.replace_outdated(now, names);
        if !names.is_empty() {
            // The command line has checked the names against the same file; one that means nothing starts nothing.
            let named = names.iter().filter_map(|name| self.resolve(name).ok()).flatten().collect();
            return self.start(now, &named, Reach::Everything);
        }
        for index in 0..self.order.len() {
            let prc = self.order[index];
            for instance in self.planned(prc) {
                self.step(now, instance, Input::Arm);
                if self.starts_with_application(prc) {
                    self.step(now, instance, Input::Start(Order::default()));
                }
            }
        }
    }

    /// What a person names, and what it depends on, triggers included.
    pub(super) fn start_named(&mut self, now: Now, instances: &BTreeSet<Instance>) {
        self.start(now, instances, Reach::Everything);
    }

    /// Arms these instances and starts those that a person starts, after what they depend on.
    fn start(&mut self, now: Now, instances: &BTreeSet<Instance>, reach: Reach) {
        let mut wanted: BTreeMap<PrcId, bool> = instances.iter().map(|instance| (instance.prc, true)).collect();
        let mut to_look_at: Vec<PrcId> = wanted.keys().copied().collect();
        while let Some(prc) = to_look_at.pop() {
            for dependence in self.missing(prc, reach) {
                wanted.entry(dependence).or_insert_with(|| {
                    to_look_at.push(dependence);
                    false
                });
            }
        }
        for index in 0..self.order.len() {
            let prc = self.order[index];
            let Some(&is_named) = wanted.get(&prc) else {
                continue;
            };
            for instance in self.instances(prc) {
                if if is_named { instances.contains(&instance) } else { self.is_planned(instance) } {
                    self.start_instance(now, instance);
                }
            }
        }
    }

    /// What a process depends on and a start of it is to bring about.
    fn missing(&self, prc: PrcId, reach: Reach) -> Vec<PrcId> {
        let spec = self.plan.process(prc);
        let gates = spec.depends_on.iter().filter(|dependence| !self.holds(dependence));
        let sources = match (&spec.trigger, reach) {
            (Trigger::DependenceFinish { sources, .. }, Reach::Everything) => sources.as_slice(),
            (Trigger::DependenceFinish { .. }, Reach::Gates)
            | (Trigger::OnStart | Trigger::Manual | Trigger::Cron(_), Reach::Gates | Reach::Everything) => &[],
        };
        let sources = sources.iter().copied().filter(|source| {
            self.replicas(*source).any(|slot| slot.is_at_rest() && !matches!(slot.state, State::Finished))
        });
        let by_a_person = |prc: &PrcId| match self.plan.process(*prc).trigger {
            Trigger::OnStart | Trigger::Manual => true,
            Trigger::Cron(_) | Trigger::DependenceFinish { .. } => reach == Reach::Everything,
        };
        gates.map(|dependence| dependence.process).chain(sources).filter(by_a_person).collect()
    }

    fn is_planned(&self, instance: Instance) -> bool {
        instance.number <= self.plan.process(instance.prc).replicas
    }

    fn start_instance(&mut self, now: Now, instance: Instance) {
        self.step(now, instance, Input::Arm);
        match self.plan.process(instance.prc).trigger {
            Trigger::OnStart | Trigger::Manual => self.step(now, instance, Input::Start(Order::default())),
            Trigger::Cron(_) | Trigger::DependenceFinish { .. } => {}
        }
    }

    fn stop(&mut self, now: Now, request: RequestId, instances: &BTreeSet<Instance>) {
        let live = instances.iter().copied().filter(|instance| self.run(*instance).is_some()).collect();
        for &instance in instances {
            let ask = asking(self.plan.process(instance.prc));
            self.step(now, instance, Input::Stop(ask, Next::Rest));
        }
        self.settle(now);
        self.reply_when_stopped(request, live);
    }

    fn restart(&mut self, now: Now, request: RequestId, instances: BTreeSet<Instance>) {
        if instances.is_empty() {
            return self.reply(request, Reply::Done); // Scaled to nothing: there is nothing to wait for.
        }
        self.pending.insert(request, Pending::Restart(instances.clone()));
        for instance in instances {
            let ask: Ask = asking(self.plan.process(instance.prc));
            let next = match self.plan.process(instance.prc).trigger {
                Trigger::OnStart | Trigger::Manual => Next::Start(Order::default()),
                Trigger::Cron(_) | Trigger::DependenceFinish { .. } => Next::Idle,
            };
            self.step(now, instance, Input::Arm);
            self.step(now, instance, Input::Stop(ask, next));
            if self.slot(instance).is_some_and(|slot| slot.is_at_rest()) {
                self.restarted(instance, Ok(())); // Its trigger is armed, and there is nothing else to do.
            }
        }
    }

    fn trigger(
        &mut self,
        now: Now,
        request: RequestId,
        instances: &BTreeSet<Instance>,
        (name, args, wait): (String, Vec<String>, bool),
    ) {
        if instances.is_empty() {
            return self.refuse(request, ErrorCode::NotFound, format!("cannot trigger {name}: it has no instances"));
        }
        // Of a process with `overlap = "allow"` the extra instances are none that a name alone means.
        let is_one = instances.len() == 1;
        let targets: Vec<Instance> = instances.iter().copied().filter(|i| is_one || self.is_planned(*i)).collect();
        let order = Order { args, request: wait.then_some(request), by_hand: true, ..Order::default() };
        if wait {
            let triggering = Triggering { name: name.clone(), left: targets.len(), over: None };
            self.pending.insert(request, Pending::Trigger(triggering));
        }
        match self.fire_all(now, &targets, &order) {
            Err(why) => {
                self.pending.remove(&request);
                self.settle(now);
                self.refuse(request, ErrorCode::Conflict, format!("cannot trigger {name}: {why}"));
            }
            Ok(started) if wait => {
                if let Some(Pending::Trigger(triggering)) = self.pending.get_mut(&request) {
                    triggering.left = started.len();
                }
            }
            Ok(started) => {
                self.settle(now);
                let run = self.first_run(&started);
                self.reply(request, Reply::Triggered(v1::Triggered { run, ..v1::Triggered::default() }));
            }
        }
    }

    /// Fires each of the processes these instances are of (a group has several): all that can are run, and those that
    /// cannot are told.
    fn fire_all(&mut self, now: Now, targets: &[Instance], order: &Order) -> Result<Vec<Instance>, String> {
        let mut started = Vec::new();
        let mut refused = Vec::new();
        for of_process in targets.chunk_by(|one, other| one.prc == other.prc) {
            let prc = of_process[0].prc;
            match self.fire(now, prc, of_process, order) {
                Ok(instances) => started.extend(instances),
                Err(why) => refused.push((prc, why)),
            }
        }
        match &refused[..] {
            [] => Ok(started),
            [(_, why)] if of_one_process(targets) => Err(why.clone()),
            _ => {
                let told = refused.iter().map(|(prc, why)| format!("of {}, {why}", self.plan.process(*prc).name));
                Err(told.collect::<Vec<_>>().join("; "))
            }
        }
    }

    fn signal(&mut self, request: RequestId, instances: &BTreeSet<Instance>, name: &str, signal: &str) {
        let runs = instances.iter().filter_map(|instance| self.run(*instance)).filter(|run| run.has_main_process());
        let runs: Vec<_> = runs.map(|run| run.id).collect();
        if runs.is_empty() {
            return self.refuse(request, ErrorCode::NotRunning, format!("cannot signal {name}: it does not run"));
        }
        self.actions.extend(runs.into_iter().map(|run| Action::Signal { run, signal: signal.to_owned() }));
        self.reply(request, Reply::Done);
    }
}

fn of_one_process(instances: &[Instance]) -> bool {
    instances.windows(2).all(|pair| pair[0].prc == pair[1].prc)
}

/// How far starting a process reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// To the on_start and manual processes that it gates on.
    Gates,
    /// To its sources too, and it arms the triggers of all of them.
    Everything,
}

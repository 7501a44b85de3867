//! What is to be done so that what runs is as copo.toml says; and how that is told.

use std::collections::BTreeSet;

use copo_proto::v1::{self, change};

use super::Effect;
use super::merge::{Merged, merge};
use super::outdated;
use super::settings::{self, Setting};
use crate::plan::{Plan, PrcId, Trigger};
use crate::supervisor::live::Next;
use crate::supervisor::orchestrator::Orchestrator;
use crate::supervisor::process::{Slot, State};

/// What is to be done.
#[derive(Debug)]
pub(super) struct Course {
    pub merged: Merged,
    /// No process of this name was there.
    pub added: BTreeSet<PrcId>,
    /// In copo.toml no more.
    pub removed: BTreeSet<PrcId>,
    /// Their runs under way are stopped and follow as they are now to be.
    pub replaced: BTreeSet<PrcId>,
    /// Some setting of them is another one; of how many replicas there were before.
    pub touched: Vec<(PrcId, u32)>,
    /// As it is told.
    pub changes: Vec<v1::Change>,
}

/// Which of what is not up is to be brought up.
#[derive(Debug)]
pub(super) enum Wanted {
    Everything,
    /// These, by name.
    Named(BTreeSet<String>),
}

impl Wanted {
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Named(names) => names.contains(name),
        }
    }
}

impl Orchestrator {
    /// What the new plan takes.
    pub(super) fn course(&self, new: &Plan, wanted: &Wanted) -> Course {
        let merged = merge(&self.plan, new);
        let is_present = |prc: &PrcId| self.processes.get(prc.0).is_some_and(|process| !process.is_removed);
        let named: BTreeSet<PrcId> = merged.places.iter().copied().collect();
        let (removed, added, touched, replaced) = Default::default();
        let mut course = Course { merged, added, removed, replaced, touched, changes: Vec::new() };
        course.changes.extend(context_changes(&self.plan, new));
        for prc in course.merged.places.clone() {
            if is_present(&prc) {
                self.compare(&mut course, prc, wanted);
            } else {
                course.added.insert(prc);
                course.tell(change::Kind::Add, prc, Vec::new());
            }
        }
        for prc in self.plan.ids().filter(|prc| is_present(prc) && !named.contains(prc)) {
            course.removed.insert(prc);
            course.tell(change::Kind::Remove, prc, Vec::new());
        }
        course
    }

    /// A process that stays.
    fn compare(&self, course: &mut Course, prc: PrcId, wanted: &Wanted) {
        let (before, now) = (self.plan.process(prc), course.merged.plan.process(prc));
        let of_before = settings::of_process(&self.plan, before);
        let (mut effects, mut differing) = differences(&of_before, &settings::of_process(&course.merged.plan, now));
        let replicas = (before.replicas, now.replicas);
        let is_outdated = !effects.contains(&Effect::Restart) && {
            let made_now = self.fingerprint(prc);
            self.instances(prc).any(|instance| self.is_outdated(instance, made_now))
        };
        effects.extend(is_outdated.then_some(Effect::Restart));
        let is_replaced = effects.contains(&Effect::Restart) && self.is_replaced(prc, &now.trigger, wanted);
        if !differing.is_empty() || replicas.0 != replicas.1 {
            course.touched.push((prc, replicas.0));
        }
        if replicas.0 != replicas.1 {
            course.tell(change::Kind::Scale, prc, vec![replicas_setting(replicas.0, replicas.1)]);
        }
        if is_replaced {
            differing.extend(is_outdated.then(outdated::setting));
            course.replaced.insert(prc);
            course.tell(change::Kind::Restart, prc, differing);
            return;
        }
        if !differing.is_empty() {
            course.tell(change::Kind::Update, prc, differing);
        }
        if self.is_to_be_started(prc, &course.merged.plan, wanted) {
            course.tell(change::Kind::Start, prc, Vec::new());
        }
    }

    /// Does a change that needs a restart restart it? What a schedule has started finishes as it began, and what a person
    /// has stopped stays so unless it is wanted.
    fn is_replaced(&self, prc: PrcId, trigger: &Trigger, wanted: &Wanted) -> bool {
        let process = self.process(prc);
        let is_up = process.slots.iter().any(|slot| slot.armed) || wanted.has(&self.plan.process(prc).name);
        match trigger {
            Trigger::OnStart => is_up,
            Trigger::Manual | Trigger::DependenceFinish { .. } => process.slots.iter().any(|slot| slot.run().is_some()),
            Trigger::Cron(_) => false,
        }
    }

    /// It is not up, or has failed, and is wanted.
    fn is_to_be_started(&self, prc: PrcId, plan: &Plan, wanted: &Wanted) -> bool {
        let spec = plan.process(prc);
        let starts = |slot: &Slot| match &slot.state {
            State::Stopped => true,
            State::Idle => matches!(spec.trigger, Trigger::OnStart) || !slot.armed,
            State::Failed => matches!(spec.trigger, Trigger::OnStart),
            State::Finished => matches!(wanted, Wanted::Named(_)) && matches!(spec.trigger, Trigger::OnStart),
            // On its way to be stopped.
            State::Live(run) => matches!(run.next, Next::Rest),
            State::Waiting(_) | State::Backoff { .. } => false,
        };
        wanted.has(&spec.name) && self.replicas(prc).any(starts)
    }
}

impl Course {
    fn tell(&mut self, kind: change::Kind, prc: PrcId, settings: Vec<v1::Setting>) {
        let process = self.merged.plan.process(prc).name.clone();
        self.changes.push(v1::Change { kind: kind.into(), process, settings });
    }
}

/// "replicas: 1 → 3"
pub(in crate::supervisor) fn replicas_setting(from: u32, to: u32) -> v1::Setting {
    v1::Setting { key: "replicas".to_owned(), from: Some(from.to_string()), to: Some(to.to_string()) }
}

fn context_changes(old: &Plan, new: &Plan) -> Vec<v1::Change> {
    let (before, now) = (settings::of_all(old), settings::of_all(new));
    let of = |effect: Effect| {
        let only = |settings: &[Setting]| -> Vec<Setting> {
            settings.iter().filter(|setting| setting.effect == effect).cloned().collect()
        };
        differences(&only(&before), &only(&now)).1
    };
    let kinds = [(change::Kind::Update, Effect::AtOnce), (change::Kind::NeedsDown, Effect::NeedsDown)];
    let changes =
        kinds.map(|(kind, effect)| v1::Change { kind: kind.into(), process: String::new(), settings: of(effect) });
    changes.into_iter().filter(|change| !change.settings.is_empty()).collect()
}

/// The settings that differ, and what it takes for the new ones to hold.
fn differences(before: &[Setting], now: &[Setting]) -> (Vec<Effect>, Vec<v1::Setting>) {
    let find = |settings: &[Setting], key: &str| settings.iter().position(|setting| setting.key == key);
    let mut effects = Vec::new();
    let mut differing = Vec::new();
    let mut differ = |from: Option<&Setting>, to: Option<&Setting>| {
        let Some(one) = from.or(to) else { return };
        // What is a secret on one side is one on the other.
        let is_secret = [from, to].into_iter().flatten().any(|setting| setting.is_secret);
        let text = |setting: Option<&Setting>| setting.map(|s| Setting { is_secret, ..s.clone() }.shown());
        effects.push(one.effect);
        differing.push(v1::Setting { key: one.key.clone(), from: text(from), to: text(to) });
    };
    for setting in before {
        match find(now, &setting.key).map(|place| &now[place]) {
            Some(same) if same.text == setting.text => {}
            other => differ(Some(setting), other),
        }
    }
    for setting in now.iter().filter(|setting| find(before, &setting.key).is_none()) {
        differ(None, Some(setting));
    }
    (effects, differing)
}

//! `copo up` on what runs already: what differs between the plan that holds and copo.toml as it is now is brought about,
//! and nothing else is touched.
//!
//! ```text
//! the new plan ─ merge ─▶ every process at its old place ─ settings ─▶ what differs ─ course ─▶ what is to be done
//!                                                                                                   │
//!      stopped in reverse dependency order, each once all of them that depend on it are gone ◀──────┘ (replacing)
//! ```

mod course;
mod merge;
mod outdated;
mod replacing;
mod settings;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use copo_proto::name;
use copo_proto::v1::{self, ErrorCode, EventKind, change};

pub(super) use course::replicas_setting;
pub use outdated::OUTDATED;
pub(super) use replacing::Replacing;

use super::action::{Action, Reply};
use super::event::{Now, RequestId};
use super::live::Next;
use super::orchestrator::{Orchestrator, Process, fan_in_of};
use super::process::State;
use super::report;
use super::requests::Changing;
use super::run::Instance;
use super::step::{Input, Order};
use crate::plan::{Plan, PrcId, Trigger};
use course::{Course, Wanted};

/// What it takes for another value of a setting to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// A new run.
    Restart,
    /// Nothing.
    AtOnce,
    /// A new orchestrator.
    NeedsDown,
}

impl Orchestrator {
    /// Brings what runs in line with the new plan, or only says what that would take.
    pub(super) fn converge(&mut self, now: Now, request: RequestId, new: &Plan, names: &[String], dry_run: bool) {
        if new.application != self.plan.application {
            let (own, other) = (&self.plan.application, &new.application);
            let message =
                format!("cannot use copo.toml for {own}: it is of {other} now; copo down -a {own} ends {own}");
            return self.refuse(request, ErrorCode::InvalidArgument, message);
        }
        let wanted = match wanted(new, names) {
            Ok(wanted) => wanted,
            Err(message) => return self.refuse(request, ErrorCode::NotFound, message),
        };
        let mut course = self.course(new, &wanted);
        let changes = v1::Changes { changes: std::mem::take(&mut course.changes) };
        if dry_run || changes.changes.is_empty() {
            return self.reply(request, Reply::Changes(changes));
        }
        if let Some(reason) = in_words(&changes) {
            let facts = v1::Facts { reason: Some(reason), ..report::of_orchestrator(EventKind::Config) };
            self.actions.push(Action::Report { facts });
        }
        let mut stops = self.take(now, course, &wanted, names);
        self.settle(now);
        stops.retain(|instance| self.run(*instance).is_some());
        let all = self.plan.ids().flat_map(|prc| self.instances(prc));
        let restarts = all.filter(|instance| {
            let makes_way = self.replacing.as_ref().is_some_and(|replacing| replacing.has(*instance));
            let is_spawning = self.run(*instance).is_some_and(|run| run.pid.is_none());
            !stops.contains(instance) && (makes_way || is_spawning)
        });
        let restarts = restarts.collect();
        self.reply_when_changed(request, Changing { stops, restarts, changes });
    }

    /// Does what is to be done. Answers the instances that are to go.
    fn take(&mut self, now: Now, course: Course, wanted: &Wanted, names: &[String]) -> BTreeSet<Instance> {
        let Course { merged, added, removed, replaced, touched, changes: _ } = course;
        // Under the dependences that hold until now, since by them it was started.
        let replacing = self.replacing_of(&replaced, &removed);
        let before = Arc::clone(&self.plan);
        // One that is added may have been removed before, and be there still.
        let known = added.iter().copied().filter(|prc| prc.0 < self.processes.len());
        let changed: Vec<PrcId> = touched.iter().map(|(prc, _)| *prc).chain(known).collect();
        let finishes = self.forget_deadlines(&changed);
        let others = merged.plan.ids().filter(|prc| !merged.places.contains(prc)).collect::<Vec<_>>();
        self.shown = merged.places.into_iter().chain(others).collect();
        self.adopt_merged(merged.plan, &added, &removed);
        self.leave_as_they_are(touched.iter().map(|(prc, _)| *prc).filter(|prc| !replaced.contains(prc)));
        self.remember_deadlines(now, &before, &changed, finishes);
        self.replacing = replacing;

        let mut stops = BTreeSet::new();
        for &prc in &removed {
            let instances: Vec<Instance> = self.instances(prc).collect();
            self.processes[prc.0].retired.extend(instances.iter().map(|instance| instance.number));
            self.unsaved.triggers(prc);
            for instance in instances.into_iter().rev() {
                self.step(now, instance, Input::Disarm);
                self.forget_if_gone(instance);
                stops.insert(instance);
            }
            self.give_up_room(prc);
        }
        for (prc, before) in &touched {
            // First of all: what depends on one of them waits for all the instances it is to have, and none that is too much
            // starts because of what another change brings about.
            let replicas = self.plan.process(*prc).replicas;
            self.processes[prc.0].retired.extend(replicas + 1..=*before);
            self.processes[prc.0].grow(replicas);
        }
        for (prc, replicas) in touched {
            let is_up = wanted.has(&self.plan.process(prc).name) || self.is_any_armed(prc);
            stops.extend(self.resize(now, prc, replicas, is_up));
        }
        self.bring_up_wanted(now, wanted, names, &added, &replaced);
        self.stop_what_is_free(now);
        stops
    }

    /// The plan holds, and all that is derived from it follows.
    fn adopt_merged(&mut self, plan: Plan, added: &BTreeSet<PrcId>, removed: &BTreeSet<PrcId>) {
        self.processes.iter_mut().for_each(|process| process.fingerprint = OnceCell::new());
        for spec in &plan.processes[self.processes.len()..] {
            self.processes.push(Process::new(spec));
        }
        for prc in removed {
            self.processes[prc.0].is_removed = true;
            self.unsaved.triggers(*prc);
        }
        for prc in added {
            let process = &mut self.processes[prc.0];
            let spec = plan.process(*prc);
            // One that was removed may come back before its last run is gone.
            process.is_removed = false;
            process.fan_in = fan_in_of(spec);
            process.bring_back(spec.replicas);
            self.by_name.insert(spec.name.clone(), *prc);
            self.unsaved.triggers(*prc);
            self.instances(*prc).for_each(|instance| self.unsaved.slot(instance));
        }
        self.relate(&plan);
        self.adopt(Arc::new(plan));
    }

    /// Brings up what is wanted and not up, and what is new.
    fn bring_up_wanted(
        &mut self,
        now: Now,
        wanted: &Wanted,
        names: &[String],
        added: &BTreeSet<PrcId>,
        replaced: &BTreeSet<PrcId>,
    ) {
        if let Wanted::Named(_) = wanted {
            let named = names.iter().filter_map(|name| self.resolve(name).ok()).flatten().collect();
            self.start_named(now, &named);
        }
        for index in 0..self.order.len() {
            let prc = self.order[index];
            let is_on_start = matches!(self.plan.process(prc).trigger, Trigger::OnStart);
            let is_anew = added.contains(&prc) || replaced.contains(&prc);
            let is_meant = match wanted {
                Wanted::Everything => true,
                Wanted::Named(_) => replaced.contains(&prc) && self.is_any_armed(prc),
            };
            // What is no more may have runs left; it is not to be armed again.
            if !is_meant || self.process(prc).is_removed {
                continue;
            }
            for instance in self.planned(prc) {
                let starts = self.slot(instance).is_some_and(|slot| match &slot.state {
                    State::Stopped | State::Idle | State::Failed => true,
                    State::Finished | State::Backoff { .. } => is_anew,
                    State::Live(run) => added.contains(&prc) || matches!(run.next, Next::Rest),
                    State::Waiting(_) => false,
                });
                self.step(now, instance, Input::Arm);
                if is_on_start && starts {
                    self.step(now, instance, Input::Start(Order::default()));
                }
            }
        }
    }

    fn is_any_armed(&self, prc: PrcId) -> bool {
        self.process(prc).slots.iter().any(|slot| slot.armed)
    }
}

/// What is to be brought up, if it is not.
fn wanted(plan: &Plan, names: &[String]) -> Result<Wanted, String> {
    if names.is_empty() {
        return Ok(Wanted::Everything);
    }
    let mut wanted = BTreeSet::new();
    for name in names {
        let members = name.strip_prefix('@').map(|group| plan.members(group).collect::<Vec<_>>());
        let of_instance = || name::split_internal(name).and_then(|(process, _)| plan.find(process));
        let meant = members.unwrap_or_else(|| plan.find(name).or_else(of_instance).into_iter().collect());
        if meant.is_empty() {
            return Err(format!("cannot start {name}: copo.toml has no such process"));
        }
        wanted.extend(meant.into_iter().map(|prc| plan.process(prc).name.clone()));
    }
    Ok(Wanted::Named(wanted))
}

/// What changes in the configuration, for the report: "web restarts, db is new". What is only started is none of it.
fn in_words(changes: &v1::Changes) -> Option<String> {
    let told = changes.changes.iter().filter_map(|change| {
        let name = if change.process.is_empty() { "the context" } else { &change.process };
        Some(match change.kind() {
            change::Kind::Unspecified | change::Kind::Start => return None,
            change::Kind::Add => format!("{name} is new"),
            change::Kind::Remove => format!("{name} is no more"),
            change::Kind::Restart => format!("{name} restarts"),
            change::Kind::Update => format!("{name} has other settings"),
            change::Kind::Scale => format!("{name} has another number of instances"),
            change::Kind::NeedsDown => format!("{name} has settings that need copo down and copo up"),
        })
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join(", "))
}

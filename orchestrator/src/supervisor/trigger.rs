//! Why runs start by themselves: the cron clock, the fan-in of finishes, and what a firing does while a run is under way.

use copo_proto::v1::EventKind;

use super::action::Action;
use super::cron::Schedule;
use super::event::Now;
use super::live::{Next, asking};
use super::orchestrator::{Orchestrator, Process};
use super::process::{Slot, State};
use super::report;
use super::run::Instance;
use super::step::{Finish, Input, Order};
use crate::plan::{FinishKind, Overlap, PrcId, ProcessSpec, Trigger};

/// How long ago a time may have passed unseen between two orchestrators to be made up for, in microseconds.
const MISSED: u64 = 60_000_000;

/// When a schedule fires next. The wall clock may be set at any time: forward, what was missed runs once; back, what has
/// run does not run again.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct CronClock {
    next: Option<u64>,
    /// From the first to the last of scheduled times that were all fired, none left out.
    fired: Option<(u64, u64)>,
    /// Times were passed over before `next`: it begins a new `fired`.
    has_skipped: bool,
}

impl CronClock {
    pub fn new(schedule: &Schedule, wall: u64) -> Self {
        Self { next: schedule.next_after(wall), fired: None, has_skipped: false }
    }

    pub fn next(&self) -> Option<u64> {
        self.next
    }

    /// Goes on with it in another orchestrator: what was due in the moment that nobody looked still is. After a longer
    /// time, or with another schedule, it begins anew.
    pub fn resume(&mut self, schedule: &Schedule, wall: u64) {
        let is_of_it = |next: u64| next.checked_sub(1).and_then(|at| schedule.next_after(at)) == Some(next);
        if self.next.is_none_or(|next| !is_of_it(next) || next.saturating_add(MISSED) < wall) {
            *self = Self::new(schedule, wall);
        }
    }

    /// The time it was due at, if it is, and on to the next time that is still to come.
    pub fn fire(&mut self, schedule: &Schedule, wall: u64) -> Option<u64> {
        let scheduled = self.next.filter(|next| *next <= wall)?;
        let first = self.fired.filter(|_| !self.has_skipped).map_or(scheduled, |(first, _)| first);
        self.fired = Some((first, scheduled));
        self.next = schedule.next_after(scheduled);
        self.has_skipped = self.next.is_some_and(|next| next <= wall);
        if self.has_skipped {
            self.next = schedule.next_after(wall);
        }
        Some(scheduled)
    }

    /// The clock was set back to `wall`.
    pub fn set_back(&mut self, schedule: &Schedule, wall: u64) {
        let next = schedule.next_after(wall);
        match self.fired {
            Some((first, last)) if next.is_some_and(|next| (first..=last).contains(&next)) => {
                self.next = schedule.next_after(last);
            }
            Some(_) | None => {
                self.has_skipped |= next != self.next;
                self.next = next;
            }
        }
    }
}

/// Notes the finish of a source; whether the trigger fires. What fires is cleared, what does not fit stays until a
/// newer finish takes its place.
fn fans_in(fan_in: &mut [Option<Finish>], source: usize, finish: Finish, on: FinishKind) -> bool {
    fan_in[source] = Some(finish);
    let is_complete = fan_in.iter().all(Option::is_some);
    let fits = match on {
        FinishKind::Succeeded => fan_in.iter().all(|finish| *finish == Some(Finish::Succeeded)),
        FinishKind::Failed => fan_in.contains(&Some(Finish::Failed)),
        FinishKind::Finished => true,
    };
    if is_complete && fits {
        fan_in.fill(None);
    }
    is_complete && fits
}

impl Orchestrator {
    /// Brings a process's triggers in line with whether any instance of it is armed.
    pub(super) fn refresh_triggers(&mut self, now: Now, prc: PrcId) {
        self.unsaved.triggers(prc);
        let process = &mut self.processes[prc.0];
        let is_armed = process.slots.iter().any(|slot| slot.armed);
        if !is_armed {
            process.fan_in.fill(None);
            self.drop_clock(prc);
        } else if let (Trigger::Cron(schedule), None) = (&self.plan.process(prc).trigger, &process.cron) {
            let cron = CronClock::new(schedule, now.wall);
            self.cron.extend(cron.next().map(|next| (next, prc)));
            process.cron = Some(cron);
        }
    }

    /// Its schedule counts no more.
    pub(super) fn drop_clock(&mut self, prc: PrcId) {
        if let Some(next) = self.processes[prc.0].cron.take().and_then(|cron| cron.next()) {
            self.cron.remove(&(next, prc));
        }
    }

    /// Fires the schedules whose time has come.
    pub(super) fn fire_due_schedules(&mut self, now: Now) {
        while let Some((_, prc)) = self.cron.first().copied().filter(|(next, _)| *next <= now.wall) {
            self.cron.pop_first();
            let fired = self.turn_clock(prc, |cron, schedule| cron.fire(schedule, now.wall));
            if let Some(scheduled) = fired.flatten() {
                let order = Order { scheduled_time: Some(scheduled), ..Order::default() };
                self.fire_by_itself(now, prc, &order);
            }
        }
    }

    /// Notices a wall clock that was set back.
    pub(super) fn notice_wall(&mut self, now: Now) {
        if now.wall < self.last_wall {
            for (_, prc) in std::mem::take(&mut self.cron) {
                self.turn_clock(prc, |cron, schedule| cron.set_back(schedule, now.wall));
            }
        }
        self.last_wall = now.wall;
    }

    fn turn_clock<T>(&mut self, prc: PrcId, turn: impl FnOnce(&mut CronClock, &Schedule) -> T) -> Option<T> {
        let (Trigger::Cron(schedule), Some(cron)) = (&self.plan.process(prc).trigger, &mut self.processes[prc.0].cron)
        else {
            return None;
        };
        let turned = turn(cron, schedule);
        self.unsaved.triggers(prc);
        self.cron.extend(cron.next().map(|next| (next, prc)));
        Some(turned)
    }

    /// An instance has finished: its process has, when all replicas have, and may fire those that wait for that.
    pub(super) fn fan_in(&mut self, now: Now, instance: Instance, finish: Finish) {
        let prc = instance.prc;
        let Some(finish) = self.finish_of_process(instance, finish) else {
            return;
        };
        for dependent in self.dependents[prc.0].clone() {
            let plan = self.plan.clone();
            let Trigger::DependenceFinish { sources, on } = &plan.process(dependent).trigger else {
                continue;
            };
            let Some(source) = sources.iter().position(|source| *source == prc) else {
                continue;
            };
            self.unsaved.triggers(dependent);
            let process = &mut self.processes[dependent.0];
            let is_armed = process.slots.iter().any(|slot| slot.armed);
            if is_armed && fans_in(&mut process.fan_in, source, finish, *on) {
                self.fire_by_itself(now, dependent, &Order::default());
            }
        }
    }

    /// An extra instance (`overlap = "allow"`) speaks for itself, replicas only together.
    fn finish_of_process(&self, instance: Instance, finish: Finish) -> Option<Finish> {
        if instance.number > self.plan.process(instance.prc).replicas {
            return Some(finish);
        }
        let mut together = Finish::Succeeded;
        for slot in self.replicas(instance.prc) {
            match slot.state {
                State::Finished => {}
                State::Failed => together = Finish::Failed,
                State::Idle | State::Waiting(_) | State::Live(_) | State::Backoff { .. } | State::Stopped => {
                    return None;
                }
            }
        }
        Some(together)
    }

    fn fire_by_itself(&mut self, now: Now, prc: PrcId, order: &Order) {
        let targets: Vec<Instance> = self.planned(prc).filter(|instance| self.is_armed(*instance)).collect();
        if let Err(why) = self.fire(now, prc, &targets, order) {
            let facts = report::of_process(EventKind::Skipped, self.plan.process(prc), why);
            self.actions.push(Action::Report { facts });
        }
    }

    fn is_armed(&self, instance: Instance) -> bool {
        self.slot(instance).is_some_and(|slot| slot.armed)
    }

    /// A trigger fires for these instances of a process, each to run `order`. Answers those that run or will, or why it
    /// is passed over.
    pub(super) fn fire(
        &mut self,
        now: Now,
        prc: PrcId,
        targets: &[Instance],
        order: &Order,
    ) -> Result<Vec<Instance>, String> {
        let plan = self.plan.clone();
        let spec = plan.process(prc);
        let busy: Vec<Instance> =
            targets.iter().copied().filter(|i| self.slot(*i).is_some_and(|slot| !slot.is_at_rest())).collect();
        if !busy.is_empty() {
            match spec.overlap {
                Overlap::Skip => return Err("a run is under way".to_owned()),
                Overlap::Queue if busy.iter().any(|i| self.slot(*i).is_some_and(Slot::has_queued)) => {
                    return Err("a run is queued already".to_owned());
                }
                Overlap::Allow => {
                    let free = self.free_instance(prc).ok_or_else(|| too_many(spec))?;
                    self.step(now, free, Input::Start(order.clone()));
                    return Ok(vec![free]);
                }
                Overlap::Queue | Overlap::Replace => {}
            }
        }
        for &instance in targets {
            let input = match (busy.contains(&instance), spec.overlap) {
                (false, _) => Input::Start(order.clone()),
                (true, Overlap::Queue) => Input::Queue(order.clone()),
                (true, Overlap::Skip | Overlap::Allow | Overlap::Replace) => {
                    Input::Stop(asking(spec), Next::Start(order.clone()))
                }
            };
            self.step(now, instance, input);
        }
        Ok(targets.to_vec())
    }

    /// The lowest instance that is free, a new one if `max_instances` leaves room.
    fn free_instance(&mut self, prc: PrcId) -> Option<Instance> {
        let spec = self.plan.process(prc);
        let limit = spec.max_instances.max(spec.replicas) as usize;
        let Process { slots, retired, .. } = &mut self.processes[prc.0];
        let is_armed = slots.iter().any(|slot| slot.armed);
        // One that a person has stopped is not free, unless all are: then it is a person who wants a run.
        let is_free = |(index, slot): (usize, &Slot)| {
            let is_no_more = u32::try_from(index + 1).is_ok_and(|number| retired.contains(&number));
            slot.is_at_rest() && (slot.armed == is_armed || is_no_more)
        };
        let free = slots.iter().take(limit).enumerate().position(is_free);
        if free.is_none() && slots.len() >= limit {
            return None;
        }
        let index = free.unwrap_or(slots.len());
        let number = u32::try_from(index + 1).ok()?;
        self.unsaved.triggers(prc);
        if retired.remove(&number) || free.is_none() {
            let extra = Slot::extra(is_armed);
            match slots.get_mut(index) {
                Some(slot) => *slot = extra,
                None => slots.push(extra),
            }
        }
        Some(Instance { prc, number })
    }
}

fn too_many(spec: &ProcessSpec) -> String {
    format!("{} runs are under way, and max_instances allows no more", spec.max_instances.max(spec.replicas))
}

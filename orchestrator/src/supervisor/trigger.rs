//! Why runs start by themselves: the cron clock, the fan-in of finishes, and what a firing does while a run is under way.

use std::time::Duration;

use super::action::Action;
use super::cron_clock::{CronClock, Firing, ScheduleNote, Timing};
use super::event::Now;
use super::live::{Ask, Next, Run, asking};
use super::orchestrator::{Orchestrator, Process};
use super::process::{Slot, State};
use super::report;
use super::run::Instance;
use super::step::{Finish, Input, Order};
use crate::plan::{FinishKind, Overlap, PrcId, ProcessSpec, Trigger};

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
    /// What the orchestrator before this one noted of the schedule of a process: what passed since was missed.
    pub fn recall_schedule(&mut self, name: &str, note: ScheduleNote) {
        if let Some(prc) = self.by_name.get(name) {
            self.processes[prc.0].schedule_note = Some(note);
        }
    }

    /// Brings a process's triggers in line with whether any instance of it is armed.
    pub(super) fn refresh_triggers(&mut self, now: Now, prc: PrcId) {
        self.unsaved.triggers(prc);
        let is_armed = self.process(prc).slots.iter().any(|slot| slot.armed);
        if !is_armed {
            return self.disarm_triggers(prc);
        }
        if self.process(prc).cron.is_some() {
            return;
        }
        let plan = self.plan.clone();
        let Some(timing) = self.timing(plan.process(prc)) else {
            return;
        };
        let process = &mut self.processes[prc.0];
        let cron = match process.schedule_note.take() {
            Some(note) if timing.catch_up.is_none() => CronClock::since(timing, note.without_missed(), now.wall),
            Some(note) => CronClock::since(timing, note, now.wall),
            None => CronClock::new(timing, now.wall),
        };
        self.cron.extend(cron.deadline(timing).map(|at| (at, prc)));
        process.cron = Some(cron);
        self.note_schedule(prc);
    }

    fn disarm_triggers(&mut self, prc: PrcId) {
        self.processes[prc.0].fan_in.fill(None);
        if let Some(cron) = self.drop_clock(prc)
            && self.down.is_none()
        {
            // A person stopped it: what passes meanwhile is not missed, and what has run does not run again.
            self.processes[prc.0].schedule_note = Some(cron.note().clone().without_missed());
            self.note_schedule(prc);
        }
    }

    /// When the schedule of a process fires, if it has one.
    pub(super) fn timing<'a>(&self, spec: &'a ProcessSpec) -> Option<Timing<'a>> {
        let salt =
            spec.name.bytes().fold(self.salt, |salt, byte| (salt ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        match &spec.trigger {
            Trigger::Cron(schedule) => Some(Timing { schedule, catch_up: spec.catch_up, jitter: spec.jitter, salt }),
            Trigger::OnStart | Trigger::Manual | Trigger::DependenceFinish { .. } => None,
        }
    }

    /// Has the schedule's state noted for the next orchestrator, where that makes up for what it missed.
    fn note_schedule(&mut self, prc: PrcId) {
        let spec = self.plan.process(prc);
        if spec.catch_up.is_some() {
            let note = self.processes[prc.0].cron.as_ref().map(|cron| cron.note().clone());
            self.actions.push(Action::NoteSchedule { process: spec.name.clone(), note });
        }
    }

    /// Its schedule counts no more. By when it was due the settings of before may have told.
    pub(super) fn drop_clock(&mut self, prc: PrcId) -> Option<CronClock> {
        self.cron.retain(|(_, other)| *other != prc);
        self.processes[prc.0].cron.take()
    }

    /// Its schedule is the same, and what else decides when it fires may be another.
    pub(super) fn rewind_clock(&mut self, prc: PrcId) {
        let plan = self.plan.clone();
        if let Some((cron, timing)) = self.processes[prc.0].cron.as_ref().zip(self.timing(plan.process(prc))) {
            self.cron.retain(|(_, other)| *other != prc);
            self.cron.extend(cron.deadline(timing).map(|at| (at, prc)));
            self.note_schedule(prc);
        }
    }

    /// Fires the schedules whose time has come.
    pub(super) fn fire_due_schedules(&mut self, now: Now) {
        while let Some((_, prc)) = self.cron.first().copied().filter(|(at, _)| *at <= now.wall) {
            self.cron.pop_first();
            let fired = self.turn_clock(prc, |cron, timing| cron.fire(timing, now.wall)).flatten();
            if fired.is_some() {
                self.note_schedule(prc); // Before it runs: a time runs once at most, whatever happens in between.
            }
            match fired {
                Some(Firing::Run(scheduled)) => {
                    let order = Order { scheduled_time: Some(scheduled), ..Order::default() };
                    self.fire_by_itself(now, prc, &order);
                }
                Some(Firing::RunMissed) => self.run_missed(now, prc),
                Some(Firing::TooLate(scheduled)) => {
                    let order = Order { scheduled_time: Some(scheduled), ..Order::default() };
                    self.pass_over(
                        prc,
                        &order,
                        "its time was missed, and is longer ago than catch_up reaches".to_owned(),
                    );
                }
                None => {}
            }
        }
    }

    /// Runs the next of the times that a process has missed, once it has nothing else to do.
    pub(super) fn run_missed(&mut self, now: Now, prc: PrcId) {
        if self.process(prc).cron.as_ref().is_none_or(|cron| cron.note().missed.is_none()) {
            return;
        }
        let targets = self.armed_instances(prc);
        if targets.is_empty() || !targets.iter().all(|i| self.slot(*i).is_some_and(Slot::is_at_rest)) {
            return;
        }
        self.cron.retain(|(_, other)| *other != prc);
        let scheduled = self.turn_clock(prc, |cron, timing| cron.take_missed(timing, now.wall)).flatten();
        self.note_schedule(prc);
        if let Some(scheduled) = scheduled {
            let order = Order { scheduled_time: Some(scheduled), ..Order::default() };
            self.fire_by_itself(now, prc, &order);
        }
    }

    /// Notices a wall clock that was set back.
    pub(super) fn notice_wall(&mut self, now: Now) {
        if now.wall < self.last_wall {
            for (_, prc) in std::mem::take(&mut self.cron) {
                self.turn_clock(prc, |cron, timing| cron.set_back(timing, now.wall));
            }
        }
        self.last_wall = now.wall;
    }

    fn turn_clock<T>(&mut self, prc: PrcId, turn: impl FnOnce(&mut CronClock, Timing<'_>) -> T) -> Option<T> {
        let plan = self.plan.clone();
        let (timing, cron) = self.timing(plan.process(prc)).zip(self.processes[prc.0].cron.as_mut())?;
        let turned = turn(cron, timing);
        self.unsaved.triggers(prc);
        self.cron.extend(cron.deadline(timing).map(|at| (at, prc)));
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
        let targets = self.armed_instances(prc);
        if let Err(why) = self.fire(now, prc, &targets, order) {
            self.pass_over(prc, order, why);
        }
    }

    fn pass_over(&mut self, prc: PrcId, order: &Order, why: String) {
        let facts = report::of_skipped(self.plan.process(prc), order, why);
        self.actions.push(Action::Report { facts });
    }

    fn armed_instances(&self, prc: PrcId) -> Vec<Instance> {
        self.planned(prc).filter(|instance| self.is_armed(*instance)).collect()
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
                    Input::Stop(self.ask_to_make_way(instance), Next::Start(order.clone()))
                }
            };
            self.step(now, instance, input);
        }
        Ok(targets.to_vec())
    }

    /// What makes way already keeps the time it was given: a firing is no reason to hurry it.
    fn ask_to_make_way(&self, instance: Instance) -> Ask {
        let ask = asking(self.plan.process(instance.prc));
        let is_leaving = self.run(instance).is_some_and(Run::is_leaving);
        if is_leaving { Ask { grace: Duration::MAX, ..ask } } else { ask }
    }

    /// The lowest instance that is free, a new one if `max_instances` leaves room.
    fn free_instance(&mut self, prc: PrcId) -> Option<Instance> {
        let spec = self.plan.process(prc);
        let limit = spec.most_instances() as usize;
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
    format!("{} runs are under way, and max_instances allows no more", spec.most_instances())
}

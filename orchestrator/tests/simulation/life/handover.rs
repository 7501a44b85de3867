//! The orchestrator is killed, its children live on, and another one goes on with what was written down.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use copo_orchestrator::plan::Plan;
use copo_orchestrator::supervisor::{Event, Found, Instance, Orchestrator, Outcome, RunId, RunSeed, Saved, Stray};
use copo_proto::name;

use super::{Coming, Life, SECOND, Stage, Verdict, ensure};

impl Life {
    /// Now, or in the middle of doing what is decided next.
    pub(super) fn kill(&mut self) {
        if self.chance.once_in(2) {
            self.is_dead = true;
        } else {
            self.dies_after = Some(self.chance.below(6));
        }
    }

    /// The next orchestrator: the keeper starts it at once, a person some time later, or after the machine was booted.
    pub(super) fn take_over(&mut self) -> Verdict {
        let has_booted = self.chance.once_in(8);
        let is_up = has_booted || self.chance.once_in(3);
        let is_long = is_up && self.chance.once_in(4);
        let away = self.chance.time(SECOND / 1_000, if is_long { 7_200 * SECOND } else { SECOND * 2 });
        self.tally.count(if is_up {
            "life: started anew by a person"
        } else {
            "life: taken over by the keeper's next"
        });
        self.dies_after = None;
        if !self.unstarted.is_empty() {
            self.tally.count("life: killed in the middle of what was decided");
        }
        let mut saved = self.read_what_was_written()?;
        self.pass_unwatched(away);
        if has_booted {
            self.tally.count("life: the machine was booted");
            self.boot();
            saved.forget_clock();
        }
        let mut plan: Plan = (*self.file).clone();
        if is_up {
            saved.forget_down();
        } else {
            plan = saved.scaled(plan);
        }
        let plan = Arc::new(plan);
        let seed = RunSeed::new(self.chance.word());
        let (orc, strays) = Orchestrator::restore(Arc::clone(&plan), seed, saved);
        self.orc = orc;
        self.saved = self.orc.saved();
        for (process, note) in &self.notes {
            self.orc.recall_schedule(process, note.clone());
        }
        self.leave(plan, is_up, &strays)?;
        let found = self.find(has_booted);
        self.tell(Event::Resumed { found })?;
        if is_up && !self.is_dead {
            self.tell(Event::Up { names: Vec::new() })?;
        }
        self.judge.forget_schedules(&self.orc.processes());
        self.unstarted.clear();
        Ok(())
    }

    /// What was written bit by bit is all there is to know.
    fn read_what_was_written(&self) -> Result<Saved, String> {
        let written = serde_json::to_string(&self.saved).map_err(|error| error.to_string())?;
        let whole = serde_json::to_string(&self.orc.saved()).map_err(|error| error.to_string())?;
        ensure(written == whole, || format!("written down: {written}\nthere is: {whole}"))?;
        serde_json::from_str(&written).map_err(|error| format!("{error}: {written}"))
    }

    /// Time passes, children live and die, and nobody looks.
    fn pass_unwatched(&mut self, away: Duration) {
        let until = self.now.mono + away;
        let coming = std::mem::take(&mut self.coming);
        for Reverse((at, number, coming)) in coming.into_sorted_vec().into_iter().rev() {
            match coming {
                Coming::Exit(run, is_killed) if at <= until => {
                    let is_running = self.judge.runs.get(&run).is_some_and(|seen| seen.stage == Stage::Running);
                    if is_running {
                        self.judge.set(run, Stage::Exited);
                        self.unseen.insert(run, self.outcome_of(run, is_killed));
                    }
                }
                // Whoever was to tell of it is no more.
                Coming::Spawned(_)
                | Coming::SpawnFailed(..)
                | Coming::Probed(..)
                | Coming::Drained(_)
                | Coming::GroupGone(_)
                | Coming::Answer(_)
                | Coming::RequestGone(_) => {}
                Coming::Exit(..)
                | Coming::Ready(_)
                | Coming::Says(..)
                | Coming::Watch(_)
                | Coming::Command
                | Coming::Jump
                | Coming::Stale
                | Coming::EarlyWakeup
                | Coming::Killed => self.coming.push(Reverse((at.max(until), number, coming))),
                // What was to be killed meanwhile is killed a little later.
                Coming::Grace(_) => self.coming.push(Reverse((at.max(until + SECOND), number, coming))),
            }
        }
        self.pass_until(until);
    }

    /// Nothing lives any more, and the monotonic clock begins anew.
    fn boot(&mut self) {
        let before = self.now.mono.saturating_sub(SECOND);
        self.now.mono -= before;
        let coming = std::mem::take(&mut self.coming);
        let coming = coming.into_iter().map(|Reverse((at, number, coming))| Reverse((at - before, number, coming)));
        self.coming = coming.collect();
        self.judge.forget_chains();
    }

    /// What the judge is to know of it.
    fn leave(&mut self, plan: Arc<Plan>, is_up: bool, strays: &[Stray]) -> Verdict {
        for stray in strays {
            self.tally.count("run: stray");
            let room = self.room_of(&plan, stray);
            ensure(room.is_none(), || format!("there is room for {stray:?}"))?;
        }
        let strays: Vec<RunId> = strays.iter().map(|stray| stray.run).collect();
        self.judge.restored(self.now, plan, is_up, &strays);
        Ok(())
    }

    fn room_of(&self, plan: &Plan, stray: &Stray) -> Option<Instance> {
        let (process, number) = name::split_internal(&stray.internal_name)?;
        let prc = plan.find(process)?;
        (number <= plan.process(prc).replicas).then_some(Instance { prc, number })
    }

    /// What has become of each run that was under way.
    fn find(&mut self, has_booted: bool) -> Vec<(RunId, Found)> {
        let mut live: Vec<_> = self.orc.live_runs().collect();
        live.sort_by_key(|live| live.instance);
        let mut found = Vec::new();
        for run in live.into_iter().map(|live| live.run) {
            let was_told = self.judge.runs.get(&run).is_some_and(|seen| seen.ended.is_some());
            let stage = self.judge.runs.get(&run).map_or(Stage::Gone, |seen| seen.stage);
            let ended = |outcome| Found::Ended { outcome };
            let (stage, what) = match stage {
                Stage::Spawning | Stage::Gone if self.unstarted.contains(&run) || self.chance.once_in(3) => {
                    (Stage::Gone, Found::Unstarted)
                }
                Stage::Spawning | Stage::Gone | Stage::Running if has_booted => {
                    (Stage::Exited, ended(Outcome::Unknown))
                }
                Stage::Spawning | Stage::Gone if self.chance.once_in(2) => (Stage::Exited, ended(Outcome::Unknown)),
                Stage::Spawning | Stage::Gone => {
                    self.runs(run);
                    (Stage::Running, Found::Alive { pid: 3 })
                }
                Stage::Running => (Stage::Running, Found::Alive { pid: 3 }),
                // What had arrived on its connections has, and no more comes.
                Stage::Exited if was_told => (Stage::Drained, ended(Outcome::Unknown)),
                Stage::Exited => {
                    let outcome = self.unseen.get(&run).copied().unwrap_or(Outcome::Unknown);
                    (Stage::Exited, ended(if has_booted { Outcome::Unknown } else { outcome }))
                }
                Stage::Drained => (Stage::Drained, ended(Outcome::Unknown)),
            };
            self.judge.found(self.now, run, stage, what);
            found.push((run, what));
        }
        self.unseen.clear();
        found
    }
}

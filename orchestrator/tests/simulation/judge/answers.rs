//! What an answer claims is so.

use std::collections::BTreeSet;

use copo_orchestrator::plan::Condition;
use copo_orchestrator::supervisor::{Command, Instance, Outcome, Reply, RequestId, RunId};
use copo_proto::v1::{EventKind, Triggered, wait};

use super::{Judge, Stage, Verdict, ensure};

/// What a request waits for, as whoever asked understands it.
#[derive(Debug)]
pub enum Claim {
    /// These runs are over.
    Over(BTreeSet<RunId>),
    /// Nothing runs.
    AllOver,
    /// The run that was triggered is over, or is there.
    Triggered {
        is_over: bool,
    },
    /// The condition holds of all instances that are there.
    Holds(wait::Condition, BTreeSet<Instance>),
    Nothing,
}

impl Judge {
    pub fn note_request(&mut self, request: RequestId, command: &Command) {
        let claim = match command {
            Command::Stop { names } => Claim::Over(self.live_of(names, false)),
            // What is on its way out for good does not come back.
            Command::Restart { names } => Claim::Over(self.live_of(names, true)),
            Command::Down { .. } => Claim::AllOver,
            Command::Trigger { wait, .. } => Claim::Triggered { is_over: *wait },
            Command::Wait { names, condition } if !names.is_empty() => {
                Claim::Holds(*condition, self.instances_of(names))
            }
            Command::Scale { to } => Claim::Over(self.surplus_of(to)),
            Command::Ps
            | Command::Start { .. }
            | Command::Kill { .. }
            | Command::Wait { .. }
            | Command::Converge { .. } => Claim::Nothing,
        };
        self.claims.insert(request, claim);
    }

    /// Those that are there: planned, or with a run and not forgotten.
    fn instances_of(&self, names: &[String]) -> BTreeSet<Instance> {
        let planned = self
            .plan
            .ids()
            .filter(|prc| !self.removed.contains(prc))
            .flat_map(|prc| (1..=self.plan.process(prc).replicas).map(move |number| Instance { prc, number }));
        let with_runs = self.newest.keys().copied().filter(|instance| !self.forgotten.contains(instance));
        planned.chain(with_runs).filter(|instance| names.iter().any(|name| self.means(name, *instance))).collect()
    }

    /// An instance is no more: nobody waits for it.
    pub fn forget_in_claims(&mut self, instance: Instance) {
        for claim in self.claims.values_mut() {
            if let Claim::Holds(_, instances) = claim {
                instances.remove(&instance);
            }
        }
    }

    fn live_of(&self, names: &[String], only_planned: bool) -> BTreeSet<RunId> {
        let is_planned =
            |instance: &Instance| !only_planned || instance.number <= self.plan.process(instance.prc).replicas;
        let instances = self.newest.keys().filter(|instance| names.iter().any(|name| self.means(name, **instance)));
        instances.filter(|instance| is_planned(instance)).filter_map(|instance| self.live_run(*instance)).collect()
    }

    pub fn replied(&mut self, request: RequestId, reply: &Reply) -> Verdict {
        ensure(self.open.remove(&request), || format!("{request:?} is answered twice, or was not asked"))?;
        let claim = self.claims.remove(&request).unwrap_or(Claim::Nothing);
        let live = |run: &&RunId| self.runs[run].stage != Stage::Gone;
        match (claim, reply) {
            // Its schedules may be due at this very moment.
            (_, Reply::Processes(processes)) => self.look_at_ps(None, processes),
            (Claim::Over(runs), Reply::Done | Reply::Changes(_)) => {
                let left: Vec<&RunId> = runs.iter().filter(live).collect();
                ensure(left.is_empty(), || format!("it is said to be done, and {left:?} is there still"))
            }
            (Claim::AllOver, Reply::Done) => {
                let left = self.runs.values().find(|run| run.stage != Stage::Gone);
                ensure(left.is_none(), || format!("everything is said to be gone, and there is {left:?}"))
            }
            (Claim::Triggered { is_over: true }, Reply::Triggered(triggered)) => self.is_over(triggered),
            (Claim::Triggered { is_over: false }, Reply::Triggered(Triggered { run: Some(run), .. })) => {
                let is_live = RunId::parse(run).is_some_and(|run| live(&&run));
                ensure(is_live, || format!("{run} is said to be triggered, and is not there"))
            }
            (Claim::Holds(condition, instances), Reply::Done) => self.holds_of_all(condition, &instances),
            _ => Ok(()),
        }
    }

    fn is_over(&self, triggered: &Triggered) -> Verdict {
        let run = triggered.run.as_deref().and_then(RunId::parse).and_then(|run| self.runs.get(&run));
        let Some(run) = run else { return Err(format!("no such run: {triggered:?}")) };
        let code = match run.outcome {
            Some(Outcome::Code(code)) => Some(code),
            Some(Outcome::Signal { .. } | Outcome::Unknown) | None => None,
        };
        let is_right = run.stage == Stage::Gone
            && triggered.exit_code == code
            && (triggered.succeeded == Some(true)) == (run.reported == Some(EventKind::Finished));
        ensure(is_right, || format!("{triggered:?} is said of {run:?}"))
    }

    fn holds_of_all(&self, condition: wait::Condition, instances: &BTreeSet<Instance>) -> Verdict {
        for instance in instances {
            let is_so = match condition {
                wait::Condition::Ready => self.holds_of(Condition::Ready, *instance),
                wait::Condition::Finished => {
                    let last = self.newest.get(instance).and_then(|run| self.runs[run].reported);
                    matches!(last, Some(EventKind::Finished | EventKind::Failed))
                }
                wait::Condition::Up | wait::Condition::Unspecified => true,
            };
            ensure(is_so, || format!("{condition:?} is said of {instance:?}"))?;
        }
        Ok(())
    }

    /// Runs of the instances that are to be no more.
    fn surplus_of(&self, to: &[(String, u32)]) -> BTreeSet<RunId> {
        let is_surplus = |instance: &Instance| {
            let spec = self.plan.process(instance.prc);
            let wanted = to.iter().filter(|(name, _)| *name == spec.name).map(|(_, replicas)| *replicas).min();
            wanted.is_some_and(|wanted| (wanted + 1..=spec.replicas).contains(&instance.number))
        };
        self.newest.keys().filter(|instance| is_surplus(instance)).filter_map(|i| self.live_run(*i)).collect()
    }
}

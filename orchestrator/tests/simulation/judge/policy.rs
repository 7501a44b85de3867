//! What follows an end: by which policy, after which delay, how often.

use std::collections::VecDeque;
use std::time::Duration;

use copo_orchestrator::plan::{LimitReached, ProcessSpec, RestartPolicy, Trigger};
use copo_orchestrator::supervisor::{Instance, Outcome, RunId};
use copo_proto::v1::{EventKind, Facts};

use super::{Judge, Verdict, ensure};
use crate::seen::Seen;

/// Restarts that follow each other.
#[derive(Debug, Default)]
pub struct Chain {
    /// When restarts by policy were decided since it was started otherwise: no more than there were.
    decided: VecDeque<Duration>,
    /// So many of them since a run lasted; no more than there were.
    streak: u32,
    /// The next run must not start before.
    not_before: Option<Duration>,
    /// When its runs started.
    starts: VecDeque<Duration>,
    /// The run that has ended last, and nothing has followed yet.
    ended: Option<(RunId, Duration)>,
}

/// Starts of an instance that are remembered: no limit of the plans counts more.
const STARTS: usize = 32;

impl Judge {
    /// Somebody starts it, or may have: what was counted counts no more.
    pub fn begins_anew(&mut self, instance: Instance) {
        let chain = self.chains.entry(instance).or_default();
        chain.decided.clear();
        (chain.streak, chain.not_before, chain.ended) = (0, None, None);
    }

    /// The clock begins anew.
    pub fn forget_chains(&mut self) {
        self.chains.clear();
    }

    /// What is reported of the ends of a run, and of the beginning of the next.
    pub fn look_at_policy(&mut self, now: Duration, instance: Instance, run: Option<RunId>, facts: &Facts) -> Verdict {
        let spec = self.plan.process(instance.prc).clone();
        let reason = facts.reason.as_deref().unwrap_or_default();
        let seen = run.and_then(|run| self.runs.get(&run));
        match facts.event() {
            EventKind::Exited | EventKind::SpawnFailed => {
                let (Some(run), Some(seen)) = (run, seen) else { return Ok(()) };
                let lasted = seen.since.zip(seen.ended).map(|(since, ended)| ended.saturating_sub(since));
                let chain = self.chains.entry(instance).or_default();
                if lasted.is_some_and(|lasted| lasted >= spec.backoff.reset) {
                    chain.streak = 0;
                }
                chain.ended = Some((run, now));
                Ok(())
            }
            EventKind::Finished | EventKind::Failed => {
                let seen = seen.ok_or("an end of no run")?;
                ends_rightly(&spec, seen, facts.event(), reason)?;
                let chain = self.chains.entry(instance).or_default();
                let counted = |limit: copo_orchestrator::plan::RestartLimit| {
                    let within = chain.starts.iter().filter(|at| now.saturating_sub(**at) <= limit.window).count();
                    within >= (limit.restarts as usize).min(STARTS)
                };
                let is_early = reason.starts_with("given up") && !spec.restart_limit.is_some_and(counted);
                ensure(!is_early, || format!("given up too early: {chain:?}"))?;
                self.begins_anew(instance);
                Ok(())
            }
            EventKind::Stopped => {
                self.begins_anew(instance);
                Ok(())
            }
            EventKind::Backoff => {
                restarts_rightly(&spec, seen.ok_or("a restart of no run")?)?;
                self.restarts(now, instance, &spec)
            }
            EventKind::Starting => self.follows(now, instance, facts, &spec),
            _ => Ok(()),
        }
    }

    /// A restart by policy is decided, and has a delay.
    fn restarts(&mut self, now: Duration, instance: Instance, spec: &ProcessSpec) -> Verdict {
        let chain = self.chains.entry(instance).or_default();
        let at = chain.ended.take().map_or(now, |(_, at)| at);
        let is_too_many = chain.count(at, spec)?;
        // At least so long; a first one never waits, so this one is at least the second.
        let growths = chain.streak.saturating_sub(1).min(40);
        let planned = spec.backoff.initial.as_secs_f64() * spec.backoff.factor.powi(growths.cast_signed());
        let planned = if is_too_many { spec.backoff.max.as_secs_f64() } else { planned };
        let least = planned.min(spec.backoff.max.as_secs_f64()) * (1.0 - spec.backoff.jitter);
        // Delays are told and kept in nanoseconds; what is computed here may be one off.
        chain.not_before = Some(now + Duration::from_secs_f64((least - 1e-6).max(0.0)));
        chain.streak += 1;
        Ok(())
    }

    /// A run starts: after one that ended, or because something else wants it.
    fn follows(&mut self, now: Duration, instance: Instance, facts: &Facts, spec: &ProcessSpec) -> Verdict {
        let by_itself = matches!(spec.trigger, Trigger::DependenceFinish { .. });
        let chain = self.chains.entry(instance).or_default();
        chain.starts.push_back(now);
        if chain.starts.len() > STARTS {
            chain.starts.pop_front();
        }
        let last = self.newest.get(&instance).map(|run| &self.runs[run]);
        let is_same = last.is_some_and(|last| last.scheduled_time == facts.scheduled_time) && !by_itself;
        if !is_same {
            self.begins_anew(instance);
            return Ok(());
        }
        let not_before = chain.not_before.take();
        ensure(not_before.is_none_or(|not_before| not_before <= now), || {
            format!("it starts before its delay is over: {chain:?}")
        })?;
        let Some((run, at)) = chain.ended.take() else { return Ok(()) };
        let seen = &self.runs[&run];
        let is_asked_otherwise = seen.was_meant || (seen.asked.is_some() && !seen.has_fault);
        let may_be_lost = spec.on_dependence_restart != copo_orchestrator::plan::OnDependenceRestart::Ignore;
        if is_asked_otherwise || seen.is_lost || (seen.since.is_none() && may_be_lost) {
            self.begins_anew(instance);
            return Ok(());
        }
        // At once, by policy: only the first has no delay.
        restarts_rightly(spec, seen)?;
        let is_first = chain.streak == 0 || spec.backoff.jitter >= 1.0;
        chain.count(at, spec)?;
        chain.streak += 1;
        ensure(is_first, || format!("a restart without a delay: {chain:?}"))
    }
}

impl Chain {
    /// One more; whether it is one too many, where that means a long delay.
    fn count(&mut self, at: Duration, spec: &ProcessSpec) -> Result<bool, String> {
        self.decided.push_back(at);
        let Some(limit) = spec.restart_limit else { return Ok(false) };
        let within = self.decided.iter().filter(|earlier| at.saturating_sub(**earlier) < limit.window).count();
        let is_too_many = within > limit.restarts as usize;
        while self.decided.len() > STARTS {
            self.decided.pop_front();
        }
        match limit.then {
            LimitReached::KeepTrying => Ok(is_too_many),
            LimitReached::GiveUp | LimitReached::Shutdown if is_too_many => {
                Err(format!("restarted too often: {within} times within {:?}", limit.window))
            }
            LimitReached::GiveUp | LimitReached::Shutdown => Ok(false),
        }
    }
}

fn has_succeeded(spec: &ProcessSpec, seen: &Seen) -> bool {
    !seen.has_fault && matches!(seen.outcome, Some(Outcome::Code(code)) if spec.success_exit_codes.contains(&code))
}

fn ends_rightly(spec: &ProcessSpec, seen: &Seen, event: EventKind, reason: &str) -> Verdict {
    let succeeded = has_succeeded(spec, seen);
    let has_given_up = reason.starts_with("given up");
    ensure((event == EventKind::Finished) == (succeeded && !has_given_up), || format!("{event:?} of {seen:?}"))?;
    let would_restart = match spec.restart {
        RestartPolicy::No => false,
        RestartPolicy::OnFailure => !succeeded,
        RestartPolicy::Always => true,
    };
    ensure(!would_restart || has_given_up || seen.is_final, || "its policy wants a restart".to_owned())
}

fn restarts_rightly(spec: &ProcessSpec, seen: &Seen) -> Verdict {
    let may = match spec.restart {
        RestartPolicy::No => false,
        RestartPolicy::OnFailure => !has_succeeded(spec, seen),
        RestartPolicy::Always => true,
    };
    ensure(may && !seen.is_final, || format!("a restart against its policy {:?}, of {seen:?}", spec.restart))
}

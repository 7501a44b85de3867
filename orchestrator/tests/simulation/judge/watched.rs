//! How runs are watched: what their answers and signs of life, or none, must lead to.

use std::time::Duration;

use copo_orchestrator::plan::{Check, Probe, Readiness};
use copo_orchestrator::supervisor::{Event, Notice, Now, ProbeKind, RunId};
use copo_proto::v1::{EventKind, Facts};

use super::{Judge, Stage, Verdict, ensure};

impl Judge {
    /// What a run does and says is about to be handled.
    pub fn watch(&mut self, now: Now, event: &Event) {
        let (Event::Spawned { run, .. }
        | Event::Exited { run, .. }
        | Event::SpawnFailed { run, .. }
        | Event::Probed { run, .. }
        | Event::Notified { run, .. }) = event
        else {
            return;
        };
        let Some(seen) = self.runs.get_mut(run) else { return };
        let spec = self.plan.process(seen.instance.prc);
        match event {
            Event::Spawned { .. } => seen.since = Some(now.mono),
            Event::SpawnFailed { is_final, .. } => {
                (seen.is_final, seen.has_fault) = (*is_final, true);
            }
            Event::Exited { outcome, .. } => (seen.outcome, seen.ended) = (Some(*outcome), Some(now.mono)),
            Event::Probed { probe, answer, .. } => {
                let (good, bad, is_asked) = seen.answers.entry(*probe).or_default();
                (*good, *bad) = if answer.is_ok() { (*good + 1, 0) } else { (0, *bad + 1) };
                *is_asked = false;
            }
            Event::Notified { notice: Notice { alive, watchdog, extend_timeout, .. }, .. } => {
                if let Some(more) = extend_timeout {
                    seen.is_extended = true;
                    seen.kill_from = seen.kill_from.map(|from| from.max(now.mono + *more));
                }
                if seen.asked.is_none() {
                    seen.own_watchdog = watchdog.or(seen.own_watchdog);
                }
                let counts = seen.was_ready || !spec.declares_readiness();
                if counts && (*alive || watchdog.is_some()) {
                    seen.fed = Some(now.mono);
                }
            }
            _ => {}
        }
    }

    /// A run is asked how it does. Where it was asked before and did not answer, that was a bad answer.
    pub fn asks(&mut self, run: RunId, kind: ProbeKind) -> Verdict {
        let seen = self.live(&run, Stage::Running)?;
        let (good, bad, is_asked) = seen.answers.entry(kind).or_default();
        if std::mem::replace(is_asked, true) {
            (*good, *bad) = (0, *bad + 1);
        }
        ensure(seen.asked.is_none(), || "probed after it was asked to stop".to_owned())?;
        let is_of_alive = matches!(kind, ProbeKind::Liveness | ProbeKind::Progress);
        let seen = &self.runs[&run];
        let counts = seen.was_ready || !self.plan.process(seen.instance.prc).declares_readiness();
        ensure(!is_of_alive || counts, || "probed for life before it was ready".to_owned())
    }

    /// What the reports say of answers is so.
    pub fn look_at_words(&mut self, now: Now, run: RunId, facts: &Facts) -> Verdict {
        let reason = facts.reason.as_deref().unwrap_or_default();
        let Some(seen) = self.runs.get_mut(&run) else { return Ok(()) };
        let spec = self.plan.process(seen.instance.prc);
        let answers = |kind: ProbeKind| seen.answers.get(&kind).copied().unwrap_or_default();
        match facts.event() {
            EventKind::Started if !spec.declares_readiness() => seen.fed = Some(now.mono),
            EventKind::Ready => {
                if let Readiness::Probe(probe) = &spec.ready {
                    let (good, ..) = answers(ProbeKind::Ready);
                    ensure(good >= enough(probe.successes, probe), || format!("ready after {good} answers"))?;
                }
                if !std::mem::replace(&mut seen.was_ready, true) && spec.declares_readiness() {
                    seen.fed = Some(now.mono);
                }
            }
            EventKind::NotReady | EventKind::Stopping => {
                let kinds = [ProbeKind::Startup, ProbeKind::Ready, ProbeKind::Liveness];
                let said = kinds.into_iter().find(|kind| reason.starts_with(&format!("the {} probe", kind.name())));
                if let Some((kind, probe)) = said.and_then(|kind| Some((kind, spec.probe(kind)?))) {
                    let (_, bad, is_asked) = answers(kind);
                    let bad = bad + u32::from(is_asked); // The last one may be none at all.
                    ensure(bad >= probe.failures, || format!("failed after {bad} answers"))?;
                }
                let by_itself = reason.starts_with("it says that it is stopping");
                seen.is_lost |= reason.contains("on which it depends");
                let is_late = reason.starts_with("not ready within");
                let is_fault = facts.event() == EventKind::Stopping && !reason.is_empty() && !by_itself;
                seen.has_fault |= is_late || (is_fault && !reason.contains("on which it depends"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Answers that are enough have an effect at once.
    pub fn look_at_answer(&self, event: &Event) -> Verdict {
        let Event::Probed { run, probe: kind, .. } = event else { return Ok(()) };
        let Some(seen) = self.runs.get(run).filter(|seen| seen.asked.is_none()) else { return Ok(()) };
        let spec = self.plan.process(seen.instance.prc);
        let Some(probe) = spec.probe(*kind) else { return Ok(()) };
        let (good, bad, _) = seen.answers.get(kind).copied().unwrap_or_default();
        match kind {
            ProbeKind::Ready => {
                let has_started_up = spec.startup.as_ref().is_none_or(|startup| {
                    seen.answers.get(&ProbeKind::Startup).is_some_and(|(good, ..)| *good >= startup.successes)
                });
                let is_late = good >= enough(probe.successes, probe) && has_started_up && !seen.is_ready;
                ensure(!is_late, || format!("{good} good answers, and it is not ready"))?;
                let is_not = bad >= probe.failures && seen.is_ready && !matches!(probe.check, Check::Log(_));
                ensure(!is_not, || format!("{bad} bad answers, and it is ready"))
            }
            ProbeKind::Startup | ProbeKind::Liveness | ProbeKind::Progress => {
                ensure(bad < probe.failures, || format!("{bad} bad answers, and nothing is done about it"))
            }
        }
    }

    /// Whatever had a time limit has kept it, or is being stopped.
    pub fn look_at_limits(&self, now: Now) -> Verdict {
        for run in self.newest.values() {
            let seen = &self.runs[run];
            // Graces are told in whole milliseconds.
            let is_over = seen.kill_from.is_some_and(|from| from + Duration::from_millis(1) < now.mono);
            let is_left = seen.stage == Stage::Running && is_over && !seen.was_killed;
            ensure(!is_left, || format!("its grace is over, and it is not killed: {seen:?}"))?;
            let Some(since) = seen.since.filter(|_| seen.stage == Stage::Running && seen.asked.is_none()) else {
                continue;
            };
            let spec = self.plan.process(seen.instance.prc);
            let is_past = |limit: Option<Duration>| limit.is_some_and(|limit| since + limit <= now.mono);
            ensure(!is_past(spec.run_timeout), || format!("it runs for too long: {seen:?}"))?;
            let must_be_ready = spec.declares_readiness() && !seen.was_ready && !seen.is_extended;
            ensure(!(must_be_ready && is_past(Some(spec.ready_timeout))), || format!("it is not ready: {seen:?}"))?;
            let every = seen.own_watchdog.or(spec.watchdog).filter(|every| !every.is_zero());
            let is_silent = seen.fed.zip(every).is_some_and(|(fed, every)| fed + every <= now.mono);
            ensure(!is_silent, || format!("its watchdog is silent: {seen:?}"))?;
        }
        Ok(())
    }
}

/// Of a log one answer is enough.
fn enough(successes: u32, probe: &Probe) -> u32 {
    if matches!(probe.check, Check::Log(_)) { 1 } else { successes }
}

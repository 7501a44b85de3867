//! How a live run is watched: its probes, its watchdog and what it says of itself; when it is ready, when it no longer
//! is, and when it is not alive.

use std::time::Duration;

use copo_proto::v1::EventKind;

use super::action::Action;
use super::live::{Phase, Run, ask_to_stop, asking};
use super::notice::Notice;
use super::probe::{Answer, Level, ProbeKind, Prober, Turn};
use super::step::Step;
use crate::plan::{Check, Readiness};

/// What is known of a run by watching it.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Watch {
    probers: Vec<(ProbeKind, Prober)>,
    has_started_up: bool,
    has_been_ready: bool,
    /// Why it is not ready any more.
    pub lost: Option<String>,
    /// What it says of itself.
    pub status: Option<String>,
    /// Not alive if it has not said so by then.
    watchdog_at: Option<Duration>,
    /// The time between two signs of life, where it chose another one than the plan.
    own_watchdog: Option<Duration>,
    /// Until when it may take to be ready, where it asked for more time.
    pub ready_until: Option<Duration>,
}

impl Watch {
    /// When the next question is due, or an answer overdue.
    pub fn deadline(&self) -> Option<Duration> {
        let probers = self.probers.iter().filter_map(|(_, prober)| prober.deadline());
        probers.chain(self.watchdog_at).min()
    }

    /// Why the run is not ready, as far as that is known.
    pub fn why_not_ready(&self) -> Option<&str> {
        let failure = |kind: ProbeKind| self.probers.iter().find(|(k, _)| *k == kind).and_then(|(_, p)| p.failure());
        self.lost.as_deref().or_else(|| failure(ProbeKind::Startup)).or_else(|| failure(ProbeKind::Ready))
    }

    /// Nothing is asked and nothing expected any more: it is on its way out.
    pub fn end(&mut self) {
        self.probers.clear();
        self.watchdog_at = None;
    }

    fn prober(&mut self, kind: ProbeKind) -> Option<&mut Prober> {
        self.probers.iter_mut().find(|(k, _)| *k == kind).map(|(_, prober)| prober)
    }
}

/// Its program runs: it is asked from here on.
pub(super) fn begin(step: &mut Step<'_>, run: &mut Run) {
    run.phase = Phase::Starting;
    // A line may come at any time, and only once.
    if let Readiness::Probe(probe) = &step.spec.ready
        && matches!(probe.check, Check::Log(_))
    {
        watch(step, run, ProbeKind::Ready);
    }
    if step.spec.startup.is_some() {
        watch(step, run, ProbeKind::Startup);
    } else {
        started_up(step, run);
    }
}

fn watch(step: &Step<'_>, run: &mut Run, kind: ProbeKind) {
    if let Some(probe) = step.spec.probe(kind)
        && run.watch.prober(kind).is_none()
    {
        run.watch.probers.push((kind, Prober::begin(probe, step.now.mono)));
    }
}

fn started_up(step: &mut Step<'_>, run: &mut Run) {
    run.watch.has_started_up = true;
    watch(step, run, ProbeKind::Ready);
    if run.said_ready {
        be_ready(step, run);
    } else if step.spec.ready == Readiness::Started {
        // Without a declared readiness there is nothing to tell.
        if step.spec.startup.is_some() {
            return be_ready(step, run);
        }
        run.phase = Phase::Running;
        has_been_ready(step, run);
    }
}

/// The run says that it is ready. Where no readiness is declared this is news to readers of the reports alone; where it is
/// probed, what counts is what it answers.
pub(super) fn says_ready(step: &mut Step<'_>, run: &mut Run) {
    let is_asked = matches!(step.spec.ready, Readiness::Probe(_));
    if is_asked || run.said_ready || run.is_leaving() {
        return;
    }
    run.said_ready = true;
    match run.phase {
        Phase::Starting if run.watch.has_started_up => be_ready(step, run),
        Phase::Running => step.report(EventKind::Ready, Some(run), None),
        Phase::Spawning | Phase::Starting | Phase::Stopping | Phase::Draining | Phase::Reaping => {}
    }
}

fn be_ready(step: &mut Step<'_>, run: &mut Run) {
    run.said_ready = true;
    run.phase = Phase::Running;
    run.watch.lost = None;
    step.report(EventKind::Ready, Some(run), None);
    has_been_ready(step, run);
}

/// From the first time it is ready it must stay alive.
fn has_been_ready(step: &Step<'_>, run: &mut Run) {
    if std::mem::replace(&mut run.watch.has_been_ready, true) {
        return;
    }
    watch(step, run, ProbeKind::Liveness);
    watch(step, run, ProbeKind::Progress);
    feed(step, run);
}

/// It gave a sign of life.
fn feed(step: &Step<'_>, run: &mut Run) {
    let every = run.watch.own_watchdog.or(step.spec.watchdog).filter(|every| !every.is_zero());
    run.watch.watchdog_at = every.map(|every| step.now.mono.saturating_add(every));
}

/// A time of [`Watch::deadline`] has come, or that of its readiness.
pub(super) fn due(step: &mut Step<'_>, run: &mut Run) {
    let now = step.now.mono;
    if run.phase == Phase::Starting && ready_deadline(step.spec.ready_timeout, run).is_some_and(|at| at <= now) {
        return not_ready(step, run);
    }
    if run.watch.watchdog_at.is_some_and(|at| at <= now) {
        let every = run.watch.own_watchdog.or(step.spec.watchdog).unwrap_or_default();
        return not_alive(step, run, format!("its watchdog: no sign of life for {every:?}"));
    }
    let kinds: Vec<ProbeKind> = run.watch.probers.iter().map(|(kind, _)| *kind).collect();
    for kind in kinds {
        let (Some(probe), Some(prober)) = (step.spec.probe(kind), run.watch.prober(kind)) else { continue };
        match prober.turn(probe, now) {
            Turn::None | Turn::Answered(None) => {}
            Turn::Ask => {
                let (check, timeout) = (probe.check.clone(), probe.timeout);
                step.act(Action::Probe { run: run.id, instance: step.instance, probe: kind, check, timeout });
            }
            Turn::Answered(Some(level)) => tipped(step, run, kind, level),
        }
    }
}

/// When a run that is not ready yet has failed.
pub(super) fn ready_deadline(timeout: Duration, run: &Run) -> Option<Duration> {
    let planned = run.since.map(|since| since.saturating_add(timeout));
    planned.max(run.watch.ready_until)
}

/// An answer has come.
pub(super) fn probed(step: &mut Step<'_>, run: &mut Run, kind: ProbeKind, answer: Answer) {
    let (Some(probe), Some(prober)) = (step.spec.probe(kind), run.watch.prober(kind)) else { return };
    if let Some(level) = prober.answered(probe, step.now.mono, answer) {
        tipped(step, run, kind, level);
    }
}

fn tipped(step: &mut Step<'_>, run: &mut Run, kind: ProbeKind, level: Level) {
    match (kind, level) {
        (ProbeKind::Startup, Level::Good) => {
            run.watch.probers.retain(|(kind, _)| *kind != ProbeKind::Startup);
            started_up(step, run);
        }
        (ProbeKind::Ready, Level::Good) if run.watch.has_started_up => be_ready(step, run),
        (ProbeKind::Ready, Level::Good) => run.said_ready = true,
        (ProbeKind::Ready, Level::Bad) if run.phase == Phase::Running => {
            let why = failed(step, run, kind);
            step.report(EventKind::NotReady, Some(run), Some(why.clone()));
            run.watch.lost = Some(why);
        }
        // It is not ready yet: that takes its time, and `ready_timeout` limits it.
        (ProbeKind::Ready, Level::Bad) | (ProbeKind::Liveness | ProbeKind::Progress, Level::Good) => {}
        (ProbeKind::Startup | ProbeKind::Liveness | ProbeKind::Progress, Level::Bad) => {
            let why = failed(step, run, kind);
            not_alive(step, run, why);
        }
    }
}

/// "the liveness probe failed 3 times: why".
fn failed(step: &Step<'_>, run: &mut Run, kind: ProbeKind) -> String {
    let times = step.spec.probe(kind).map_or(1, |probe| probe.failures);
    let why = run.watch.prober(kind).and_then(|prober| prober.failure().map(str::to_owned)).unwrap_or_default();
    match (kind, times) {
        (ProbeKind::Progress, _) => {
            let for_so_long = step.spec.probe(kind).map_or(Duration::ZERO, |probe| probe.interval * probe.failures);
            format!("it has read nothing of what it follows for {for_so_long:?}, and there is something to read")
        }
        (ProbeKind::Startup | ProbeKind::Ready | ProbeKind::Liveness, 1) => {
            format!("the {} probe failed: {why}", kind.name())
        }
        (ProbeKind::Startup | ProbeKind::Ready | ProbeKind::Liveness, _) => {
            format!("the {} probe failed {times} times: {why}", kind.name())
        }
    }
}

/// The run has said something.
pub(super) fn notified(step: &mut Step<'_>, run: &mut Run, notice: Notice) {
    if let Some(pid) = notice.main_pid {
        run.pid = Some(pid);
    }
    if let Some(status) = notice.status {
        run.watch.status = Some(status).filter(|status| !status.is_empty());
    } else if let Some(errno) = notice.errno {
        run.watch.status = Some(format!("error number {errno}"));
    }
    if let Some(extension) = notice.extend_timeout {
        let until = step.now.mono.saturating_add(extension);
        match run.phase {
            Phase::Starting => run.watch.ready_until = Some(until),
            Phase::Stopping => run.kill_at = run.kill_at.map(|at| at.max(until)),
            Phase::Spawning | Phase::Running | Phase::Draining | Phase::Reaping => {}
        }
    }
    if run.is_leaving() {
        return;
    }
    if let Some(every) = notice.watchdog {
        run.watch.own_watchdog = Some(every);
    }
    if notice.ready {
        says_ready(step, run);
    }
    if run.watch.has_been_ready && (notice.alive || notice.watchdog.is_some()) {
        feed(step, run);
    }
    if notice.not_alive {
        not_alive(step, run, "its watchdog: it says that it is not alive".to_owned());
    } else if notice.stopping {
        stops_by_itself(step, run);
    }
}

/// It ends of its own will: its grace runs, and the restart policy decides what follows.
fn stops_by_itself(step: &mut Step<'_>, run: &mut Run) {
    if !run.has_main_process() {
        return;
    }
    let why = Some("it says that it is stopping".to_owned());
    // A signal might cut it short: it comes only when half of the grace is over. Its connections hear that it is stopping.
    run.watches_stop = true;
    ask_to_stop(step, run, asking(step.spec), why);
}

/// Not ready in time is a failure, and half-ready is no state to leave a run in: it is stopped, and the policy decides.
fn not_ready(step: &mut Step<'_>, run: &mut Run) {
    let because = run.watch.why_not_ready().map(|why| format!(": {why}")).unwrap_or_default();
    let reason = format!("not ready within {:?}{because}", step.spec.ready_timeout);
    step.report(EventKind::NotReady, Some(run), Some(reason.clone()));
    run.fault = Some(reason);
    ask_to_stop(step, run, asking(step.spec), None);
}

/// It is stopped, and the policy decides.
fn not_alive(step: &mut Step<'_>, run: &mut Run, why: String) {
    run.fault = Some(why.clone());
    ask_to_stop(step, run, asking(step.spec), Some(why));
}

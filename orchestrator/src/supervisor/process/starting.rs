//! What an instance does on the way up: spawn, take note of it, and of its end.

use super::*;

impl Slot {
    pub(super) fn spawn(&mut self, step: &mut Step<'_>, order: Order, id: RunId) -> State {
        let spawn =
            Spawn { run: id, instance: step.instance, args: order.args.clone(), scheduled_time: order.scheduled_time };
        let run = Box::new(Run {
            id,
            phase: Phase::Spawning,
            pid: None,
            outcome: None,
            next: Next::Policy,
            order,
            since: None,
            said_ready: false,
            watches_stop: false,
            stop_later: None,
            signal_at: None,
            kill_at: None,
            fault: None,
            ended_unseen: false,
            watch: Watch::default(),
            made_with: None,
        });
        self.started_at = Some(step.now.wall);
        step.report(EventKind::Starting, Some(&run), None);
        step.act(Action::Spawn(spawn));
        State::Live(run)
    }

    pub(super) fn spawned(&mut self, step: &mut Step<'_>, run: &mut Run, pid: u32) {
        run.pid = Some(pid);
        run.since = Some(step.now.mono);
        step.report(EventKind::Started, Some(run), None);
        if let Some(ask) = run.stop_later {
            return ask_to_stop(step, run, ask, None);
        }
        watch::begin(step, run);
        step.note(Note::Spawned(step.instance));
    }

    pub(super) fn spawn_failed(&mut self, step: &mut Step<'_>, mut run: Run, reason: String, is_final: bool) -> State {
        step.report(EventKind::SpawnFailed, Some(&run), Some(reason.clone()));
        if matches!(run.next, Next::Policy) {
            step.note(Note::SpawnFailed(step.instance, reason.clone()));
        }
        self.last_outcome = None;
        run.fault = Some(reason);
        self.over(step, run, !is_final)
    }

    pub(super) fn exited(&mut self, step: &mut Step<'_>, run: &mut Run, outcome: Outcome) {
        let uptime = run.since.map_or(Duration::ZERO, |since| step.now.mono.saturating_sub(since));
        if uptime >= step.spec.backoff.reset {
            self.streak = 0;
        }
        run.phase = Phase::Draining;
        run.watch.end();
        run.outcome = Some(outcome);
        self.last_outcome = Some(outcome);
        step.act(Action::Drain { run: run.id });
    }

    /// A person starts what runs: nothing to do, unless it is on its way out.
    pub(super) fn start_again(&mut self, step: &mut Step<'_>, run: &mut Run, order: Order) {
        let is_leaving = matches!(run.phase, Phase::Draining | Phase::Reaping);
        match run.next {
            Next::Policy if !is_leaving => step.drop_order(order, "it runs already"),
            Next::Start(_) | Next::Again => step.drop_order(order, "a run follows already"),
            Next::Policy | Next::Rest | Next::Idle => run.next = Next::Start(order),
        }
    }

    pub(super) fn queue(&mut self, step: &mut Step<'_>, order: Order) {
        if let Some(older) = self.queued.replace(order) {
            step.drop_order(older, "a later one took its place");
        }
    }

    /// Changes what follows the run.
    pub(super) fn follow(&mut self, step: &mut Step<'_>, run: &mut Run, next: Next) {
        if matches!(next, Next::Rest) {
            self.armed = false;
            if let Some(order) = self.queued.take() {
                step.drop_order(order, "it was stopped");
            }
        }
        if let Next::Start(order) = mem::replace(&mut run.next, next) {
            step.drop_order(order, "another command took its place");
        }
    }
}

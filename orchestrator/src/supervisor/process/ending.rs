//! What follows the end of a run: a restart, a finish, or rest.

use super::*;

impl Slot {
    /// Nothing of the run is left.
    pub(super) fn over(&mut self, step: &mut Step<'_>, mut run: Run, may_restart: bool) -> State {
        step.note(Note::Gone(step.instance));
        step.note(Note::Ended(step.instance));
        match mem::replace(&mut run.next, Next::Policy) {
            Next::Policy => self.by_policy(step, run, may_restart),
            Next::Again => {
                let order = mem::take(&mut run.order);
                self.follow_up(step, order)
            }
            Next::Rest => {
                settle_order(step, &run, false, "it was stopped".to_owned());
                step.report(EventKind::Stopped, Some(&run), None);
                self.stop(step)
            }
            Next::Idle => {
                settle_order(step, &run, false, "it was restarted".to_owned());
                self.come_to_rest(step, State::Idle)
            }
            Next::Start(order) => {
                settle_order(step, &run, false, "another run took its place".to_owned());
                self.begin_anew();
                self.wait(step, order)
            }
        }
    }

    pub(super) fn by_policy(&mut self, step: &mut Step<'_>, run: Run, may_restart: bool) -> State {
        let succeeded = run.fault.is_none()
            && matches!(run.outcome, Some(Outcome::Code(code)) if step.spec.success_exit_codes.contains(&code));
        let why = run.fault.clone().or(run.outcome.map(report::in_words)).unwrap_or_default();
        let restarts = may_restart
            && match step.spec.restart {
                RestartPolicy::No => false,
                RestartPolicy::OnFailure => !succeeded,
                RestartPolicy::Always => true,
            };
        if !restarts {
            return self.finish(step, run, succeeded, why);
        }
        let Some(limit) = step.spec.restart_limit else {
            return self.restart(step, run, &why, backoff::delay(&step.spec.backoff, self.streak));
        };
        if !self.recent.is_too_many(&limit, step.now.mono) {
            return self.restart(step, run, &why, backoff::delay(&step.spec.backoff, self.streak));
        }
        let times = if limit.restarts == 1 { "restart" } else { "restarts" };
        let why = format!("given up after {} {times} within {:?}: {why}", limit.restarts, limit.window);
        match limit.then {
            LimitReached::KeepTrying => self.restart(step, run, &why, step.spec.backoff.max),
            LimitReached::GiveUp => self.finish(step, run, false, why),
            LimitReached::Shutdown => {
                let rest = self.finish(step, run, false, why.clone());
                step.note(Note::EndsAll(step.instance, Verdict { exit_code: 1, why }));
                rest
            }
        }
    }

    /// An end that no restart follows.
    fn finish(&mut self, step: &mut Step<'_>, run: Run, succeeded: bool, why: String) -> State {
        settle_order(step, &run, succeeded, why.clone());
        let (finish, event, state, reason) = if succeeded {
            (Finish::Succeeded, EventKind::Finished, State::Finished, None)
        } else {
            (Finish::Failed, EventKind::Failed, State::Failed, Some(why.clone()))
        };
        step.report(event, Some(&run), reason.clone());
        self.last_finish = Some(finish);
        self.failure = reason;
        step.note(Note::Finished(step.instance, finish));
        if step.spec.significant {
            let exit_code = report::as_exit_code(run.outcome, succeeded);
            step.note(Note::EndsAll(step.instance, Verdict { exit_code, why }));
        }
        self.come_to_rest(step, state)
    }

    fn restart(&mut self, step: &mut Step<'_>, mut run: Run, why: &str, delay: Duration) -> State {
        let delay = backoff::jittered(&step.spec.backoff, delay, run.id.chance());
        self.streak = self.streak.saturating_add(1);
        let order = mem::take(&mut run.order);
        if delay.is_zero() {
            return self.follow_up(step, order);
        }
        step.report(EventKind::Backoff, Some(&run), Some(format!("{why}; the next run starts in {delay:?}")));
        State::Backoff { until: step.now.mono.saturating_add(delay), order }
    }

    /// The run that policy wants after the one that ended.
    pub(super) fn follow_up(&mut self, step: &mut Step<'_>, order: Order) -> State {
        self.restarts = self.restarts.saturating_add(1);
        self.wait(step, order)
    }

    /// Its triggers count no more, nor what they have queued.
    pub(super) fn disarm(&mut self, step: &mut Step<'_>) {
        self.armed = false;
        if let Some(order) = self.queued.take() {
            step.drop_order(order, "it was stopped");
        }
    }

    pub(super) fn stop(&mut self, step: &mut Step<'_>) -> State {
        self.disarm(step);
        self.come_to_rest(step, State::Stopped)
    }

    pub(super) fn come_to_rest(&self, step: &mut Step<'_>, rest: State) -> State {
        step.note(Note::Rested(step.instance));
        rest
    }
}

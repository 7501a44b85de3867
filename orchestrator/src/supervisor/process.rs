//! One instance of a process: the table of every state and every input. It knows nothing of other instances.
//!
//! ```text
//!              ┌───────────────── at rest: Idle, Stopped, Finished, Failed ◀───────────────────────┐
//!              │ Start                                                                             │
//!              ▼                                                                                   │
//!           Waiting ◀──────────────── Due ────────────── Backoff ◀──────── a restart, later ───────┤
//!              │ Go (what it depends on holds)                                                     │
//!              ▼                                                                 a restart or      │
//!    ┌─── Live ───────────────────────────────────────────────────────────┐      another start,    │
//!    │  Spawning ──Spawned──▶ Starting ──Ready──▶ Running                 │      now: Waiting      │
//!    │     │                      │ Due, Stop        │ Stop               │           ▲            │
//!    │     │                      ▼                  ▼                    │           │            │
//!    │     │                      └──▶ Stopping ◀────┘                    │           │            │
//!    │     └────────────┬───────────────┴ Exited (from any of the four)   │           │            │
//!    │                  ▼                                                 │           │            │
//!    │               Draining ──Drained──▶ Reaping ──GroupGone────────────┼──▶ over ──┴────────────┘
//!    └─────────────── SpawnFailed ────────────────────────────────────────┘      (see `Next`)
//! ```
//!
//! An instance is Live from the decision to spawn until nothing of the run's process group is left; there is one Run at
//! most, and [`super::Orchestrator`] passes on the events of that one only.

use std::{mem, time::Duration};

use copo_proto::v1::{self, EventKind};

use super::action::{Action, Spawn};
use super::backoff::{self, Recent};
use super::event::Outcome;
use super::live::{Next, Phase, Run, ask_to_stop, harder, hurry, lose, press, settle_order};
use super::report;
use super::run::RunId;
use super::step::{Finish, Input, Note, Order, Step, Verdict};
use super::watch::{self, Watch};
use crate::plan::{LimitReached, ProcessSpec, RestartPolicy};

mod due;
mod ending;
mod starting;
mod view;

/// What an instance is doing.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) enum State {
    /// Not running; armed, unless it was not brought up.
    Idle,
    /// A run is wanted, and what it depends on does not hold yet.
    Waiting(Order),
    /// A run is under way.
    Live(Box<Run>),
    /// A run follows after a delay.
    Backoff {
        /// When, by the monotonic clock.
        until: Duration,
        /// Which.
        order: Order,
    },
    /// Stopped by a person.
    Stopped,
    /// The last run ended with success.
    Finished,
    /// The last run ended without success, and no restart follows.
    Failed,
}

/// One instance.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct Slot {
    pub state: State,
    /// Its triggers count.
    pub armed: bool,
    /// How it last finished.
    pub last_finish: Option<Finish>,
    /// Why it last failed.
    pub failure: Option<String>,
    /// Restarts by policy since it was last started otherwise.
    pub restarts: u32,
    /// When the present or last run started.
    pub started_at: Option<u64>,
    /// How the last run ended.
    pub last_outcome: Option<Outcome>,
    /// Restarts by policy since a run lasted `backoff.reset`.
    streak: u32,
    /// The restarts by policy that its limit counts.
    recent: Recent,
    /// Follows the present run.
    queued: Option<Order>,
}

impl Slot {
    /// Not brought up.
    pub fn new() -> Self {
        Self {
            state: State::Idle,
            armed: false,
            last_finish: None,
            failure: None,
            restarts: 0,
            started_at: None,
            last_outcome: None,
            streak: 0,
            recent: Recent::default(),
            queued: None,
        }
    }

    /// The monotonic clock has begun anew: what was counted by it counts no more.
    pub fn forget_clock(&mut self) {
        self.recent.clear();
    }

    /// An instance beyond the plan's, that the next firing needs.
    pub fn extra(armed: bool) -> Self {
        Self { armed, ..Self::new() }
    }

    /// The table.
    pub fn step(&mut self, step: &mut Step<'_>, input: Input) {
        let before = self.face();
        let noted = mem::take(&mut step.notes);
        self.state = match mem::replace(&mut self.state, State::Idle) {
            rest @ (State::Idle | State::Stopped | State::Finished | State::Failed) => self.at_rest(step, rest, input),
            State::Waiting(order) => self.waiting(step, order, input),
            State::Backoff { until, order } => self.backing_off(step, until, order, input),
            State::Live(run) => self.live(step, run, input),
        };
        let after = mem::replace(&mut step.notes, noted);
        if before != self.face() {
            step.note(Note::Changed(step.instance)); // First: who asks for a state must see it before the next one.
        }
        step.notes.extend(after);
    }

    fn at_rest(&mut self, step: &mut Step<'_>, rest: State, input: Input) -> State {
        match input {
            Input::Arm => {
                self.armed = true;
                if matches!(rest, State::Stopped) { State::Idle } else { rest }
            }
            Input::Start(order) | Input::Queue(order) => {
                self.begin_anew();
                self.wait(step, order)
            }
            Input::Stop(_, Next::Start(order)) => self.at_rest(step, rest, Input::Start(order)),
            Input::Stop(_, Next::Idle) => State::Idle,
            Input::Stop(_, Next::Rest) => {
                self.armed = false;
                if !matches!(rest, State::Stopped) {
                    step.report(EventKind::Stopped, None, None);
                }
                State::Stopped
            }
            Input::Disarm => {
                self.disarm(step);
                rest
            }
            Input::Stop(_, Next::Policy | Next::Again)
            | Input::Lost(..)
            | Input::Go(_)
            | Input::Spawned(_)
            | Input::SpawnFailed { .. }
            | Input::Ready
            | Input::Probed(..)
            | Input::Notified(_)
            | Input::StopWatched
            | Input::Exited(_)
            | Input::Drained
            | Input::GroupGone
            | Input::Due => rest,
        }
    }

    fn waiting(&mut self, step: &mut Step<'_>, order: Order, input: Input) -> State {
        match input {
            Input::Arm => {
                self.armed = true;
                State::Waiting(order)
            }
            Input::Start(another) => {
                step.drop_order(another, "a run waits already");
                State::Waiting(order)
            }
            Input::Queue(another) => {
                self.queue(step, another);
                State::Waiting(order)
            }
            Input::Go(id) => self.spawn(step, order, id),
            Input::Stop(_, next) => self.call_off(step, order, next),
            Input::Disarm => self.call_off(step, order, Next::Rest),
            Input::Lost(..)
            | Input::Spawned(_)
            | Input::SpawnFailed { .. }
            | Input::Ready
            | Input::Probed(..)
            | Input::Notified(_)
            | Input::StopWatched
            | Input::Exited(_)
            | Input::Drained
            | Input::GroupGone
            | Input::Due => State::Waiting(order),
        }
    }

    fn backing_off(&mut self, step: &mut Step<'_>, until: Duration, order: Order, input: Input) -> State {
        match input {
            Input::Arm => {
                self.armed = true;
                State::Backoff { until, order }
            }
            Input::Start(another) => {
                // Somebody wants it now: the run that was to follow follows at once, and the delays begin anew.
                step.drop_order(another, "a run follows already");
                self.begin_anew();
                self.wait(step, order)
            }
            Input::Queue(another) => {
                self.queue(step, another);
                State::Backoff { until, order }
            }
            Input::Due if step.now.mono >= until => self.follow_up(step, order),
            Input::Stop(_, next) => self.call_off(step, order, next),
            Input::Disarm => self.call_off(step, order, Next::Rest),
            Input::Go(_)
            | Input::Lost(..)
            | Input::Spawned(_)
            | Input::SpawnFailed { .. }
            | Input::Ready
            | Input::Probed(..)
            | Input::Notified(_)
            | Input::StopWatched
            | Input::Exited(_)
            | Input::Drained
            | Input::GroupGone
            | Input::Due => State::Backoff { until, order },
        }
    }

    fn live(&mut self, step: &mut Step<'_>, mut run: Box<Run>, input: Input) -> State {
        match (run.phase, input) {
            (_, Input::Arm) => {
                self.armed = true;
                if matches!(run.next, Next::Rest) {
                    run.next = Next::Idle;
                }
            }
            (_, Input::StopWatched) => run.watches_stop = true,
            // A run that is stopped has nothing behind it: what is wanted after it simply follows.
            (_, Input::Queue(order)) if matches!(run.next, Next::Rest | Next::Idle) => run.next = Next::Start(order),
            (_, Input::Queue(order)) => self.queue(step, order),
            (_, Input::Disarm) => self.follow(step, &mut run, Next::Rest),
            (_, Input::Start(order)) => self.start_again(step, &mut run, order),

            (Phase::Spawning, Input::Spawned(pid)) => self.spawned(step, &mut run, pid),
            (Phase::Spawning, Input::SpawnFailed { reason, is_final }) => {
                return self.spawn_failed(step, *run, reason, is_final);
            }
            (_, Input::Ready) => watch::says_ready(step, &mut run),
            (Phase::Starting | Phase::Running, Input::Probed(kind, answer)) => {
                watch::probed(step, &mut run, kind, answer);
            }
            (_, Input::Notified(notice)) => watch::notified(step, &mut run, notice),

            (Phase::Starting | Phase::Running, Input::Due) => due::overrun(step, &mut run),
            (Phase::Stopping, Input::Due) => press(step, &mut run),

            (phase, Input::Stop(ask, next)) => {
                self.follow(step, &mut run, next);
                match phase {
                    Phase::Spawning => run.stop_later = Some(harder(run.stop_later, ask)),
                    Phase::Starting | Phase::Running => ask_to_stop(step, &mut run, ask, None),
                    Phase::Stopping => hurry(step, &mut run, ask),
                    Phase::Draining | Phase::Reaping => {} // Its main process has ended, and its group is being killed.
                }
            }
            (Phase::Spawning | Phase::Starting | Phase::Running, Input::Lost(why, next)) if !run.is_leaving() => {
                self.follow(step, &mut run, next);
                lose(step, &mut run, why);
            }

            (Phase::Spawning | Phase::Starting | Phase::Running | Phase::Stopping, Input::Exited(outcome)) => {
                self.exited(step, &mut run, outcome);
            }
            (Phase::Draining, Input::Drained) => {
                run.phase = Phase::Reaping;
                step.act(Action::Fence { run: run.id });
                step.act(Action::Reap { run: run.id });
            }
            (Phase::Reaping, Input::GroupGone) => {
                step.report(EventKind::Exited, Some(&run), run.absence());
                return self.over(step, *run, true);
            }

            // What comes twice, or too late to matter.
            (_, Input::Go(_) | Input::Lost(..))
            | (Phase::Spawning | Phase::Draining | Phase::Reaping, Input::Due)
            | (Phase::Spawning | Phase::Stopping | Phase::Draining | Phase::Reaping, Input::Probed(..))
            | (
                Phase::Starting | Phase::Running | Phase::Stopping | Phase::Draining | Phase::Reaping,
                Input::Spawned(_) | Input::SpawnFailed { .. },
            )
            | (Phase::Draining | Phase::Reaping, Input::Exited(_))
            | (Phase::Spawning | Phase::Starting | Phase::Running | Phase::Stopping | Phase::Reaping, Input::Drained)
            | (
                Phase::Spawning | Phase::Starting | Phase::Running | Phase::Stopping | Phase::Draining,
                Input::GroupGone,
            ) => {}
        }
        State::Live(run)
    }

    /// A run is wanted; whether it may start is for others to say.
    fn wait(&self, step: &mut Step<'_>, order: Order) -> State {
        step.note(Note::Wants(step.instance));
        State::Waiting(order)
    }

    /// It is started otherwise than by policy: what was counted counts no more.
    fn begin_anew(&mut self) {
        self.restarts = 0;
        self.streak = 0;
        self.recent.clear();
    }

    /// A run that was about to start does not.
    fn call_off(&mut self, step: &mut Step<'_>, order: Order, next: Next) -> State {
        step.note(Note::Gone(step.instance));
        match next {
            Next::Policy | Next::Again => State::Waiting(order),
            Next::Start(another) => {
                step.drop_order(order, "another run took its place");
                self.begin_anew();
                self.wait(step, another)
            }
            Next::Idle => {
                step.drop_order(order, "it was restarted");
                self.come_to_rest(step, State::Idle)
            }
            Next::Rest => {
                step.drop_order(order, "it was stopped");
                step.report(EventKind::Stopped, None, None);
                self.stop(step)
            }
        }
    }
}

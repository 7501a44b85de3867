//! What goes into a step of an instance's table ([`super::process`]), and what others must know of it.

use copo_proto::v1::EventKind;

use super::action::Action;
use super::event::{Now, Outcome, RequestId};
use super::live::{Ask, Next, Run};
use super::notice::Notice;
use super::probe::{Answer, ProbeKind};
use super::report;
use super::run::{Instance, RunId};
use crate::plan::{ProcessSpec, Trigger};

/// What a run is to be; it stays the same over restarts by policy.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Order {
    /// Appended to the configured arguments.
    pub args: Vec<String>,
    /// Of a cron run.
    pub scheduled_time: Option<u64>,
    /// Who waits for its finish: nobody any more, when the orchestrator is another one.
    #[serde(skip)]
    pub request: Option<RequestId>,
    /// `copo trigger`, whatever the trigger type.
    pub by_hand: bool,
}

impl Order {
    /// Why the run starts, as a trigger type.
    pub fn trigger(&self, spec: &ProcessSpec) -> &'static str {
        if self.by_hand { Trigger::Manual.type_name() } else { spec.trigger.type_name() }
    }
}

/// What can happen to an instance.
#[derive(Debug)]
pub(super) enum Input {
    /// Its triggers count again.
    Arm,
    /// A run is wanted, unless one is under way that nobody stops.
    Start(Order),
    /// A run is wanted after the present one.
    Queue(Order),
    /// What it depends on holds: the waiting run starts under this id.
    Go(RunId),
    /// End what is under way, then do this.
    Stop(Ask, Next),
    /// What it depends on has gone (the reason says so): end a run that nobody has asked to end, then do this.
    Lost(String, Next),
    /// Start nothing any more; what runs goes on until it is stopped.
    Disarm,
    Spawned(u32),
    SpawnFailed {
        reason: String,
        is_final: bool,
    },
    Ready,
    Probed(ProbeKind, Answer),
    Notified(Notice),
    StopWatched,
    Exited(Outcome),
    Drained,
    GroupGone,
    /// The time of [`Slot::deadline`] has come.
    Due,
}

/// What others must know of a step.
#[derive(Debug)]
pub(super) enum Note {
    /// Its state, readiness or last finish is another one.
    Changed(Instance),
    /// A run waits for what it depends on.
    Wants(Instance),
    /// Its program runs.
    Spawned(Instance),
    /// Its run could not be spawned.
    SpawnFailed(Instance, String),
    /// Nothing of it runs or is about to.
    Gone(Instance),
    /// A run of it is over, whatever follows.
    Ended(Instance),
    /// It has finished: an end no restart follows.
    Finished(Instance, Finish),
    /// The application is to end because of it.
    EndsAll(Instance, Verdict),
    /// It has come to rest.
    Rested(Instance),
    /// A run that someone waits for is over, or will never be.
    Over(RequestId, Box<Over>),
}

/// How it finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Finish {
    Succeeded,
    Failed,
}

/// How the application ends when no person asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Of the application.
    pub exit_code: u8,
    /// In words.
    pub why: String,
}

/// The end of what someone waits for.
#[derive(Debug)]
pub(super) struct Over {
    /// The run, if it came to one.
    pub run: Option<RunId>,
    /// How its main process ended, if it ran.
    pub outcome: Option<Outcome>,
    /// With success.
    pub succeeded: bool,
    /// Why not, in words.
    pub why: String,
}

/// What a step is taken with.
pub(super) struct Step<'a> {
    pub now: Now,
    pub spec: &'a ProcessSpec,
    pub instance: Instance,
    pub actions: &'a mut Vec<Action>,
    pub notes: Vec<Note>,
}

impl Step<'_> {
    /// To be reported.
    pub fn report(&mut self, event: EventKind, run: Option<&Run>, reason: Option<String>) {
        let facts = report::of_instance(event, self.spec, self.instance, run, reason);
        self.actions.push(Action::Report { facts });
    }

    /// To be done.
    pub fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// To be known by others.
    pub fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// An order comes to nothing.
    pub fn drop_order(&mut self, order: Order, why: &str) {
        if let Some(request) = order.request {
            let over = Over { run: None, outcome: None, succeeded: false, why: why.to_owned() };
            self.note(Note::Over(request, Box::new(over)));
        }
    }
}

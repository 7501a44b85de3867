//! The loop: wait for an event, ask the supervisor, do what it says. The only caller of [`Orchestrator::handle`].

use std::path::PathBuf;

use tokio::sync::mpsc::UnboundedReceiver;

use super::clock::Clock;
use super::deadline::Timer;
use super::perform::Performer;
use crate::supervisor::{Action, Event, Orchestrator};

/// Why the loop has ended.
pub(super) enum Turned {
    /// Everything is over; the exit code of the application.
    Over(u8),
    /// Another orchestrator is to go on: of this binary, or of the same.
    HandOver(Option<PathBuf>),
}

enum Next {
    Event(Event),
    HandOver(Option<PathBuf>),
}

/// What turns.
pub(super) struct Driver {
    pub(super) orc: Orchestrator,
    pub(super) events: UnboundedReceiver<Event>,
    pub(super) clock: Clock,
    pub(super) timer: Timer,
    pub(super) performer: Performer,
}

impl Driver {
    /// Turns until the supervisor says that everything is over, or another orchestrator is to go on.
    pub(super) async fn drive(&mut self) -> Turned {
        loop {
            match self.next_event().await {
                Next::Event(event) => {
                    if self.handle(event) {
                        return Turned::Over(self.orc.exit_code());
                    }
                }
                Next::HandOver(binary) => return self.hand_over(binary),
            }
        }
    }

    /// What was told until now is taken in, and written down.
    fn hand_over(&mut self, binary: Option<PathBuf>) -> Turned {
        while let Ok(event) = self.events.try_recv() {
            if self.handle(event) {
                return Turned::Over(self.orc.exit_code());
            }
        }
        Turned::HandOver(binary)
    }

    /// Decides and does; whether everything is over.
    fn handle(&mut self, event: Event) -> bool {
        let actions = self.orc.handle(self.clock.now(), event);
        self.save();
        if self.orc.is_going_down() {
            self.performer.set_stopping();
        }
        for action in actions {
            if action == Action::End {
                return true;
            }
            self.performer.perform(action);
        }
        self.timer.set(self.orc.next_deadline());
        false
    }

    /// Before anything is done about it, what was decided is written down for the orchestrator that follows a kill.
    fn save(&mut self) {
        let Some(changed) = self.orc.take_unsaved() else { return };
        let mut journal = self.performer.journal.borrow_mut();
        journal.note(changed);
        if journal.is_due() {
            journal.rewrite(self.orc.saved());
        }
    }

    async fn next_event(&mut self) -> Next {
        tokio::select! {
            // There is always a sender: the performer has one.
            Some(event) = self.events.recv() => Next::Event(event),
            () = self.timer.reached() => Next::Event(Event::DeadlineReached),
            binary = self.performer.hub.upgrade_requested() => Next::HandOver(Some(binary)),
            () = self.performer.kept.lost() => Next::HandOver(None),
        }
    }
}

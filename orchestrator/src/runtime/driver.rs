//! The loop: wait for an event, ask the supervisor, do what it says. The only caller of [`Orchestrator::handle`].

use tokio::sync::mpsc::UnboundedReceiver;

use super::clock::Clock;
use super::deadline::Timer;
use super::perform::Performer;
use crate::supervisor::{Action, Event, Orchestrator};

/// What turns.
pub(super) struct Driver {
    pub(super) orc: Orchestrator,
    pub(super) events: UnboundedReceiver<Event>,
    pub(super) clock: Clock,
    pub(super) timer: Timer,
    pub(super) performer: Performer,
}

impl Driver {
    /// Turns until the supervisor says that everything is over; answers the exit code of the application.
    pub(super) async fn drive(&mut self) -> u8 {
        while let Some(event) = self.next_event().await {
            let actions = self.orc.handle(self.clock.now(), event);
            self.save();
            if self.orc.is_going_down() {
                self.performer.set_stopping();
            }
            for action in actions {
                if action == Action::End {
                    return self.orc.exit_code();
                }
                self.performer.perform(action);
            }
            self.timer.set(self.orc.next_deadline());
        }
        self.orc.exit_code()
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

    async fn next_event(&mut self) -> Option<Event> {
        tokio::select! {
            event = self.events.recv() => event,
            () = self.timer.reached() => Some(Event::DeadlineReached),
        }
    }
}

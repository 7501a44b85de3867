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

    async fn next_event(&mut self) -> Option<Event> {
        tokio::select! {
            event = self.events.recv() => event,
            () = self.timer.reached() => Some(Event::DeadlineReached),
        }
    }
}

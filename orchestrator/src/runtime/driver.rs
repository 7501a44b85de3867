//! The loop: wait for an event, ask the supervisor, do what it says. The only caller of [`Orchestrator::handle`].

use tokio::sync::mpsc::UnboundedReceiver;

use super::clock::Clock;
use super::deadline::Timer;
use super::perform::Performer;
use crate::supervisor::{Action, Command, Event, Orchestrator, Reply};

/// What turns.
pub(super) struct Driver {
    pub(super) orc: Orchestrator,
    pub(super) events: UnboundedReceiver<Event>,
    pub(super) clock: Clock,
    pub(super) timer: Timer,
    pub(super) performer: Performer,
}

impl Driver {
    /// Turns until the supervisor says that everything is over.
    pub(super) async fn drive(&mut self) {
        while let Some(event) = self.next_event().await {
            let asks_to_end = is_end(&event);
            let actions = self.orc.handle(self.clock.now(), event);
            if asks_to_end && !actions.iter().any(is_refusal) {
                self.performer.set_stopping();
            }
            for action in actions {
                if action == Action::End {
                    return;
                }
                self.performer.perform(action);
            }
            self.timer.set(self.orc.next_deadline());
        }
    }

    async fn next_event(&mut self) -> Option<Event> {
        tokio::select! {
            event = self.events.recv() => event,
            () = self.timer.reached() => Some(Event::DeadlineReached),
        }
    }
}

fn is_end(event: &Event) -> bool {
    matches!(event, Event::Terminate | Event::Command { command: Command::Down { .. }, .. })
}

fn is_refusal(action: &Action) -> bool {
    matches!(action, Action::Reply { reply: Reply::Failed { .. }, .. })
}

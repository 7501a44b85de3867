//! The connections there are, and the requests they wait for.

use std::rc::Rc;

use copo_proto::v1::{self, ErrorCode};
use tracing::debug;

use super::{Hub, wall_clock};
use crate::server::identity::{Admitted, Speaker};
use crate::server::line::{Ending, Line};
use crate::server::{Limits, error};
use crate::supervisor::{Command, Event, RequestId};

/// A connection's place among those there may be at once; free again when dropped.
pub(in crate::server) struct Place(Rc<Hub>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get() - 1);
        self.0.gone.notify_waiters();
    }
}

impl Hub {
    /// What a connection may cost the others.
    pub(in crate::server) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A place for another connection, if there is one.
    pub(in crate::server) fn take_place(self: &Rc<Self>) -> Option<Place> {
        if self.connections.get() >= self.limits.connections {
            return None;
        }
        self.connections.set(self.connections.get() + 1);
        Some(Place(Rc::clone(self)))
    }

    /// Until the hub is closed.
    pub(in crate::server) async fn closed(&self) {
        let closed = self.closed.notified();
        if !self.is_closed.get() {
            closed.await;
        }
    }

    /// The run, ended or not, that a token belongs to.
    pub(in crate::server) fn run_of_token(&self, token: &str) -> Option<Rc<Admitted>> {
        self.identities.borrow().of_token(token)
    }

    /// Does, or did, a run run as this user?
    pub(in crate::server) fn has_user(&self, uid: u32) -> bool {
        self.identities.borrow().has_user(uid)
    }

    /// Registers an admitted connection. Another one with its client id is ended.
    pub(in crate::server) fn register(&self, speaker: Speaker, client: Option<[u8; 16]>) -> Rc<Line> {
        let mut lines = self.lines.borrow_mut();
        let line = Line::new(lines.next_id(), speaker, client);
        if let Some(old) = lines.add(&line) {
            old.end(Ending::because(
                ErrorCode::Replaced,
                "cannot go on: another connection took over this client's id",
            ));
        }
        if self.is_closed.get() {
            line.end(Ending::Quiet); // It was between its first byte and its admission when everything ended.
        }
        line
    }

    /// A connection has ended: nothing it asked for is waited for any more.
    pub(in crate::server) fn leave(&self, line: &Rc<Line>) {
        if let Some(client) = self.lines.borrow_mut().remove(line) {
            self.context.borrow_mut().leave(&client, wall_clock());
        }
        self.wait_for_space.borrow_mut().retain(|other| other.id != line.id);
        let mut requests = self.requests.borrow_mut();
        let mut gone: Vec<RequestId> =
            requests.iter().filter(|(_, (asker, _))| asker.id == line.id).map(|(request, _)| *request).collect();
        gone.sort_unstable();
        for request in gone {
            requests.remove(&request);
            self.tell(Event::RequestGone { request });
        }
    }

    /// Hands a request to the supervisor; it is answered by [`Hub::reply`].
    pub(in crate::server) fn command(&self, line: &Rc<Line>, id: u64, command: Command) -> Result<(), v1::Error> {
        if line.unanswered.get() >= self.limits.requests {
            let message =
                format!("cannot take the request: {} of this connection are unanswered", self.limits.requests);
            return Err(error(ErrorCode::WouldBlock, message));
        }
        line.unanswered.set(line.unanswered.get() + 1);
        let request = RequestId(self.next_request.get());
        self.next_request.set(request.0 + 1);
        self.requests.borrow_mut().insert(request, (Rc::clone(line), id));
        self.tell(Event::Command { request, by: line.speaker.requester(), command });
        Ok(())
    }

    /// Tells the supervisor what happened.
    pub(in crate::server) fn tell(&self, event: Event) {
        if self.events.send(event).is_err() {
            debug!("nobody handles events any more");
        }
    }

    /// The state of the orchestrator.
    pub(in crate::server) fn status(&self) -> v1::OrchestratorStatus {
        let about = self.about.clone();
        v1::OrchestratorStatus {
            version: about.version,
            pid: about.pid,
            application: about.application,
            config_path: about.config_path,
            started_at: about.started_at,
            stopping: self.is_stopping.get(),
            state_form: about.state_form,
        }
    }

    #[cfg(target_os = "linux")]
    /// This binary is to take the place of the orchestrator.
    pub(in crate::server) fn upgrade_to(&self, binary: std::path::PathBuf) {
        *self.upgrade.borrow_mut() = Some(binary);
        self.upgrade_asked.notify_one();
    }

    /// The context is to be emptied when everything is stopped.
    pub(in crate::server) fn purge_when_down(&self) {
        self.purges.set(true);
    }
}

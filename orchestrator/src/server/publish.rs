//! Numbered sends: all that one read brought are published as one batch, and answered by one acknowledgement.

use std::rc::Rc;

use copo_proto::send::Send as Sent;
use copo_proto::v1::{self, ErrorCode, server_message};

use super::hub::Hub;
use super::line::{Ending, Line};
use crate::context::{Body, Send};

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// All of it is dealt with.
    All,
    /// So many are dealt with. Readers leave no room for the others, which are to be published again when the line says that
    /// there may be room.
    Some(usize),
}

/// What a connection that sends remembers between two batches.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    /// The number that was refused since the run has ended: later ones are ignored until it is sent again.
    fenced: Option<u64>,
}

/// A send as the context takes it.
pub(super) fn of(sent: Sent<'_>) -> Send<'_> {
    match sent {
        Sent::Udd { number, key, udd_buff, expect_seq } => {
            Send { number, body: Body::Udd { key, data: udd_buff, expect_seq } }
        }
        Sent::Meta { number, report_buff } => Send { number, body: Body::Meta { data: report_buff } },
    }
}

impl Publisher {
    /// Publishes a batch and says what became of it.
    pub(super) fn publish(&mut self, hub: &Rc<Hub>, line: &Rc<Line>, sends: &[Send<'_>]) -> Result<Taken, Ending> {
        if sends.is_empty() {
            return Ok(Taken::All);
        }
        if line.client.is_none() {
            let message = "cannot take a send: the connection gave no client_id in its Hello";
            return Err(Ending::because(ErrorCode::Malformed, message));
        }
        let is_ignored = |send: &Send<'_>| self.fenced.is_some_and(|fenced| send.number > fenced);
        let ignored = sends.iter().position(|send| !is_ignored(send)).unwrap_or(sends.len());
        let Some(first) = sends.get(ignored) else { return Ok(Taken::All) };
        if line.speaker.is_fenced() {
            let message = format!("cannot take it: this run of {} has ended", line.speaker.sent_by());
            let failed = v1::SendFailed { number: first.number, code: ErrorCode::Fenced.into(), message };
            self.fenced = Some(first.number);
            line.say(server_message::Kind::SendFailed(failed));
            return Ok(Taken::All);
        }
        if line.is_waiting_for_room() {
            return Ok(Taken::Some(0));
        }
        let published = hub.publish(line, sends);
        if let Some(error) = published.refused {
            hub.store(); // What came before it is answered first.
            return Err(Ending::Because(error));
        }
        let Some(from) = published.blocked else { return Ok(Taken::All) };
        hub.wait_for_readers(line);
        Ok(Taken::Some(sends.iter().position(|send| send.number == from).unwrap_or(0)))
    }
}

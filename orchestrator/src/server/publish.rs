//! Numbered sends: all that one read brought are published as one batch, and answered by one acknowledgement.

use std::rc::Rc;

use bytes::Bytes;
use copo_proto::v1::{self, ErrorCode, server_message};

use super::hub::Hub;
use super::line::{Ending, Line};
use crate::context::{Answer, Body, Send};

/// The sends of one connection that are read and not yet published.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    sends: Vec<Pending>,
    /// The number that was refused since the run has ended: later ones are ignored until it is sent again.
    fenced: Option<u64>,
}

#[derive(Debug)]
struct Pending {
    number: u64,
    data: Bytes,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Udd { key: String, expect_seq: Option<u64> },
    Meta,
}

impl Pending {
    fn as_send(&self) -> Send<'_> {
        let data = &self.data;
        let body = match &self.kind {
            Kind::Udd { key, expect_seq } => Body::Udd { key, data, expect_seq: *expect_seq },
            Kind::Meta => Body::Meta { data },
        };
        Send { number: self.number, body }
    }

    fn is_report(&self) -> bool {
        matches!(self.kind, Kind::Meta)
    }
}

impl Publisher {
    /// Takes a record to the batch.
    pub(super) fn take_udd(&mut self, line: &Line, send: v1::UddSend) -> Result<(), Ending> {
        let v1::UddSend { number, key, udd_buff, expect_seq } = send;
        self.take(line, Pending { number, data: udd_buff, kind: Kind::Udd { key, expect_seq } })
    }

    /// Takes a report to the batch.
    pub(super) fn take_meta(&mut self, line: &Line, send: v1::MetaSend) -> Result<(), Ending> {
        let v1::MetaSend { number, report_buff } = send;
        self.take(line, Pending { number, data: report_buff, kind: Kind::Meta })
    }

    fn take(&mut self, line: &Line, pending: Pending) -> Result<(), Ending> {
        if line.client.is_none() {
            let message = "cannot take a send: the connection gave no client_id in its Hello";
            return Err(Ending::because(ErrorCode::Malformed, message));
        }
        match self.fenced {
            Some(fenced) if pending.number > fenced => return Ok(()),
            Some(_) | None => {}
        }
        self.sends.push(pending);
        Ok(())
    }

    /// Publishes the batch and says what became of it. False when readers leave no room for all of it: the rest stays,
    /// to be published when the line says that there may be room.
    pub(super) fn publish(&mut self, hub: &Rc<Hub>, line: &Rc<Line>) -> Result<bool, Ending> {
        let Some(first) = self.sends.first() else { return Ok(true) };
        if line.speaker.is_fenced() {
            let message = format!("cannot take it: this run of {} has ended", line.speaker.sent_by());
            let failed = v1::SendFailed { number: first.number, code: ErrorCode::Fenced.into(), message };
            self.fenced = Some(first.number);
            line.say(server_message::Kind::SendFailed(failed));
            self.sends.clear();
            return Ok(true);
        }
        if line.is_waiting_for_room() {
            return Ok(false);
        }
        let sends: Vec<Send<'_>> = self.sends.iter().map(Pending::as_send).collect();
        let published = hub.publish(line, &sends, self.sends.iter().any(Pending::is_report));
        for answer in published.answers {
            match answer {
                Answer::Ack(ack) => line.say(server_message::Kind::Ack(ack)),
                Answer::Failed(failed) => {
                    if failed.code() == ErrorCode::NoSpace {
                        hub.wait_for_space(line);
                    }
                    line.say(server_message::Kind::SendFailed(failed));
                }
            }
        }
        if let Some(error) = published.refused {
            return Err(Ending::Because(error));
        }
        if let Some(from) = published.blocked {
            self.sends.retain(|pending| pending.number >= from);
            hub.wait_for_readers(line);
            return Ok(false);
        }
        self.sends.clear();
        Ok(true)
    }

    /// Does it hold sends that readers leave no room for?
    pub(super) fn is_held(&self) -> bool {
        !self.sends.is_empty()
    }
}

//! What the frames in a subscription's inbox mean.

use std::ops::Range;

use bytes::Bytes;
use copo_proto::Message;
use copo_proto::record::RecordRef;
use copo_proto::v1::{ErrorCode, Gap, ServerMessage, gap, server_message, subscribe};

use super::Subscription;
use crate::error::{Error, Result};
use crate::inbox::Inbox;
use crate::item::ItemRef;

/// What was found in the inbox.
pub(super) enum Found {
    Record(Place),
    Other(ItemRef<'static>),
}

/// Where a record lies in the inbox.
pub(super) struct Place {
    pub(super) seq: u64,
    pub(super) sent_time: u64,
    pub(super) sent_by: Range<usize>,
    pub(super) key: Range<usize>,
    pub(super) udd_buff: Range<usize>,
}

impl Place {
    fn of(record: &RecordRef<'_>, inbox: &Inbox) -> Self {
        Self {
            seq: record.seq,
            sent_time: record.sent_time,
            sent_by: inbox.place_of(record.sent_by.as_bytes()),
            key: inbox.place_of(record.key.as_bytes()),
            udd_buff: inbox.place_of(record.udd_buff),
        }
    }
}

impl Subscription {
    /// What was read already. `Err`: the connection is of no more use.
    pub(super) fn buffered(&mut self) -> Result<Option<Found>> {
        let malformed =
            |why: String| Error::new(ErrorCode::Malformed, format!("cannot read from the orchestrator: {why}"));
        if self.line.is_none() {
            return Ok(None);
        }
        while let Some(place) = self.inbox.take().map_err(|why| malformed(why.to_string()))? {
            let message = self.inbox.bytes(place.clone());
            if let Some(record) = RecordRef::read(message).map_err(|why| malformed(why.to_string()))? {
                self.cursor = Some(record.seq + 1);
                return Ok(Some(Found::Record(Place::of(&record, &self.inbox))));
            }
            let message = ServerMessage::decode(message).map_err(|why| malformed(why.to_string()))?;
            if let Some(item) = message.kind.map(|kind| self.other(kind)).transpose()?.flatten() {
                return Ok(Some(Found::Other(item)));
            }
        }
        Ok(None)
    }

    /// What is said beside records.
    fn other(&mut self, kind: server_message::Kind) -> Result<Option<ItemRef<'static>>> {
        use server_message::Kind;
        match kind {
            Kind::Report(report) => {
                self.cursor = Some(report.seq + 1);
                Ok(Some(ItemRef::Report(Box::new(report))))
            }
            Kind::Gap(gap) => {
                self.passed_over(&gap);
                Ok(Some(ItemRef::Gap(gap)))
            }
            Kind::End(end) => Err(self.end(end.code)),
            Kind::StopRequested(_) => Err(self.end(ErrorCode::Stopping.into())),
            Kind::Error(error) => Err(self.refuse(Error::from_wire(error))),
            Kind::Record(_)
            | Kind::Ack(_)
            | Kind::SendFailed(_)
            | Kind::Resume(_)
            | Kind::Response(_)
            | Kind::Welcome(_) => Ok(None),
        }
    }

    fn passed_over(&mut self, gap: &Gap) {
        if !gap.log_id.is_empty() {
            self.log_id = gap.log_id.clone();
        }
        if gap.cause() == gap::Cause::LogReplaced {
            self.cursor = None;
            self.request.from = Some(subscribe::From::First(true));
            self.request.log_id = Bytes::new();
        } else {
            self.cursor = Some(self.cursor.unwrap_or_default().max(gap.last.saturating_add(1)));
        }
    }

    pub(super) fn end(&mut self, code: i32) -> Error {
        let error = match ErrorCode::try_from(code) {
            Ok(ErrorCode::Ok) => Error::new(ErrorCode::End, "the subscription has delivered all it was asked for"),
            Ok(ErrorCode::Stopping) => {
                Error::new(ErrorCode::Stopping, "the subscription ends: this run was asked to stop")
            }
            _ => Error::from_number(code, "the subscription was ended".into()),
        };
        self.over = Some(error.clone());
        error
    }

    /// Keeps what another connection would not change.
    pub(super) fn refuse(&mut self, error: Error) -> Error {
        let is_final = matches!(
            error.code(),
            ErrorCode::Unauthorized
                | ErrorCode::Unsupported
                | ErrorCode::Forbidden
                | ErrorCode::InvalidKey
                | ErrorCode::InvalidArgument
                | ErrorCode::Malformed
                | ErrorCode::Stopping
        );
        if is_final {
            self.over = Some(error.clone());
        }
        error
    }
}

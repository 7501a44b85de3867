//! What sessions ask of the context.

use std::rc::Rc;

use copo_proto::FRAME_OVERHEAD;
use copo_proto::v1::{self, ErrorCode};

use super::{Hub, wall_clock};
use crate::context::{Batch, ClientId, Cursor, JoinError, Known, Published, Send, StoreError};
use crate::plan::ContextSpec;
use crate::server::error;
use crate::server::identity::Speaker;
use crate::server::line::Line;

impl Hub {
    /// Largest record taken, in bytes.
    pub(in crate::server) fn max_record(&self) -> usize {
        self.max_record
    }

    /// Largest frame a client may send.
    pub(in crate::server) fn max_frame(&self) -> usize {
        self.max_record + FRAME_OVERHEAD
    }

    /// A client comes (back).
    pub(in crate::server) fn join(&self, client: &ClientId, speaker: &Speaker) -> Result<Known, v1::Error> {
        let joined = self.context.borrow_mut().join(client, &speaker.binding(), wall_clock());
        joined.map_err(|why| {
            let code = match why {
                JoinError::Expired => ErrorCode::Expired,
                JoinError::NotBound => ErrorCode::Conflict,
            };
            error(code, why.to_string())
        })
    }

    /// log_id and head.
    pub(in crate::server) fn log(&self) -> ([u8; 16], u64) {
        let context = self.context.borrow();
        (context.log_id(), context.head())
    }

    /// Publishes one batch of one client and wakes who reads.
    pub(in crate::server) fn publish(&self, line: &Line, sends: &[Send<'_>]) -> Published {
        let Some(client) = &line.client else { return Published::default() };
        let published = self.context.borrow_mut().publish(wall_clock(), client, line.speaker.sent_by(), sends);
        if published.appended {
            if published.reported {
                self.report_appended();
            } else {
                self.head_moved();
            }
        }
        published
    }

    /// The newest record of a key, or of all.
    pub(in crate::server) fn newest(&self, key: Option<&str>) -> Option<v1::UddRecord> {
        self.context.borrow_mut().newest(wall_clock(), key)
    }

    /// The headers.
    pub(in crate::server) fn headers(&self) -> v1::Headers {
        self.context.borrow().headers()
    }

    /// Replaces the headers; a change is reported.
    pub(in crate::server) fn set_headers(self: &Rc<Self>, by: &str, headers: Vec<String>) -> Result<(), v1::Error> {
        let reason = format!("{by} set the headers: {}", headers.join(", "));
        let changed = self.context.borrow_mut().set_headers(wall_clock(), by, headers);
        if changed.map_err(|why| store_error(&why))? {
            let event = v1::EventKind::Headers.into();
            self.report(v1::Facts { event, reason: Some(reason), ..Default::default() });
        }
        Ok(())
    }

    /// Takes over what of the context's settings may change while it is in use: the headers of the file, and what is kept.
    pub fn configure(self: &Rc<Self>, spec: &ContextSpec) {
        let mut context = self.context.borrow_mut();
        context.set_retain(&spec.retain);
        let changed = context.apply_file_headers(wall_clock(), spec.headers.as_deref());
        drop(context);
        match changed {
            Ok(true) => {
                let reason = format!("copo.toml set the headers: {}", self.headers().headers.join(", "));
                self.report(v1::Facts {
                    event: v1::EventKind::Headers.into(),
                    reason: Some(reason),
                    ..Default::default()
                });
            }
            Ok(false) => {}
            Err(error) => tracing::warn!("cannot take over the headers of the file: {error}"),
        }
    }

    /// Forgets all records.
    pub(in crate::server) fn purge(&self, by: &str) -> Result<(), v1::Error> {
        let purged = self.context.borrow_mut().purge(wall_clock(), by);
        self.head_moved(); // Readers are to be told the gap.
        purged.map_err(|why| store_error(&why))
    }

    /// Begins a subscription.
    pub(in crate::server) fn subscribe(
        &self,
        subscribe: &v1::Subscribe,
    ) -> Result<(Cursor, v1::Subscribed), v1::Error> {
        self.context.borrow_mut().subscribe(wall_clock(), subscribe)
    }

    /// What a subscriber reads next. Where its place counts, publishers may go on as far as it has read.
    pub(in crate::server) fn read(&self, line: &Line, cursor: &mut Cursor, budget: usize) -> Batch {
        let batch = self.context.borrow().read(wall_clock(), cursor, budget);
        if self.wait_limit.is_some() {
            self.set_floor(line, cursor.floor());
        }
        batch
    }
}

fn store_error(why: &StoreError) -> v1::Error {
    let code = match why {
        StoreError::NoSpace => ErrorCode::NoSpace,
        StoreError::Disk(_) => ErrorCode::Internal,
    };
    error(code, why.to_string())
}

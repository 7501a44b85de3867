//! What sessions ask of the context.

use std::collections::HashSet;
use std::rc::Rc;

use copo_proto::FRAME_OVERHEAD;
use copo_proto::v1::{self, ErrorCode, server_message};

use super::{Hub, wall_clock};
use crate::context::{Answer, Batch, ClientId, Cursor, JoinError, Known, Published, Send, StoreError};
use crate::plan::ContextSpec;
use crate::server::error;
use crate::server::identity::Speaker;
use crate::server::line::Line;

/// So often those who have more to say get another turn before what was taken is stored.
const TURNS: usize = 8;

/// A batch that is taken and not on the disk yet, and what is then answered.
pub(super) struct Unstored {
    line: Rc<Line>,
    first: u64,
    answers: Vec<Answer>,
    reported: bool,
}

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
    pub(in crate::server) fn join(self: &Rc<Self>, client: &ClientId, speaker: &Speaker) -> Result<Known, v1::Error> {
        self.store(); // It is told which of its sends were taken.
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

    /// Publishes one batch of one client: readers get it when they are told ([`Hub::tell_readers`]), then the client its
    /// answers. What a sync of the disk has to store
    /// first is stored with the batches of all clients that have sent something by then.
    pub(in crate::server) fn publish(self: &Rc<Self>, line: &Rc<Line>, sends: &[Send<'_>]) -> Published {
        let (Some(client), Some(first)) = (&line.client, sends.first()) else { return Published::default() };
        let sent_by = line.speaker.sent_by();
        if self.syncs {
            let mut taken = self.context.borrow_mut().take_batch(wall_clock(), client, sent_by, sends);
            let (answers, reported) = (std::mem::take(&mut taken.answers), taken.reported);
            self.store_soon(Unstored { line: Rc::clone(line), first: first.number, answers, reported });
            return taken;
        }
        let mut published = self.context.borrow_mut().publish(wall_clock(), client, sent_by, sends);
        self.has_moved.set(self.has_moved.get() || published.appended);
        if published.reported {
            self.reports.notify_one();
        }
        self.answer(line, std::mem::take(&mut published.answers));
        published
    }

    /// Readers get what was published, before anybody else has a turn.
    pub(in crate::server) fn tell_readers(&self) {
        if self.has_moved.replace(false) {
            self.head_moved();
        }
    }

    fn appended(&self, appended: bool, reported: bool) {
        match (appended, reported) {
            (true, true) => self.report_appended(),
            (true, false) => self.head_moved(),
            (false, _) => {}
        }
    }

    fn answer(self: &Rc<Self>, line: &Rc<Line>, answers: Vec<Answer>) {
        for answer in answers {
            match answer {
                Answer::Ack(ack) => line.say(server_message::Kind::Ack(ack)),
                Answer::Failed(failed) => {
                    if failed.code() == ErrorCode::NoSpace {
                        self.wait_for_space(line);
                    }
                    line.say(server_message::Kind::SendFailed(failed));
                }
            }
        }
    }

    /// The sync waits until every connection that has something to say had its turn.
    fn store_soon(self: &Rc<Self>, batch: Unstored) {
        let mut unstored = self.unstored.borrow_mut();
        unstored.push(batch);
        if unstored.len() == 1 {
            tokio::task::spawn_local(Rc::clone(self).store_in_turn());
        }
    }

    async fn store_in_turn(self: Rc<Self>) {
        for _ in 0..TURNS {
            let taken = self.unstored.borrow().len();
            tokio::task::yield_now().await;
            if self.unstored.borrow().len() == taken {
                break; // Nobody had more.
            }
        }
        self.store();
    }

    /// Stores what was taken, now. Before that nobody is shown or told any of it.
    pub(in crate::server) fn store(self: &Rc<Self>) {
        let unstored = self.unstored.take();
        if unstored.is_empty() {
            return;
        }
        let (stored, moved) = {
            let mut context = self.context.borrow_mut();
            let stored = context.store();
            (stored, context.head())
        };
        // A new segment may have made a part of it readable before: the head moved all the same.
        self.appended(moved > self.shown.replace(moved), unstored.iter().any(|batch| batch.reported));
        let mut told = HashSet::new();
        for Unstored { line, first, answers, .. } in unstored {
            match (&stored, &line.client) {
                (Err(error), Some(client)) => {
                    // What a client sent after the first that failed is ignored until that is sent again.
                    if told.insert(*client) {
                        let failed = self.context.borrow_mut().fail(client, first, error);
                        self.answer(&line, vec![failed]);
                    }
                }
                (Ok(()) | Err(_), _) => self.answer(&line, answers),
            }
        }
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

#[cfg(test)]
impl Hub {
    /// For tests: from here on the disk takes nothing (or takes everything again).
    pub(in crate::server) fn break_disk(&self, is_broken: bool) {
        self.context.borrow_mut().break_disk(is_broken);
    }
}

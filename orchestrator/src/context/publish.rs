//! Taking sends: which of a batch are new, in what pieces they are appended, and what is answered.

use copo_proto::{key, v1};

use super::block::{Content, HEAD, Head};
use super::clients::Judgement;
use super::frame::{self, Composer, Fields, Kind};
use super::stream::{SMALLEST, Tag};
use super::{Answer, Body, ClientId, Context, Published, Send, StoreError};

/// A block holds no more than this, unless one record does.
const BLOCK: usize = SMALLEST / 8;

/// Consecutive sends of one kind that go into one block.
struct Run<'s, 'a> {
    sends: &'s [Send<'a>],
    length: usize,
    keyed: bool,
}

impl Context {
    /// Takes one batch of one client that has joined; numbers in it rise. What it answers is stored as durably as
    /// configured.
    pub fn publish(&mut self, now: u64, client: &ClientId, sent_by: &str, sends: &[Send<'_>]) -> Published {
        let Some(first) = sends.first() else { return Published::default() };
        let before = self.head();
        let mut out = Published::default();
        let mut done = self.store(); // What an earlier failure left is stored before anything is answered.
        if done.is_ok() {
            out = self.take_batch(now, client, sent_by, sends);
            done = self.store();
        }
        if let Err(error) = done {
            out = Published { answers: vec![self.fail(client, first.number, &error)], ..Published::default() };
        }
        out.appended = self.head() > before;
        out
    }

    /// The same, but nothing of it is stored or readable yet: what it answers is to be said only when [`Context::store`] has
    /// succeeded. So one sync of the disk serves the batches of many clients.
    pub fn take_batch(&mut self, now: u64, client: &ClientId, sent_by: &str, sends: &[Send<'_>]) -> Published {
        let mut out = Published::default();
        self.take_all(now, client, sent_by, sends, &mut out);
        out
    }

    /// All that was taken becomes as durable as configured, and readable.
    pub fn store(&mut self) -> Result<(), StoreError> {
        self.commit()
    }

    /// A batch that was taken could not be stored: what is answered in its place. What is in the segments stays taken, but no
    /// number of it is acknowledged before it is stored.
    pub fn fail(&mut self, client: &ClientId, first: u64, error: &StoreError) -> Answer {
        self.clients.fail(client, first);
        failed(first, error)
    }

    fn take_all(&mut self, now: u64, client: &ClientId, sent_by: &str, sends: &[Send<'_>], out: &mut Published) {
        let mut rest = sends;
        while let Some(send) = rest.first() {
            let mut taken = 1;
            match self.clients.judge(client, send.number) {
                Judgement::Next => match self.take(now, client, sent_by, rest, out) {
                    Ok(count) => taken = count,
                    Err(error) => {
                        self.clients.fail(client, send.number);
                        out.answers.push(failed(send.number, &error));
                    }
                },
                Judgement::Taken(seq) => out.ack(send.number, seq),
                Judgement::Conflict => out.answers.push(conflict(send.number)),
                Judgement::Ignored => {}
                Judgement::Refused(code, message) => out.refuse(code, message),
            }
            if out.refused.is_some() || out.blocked.is_some() {
                return;
            }
            rest = &rest[taken..];
        }
    }

    /// Takes some of the sends, of which the first is the client's next. Returns how many.
    fn take(
        &mut self,
        now: u64,
        client: &ClientId,
        sent_by: &str,
        sends: &[Send<'_>],
        out: &mut Published,
    ) -> Result<usize, StoreError> {
        let first = &sends[0];
        if let Err((code, message)) = self.check(first) {
            out.refuse(code, message);
            return Ok(0);
        }
        if !self.clients.has_entry(client) {
            self.write_entry(client)?;
        }
        if !self.holds_what_is_expected(now, first) {
            self.write_mark(client, first.number)?;
            out.answers.push(conflict(first.number));
            return Ok(1);
        }
        let run = self.run(sent_by, sends);
        if run.sends.is_empty() {
            out.blocked = Some(first.number);
            return Ok(0);
        }
        let last_seq = self.append_run(now, client, sent_by, &run)?;
        out.reported |= matches!(first.body, Body::Meta { .. });
        out.ack(run.sends[run.sends.len() - 1].number, last_seq);
        Ok(run.sends.len())
    }

    fn check(&self, send: &Send<'_>) -> Result<(), (v1::ErrorCode, String)> {
        let (key, data) = match send.body {
            Body::Udd { key, data, .. } => (key, data),
            Body::Meta { data } => ("", data),
        };
        if let Err(why) = key::check(key) {
            return Err((v1::ErrorCode::InvalidKey, format!("cannot take send {}: its key: {why}", send.number)));
        }
        if data.len() > self.max_record {
            let why = format!("{} bytes are more than the limit of {}", data.len(), self.max_record);
            return Err((v1::ErrorCode::TooLarge, format!("cannot take send {}: {why}", send.number)));
        }
        Ok(())
    }

    fn holds_what_is_expected(&mut self, now: u64, send: &Send<'_>) -> bool {
        let Body::Udd { key, expect_seq: Some(expected), .. } = send.body else { return true };
        let first_readable = self.settle_keys(now);
        let newest = self.keys.newest(key);
        // The key "" is not kept beyond retention.
        let newest = if key.is_empty() && newest < first_readable { 0 } else { newest };
        newest == expected
    }

    /// The longest run that begins with the first send: of one kind, numbers without holes, sound, of a block's size, and
    /// no further than the floor allows. What expects a Seq is alone, for the one before it may be the one it expects.
    fn run<'s, 'a>(&self, sent_by: &str, sends: &'s [Send<'a>]) -> Run<'s, 'a> {
        let mut run = Run { sends: &sends[..0], length: 0, keyed: false };
        let is_record = matches!(sends[0].body, Body::Udd { .. });
        for (i, send) in sends.iter().enumerate() {
            let (alone, same, keyed) = match send.body {
                Body::Udd { key, expect_seq, .. } => (expect_seq.is_some(), is_record, !key.is_empty()),
                Body::Meta { .. } => (false, !is_record, false),
            };
            let length = frame::len(sent_by, fields(send));
            let fits = i == 0 || (!alone && run.length + length <= BLOCK && self.check(send).is_ok());
            let follows = send.number == sends[0].number + i as u64;
            if !(same && fits && follows && (!is_record || self.floor_allows(i as u64, run.length, length))) {
                break;
            }
            run = Run { sends: &sends[..=i], length: run.length + length, keyed: run.keyed || keyed };
            if alone {
                break;
            }
        }
        run
    }

    /// Would a record of `length` bytes, after `count` others of `bytes` bytes, trim what the floor holds?
    fn floor_allows(&self, count: u64, bytes: usize, length: usize) -> bool {
        let Some(floor) = self.floor else { return true };
        let (count, bytes) = (self.records.end.count + count, self.records.end.bytes + bytes as u64);
        let limits = &self.records.limits;
        let within = (count + 1).saturating_sub(limits.records) <= floor.count
            && (bytes + length as u64).saturating_sub(limits.bytes) <= floor.bytes;
        // One record alone may be larger than all that is retained: it waits until all before it was read.
        within || floor.count >= count
    }

    /// Appends a run. Returns the last Seq.
    fn append_run(&mut self, now: u64, client: &ClientId, sent_by: &str, run: &Run<'_, '_>) -> Result<u64, StoreError> {
        let content = match run.sends[0].body {
            Body::Udd { .. } => Content::Records,
            Body::Meta { .. } => Content::Reports,
        };
        let (first_number, count) = (run.sends[0].number, run.sends.len() as u32);
        let frames = run.sends.iter().map(fields);
        let wanted = Head {
            length: HEAD + run.length,
            is_short: false,
            client: *client,
            first_number,
            first_seq: 0,
            time: now,
            count,
            content,
            keyed: run.keyed,
        };
        let (first_seq, segment) = self.append(wanted, sent_by, frames)?;
        let taken = v1::Taken { first_number, first_seq, count: u64::from(count) };
        let tag = if content == Content::Records { Tag::Records } else { Tag::Reports };
        self.clients.took(client, taken, (tag, segment));
        if tag == Tag::Records {
            self.note_records(run, first_seq, sent_by);
        }
        Ok(first_seq + u64::from(count) - 1)
    }

    fn note_records(&mut self, run: &Run<'_, '_>, first_seq: u64, sent_by: &str) {
        if run.keyed {
            for (seq, send) in (first_seq..).zip(run.sends) {
                if let Body::Udd { key, .. } = send.body {
                    self.keys.note(key, seq);
                }
            }
        } else {
            self.keys.note("", first_seq + run.sends.len() as u64 - 1);
        }
        self.changed_at = self.last_time;
        if self.changed_by != sent_by {
            sent_by.clone_into(&mut self.changed_by);
        }
    }

    /// Appends one block: the only place where a Seq is given. Time and Seq of `head` are set here, the time never less
    /// than the one before. Returns the first Seq and the segment.
    pub(super) fn append<'a>(
        &mut self,
        head: Head,
        sent_by: &str,
        frames: impl Iterator<Item = Fields<'a>>,
    ) -> Result<(u64, u64), StoreError> {
        let (tag, kind) = match head.content {
            Content::Records => (Tag::Records, Kind::Record),
            Content::Reports => (Tag::Reports, Kind::Report),
            Content::Kept | Content::Client | Content::Mark => unreachable!("kept things have no Seq of their own"),
        };
        self.make_room(tag, head.length)?;
        let head = Head { first_seq: self.appended + 1, time: head.time.max(self.last_time), ..head };
        let composer = Composer::new(kind, head.time, sent_by);
        let (segment, _) = self.stream_mut(tag).append(&head, |out| {
            let write = |at, (seq, fields)| at + composer.write(seq, fields, &mut out[at..]);
            (head.first_seq..).zip(frames).fold(0, write);
        });
        self.appended = head.last_seq();
        self.last_time = head.time;
        self.unshown = true;
        Ok((head.first_seq, segment))
    }
}

impl Published {
    /// Acknowledges a number; neighbours with neighbouring Seqs share one acknowledgement.
    fn ack(&mut self, number: u64, seq: u64) {
        match self.answers.last_mut() {
            // A run's numbers and Seqs rise together, so the distance tells whether they are neighbours.
            Some(Answer::Ack(last))
                if last.seq > 0 && number.wrapping_sub(last.number) == seq.wrapping_sub(last.seq) =>
            {
                *last = v1::Ack { number, seq };
            }
            Some(Answer::Ack(last)) if seq == 0 && last.seq == 0 => last.number = number,
            Some(_) | None => self.answers.push(Answer::Ack(v1::Ack { number, seq })),
        }
    }

    fn refuse(&mut self, code: v1::ErrorCode, message: String) {
        self.refused = Some(v1::Error { code: code.into(), message });
    }
}

#[inline]
fn fields<'s>(send: &Send<'s>) -> Fields<'s> {
    match send.body {
        Body::Udd { key, data, .. } => (key.as_bytes(), data),
        Body::Meta { data } => (data, &[]),
    }
}

fn failed(number: u64, error: &StoreError) -> Answer {
    let code = match error {
        StoreError::NoSpace => v1::ErrorCode::NoSpace,
        StoreError::Disk(_) => v1::ErrorCode::Internal,
    };
    Answer::Failed(v1::SendFailed { number, code: code.into(), message: error.to_string() })
}

fn conflict(number: u64) -> Answer {
    let message = "cannot append the record: the newest of its key is another one".to_owned();
    Answer::Failed(v1::SendFailed { number, code: v1::ErrorCode::Conflict.into(), message })
}

//! Following the log: one reader thread fills a bounded shelf, JavaScript takes whole batches from it.
//!
//! A batch is columns, not objects: a few typed arrays cross for thousands of records.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use napi::bindgen_prelude::{Buffer, Float64Array, Object, Uint8Array, Uint32Array};
use napi::{Env, Result};
use napi_derive::napi;

use crate::promise::{Settle, promise};

/// The reader waits while this much lies on the shelf.
const MOST_BYTES: usize = 8 << 20;
const MOST_ITEMS: usize = 16 * 1024;

/// Many items at once, as columns of one length.
#[napi(object)]
pub struct Batch {
    /// 0 a record, 1 a report, 2 a gap.
    pub kinds: Uint8Array,
    /// Seqs; of a gap its first.
    pub seqs: Float64Array,
    /// Times in microseconds since the Unix epoch; of a gap its last seq.
    pub times: Float64Array,
    /// Per item the index of its sender in `names`; of a gap its cause's number.
    pub senders: Uint32Array,
    /// Per item the index of its key in `names`.
    pub keys: Uint32Array,
    /// Per item where its data ends in `data`; of a gap the data is the log_id.
    pub ends: Uint32Array,
    /// The items' data, one after the other.
    pub data: Buffer,
    /// Senders and keys.
    pub names: Vec<String>,
    /// Facts of reports as JSON, in the order of those reports that have some; per item in `facts_of`.
    pub facts: Vec<String>,
    /// Per item the index of its facts plus one; 0: none.
    pub facts_of: Uint32Array,
}

/// What has been read and not yet taken.
#[derive(Default)]
struct Shelf {
    kinds: Vec<u8>,
    seqs: Vec<f64>,
    times: Vec<f64>,
    senders: Vec<u32>,
    keys: Vec<u32>,
    ends: Vec<u32>,
    data: Vec<u8>,
    names: Names,
    facts: Vec<String>,
    facts_of: Vec<u32>,
    /// How the subscription ended.
    end: Option<copo::Error>,
    is_closed: bool,
    waiting: Option<Settle<Option<Batch>>>,
}

/// Strings of a batch, each once.
#[derive(Default)]
struct Names {
    index: std::collections::HashMap<String, u32>,
    list: Vec<String>,
    /// The newest sender.
    newest: u32,
}

impl Names {
    fn index_of(&mut self, name: &str) -> u32 {
        if let Some(index) = self.index.get(name) {
            return *index;
        }
        let index = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        self.index.insert(name.to_owned(), index);
        self.list.push(name.to_owned());
        index
    }

    /// The same; the sender of one record is mostly that of the one before.
    fn sender(&mut self, name: &str) -> u32 {
        if self.list.get(self.newest as usize).is_none_or(|newest| newest != name) {
            self.newest = self.index_of(name);
        }
        self.newest
    }
}

impl Shelf {
    fn put(&mut self, item: copo::ItemRef<'_>) {
        match item {
            copo::ItemRef::Record(record) => self.put_record(&record),
            copo::ItemRef::Report(report) => {
                let (sender, none) = (self.names.sender(&report.sent_by), self.names.index_of(""));
                let facts = report.facts.map(|facts| facts_json(&facts));
                self.row(1, report.seq, report.report_time, (sender, none), &report.report_buff, facts);
            }
            copo::ItemRef::Gap(gap) => {
                let none = self.names.index_of("");
                let cause = u32::try_from(gap.cause).unwrap_or(0);
                self.row(2, gap.first, gap.last, (cause, none), &gap.log_id, None);
            }
        }
    }

    fn put_record(&mut self, record: &copo::RecordRef<'_>) {
        let (sender, key) = (self.names.sender(record.sent_by), self.names.index_of(record.key));
        self.row(0, record.seq, record.sent_time, (sender, key), record.udd_buff, None);
    }

    fn put_owned(&mut self, item: copo::Item) {
        match item {
            copo::Item::Record(record) => {
                let copo::UddRecord { seq, sent_time, sent_by, key, udd_buff } = &record;
                self.put_record(&copo::RecordRef { seq: *seq, sent_time: *sent_time, sent_by, key, udd_buff });
            }
            copo::Item::Report(report) => self.put(copo::ItemRef::Report(Box::new(report))),
            copo::Item::Gap(gap) => self.put(copo::ItemRef::Gap(gap)),
        }
    }

    fn row(&mut self, kind: u8, seq: u64, time: u64, (sender, key): (u32, u32), data: &[u8], facts: Option<String>) {
        self.kinds.push(kind);
        self.seqs.push(seq as f64);
        self.times.push(time as f64);
        self.senders.push(sender);
        self.keys.push(key);
        self.data.extend_from_slice(data);
        self.ends.push(u32::try_from(self.data.len()).unwrap_or(u32::MAX));
        self.facts_of.push(facts.as_ref().map_or(0, |_| u32::try_from(self.facts.len() + 1).unwrap_or(0)));
        self.facts.extend(facts);
    }

    fn is_full(&self) -> bool {
        self.kinds.len() >= MOST_ITEMS || self.data.len() >= MOST_BYTES
    }

    fn take(&mut self) -> Batch {
        let names = std::mem::take(&mut self.names);
        Batch {
            kinds: std::mem::take(&mut self.kinds).into(),
            seqs: std::mem::take(&mut self.seqs).into(),
            times: std::mem::take(&mut self.times).into(),
            senders: std::mem::take(&mut self.senders).into(),
            keys: std::mem::take(&mut self.keys).into(),
            ends: std::mem::take(&mut self.ends).into(),
            data: std::mem::take(&mut self.data).into(),
            names: names.list,
            facts: std::mem::take(&mut self.facts),
            facts_of: std::mem::take(&mut self.facts_of).into(),
        }
    }

    /// What a taker gets now: a batch, the end (None or an error), or nothing yet.
    fn ready(&mut self) -> Option<copo::Result<Option<Batch>>> {
        if !self.kinds.is_empty() {
            return Some(Ok(Some(self.take())));
        }
        if self.is_closed {
            return Some(Ok(None));
        }
        let error = self.end.clone()?;
        match error.code() {
            copo::ErrorCode::End | copo::ErrorCode::Stopping => Some(Ok(None)),
            _ => Some(Err(error)),
        }
    }
}

/// The facts of a report as JSON, as `copo reports --json` writes them; absent where they mean nothing.
fn facts_json(facts: &copo::v1::Facts) -> String {
    let event = facts.event().as_str_name().trim_start_matches("EVENT_KIND_").to_lowercase();
    let mut fields = vec![format!("\"event\":{}", quoted(&event))];
    let texts = [
        ("process", &facts.process),
        ("internalName", &facts.internal_name),
        ("run", &facts.run),
        ("signal", &facts.signal),
        ("reason", &facts.reason),
    ];
    fields.extend(texts.iter().filter_map(|(name, text)| Some(format!("\"{name}\":{}", quoted(text.as_ref()?)))));
    fields.extend(facts.pid.map(|pid| format!("\"pid\":{pid}")));
    fields.extend(facts.exit_code.map(|code| format!("\"exitCode\":{code}")));
    format!("{{{}}}", fields.join(","))
}

/// A JSON string (RFC 8259, section 7).
fn quoted(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c < ' ' => format!("\\u{:04x}", c as u32),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

struct Shared {
    shelf: Mutex<Shelf>,
    taken: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Shelf> {
        // A panic while the lock was held leaves a shelf that is still whole: rows are complete or absent.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One subscription.
#[napi]
pub struct NativeSubscription {
    shared: Arc<Shared>,
    stopper: copo::Stopper,
    head: u64,
    log_id: Vec<u8>,
}

impl NativeSubscription {
    /// Starts the reader thread.
    pub fn start(subscription: copo::Subscription) -> Self {
        let shared = Arc::new(Shared { shelf: Mutex::default(), taken: Condvar::new() });
        let (stopper, head, log_id) = (subscription.stopper(), subscription.head(), subscription.log_id());
        let reader = Arc::clone(&shared);
        thread::spawn(move || read(&reader, subscription));
        Self { shared, stopper, head, log_id }
    }
}

fn read(shared: &Shared, mut subscription: copo::Subscription) {
    loop {
        let first = subscription.next(None);
        let mut shelf = shared.lock();
        while shelf.is_full() && !shelf.is_closed {
            shelf = shared.taken.wait(shelf).unwrap_or_else(PoisonError::into_inner);
        }
        let end = fill(&mut shelf, first, &mut subscription);
        let is_over = end.is_some() || shelf.is_closed;
        shelf.end = end;
        let waiting = shelf.waiting.take();
        let settled = waiting.and_then(|settle| match shelf.ready() {
            Some(ready) => Some((settle, ready)),
            None => {
                shelf.waiting = Some(settle);
                None
            }
        });
        drop(shelf);
        if let Some((settle, ready)) = settled {
            settle(ready);
        }
        if is_over {
            return;
        }
    }
}

/// Puts the first item and all that has come with it on the shelf; gives the error that ended the subscription.
fn fill(
    shelf: &mut Shelf,
    first: copo::Result<copo::Item>,
    subscription: &mut copo::Subscription,
) -> Option<copo::Error> {
    match first {
        Ok(item) => shelf.put_owned(item),
        Err(error) => return Some(error),
    }
    while !shelf.is_full() {
        match subscription.buffered_ref() {
            Some(item) => shelf.put(item),
            None => break, // An end is the first of the next call.
        }
    }
    None
}

#[napi]
impl NativeSubscription {
    /// What has come: a batch at once, or null when nothing has (then `wait`).
    #[napi]
    pub fn take(&self) -> Option<Batch> {
        let mut shelf = self.shared.lock();
        let batch = (!shelf.kinds.is_empty()).then(|| shelf.take());
        self.shared.taken.notify_one();
        batch
    }

    /// The next batch; null at the end.
    #[napi(ts_return_type = "Promise<Batch | null>")]
    pub fn wait<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        promise(env, |settle: Settle<Option<Batch>>| {
            let mut shelf = self.shared.lock();
            match shelf.ready() {
                Some(ready) => {
                    drop(shelf);
                    self.shared.taken.notify_one();
                    settle(ready);
                }
                None => shelf.waiting = Some(settle),
            }
        })
    }

    /// Ends the subscription; a promise that waits gives null.
    #[napi]
    pub fn stop(&self) {
        let mut shelf = self.shared.lock();
        // First, so that the reader's CLOSED is an end by us and no error.
        shelf.is_closed = true;
        let waiting = shelf.waiting.take();
        drop(shelf);
        self.stopper.stop();
        self.shared.taken.notify_one();
        if let Some(settle) = waiting {
            settle(Ok(None));
        }
    }

    /// Seq of the newest record or report when the subscription began.
    #[napi(getter)]
    pub fn head(&self) -> f64 {
        self.head as f64
    }

    /// The log that is read.
    #[napi(getter)]
    pub fn log_id(&self) -> Buffer {
        self.log_id.clone().into()
    }
}

impl Drop for NativeSubscription {
    fn drop(&mut self) {
        self.stop();
    }
}

//! The processes of a measurement that go through the SDK.

use std::io::{BufRead, Write};
use std::time::Duration;

use copo::{Client, ErrorCode, From, ItemRef, SubscribeOptions};
use serde_json::{Value, json};

use super::args::Work;
use super::meter;
use super::payload::{self, STAMP, Tally};
use crate::cli::failure::{FAILED, Failure, Outcome};

/// Without anything for so long, what is missing will not come.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a subscriber that has all looks for what comes twice.
const AFTERMATH: Duration = Duration::from_millis(100);

/// Says "ready" and waits for the line that starts the round.
pub fn stand_by() -> Outcome {
    let cannot = |error| Failure::io("talk to the measurement", &error);
    let mut out = std::io::stdout();
    writeln!(out, "ready").and_then(|()| out.flush()).map_err(cannot)?;
    std::io::stdin().lock().read_line(&mut String::new()).map(drop).map_err(cannot)
}

/// Prints what came of it.
pub fn result(value: &Value) -> Outcome {
    writeln!(std::io::stdout(), "{value}").map_err(|error| Failure::io("talk to the measurement", &error))
}

/// CPU this process has used, in nanoseconds.
pub fn own_cpu() -> u64 {
    meter::cpu(std::process::id())
}

fn connect(work: &Work) -> Result<Client, Failure> {
    let mut options = Client::options().socket(work.socket.to_string_lossy()).token("").name("bench");
    if work.window > 0 {
        options = options.window(work.window, u64::MAX);
    }
    Ok(options.connect()?)
}

/// Waits, at a given rate, until it is the turn of this publisher's record `number`: they take turns.
pub fn pace(start: u64, work: &Work, number: u64) {
    let turn = number * work.publishers as u64 + u64::from(work.id);
    if let Some(after) = (turn * 1_000_000_000).checked_div(work.rate) {
        std::thread::sleep(Duration::from_nanos((start + after).saturating_sub(meter::now())));
    }
}

/// Sends `count` records, then waits until all are acknowledged.
pub fn publisher(work: &Work) -> Outcome {
    let client = connect(work)?;
    let keys: Vec<String> = (0..16).map(|i| if work.keys { format!("bench/{i}") } else { String::new() }).collect();
    let mut data = vec![0; work.size.max(STAMP)];
    stand_by()?;
    let start = meter::now();
    for number in 0..work.count {
        pace(start, work, number);
        payload::stamp(&mut data, work.id, number, if work.rate > 0 { meter::now() } else { start });
        client.udd_send_key(&keys[(number % 16) as usize], &data)?;
    }
    client.flush()?;
    result(&json!({ "start": start, "end": meter::now(), "cpu": own_cpu() }))
}

/// Sends `count` records with at most `window` unacknowledged; with a window of 1 each is waited for.
pub fn acks(work: &Work) -> Outcome {
    let client = connect(work)?;
    let mut data = vec![0; work.size.max(STAMP)];
    stand_by()?;
    let start = meter::now();
    for number in 0..work.count {
        payload::stamp(&mut data, work.id, number, start);
        if work.window == 1 {
            client.udd_send_sync(&data)?;
        } else {
            client.udd_send(&data)?;
        }
    }
    client.flush()?;
    result(&json!({ "start": start, "end": meter::now(), "cpu": own_cpu() }))
}

/// Follows until `count` records have come.
pub fn subscriber(work: &Work) -> Outcome {
    let client = connect(work)?;
    let pattern = if work.keys { "bench/*" } else { "" };
    let mut records = client.udd_subscribe(&SubscribeOptions::default().from(From::New).key_pattern(pattern))?;
    let mut receipts = Receipts::new(work);
    stand_by()?;
    loop {
        match records.next_ref(Some(receipts.patience())) {
            Ok(ItemRef::Record(record)) => receipts.take(record.udd_buff),
            Ok(ItemRef::Gap(gap)) => receipts.tally.lost += gap.last.saturating_sub(gap.first) + 1,
            Ok(ItemRef::Report(_)) => {}
            Err(error) if error.code() == ErrorCode::TimedOut => return receipts.result(),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What a subscriber has received, and how long it took to come.
pub struct Receipts {
    /// What came.
    pub tally: Tally,
    wanted: u64,
    timed: bool,
    latencies: Vec<u64>,
    end: Option<u64>,
}

impl Receipts {
    /// For this work.
    pub fn new(work: &Work) -> Self {
        let timed = work.rate > 0;
        let latencies = Vec::with_capacity(if timed { work.count as usize } else { 0 });
        Self { tally: Tally::new(work.publishers), wanted: work.count, timed, latencies, end: None }
    }

    /// Takes note of a record's data.
    pub fn take(&mut self, data: &[u8]) {
        let Some((publisher, number, time)) = payload::read(data) else {
            self.tally.reordered += 1;
            return;
        };
        self.tally.take(publisher, number);
        if self.timed {
            self.latencies.push(meter::now().saturating_sub(time));
        }
        if self.tally.received == self.wanted {
            self.end = Some(meter::now());
        }
    }

    /// Whether all have come.
    pub fn is_whole(&self) -> bool {
        self.end.is_some()
    }

    /// How long to wait for more: for long while something is missing, then for what should not come.
    pub fn patience(&self) -> Duration {
        if self.end.is_some() { AFTERMATH } else { SILENCE }
    }

    /// Prints what came of it.
    pub fn result(mut self) -> Outcome {
        let end = self.end.unwrap_or_else(meter::now);
        self.latencies.sort_unstable();
        let missing = self.wanted.saturating_sub(self.tally.received);
        let percentiles = [0.5, 0.99, 0.999].map(|share| meter::percentile(&self.latencies, share));
        result(&json!({
            "end": end,
            "cpu": own_cpu(),
            "received": self.tally.received,
            "lost": self.tally.lost.max(missing),
            "duplicated": self.tally.duplicated,
            "reordered": self.tally.reordered,
            "latencies": percentiles,
        }))
    }
}

/// A sentence about a socket of the measurement's own.
pub fn cannot(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(FAILED, format!("cannot {what}: {error}"))
}

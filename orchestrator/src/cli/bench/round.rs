//! Rounds: one throughput or latency measurement, of Copo or of the limit, from the first send to the last receipt.

use std::path::Path;

use serde_json::Value;

use super::args::{Udd, Work};
use super::children::Worker;
use super::meter;
use crate::cli::failure::Failure;

/// Who carries the records.
pub enum Carrier<'a> {
    /// An orchestrator, by its socket and pid.
    Copo {
        /// Its socket.
        socket: &'a Path,
        /// Its process id.
        pid: u32,
    },
    /// The bare broker, started for each round, in this folder.
    Limit {
        /// The folder.
        folder: &'a Path,
    },
}

/// What came of a round.
#[derive(Debug, Default, Clone)]
pub struct Round {
    /// Records each subscriber was to receive.
    pub count: u64,
    /// From the first send to the last record at the slowest subscriber, nanoseconds.
    pub elapsed: u64,
    /// CPU of all processes, nanoseconds.
    pub cpu: u64,
    /// Records lost, doubled, reordered, over all subscribers.
    pub wrong: [u64; 3],
    /// One-way p50, p99, p99.9 in nanoseconds, of the slowest subscriber.
    pub latencies: [u64; 3],
}

impl Round {
    /// Records a second.
    pub fn rate(&self) -> f64 {
        self.count as f64 * 1e9 / self.elapsed.max(1) as f64
    }
}

/// Runs one round of `count` records in all, as fast as it goes or at a rate.
pub fn run(carrier: &Carrier<'_>, asked: &Udd, count: u64, rate: u64) -> Result<Round, Failure> {
    let (publishers, subscribers) = (asked.publishers as usize, asked.subscribers as usize);
    let each = count.div_ceil(u64::from(asked.publishers));
    let total = each * u64::from(asked.publishers);
    let size = asked.size as usize;
    let (socket, broker) = open(carrier, publishers, subscribers)?;
    let work = Work { socket, size, rate, publishers, subscribers, keys: asked.key_patterns, ..Work::default() };
    let prefix = if broker.is_some() { "limit-" } else { "" };
    let mut followers = (0..subscribers)
        .map(|_| Worker::start(&format!("{prefix}subscriber"), &Work { count: total, ..work.clone() }))
        .collect::<Result<Vec<_>, _>>()?;
    let mut senders = (0..asked.publishers)
        .map(|id| Worker::start(&format!("{prefix}publisher"), &Work { count: each, id, ..work.clone() }))
        .collect::<Result<Vec<_>, _>>()?;
    let before = carrier_cpu(carrier);
    followers.iter_mut().chain(&mut senders).try_for_each(Worker::go)?;
    let sent = senders.into_iter().map(Worker::result).collect::<Result<Vec<_>, _>>()?;
    let received = followers.into_iter().map(Worker::result).collect::<Result<Vec<_>, _>>()?;
    let carried = match broker {
        Some(broker) => number(&broker.result()?, "cpu"),
        None => carrier_cpu(carrier).saturating_sub(before),
    };
    Ok(sum(total, &sent, &received, carried))
}

/// The socket to use, and the broker if this is the limit's round.
fn open(
    carrier: &Carrier<'_>,
    publishers: usize,
    subscribers: usize,
) -> Result<(std::path::PathBuf, Option<Worker>), Failure> {
    match carrier {
        Carrier::Copo { socket, .. } => Ok(((*socket).to_owned(), None)),
        Carrier::Limit { folder } => {
            let socket = folder.join("limit");
            for door in ["publishers", "subscribers"] {
                // Left by the round before.
                let _ = std::fs::remove_file(socket.with_extension(door));
            }
            let work = Work { socket: socket.clone(), publishers, subscribers, ..Work::default() };
            let mut broker = Worker::start("limit-broker", &work)?;
            broker.go()?;
            Ok((socket, Some(broker)))
        }
    }
}

fn carrier_cpu(carrier: &Carrier<'_>) -> u64 {
    match carrier {
        Carrier::Copo { pid, .. } => meter::cpu(*pid),
        Carrier::Limit { .. } => 0,
    }
}

fn number(result: &Value, name: &str) -> u64 {
    result[name].as_u64().unwrap_or(0)
}

fn sum(count: u64, sent: &[Value], received: &[Value], carried: u64) -> Round {
    let start = sent.iter().map(|result| number(result, "start")).min().unwrap_or(0);
    let end = received.iter().map(|result| number(result, "end")).max().unwrap_or(0);
    let all = |name: &str| received.iter().map(|result| number(result, name)).sum();
    let slowest = |at: usize| received.iter().filter_map(|result| result["latencies"][at].as_u64()).max().unwrap_or(0);
    Round {
        count,
        elapsed: end.saturating_sub(start),
        cpu: carried + sent.iter().chain(received).map(|result| number(result, "cpu")).sum::<u64>(),
        wrong: ["lost", "duplicated", "reordered"].map(all),
        latencies: [0, 1, 2].map(slowest),
    }
}

/// Records a second that one publisher gets acknowledged with so many under way, and no subscriber.
pub fn acknowledged(socket: &Path, size: usize, window: u32, count: u64) -> Result<f64, Failure> {
    let work = Work { socket: socket.to_owned(), size, count, window, ..Work::default() };
    let mut worker = Worker::start("acks", &work)?;
    worker.go()?;
    let result = worker.result()?;
    let elapsed = number(&result, "end").saturating_sub(number(&result, "start"));
    Ok(count as f64 * 1e9 / elapsed.max(1) as f64)
}

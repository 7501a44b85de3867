//! Rounds: one throughput or latency measurement, of Copo or of the limit, from the first send to the last receipt.

use std::path::Path;

use serde_json::Value;

use super::args::{Durability, Udd, Work};
use super::children::Worker;
use super::limit;
use super::meter;
use super::peer::Server;
use super::role::cannot;
use super::sdk::Program;
use crate::cli::failure::Failure;

/// Who carries the records.
pub enum Carrier<'a> {
    /// An orchestrator, by its socket and pid.
    Copo {
        /// Its socket.
        socket: &'a Path,
        /// Its process id.
        pid: u32,
        /// What publishes and follows; `None`: this binary.
        program: Option<&'a Program>,
    },
    /// The bare broker, started for each round, in this folder.
    Limit {
        /// The folder.
        folder: &'a Path,
    },
    /// A peer's server.
    Peer(&'a Server),
}

/// What came of a round.
#[derive(Debug, Default, Clone)]
pub struct Round {
    /// Records each subscriber was to receive.
    pub count: u64,
    /// Bytes of each.
    pub size: usize,
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

    /// Bytes of records a second.
    pub fn bytes_per_second(&self) -> f64 {
        self.rate() * self.size as f64
    }
}

/// Runs one round of `count` records in all, as fast as it goes or at a rate.
pub fn run(carrier: &Carrier<'_>, asked: &Udd, count: u64, rate: u64) -> Result<Round, Failure> {
    let (publishers, subscribers) = (asked.publishers as usize, asked.subscribers as usize);
    let each = count.div_ceil(u64::from(asked.publishers));
    let total = each * u64::from(asked.publishers);
    let size = asked.size as usize;
    let (work, broker) = open(carrier, publishers, subscribers)?;
    let work = Work { size, rate, publishers, subscribers, keys: asked.key_patterns, ..work };
    let [publisher, subscriber] = roles(carrier);
    let mut followers = (0..subscribers)
        .map(|_| Worker::start(subscriber, &Work { count: total, ..work.clone() }))
        .collect::<Result<Vec<_>, _>>()?;
    let mut senders = (0..asked.publishers)
        .map(|id| Worker::start(publisher, &Work { count: each, id, ..work.clone() }))
        .collect::<Result<Vec<_>, _>>()?;
    let before = carrier_cpu(carrier);
    followers.iter_mut().chain(&mut senders).try_for_each(Worker::go)?;
    let sent = senders.into_iter().map(Worker::result).collect::<Result<Vec<_>, _>>()?;
    let received = followers.into_iter().map(Worker::result).collect::<Result<Vec<_>, _>>()?;
    let carried = match broker {
        Some(broker) => number(&broker.result()?, "cpu"),
        None => carrier_cpu(carrier).saturating_sub(before),
    };
    Ok(Round { count: total, size, ..sum(&sent, &received, carried) })
}

/// The roles that publish to and follow this carrier.
fn roles(carrier: &Carrier<'_>) -> [&'static str; 2] {
    match carrier {
        Carrier::Copo { .. } => ["publisher", "subscriber"],
        Carrier::Limit { .. } => ["limit-publisher", "limit-subscriber"],
        Carrier::Peer(_) => ["peer-publisher", "peer-subscriber"],
    }
}

/// Where the work is to be done, and the broker if this is the limit's round.
fn open(carrier: &Carrier<'_>, publishers: usize, subscribers: usize) -> Result<(Work, Option<Worker>), Failure> {
    match carrier {
        Carrier::Copo { socket, program, .. } => {
            Ok((Work { socket: (*socket).to_owned(), program: program.cloned(), ..Work::default() }, None))
        }
        Carrier::Peer(server) => Ok((server.empty()?, None)),
        Carrier::Limit { folder } => {
            let socket = folder.join("limit");
            for door in ["publishers", "subscribers"] {
                // Left by the round before.
                let _ = std::fs::remove_file(socket.with_extension(door));
            }
            let work = Work { socket, publishers, subscribers, ..Work::default() };
            let mut broker = Worker::start("limit-broker", &work)?;
            broker.go()?;
            Ok((work, Some(broker)))
        }
    }
}

fn carrier_cpu(carrier: &Carrier<'_>) -> u64 {
    match carrier {
        Carrier::Copo { pid, .. } => meter::cpu(*pid),
        Carrier::Peer(server) => meter::cpu(server.pid()),
        Carrier::Limit { .. } => 0,
    }
}

fn number(result: &Value, name: &str) -> u64 {
    result[name].as_u64().unwrap_or(0)
}

fn sum(sent: &[Value], received: &[Value], carried: u64) -> Round {
    let start = sent.iter().map(|result| number(result, "start")).min().unwrap_or(0);
    let end = received.iter().map(|result| number(result, "end")).max().unwrap_or(0);
    let all = |name: &str| received.iter().map(|result| number(result, name)).sum();
    let slowest = |at: usize| received.iter().filter_map(|result| result["latencies"][at].as_u64()).max().unwrap_or(0);
    Round {
        elapsed: end.saturating_sub(start),
        cpu: carried + sent.iter().chain(received).map(|result| number(result, "cpu")).sum::<u64>(),
        wrong: ["lost", "duplicated", "reordered"].map(all),
        latencies: [0, 1, 2].map(slowest),
        ..Round::default()
    }
}

/// Records a second that one publisher gets acknowledged with so many under way, and no subscriber.
pub fn acknowledged(carrier: &Carrier<'_>, size: usize, window: u32, count: u64) -> Result<f64, Failure> {
    let (work, _) = open(carrier, 1, 0)?;
    let [publisher, _] = roles(carrier);
    let role = if matches!(carrier, Carrier::Copo { .. }) { "acks" } else { publisher };
    let mut worker = Worker::start(role, &Work { size, count, window, publishers: 1, ..work })?;
    worker.go()?;
    let result = worker.result()?;
    let elapsed = number(&result, "end").saturating_sub(number(&result, "start"));
    Ok(count as f64 * 1e9 / elapsed.max(1) as f64)
}

/// Records a second that one subscriber takes in which wait for it: all are sent, by this binary, before it begins to read.
pub fn followed(carrier: &Carrier<'_>, size: usize, count: u64) -> Result<f64, Failure> {
    let (work, _) = open(carrier, 1, 1)?;
    let work = Work { size, count, publishers: 1, subscribers: 1, ..work };
    let mut follower = Worker::start("subscriber", &work)?;
    let mut sender = Worker::start("publisher", &Work { program: None, ..work })?;
    sender.go()?;
    sender.result()?;
    let start = meter::now();
    follower.go()?;
    let result = follower.result()?;
    let elapsed = number(&result, "end").saturating_sub(start);
    Ok((count - number(&result, "lost").min(count)) as f64 * 1e9 / elapsed.max(1) as f64)
}

/// Microseconds of a bare round trip; with `power` what is sent is on the disk before it comes back.
pub fn round_trip(folder: &Path, size: usize, count: u64, durability: Durability) -> Result<f64, Failure> {
    let socket = folder.join("echo");
    // Left by the round before.
    let _ = std::fs::remove_file(&socket);
    let sync = (durability == Durability::Power).then(|| folder.join("echoed"));
    let mut echo = Worker::start("limit-echo", &Work { socket: socket.clone(), size, count, sync, ..Work::default() })?;
    echo.go()?;
    limit::round_trip(&socket, size, count).map_err(|error| cannot("measure a bare round trip", &error))
}

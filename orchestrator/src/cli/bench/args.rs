//! What can be typed after `copo bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::sdk::{Program, Sdk};

#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Measure the shared context, beside the limit that a bare socket broker reaches in the same run.
    Udd(Udd),
    /// Measure supervision, beside the limit that a loop reaches in the same run which only spawns, waits and copies.
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    Supervise(Supervise),
    /// One process of a measurement, started by it.
    #[command(subcommand, hide = true)]
    Role(Role),
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[derive(Debug, Clone, Args)]
pub struct Supervise {
    /// Processes that are started, watched, crashed and stopped.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub processes: u32,
    /// Seconds in which idle wakeups are counted.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub idle: u32,
    /// Bytes that the one chatty process writes, and a hundred together.
    #[arg(long, value_name = "B", default_value_t = 512_000_000, value_parser = clap::value_parser!(u64).range(100_000..=100_000_000_000))]
    pub log_bytes: u64,
    /// How often each figure is measured; the median is printed.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct Udd {
    /// Bytes of a record, at least 20.
    #[arg(long, value_name = "B", default_value_t = 128, value_parser = clap::value_parser!(u32).range(20..=67_108_864))]
    pub size: u32,
    /// Processes that send.
    #[arg(long, value_name = "P", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub publishers: u32,
    /// Processes that follow.
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub subscribers: u32,
    /// How long a throughput round is meant to last: as many records are sent as a short trial says.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    /// How safe a record is before it is seen or acknowledged.
    #[arg(long, value_enum, default_value_t = Durability::Crash)]
    pub durability: Durability,
    /// Send with keys and follow by a pattern.
    #[arg(long)]
    pub key_patterns: bool,
    /// Measure a peer too, in turn with the rest: its server is found on PATH and started for it.
    #[arg(long, value_enum, value_name = "PEER")]
    pub beside: Vec<Peer>,
    /// Whose SDK publishes and follows.
    #[arg(long, value_enum, value_name = "SDK", default_value_t = Sdk::Rust)]
    pub sdk: Sdk,
    /// Where that SDK is: the prefix of the C SDK, a Python that can import `copo`, the folder of the Node package.
    #[arg(long, value_name = "PATH")]
    pub sdk_path: Option<PathBuf>,
    /// How often each figure is measured; the median is printed.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
}

/// Whom Copo can be measured beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// Redis Streams: XADD, XREAD; appendfsync everysec for `crash`, always for `power`.
    Redis,
    /// NATS `JetStream` with file storage: it has nothing that syncs each acknowledgement.
    Nats,
}

impl Peer {
    /// As typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Nats => "nats",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    Memory,
    Crash,
    Power,
}

impl Durability {
    /// As in copo.toml.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Crash => "crash",
            Self::Power => "power",
        }
    }
}

/// What a process of a measurement does. Each says "ready", waits for a line, works, and prints one JSON object.
#[derive(Debug, Clone, Subcommand)]
pub enum Role {
    /// Sends through the SDK.
    Publisher(Work),
    /// Follows through the SDK.
    Subscriber(Work),
    /// Sends through the SDK and waits for acknowledgements.
    Acks(Work),
    /// The bare broker.
    LimitBroker(Work),
    /// Sends to the bare broker.
    LimitPublisher(Work),
    /// Follows the bare broker.
    LimitSubscriber(Work),
    /// Sends back what it is sent.
    LimitEcho(Work),
    /// Sends to a peer's server.
    PeerPublisher(Work),
    /// Follows a peer's server.
    PeerSubscriber(Work),
}

#[derive(Debug, Clone, Default, Args)]
pub struct Work {
    /// Where the server or the broker is.
    #[arg(long)]
    pub socket: PathBuf,
    /// Records to send, or to receive.
    #[arg(long, default_value_t = 0)]
    pub count: u64,
    /// Bytes of a record.
    #[arg(long, default_value_t = 128)]
    pub size: usize,
    /// Records a second over all publishers; 0: as fast as it goes.
    #[arg(long, default_value_t = 0)]
    pub rate: u64,
    /// Number of this publisher.
    #[arg(long, default_value_t = 0)]
    pub id: u32,
    /// Publishers there are.
    #[arg(long, default_value_t = 1)]
    pub publishers: usize,
    /// Subscribers there are.
    #[arg(long, default_value_t = 1)]
    pub subscribers: usize,
    /// Send with keys, follow by a pattern.
    #[arg(long)]
    pub keys: bool,
    /// Sends under way at most; 0: what the orchestrator allows.
    #[arg(long, default_value_t = 0)]
    pub window: u32,
    /// Write what is sent to this file and sync it before it is sent back.
    #[arg(long)]
    pub sync: Option<PathBuf>,
    /// Which peer.
    #[arg(long, value_enum)]
    pub peer: Option<Peer>,
    /// What to run instead of this binary.
    #[arg(skip)]
    pub program: Option<Program>,
}

//! The peers that Copo can be measured beside: their servers, started for the measurement, and one publisher and one
//! subscriber for each, as thrifty as the protocol allows: gathered writes, many acknowledgements under way.

mod nats;
mod redis;

use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::args::{Durability, Peer, Work};
use super::meter;
use super::payload::{self, STAMP};
use super::role::{Receipts, cannot, own_cpu, pace, result, stand_by};
use crate::cli::failure::{FAILED, Failure, Outcome};

/// Gathered before it is written.
const CHUNK: usize = 64 * 1024;
/// Acknowledgements under way unless the measurement says otherwise.
const WINDOW: u64 = 1000;
/// How long a server may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection, spoken to in one of two protocols.
pub struct Line {
    reader: BufReader<Box<dyn Read>>,
    writer: Box<dyn Write>,
}

impl Line {
    fn new(reader: impl Read + 'static, writer: impl Write + 'static) -> Self {
        Self { reader: BufReader::with_capacity(CHUNK, Box::new(reader)), writer: Box::new(writer) }
    }
}

/// A peer's server, started for the measurement; ended when dropped.
pub struct Server {
    kind: Peer,
    child: Child,
    durability: Durability,
    address: PathBuf,
}

impl Server {
    /// Starts the server that is on PATH, with its files in this folder, and waits until it answers.
    pub fn start(kind: Peer, folder: &Path, durability: Durability) -> Result<Self, Failure> {
        let folder = folder.join(kind.name());
        let cannot_start = |error: io::Error| Failure::io(format!("start the server of {}", kind.name()), &error);
        std::fs::create_dir(&folder).map_err(cannot_start)?;
        let mut command = match kind {
            Peer::Redis => redis::server(&folder, durability),
            Peer::Nats => nats::server(&folder),
        };
        let command: &mut Command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(cannot_start)?;
        let mut server = Self { kind, child, durability, address: PathBuf::new() };
        let start = Instant::now();
        loop {
            let address = match kind {
                Peer::Redis => Some(redis::address(&folder)),
                Peer::Nats => nats::address(&folder, server.pid()),
            };
            if let Some(address) = address.filter(|address| connect(kind, address).is_ok()) {
                server.address = address;
                return Ok(server);
            }
            if start.elapsed() > PATIENCE || server.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                let why = format!("cannot measure {}: its server does not answer", kind.name());
                return Err(Failure::new(FAILED, why));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Empties it for the next round; gives where to work.
    pub fn empty(&self) -> Result<Work, Failure> {
        let emptied = connect(self.kind, &self.address).and_then(|mut line| match self.kind {
            Peer::Redis => redis::empty(&mut line),
            Peer::Nats => nats::empty(&mut line, self.durability),
        });
        emptied.map_err(|error| cannot(&format!("empty the server of {}", self.kind.name()), &error))?;
        Ok(Work { socket: self.address.clone(), peer: Some(self.kind), ..Work::default() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(kind: Peer, address: &Path) -> io::Result<Line> {
    match kind {
        Peer::Redis => redis::connect(address),
        Peer::Nats => nats::connect(address),
    }
}

fn kind(work: &Work) -> Result<Peer, Failure> {
    work.peer.ok_or_else(|| Failure::new(FAILED, "cannot measure a peer: none is named"))
}

/// Sends `count` records with at most `window` unacknowledged, and waits until all are acknowledged.
pub fn publisher(work: &Work) -> Outcome {
    let kind = kind(work)?;
    let failed = |error: io::Error| cannot(&format!("send to {}", kind.name()), &error);
    let mut line = connect(kind, &work.socket).map_err(failed)?;
    if kind == Peer::Nats {
        nats::await_acknowledgements(&mut line).map_err(failed)?;
    }
    stand_by()?;
    let start = meter::now();
    send_all(kind, &mut line, work, start).map_err(failed)?;
    result(&json!({ "start": start, "end": meter::now(), "cpu": own_cpu() }))
}

fn send_all(kind: Peer, line: &mut Line, work: &Work, start: u64) -> io::Result<()> {
    let window = if work.window == 0 { WINDOW } else { u64::from(work.window) };
    let mut data = vec![0; work.size.max(STAMP)];
    let mut gathered = Vec::with_capacity(CHUNK + 2 * data.len());
    let mut acknowledged = 0;
    for number in 0..work.count {
        pace(start, work, number);
        payload::stamp(&mut data, work.id, number, if work.rate > 0 { meter::now() } else { start });
        match kind {
            Peer::Redis => redis::record(&mut gathered, &data)?,
            Peer::Nats => nats::record(&mut gathered, &data)?,
        }
        let under_way = number + 1 - acknowledged;
        if work.rate > 0 || gathered.len() >= CHUNK || under_way >= window {
            line.writer.write_all(&gathered)?;
            gathered.clear();
        }
        if under_way >= window {
            acknowledged += acknowledgements(kind, line)?;
        }
    }
    line.writer.write_all(&gathered)?;
    while acknowledged < work.count {
        acknowledged += acknowledgements(kind, line)?;
    }
    Ok(())
}

/// Waits for an acknowledgement, and takes all that came with it.
fn acknowledgements(kind: Peer, line: &mut Line) -> io::Result<u64> {
    let mut taken = 0;
    loop {
        match kind {
            Peer::Redis => redis::acknowledgement(line)?,
            Peer::Nats => nats::acknowledgement(line)?,
        }
        taken += 1;
        if line.reader.buffer().is_empty() {
            return Ok(taken);
        }
    }
}

/// Follows from the first record until `count` have come.
pub fn subscriber(work: &Work) -> Outcome {
    let kind = kind(work)?;
    let failed = |error: io::Error| cannot(&format!("follow {}", kind.name()), &error);
    let mut line = connect(kind, &work.socket).map_err(failed)?;
    let mut receipts = Receipts::new(work);
    if kind == Peer::Nats {
        nats::follow(&mut line).map_err(failed)?;
    }
    stand_by()?;
    let followed = match kind {
        Peer::Redis => redis::receive(&mut line, &mut receipts),
        Peer::Nats => nats::receive(&mut line, &mut receipts),
    };
    followed.map_err(failed)?;
    receipts.result()
}

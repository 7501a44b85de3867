//! `copo bench udd`: the shared context, the limit, and the peers one asks for, measured in turn, so that a machine that
//! slows down slows them all.

use super::args::Udd;
use super::own::Own;
use super::peer::Server;
use super::report;
use super::round::{self, Carrier, Round};
use super::sdk;
use crate::cli::failure::{FAILED, Failure, Outcome};

/// Records a second at which latency is measured, over all publishers.
const LATENCY_RATE: u64 = 1000;
/// Most bytes a second at which latency is measured: it is not to be a measurement of throughput.
const LATENCY_BYTES: u64 = 64 << 20;
/// Most records, and bytes of records, that wait for a subscriber: well within what is retained.
const RETAINED: u64 = 500_000;
const RETAINED_BYTES: u64 = 64 << 20;
/// Most bytes that one round sends.
const MOST_BYTES: u64 = 8 << 30;

/// What came of all rounds of one carrier.
#[derive(Debug, Default)]
pub struct Measured {
    /// As fast as it goes.
    pub fast: Vec<Round>,
    /// At a rate.
    pub paced: Vec<Round>,
    /// Microseconds that an acknowledged send takes, one under way. Of the limit: a bare round trip.
    pub one_in_flight: Vec<f64>,
    /// Records acknowledged a second, a thousand under way. Of the limit: none.
    pub thousand_in_flight: Vec<f64>,
    /// Records a second that one publisher sends while nobody follows. Of Copo only.
    pub sent_alone: Vec<f64>,
    /// Records a second that one subscriber takes in while nobody sends. Of Copo only.
    pub followed_alone: Vec<f64>,
}

/// Runs `copo bench udd`.
pub fn measure(asked: &Udd) -> Outcome {
    let config = format!(
        "application = \"bench\"\n[context]\ndurability = \"{}\"\nwhen_full = \"wait\"\nwait_limit = \"60s\"\n",
        asked.durability.name()
    );
    let own = Own::start(&config)?;
    let start = |kind: &_| Server::start(*kind, own.folder(), asked.durability);
    let servers = asked.beside.iter().map(start).collect::<Result<Vec<_>, _>>()?;
    let program = sdk::prepare(asked.sdk, asked.sdk_path.as_deref(), own.folder())?;
    let copo = Carrier::Copo { socket: &own.socket, pid: own.pid, program: program.as_ref() };
    let mut carriers = vec![copo, Carrier::Limit { folder: own.folder() }];
    carriers.extend(servers.iter().map(Carrier::Peer));
    let measured = all_rounds(&carriers, asked)?;
    let [copo, limit, peers @ ..] = &measured[..] else { unreachable!("two carriers are always there") };
    let report = report::make(asked, latency_rate(asked), copo, limit, peers);
    drop(carriers);
    drop(servers);
    drop(own);
    report::print(asked, &report)?;
    let is_whole = ["lost", "duplicated", "reordered"].iter().all(|wrong| report[*wrong] == 0);
    if is_whole {
        Ok(())
    } else {
        Err(Failure::new(FAILED, "cannot trust this: not every record arrived once, in order"))
    }
}

fn all_rounds(carriers: &[Carrier<'_>], asked: &Udd) -> Result<Vec<Measured>, Failure> {
    let counts = carriers.iter().map(|carrier| trial(carrier, asked)).collect::<Result<Vec<_>, _>>()?;
    let rate = latency_rate(asked);
    let mut measured: Vec<Measured> = carriers.iter().map(|_| Measured::default()).collect();
    for _ in 0..asked.rounds {
        for ((carrier, count), measured) in carriers.iter().zip(&counts).zip(&mut measured) {
            measured.fast.push(round::run(carrier, asked, *count, 0)?);
        }
    }
    for _ in 0..asked.rounds {
        for (carrier, measured) in carriers.iter().zip(&mut measured) {
            measured.paced.push(round::run(carrier, asked, u64::from(asked.seconds) * rate, rate)?);
        }
    }
    for _ in 0..asked.rounds {
        for (carrier, measured) in carriers.iter().zip(&mut measured) {
            acknowledged(carrier, asked, measured)?;
        }
    }
    Ok(measured)
}

/// How many records a round needs to last as long as asked: what a short one says.
fn trial(carrier: &Carrier<'_>, asked: &Udd) -> Result<u64, Failure> {
    let most = MOST_BYTES / u64::from(asked.size);
    let few = (32_000_000 / u64::from(asked.size)).clamp(64, 100_000).min(most);
    let rate = round::run(carrier, asked, few, 0)?.rate();
    Ok(((rate * f64::from(asked.seconds)) as u64).clamp(few, most.max(few)))
}

fn latency_rate(asked: &Udd) -> u64 {
    LATENCY_RATE.min(LATENCY_BYTES / u64::from(asked.size)).max(1)
}

fn acknowledged(carrier: &Carrier<'_>, asked: &Udd, measured: &mut Measured) -> Outcome {
    let size = asked.size as usize;
    let many = (256_000_000 / u64::from(asked.size)).clamp(100, 1_000_000);
    let few = many.min(5_000);
    match carrier {
        Carrier::Limit { folder } => {
            measured.one_in_flight.push(round::round_trip(folder, size, few, asked.durability)?);
        }
        Carrier::Copo { .. } => {
            one_and_many(carrier, size, (few, many), measured)?;
            let held = (RETAINED_BYTES / u64::from(asked.size)).clamp(1, RETAINED);
            measured.sent_alone.push(round::acknowledged(carrier, size, 0, many)?);
            measured.followed_alone.push(round::followed(carrier, size, held)?);
        }
        Carrier::Peer(_) => one_and_many(carrier, size, (few, many), measured)?,
    }
    Ok(())
}

fn one_and_many(carrier: &Carrier<'_>, size: usize, (few, many): (u64, u64), measured: &mut Measured) -> Outcome {
    measured.one_in_flight.push(1e6 / round::acknowledged(carrier, size, 1, few)?);
    measured.thousand_in_flight.push(round::acknowledged(carrier, size, 1000, many)?);
    Ok(())
}

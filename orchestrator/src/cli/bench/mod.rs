//! `copo bench`: measures this machine's Copo beside the limit of this machine, in the same run, so that what counts are
//! ratios. It starts an orchestrator of its own in a temporary folder, and separate processes for every part.

pub mod args;
mod children;
mod limit;
mod meter;
mod payload;
mod role;
mod round;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use copo_orchestrator::layout::Layout;
use copo_proto::env;
use serde_json::{Value, json};

use args::{Bench, Role, Udd, Work};
use children::Worker;
use meter::median;
use round::{Carrier, Round};

use super::failure::{FAILED, Failure, Outcome};
use super::output::Out;

/// Records a second at which latency is measured.
const LATENCY_RATE: u64 = 1000;
/// Most bytes that one round sends.
const MOST_BYTES: u64 = 8 << 30;

/// Runs `copo bench`.
pub fn run(bench: &Bench) -> Outcome {
    match bench {
        Bench::Udd(asked) => udd(asked),
        Bench::Role(Role::Publisher(work)) => role::publisher(work),
        Bench::Role(Role::Subscriber(work)) => role::subscriber(work),
        Bench::Role(Role::Acks(work)) => role::acks(work),
        Bench::Role(Role::LimitBroker(work)) => limit::broker(work),
        Bench::Role(Role::LimitPublisher(work)) => limit::publisher(work),
        Bench::Role(Role::LimitSubscriber(work)) => limit::subscriber(work),
        Bench::Role(Role::LimitEcho(work)) => limit::echo(work),
    }
}

/// An orchestrator of the measurement's own; down, and its folder gone, when dropped.
struct Own {
    folder: PathBuf,
    socket: PathBuf,
    pid: u32,
}

impl Own {
    fn start(asked: &Udd) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("copo-bench-{}", std::process::id()));
        let cannot = |error: std::io::Error| Failure::io(format!("make {}", folder.display()), &error);
        std::fs::create_dir_all(&folder).map_err(cannot)?;
        let config = format!(
            "application = \"bench\"\n[context]\ndurability = \"{}\"\nwhen_full = \"wait\"\nwait_limit = \"60s\"\n",
            asked.durability.name()
        );
        std::fs::write(folder.join("copo.toml"), config).map_err(cannot)?;
        let socket = Layout::new(&folder, "bench").socket();
        let mut own = Self { folder, socket, pid: 0 };
        own.copo(&["up", "-d"])?;
        let version = own.copo(&["version", "--json"])?;
        let version: Value = serde_json::from_slice(&version).unwrap_or_default();
        own.pid = version["orchestrator"]["pid"].as_u64().and_then(|pid| pid.try_into().ok()).unwrap_or(0);
        Ok(own)
    }

    fn copo(&self, args: &[&str]) -> Result<Vec<u8>, Failure> {
        let cannot = |error: std::io::Error| Failure::io("run copo", &error);
        let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
        command.arg("-f").arg(self.folder.join("copo.toml")).args(args);
        command.env(env::HOME, &self.folder).env_remove(env::SOCKET).env_remove(env::TOKEN);
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().map_err(cannot)?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(Failure::new(FAILED, "cannot measure: the bench's own orchestrator did not do as told"))
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Whatever went wrong has been said already.
        let _ = self.copo(&["down", "-t", "0"]);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn udd(asked: &Udd) -> Outcome {
    let own = Own::start(asked)?;
    let copo = Carrier::Copo { socket: &own.socket, pid: own.pid };
    let limit = Carrier::Limit { folder: &own.folder };
    let (count, limit_count) = (trial(&copo, asked)?, trial(&limit, asked)?);
    let (mut rounds, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..asked.rounds {
        // In turn, so that a machine that slows down slows both.
        rounds.push(round::run(&copo, asked, count, 0)?);
        limits.push(round::run(&limit, asked, limit_count, 0)?);
    }
    let timed = u64::from(asked.seconds) * LATENCY_RATE;
    let (mut paced, mut limit_paced) = (Vec::new(), Vec::new());
    for _ in 0..asked.rounds {
        paced.push(round::run(&copo, asked, timed, LATENCY_RATE)?);
        limit_paced.push(round::run(&limit, asked, timed, LATENCY_RATE)?);
    }
    let acks = acks(&own, asked)?;
    let report = report(asked, &rounds, &limits, &paced, &limit_paced, &acks);
    drop(own);
    print(asked, &report)?;
    let is_whole = ["lost", "duplicated", "reordered"].iter().all(|wrong| report[*wrong] == 0);
    if is_whole {
        Ok(())
    } else {
        Err(Failure::new(FAILED, "cannot trust this: not every record arrived once, in order"))
    }
}

/// How many records a round needs to last as long as asked: what a short one says.
fn trial(carrier: &Carrier<'_>, asked: &Udd) -> Result<u64, Failure> {
    let most = MOST_BYTES / u64::from(asked.size);
    let few = (32_000_000 / u64::from(asked.size)).clamp(64, 100_000).min(most);
    let rate = round::run(carrier, asked, few, 0)?.rate();
    Ok(((rate * f64::from(asked.seconds)) as u64).clamp(few, most.max(few)))
}

/// Acknowledged sends: one under way, a thousand under way, and the bare round trip beside them.
struct Acks {
    one: f64,
    thousand: f64,
    round_trip: f64,
}

fn acks(own: &Own, asked: &Udd) -> Result<Acks, Failure> {
    let size = asked.size as usize;
    let many = (256_000_000 / u64::from(asked.size)).clamp(100, 1_000_000);
    let few = many.min(5_000);
    let (mut one, mut thousand, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..asked.rounds {
        one.push(round::acknowledged(&own.socket, size, 1, few)?);
        bare.push(round_trip(&own.folder, size, few)?);
        thousand.push(round::acknowledged(&own.socket, size, 1000, many)?);
    }
    Ok(Acks { one: median(one), thousand: median(thousand), round_trip: median(bare) })
}

fn round_trip(folder: &Path, size: usize, count: u64) -> Result<f64, Failure> {
    let socket = folder.join("echo");
    // Left by the round before.
    let _ = std::fs::remove_file(&socket);
    let mut echo = Worker::start("limit-echo", &Work { socket: socket.clone(), size, ..Work::default() })?;
    echo.go()?;
    limit::round_trip(&socket, size, count).map_err(|error| role::cannot("measure a bare round trip", &error))
}

fn report(
    asked: &Udd,
    rounds: &[Round],
    limits: &[Round],
    paced: &[Round],
    limit_paced: &[Round],
    acks: &Acks,
) -> Value {
    let of = |rounds: &[Round], figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let rate = of(rounds, &Round::rate);
    let limit_rate = of(limits, &Round::rate);
    let micros = |rounds: &[Round], at: usize| of(rounds, &|round| round.latencies[at] as f64 / 1e3);
    let wrong = |at: usize| rounds.iter().chain(paced).map(|round| round.wrong[at]).sum::<u64>();
    json!({
        "size": asked.size,
        "publishers": asked.publishers,
        "subscribers": asked.subscribers,
        "durability": asked.durability.name(),
        "records_per_s": rate.round(),
        "mb_per_s": (rate * f64::from(asked.size) / 1e6).round(),
        "p50_us": micros(paced, 0),
        "p99_us": micros(paced, 1),
        "p999_us": micros(paced, 2),
        "cpu_s_per_million": of(rounds, &|round| round.cpu as f64 / 1e3 / round.count as f64),
        "limit_records_per_s": limit_rate.round(),
        "limit_p50_us": micros(limit_paced, 0),
        "throughput_ratio": rate / limit_rate,
        "latency_ratio": micros(paced, 0) / micros(limit_paced, 0),
        "lost": wrong(0),
        "duplicated": wrong(1),
        "reordered": wrong(2),
        "acked_one_in_flight_us": 1e6 / acks.one,
        "round_trip_us": acks.round_trip / 1e3,
        "acked_one_in_flight_ratio": 1e9 / acks.one / acks.round_trip,
        "acked_thousand_in_flight_per_s": acks.thousand.round(),
    })
}

fn print(asked: &Udd, report: &Value) -> Outcome {
    let mut out = Out::new();
    if asked.json {
        return out.json(report);
    }
    let figure = |name: &str| report[name].as_f64().unwrap_or(0.0);
    out.line(&format!(
        "{} B, {} -> {}, durability {}, medians of {} rounds",
        asked.size,
        asked.publishers,
        asked.subscribers,
        asked.durability.name(),
        asked.rounds
    ))?;
    let rows = [
        ("records/s at each subscriber", "records_per_s", "limit_records_per_s", "throughput_ratio"),
        ("one-way p50 at 1,000/s, us", "p50_us", "limit_p50_us", "latency_ratio"),
        ("acknowledged, one in flight, us", "acked_one_in_flight_us", "round_trip_us", "acked_one_in_flight_ratio"),
    ];
    out.line(&format!("{:<34}{:>14}{:>14}{:>8}", "", "copo", "limit", "ratio"))?;
    for (what, ours, limit, ratio) in rows {
        out.line(&format!("{what:<34}{:>14.1}{:>14.1}{:>8.2}", figure(ours), figure(limit), figure(ratio)))?;
    }
    for (what, name) in [
        ("one-way p99, us", "p99_us"),
        ("one-way p99.9, us", "p999_us"),
        ("MB/s at each subscriber", "mb_per_s"),
        ("CPU seconds per million records", "cpu_s_per_million"),
        ("acknowledged, 1,000 in flight, /s", "acked_thousand_in_flight_per_s"),
    ] {
        out.line(&format!("{what:<34}{:>14.2}", figure(name)))?;
    }
    out.line(&format!(
        "lost {}, duplicated {}, reordered {}",
        report["lost"], report["duplicated"], report["reordered"]
    ))?;
    out.flush()
}

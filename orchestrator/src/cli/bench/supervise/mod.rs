//! `copo bench supervise`: what starting, stopping, restarting, watching and copying costs beside a loop that does nothing
//! else (`limit`), in the same run. What is supervised is this binary itself, called so that it does nothing (`child`).

pub mod child;
mod limit;
mod logs;
mod rounds;
mod stamps;
mod usage;

use serde_json::{Value, json};

use super::args::Supervise;
use super::meter::median;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::Out;
use rounds::Round;

/// Runs it.
pub fn measure(asked: &Supervise) -> Outcome {
    let program = std::env::current_exe().map_err(|error| Failure::io("find this program", &error))?;
    let (mut all, mut limits) = (Vec::new(), Vec::new());
    let (mut one, mut hundred) = (Vec::new(), Vec::new());
    for _ in 0..asked.rounds {
        // In turn, so that a machine that slows down slows both.
        limits.push(rounds::limit(&program, asked.processes as usize)?);
        all.push(rounds::copo(&program, asked)?);
        one.push(logs::measure(&program, 1, each(asked.log_bytes, 1))?);
        hundred.push(logs::measure(&program, 100, each(asked.log_bytes, 100))?);
    }
    let report = report(asked, &all, &limits, &one, &hundred);
    print(asked, &report)
}

/// Whole lines of so many bytes in all, for each of so many.
fn each(bytes: u64, count: u64) -> u64 {
    let line = child::LINE as u64;
    (bytes / count / line).max(1) * line
}

fn report(asked: &Supervise, all: &[Round], limits: &[Round], one: &[logs::Copied], hundred: &[logs::Copied]) -> Value {
    let of = |rounds: &[Round], figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let millis = |rounds: &[Round], figure: &dyn Fn(&Round) -> f64| of(rounds, figure) / 1e6;
    let restart = |rounds: &[Round]| median(rounds.iter().flat_map(|round| round.restarts.clone()).collect()) / 1e6;
    let (start, limit_start) = (millis(all, &|round| round.start), millis(limits, &|round| round.start));
    let (stop, limit_stop) = (millis(all, &|round| round.stop), millis(limits, &|round| round.stop));
    let (restart, limit_restart) = (restart(all), restart(limits));
    let rate = |copied: &[logs::Copied], figure: &dyn Fn(&logs::Copied) -> f64| {
        median(copied.iter().map(figure).collect()) * 1e3
    };
    let (log, limit_log) = (rate(one, &|copied| copied.rate), rate(one, &|copied| copied.limit));
    let (logs, limit_logs) = (rate(hundred, &|copied| copied.rate), rate(hundred, &|copied| copied.limit));
    let lost: u64 = one.iter().chain(hundred).map(|copied| copied.lost).sum();
    json!({
        "processes": asked.processes,
        "start_ms": start,
        "limit_start_ms": limit_start,
        "start_ratio": start / limit_start,
        "stop_ms": stop,
        "limit_stop_ms": limit_stop,
        "stop_ratio": stop / limit_stop,
        "down_ms": millis(all, &|round| round.down),
        "restart_ms": restart,
        "limit_restart_ms": limit_restart,
        "restart_ratio": restart / limit_restart,
        "pss_kb": of(all, &|round| round.pss_kb).round(),
        "idle_wakeups_per_s": of(all, &|round| round.wakeups),
        "log_mb_per_s": log.round(),
        "limit_log_mb_per_s": limit_log.round(),
        "log_ratio": log / limit_log,
        "log_lines_lost": lost,
        "log_100_mb_per_s": logs.round(),
        "limit_log_100_mb_per_s": limit_logs.round(),
        "log_100_ratio": logs / limit_logs,
        "adopt_ms": millis(all, &|round| round.adopt),
    })
}

fn print(asked: &Supervise, report: &Value) -> Outcome {
    let mut out = Out::new();
    if asked.json {
        return out.json(report);
    }
    let figure = |name: &str| report[name].as_f64().unwrap_or(0.0);
    out.line(&format!("{} processes, medians of {} rounds", asked.processes, asked.rounds))?;
    out.line(&format!("{:<44}{:>12}{:>12}{:>8}", "", "copo", "limit", "ratio"))?;
    for (what, ours, limit, ratio) in [
        ("start, last one's own stamp, ms", "start_ms", "limit_start_ms", "start_ratio"),
        ("stop, last one gone, ms", "stop_ms", "limit_stop_ms", "stop_ratio"),
        ("crash to replacement running, ms", "restart_ms", "limit_restart_ms", "restart_ratio"),
        ("log of one chatty process, MB/s", "log_mb_per_s", "limit_log_mb_per_s", "log_ratio"),
        ("logs of 100 chatty processes, MB/s", "log_100_mb_per_s", "limit_log_100_mb_per_s", "log_100_ratio"),
    ] {
        out.line(&format!("{what:<44}{:>12.2}{:>12.2}{:>8.2}", figure(ours), figure(limit), figure(ratio)))?;
    }
    for (what, name) in [
        ("down, orchestrator gone, ms", "down_ms"),
        ("memory (PSS), keeper included, kB", "pss_kb"),
        ("idle wakeups per second", "idle_wakeups_per_s"),
        ("back in control after kill -9, ms", "adopt_ms"),
    ] {
        out.line(&format!("{what:<44}{:>12.2}", figure(name)))?;
    }
    out.line(&format!("log lines lost {}", report["log_lines_lost"]))?;
    out.flush()
}

//! What came of a measurement, as JSON and as people read it.

use serde_json::{Value, json};

use super::args::Udd;
use super::meter::median;
use super::round::Round;
use super::udd::Measured;
use crate::cli::failure::Outcome;
use crate::cli::output::Out;

/// Medians of what was measured, and their ratios to the limit's.
pub fn make(asked: &Udd, rate: u64, copo: &Measured, limit: &Measured, peers: &[Measured]) -> Value {
    let (of_copo, of_limit) = (figures(copo), figures(limit));
    let ratio = |name: &str| of_copo[name].as_f64().unwrap_or(0.0) / of_limit[name].as_f64().unwrap_or(0.0);
    let mut report = json!({
        "size": asked.size,
        "publishers": asked.publishers,
        "subscribers": asked.subscribers,
        "durability": asked.durability.name(),
        "sdk": asked.sdk.name(),
    });
    extend(&mut report, of_copo.clone());
    extend(
        &mut report,
        json!({
            "limit_records_per_s": of_limit["records_per_s"],
            "limit_p50_us": of_limit["p50_us"],
            "limit_p99_us": of_limit["p99_us"],
            "limit_cpu_s_per_million": of_limit["cpu_s_per_million"],
            "round_trip_us": of_limit["acked_one_in_flight_us"],
            "throughput_ratio": ratio("records_per_s"),
            "latency_ratio": ratio("p50_us"),
            "acked_one_in_flight_ratio": ratio("acked_one_in_flight_us"),
            "sent_alone_per_s": median(copo.sent_alone.clone()).round(),
            "followed_alone_per_s": median(copo.followed_alone.clone()).round(),
            "latency_rate": rate,
            "rounds": asked.rounds,
        }),
    );
    let beside = asked.beside.iter().zip(peers).map(|(peer, measured)| {
        let mut figures = figures(measured);
        figures["peer"] = peer.name().into();
        figures
    });
    report["beside"] = beside.collect();
    report
}

fn extend(report: &mut Value, more: Value) {
    if let (Value::Object(report), Value::Object(more)) = (report, more) {
        report.extend(more);
    }
}

fn figures(measured: &Measured) -> Value {
    let of = |rounds: &[Round], figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let micros = |at: usize| of(&measured.paced, &|round| round.latencies[at] as f64 / 1e3);
    let wrong = |at: usize| measured.fast.iter().chain(&measured.paced).map(|round| round.wrong[at]).sum::<u64>();
    let rate = of(&measured.fast, &Round::rate);
    json!({
        "records_per_s": rate.round(),
        "mb_per_s": (of(&measured.fast, &Round::bytes_per_second) / 1e6).round(),
        "p50_us": micros(0),
        "p99_us": micros(1),
        "p999_us": micros(2),
        "cpu_s_per_million": of(&measured.fast, &|round| round.cpu as f64 / 1e3 / round.count as f64),
        "lost": wrong(0),
        "duplicated": wrong(1),
        "reordered": wrong(2),
        "acked_one_in_flight_us": median(measured.one_in_flight.clone()),
        "acked_thousand_in_flight_per_s": median(measured.thousand_in_flight.clone()).round(),
    })
}

/// Prints the report.
pub fn print(asked: &Udd, report: &Value) -> Outcome {
    let mut out = Out::new();
    if asked.json {
        return out.json(report);
    }
    let figure = |name: &str| report[name].as_f64().unwrap_or(0.0);
    out.line(&format!(
        "{} B, {} -> {}, durability {}, {} SDK, medians of {} rounds",
        asked.size,
        asked.publishers,
        asked.subscribers,
        asked.durability.name(),
        asked.sdk.name(),
        asked.rounds
    ))?;
    let rows = [
        ("records/s at each subscriber", "records_per_s", "limit_records_per_s", "throughput_ratio"),
        ("one-way p50 at a fixed rate, us", "p50_us", "limit_p50_us", "latency_ratio"),
        ("acknowledged, one in flight, us", "acked_one_in_flight_us", "round_trip_us", "acked_one_in_flight_ratio"),
    ];
    out.line(&format!("{:<36}{:>14}{:>14}{:>8}", "", "copo", "limit", "ratio"))?;
    for (what, ours, limit, ratio) in rows {
        out.line(&format!("{what:<36}{:>14.1}{:>14.1}{:>8.2}", figure(ours), figure(limit), figure(ratio)))?;
    }
    let rows = [
        ("CPU seconds per million records", "cpu_s_per_million", "limit_cpu_s_per_million"),
        ("one-way p99, us", "p99_us", "limit_p99_us"),
    ];
    for (what, ours, limit) in rows {
        out.line(&format!("{what:<36}{:>14.2}{:>14.2}", figure(ours), figure(limit)))?;
    }
    for (what, name) in [
        ("one-way p99.9, us", "p999_us"),
        ("MB/s at each subscriber", "mb_per_s"),
        ("acknowledged, 1,000 in flight, /s", "acked_thousand_in_flight_per_s"),
        ("sent while nobody follows, /s", "sent_alone_per_s"),
        ("followed while nobody sends, /s", "followed_alone_per_s"),
    ] {
        out.line(&format!("{what:<36}{:>14.2}", figure(name)))?;
    }
    print_wrong(&mut out, "copo", report)?;
    print_peers(&mut out, report)?;
    out.flush()
}

fn print_wrong(out: &mut Out, whose: &str, figures: &Value) -> Outcome {
    let [lost, duplicated, reordered] = ["lost", "duplicated", "reordered"].map(|wrong| &figures[wrong]);
    out.line(&format!("{whose}: lost {lost}, duplicated {duplicated}, reordered {reordered}"))
}

fn print_peers(out: &mut Out, report: &Value) -> Outcome {
    for peer in report["beside"].as_array().into_iter().flatten() {
        let figure = |name: &str| peer[name].as_f64().unwrap_or(0.0);
        out.line(&format!(
            "{}: {:.0} records/s, p50 {:.1} us, p99 {:.1} us, CPU {:.2} s per million, one in flight {:.1} us, \
             1,000 in flight {:.0}/s",
            peer["peer"].as_str().unwrap_or_default(),
            figure("records_per_s"),
            figure("p50_us"),
            figure("p99_us"),
            figure("cpu_s_per_million"),
            figure("acked_one_in_flight_us"),
            figure("acked_thousand_in_flight_per_s"),
        ))?;
        print_wrong(out, peer["peer"].as_str().unwrap_or_default(), peer)?;
    }
    Ok(())
}

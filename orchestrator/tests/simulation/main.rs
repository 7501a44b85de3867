//! The simulator: random applications under the pure supervisor, with random children, random commands and a virtual
//! clock; after each event the judge looks whether a promise is broken.
//!
//! `cargo test` lives through a few hundred thousand events. A long run:
//!
//! ```text
//! COPO_SIM_EVENTS=10000000 COPO_SIM_SEED=1 cargo test --release -p copo-orchestrator --test simulation -- --nocapture
//! ```
//!
//! A broken promise ends it with the life it happened in and the last events of the process concerned. The same life
//! again, and nothing else: `COPO_SIM_LIFE=<life>`.

mod chance;
mod children;
mod commands;
mod judge;
mod life;
mod plans;
mod seen;
mod tally;
mod trace;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use chance::Chance;
use life::Life;
use tally::Tally;

/// Events of one `cargo test`.
const SHORT: u64 = 300_000;
/// Their seed.
const SEED: u64 = 7;
/// Every so many lives one is lived twice, to see that the same events give the same actions.
const TWICE: u64 = 8;

#[test]
fn no_promise_is_broken_whatever_happens() {
    if let Some(life) = number("COPO_SIM_LIFE") {
        let events = attempt(life, 0).events();
        println!("simulation: life {life:#x} of {events} events holds");
        return;
    }
    let events = number("COPO_SIM_EVENTS");
    // A short run is the same each time, so that it says something of what was changed; a long one looks for the unknown.
    let usual = || if events.is_some() { u64::from(std::process::id()) << 32 | elapsed_of_today() } else { SEED };
    let (seed, wanted) = (number("COPO_SIM_SEED").unwrap_or_else(usual), events.unwrap_or(SHORT));
    println!("simulation: seed {seed}, {wanted} events");
    let begin = Instant::now();
    let mut lives = Chance::new(seed);
    let (mut events, mut count, mut tally) = (0, 0_u64, Tally::default());
    while events < wanted {
        let seed_of_life = lives.word();
        let life = attempt(seed_of_life, seed);
        events += life.events();
        tally.add(life.tally());
        if count.is_multiple_of(TWICE) {
            let again = attempt(seed_of_life, seed).print();
            let why = "the same events gave other actions";
            assert_eq!(life.print(), again, "{why}: life {seed_of_life:#x} of seed {seed}");
        }
        count += 1;
    }
    println!("{tally}simulation: seed {seed}, {events} events in {count} lives hold, {:.1?}", begin.elapsed());
    let missing = tally.missing();
    assert!(events < SHORT || missing.is_empty(), "seed {seed}: nobody has judged {missing:?}, which never happened");
}

/// Lives one life to its end.
fn attempt(seed: u64, of: u64) -> Life {
    let mut life = Life::new(seed);
    let lived = catch_unwind(AssertUnwindSafe(|| life.live()));
    let broken = match lived {
        Ok(Ok(())) => return life,
        Ok(Err(broken)) => broken,
        Err(_) => "the supervisor panicked".to_owned(),
    };
    eprintln!("{}", life.story(&broken));
    panic!("{broken}\n  in life {seed:#x} of seed {of}; again: COPO_SIM_LIFE={seed:#x}");
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.replace('_', "").parse(),
    };
    Some(number.unwrap_or_else(|why| panic!("{name}={text}: {why}")))
}

/// Another seed for each `cargo test`; it is printed.
fn elapsed_of_today() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::from(since.unwrap_or(Duration::ZERO).subsec_nanos())
}

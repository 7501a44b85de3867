//! `copo wait`: for scripts and CI.

use std::time::{Duration, Instant};

use copo::v1::request::Kind;
use copo::v1::{self, wait};
use copo::{Client, ErrorCode, SubscribeOptions};

use super::args::{Condition, Place, Wait};
use super::control;
use super::failure::{Failure, Outcome, TIMED_OUT};
use super::find;

/// `copo wait NAME… --for CONDITION`, `copo wait --record KEY`
pub fn run(place: &Place, wait: &Wait) -> Outcome {
    let client = find::target(place)?.connect()?;
    match &wait.record {
        Some(key) => for_record(&client, key, wait.timeout),
        None => for_processes(&client, wait),
    }
}

fn for_processes(client: &Client, wait: &Wait) -> Outcome {
    let (condition, word) = match wait.condition {
        Condition::Ready => (wait::Condition::Ready, "ready"),
        Condition::Finished => (wait::Condition::Finished, "finished"),
    };
    let request = v1::Wait { names: wait.names.clone(), condition: condition.into() };
    let waited = control::done(client, Kind::Wait(request), wait.timeout);
    waited.map_err(|failure| told_if_late(failure, &format!("{} is not {word}", wait.names.join(", ")), wait.timeout))
}

/// Returns when there is a record of the key: now, or once one comes.
fn for_record(client: &Client, key: &str, timeout: Option<Duration>) -> Outcome {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    // Followed first, asked for second: a record that comes in between is seen by the one or the other.
    let mut records = client.udd_subscribe(&SubscribeOptions::default().key_pattern(key))?;
    let of_key = if key.is_empty() { None } else { Some(key) };
    if client.udd_get(of_key)?.is_some() {
        return Ok(());
    }
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match records.next(left) {
            Ok(copo::Item::Record(_)) => return Ok(()),
            Ok(copo::Item::Report(_) | copo::Item::Gap(_)) => {}
            Err(error) if error.code() == ErrorCode::TimedOut => {
                return Err(told_if_late(error.into(), &format!("there is no record with key {key:?}"), timeout));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A time that is over is told with what was waited for.
pub fn told_if_late(failure: Failure, what: &str, timeout: Option<Duration>) -> Failure {
    match timeout {
        Some(timeout) if failure.code == TIMED_OUT => {
            Failure::new(TIMED_OUT, format!("cannot wait any longer: {what} after {} s", timeout.as_secs_f64()))
        }
        Some(_) | None => failure,
    }
}

//! `start`, `stop`, `restart`, `trigger`, `kill`: asks, and waits for the answer.

use std::time::Duration;

use copo::v1::request::Kind;
use copo::v1::{self, response};
use copo::{Client, ErrorCode};
use copo_orchestrator::signal;

use super::args::{self, Place};
use super::changes;
use super::failure::{FAILED, Failure, Outcome, USAGE};
use super::find;
use super::output::Out;

/// `copo start NAME…`
pub fn start(place: &Place, names: &[String]) -> Outcome {
    done(&find::target(place)?.connect()?, Kind::Start(v1::Start { names: names.to_vec() }), None)
}

/// `copo stop NAME…`
pub fn stop(place: &Place, names: &[String]) -> Outcome {
    done(&find::target(place)?.connect()?, Kind::Stop(v1::Stop { names: names.to_vec() }), None)
}

/// `copo restart NAME…`
pub fn restart(place: &Place, names: &[String]) -> Outcome {
    let client = find::target(place)?.connect()?;
    changes::warn_of_drift(&client);
    done(&client, Kind::Restart(v1::Restart { names: names.to_vec() }), None)
}

/// `copo kill -s SIG NAME`
pub fn kill(place: &Place, kill: &args::Kill) -> Outcome {
    let signal = signal::canonical(&kill.signal).ok_or_else(|| {
        Failure::new(USAGE, format!("cannot send {:?}: there is no signal of that name", kill.signal))
    })?;
    let request = v1::Kill { name: kill.name.clone(), signal: signal.to_owned() };
    done(&find::target(place)?.connect()?, Kind::Kill(request), None)
}

/// `copo trigger NAME`: the RunId on stdout; with `--wait` the run's exit code.
pub fn trigger(place: &Place, trigger: &args::Trigger) -> Outcome {
    let client = find::target(place)?.connect()?;
    let args::Trigger { name, wait, args } = trigger;
    let request = v1::Trigger { name: name.clone(), args: args.clone(), wait: *wait };
    let response::Kind::Triggered(triggered) = client.call(Kind::Trigger(request), None)? else {
        return Err(unexpected());
    };
    if !wait {
        return triggered.run.map_or(Ok(()), |run| {
            let mut out = Out::new();
            out.line(&run)?;
            out.flush()
        });
    }
    match run_exit_code(triggered.exit_code, triggered.signal) {
        Some(0) => Ok(()),
        Some(code) => Err(Failure::silent(code)),
        None if triggered.succeeded == Some(true) => Ok(()),
        None => {
            Err(Failure::new(FAILED, format!("cannot tell the exit code of {name}: its run did not end by itself")))
        }
    }
}

/// Asks for something that is answered by Done.
pub fn done(client: &Client, request: Kind, timeout: Option<Duration>) -> Outcome {
    let response::Kind::Done(_) = client.call(request, timeout)? else { return Err(unexpected()) };
    Ok(())
}

/// The state of all processes.
pub fn processes(client: &Client) -> Result<Vec<v1::ProcessStatus>, Failure> {
    let response::Kind::Processes(processes) = client.call(Kind::Ps(v1::Ps {}), None)? else {
        return Err(unexpected());
    };
    Ok(processes.processes)
}

/// How long the state of the orchestrator is waited for. It is answered at once: one that does not has gone, and an SDK
/// would wait for the next.
const STATUS: Duration = Duration::from_secs(5);

/// The state of the orchestrator.
pub fn status(client: &Client) -> Result<v1::OrchestratorStatus, Failure> {
    let response::Kind::Status(status) = client.call(Kind::Status(v1::Status {}), Some(STATUS))? else {
        return Err(unexpected());
    };
    Ok(status)
}

/// How a run's end reads as an exit code: its own, or 128 + the signal that ended it.
pub fn run_exit_code(exit_code: Option<i32>, signal: Option<i32>) -> Option<u8> {
    match (exit_code, signal) {
        (Some(0), _) => Some(0),
        // Windows has exit codes of 32 bits: what is left of one must not read as success.
        (Some(code), _) => Some(u8::try_from(code & 0xff).unwrap_or(FAILED).max(FAILED)),
        (None, Some(signal)) => Some(u8::try_from(128 + signal).unwrap_or(FAILED)),
        (None, None) => None,
    }
}

/// With what exit code the application ends by itself, if this is the report that says so.
pub fn application_exit_code(report: &v1::MetaReport) -> Option<i32> {
    let facts = report.facts.as_ref().filter(|facts| facts.event() == v1::EventKind::OrchestratorStopped)?;
    facts.exit_code
}

/// This command ends as the application did.
pub fn ended_with(exit_code: i32) -> Outcome {
    match run_exit_code(Some(exit_code), None) {
        None | Some(0) => Ok(()),
        Some(code) => Err(Failure::silent(code)),
    }
}

/// The answer is not the one to this request.
pub fn unexpected() -> Failure {
    Failure::of(ErrorCode::Malformed, "cannot use the orchestrator's answer: it is not the one to this request")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_reads_as_128_and_its_number() {
        assert_eq!(run_exit_code(Some(3), None), Some(3));
        assert_eq!(run_exit_code(None, Some(15)), Some(143));
        assert_eq!(run_exit_code(None, None), None);
        assert_eq!(run_exit_code(Some(-1), None), Some(255));
        assert_eq!(run_exit_code(Some(0x100), None), Some(1));
    }
}

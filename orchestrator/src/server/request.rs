//! The request table: one arm per kind of request.
//!
//! What is asked of the context is answered at once. What is asked of processes becomes a command to the supervisor, which
//! also decides who may; its answer comes back by [`Hub::reply`].

use std::rc::Rc;
use std::time::Duration;

use copo_proto::key;
use copo_proto::v1::{self, ErrorCode, request, response};

use super::converge;
use super::error;
use super::handshake;
use super::hub::Hub;
use super::identity::Admitted;
use super::line::Line;
use crate::signal;
use crate::supervisor::{Command, Event};

/// What becomes of a request.
enum Answer {
    Now(response::Kind),
    /// Later, by whoever has taken the request over.
    Later,
    BySupervisor(Command),
}

const DONE: Answer = Answer::Now(response::Kind::Done(v1::Done {}));

/// Answers a request, or hands it to whoever will. Sends and Subscribe are not among them.
pub(super) fn answer(hub: &Rc<Hub>, line: &Rc<Line>, id: u64, kind: Option<request::Kind>) {
    let answer = match kind {
        Some(request::Kind::Converge(request)) => begin_converge(hub, line, id, request),
        Some(kind) => decide(hub, line, kind),
        None => Err(error(ErrorCode::Unsupported, "cannot do what is asked: this orchestrator does not know it")),
    };
    let answer = answer.and_then(|answer| match answer {
        Answer::Now(kind) => Ok(Some(kind)),
        Answer::Later => Ok(None),
        Answer::BySupervisor(command) => hub.command(line, id, command).map(|()| None),
    });
    match answer {
        Ok(Some(kind)) => line.respond(id, kind),
        Ok(None) => {}
        Err(error) => line.respond(id, response::Kind::Error(error)),
    }
}

fn decide(hub: &Rc<Hub>, line: &Line, kind: request::Kind) -> Result<Answer, v1::Error> {
    use request::Kind;
    match kind {
        Kind::UddSend(_) | Kind::MetaSend(_) | Kind::Subscribe(_) | Kind::Converge(_) => {
            Err(error(ErrorCode::Internal, "cannot answer this as other requests are answered"))
        }
        Kind::UddGet(get) => newest(hub, get.key.as_deref()),
        Kind::UddHeaders(v1::UddHeaders {}) => Ok(Answer::Now(response::Kind::Headers(hub.headers()))),
        Kind::UddSetHeaders(set) => {
            check_not_fenced(line, "set the headers")?;
            hub.set_headers(line.speaker.sent_by(), set.headers).map(|()| DONE)
        }
        Kind::UddPurge(v1::UddPurge {}) => {
            check_control(line, "purge the records")?;
            hub.purge(line.speaker.sent_by()).map(|()| DONE)
        }
        Kind::Ready(v1::Ready {}) => {
            let run = run_of(line, "be ready")?.run;
            hub.tell(Event::Ready { run });
            Ok(DONE)
        }
        Kind::WatchStop(v1::WatchStop {}) => {
            let admitted = run_of(line, "be told when to stop")?;
            hub.tell(Event::StopWatched { run: admitted.run });
            // Who begins to watch when it is asked to stop already knows so when this is answered.
            if let Some(killed_at) = admitted.killed_at() {
                line.say(handshake::stop_requested(killed_at));
            }
            Ok(DONE)
        }
        Kind::Status(v1::Status {}) => Ok(Answer::Now(response::Kind::Status(hub.status()))),
        Kind::Ps(v1::Ps {}) => Ok(Answer::BySupervisor(Command::Ps)),
        Kind::Wait(wait) => condition(wait).map(Answer::BySupervisor),
        Kind::Start(v1::Start { names }) => control(line, Command::Start { names }),
        Kind::Stop(v1::Stop { names }) => control(line, Command::Stop { names }),
        Kind::Restart(v1::Restart { names }) => control(line, Command::Restart { names }),
        Kind::Trigger(v1::Trigger { name, args, wait }) => control(line, Command::Trigger { name, args, wait }),
        Kind::Kill(v1::Kill { name, signal }) => control(line, kill(name, &signal)?),
        Kind::Upgrade(v1::Upgrade { binary }) => {
            check_control(line, "upgrade the orchestrator")?;
            upgrade(hub, binary).map(|()| DONE)
        }
        Kind::Scale(v1::Scale { to }) => {
            let to = to.into_iter().map(|v1::Replicas { process, replicas }| (process, replicas)).collect();
            control(line, Command::Scale { to })
        }
        Kind::Down(v1::Down { grace_ms, kill, purge }) => {
            if purge {
                check_control(line, "purge the context")?;
                hub.purge_when_down();
            }
            control(line, Command::Down { grace: grace_ms.map(Duration::from_millis), kill })
        }
    }
}

/// A run that has ended changes nothing any more; who else may, the supervisor decides.
fn begin_converge(hub: &Rc<Hub>, line: &Rc<Line>, id: u64, request: v1::Converge) -> Result<Answer, v1::Error> {
    check_not_fenced(line, "bring up the application")?;
    converge::converge(hub, line, id, request);
    Ok(Answer::Later)
}

/// Only where a keeper takes in what runs meanwhile can another orchestrator take over.
#[cfg(target_os = "linux")]
fn upgrade(hub: &Hub, binary: String) -> Result<(), v1::Error> {
    let path = std::path::PathBuf::from(&binary);
    if !path.is_absolute() || !path.is_file() {
        let message = format!("cannot upgrade the orchestrator to {binary:?}: there is no such file");
        return Err(error(ErrorCode::InvalidArgument, message));
    }
    hub.upgrade_to(path);
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn upgrade(_hub: &Hub, _binary: String) -> Result<(), v1::Error> {
    Err(error(ErrorCode::Unsupported, "cannot upgrade the orchestrator: only on Linux does what runs outlive it"))
}

fn newest(hub: &Rc<Hub>, key: Option<&str>) -> Result<Answer, v1::Error> {
    if let Some(key) = key {
        let invalid = |why| error(ErrorCode::InvalidKey, format!("cannot get the newest record of {key:?}: {why}"));
        key::check(key).map_err(invalid)?;
    }
    match hub.newest(key) {
        Some(record) => Ok(Answer::Now(response::Kind::Record(record))),
        None => {
            let of = key.map(|key| format!(" of the key {key:?}")).unwrap_or_default();
            Err(error(ErrorCode::NotFound, format!("cannot get the newest record{of}: there is none")))
        }
    }
}

fn condition(wait: v1::Wait) -> Result<Command, v1::Error> {
    match wait.condition() {
        v1::wait::Condition::Unspecified => {
            Err(error(ErrorCode::InvalidArgument, "cannot wait: no condition that this orchestrator knows is named"))
        }
        condition @ (v1::wait::Condition::Ready | v1::wait::Condition::Finished | v1::wait::Condition::Up) => {
            Ok(Command::Wait { names: wait.names, condition })
        }
    }
}

fn kill(name: String, signal: &str) -> Result<Command, v1::Error> {
    let unknown = || error(ErrorCode::InvalidArgument, format!("cannot signal {name}: there is no signal {signal:?}"));
    let signal = signal::canonical(signal).ok_or_else(unknown)?.to_owned();
    Ok(Command::Kill { name, signal })
}

/// A command that changes something: a run that has ended gives none any more. Who may, the supervisor decides.
fn control(line: &Line, command: Command) -> Result<Answer, v1::Error> {
    check_not_fenced(line, "control processes").map(|()| Answer::BySupervisor(command))
}

fn check_not_fenced(line: &Line, what: &str) -> Result<(), v1::Error> {
    if line.speaker.is_fenced() {
        let name = line.speaker.sent_by();
        return Err(error(ErrorCode::Fenced, format!("cannot {what}: this run of {name} has ended")));
    }
    Ok(())
}

fn check_control(line: &Line, what: &str) -> Result<(), v1::Error> {
    check_not_fenced(line, what)?;
    if line.speaker.may_control() {
        return Ok(());
    }
    let name = line.speaker.sent_by();
    Err(error(ErrorCode::Forbidden, format!("cannot {what}: {name} needs `control = true`")))
}

/// The run that speaks, for what only a living run can do.
fn run_of<'a>(line: &'a Line, what: &str) -> Result<&'a Rc<Admitted>, v1::Error> {
    check_not_fenced(line, what)?;
    let person = || error(ErrorCode::InvalidArgument, format!("cannot {what}: only a run can, and this is a person"));
    line.speaker.run().ok_or_else(person)
}

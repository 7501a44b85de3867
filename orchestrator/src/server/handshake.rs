//! Hello, and what it is answered: who speaks, and what it may count on.

use std::rc::Rc;

use copo_proto::v1::{self, ErrorCode, server_message};
use copo_proto::{VERSION, name};
use tokio::time::Instant;

use super::error;
use super::hub::Hub;
use super::identity::Speaker;
use super::line::Line;
use crate::context::{Known, WINDOW};

/// Who a person is that gives no name.
const DEFAULT_NAME: &str = "cli";
/// How many bytes of unacknowledged sends a client may have under way.
const WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// Admits who says Hello, or says why not. An admitted connection is registered and has its Welcome said to it. A `guest`,
/// another user, is admitted as a run of that user only.
pub(super) fn admit(hub: &Rc<Hub>, hello: &v1::Hello, guest: Option<u32>) -> Result<Rc<Line>, v1::Error> {
    check_version(hello)?;
    let client = client_id(&hello.client_id)?;
    let speaker = identify(hub, hello)?;
    if let Some(uid) = guest
        && speaker.run().is_none_or(|run| run.uid != Some(uid))
    {
        let message = format!("cannot admit the connection: uid {uid} shows no token of a run of its own");
        return Err(error(ErrorCode::Unauthorized, message));
    }
    let known = match &client {
        Some(client) => hub.join(client, &speaker)?,
        None => Known::default(),
    };
    let line = hub.register(speaker, client);
    line.say(server_message::Kind::Welcome(welcome(hub, &line.speaker, known)));
    if let Some(killed_at) = line.speaker.run().and_then(|run| run.killed_at()) {
        line.say(stop_requested(killed_at));
    }
    Ok(line)
}

/// Tells a connection that its run is asked to stop.
pub(super) fn stop_requested(killed_at: Instant) -> server_message::Kind {
    let grace = killed_at.saturating_duration_since(Instant::now());
    let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    server_message::Kind::StopRequested(v1::StopRequested { grace_ms })
}

fn welcome(hub: &Hub, speaker: &Speaker, known: Known) -> v1::Welcome {
    let (log_id, head) = hub.log();
    v1::Welcome {
        version: VERSION,
        log_id: log_id.to_vec().into(),
        head,
        last_number: known.last_number,
        internal_name: speaker.sent_by().to_owned(),
        run: speaker.run().map(|run| run.run.to_string()).unwrap_or_default(),
        max_record: hub.max_record() as u64,
        window: WINDOW,
        window_bytes: WINDOW_BYTES,
        taken: known.taken,
    }
}

fn check_version(hello: &v1::Hello) -> Result<(), v1::Error> {
    if (hello.min_version..=hello.max_version).contains(&VERSION) {
        return Ok(());
    }
    let message = format!(
        "cannot admit the connection: it speaks versions {} to {} of the protocol, the orchestrator version {VERSION}",
        hello.min_version, hello.max_version
    );
    Err(error(ErrorCode::Unsupported, message))
}

fn client_id(bytes: &[u8]) -> Result<Option<[u8; 16]>, v1::Error> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let wrong = |_| {
        let message = format!("cannot admit the connection: its client_id has {} bytes, not 16", bytes.len());
        error(ErrorCode::InvalidArgument, message)
    };
    bytes.try_into().map(Some).map_err(wrong)
}

/// Who speaks. A token that belongs to no run is refused, never read as none: whoever shows one means to be that run.
fn identify(hub: &Hub, hello: &v1::Hello) -> Result<Speaker, v1::Error> {
    if !hello.token.is_empty() {
        let unknown = || error(ErrorCode::Unauthorized, "cannot admit the connection: its token belongs to no run");
        return hub.run_of_token(&hello.token).map(Speaker::Run).ok_or_else(unknown);
    }
    let person = if hello.name.is_empty() { DEFAULT_NAME } else { &hello.name };
    let refused = |why| {
        let message = format!("cannot admit the connection: its name {person:?} is not usable: {why}");
        error(ErrorCode::InvalidArgument, message)
    };
    name::check(person).map_err(refused)?;
    Ok(Speaker::Person(format!("@{person}")))
}

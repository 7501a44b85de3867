//! A connection: reaching the Server, and the handshake. What the two sides say afterwards is not known here.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io;
use std::time::{Duration, Instant};

use copo_proto::v1::{ErrorCode, Hello, ServerMessage, Welcome, server_message};
use copo_proto::{Message, frame};
use interprocess::ConnectWaitMode;
use interprocess::local_socket::{self, GenericFilePath, prelude::*};

#[cfg(unix)]
pub(crate) use unix::{Line, Waker, wait};
#[cfg(windows)]
pub(crate) use windows::{Line, Waker, wait};

use crate::error::{Error, Result};
use crate::options::ConnectOptions;

/// How much one read takes at least.
const READ: usize = 64 * 1024;
/// Answers to requests may be larger than records are allowed to be.
const LEAST_MAX_FRAME: usize = 16 * 1024 * 1024;
/// How long to wait before asking again a Server that has no room for one more connection just now.
const BUSY_RETRY: Duration = Duration::from_millis(10);

/// A connection on which Welcome came.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) line: Line,
    pub(crate) decoder: frame::Decoder,
    /// Largest message the decoder takes.
    pub(crate) max_frame: usize,
    pub(crate) welcome: Welcome,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// Nobody is there, or who is there does not answer as it should: it may be otherwise later.
    Unreachable(Error),
    /// The orchestrator refused.
    Refused(Error),
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Unreachable(error) | OpenError::Refused(error) => error,
        }
    }
}

/// Connects and introduces this client; `client_id` is empty on a connection that sends no records.
pub(crate) fn open(
    options: &ConnectOptions,
    client_id: &[u8],
    timeout: Duration,
) -> std::result::Result<Connection, OpenError> {
    let deadline = Instant::now() + timeout;
    let path = options.socket.as_deref().unwrap_or_default();
    let unreachable = |why: io::Error| {
        OpenError::Unreachable(Error::new(ErrorCode::NoOrchestrator, format!("cannot connect to {path}: {why}")))
    };
    let line = reach(path, deadline).map_err(unreachable)?;
    let hello = Hello {
        min_version: copo_proto::VERSION,
        max_version: copo_proto::VERSION,
        sdk: options.sdk.clone(),
        name: options.name.clone(),
        token: options.token.clone().unwrap_or_default(),
        client_id: client_id.to_vec().into(),
    };
    let mut decoder = frame::Decoder::new(LEAST_MAX_FRAME);
    write_all(&line, &frame::to_vec(&hello), deadline).map_err(unreachable)?;
    let welcome = match read_message(&line, &mut decoder, deadline).map_err(unreachable)? {
        Some(server_message::Kind::Welcome(welcome)) => welcome,
        Some(server_message::Kind::Error(error)) => return Err(OpenError::Refused(Error::from_wire(error))),
        _ => return Err(unreachable(io::Error::other("what answers there is no orchestrator"))),
    };
    let max_record = usize::try_from(welcome.max_record).unwrap_or(usize::MAX);
    let max_frame = max_record.saturating_add(copo_proto::FRAME_OVERHEAD).max(LEAST_MAX_FRAME);
    decoder.set_max(max_frame);
    Ok(Connection { line, decoder, max_frame, welcome })
}

fn reach(path: &str, deadline: Instant) -> io::Result<Line> {
    let name = path.to_fs_name::<GenericFilePath>()?;
    loop {
        let mode = ConnectWaitMode::Timeout(deadline.saturating_duration_since(Instant::now()));
        match local_socket::ConnectOptions::new().name(name.borrow()).wait_mode(mode).connect_sync() {
            Ok(stream) => return Line::new(stream),
            Err(why) if why.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                std::thread::sleep(BUSY_RETRY);
            }
            Err(why) => return Err(why),
        }
    }
}

/// Writes all of `bytes`, waiting for room.
pub(crate) fn write_all(line: &Line, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        match line.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                check(deadline)?;
                wait(Some(line), true, None, Some(deadline))?;
            }
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

/// Waits for the next message; `None`: one of a kind this SDK does not know.
pub(crate) fn read_message(
    line: &Line,
    decoder: &mut frame::Decoder,
    deadline: Instant,
) -> io::Result<Option<server_message::Kind>> {
    loop {
        if let Some(kind) = next_message(decoder).map_err(io::Error::other)? {
            return Ok(kind);
        }
        match read(line, decoder) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                check(deadline)?;
                wait(Some(line), false, None, Some(deadline))?;
            }
            Err(why) => return Err(why),
        }
    }
}

fn check(deadline: Instant) -> io::Result<()> {
    if Instant::now() < deadline { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
}

/// Takes the next whole message out of what was read: `None` when there is none, `Some(None)` when it is of a kind
/// this SDK does not know. After an error the connection is lost.
pub(crate) fn next_message(decoder: &mut frame::Decoder) -> Result<Option<Option<server_message::Kind>>> {
    let malformed = |why: String| Error::new(ErrorCode::Malformed, format!("cannot read from the orchestrator: {why}"));
    match decoder.next_frame().map_err(|why| malformed(why.to_string()))? {
        None => Ok(None),
        Some(bytes) => match ServerMessage::decode(bytes) {
            Ok(message) => Ok(Some(message.kind)),
            Err(why) => Err(malformed(why.to_string())),
        },
    }
}

/// Reads what has come, without waiting. 0: the other side has closed.
pub(crate) fn read(line: &Line, decoder: &mut frame::Decoder) -> io::Result<usize> {
    let buffer = decoder.buffer();
    if buffer.capacity() - buffer.len() < READ / 8 {
        buffer.reserve(READ);
    }
    line.append(buffer)
}

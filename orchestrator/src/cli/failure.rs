//! How a command ends when it does not end well: an exit code, and a sentence on stderr.

use std::fmt::Display;
use std::io;

use copo::ErrorCode;

/// The operation failed.
pub const FAILED: u8 = 1;
/// Usage or configuration is wrong.
pub const USAGE: u8 = 2;
/// What was asked of a process needs it to run, and it does not.
pub const NOT_RUNNING: u8 = 3;
/// No such name.
pub const NO_SUCH_NAME: u8 = 4;
/// No orchestrator to talk to.
pub const NO_ORCHESTRATOR: u8 = 5;
/// The time given is over, as timeout(1) says it.
pub const TIMED_OUT: u8 = 124;

/// Why a command ends with another exit code than 0.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What stands behind "copo: "; `None`: nothing is said.
    pub message: Option<String>,
}

/// What a command gives back: `Ok` is exit code 0.
pub type Outcome = Result<(), Failure>;

impl Failure {
    /// A failure with a sentence: "cannot <do> <what>: <why>".
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()) }
    }

    /// Only an exit code: another program's, handed on.
    pub fn silent(code: u8) -> Self {
        Self { code, message: None }
    }

    /// The exit code an ErrorCode has on the command line.
    pub fn of(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::new(exit_code(code), message)
    }

    /// Something of the system's that did not work.
    pub fn io(what: impl Display, error: &io::Error) -> Self {
        Self::new(FAILED, format!("cannot {what}: {error}"))
    }
}

impl From<copo::Error> for Failure {
    fn from(error: copo::Error) -> Self {
        Self::of(error.code(), error.to_string())
    }
}

/// Every number of `ErrorCode` as an exit code (DESIGN.md §5).
pub fn exit_code(code: ErrorCode) -> u8 {
    match code {
        ErrorCode::Ok => 0,
        ErrorCode::InvalidArgument | ErrorCode::InvalidKey => USAGE,
        ErrorCode::NotRunning => NOT_RUNNING,
        ErrorCode::NotFound => NO_SUCH_NAME,
        ErrorCode::NoOrchestrator => NO_ORCHESTRATOR,
        ErrorCode::TimedOut => TIMED_OUT,
        ErrorCode::Internal
        | ErrorCode::WouldBlock
        | ErrorCode::Stopping
        | ErrorCode::Fenced
        | ErrorCode::NoSpace
        | ErrorCode::Expired
        | ErrorCode::TooLarge
        | ErrorCode::Unauthorized
        | ErrorCode::Forbidden
        | ErrorCode::Unsupported
        | ErrorCode::Malformed
        | ErrorCode::Conflict
        | ErrorCode::Closed
        | ErrorCode::Replaced
        | ErrorCode::End
        | ErrorCode::Damaged => FAILED,
    }
}

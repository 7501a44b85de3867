//! The one error of this crate: a number that is the same in every language, and a sentence for a person.

use std::borrow::Cow;
use std::fmt;

use copo_proto::v1::{self, ErrorCode};

/// What every call of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    code: ErrorCode,
    message: Cow<'static, str>,
}

impl Error {
    /// An error of this code; the message reads `cannot <do> <what>: <why>`.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// The number that is the same in every language.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The sentence for a person.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// An error as it came over the wire; a number this SDK does not know yet is told as INTERNAL, with the number.
    pub(crate) fn from_wire(error: v1::Error) -> Self {
        Self::from_number(error.code, error.message)
    }

    /// As [`Self::from_wire`], from its two fields.
    pub(crate) fn from_number(number: i32, message: String) -> Self {
        match ErrorCode::try_from(number) {
            Ok(ErrorCode::Ok) | Err(_) => Self::new(ErrorCode::Internal, format!("{message} (error {number})")),
            Ok(code) if message.is_empty() => Self::new(code, code.as_str_name()),
            Ok(code) => Self::new(code, message),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

//! Failures as numbers, and the newest one's sentence per thread.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::LazyLock;

use copo::ErrorCode;

/// Why an exported function fails: the SDK's error, or what is wrong with an argument.
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

impl Failure {
    /// An argument that is not usable.
    pub(crate) fn argument(what: &str, why: &str) -> Self {
        Self { code: ErrorCode::InvalidArgument, message: format!("cannot use the argument {what}: {why}") }
    }
}

impl From<copo::Error> for Failure {
    fn from(error: copo::Error) -> Self {
        Self { code: error.code(), message: error.to_string() }
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Keeps the sentence for [`copo_last_error_message`].
pub(crate) fn remember(message: String) {
    let mut bytes = message.into_bytes();
    bytes.retain(|byte| *byte != 0); // A C string ends at the first NUL.
    // A thread that is just ending has no place left for it, and nobody to read it.
    let _ = LAST.try_with(|last| last.replace(CString::new(bytes).unwrap_or_default()));
}

/// A sentence for people about the newest failure on this thread: "cannot <do> <what>: <why>"; "" before the first.
/// It is valid until the next call of this library on this thread that fails, and never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn copo_last_error_message() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// The names with their NULs, in the order of their numbers: proto's own carry none. A constant, made at first use.
static NAMES: LazyLock<Vec<CString>> = LazyLock::new(|| {
    let codes = (0..).map_while(|number| ErrorCode::try_from(number).ok());
    codes.map(|code| CString::new(code.as_str_name().trim_start_matches("ERROR_CODE_")).unwrap_or_default()).collect()
});

/// The name of an error's number, such as "TIMED_OUT"; NULL for a number that is none. It is valid for ever.
#[unsafe(no_mangle)]
pub extern "C" fn copo_error_name(code: i32) -> *const c_char {
    let name = usize::try_from(code).ok().and_then(|index| NAMES.get(index));
    name.map_or(ptr::null(), |name| name.as_ptr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    #[test]
    fn every_number_has_its_name_and_others_have_none() {
        let name = |code| {
            let name = copo_error_name(code);
            // SAFETY: the names are NUL-terminated and live for ever.
            (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_str().expect("UTF-8"))
        };
        assert_eq!(name(0), Some("OK"));
        assert_eq!(name(ErrorCode::Damaged as i32), Some("DAMAGED"));
        assert_eq!(name(-1), None);
        assert_eq!(name(1 << 20), None);
    }
}

//! The one way in: every exported function runs inside [`entry`], so that no panic crosses into C.

use std::panic::{AssertUnwindSafe, catch_unwind};

use copo::ErrorCode;

use crate::error::{Failure, remember};

/// Runs an exported function's body and turns its outcome into the number C gets.
pub(crate) fn entry(body: impl FnOnce() -> Result<(), Failure>) -> i32 {
    // What a panic may have left half done is behind the SDK's own locks, which it poisons or repairs itself.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => ErrorCode::Ok as i32,
        Ok(Err(failure)) => {
            let code = failure.code as i32;
            remember(failure.message);
            code
        }
        Err(panic) => {
            let why = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
            remember(format!("cannot finish the call: {}", why.unwrap_or("a panic inside")));
            ErrorCode::Internal as i32
        }
    }
}

/// Runs a free function's body, which has nothing to report.
pub(crate) fn quietly(body: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(body));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    #[test]
    fn a_panic_becomes_a_number_and_a_sentence() {
        let code = entry(|| panic!("the roof fell in"));

        assert_eq!(code, ErrorCode::Internal as i32);
        let message = crate::copo_last_error_message();
        // SAFETY: it points to this thread's NUL-terminated message, and no call comes between.
        let message = unsafe { CStr::from_ptr(message) }.to_str().expect("UTF-8");
        assert_eq!(message, "cannot finish the call: the roof fell in");
    }
}

//! Bad arguments give a number and a sentence, never a crash; free functions take NULL. No orchestrator is needed.

use std::ffi::CStr;
use std::ptr;

use copo::ErrorCode;
use copo_c::*;

fn last_message() -> &'static str {
    // SAFETY: NUL-terminated; nothing else fails on this thread while it is read.
    unsafe { CStr::from_ptr(copo_last_error_message()) }.to_str().expect("UTF-8")
}

const INVALID: i32 = ErrorCode::InvalidArgument as i32;

#[test]
fn null_is_refused_wherever_it_has_no_meaning() {
    let mut seq = 7;
    // SAFETY: NULL is what these functions promise to refuse.
    unsafe {
        assert_eq!(copo_connect(ptr::null_mut()), INVALID);
        assert_eq!(copo_udd_send(ptr::null_mut(), c"x".as_ptr().cast(), 1), INVALID);
        assert_eq!(last_message(), "cannot use the argument client: it is NULL");
        assert_eq!(copo_udd_send_sync(ptr::null_mut(), c"x".as_ptr().cast(), 1, &mut seq), INVALID);
        assert_eq!(copo_udd_next(ptr::null_mut(), 0, ptr::null_mut()), INVALID);
        assert_eq!(copo_subscription_stop(ptr::null()), INVALID);
        assert_eq!(copo_ready(ptr::null_mut()), INVALID);
    }
    assert_eq!(seq, 7, "outputs are written only on success");
}

#[test]
fn free_functions_take_null() {
    // SAFETY: NULL is allowed by their promise.
    unsafe {
        copo_client_free(ptr::null_mut());
        copo_subscription_free(ptr::null_mut());
        copo_record_free(ptr::null_mut());
        copo_strings_free(ptr::null_mut());
    }
}

#[test]
fn without_an_orchestrator_connecting_fails_at_once_and_says_so() {
    let socket = if cfg!(windows) { cr"\\.\pipe\copo-nobody-is-here" } else { c"/nonexistent/copo/sock" };
    let options = CopoConnectOptions {
        socket: socket.as_ptr(),
        token: ptr::null(),
        name: ptr::null(),
        timeout_ms: 0,
        reserved: [0; 4],
    };
    let mut client = ptr::null_mut();
    // SAFETY: the strings and the place outlive the call.
    let code = unsafe { copo_connect_with(&options, &mut client) };

    assert_eq!(code, ErrorCode::NoOrchestrator as i32);
    assert!(client.is_null());
    assert!(last_message().starts_with("cannot connect"), "{}", last_message());
}

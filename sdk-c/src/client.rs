//! Connecting, flushing, closing.

use std::ffi::c_char;

use copo::Client;

use crate::error::Failure;
use crate::guard::entry;
use crate::handle::{self, CopoClient, place};
use crate::text::{optional_text, timeout};

/// What the orchestrator's log calls this SDK.
const SDK: &str = concat!("c/", env!("CARGO_PKG_VERSION"));

/// How to connect. Zero it first; what is left 0 or NULL comes from the environment (COPO_SOCKET, COPO_TOKEN) or is the
/// default.
#[repr(C)]
pub struct CopoConnectOptions {
    /// Path of the socket, on Windows the name of the pipe; NULL: COPO_SOCKET.
    pub socket: *const c_char,
    /// The token of the run that speaks; NULL: COPO_TOKEN. "" for a person.
    pub token: *const c_char,
    /// Without a token: who is speaking; records are then sent by "@<name>". NULL: a default.
    pub name: *const c_char,
    /// How long connecting may take, in milliseconds; 0 or less: 5 s.
    pub timeout_ms: i64,
    /// Zero.
    pub reserved: [u64; 4],
}

/// Connects as the environment says (COPO_SOCKET, COPO_TOKEN: set for every process the orchestrator starts).
/// COPO_ERROR_CODE_NO_ORCHESTRATOR, at once, when there is none. Free the client with `copo_client_free`.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_connect(out: *mut *mut CopoClient) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let out = unsafe { place("out", out) }?;
        let client = Client::options().sdk(SDK).connect()?;
        out.give(CopoClient { client });
        Ok(())
    })
}

/// Connects as told. Free the client with `copo_client_free`.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_connect_with(options: *const CopoConnectOptions, out: *mut *mut CopoClient) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let out = unsafe { place("out", out) }?;
        // SAFETY: the conventions.
        let options = unsafe { options.as_ref() }.ok_or_else(|| Failure::argument("options", "it is NULL"))?;
        // SAFETY: the conventions.
        let client = unsafe { connect_with(options) }?;
        out.give(CopoClient { client });
        Ok(())
    })
}

/// # Safety
/// The strings in `options` are NULL or NUL-terminated.
unsafe fn connect_with(options: &CopoConnectOptions) -> Result<Client, Failure> {
    let mut connect = Client::options().sdk(SDK);
    // SAFETY: this function's own promise, three times.
    let [socket, token, name] = unsafe {
        [
            optional_text("socket", options.socket)?,
            optional_text("token", options.token)?,
            optional_text("name", options.name)?,
        ]
    };
    if let Some(socket) = socket {
        connect = connect.socket(socket);
    }
    if let Some(token) = token {
        connect = connect.token(token);
    }
    if let Some(name) = name {
        connect = connect.name(name);
    }
    if let Some(timeout) = timeout(options.timeout_ms).filter(|timeout| !timeout.is_zero()) {
        connect = connect.timeout(timeout);
    }
    Ok(connect.connect()?)
}

/// Waits until all that was sent is acknowledged: stored as durably as configured. Gives the first error of what was
/// sent since the last such call.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_flush(client: *mut CopoClient, timeout_ms: i64) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let client = unsafe { handle::client(client) }?;
        match timeout(timeout_ms) {
            Some(timeout) => client.flush_timeout(timeout)?,
            None => client.flush()?,
        }
        Ok(())
    })
}

/// Flushes, for at most 5 s, and ends the connection: gives the first error of what was sent, COPO_ERROR_CODE_TIMED_OUT
/// when not all was acknowledged in time. The client is closed in any case and still to be freed.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_client_close(client: *mut CopoClient) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        unsafe { handle::client(client) }?.close()?;
        Ok(())
    })
}

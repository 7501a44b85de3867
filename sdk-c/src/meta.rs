//! The run about itself: reports, readiness, stopping.

use std::ffi::c_void;

use copo::ErrorCode;

use crate::error::Failure;
use crate::guard::entry;
use crate::handle::{self, CopoClient, place};
use crate::text::{bytes, timeout};

/// Sends a report, pipelined like a record and in order with them.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_meta_report(client: *mut CopoClient, data: *const c_void, len: usize) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, data) = unsafe { (handle::client(client)?, bytes(data, len)?) };
        Ok(client.meta_report(data)?)
    })
}

/// Tells that this run is ready (`ready = "sdk"` in copo.toml waits for it).
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_ready(client: *mut CopoClient) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        Ok(unsafe { handle::client(client) }?.ready()?)
    })
}

/// Was this run asked to stop? From the first call on the run is told by this event and gets the signal only after half
/// the grace.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_stop_requested(client: *mut CopoClient, out: *mut bool) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, out) = unsafe { (handle::client(client)?, place("out", out)?) };
        out.write(client.stop_requested()?);
        Ok(())
    })
}

/// Waits until this run is asked to stop: 0 when it is, COPO_ERROR_CODE_TIMED_OUT when the time is over first.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_stop_wait(client: *mut CopoClient, timeout_ms: i64) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        if unsafe { handle::client(client) }?.wait_stop(timeout(timeout_ms))? {
            return Ok(());
        }
        let message = format!("cannot tell of a stop: none was asked for within {timeout_ms} ms");
        Err(Failure { code: ErrorCode::TimedOut, message })
    })
}

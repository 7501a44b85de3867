//! The user-defined data: sending records, the newest one, headers.

use std::ffi::{c_char, c_void};

use crate::guard::entry;
use crate::handle::{CopoClient, client, place};
use crate::item::{CopoRecord, own_record};
use crate::text::{CopoStrings, bytes, optional_text, own_strings, strings, text};

/// Sends one record, pipelined: returns when it is on its way, not when it is stored (`copo_flush` waits for that, and the
/// first error of an earlier send is given by a later call). Waits while the window of unacknowledged sends is full.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_udd_send(handle: *mut CopoClient, data: *const c_void, len: usize) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, data) = unsafe { (client(handle)?, bytes(data, len)?) };
        Ok(client.udd_send(data)?)
    })
}

/// As `copo_udd_send`, with a key: "/"-separated segments of [A-Za-z0-9._~-]+, at most 255 bytes; "" is none.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_udd_send_key(
    handle: *mut CopoClient,
    key: *const c_char,
    data: *const c_void,
    len: usize,
) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, key, data) = unsafe { (client(handle)?, text("key", key)?, bytes(data, len)?) };
        Ok(client.udd_send_key(key, data)?)
    })
}

/// As `copo_udd_send`, but gives COPO_ERROR_CODE_WOULD_BLOCK, having sent nothing, where that would wait.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_udd_try_send(handle: *mut CopoClient, data: *const c_void, len: usize) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, data) = unsafe { (client(handle)?, bytes(data, len)?) };
        Ok(client.try_udd_send(data)?)
    })
}

/// As `copo_udd_send_key`, but gives COPO_ERROR_CODE_WOULD_BLOCK, having sent nothing, where that would wait.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_udd_try_send_key(
    handle: *mut CopoClient,
    key: *const c_char,
    data: *const c_void,
    len: usize,
) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, key, data) = unsafe { (client(handle)?, text("key", key)?, bytes(data, len)?) };
        Ok(client.try_udd_send_key(key, data)?)
    })
}

/// Sends one record and waits until it is stored as durably as configured; gives its seq.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_udd_send_sync(
    handle: *mut CopoClient,
    data: *const c_void,
    len: usize,
    seq: *mut u64,
) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, data, seq) = unsafe { (client(handle)?, bytes(data, len)?, place("seq", seq)?) };
        seq.write(client.udd_send_sync(data)?);
        Ok(())
    })
}

/// As `copo_udd_send_sync`, with a key.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_udd_send_sync_key(
    handle: *mut CopoClient,
    key: *const c_char,
    data: *const c_void,
    len: usize,
    seq: *mut u64,
) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, key, data, seq) =
            unsafe { (client(handle)?, text("key", key)?, bytes(data, len)?, place("seq", seq)?) };
        seq.write(client.udd_send_key_sync(key, data)?);
        Ok(())
    })
}

/// The newest record of a key, or with NULL the newest of all; COPO_ERROR_CODE_NOT_FOUND when there is none. Free it with
/// `copo_record_free`.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_udd_get(handle: *mut CopoClient, key: *const c_char, out: *mut *mut CopoRecord) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, key, out) = unsafe { (client(handle)?, optional_text("key", key)?, place("out", out)?) };
        match client.udd_get(key)? {
            Some(record) => out.write(own_record(record)),
            None => return Err(no_record(key)),
        }
        Ok(())
    })
}

fn no_record(key: Option<&str>) -> crate::error::Failure {
    let message = match key {
        Some(key) => format!("cannot get the newest record of {key:?}: there is none"),
        None => "cannot get the newest record: there is none".to_owned(),
    };
    crate::error::Failure { code: copo::ErrorCode::NotFound, message }
}

/// The headers: the names of the fields of a record, for people and programs that read them. Free them with
/// `copo_strings_free`.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_udd_headers(handle: *mut CopoClient, out: *mut *mut CopoStrings) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, out) = unsafe { (client(handle)?, place("out", out)?) };
        out.write(own_strings(client.udd_headers()?));
        Ok(())
    })
}

/// Replaces the headers by the `len` strings behind `headers`.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_udd_set_headers(
    handle: *mut CopoClient,
    headers: *const *const c_char,
    len: usize,
) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, headers) = unsafe { (client(handle)?, strings(headers, len)?) };
        Ok(client.udd_set_headers(&headers)?)
    })
}

//! The user-defined data: sending records, the newest one, headers.

use std::ffi::{c_char, c_void};

use copo::ErrorCode;

use crate::error::Failure;
use crate::guard::entry;
use crate::handle::{self, CopoClient, place};
use crate::item::{CopoRecord, own_record};
use crate::text::{CopoStrings, bytes, optional_text, own_strings, strings, text, timeout};

/// Sends one record, pipelined: returns when it is on its way, not when it is stored (`copo_flush` waits for that, and the
/// first error of an earlier send is given by a later call). Waits while the window of unacknowledged sends is full.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_udd_send(client: *mut CopoClient, data: *const c_void, len: usize) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, data) = unsafe { (handle::client(client)?, bytes(data, len)?) };
        Ok(client.udd_send(data)?)
    })
}

/// As `copo_udd_send`, with a key: "/"-separated segments of [A-Za-z0-9._~-]+, at most 255 bytes; "" is none.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_udd_send_key(
    client: *mut CopoClient,
    key: *const c_char,
    data: *const c_void,
    len: usize,
) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, key, data) = unsafe { (handle::client(client)?, text("key", key)?, bytes(data, len)?) };
        Ok(client.udd_send_key(key, data)?)
    })
}

/// As `copo_udd_send`, but gives COPO_ERROR_CODE_WOULD_BLOCK, having sent nothing, where that would wait.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_udd_try_send(client: *mut CopoClient, data: *const c_void, len: usize) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, data) = unsafe { (handle::client(client)?, bytes(data, len)?) };
        Ok(client.try_udd_send(data)?)
    })
}

/// As `copo_udd_send_key`, but gives COPO_ERROR_CODE_WOULD_BLOCK, having sent nothing, where that would wait.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_udd_try_send_key(
    client: *mut CopoClient,
    key: *const c_char,
    data: *const c_void,
    len: usize,
) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, key, data) = unsafe { (handle::client(client)?, text("key", key)?, bytes(data, len)?) };
        Ok(client.try_udd_send_key(key, data)?)
    })
}

/// Sends one record and waits until it is stored as durably as configured; gives its seq.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_udd_send_sync(
    client: *mut CopoClient,
    data: *const c_void,
    len: usize,
    seq: *mut u64,
) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, data, seq) = unsafe { (handle::client(client)?, bytes(data, len)?, place("seq", seq)?) };
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
    client: *mut CopoClient,
    key: *const c_char,
    data: *const c_void,
    len: usize,
    seq: *mut u64,
) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, key, data, seq) =
            unsafe { (handle::client(client)?, text("key", key)?, bytes(data, len)?, place("seq", seq)?) };
        seq.write(client.udd_send_key_sync(key, data)?);
        Ok(())
    })
}

/// One record to send, with everything that can be said about it. Zero it first.
#[repr(C)]
pub struct CopoSend {
    /// Its key; NULL or "": none.
    pub key: *const c_char,
    /// Its data.
    pub data: *const c_void,
    /// Bytes in data.
    pub len: usize,
    /// Append only if `expect_seq` is the seq of the newest record of the key (0: if there is none).
    pub has_expect_seq: bool,
    /// That seq.
    pub expect_seq: u64,
    /// How long to wait, in milliseconds; 0 or less: as long as it takes.
    pub timeout_ms: i64,
    /// Zero.
    pub reserved: [u64; 4],
}

/// Sends one record as told. With `seq` NULL it is pipelined as by `copo_udd_send`; else waits until it is stored, as
/// `copo_udd_send_sync` does, and then COPO_ERROR_CODE_CONFLICT tells that `expect_seq` did not hold.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_udd_send_with(client: *mut CopoClient, send: *const CopoSend, seq: *mut u64) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, options) = unsafe { (handle::client(client)?, send.as_ref()) };
        let options = options.ok_or_else(|| Failure::argument("send", "it is NULL"))?;
        // SAFETY: the conventions.
        let (key, data) = unsafe { (optional_text("key", options.key)?, bytes(options.data, options.len)?) };
        let send = copo::Send {
            key: key.unwrap_or(""),
            data,
            expect_seq: options.has_expect_seq.then_some(options.expect_seq),
            timeout: timeout(options.timeout_ms).filter(|timeout| !timeout.is_zero()),
        };
        // SAFETY: the conventions; NULL is what asks for pipelining.
        match unsafe { place("seq", seq) } {
            Ok(seq) => seq.write(client.send_sync(&send)?),
            Err(_) => client.send(&send)?,
        }
        Ok(())
    })
}

/// The newest record of a key, or with NULL the newest of all; COPO_ERROR_CODE_NOT_FOUND when there is none. Free it with
/// `copo_record_free`.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_udd_get(client: *mut CopoClient, key: *const c_char, out: *mut *mut CopoRecord) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, key, out) = unsafe { (handle::client(client)?, optional_text("key", key)?, place("out", out)?) };
        match client.udd_get(key)? {
            Some(record) => out.write(own_record(record)),
            None => return Err(no_record(key)),
        }
        Ok(())
    })
}

fn no_record(key: Option<&str>) -> Failure {
    let message = match key {
        Some(key) => format!("cannot get the newest record of {key:?}: there is none"),
        None => "cannot get the newest record: there is none".to_owned(),
    };
    Failure { code: ErrorCode::NotFound, message }
}

/// The headers: the names of the fields of a record, for people and programs that read them. Free them with
/// `copo_strings_free`.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_udd_headers(client: *mut CopoClient, out: *mut *mut CopoStrings) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, out) = unsafe { (handle::client(client)?, place("out", out)?) };
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
    client: *mut CopoClient,
    headers: *const *const c_char,
    len: usize,
) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, headers) = unsafe { (handle::client(client)?, strings(headers, len)?) };
        Ok(client.udd_set_headers(&headers)?)
    })
}

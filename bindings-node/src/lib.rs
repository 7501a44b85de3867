//! The native addon under the npm package `copo`. A translation and nothing more: JavaScript values in, a call of the
//! Rust SDK, JavaScript values out.
//!
//! Threads: every method is called on the JavaScript thread and never waits there. What waits runs in the SDK (and
//! settles a promise from its thread), on libuv's pool (single requests), or on one reader thread per subscription.
//! An error travels as `<number>:<sentence>`; the package's JavaScript makes a `CopoError` of it.

// In a test build nothing registers what #[napi] exports, so all of it looks unused.
#![cfg_attr(test, allow(dead_code))]

mod client;
mod promise;
mod subscription;

use std::collections::HashMap;

use napi_derive::napi;

/// The names and numbers of `copo.v1.ErrorCode`, without the common prefix: `{ OK: 0, INTERNAL: 1, … }`.
#[napi]
pub fn error_codes() -> HashMap<String, i32> {
    let known = (0..=i32::from(u8::MAX)).filter_map(|number| copo::ErrorCode::try_from(number).ok());
    known.map(|code| (name_of(code).to_owned(), code as i32)).collect()
}

fn name_of(code: copo::ErrorCode) -> &'static str {
    let name = code.as_str_name();
    name.strip_prefix("ERROR_CODE_").unwrap_or(name)
}

/// The package's version.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

//! Following the log.

use std::ffi::c_char;
use std::slice;

use copo::{From, SubscribeOptions};

use crate::error::Failure;
use crate::guard::entry;
use crate::handle::{self, CopoClient, CopoSubscription, place};
use crate::item::{CopoItem, lend};
use crate::text::{optional_text, timeout};

/// Begin with the next record that comes.
pub const COPO_FROM_NEW: u32 = 0;
/// Begin with the oldest that is still there.
pub const COPO_FROM_FIRST: u32 = 1;
/// Begin with the seq in `start`.
pub const COPO_FROM_SEQ: u32 = 2;
/// Begin with the first one at or after the time in `start`.
pub const COPO_FROM_TIME: u32 = 3;

/// What to follow. Zero it first; all zero is: every record, from the next one on, for ever.
#[repr(C)]
pub struct CopoSubscribeOptions {
    /// COPO_FROM_NEW, COPO_FROM_FIRST, COPO_FROM_SEQ or COPO_FROM_TIME.
    pub from: u32,
    /// The seq or the time where to begin.
    pub start: u64,
    /// With COPO_FROM_SEQ: the 16 bytes that name the log the seq belongs to; NULL: the present one.
    pub log_id: *const u8,
    /// Which records: a key, in which "*" is any one segment and "**" any number of them; NULL: all.
    pub key_pattern: *const c_char,
    /// Leave out records; only together with `reports`.
    pub no_records: bool,
    /// Give reports too.
    pub reports: bool,
    /// End at the newest that is there now, instead of waiting for more.
    pub no_follow: bool,
    /// End after this seq; 0: never.
    pub to: u64,
    /// Zero.
    pub reserved: [u64; 4],
}

/// Follows the log; NULL for `options` is all zero. Free the subscription with `copo_subscription_free`.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_udd_subscribe(
    client: *mut CopoClient,
    options: *const CopoSubscribeOptions,
    out: *mut *mut CopoSubscription,
) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (client, out) = unsafe { (handle::client(client)?, place("out", out)?) };
        // SAFETY: the conventions.
        let options = match unsafe { options.as_ref() } {
            // SAFETY: the conventions.
            Some(options) => unsafe { translate(options) }?,
            None => SubscribeOptions::default(),
        };
        out.give(CopoSubscription::new(client.udd_subscribe(&options)?));
        Ok(())
    })
}

/// # Safety
/// `log_id` is NULL or points to 16 bytes, `key_pattern` is NULL or a NUL-terminated string.
unsafe fn translate(options: &CopoSubscribeOptions) -> Result<SubscribeOptions, Failure> {
    let from = match options.from {
        COPO_FROM_NEW => From::New,
        COPO_FROM_FIRST => From::First,
        COPO_FROM_SEQ => From::Seq(options.start),
        COPO_FROM_TIME => From::Time(options.start),
        _ => return Err(Failure::argument("options.from", "it is none of COPO_FROM_…")),
    };
    if options.no_records && !options.reports {
        return Err(Failure::argument("options.no_records", "neither records nor reports are left to give"));
    }
    let mut translated = SubscribeOptions::default().from(from).records(!options.no_records).reports(options.reports);
    // SAFETY: this function's own promise.
    if let Some(pattern) = unsafe { optional_text("options.key_pattern", options.key_pattern) }? {
        translated = translated.key_pattern(pattern);
    }
    if !options.log_id.is_null() {
        // SAFETY: this function's own promise.
        translated = translated.log_id(unsafe { slice::from_raw_parts(options.log_id, 16) });
    }
    if options.to != 0 {
        translated = translated.to(options.to);
    }
    Ok(if options.no_follow { translated.no_follow() } else { translated })
}

/// Waits for the next item. COPO_ERROR_CODE_TIMED_OUT when none came in time (0: do not wait), COPO_ERROR_CODE_END when all
/// that was asked for was given, COPO_ERROR_CODE_STOPPING when this run was asked to stop, COPO_ERROR_CODE_CLOSED after
/// `copo_subscription_stop`. A gap is an item of its own: it tells what could not be given.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_udd_next(
    subscription: *mut CopoSubscription,
    timeout_ms: i64,
    out: *mut CopoItem,
) -> i32 {
    entry(|| {
        // SAFETY: the conventions: one reading thread at a time.
        let (reading, out) = unsafe { (handle::reading(subscription)?, place("out", out)?) };
        let item = reading.subscription.next_ref(timeout(timeout_ms))?;
        lend(item, &mut reading.texts, &mut reading.lent, out);
        Ok(())
    })
}

/// Ends the subscription from any thread: a `copo_udd_next` that waits returns COPO_ERROR_CODE_CLOSED. It is still to be
/// freed.
///
/// # Safety
/// The conventions of this file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_subscription_stop(subscription: *const CopoSubscription) -> i32 {
    entry(|| {
        // SAFETY: the conventions; the stopper stands apart from what the reading thread uses.
        unsafe { handle::subscription(subscription) }?.stopper.stop();
        Ok(())
    })
}

/// Where the log stood when the subscription began: the seq of its newest record or report, and the 16 bytes that name
/// it. With a seq, they are the cursor to come back with.
///
/// # Safety
/// The conventions of this file; `log_id` points to 16 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_subscription_log(
    subscription: *mut CopoSubscription,
    head: *mut u64,
    log_id: *mut u8,
) -> i32 {
    entry(|| {
        // SAFETY: the conventions.
        let (reading, head, log_id) = unsafe {
            (handle::reading(subscription)?, place("head", head)?, place("log_id", log_id.cast::<[u8; 16]>())?)
        };
        head.write(reading.subscription.head());
        log_id.write(<[u8; 16]>::try_from(&reading.subscription.log_id()[..]).unwrap_or_default());
        Ok(())
    })
}

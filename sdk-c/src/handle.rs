//! The handles C holds, and how a pointer becomes one.

use std::cell::UnsafeCell;
use std::marker::PhantomData;

use copo::{Client, MetaReport, Stopper, Subscription};

use crate::error::Failure;
use crate::guard::quietly;
use crate::text::Texts;

/// A client of the orchestrator. Any number of threads may use it at once.
pub struct CopoClient {
    pub(crate) client: Client,
}

/// A subscription: a place in the log that moves on with `copo_udd_next`. One thread at a time.
pub struct CopoSubscription {
    pub(crate) stopper: Stopper,
    /// Apart from the stopper, which other threads may use while this one reads.
    reading: UnsafeCell<Reading>,
}

/// What the one reading thread uses.
pub(crate) struct Reading {
    pub(crate) subscription: Subscription,
    /// The report that the newest `copo_udd_next` lent out (a record is lent from what the subscription has read), and the
    /// item's strings.
    pub(crate) lent: Option<Box<MetaReport>>,
    pub(crate) texts: Texts,
}

impl CopoSubscription {
    pub(crate) fn new(subscription: Subscription) -> Self {
        let stopper = subscription.stopper();
        let reading = UnsafeCell::new(Reading { subscription, lent: None, texts: Texts::default() });
        Self { stopper, reading }
    }
}

/// Frees a client; NULL is left alone. Waits until all that was sent is acknowledged, at most 5 s (1 s while there is no
/// connection); `copo_client_close` before it tells whether all was.
///
/// # Safety
/// `client` is NULL or came from this library, was not freed yet, and no other thread uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_client_free(client: *mut CopoClient) {
    // SAFETY: the caller's promise is the function's.
    quietly(|| unsafe { free(client) });
}

/// Ends and frees a subscription; NULL is left alone.
///
/// # Safety
/// `subscription` is NULL or came from this library, was not freed yet, and no other thread uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_subscription_free(subscription: *mut CopoSubscription) {
    // SAFETY: the caller's promise is the function's.
    quietly(|| unsafe { free(subscription) });
}

/// # Safety
/// `handle` is NULL or what [`give`] gave, not freed yet.
unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: by this function's own promise it is a leaked Box that nobody else frees.
        drop(unsafe { Box::from_raw(handle) });
    }
}

/// Checks the place of an output before anything is done, so that nothing is done in vain.
///
/// # Safety
/// `out` is NULL or points to a place to write a `T` that nobody else uses during `'a`.
pub(crate) unsafe fn place<'a, T>(what: &str, out: *mut T) -> Result<Place<'a, T>, Failure> {
    if out.is_null() {
        return Err(Failure::argument(what, "it is NULL"));
    }
    Ok(Place { out, lifetime: PhantomData })
}

/// A place to write an output to. It may be uninitialized: it is only ever written.
pub(crate) struct Place<'a, T> {
    out: *mut T,
    lifetime: PhantomData<&'a mut T>,
}

impl<'a, T> Place<'a, T> {
    /// Writes the output.
    pub(crate) fn write(self, value: T) {
        // SAFETY: `place` checked for NULL, and its caller promised that the place may be written.
        unsafe { self.out.write(value) };
    }

    /// Writes an output that is still to be changed.
    pub(crate) fn fill(self, value: T) -> &'a mut T {
        // SAFETY: as for `write`; nobody else uses the place during `'a`, and now it is initialized.
        unsafe {
            self.out.write(value);
            &mut *self.out
        }
    }
}

impl<T> Place<'_, *mut T> {
    /// Gives C a handle that its free function takes back.
    pub(crate) fn give(self, handle: T) {
        self.write(Box::into_raw(Box::new(handle)));
    }
}

/// The client behind a pointer.
///
/// # Safety
/// `client` is NULL or a living handle for `'a`.
pub(crate) unsafe fn client<'a>(client: *const CopoClient) -> Result<&'a Client, Failure> {
    // SAFETY: NULL or living, by this function's own promise; only shared references to it are ever made.
    let handle = unsafe { client.as_ref() };
    handle.map(|handle| &handle.client).ok_or_else(|| Failure::argument("client", "it is NULL"))
}

/// The subscription behind a pointer.
///
/// # Safety
/// `subscription` is NULL or a living handle for `'a`.
pub(crate) unsafe fn subscription<'a>(subscription: *const CopoSubscription) -> Result<&'a CopoSubscription, Failure> {
    // SAFETY: NULL or living, by this function's own promise; only shared references to it are ever made.
    unsafe { subscription.as_ref() }.ok_or_else(|| Failure::argument("subscription", "it is NULL"))
}

/// The part of the subscription behind a pointer that only the reading thread uses.
///
/// # Safety
/// As for [`subscription`], and no other thread reads with it during `'a`.
pub(crate) unsafe fn reading<'a>(handle: *const CopoSubscription) -> Result<&'a mut Reading, Failure> {
    // SAFETY: the first is this function's own promise; so is that nobody else holds a reference to what is inside.
    unsafe { subscription(handle).map(|handle| &mut *handle.reading.get()) }
}

//! copo.h: the Copo SDK for C.
//!
//! What holds for every function:
//!
//! - Returns. Every function returns int32_t: 0 (COPO_ERROR_CODE_OK) or a CopoErrorCode. Exempt are those that cannot
//!   fail: the free functions (void), `copo_error_name` and `copo_last_error_message` (strings). A sentence for people about
//!   the newest failure on this thread is `copo_last_error_message()`.
//! - Outputs are the last parameters. They are written only when 0 is returned, and may not be NULL.
//! - Ownership shows in the type. `T **out` gives a handle or a struct that is yours until you give it to its free
//!   function, exactly once; free functions take NULL and do nothing. `const T *` is borrowed for the call, `T *` is a
//!   handle that the call uses and does not keep.
//! - NULL. Where NULL has a meaning, the function says so; anywhere else it gives COPO_ERROR_CODE_INVALID_ARGUMENT. Data
//!   of length 0 may be NULL.
//! - Strings are UTF-8 and NUL-terminated, in and out. Data is a pointer and a length in bytes, and is copied before
//!   the call returns.
//! - Borrowed results (the strings and data in a CopoItem) are valid until the next call with that subscription, its
//!   free included.
//! - Threads. A CopoClient may be used by any number of threads at once; one thread frees it, when no other uses it
//!   any more. A CopoSubscription is used by one thread at a time; only `copo_subscription_stop` may be called at any
//!   time by any thread, until it is freed.
//! - Fork. After fork() the child may go on using both: its CopoClient becomes a client of its own at its first use, its
//!   CopoSubscription connects anew from its place. What the parent had sent stays the parent's.
//! - Exit. Leaving the process without `copo_flush`, `copo_client_close` or `copo_client_free` may lose what was sent last.
//! - Signals. No handler is installed and no signal mask changed; SIGPIPE is not raised by what happens here. No
//!   function may be called from a signal handler. A signal does not cut a wait short: use a timeout.
//! - Times are microseconds since the Unix epoch; timeouts are int64_t milliseconds, negative meaning for ever.
//! - Numbers once given are never given another meaning; structs with `reserved` must be zeroed before use.
//! - Stop. When this run is asked to stop, calls that wait at that moment return COPO_ERROR_CODE_STOPPING, and so does
//!   `copo_udd_next` from then on. Sends and `copo_flush` go on working, so that the last records can be sent.

// What stands here is the conventions' one home: tests/header.rs copies the page above into the head of copo.h.

mod client;
mod error;
mod guard;
mod handle;
mod item;
mod meta;
mod subscription;
mod text;
mod udd;

pub use client::*;
pub use error::*;
pub use handle::*;
pub use item::*;
pub use meta::*;
pub use subscription::*;
pub use text::*;
pub use udd::*;

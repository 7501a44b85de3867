//! Strings and data as C gives and gets them.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;
use std::slice;
use std::time::Duration;

use crate::error::Failure;
use crate::guard::quietly;

/// A list of strings, owned: free it with `copo_strings_free`.
#[repr(C)]
pub struct CopoStrings {
    /// How many.
    pub len: usize,
    /// The strings, in order; NULL when there are none.
    pub items: *const *const c_char,
}

/// What [`CopoStrings`] points into; the public part stands first, so that a pointer to one is a pointer to the other.
#[repr(C)]
struct OwnedStrings {
    public: CopoStrings,
    pointers: Vec<*const c_char>,
    strings: Vec<CString>,
}

/// Frees what a `CopoStrings **out` gave; NULL is left alone.
///
/// # Safety
/// `strings` is NULL or came from this library and was not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copo_strings_free(strings: *mut CopoStrings) {
    quietly(|| {
        if !strings.is_null() {
            // SAFETY: it is what `own_strings` leaked, so it is an OwnedStrings; the caller frees it once.
            drop(unsafe { Box::from_raw(strings.cast::<OwnedStrings>()) });
        }
    });
}

/// Makes an owned list; [`copo_strings_free`] frees it.
pub(crate) fn own_strings(strings: Vec<String>) -> *mut CopoStrings {
    let strings: Vec<CString> = strings.into_iter().map(owned_text).collect();
    let pointers: Vec<*const c_char> = strings.iter().map(|string| string.as_ptr()).collect();
    let items = if pointers.is_empty() { ptr::null() } else { pointers.as_ptr() };
    let public = CopoStrings { len: pointers.len(), items };
    Box::into_raw(Box::new(OwnedStrings { public, pointers, strings })).cast()
}

/// A string with its NUL; one that holds a NUL itself (a foreign client's header may) ends there, as C reads it.
pub(crate) fn owned_text(text: String) -> CString {
    let mut bytes = text.into_bytes();
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    CString::new(bytes).unwrap_or_default()
}

/// Strings lent to C: one buffer, used anew each time, so that lending costs no allocation.
#[derive(Default)]
pub(crate) struct Texts {
    bytes: Vec<u8>,
}

impl Texts {
    /// Lends the strings, NULL for `None`, until the next call or the drop.
    pub(crate) fn lend<const N: usize>(&mut self, strings: [Option<&str>; N]) -> [*const c_char; N] {
        if !self.holds(&strings) {
            self.bytes.clear();
            for string in strings.iter().flatten() {
                self.bytes.extend_from_slice(string.as_bytes());
                self.bytes.push(0);
            }
        }
        let mut start = 0;
        strings.map(|string| {
            let Some(string) = string else { return ptr::null() };
            // A pointer with the whole buffer's reach, at a place inside what stands there.
            let lent = self.bytes.as_ptr().wrapping_add(start).cast();
            start += string.len() + 1;
            lent
        })
    }

    /// Do just these stand there? A record's sender and key are mostly those of the one before.
    fn holds(&self, strings: &[Option<&str>]) -> bool {
        let mut rest = self.bytes.as_slice();
        strings.iter().flatten().all(|string| {
            let after = rest.strip_prefix(string.as_bytes()).and_then(|rest| rest.strip_prefix(&[0]));
            after.is_some_and(|after| {
                rest = after;
                true
            })
        }) && rest.is_empty()
    }
}

/// The text behind a pointer that may be NULL.
///
/// # Safety
/// `text` is NULL or points to a NUL-terminated string that lives for `'a`.
pub(crate) unsafe fn optional_text<'a>(what: &str, text: *const c_char) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, so by this function's own promise a NUL-terminated string.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(Some).map_err(|_| Failure::argument(what, "it is not UTF-8"))
}

/// The text behind a pointer that may not be NULL.
///
/// # Safety
/// As for [`optional_text`].
pub(crate) unsafe fn text<'a>(what: &str, text: *const c_char) -> Result<&'a str, Failure> {
    // SAFETY: the same promise.
    unsafe { optional_text(what, text) }?.ok_or_else(|| Failure::argument(what, "it is NULL"))
}

/// The bytes behind a pointer; NULL only with length 0.
///
/// # Safety
/// `data` is NULL or points to `len` readable bytes that live for `'a`.
pub(crate) unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Result<&'a [u8], Failure> {
    match (data.is_null(), len) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Failure::argument("data", "it is NULL and its length is not 0")),
        (false, _) if len > isize::MAX as usize => Err(Failure::argument("len", "no memory is that large")),
        // SAFETY: not NULL, so by this function's own promise `len` readable bytes; no more than isize::MAX.
        (false, _) => Ok(unsafe { slice::from_raw_parts(data.cast(), len) }),
    }
}

/// The list of strings behind a pointer; NULL only with length 0.
///
/// # Safety
/// `items` is NULL or points to `len` pointers to NUL-terminated strings.
pub(crate) unsafe fn strings(items: *const *const c_char, len: usize) -> Result<Vec<String>, Failure> {
    if len == 0 {
        return Ok(Vec::new());
    }
    if items.is_null() {
        return Err(Failure::argument("headers", "it is NULL and its length is not 0"));
    }
    // SAFETY: not NULL, so by this function's own promise `len` readable pointers.
    let items = unsafe { slice::from_raw_parts(items, len) };
    // SAFETY: each is NULL or a NUL-terminated string by the same promise.
    items.iter().map(|item| unsafe { text("headers", *item) }.map(str::to_owned)).collect()
}

/// A timeout in milliseconds; negative means for ever.
pub(crate) fn timeout(milliseconds: i64) -> Option<Duration> {
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_may_be_null_only_when_there_is_none() {
        // SAFETY: NULL is allowed by the function's promise.
        unsafe {
            assert!(bytes(ptr::null(), 0).is_ok_and(<[u8]>::is_empty));
            assert!(bytes(ptr::null(), 1).is_err());
            assert!(strings(ptr::null(), 0).is_ok_and(|list| list.is_empty()));
            assert!(strings(ptr::null(), 2).is_err());
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_refused() {
        // SAFETY: a NUL-terminated literal.
        assert!(unsafe { text("key", c"\xff".as_ptr()) }.is_err());
        // SAFETY: the same.
        assert!(unsafe { text("key", c"a/b".as_ptr()) }.is_ok_and(|key| key == "a/b"));
    }

    #[test]
    fn lent_strings_stand_side_by_side() {
        let mut texts = Texts::default();
        for _ in 0..2 {
            let [first, none, last] = texts.lend([Some("station-1"), None, Some("")]);
            assert!(none.is_null());
            // SAFETY: lent just above, NUL-terminated.
            unsafe {
                assert_eq!(CStr::from_ptr(first), c"station-1");
                assert_eq!(CStr::from_ptr(last), c"");
            }
        }
        for strings in [["a", "bc"], ["ab", "c"], ["ab", "c"], ["", ""], ["a", "b"], ["a", ""]] {
            let lent = texts.lend(strings.map(Some));
            // SAFETY: lent just above, NUL-terminated.
            assert_eq!(lent.map(|text| unsafe { CStr::from_ptr(text) }.to_str().expect("UTF-8")), strings);
        }
    }

    #[test]
    fn owned_strings_are_read_as_they_went_in() {
        let list = own_strings(vec!["station".into(), "cel\0sius".into()]);
        // SAFETY: made above, freed at the end, read in between.
        unsafe {
            assert_eq!((*list).len, 2);
            assert_eq!(CStr::from_ptr(*(*list).items), c"station");
            assert_eq!(CStr::from_ptr(*(*list).items.add(1)), c"cel");
            copo_strings_free(list);
        }
    }
}

//! What names a Windows user's pipes.

use std::fmt::Write;
use std::io;
use std::path::Path;
use std::ptr;

use sha2::{Digest, Sha256};
use windows_sys::Win32::Foundation::{CloseHandle, ERROR_INSUFFICIENT_BUFFER, HANDLE, LocalFree};
use windows_sys::Win32::Security::Authorization::ConvertSidToStringSidW;
use windows_sys::Win32::Security::{GetTokenInformation, TOKEN_QUERY, TOKEN_USER, TokenUser};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

/// 16 hex digits of SHA-256(user SID + absolute COPO_HOME): pipes have one name space for all users of a machine, so
/// what makes an application's pipe its own stands in the name.
///
/// # Panics
///
/// When Windows does not tell who runs this process; without that no pipe has a name.
pub fn owner_hash(home: &Path) -> String {
    let sid = user_sid().unwrap_or_else(|error| panic!("cannot ask Windows for this process's user: {error}"));
    let home = std::path::absolute(home).unwrap_or_else(|_| home.to_owned());
    let digest =
        Sha256::new().chain_update(sid.as_bytes()).chain_update(home.as_os_str().as_encoded_bytes()).finalize();
    digest[..8].iter().fold(String::with_capacity(16), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // Writing to a String cannot fail.
        hex
    })
}

/// The user of this process as "S-1-5-…".
fn user_sid() -> io::Result<String> {
    let token = ProcessToken::open()?;
    let user = token.user()?;
    // SAFETY: `user` was filled by GetTokenInformation(TokenUser), so it begins with a TOKEN_USER whose Sid points into
    // the same buffer, which lives until the end of this function; Vec<u64> is aligned for it.
    let sid = unsafe { (*user.as_ptr().cast::<TOKEN_USER>()).User.Sid };
    let mut text: *mut u16 = ptr::null_mut();
    // SAFETY: `sid` is a valid SID (above) and `text` a valid place for one pointer.
    if unsafe { ConvertSidToStringSidW(sid, &raw mut text) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: ConvertSidToStringSidW succeeded, so `text` is a NUL-terminated string.
    let length = (0..).take_while(|&i| unsafe { *text.add(i) } != 0).count();
    // SAFETY: the `length` units before the NUL were just read.
    let sid = String::from_utf16_lossy(unsafe { std::slice::from_raw_parts(text, length) });
    // SAFETY: `text` was allocated by ConvertSidToStringSidW, which asks for LocalFree, and is not used afterwards.
    unsafe { LocalFree(text.cast()) };
    Ok(sid)
}

/// This process's access token, closed when dropped.
struct ProcessToken(HANDLE);

impl ProcessToken {
    fn open() -> io::Result<Self> {
        let mut token: HANDLE = ptr::null_mut();
        // SAFETY: the pseudo handle of this process is always valid, and `token` is a valid place for one handle.
        let opened = unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) };
        if opened == 0 { Err(io::Error::last_os_error()) } else { Ok(Self(token)) }
    }

    /// TOKEN_USER and what it points to.
    fn user(&self) -> io::Result<Vec<u64>> {
        let mut length = 0;
        // SAFETY: a buffer of length 0 may be null; the call only tells the length that is needed.
        unsafe { GetTokenInformation(self.0, TokenUser, ptr::null_mut(), 0, &raw mut length) };
        let told = io::Error::last_os_error();
        if told.raw_os_error() != Some(ERROR_INSUFFICIENT_BUFFER as i32) {
            return Err(told);
        }
        let mut buffer = vec![0_u64; (length as usize).div_ceil(8)];
        // SAFETY: `buffer` has at least `length` bytes, and the token is open.
        let filled =
            unsafe { GetTokenInformation(self.0, TokenUser, buffer.as_mut_ptr().cast(), length, &raw mut length) };
        if filled == 0 { Err(io::Error::last_os_error()) } else { Ok(buffer) }
    }
}

impl Drop for ProcessToken {
    fn drop(&mut self) {
        // SAFETY: the handle was opened by `open` and is closed only here.
        unsafe { CloseHandle(self.0) };
    }
}

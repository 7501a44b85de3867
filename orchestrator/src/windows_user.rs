//! Whose process it is, on Windows: the SID of its user.

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Authorization::ConvertSidToStringSidW;
use windows_sys::Win32::Security::{GetTokenInformation, TOKEN_QUERY, TOKEN_USER, TokenUser};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcessId, OpenProcess, OpenProcessToken, PROCESS_QUERY_LIMITED_INFORMATION,
};

/// The SID of this process's user, in its string form.
pub(crate) fn own_sid() -> io::Result<String> {
    // SAFETY: GetCurrentProcessId takes nothing and cannot fail.
    sid_of(unsafe { GetCurrentProcessId() })
}

/// The SID of another process's user, in its string form.
pub(crate) fn sid_of(pid: u32) -> io::Result<String> {
    let token = token_of(pid)?;
    // A TOKEN_USER and the SID it points to; u64s, so that the struct in front lies aligned.
    let mut room = [0u64; 32];
    let mut needed = 0;
    // SAFETY: the token is open, and the room is as large as is said.
    let read = unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenUser,
            room.as_mut_ptr().cast(),
            size_of_val(&room) as u32,
            &mut needed,
        )
    };
    if read == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: GetTokenInformation has written a TOKEN_USER to the start of the aligned room.
    let user = unsafe { room.as_ptr().cast::<TOKEN_USER>().read() };
    let mut text = std::ptr::null_mut();
    // SAFETY: the SID lies within the room, which is still there.
    if unsafe { ConvertSidToStringSidW(user.User.Sid, &mut text) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: ConvertSidToStringSidW has given a string that ends with NUL, ours to free by LocalFree and not used after.
    unsafe {
        let sid = widestring::U16CStr::from_ptr_str(text).to_string_lossy();
        LocalFree(text.cast());
        Ok(sid)
    }
}

fn token_of(pid: u32) -> io::Result<OwnedHandle> {
    // SAFETY: OpenProcess takes plain values; a handle it gives is ours to close.
    let process = unsafe {
        let handle = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid);
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        OwnedHandle::from_raw_handle(handle)
    };
    let mut token = std::ptr::null_mut();
    // SAFETY: the process handle is open; the token handle it gives is ours to close.
    unsafe {
        if OpenProcessToken(process.as_raw_handle(), TOKEN_QUERY, &mut token) == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedHandle::from_raw_handle(token))
    }
}

//! Whose process it is, on Windows: the SID of its user; and what is for that user alone.

use std::ffi::c_void;
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr;

use interprocess::os::windows::security_descriptor::{AsSecurityDescriptorExt, SecurityDescriptor};
use widestring::{U16CStr, U16CString};
use windows_sys::Win32::Foundation::{ERROR_ALREADY_EXISTS, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, GetNamedSecurityInfoW, SE_FILE_OBJECT, SetNamedSecurityInfoW,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, GetSecurityDescriptorControl, GetTokenInformation, PROTECTED_DACL_SECURITY_INFORMATION,
    SE_DACL_PROTECTED, SECURITY_ATTRIBUTES, TOKEN_QUERY, TOKEN_USER, TokenUser,
};
use windows_sys::Win32::Storage::FileSystem::CreateDirectoryW;
use windows_sys::Win32::System::Pipes::GetNamedPipeServerProcessId;
use windows_sys::Win32::System::Threading::{
    GetCurrentProcessId, OpenProcess, OpenProcessToken, PROCESS_QUERY_LIMITED_INFORMATION,
};

/// The SID of this process's user, in its string form.
pub fn own_sid() -> io::Result<String> {
    // SAFETY: GetCurrentProcessId takes nothing and cannot fail.
    sid_of(unsafe { GetCurrentProcessId() })
}

/// What a pipe is made with to be for this user alone. Protected, so that nothing is inherited.
pub fn pipe_for_own_user() -> io::Result<SecurityDescriptor> {
    descriptor(&format!("D:P(A;;GA;;;{})", own_sid()?))
}

/// Checks that the process that serves a pipe is one of this user: anyone may have made a pipe of that name before us.
pub fn check_server(pipe: &impl AsHandle) -> io::Result<()> {
    let mut pid = 0;
    // SAFETY: the handle is open for as long as `pipe` is borrowed; pid outlives the call.
    if unsafe { GetNamedPipeServerProcessId(pipe.as_handle().as_raw_handle(), &raw mut pid) } == 0 {
        return Err(io::Error::last_os_error());
    }
    if sid_of(pid)? == own_sid()? {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "the pipe's server is a process of another user"))
}

/// Makes a folder, and those above it, for this user alone; the system and its administrators, to whom everything is
/// open anyway, are not shut out, since backups and the like run as them.
pub fn create_private(folder: &Path) -> io::Result<()> {
    if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty() && !above.is_dir()) {
        create_private(above)?;
    }
    let descriptor = folder_for_own_user()?;
    let mut attributes = SECURITY_ATTRIBUTES { nLength: size_of::<SECURITY_ATTRIBUTES>() as u32, ..Default::default() };
    descriptor.write_to_security_attributes(&mut attributes);
    let path = wide(folder)?;
    // SAFETY: the path ends with a NUL; it and the attributes, with the descriptor they point to, outlive the call.
    if unsafe { CreateDirectoryW(path.as_ptr(), &raw const attributes) } != 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    // Someone else may have made it meanwhile.
    if error.raw_os_error() == Some(ERROR_ALREADY_EXISTS as i32) && folder.is_dir() { Ok(()) } else { Err(error) }
}

/// Closes a folder to others, with all that is in it, unless somebody has set by hand who may use it.
pub fn close_to_others(folder: &Path) -> io::Result<()> {
    let path = wide(folder)?;
    if inherits_nothing(&path)? {
        return Ok(());
    }
    let descriptor = folder_for_own_user()?;
    let list = descriptor.dacl()?.map_or(ptr::null(), |(list, _)| list);
    let what = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
    // SAFETY: the path ends with a NUL; it and the list, which is the descriptor's, outlive the call.
    let status = unsafe {
        SetNamedSecurityInfoW(path.as_ptr(), SE_FILE_OBJECT, what, ptr::null_mut(), ptr::null_mut(), list, ptr::null())
    };
    if status == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(status.cast_signed())) }
}

fn folder_for_own_user() -> io::Result<SecurityDescriptor> {
    descriptor(&format!("D:P(A;OICI;FA;;;{})(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)", own_sid()?))
}

fn descriptor(text: &str) -> io::Result<SecurityDescriptor> {
    SecurityDescriptor::deserialize(&U16CString::from_str(text).map_err(io::Error::other)?)
}

/// Is who may use the folder set on it alone, and not by the folder above?
fn inherits_nothing(path: &U16CStr) -> io::Result<bool> {
    let mut descriptor: *mut c_void = ptr::null_mut();
    // SAFETY: the path ends with a NUL; the parts of the descriptor are not asked for, only the whole.
    let status = unsafe {
        GetNamedSecurityInfoW(
            path.as_ptr(),
            SE_FILE_OBJECT,
            DACL_SECURITY_INFORMATION,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut descriptor,
        )
    };
    if status != 0 {
        return Err(io::Error::from_raw_os_error(status.cast_signed()));
    }
    let (mut control, mut revision) = (0, 0);
    // SAFETY: the descriptor was made by the call before, which asks for LocalFree, and is not used afterwards.
    let known = unsafe {
        let known = GetSecurityDescriptorControl(descriptor, &raw mut control, &raw mut revision);
        LocalFree(descriptor);
        known
    };
    if known == 0 { Err(io::Error::last_os_error()) } else { Ok(control & SE_DACL_PROTECTED != 0) }
}

fn wide(path: &Path) -> io::Result<U16CString> {
    U16CString::from_vec(path.as_os_str().encode_wide().collect::<Vec<_>>()).map_err(io::Error::other)
}

/// The SID of another process's user, in its string form.
pub fn sid_of(pid: u32) -> io::Result<String> {
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
    let mut text = ptr::null_mut();
    // SAFETY: the SID lies within the room, which is still there.
    if unsafe { ConvertSidToStringSidW(user.User.Sid, &mut text) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: ConvertSidToStringSidW has given a string that ends with NUL, ours to free by LocalFree and not used after.
    unsafe {
        let sid = U16CStr::from_ptr_str(text).to_string_lossy();
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
    let mut token = ptr::null_mut();
    // SAFETY: the process handle is open; the token handle it gives is ours to close.
    unsafe {
        if OpenProcessToken(process.as_raw_handle(), TOKEN_QUERY, &mut token) == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedHandle::from_raw_handle(token))
    }
}

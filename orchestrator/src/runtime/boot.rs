//! Which boot of the machine this is: what was only in the kernel's memory is gone when it changes.

/// A text that stays the same until the machine is booted again; empty when it cannot be told.
pub(super) fn id() -> String {
    read().unwrap_or_else(|error| {
        tracing::warn!("cannot tell which boot this is: {error}");
        String::new()
    })
}

#[cfg(target_os = "linux")]
fn read() -> std::io::Result<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned())
}

#[cfg(all(unix, not(target_os = "linux")))]
fn read() -> std::io::Result<String> {
    let mut id = [0_u8; 64];
    let mut len = id.len();
    let name = if cfg!(target_vendor = "apple") { c"kern.bootsessionuuid" } else { c"kern.boot_id" };
    // SAFETY: the name ends with a NUL; `id` has room for `len` bytes; nothing is set.
    let known =
        unsafe { libc::sysctlbyname(name.as_ptr(), id.as_mut_ptr().cast(), &raw mut len, std::ptr::null_mut(), 0) };
    if known != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(String::from_utf8_lossy(&id[..len]).trim_end_matches('\0').to_owned())
}

/// The time of the boot in steps of ten seconds, which is as well as the two clocks agree.
#[cfg(windows)]
fn read() -> std::io::Result<String> {
    // SAFETY: no memory is touched.
    let up_ms = unsafe { windows_sys::Win32::System::SystemInformation::GetTickCount64() };
    let booted_at = (super::clock::wall() / 1000).saturating_sub(up_ms);
    Ok(format!("booted-{}", (booted_at + 5_000) / 10_000))
}

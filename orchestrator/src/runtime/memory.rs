//! Memory that was needed for a moment, as when a thousand processes start at once, goes back to the system.

/// Gives back what the allocator keeps for later. Takes about a millisecond.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn give_back() {
    // SAFETY: the allocator locks itself; nothing of ours is touched.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators are not told.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn give_back() {}

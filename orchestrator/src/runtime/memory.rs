//! Memory that was needed for a moment, as when a thousand processes start at once, goes back to the system.

/// Gives back what the allocator keeps for later, and lets go of the program's own code: what is called again is mapped
/// again, from the system's cache; what only a start needs (reading configurations, taking over) stays out. Takes about a
/// millisecond.
#[cfg(target_os = "linux")]
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the allocator locks itself; nothing of ours is touched.
    unsafe {
        libc::malloc_trim(0);
    }
    if let Some(Err(error)) = own_code().map(let_go) {
        tracing::debug!("cannot let go of code: {error}");
    }
}

/// Other systems are not told.
#[cfg(not(target_os = "linux"))]
pub(crate) fn give_back() {}

/// Where the code of this program is mapped: the mapping that this function itself lies in.
#[cfg(target_os = "linux")]
fn own_code() -> Option<std::ops::Range<usize>> {
    let here = own_code as *const () as usize;
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (start, end) = fields.next()?.split_once('-')?;
        let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
        // A mapping of a file that nobody can write to holds nothing but what the file does.
        let is_code = fields.next()? == "r-xp" && fields.nth(2)? != "0";
        (is_code && range.contains(&here)).then_some(range)
    })
}

#[cfg(target_os = "linux")]
fn let_go(code: std::ops::Range<usize>) -> Result<(), rustix::io::Errno> {
    // SAFETY: the range is one whole mapping, private, of a file, and never written to: a page that is let go of is read
    // from the same file again when it is next used.
    unsafe { rustix::mm::madvise(code.start as *mut _, code.len(), rustix::mm::Advice::LinuxDontNeed) }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn what_was_let_go_of_is_there_when_it_is_called() {
        let code = super::own_code().expect("it is mapped");
        assert!(code.contains(&(super::give_back as *const () as usize)));
        super::give_back();
        assert_eq!(super::own_code(), Some(code));
    }
}

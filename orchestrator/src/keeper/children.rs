//! The signals a keeper hears, and the children that fall to it.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The signals it is told of; they wake its one `poll`.
pub struct Signals {
    descriptor: OwnedFd,
}

impl Signals {
    /// From here on none of them ends or interrupts this process. A hang-up or Ctrl-C is no business of a keeper.
    pub fn take() -> io::Result<Self> {
        // SAFETY: the sets are plain values, initialised before use; the new descriptor is nobody else's.
        unsafe {
            let mut heard = MaybeUninit::<libc::sigset_t>::zeroed().assume_init();
            libc::sigemptyset(&raw mut heard);
            for number in [libc::SIGCHLD, libc::SIGTERM, libc::SIGUSR1, libc::SIGQUIT] {
                libc::sigaddset(&raw mut heard, number);
            }
            let mut blocked = heard;
            for number in [libc::SIGHUP, libc::SIGINT, libc::SIGPIPE] {
                libc::sigaddset(&raw mut blocked, number);
            }
            libc::sigprocmask(libc::SIG_SETMASK, &raw const blocked, std::ptr::null_mut());
            let descriptor = libc::signalfd(-1, &raw const heard, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC);
            if descriptor < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self { descriptor: OwnedFd::from_raw_fd(descriptor) })
        }
    }

    /// The number of the next one that has come.
    pub fn next(&self) -> Option<i32> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: `info` has room for `size` bytes, and zeroed is a value of its type.
        let info = unsafe {
            if libc::read(self.descriptor.as_raw_fd(), info.as_mut_ptr().cast(), size) != size.cast_signed() {
                return None;
            }
            info.assume_init()
        };
        i32::try_from(info.ssi_signo).ok()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Reaps this child if it has ended: its exit code, `None` when a signal ended it.
pub fn ended(pid: u32) -> Option<Option<u8>> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let done = unsafe { libc::waitpid(pid.cast_signed(), &raw mut status, libc::WNOHANG) };
    match done {
        0 => None,
        done if done > 0 => Some(libc::WIFEXITED(status).then(|| u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(1))),
        // Nobody else waits for our children.
        _ => Some(None),
    }
}

/// Reaps this child if it has ended.
pub fn reap(pid: u32) {
    let _ = ended(pid);
}

/// Reaps every child that has ended and is not one of these.
pub fn reap_all_but(is_waited_for: impl Fn(u32) -> bool) {
    loop {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: `info` is valid for the write, and zeroed is a value of its type; with nobody ended its pid stays 0.
        let pid = unsafe {
            if libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) != 0 {
                return;
            }
            info.assume_init().si_pid()
        };
        match u32::try_from(pid) {
            // One that is waited for hides those behind it until it is reaped: then this is called again.
            Ok(pid) if pid != 0 && !is_waited_for(pid) => reap(pid),
            Ok(_) | Err(_) => return,
        }
    }
}

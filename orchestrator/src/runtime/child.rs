//! Waiting for the end of a main process.
//!
//! Its number stays taken until [`super::group::Group::reap`]: so a signal to its group can never hit another's.

#[cfg(unix)]
pub(super) use unix::Child;
#[cfg(windows)]
pub(super) use windows::Child;

#[cfg(unix)]
mod unix {
    use std::io;

    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    use crate::signal;
    use crate::supervisor::Outcome;

    /// A main process whose end is awaited.
    #[derive(Debug)]
    pub struct Child {
        pid: Pid,
        ends: Ends,
    }

    impl Child {
        /// Watches a child of ours that has not been waited for.
        pub fn watch(pid: u32) -> io::Result<Self> {
            let pid = pid_of(pid);
            Ok(Self { pid, ends: Ends::of(pid)? })
        }

        /// Watches one of which a pidfd is there already.
        #[cfg(target_os = "linux")]
        pub fn of(pid: u32, pidfd: std::os::fd::OwnedFd) -> io::Result<Self> {
            Ok(Self { pid: pid_of(pid), ends: Ends::of_pidfd(pidfd)? })
        }

        /// Waits for the end of a process that may be no child of ours now: one whose parent has ended before it has become
        /// one. How another's child ended is not known.
        #[cfg(target_os = "linux")]
        pub async fn wait_for_any(mut self) -> Outcome {
            loop {
                if let Ok(Some(outcome)) = peek(self.pid) {
                    return outcome;
                }
                if rustix::process::getpgid(Some(self.pid)).is_err() || self.ends.next().await.is_err() {
                    return Outcome::Unknown;
                }
            }
        }

        /// There is no way to hear of the end of another's child.
        #[cfg(not(target_os = "linux"))]
        pub async fn wait_for_any(self) -> Outcome {
            self.wait().await
        }

        /// Waits for its end.
        pub async fn wait(mut self) -> Outcome {
            loop {
                match peek(self.pid) {
                    Ok(Some(outcome)) => return outcome,
                    Ok(None) => {}
                    // Nobody else waits for our children; should it happen, its end is known and nothing more.
                    Err(_) => return Outcome::Unknown,
                }
                if self.ends.next().await.is_err() {
                    return Outcome::Unknown;
                }
            }
        }
    }

    pub fn pid_of(pid: u32) -> Pid {
        i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id is a positive i32")
    }

    /// How it ended, if it has; it stays waitable.
    fn peek(pid: Pid) -> io::Result<Option<Outcome>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), options))?;
        Ok(status.map(|status| match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Outcome::Code(code),
            (None, Some(number)) => Outcome::Signal { number, name: signal::name(number) },
            (None, None) => Outcome::Unknown,
        }))
    }

    /// Linux: a pidfd becomes readable when the process has ended.
    #[cfg(target_os = "linux")]
    #[derive(Debug)]
    struct Ends {
        pidfd: tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>,
    }

    #[cfg(target_os = "linux")]
    impl Ends {
        fn of(pid: Pid) -> io::Result<Self> {
            use rustix::process::{PidfdFlags, pidfd_open};
            Self::of_pidfd(pidfd_open(pid, PidfdFlags::empty())?)
        }

        fn of_pidfd(pidfd: std::os::fd::OwnedFd) -> io::Result<Self> {
            use tokio::io::{Interest, unix::AsyncFd};
            // SAFETY: an OwnedFd names the same open descriptor for as long as it lives.
            let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?;
            Ok(Self { pidfd })
        }

        async fn next(&mut self) -> io::Result<()> {
            // Once it has ended it stays readable: one wait is enough.
            self.pidfd.readable().await.map(|mut ready| ready.clear_ready())
        }
    }

    /// Elsewhere: at each SIGCHLD everyone looks whether it was theirs.
    #[cfg(not(target_os = "linux"))]
    #[derive(Debug)]
    struct Ends {
        children: tokio::signal::unix::Signal,
    }

    #[cfg(not(target_os = "linux"))]
    impl Ends {
        fn of(_pid: Pid) -> io::Result<Self> {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self { children: signal(SignalKind::child())? })
        }

        async fn next(&mut self) -> io::Result<()> {
            self.children.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
        }
    }
}

#[cfg(unix)]
pub(super) use unix::pid_of;

#[cfg(windows)]
mod windows {
    use std::ffi::c_void;
    use std::io;
    use std::os::windows::io::{AsRawHandle, OwnedHandle};

    use tokio::sync::oneshot;
    use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
    use windows_sys::Win32::System::Threading::{
        GetExitCodeProcess, INFINITE, RegisterWaitForSingleObject, UnregisterWaitEx, WT_EXECUTEONLYONCE,
    };

    use crate::supervisor::Outcome;

    /// A main process whose end is awaited.
    #[derive(Debug)]
    pub struct Child {
        process: OwnedHandle,
        wait: usize,
        ended: oneshot::Receiver<()>,
    }

    impl Child {
        /// Watches a process by a handle to it.
        pub fn watch(process: OwnedHandle) -> io::Result<Self> {
            let (tell, ended) = oneshot::channel::<()>();
            let tell = Box::into_raw(Box::new(tell));
            let mut wait: HANDLE = std::ptr::null_mut();
            // SAFETY: the process handle is open, and stays so until the wait is taken back in `drop`. `tell` is a box
            // that the callback, which is called once, takes over.
            let registered = unsafe {
                RegisterWaitForSingleObject(
                    &raw mut wait,
                    process.as_raw_handle(),
                    Some(has_ended),
                    tell.cast::<c_void>(),
                    INFINITE,
                    WT_EXECUTEONLYONCE,
                )
            };
            if registered == 0 {
                let error = io::Error::last_os_error();
                // SAFETY: no callback will come: the box is ours again.
                drop(unsafe { Box::from_raw(tell) });
                return Err(error);
            }
            Ok(Self { process, wait: wait as usize, ended })
        }

        /// Waits for its end.
        pub async fn wait(mut self) -> Outcome {
            if (&mut self.ended).await.is_err() {
                return Outcome::Unknown;
            }
            let mut code = 0;
            // SAFETY: the handle is open, and `code` outlives the call.
            let known = unsafe { GetExitCodeProcess(self.process.as_raw_handle(), &raw mut code) };
            // Windows counts exit codes without sign; people know them with one (0xC0000005 is -1073741819).
            if known == 0 { Outcome::Unknown } else { Outcome::Code(code.cast_signed()) }
        }
    }

    impl Drop for Child {
        fn drop(&mut self) {
            // SAFETY: the wait was registered in `watch` and is taken back only here; INVALID_HANDLE_VALUE makes the
            // call return after a callback under way has ended. A box whose callback never came is leaked: that
            // happens only when the orchestrator ends.
            unsafe { UnregisterWaitEx(self.wait as HANDLE, INVALID_HANDLE_VALUE) };
        }
    }

    /// Called on a thread of the system's pool.
    unsafe extern "system" fn has_ended(tell: *mut c_void, _timed_out: bool) {
        // SAFETY: `tell` is the box made in `watch`, and this is the one call.
        let tell = unsafe { Box::from_raw(tell.cast::<oneshot::Sender<()>>()) };
        let _ = tell.send(());
    }
}

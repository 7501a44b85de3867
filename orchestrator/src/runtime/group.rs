//! The process group of a run: signalled, killed, and watched until nothing of it is left. On Linux what has left the
//! group belongs to it all the same: it is found in the run's cgroup, or else among our own descendants.
//!
//! The main process is a zombie until [`Group::reap`], so that the group's number cannot go to strangers before its last
//! kill. On Linux the orchestrator takes orphans in (PR_SET_CHILD_SUBREAPER) and reaps them: under a pid 1 that does not,
//! as in many containers, a dead group would never look empty.

#[cfg(unix)]
pub(super) use unix::{Group, Orphans};
#[cfg(windows)]
pub(super) use windows::{Group, Orphans};

use std::io;
use std::time::Duration;

use super::kept::Kept;
use super::leaders::Leaders;
use super::left::LeftGroup;
use crate::signal;

/// First pause between two looks at a group that is dying; each further one is twice as long.
pub(super) const FIRST_LOOK: Duration = Duration::from_millis(1);
/// Longest such pause.
pub(super) const LAST_LOOK: Duration = Duration::from_millis(100);

/// What a run has started: of this orchestrator, or of the one before it.
#[derive(Debug)]
pub(super) enum Members {
    /// Its main process is our child.
    Own(Group),
    /// It is another's, by whom its number is set free at any time.
    Left(LeftGroup),
}

impl Members {
    /// Sends the signal of this name.
    pub(super) fn signal(&self, name: &str) -> io::Result<()> {
        match self {
            Self::Own(group) => group.signal(name),
            Self::Left(group) => {
                let number = signal::number(name).ok_or_else(|| io::Error::other(format!("no such signal: {name}")))?;
                group.signal(number);
                Ok(())
            }
        }
    }

    /// Kills what is there.
    pub(super) fn kill(&self) {
        match self {
            Self::Own(group) => group.kill(),
            Self::Left(group) => group.kill(),
        }
    }

    /// Kills what is left and returns when nothing is.
    pub(super) async fn end(&self, leaders: &Leaders, kept: &Kept) {
        match self {
            Self::Own(group) => group.end(leaders).await,
            Self::Left(group) => group.end(leaders, kept).await,
        }
    }
}

impl Group {
    /// Kills what is left and returns when nothing is.
    pub(super) async fn end(&self, leaders: &Leaders) {
        self.kill();
        self.reap();
        let mut pause = FIRST_LOOK;
        while !self.is_gone() || self.rest.kill(leaders) {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_LOOK);
            // A process that was being born in the group while it was killed.
            self.kill();
            leaders.reap_orphans();
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::io;
    use std::mem::MaybeUninit;

    use rustix::io::Errno;
    use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, test_kill_process_group, waitpgid, waitpid};

    use crate::runtime::child::pid_of;
    use crate::runtime::rest::Rest;
    use crate::signal;

    /// A run's process group; its number is that of its main process.
    #[derive(Debug)]
    pub struct Group {
        leader: Pid,
        /// What has left it.
        pub rest: Rest,
    }

    impl Group {
        pub fn of(leader: u32, rest: Rest) -> Self {
            Self { leader: pid_of(leader), rest }
        }

        /// Sends the signal of this name.
        pub fn signal(&self, name: &str) -> io::Result<()> {
            let number = signal::number(name).ok_or_else(|| io::Error::other(format!("no such signal: {name}")))?;
            // SAFETY: the number is one of the platform's own, and it is only sent, never handled or blocked.
            let signal = unsafe { Signal::from_raw_unchecked(number) };
            self.rest.look(self.leader.as_raw_pid().unsigned_abs());
            kill_process_group(self.leader, signal).map_err(io::Error::from)
        }

        pub fn kill(&self) {
            self.rest.look(self.leader.as_raw_pid().unsigned_abs());
            // Nothing left to kill is what is wanted.
            let _ = kill_process_group(self.leader, Signal::KILL);
        }

        /// Takes the end of the main process, and with it its number.
        pub fn reap(&self) {
            let _ = rustix::io::retry_on_intr(|| waitpid(Some(self.leader), WaitOptions::empty()));
        }

        /// Kills what is in the group, and takes the end of its main process. What has left it is not looked for.
        pub fn sweep(&self) {
            let _ = kill_process_group(self.leader, Signal::KILL);
            self.reap();
        }

        /// Whether nothing at all is in a group that is not ours.
        pub fn of_another_is_gone(leader: u32) -> bool {
            test_kill_process_group(pid_of(leader)) == Err(Errno::SRCH)
        }

        /// Whether nothing of it is left.
        pub fn is_gone(&self) -> bool {
            // Orphans of the group that came to us are gone only when we have waited for them.
            while let Ok(Some(_)) = waitpgid(self.leader, WaitOptions::NOHANG) {}
            test_kill_process_group(self.leader) == Err(Errno::SRCH)
        }
    }

    /// The orphans that come to us.
    #[derive(Debug)]
    pub struct Orphans;

    impl Orphans {
        /// From here on they come to us, where the platform can do that.
        pub fn take_in() {
            #[cfg(target_os = "linux")]
            if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
                tracing::warn!("cannot take in orphans: {error}");
            }
        }

        /// Reaps those that have ended; `is_leader` says which children have someone else to wait for them.
        pub fn reap(is_leader: impl Fn(u32) -> bool) {
            while let Some(pid) = ended_child() {
                if is_leader(pid) {
                    // It hides those behind it until it is reaped: then this is called again.
                    return;
                }
                let _ = waitpid(Some(pid_of(pid)), WaitOptions::NOHANG);
            }
        }
    }

    /// A child of ours that has ended; it stays waitable. The library does not tell which one waitid found.
    fn ended_child() -> Option<u32> {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: `info` is valid for the write, and zeroed is a value of its type; with WNOHANG and nobody ended it
        // is left at, or set to, pid 0.
        let info = unsafe {
            if libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) != 0 {
                return None;
            }
            info.assume_init()
        };
        // SAFETY: waitid has succeeded, so the fields of SIGCHLD are the ones that are set.
        u32::try_from(unsafe { info.si_pid() }).ok().filter(|pid| *pid != 0)
    }
}

#[cfg(windows)]
mod windows {
    use std::io;
    use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};

    use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, GenerateConsoleCtrlEvent};
    use windows_sys::Win32::System::JobObjects::{
        AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
        JOBOBJECT_BASIC_ACCOUNTING_INFORMATION, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
        JobObjectBasicAccountingInformation, JobObjectExtendedLimitInformation, QueryInformationJobObject,
        SetInformationJobObject, TerminateJobObject,
    };

    use crate::runtime::rest::Rest;
    use crate::signal;

    /// A run's job object: everything it starts is in it, and ends with the orchestrator.
    #[derive(Debug)]
    pub struct Group {
        leader: u32,
        job: OwnedHandle,
        /// Nothing leaves a job.
        pub rest: Rest,
    }

    impl Group {
        /// A new job with a process that is still suspended.
        pub fn of(leader: u32, process: &OwnedHandle) -> io::Result<Self> {
            // SAFETY: no name and no attributes are given; the handle returned is ours alone.
            let job = unsafe { CreateJobObjectW(std::ptr::null(), std::ptr::null()) };
            if job.is_null() {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: just made, and owned by nobody else.
            let job = unsafe { OwnedHandle::from_raw_handle(job) };
            let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
            limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
            // SAFETY: both handles are open; `limits` is the structure the class asks for, with its size.
            let assigned = unsafe {
                SetInformationJobObject(
                    job.as_raw_handle(),
                    JobObjectExtendedLimitInformation,
                    (&raw const limits).cast(),
                    size_of_val(&limits) as u32,
                ) != 0
                    && AssignProcessToJobObject(job.as_raw_handle(), process.as_raw_handle()) != 0
            };
            if assigned { Ok(Self { leader, job, rest: Rest::new() }) } else { Err(io::Error::last_os_error()) }
        }

        /// Asks (CTRL_BREAK: the only event that can be sent to one group), or kills.
        pub fn signal(&self, name: &str) -> io::Result<()> {
            if signal::canonical(name) == Some("SIGKILL") {
                self.kill();
                return Ok(());
            }
            // SAFETY: no memory is touched.
            let sent = unsafe { GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, self.leader) };
            if sent != 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        }

        pub fn kill(&self) {
            // SAFETY: the handle is open. 137 is what a shell makes of SIGKILL.
            unsafe { TerminateJobObject(self.job.as_raw_handle(), 137) };
        }

        /// Nothing outlives its orchestrator here.
        pub fn of_another_is_gone(_leader: u32) -> bool {
            true
        }

        /// Ends all of it.
        pub fn sweep(&self) {
            self.kill();
        }

        /// Nothing is left behind by a process that has ended here.
        pub fn reap(&self) {}

        /// Whether nothing of it is left.
        pub fn is_gone(&self) -> bool {
            let mut accounting = JOBOBJECT_BASIC_ACCOUNTING_INFORMATION::default();
            // SAFETY: the handle is open; `accounting` is the structure the class asks for, with its size.
            let known = unsafe {
                QueryInformationJobObject(
                    self.job.as_raw_handle(),
                    JobObjectBasicAccountingInformation,
                    (&raw mut accounting).cast(),
                    size_of_val(&accounting) as u32,
                    std::ptr::null_mut(),
                )
            };
            known == 0 || accounting.ActiveProcesses == 0
        }
    }

    /// There are no orphans where there are no parents.
    #[derive(Debug)]
    pub struct Orphans;

    impl Orphans {
        pub fn take_in() {}

        pub fn reap(_is_leader: impl Fn(u32) -> bool) {}
    }
}

/// Reaps orphans when they end, for ever.
#[cfg(target_os = "linux")]
pub(super) async fn reap_orphans(leaders: Leaders) {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::child()) {
        Ok(mut ended) => {
            while ended.recv().await.is_some() {
                leaders.reap_orphans();
            }
        }
        Err(error) => tracing::error!("cannot hear of orphans that end: {error}"),
    }
}

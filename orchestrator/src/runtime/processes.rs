//! Processes that are not, or not only, our children: who they are, whether they live, and how they ended.
//!
//! A pid alone names nobody, since numbers are given again; with the time it started it names one process of one boot.

use super::journal::Main;
use crate::supervisor::Outcome;

#[cfg(target_vendor = "apple")]
pub(super) use apple::*;
#[cfg(target_os = "linux")]
pub(super) use linux::*;
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
pub(super) use nobody::*;

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs::{self, OpenOptions};
    use std::io::Read;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::os::unix::ffi::OsStrExt;
    use std::time::{Duration, Instant};

    use copo_proto::env;
    use rustix::process::{PidfdFlags, Signal, kill_process_group, pidfd_open};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    use super::{Main, Outcome};
    use crate::runtime::child::pid_of;
    use crate::signal;

    /// How long a process that has ended may go unreaped by its parent until its exit code counts as unknown.
    const REAPED_WITHIN: Duration = Duration::from_secs(1);

    /// What `/proc/<pid>/stat` says.
    pub struct Stat {
        pub is_dead: bool,
        pub group: u32,
        pub session: u32,
        pub started: u64,
        /// What `wait` says of the end of a zombie.
        status: i32,
    }

    pub fn stat(pid: u32) -> Option<Stat> {
        // Read by hand: the library would ask for the size first, and read once more to be sure.
        let mut bytes = [0; 1024];
        let read = fs::File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read(&mut bytes)).ok()?;
        let text = String::from_utf8_lossy(&bytes[..read]);
        // The name, in parentheses, may hold anything; behind it stand state, parent, group, session …
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Stat {
            is_dead: matches!(*fields.first()?, "Z" | "X"),
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
            status: fields.get(49)?.parse().ok()?,
        })
    }

    /// Every process there is.
    pub fn all() -> impl Iterator<Item = u32> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    }

    /// Start time (ticks since boot) and session of a process.
    pub fn identity(pid: u32) -> Option<(u64, u32)> {
        stat(pid).map(|stat| (stat.started, stat.session))
    }

    /// Is the main process there, dead or alive? Then its number, and that of its group, is nobody else's.
    pub fn has_number(main: &Main) -> bool {
        stat(main.pid).is_some_and(|stat| stat.started == main.started)
    }

    /// How a main process ended that nobody has reaped yet.
    fn outcome_of_zombie(main: &Main) -> Option<Outcome> {
        let zombie = stat(main.pid).filter(|stat| stat.is_dead && stat.started == main.started)?;
        Some(outcome_of(zombie.status))
    }

    /// Which of these runs, by their ids in text, have a main process, and its pid: it is the oldest group leader that
    /// finds the run in its environment.
    pub fn find_runs(runs: &BTreeSet<String>) -> BTreeMap<String, u32> {
        let mut found: BTreeMap<String, (u64, u32)> = BTreeMap::new();
        if runs.is_empty() {
            return BTreeMap::new();
        }
        let prefix = format!("{}=", env::RUN);
        for pid in all() {
            let Some(stat) = stat(pid).filter(|stat| !stat.is_dead && stat.group == pid) else { continue };
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let mut variables = environ.split(|byte| *byte == 0);
            let run = variables.find_map(|variable| variable.strip_prefix(prefix.as_bytes()));
            let Some(run) = run.and_then(|run| std::str::from_utf8(run).ok()).filter(|run| runs.contains(*run)) else {
                continue;
            };
            let oldest = found.entry(run.to_owned()).or_insert((stat.started, pid));
            *oldest = (*oldest).min((stat.started, pid));
        }
        found.into_iter().map(|(run, (_, pid))| (run, pid)).collect()
    }

    /// Sends a signal to a group that was found to be there.
    pub fn signal_group(main: &Main, number: i32) {
        // SAFETY: the number is one of the platform's own, and it is only sent, never handled or blocked.
        let signal = unsafe { Signal::from_raw_unchecked(number) };
        let _ = kill_process_group(pid_of(main.pid), signal);
    }

    /// A process whose end can be awaited, whoever's child it is.
    #[derive(Debug)]
    pub struct Watch {
        main: Main,
        pidfd: AsyncFd<OwnedFd>,
        ended_before: Option<Outcome>,
    }

    /// Watches a main process; `None` when it has ended and is reaped, or its number is another's.
    pub fn watch(main: &Main) -> Option<Watch> {
        let pidfd = pidfd_open(pid_of(main.pid), PidfdFlags::empty()).ok()?;
        // Asked after it was opened: so the process that the descriptor names is the one that is asked about.
        let stat = stat(main.pid).filter(|stat| stat.started == main.started)?;
        let ended_before = stat.is_dead.then(|| outcome_of(stat.status));
        // SAFETY: an OwnedFd names the same open descriptor for as long as it lives.
        let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) };
        let pidfd = pidfd.inspect_err(|error| tracing::error!("cannot watch process {}: {error}", main.pid)).ok()?;
        Some(Watch { main: main.clone(), pidfd, ended_before })
    }

    impl Watch {
        /// How it has ended, if it had when it began to be watched.
        pub fn ended_before(&self) -> Option<Outcome> {
            self.ended_before
        }

        /// Until it has ended.
        pub async fn ended(&self) {
            if let Ok(mut ready) = self.pidfd.readable().await {
                ready.clear_ready();
            }
        }

        /// How it ended: its entry in /proc tells until its parent has reaped it, from then on its descriptor does
        /// (Linux 6.15).
        pub async fn outcome(&self) -> Outcome {
            if let Some(outcome) = outcome_of_zombie(&self.main) {
                return outcome;
            }
            let start = Instant::now();
            let mut pause = Duration::from_millis(1);
            while start.elapsed() < REAPED_WITHIN {
                match exit_status(self.pidfd.get_ref()) {
                    Ok(Some(status)) => return outcome_of(status),
                    Ok(None) => {}
                    Err(_) => return Outcome::Unknown,
                }
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            Outcome::Unknown
        }
    }

    /// What `wait` says of an end.
    pub fn outcome_of(status: i32) -> Outcome {
        if libc::WIFEXITED(status) {
            return Outcome::Code(libc::WEXITSTATUS(status));
        }
        if libc::WIFSIGNALED(status) {
            let number = libc::WTERMSIG(status);
            return Outcome::Signal { number, name: signal::name(number) };
        }
        Outcome::Unknown
    }

    /// linux/pidfd.h: what PIDFD_GET_INFO fills in; the libraries do not have it yet.
    #[repr(C)]
    #[derive(Default)]
    struct PidfdInfo {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
    }

    /// `_IOWR(0xFF, 11, struct pidfd_info)`.
    const PIDFD_GET_INFO: u64 = 0xC040_FF0B;
    const PIDFD_INFO_EXIT: u64 = 1 << 3;

    fn exit_status(pidfd: &OwnedFd) -> std::io::Result<Option<i32>> {
        let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
        // SAFETY: the descriptor is open, and `info` has the size that the request's number says and outlives the call.
        let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, &raw mut info) };
        if done != 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok((info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code))
    }

    /// The inode number of a pipe, by which its other ends can be told.
    pub fn inode(pipe: &OwnedFd) -> Option<u64> {
        rustix::fs::fstat(pipe).ok().map(|stat| stat.st_ino)
    }

    /// Opens an end of the pipe that a process holds the other end of. What lies in it unread is still there.
    pub fn open_pipe(pid: u32, inode: u64, for_writing: bool) -> Option<OwnedFd> {
        let wanted = format!("pipe:[{inode}]");
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        let is_it = |path: &std::path::PathBuf| {
            fs::read_link(path).is_ok_and(|link| link.as_os_str().as_bytes() == wanted.as_bytes())
        };
        let path = descriptors.map(|entry| entry.path()).find(is_it)?;
        OpenOptions::new().read(!for_writing).write(for_writing).open(path).ok().map(OwnedFd::from)
    }
}

#[cfg(target_vendor = "apple")]
mod apple {
    use std::collections::{BTreeMap, BTreeSet};
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::process::{Signal, kill_process_group};

    use super::{Main, Outcome};
    use crate::runtime::child::pid_of;

    /// How often it is looked whether another's child has ended.
    const LOOK: Duration = Duration::from_millis(250);

    /// Is the main process there? Then its number, and that of its group, is nobody else's.
    pub fn has_number(main: &Main) -> bool {
        is_there(main)
    }

    /// Start time (microseconds since the Unix epoch) of a process; its session is not needed.
    pub fn identity(pid: u32) -> Option<(u64, u32)> {
        let mut info = MaybeUninit::<libc::proc_bsdinfo>::zeroed();
        let size = size_of::<libc::proc_bsdinfo>() as i32;
        // SAFETY: `info` has room for `size` bytes, and zeroed is a value of its type.
        let info = unsafe {
            if libc::proc_pidinfo(pid as i32, libc::PROC_PIDTBSDINFO, 0, info.as_mut_ptr().cast(), size) != size {
                return None;
            }
            info.assume_init()
        };
        Some((info.pbi_start_tvsec * 1_000_000 + info.pbi_start_tvusec, 0))
    }

    /// Nobody's environment can be read here.
    pub fn find_runs(_runs: &BTreeSet<String>) -> BTreeMap<String, u32> {
        BTreeMap::new()
    }

    fn is_there(main: &Main) -> bool {
        identity(main.pid).is_some_and(|(started, _)| started == main.started)
    }

    /// Sends a signal to a group that was found to be there.
    pub fn signal_group(main: &Main, number: i32) {
        // SAFETY: the number is one of the platform's own, and it is only sent, never handled or blocked.
        let signal = unsafe { Signal::from_raw_unchecked(number) };
        let _ = kill_process_group(pid_of(main.pid), signal);
    }

    /// A process whose end can be noticed, whoever's child it is.
    #[derive(Debug)]
    pub struct Watch {
        main: Main,
    }

    /// Watches a main process; `None` when it has ended, or its number is another's.
    pub fn watch(main: &Main) -> Option<Watch> {
        is_there(main).then(|| Watch { main: main.clone() })
    }

    impl Watch {
        /// One that had ended is not watched.
        pub fn ended_before(&self) -> Option<Outcome> {
            None
        }

        /// Until it has ended.
        pub async fn ended(&self) {
            while is_there(&self.main) {
                tokio::time::sleep(LOOK).await;
            }
        }

        /// Only its parent learns how.
        pub async fn outcome(&self) -> Outcome {
            Outcome::Unknown
        }
    }

    /// The pipes of another process cannot be opened here.
    pub fn inode(_pipe: &OwnedFd) -> Option<u64> {
        None
    }

    /// The pipes of another process cannot be opened here.
    pub fn open_pipe(_pid: u32, _inode: u64, _for_writing: bool) -> Option<OwnedFd> {
        None
    }
}

/// Where nobody can be told from who came after, or children end with the orchestrator.
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
mod nobody {
    use std::collections::{BTreeMap, BTreeSet};

    use super::{Main, Outcome};
    use crate::runtime::spawn::OutputEnd;

    pub fn identity(_pid: u32) -> Option<(u64, u32)> {
        None
    }

    pub fn has_number(_main: &Main) -> bool {
        false
    }

    pub fn find_runs(_runs: &BTreeSet<String>) -> BTreeMap<String, u32> {
        BTreeMap::new()
    }

    pub fn signal_group(_main: &Main, _number: i32) {}

    #[derive(Debug)]
    pub struct Watch;

    pub fn watch(_main: &Main) -> Option<Watch> {
        None
    }

    impl Watch {
        pub fn ended_before(&self) -> Option<Outcome> {
            None
        }

        pub async fn ended(&self) {}

        pub async fn outcome(&self) -> Outcome {
            Outcome::Unknown
        }
    }

    pub fn inode(_pipe: &OutputEnd) -> Option<u64> {
        None
    }

    pub fn open_pipe(_pid: u32, _inode: u64, _for_writing: bool) -> Option<OutputEnd> {
        None
    }
}

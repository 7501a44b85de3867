//! Unix: the pipes of a child, and posix_spawn through the standard library where `clone` has nothing better.
//!
//! `Command` takes posix_spawn (vfork inside, so that nothing of our memory is copied) as long as the program is a path,
//! there is no closure to run before exec (for a user, limits and the like there is: then it forks); a working folder and a process group are no hindrance
//! (std/src/sys/process/unix/unix.rs). It sets SIGPIPE to its default, and leaves the signal mask as ours is: the
//! runtime empties ours when it starts.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

#[cfg(target_os = "linux")]
use copo_proto::env;
use rustix::io::{Errno, ioctl_fionbio, ioctl_fionread, read, write};
use rustix::termios::{SpecialCodeIndex, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetwinsize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
use super::clone::{Cloner, Ends};
use super::{Hold, Launch, Obstacle, Spawned};
use crate::plan::Stdin;
use crate::runtime::child::Child;
use crate::runtime::descriptors::Descriptors;
use crate::runtime::group::Group;
use crate::runtime::rest::Rest;
use crate::runtime::terminal;

/// The end of the output pipe that we keep.
pub(in crate::runtime) type OutputEnd = OwnedFd;
/// The end of the stdin pipe that we keep.
pub(in crate::runtime) type StdinEnd = OwnedFd;

/// A child that fills its pipe gets one of this size: a sixth of the wakeups for the same bytes.
#[cfg(target_os = "linux")]
const LARGE_PIPE: usize = 1024 * 1024;

/// So much at once shows that a child fills its pipe: one of the usual size may be full with half of what it can hold.
#[cfg(target_os = "linux")]
const MUCH: usize = 32 * 1024;

/// More than a terminal holds of what was written to it and not read yet.
const TERMINAL: u64 = 256 * 1024;

/// Starts children.
#[derive(Debug)]
pub(super) struct Spawner {
    descriptors: Descriptors,
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    cloner: Cloner,
}

impl Spawner {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            descriptors: Descriptors::raise(),
            #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
            cloner: Cloner::new()?,
        })
    }

    /// As where only posix_spawn works.
    #[cfg(test)]
    pub(super) fn without_clone() -> io::Result<Self> {
        let spawner = Self::new()?;
        #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
        spawner.cloner.fail();
        Ok(spawner)
    }

    pub(super) fn spawn(&self, program: &Path, launch: &Launch, hold: &Hold<'_>) -> Result<Spawned, Obstacle> {
        let Streams { ours: (output, stdin), theirs: (child_output, child_stdin) } = Streams::of(launch)?;
        hold(&output, stdin.as_ref());
        let (pid, child) = self.start(program, launch, child_output, child_stdin)?;
        Ok(Spawned { pid, child, group: group(pid, launch), output, stdin })
    }

    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn start(
        &self,
        program: &Path,
        launch: &Launch,
        output: OwnedFd,
        stdin: Option<OwnedFd>,
    ) -> Result<(u32, Child), Obstacle> {
        let is_terminal = launch.stdin == Stdin::Terminal;
        let ends = Ends { output: output.as_fd(), stdin: stdin.as_ref().map(AsFd::as_fd), is_terminal };
        let attributes = launch.attributes.with_open_files(self.descriptors.found());
        match self.cloner.spawn(program, launch, &attributes, &ends)? {
            Some(cloned) => watched(cloned.pid, launch, Child::of(cloned.pid, cloned.pidfd)),
            None => self.posix_spawn(program, launch, output, stdin),
        }
    }

    #[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
    fn start(
        &self,
        program: &Path,
        launch: &Launch,
        output: OwnedFd,
        stdin: Option<OwnedFd>,
    ) -> Result<(u32, Child), Obstacle> {
        self.posix_spawn(program, launch, output, stdin)
    }

    fn posix_spawn(
        &self,
        program: &Path,
        launch: &Launch,
        output: OwnedFd,
        stdin: Option<OwnedFd>,
    ) -> Result<(u32, Child), Obstacle> {
        let mut command = Command::new(program);
        command
            .args(&launch.script)
            .args(&launch.args)
            .env_clear()
            .envs(launch.env.iter())
            .current_dir(&launch.cwd)
            .stdin(stdin.map_or_else(Stdio::null, Stdio::from))
            .stdout(output.try_clone()?)
            .stderr(output);
        if launch.stdin == Stdin::Terminal {
            // SAFETY: both calls in it are async-signal-safe, and making the error of a number allocates nothing.
            unsafe { command.pre_exec(terminal::take) };
        } else {
            command.process_group(0);
        }
        if !launch.attributes.is_plain() {
            let attributes = launch.attributes.with_open_files(self.descriptors.found());
            let set = move || attributes.apply().map_err(|unset| io::Error::from_raw_os_error(unset.errno));
            // SAFETY: `apply` is async-signal-safe, and making the error of a number allocates nothing.
            unsafe { command.pre_exec(set) };
        }
        // Its end is waited for by `Child`.
        let process = ManuallyDrop::new(command.spawn()?);
        if launch.attributes.is_plain() {
            self.descriptors.restore(process.id());
        }
        #[cfg(target_os = "linux")]
        if let Some(Err(error)) = launch.cgroup.as_ref().map(|cgroup| cgroup.take(process.id())) {
            tracing::warn!("cannot put pid {} into its cgroup: {error}", process.id());
        }
        watched(process.id(), launch, Child::watch(process.id()))
    }
}

/// The streams of a child: stdout and stderr in one, and stdin if it has one.
struct Streams {
    ours: (OutputEnd, Option<StdinEnd>),
    theirs: (OwnedFd, Option<OwnedFd>),
}

impl Streams {
    /// Both ends are closed in every other child (FD_CLOEXEC).
    fn of(launch: &Launch) -> io::Result<Self> {
        if launch.stdin == Stdin::Terminal {
            let owner = launch.attributes.credentials.as_ref().map(|credentials| credentials.uid);
            let (ours, theirs) = terminal::open(owner)?;
            let (our_copy, their_copy) = (ours.try_clone()?, theirs.try_clone()?);
            return Ok(Self { ours: (ours, Some(our_copy)), theirs: (theirs, Some(their_copy)) });
        }
        let (output, child_output) = io::pipe()?;
        let (stdin, child_stdin) = match launch.stdin {
            Stdin::Null | Stdin::Terminal => (None, None),
            Stdin::Attach => {
                let (read_end, write_end) = io::pipe()?;
                (Some(write_end.into()), Some(read_end.into()))
            }
        };
        Ok(Self { ours: (output.into(), stdin), theirs: (child_output.into(), child_stdin) })
    }
}

/// The run's group, with what it takes to find those who left it.
fn group(pid: u32, launch: &Launch) -> Group {
    #[cfg(target_os = "linux")]
    let rest = Rest::new(&launch.env.get(env::RUN).unwrap_or_default().to_string_lossy(), launch.cgroup.clone());
    #[cfg(not(target_os = "linux"))]
    let rest = {
        let _ = launch;
        Rest::new()
    };
    Group::of(pid, rest)
}

/// A process whose end nobody would hear of is not left alone.
fn watched(pid: u32, launch: &Launch, child: io::Result<Child>) -> Result<(u32, Child), Obstacle> {
    let watched = child.map(|child| (pid, child)).inspect_err(|_| {
        let group = group(pid, launch);
        group.kill();
        group.reap();
    });
    watched.map_err(Obstacle::from)
}

/// Reads what a child writes. Made on the thread that reads.
pub(in crate::runtime) struct OutputReader {
    pipe: AsyncFd<OwnedFd>,
    is_terminal: bool,
    #[cfg(target_os = "linux")]
    is_large: std::cell::Cell<bool>,
}

impl OutputReader {
    pub(in crate::runtime) fn new(end: OutputEnd) -> io::Result<Self> {
        ioctl_fionbio(&end, true)?;
        Ok(Self {
            is_terminal: isatty(&end),
            // SAFETY: an OwnedFd names the same open descriptor for as long as it lives.
            pipe: unsafe { AsyncFd::register_with_interest(end, Interest::READABLE) }?,
            #[cfg(target_os = "linux")]
            is_large: std::cell::Cell::new(false),
        })
    }

    /// Waits until there is something to read, or nothing any more.
    pub(in crate::runtime) async fn readable(&self) -> io::Result<()> {
        self.pipe.readable().await.map(|mut ready| ready.retain_ready())
    }

    /// Reads what is there; `WouldBlock` when nothing is, 0 at the end.
    pub(in crate::runtime) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_with(|pipe| match read(pipe, buffer) {
            // How Linux says that nobody has a terminal open any more.
            Err(Errno::IO) if self.is_terminal => Ok(0),
            read => Ok(read?),
        })
    }

    /// Takes what is there in another way.
    pub(in crate::runtime) fn try_with(
        &self,
        take: impl FnOnce(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let taken = self.pipe.try_io(Interest::READABLE, |pipe| take(pipe.as_fd()))?;
        #[cfg(target_os = "linux")]
        if taken >= MUCH && !self.is_large.replace(true) {
            // Refused when this user has too many pages in pipes already; then it stays as it is.
            let _ = rustix::pipe::fcntl_setpipe_size(self.pipe.get_ref(), LARGE_PIPE);
        }
        Ok(taken)
    }

    /// The pipe itself, and how much lies in it.
    #[cfg(target_os = "linux")]
    pub(in crate::runtime) fn pipe(&self) -> (BorrowedFd<'_>, u64) {
        (self.pipe.get_ref().as_fd(), ioctl_fionread(self.pipe.get_ref()).unwrap_or(0))
    }

    /// Reads what is in the pipe now to the end, and does not wait for more: a stray process may hold the other end.
    ///
    /// Asked of the kernel itself: what tokio knows of the pipe may be older than the last bytes.
    pub(in crate::runtime) async fn drain(&self, buffer: &mut [u8], mut take: impl FnMut(&[u8])) {
        // Of a terminal the kernel tells only the part that it has already gone through.
        let mut left = if self.is_terminal { TERMINAL } else { ioctl_fionread(self.pipe.get_ref()).unwrap_or(0) };
        while left > 0 {
            match read(self.pipe.get_ref(), &mut *buffer) {
                Ok(0) => return,
                Ok(count) => {
                    take(&buffer[..count]);
                    left = left.saturating_sub(count as u64);
                }
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Columns and rows, if it is a terminal.
    pub(in crate::runtime) fn terminal_size(&self) -> Option<(u16, u16)> {
        tcgetwinsize(self.pipe.get_ref()).ok().map(|size| (size.ws_col, size.ws_row))
    }

    /// Makes the terminal as large as this.
    pub(in crate::runtime) fn set_terminal_size(&self, (ws_col, ws_row): (u16, u16)) {
        let _ = tcsetwinsize(self.pipe.get_ref(), Winsize { ws_col, ws_row, ws_xpixel: 0, ws_ypixel: 0 });
    }
}

/// Writes to a child's stdin. Made on the thread that writes.
pub(in crate::runtime) struct StdinWriter {
    end: AsyncFd<OwnedFd>,
}

impl StdinWriter {
    pub(in crate::runtime) fn new(end: StdinEnd) -> io::Result<Self> {
        ioctl_fionbio(&end, true)?;
        // SAFETY: an OwnedFd names the same open descriptor for as long as it lives.
        Ok(Self { end: unsafe { AsyncFd::register_with_interest(end, Interest::WRITABLE) }? })
    }

    /// Writes as much as the child takes, at least a byte.
    pub(in crate::runtime) async fn write_some(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.end.writable().await?;
            if let Ok(written) = ready.try_io(|end| Ok(write(end, bytes)?)) {
                return written;
            }
        }
    }

    /// The key that ends input at a terminal (Ctrl-D, mostly); a pipe is closed instead.
    pub(in crate::runtime) fn end_key(&self) -> Option<u8> {
        tcgetattr(self.end.get_ref()).ok().map(|settings| settings.special_codes[SpecialCodeIndex::VEOF])
    }
}

//! The orchestrator's side of its keeper: what it is told, and what is found with it.

#[cfg(target_os = "linux")]
pub(super) use linux::Kept;
#[cfg(not(target_os = "linux"))]
pub(super) use nobody::Kept;

/// To be called when somebody has closed the stdin of a run.
pub(super) type StdinCloser = Box<dyn Fn() + Send>;

#[cfg(target_os = "linux")]
mod linux {
    use std::cell::{OnceCell, RefCell};
    use std::collections::{HashMap, VecDeque};
    use std::fs::{self, OpenOptions};
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::path::{Path, PathBuf};

    use rustix::io::Errno;
    use rustix::net::{RecvFlags, recv};
    use tokio::io::unix::AsyncFd;

    use super::StdinCloser;
    use crate::keeper::message;
    use crate::runtime::spawn::{OutputEnd, StdinEnd};
    use crate::supervisor::RunId;

    /// The keeper, if there is one.
    pub struct Kept {
        socket: Option<AsyncFd<OwnedFd>>,
        /// What it could not take yet.
        unsaid: RefCell<VecDeque<(Vec<u8>, Vec<OwnedFd>)>>,
        /// Where its pipes can be opened, by inode number: looked for once, while taking over.
        pipes: OnceCell<HashMap<u64, PathBuf>>,
    }

    impl Kept {
        pub fn new(socket: Option<OwnedFd>) -> io::Result<Self> {
            // SAFETY: an OwnedFd names the same open descriptor for as long as it lives.
            let socket = socket.map(|socket| unsafe { AsyncFd::register(socket) }).transpose()?;
            Ok(Self { socket, unsaid: RefCell::default(), pipes: OnceCell::new() })
        }

        /// There is none.
        pub fn none() -> Self {
            Self { socket: None, unsaid: RefCell::default(), pipes: OnceCell::new() }
        }

        pub fn is_there(&self) -> bool {
            self.socket.is_some()
        }

        /// It was there, and is gone.
        pub fn is_lost(&self) -> bool {
            let ended = |socket: &AsyncFd<OwnedFd>| {
                let received = recv(socket.get_ref(), &mut [0_u8; 64][..], RecvFlags::DONTWAIT | RecvFlags::PEEK);
                matches!(received, Ok((_, 0))) || received.is_err_and(|error| error != Errno::AGAIN)
            };
            self.socket.as_ref().is_some_and(ended)
        }

        /// To be called before the run's program starts.
        pub fn hold(&self, run: RunId, output: &OutputEnd, stdin: Option<&StdinEnd>) {
            let ends: Vec<_> = [Some(output.as_fd()), stdin.map(AsFd::as_fd)].into_iter().flatten().collect();
            self.say(message::hold(run.bytes()), &ends);
        }

        /// How this main process has ended is written down: nobody waits for it any more.
        pub fn reap(&self, pid: u32) {
            self.say(message::reap(pid), &[]);
        }

        /// Of the pipe that output passes through, which is no run's.
        pub fn hold_side(&self, end: BorrowedFd<'_>) {
            self.say(message::hold([0; 16]), &[end]);
        }

        /// Nothing is left of the run.
        pub fn release(&self, run: RunId, pid: u32) {
            self.say(message::release(run.bytes(), pid), &[]);
        }

        /// What closes the keeper's end of a run's stdin, from any thread.
        pub fn stdin_closer(&self, run: RunId) -> StdinCloser {
            let socket = self.socket.as_ref().and_then(|socket| socket.get_ref().try_clone().ok());
            Box::new(move || {
                let packet = message::close_stdin(run.bytes());
                if let Some(Err(error)) = socket.as_ref().map(|socket| message::send(socket.as_fd(), &packet, &[])) {
                    tracing::warn!("cannot have the keeper close the stdin of run {run}: {error}");
                }
            })
        }

        /// Everything is taken over: these main processes are waited for.
        pub fn settle(&self, adopted: &[u32]) {
            message::adopted(adopted).for_each(|packet| self.say(packet, &[]));
            self.say(message::settled(), &[]);
        }

        /// This is an end in order.
        pub fn end(&self) {
            self.say(message::ended(), &[]);
        }

        /// Another binary is to take the place of this one and of the keeper.
        pub fn upgrade(&self, binary: &Path) {
            self.say(message::upgrade(binary.as_os_str()), &[]);
        }

        /// Until the keeper is gone.
        pub async fn lost(&self) {
            let Some(socket) = &self.socket else { return std::future::pending().await };
            loop {
                let Ok(mut ready) = socket.readable().await else { return std::future::pending().await };
                match recv(socket.get_ref(), &mut [0_u8; 64][..], RecvFlags::DONTWAIT) {
                    Ok((_, 0)) => return,
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => ready.clear_ready(),
                    Err(_) => return,
                }
            }
        }

        /// Another end of a pipe that the keeper holds.
        pub fn open_pipe(&self, inode: u64, for_writing: bool) -> Option<OwnedFd> {
            let path = self.pipes.get_or_init(|| self.find_pipes()).get(&inode)?;
            OpenOptions::new().read(!for_writing).write(for_writing).open(path).ok().map(OwnedFd::from)
        }

        fn find_pipes(&self) -> HashMap<u64, PathBuf> {
            let keeper = rustix::process::getppid().filter(|_| self.is_there());
            let folder = keeper.and_then(|pid| fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).ok());
            let pipe = |entry: fs::DirEntry| {
                let link = fs::read_link(entry.path()).ok()?;
                let inode = link.to_str()?.strip_prefix("pipe:[")?.strip_suffix(']')?.parse().ok()?;
                Some((inode, entry.path()))
            };
            folder.into_iter().flatten().flatten().filter_map(pipe).collect()
        }

        /// Says again what it could not take yet.
        pub fn say_unsaid(&self) {
            let Some(socket) = &self.socket else { return };
            let mut unsaid = self.unsaid.borrow_mut();
            while let Some((earlier, ends)) = unsaid.front() {
                let ends: Vec<_> = ends.iter().map(AsFd::as_fd).collect();
                if message::send(socket.as_fd(), earlier, &ends) == Err(Errno::AGAIN) {
                    break;
                }
                unsaid.pop_front();
            }
        }

        fn say(&self, packet: Vec<u8>, ends: &[BorrowedFd<'_>]) {
            let Some(socket) = &self.socket else { return };
            self.say_unsaid();
            let mut unsaid = self.unsaid.borrow_mut();
            if unsaid.is_empty() && message::send(socket.as_fd(), &packet, ends) != Err(Errno::AGAIN) {
                return;
            }
            // It is stopped, or far behind: its turn comes with the next thing that is said.
            let copies: io::Result<Vec<_>> = ends.iter().map(BorrowedFd::try_clone_to_owned).collect();
            unsaid.extend(copies.ok().map(|copies| (packet, copies)));
        }
    }
}

/// Elsewhere nobody takes in another's orphans.
#[cfg(not(target_os = "linux"))]
mod nobody {
    use std::io;

    use super::StdinCloser;
    use crate::runtime::spawn::{OutputEnd, StdinEnd};
    use crate::supervisor::RunId;

    pub struct Kept;

    impl Kept {
        #[allow(clippy::unnecessary_wraps, reason = "as elsewhere")]
        pub fn new() -> io::Result<Self> {
            Ok(Self)
        }

        pub fn none() -> Self {
            Self
        }

        pub fn reap(&self, _pid: u32) {}

        pub fn say_unsaid(&self) {}

        pub fn hold(&self, _run: RunId, _output: &OutputEnd, _stdin: Option<&StdinEnd>) {}

        pub fn release(&self, _run: RunId, _pid: u32) {}

        pub fn stdin_closer(&self, _run: RunId) -> StdinCloser {
            Box::new(|| {})
        }

        pub fn settle(&self, _adopted: &[u32]) {}

        pub fn end(&self) {}

        pub async fn lost(&self) {
            std::future::pending().await
        }

        pub fn open_pipe(&self, _inode: u64, _for_writing: bool) -> Option<OutputEnd> {
            None
        }
    }
}

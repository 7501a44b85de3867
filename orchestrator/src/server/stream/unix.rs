//! Connections over Unix domain sockets.

use std::cell::{Cell, RefCell};
use std::fs::Permissions;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use interprocess::local_socket::traits::StreamCommon;
use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use interprocess::os::unix::uds_local_socket::tokio as uds;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::MAX_READ;

/// The mode of the socket file: for its own user alone.
const OWN: u16 = 0o600;

/// Where clients connect to.
#[derive(Debug)]
pub struct Listener(uds::Listener);

/// Listens at `path`, for this user alone (0600). A socket file left by a killed orchestrator is replaced, and a living
/// one's would be too: the caller holds the application's lock. Needs a tokio runtime around it.
pub fn bind(path: &Path) -> io::Result<Listener> {
    match options(path)?.mode(OWN as libc::mode_t).create_tokio_as() {
        // macOS gives a socket no mode before its path exists. Until it has one, the folder (0700) and the check of every
        // peer keep others out.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            let listener = options(path)?.create_tokio_as()?;
            std::fs::set_permissions(path, Permissions::from_mode(OWN.into()))?;
            Ok(Listener(listener))
        }
        bound => bound.map(Listener),
    }
}

fn options(path: &Path) -> io::Result<ListenerOptions<'_>> {
    let options = ListenerOptions::new().name(path.to_fs_name::<GenericFilePath>()?).try_overwrite(true);
    // The lock leaves nobody to contend with; whoever meddles must not keep us from starting with an error.
    Ok(options.max_spin_time(Duration::from_secs(1)))
}

impl Listener {
    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        self.0.accept().await.and_then(Stream::new)
    }
}

/// Is this the error of a process or system that has no descriptor left?
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// One connection. It is watched for what comes; for room on the way out only while it has none, for otherwise every read
/// of the peer's would wake us.
#[derive(Debug)]
pub(crate) struct Stream {
    /// `None` only while it changes what it is watched for, or when that failed.
    socket: RefCell<Option<AsyncFd<OwnedFd>>>,
    is_full: Cell<bool>,
    is_wide: Cell<bool>,
    /// The peer's uid, as the kernel says.
    peer: Result<u32, String>,
}

impl Stream {
    fn new(stream: uds::Stream) -> io::Result<Self> {
        let peer = uid_of(&stream);
        let socket = watched(OwnedFd::try_from(stream)?, Interest::READABLE)?;
        Ok(Self { socket: RefCell::new(Some(socket)), is_full: Cell::new(false), is_wide: Cell::new(false), peer })
    }

    /// Checks who connected: this user or root, or the user of a run, whose uid is returned.
    pub(crate) fn check_peer(&self, has_run: impl Fn(u32) -> bool) -> Result<Option<u32>, String> {
        let own = rustix::process::geteuid().as_raw();
        match self.peer.clone()? {
            uid if uid == own || uid == 0 => Ok(None),
            uid if has_run(uid) => Ok(Some(uid)),
            uid => Err(format!("uid {uid} is not the orchestrator's own ({own})")),
        }
    }

    /// Reads once, at most to the end of `room`; 0 at the end of the stream.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let most = room.len().min(MAX_READ);
        let room = &mut room[..most];
        let socket = self.socket.borrow();
        let socket = socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        loop {
            let mut ready = ready!(socket.poll_read_ready(cx))?;
            match rustix::net::recv(socket, &mut *room, RecvFlags::empty()) {
                Ok((got, _)) => {
                    // What comes later is told anew; asking again now would be answered by "nothing".
                    if 0 < got && got < room.len() {
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(got));
                }
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Writes once, as much as the peer takes now; an error of the kind WouldBlock when it takes nothing.
    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let socket = self.socket.borrow();
        let socket = socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        if self.is_full.get() {
            // Asks the system only when it has said that there is room.
            return socket.try_io(Interest::WRITABLE, |socket| send(socket, slices));
        }
        send(socket.get_ref(), slices)
    }

    /// The same, and when it takes nothing the task is told as soon as it may.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            match self.try_write(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.poll_room(cx)),
                wrote => return Poll::Ready(wrote),
            }
        }
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_full.replace(true) && self.watch(Interest::READABLE | Interest::WRITABLE).is_err() {
            return Poll::Ready(()); // The next write says what is wrong.
        }
        match self.socket.borrow().as_ref() {
            // An error here is an error of the next write as well.
            Some(socket) => socket.poll_write_ready(cx).map(drop),
            None => Poll::Ready(()),
        }
    }

    /// All is written: the peer's reading is of no interest until there is no room again. To be followed by a
    /// [`Stream::poll_read`], since who waited for that is forgotten.
    pub(crate) fn all_written(&self) {
        if self.is_full.replace(false) {
            let _ = self.watch(Interest::READABLE); // The next read says what is wrong.
        }
    }

    fn watch(&self, interest: Interest) -> io::Result<()> {
        let socket = self.socket.take().ok_or(io::ErrorKind::NotConnected)?.into_inner();
        self.socket.replace(Some(watched(socket, interest)?));
        Ok(())
    }

    /// A larger buffer on the way out, where the system grants it: worth twice the speed at 1 MiB a record.
    pub(crate) fn widen(&self) {
        if let Some(socket) = self.socket.borrow().as_ref().filter(|_| !self.is_wide.replace(true)) {
            let _ = sockopt::set_socket_send_buffer_size(socket, MAX_READ);
        }
    }

    /// What was written and the peer has not read: 0 when there is nothing, else a number that changes when it reads.
    #[cfg(target_os = "linux")]
    pub(crate) fn unread(&self) -> usize {
        use std::os::fd::AsRawFd;
        let socket = self.socket.borrow();
        let Some(socket) = socket.as_ref() else { return 0 };
        let mut unread: libc::c_int = 0;
        // SAFETY: the descriptor is open, and SIOCOUTQ (the number of TIOCOUTQ) writes one int.
        let known = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut unread) };
        if known == 0 { usize::try_from(unread).unwrap_or(0) } else { 0 }
    }

    /// The kernel does not say: only what it did not take is known to be unread.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn unread(&self) -> usize {
        0
    }

    /// How many bytes have arrived and are not read.
    pub(crate) fn arrived(&self) -> usize {
        let arrived = self.socket.borrow().as_ref().and_then(|socket| rustix::io::ioctl_fionread(socket).ok());
        arrived.map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Reads of what has arrived; 0 when there is nothing more. Asks the kernel, since tokio may not have been told yet.
    pub(crate) async fn read_arrived(&self, room: &mut [u8]) -> io::Result<usize> {
        let socket = self.socket.borrow();
        let socket = socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        match rustix::net::recv(socket, room, RecvFlags::DONTWAIT) {
            Ok((got, _)) => Ok(got),
            Err(Errno::AGAIN) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

/// A socket of which tokio is told by the system.
fn watched(socket: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, and the same descriptor, for as long as it lives, which is until it is dropped or taken
    // out of what is made here.
    Ok(unsafe { AsyncFd::register_with_interest(socket, interest) }?)
}

fn uid_of(stream: &uds::Stream) -> Result<u32, String> {
    let unknown = || "the kernel does not say who connected".to_owned();
    let creds = stream.peer_creds().map_err(|error| format!("{}: {error}", unknown()))?;
    creds.euid().ok_or_else(unknown)
}

/// A peer that has gone is an error, never a signal: the runtime of Rust ignores SIGPIPE.
fn send(socket: &OwnedFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    loop {
        let wrote = match slices {
            // A shorter way through the system than for several.
            [slice] => rustix::net::send(socket, slice, SendFlags::empty()),
            slices => rustix::io::writev(socket, slices),
        };
        match wrote {
            Err(Errno::INTR) => {}
            wrote => return Ok(wrote?),
        }
    }
}

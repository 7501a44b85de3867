//! The line on Unix: a socket whose calls do not wait unless they say so; `poll` does.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use interprocess::local_socket::Stream;

/// A peer that has closed must not kill a host program that has SIGPIPE at its default.
#[cfg(any(target_os = "linux", target_os = "android"))]
const FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
/// Here SO_NOSIGPIPE is set on the socket instead.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const FLAGS: libc::c_int = libc::MSG_DONTWAIT;

/// One connected socket.
#[derive(Debug)]
pub(crate) struct Line {
    socket: OwnedFd,
    is_wide: AtomicBool,
    /// For how long a [`Self::read_waiting`] waits, in microseconds; 0: for ever.
    patience: AtomicU64,
}

/// What a line that carries large records may hold on its way.
const WIDE: libc::c_int = 1024 * 1024;

impl Line {
    /// May a thread wait inside a read, since [`Self::hang_up`] breaks it off?
    pub(crate) const CAN_WAIT_INSIDE: bool = cfg!(target_os = "linux");

    pub(super) fn new(stream: Stream) -> io::Result<Self> {
        let Stream::UdSocket(stream) = stream;
        let socket = UnixStream::from(OwnedFd::from(stream));
        socket.set_nonblocking(false)?; // Each call says whether it waits.
        let socket = OwnedFd::from(socket);
        no_sigpipe(socket.as_raw_fd())?;
        Ok(Self { socket, is_wide: AtomicBool::new(false), patience: AtomicU64::new(0) })
    }

    /// Large records come: with the usual buffer they would go in pieces, a wakeup of both sides for each.
    pub(crate) fn widen(&self) {
        if !self.is_wide.swap(true, Ordering::Relaxed) {
            // The system's limit may be lower; what it allows is set.
            let _ = set(self.socket.as_raw_fd(), libc::SO_SNDBUF, &WIDE);
        }
    }

    /// Writes what there is room for; WouldBlock when there is none.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        send(self.socket.as_raw_fd(), bytes)
    }

    /// Reads what has come; WouldBlock when nothing has, 0 when the other side has closed.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the pointer and the length are those of one slice.
        checked(unsafe {
            libc::recv(self.socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT)
        })
    }

    /// Appends what has come; otherwise as [`Self::read`].
    pub(crate) fn append(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let spare = buffer.spare_capacity_mut();
        // SAFETY: the kernel writes at most `spare.len()` bytes, into memory that is ours.
        let count =
            unsafe { libc::recv(self.socket.as_raw_fd(), spare.as_mut_ptr().cast(), spare.len(), libc::MSG_DONTWAIT) };
        let count = checked(count)?;
        // SAFETY: the kernel has initialised that many bytes behind the present end.
        unsafe { buffer.set_len(buffer.len() + count) };
        Ok(count)
    }

    /// Waits inside the read until something has come, the other side has closed (0), or the deadline or a signal
    /// (WouldBlock): one system call and one wakeup less than [`wait`] and then [`Self::read`]. Nothing but [`Self::hang_up`]
    /// breaks it off.
    pub(crate) fn read_waiting(&self, buffer: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let left = left.map(|left| u64::try_from(left.as_micros()).unwrap_or(u64::MAX).max(1));
        // A power of two, so that it seldom has to be set: whoever waits looks again.
        let patience = left.map_or(0, |left| 1 << left.ilog2());
        if self.patience.swap(patience, Ordering::Relaxed) != patience {
            let time = libc::timeval {
                tv_sec: libc::time_t::try_from(patience / 1_000_000).unwrap_or(libc::time_t::MAX),
                tv_usec: (patience % 1_000_000) as libc::suseconds_t,
            };
            set(self.socket.as_raw_fd(), libc::SO_RCVTIMEO, &time)?;
        }
        // SAFETY: the pointer and the length are those of one slice.
        checked(unsafe { libc::recv(self.socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) })
    }

    /// Ends the connection for both sides, and with it a [`Self::read_waiting`] on another thread.
    pub(crate) fn hang_up(&self) {
        // SAFETY: no pointer is passed.
        unsafe { libc::shutdown(self.socket.as_raw_fd(), libc::SHUT_RDWR) };
    }

    /// The descriptor's number, for a forked child to close its copy.
    pub(crate) fn number(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Closes this process's copy of a descriptor that a line of its parent had.
    pub(crate) fn close_inherited(number: RawFd) {
        // SAFETY: the caller read `number` from a place where it stands only while the descriptor is open, in a forked
        // child in which nobody else uses or closes it.
        unsafe { libc::close(number) };
    }
}

fn send(socket: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length are those of one slice.
    checked(unsafe { libc::send(socket, bytes.as_ptr().cast(), bytes.len(), FLAGS) })
}

/// A call that a signal broke off reports WouldBlock: whoever waits looks again.
fn checked(count: isize) -> io::Result<usize> {
    usize::try_from(count).map_err(|_| {
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::Interrupted { io::ErrorKind::WouldBlock.into() } else { error }
    })
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn no_sigpipe(_socket: RawFd) -> io::Result<()> {
    Ok(())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn no_sigpipe(socket: RawFd) -> io::Result<()> {
    set::<libc::c_int>(socket, libc::SO_NOSIGPIPE, &1)
}

/// Sets a socket option.
fn set<T>(socket: RawFd, option: libc::c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the option's value lives across the call and has the length that is told.
    let result =
        unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, option, std::ptr::from_ref(value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ends a [`wait`] from another thread. Once woken it stays woken until a wait has noticed.
#[derive(Debug)]
pub(crate) struct Waker {
    // Numbers, not owners, because a forked child must be able to replace them while others hold the Waker.
    listen: AtomicI32,
    ring: AtomicI32,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        let (listen, ring) = Self::pair()?;
        Ok(Self { listen: AtomicI32::new(listen), ring: AtomicI32::new(ring) })
    }

    fn pair() -> io::Result<(RawFd, RawFd)> {
        use std::os::fd::IntoRawFd;
        let (listen, ring) = UnixStream::pair()?;
        no_sigpipe(ring.as_raw_fd())?;
        Ok((listen.into_raw_fd(), ring.into_raw_fd()))
    }

    pub(crate) fn wake(&self) {
        // A full buffer means that it is woken already.
        let _ = send(self.ring.load(Ordering::Acquire), &[1]);
    }

    /// In a forked child: rings here must not be heard by the parent. The inherited pair is left open, since another
    /// thread may be about to ring.
    pub(crate) fn renew(&self) -> io::Result<()> {
        let (listen, ring) = Self::pair()?;
        self.listen.store(listen, Ordering::Release);
        self.ring.store(ring, Ordering::Release);
        Ok(())
    }

    fn drain(&self) {
        let mut rings = [0u8; 64];
        let listen = self.listen.load(Ordering::Acquire);
        // SAFETY: the pointer and the length are those of one array.
        while unsafe { libc::recv(listen, rings.as_mut_ptr().cast(), rings.len(), libc::MSG_DONTWAIT) }
            == rings.len() as isize
        {}
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        for end in [self.listen.load(Ordering::Acquire), self.ring.load(Ordering::Acquire)] {
            // SAFETY: both were made by `pair` and are closed here only.
            unsafe { libc::close(end) };
        }
    }
}

/// Waits until `line` has something to read (or, `writable`, has room), the waker rings, the deadline has come or a
/// signal was handled. Says whether the waker rang.
pub(crate) fn wait(
    line: Option<&Line>,
    writable: bool,
    waker: Option<&Waker>,
    deadline: Option<Instant>,
) -> io::Result<bool> {
    let events = if writable { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN };
    // A negative descriptor is passed over.
    let mut polled = [
        libc::pollfd { fd: line.map_or(-1, Line::number), events, revents: 0 },
        libc::pollfd { fd: waker.map_or(-1, |w| w.listen.load(Ordering::Acquire)), events: libc::POLLIN, revents: 0 },
    ];
    let timeout = deadline.map_or(-1, |at| milliseconds(at.saturating_duration_since(Instant::now())));
    // SAFETY: the pointer and the count are those of one array.
    if unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout) } < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) };
    }
    if let (Some(waker), true) = (waker, polled[1].revents != 0) {
        waker.drain();
        return Ok(true);
    }
    Ok(false)
}

/// Rounded up: a wait that ends just before its deadline would only be begun again.
fn milliseconds(left: Duration) -> libc::c_int {
    libc::c_int::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX)
}

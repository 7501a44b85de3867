//! Connections over Unix domain sockets.

use std::fs::Permissions;
use std::io::{self, IoSlice};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use interprocess::local_socket::traits::StreamCommon;
use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use interprocess::os::unix::uds_local_socket::tokio as uds;
use rustix::net::{RecvFlags, sockopt};
use tokio::io::{AsyncReadExt, AsyncWrite};

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
        self.0.accept().await.map(Stream)
    }
}

/// Is this the error of a process or system that has no descriptor left?
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Stream(uds::Stream);

impl Stream {
    /// Checks that the peer is this user, or root; the kernel says who connected.
    pub(crate) fn check_peer(&self) -> Result<(), String> {
        let creds = self.0.peer_creds().map_err(|error| format!("the kernel does not say who connected: {error}"))?;
        let own = rustix::process::geteuid().as_raw();
        match creds.euid() {
            Some(euid) if euid == own || euid == 0 => Ok(()),
            Some(euid) => Err(format!("uid {euid} is not the orchestrator's own ({own})")),
            None => Err("the kernel does not say who connected".to_owned()),
        }
    }

    /// Reads once, at most to the room `buffer` has; 0 at the end of the stream.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let room = (buffer.capacity() - buffer.len()).clamp(1, MAX_READ);
        pin!(self.0.inner_mut().read_buf(&mut buffer.limit(room))).poll(cx)
    }

    /// Writes once, as much as the peer takes.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(self.0.inner_mut()).poll_write_vectored(cx, slices)
    }

    /// A larger buffer on the way out, where the system grants it: worth twice the speed at 1 MiB a record.
    pub(crate) fn widen(&self) {
        let _ = sockopt::set_socket_send_buffer_size(self.0.inner(), MAX_READ);
    }

    /// How many bytes have arrived and are not read.
    pub(crate) fn arrived(&self) -> usize {
        rustix::io::ioctl_fionread(self.0.inner()).map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Reads of what has arrived; 0 when there is nothing more. Asks the kernel, since tokio may not have been told yet.
    pub(crate) async fn read_arrived(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut part = vec![0; self.arrived().clamp(1, MAX_READ)];
        match rustix::net::recv(self.0.inner(), &mut part, RecvFlags::DONTWAIT) {
            Ok((got, _)) => {
                buffer.extend_from_slice(&part[..got]);
                Ok(got)
            }
            Err(rustix::io::Errno::AGAIN) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

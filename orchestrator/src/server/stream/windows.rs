//! Connections over named pipes.

use std::io::{self, IoSlice};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use interprocess::os::windows::named_pipe::tokio::{DuplexPipeStream, PipeListener};
use interprocess::os::windows::named_pipe::{PipeListenerOptions, pipe_mode::Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::MAX_READ;
use crate::windows_user;

/// How long a pipe may be silent until all that was sent counts as arrived: there is no way to ask.
const SILENCE: Duration = Duration::from_millis(10);

/// What a pipe takes in either direction before its reader has to come.
const BUFFER: u32 = 64 * 1024;

/// Where clients connect to.
#[derive(Debug)]
pub struct Listener(PipeListener<Bytes, Bytes>);

/// Listens on the pipe of this name, for this user alone. It fails when the name is taken: the first instance is ours or
/// nobody's. Needs a tokio runtime around it.
pub fn bind(path: &Path) -> io::Result<Listener> {
    let options = PipeListenerOptions::new()
        .path(path)
        .input_buffer_size_hint(BUFFER)
        .output_buffer_size_hint(BUFFER)
        .security_descriptor(Some(windows_user::pipe_for_own_user()?));
    options.create_tokio().map(Listener)
}

impl Listener {
    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        self.0.accept().await.map(Stream)
    }
}

/// Is this the error of a process or system that has no handle or memory left?
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    // ERROR_TOO_MANY_OPEN_FILES, ERROR_NOT_ENOUGH_MEMORY, ERROR_OUTOFMEMORY, ERROR_PIPE_BUSY, ERROR_NO_SYSTEM_RESOURCES
    matches!(error.raw_os_error(), Some(4 | 8 | 14 | 231 | 1450))
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Stream(DuplexPipeStream<Bytes>);

impl Drop for Stream {
    /// What is written stays readable when our end is closed. Otherwise the library would hand the pipe to a thread that
    /// waits until all is read, one pipe after another: a peer that never reads would keep the others' from their end.
    fn drop(&mut self) {
        self.0.assume_flushed();
    }
}

impl Stream {
    /// Checks that the peer is this user; the kernel says which process connected. No run is another user's here.
    pub(crate) fn check_peer(&self, _has_run: impl Fn(u32) -> bool) -> Result<Option<u32>, String> {
        let unknown = |error: io::Error| format!("the kernel does not say who connected: {error}");
        let own = windows_user::own_sid().map_err(unknown)?;
        let pid = self.0.client_process_id().map_err(unknown)?;
        let theirs = windows_user::sid_of(pid).map_err(unknown)?;
        if theirs == own { Ok(None) } else { Err(format!("user {theirs} is not the orchestrator's own ({own})")) }
    }

    /// Reads once, at most to the end of `room`; 0 at the end of the stream.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let most = room.len().min(MAX_READ);
        let mut room = ReadBuf::new(&mut room[..most]);
        match Pin::new(&mut &self.0).poll_read(cx, &mut room) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(room.filled().len())),
            // A pipe whose other end is closed says so by an error.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Poll::Ready(Ok(0)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Writes once, as much as the peer takes now; an error of the kind WouldBlock when it takes nothing.
    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.poll_write(&mut Context::from_waker(Waker::noop()), slices) {
            Poll::Ready(wrote) => wrote,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// The same, and when it takes nothing the task is told as soon as it may. A pipe knows no vectored writes.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
        Pin::new(&mut &self.0).poll_write(cx, first)
    }

    /// A pipe tells of room only when asked.
    pub(crate) fn all_written(&self) {}

    /// A pipe's buffers are set when it is made.
    pub(crate) fn widen(&self) {}

    /// The system does not say: only what it did not take is known to be unread.
    pub(crate) fn unread(&self) -> usize {
        0
    }

    /// How many bytes may have arrived and are not read.
    pub(crate) fn arrived(&self) -> usize {
        MAX_READ
    }

    /// Reads of what has arrived; 0 when there is nothing more.
    pub(crate) async fn read_arrived(&self, room: &mut [u8]) -> io::Result<usize> {
        let read = std::future::poll_fn(|cx| self.poll_read(cx, room));
        tokio::time::timeout(SILENCE, read).await.unwrap_or(Ok(0))
    }
}

//! Connections over named pipes.

use std::io::{self, IoSlice};
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use interprocess::os::windows::named_pipe::tokio::{DuplexPipeStream, PipeListener};
use interprocess::os::windows::named_pipe::{PipeListenerOptions, pipe_mode::Bytes};
use tokio::io::{AsyncReadExt, AsyncWrite};

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
    /// Checks that the peer is this user; the kernel says which process connected.
    pub(crate) fn check_peer(&self) -> Result<(), String> {
        let unknown = |error: io::Error| format!("the kernel does not say who connected: {error}");
        let own = windows_user::own_sid().map_err(unknown)?;
        let pid = self.0.client_process_id().map_err(unknown)?;
        let theirs = windows_user::sid_of(pid).map_err(unknown)?;
        if theirs == own { Ok(()) } else { Err(format!("user {theirs} is not the orchestrator's own ({own})")) }
    }

    /// Reads once, at most to the room `buffer` has; 0 at the end of the stream.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let room = (buffer.capacity() - buffer.len()).clamp(1, MAX_READ);
        match pin!(self.0.read_buf(&mut buffer.limit(room))).poll(cx) {
            // A pipe whose other end is closed says so by an error.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Poll::Ready(Ok(0)),
            other => other,
        }
    }

    /// Writes once, as much as the peer takes; a pipe knows no vectored writes.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
        Pin::new(&mut &self.0).poll_write(cx, first)
    }

    /// A pipe's buffers are set when it is made.
    pub(crate) fn widen(&self) {}

    /// How many bytes may have arrived and are not read.
    pub(crate) fn arrived(&self) -> usize {
        MAX_READ
    }

    /// Reads of what has arrived; 0 when there is nothing more.
    pub(crate) async fn read_arrived(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        buffer.reserve(MAX_READ);
        let read = std::future::poll_fn(|cx| self.poll_read(cx, buffer));
        tokio::time::timeout(SILENCE, read).await.unwrap_or(Ok(0))
    }
}

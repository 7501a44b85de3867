//! `<process>/stdio`: whoever connects follows what the instance writes, live; under `stdin = "attach"` the bytes of the
//! connection that came first go to its stdin.
//!
//! What is written lies in a [`Tail`] for a short while. A reader holds a cursor into it and is told only that there is
//! more; one that is too slow finds its cursor passed over and is told how many bytes it missed. So it delays nobody.
//!
//! A connection whose sending side is closed (and only that) ends the run's stdin; of a terminal, as its key for the end
//! of input (Ctrl-D) does, and it stays open. One that goes away altogether only
//! detaches, and the next oldest takes its place. A connection ends when its instance comes to rest, after the last byte;
//! not at a restart. Who connects while it rests finds just that end.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use interprocess::local_socket::tokio::{Listener, Stream};
use interprocess::local_socket::traits::tokio::Listener as _;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::kept::StdinCloser;
use super::spawn::StdinWriter;

/// How far a reader may fall behind, in bytes.
const TAIL: usize = 256 * 1024;
/// How long bytes for a process that does not run are kept; it may be about to start.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long readers may take for the rest when the application ends.
const FAREWELL: Duration = Duration::from_millis(200);

/// The live stdio of one instance, from up to down.
pub(super) struct Stdio {
    shared: Rc<Shared>,
    listening: Option<JoinHandle<()>>,
    path: PathBuf,
}

/// What the connections of one instance share.
struct Shared {
    tail: RefCell<Tail>,
    moved: Notify,
    closed: Cell<bool>,
    /// How often the instance has come to rest; and is it there still?
    rests: Cell<u64>,
    resting: Cell<bool>,
    readers: Cell<usize>,
    stdin: RefCell<Option<Rc<StdinWriter>>>,
    /// Tells whoever else holds the run's stdin that it is closed.
    closer: RefCell<Option<StdinCloser>>,
    stdin_changed: Notify,
    connections: RefCell<BTreeSet<u64>>,
}

/// The newest bytes, and the place of the first of them in all that was ever written.
#[derive(Default)]
struct Tail {
    start: u64,
    bytes: VecDeque<u8>,
}

impl Stdio {
    /// Opens the socket at `path`.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let listener = sys::listen(path)?;
        let shared = Rc::new(Shared {
            tail: RefCell::default(),
            moved: Notify::new(),
            closed: Cell::new(false),
            rests: Cell::new(0),
            resting: Cell::new(false),
            readers: Cell::new(0),
            stdin: RefCell::new(None),
            closer: RefCell::new(None),
            stdin_changed: Notify::new(),
            connections: RefCell::default(),
        });
        let listening = tokio::task::spawn_local(accept(listener, Rc::clone(&shared)));
        Ok(Self { shared, listening: Some(listening), path: path.to_owned() })
    }

    /// Does anyone follow?
    #[cfg(target_os = "linux")]
    pub(super) fn has_readers(&self) -> bool {
        self.shared.readers.get() > 0
    }

    /// Passes on what the instance wrote.
    pub(super) fn written(&self, chunk: &[u8]) {
        self.shared.tail.borrow_mut().push(chunk, self.shared.readers.get() > 0);
        self.shared.moved.notify_waiters();
    }

    /// A run has begun.
    pub(super) fn begin(&self, stdin: Option<(StdinWriter, StdinCloser)>) {
        self.shared.resting.set(false);
        self.set_stdin(stdin);
    }

    /// Connects those attached to the stdin of a run, or disconnects them from it.
    pub(super) fn set_stdin(&self, stdin: Option<(StdinWriter, StdinCloser)>) {
        let (writer, closer) = stdin.unzip();
        *self.shared.closer.borrow_mut() = closer;
        self.shared.set_stdin(writer.map(Rc::new));
    }

    /// No run follows by itself: those who read now get what they have not read yet, and then the end.
    pub(super) fn rest(&self) {
        self.shared.resting.set(true);
        self.shared.rests.set(self.shared.rests.get() + 1);
        self.shared.moved.notify_waiters();
    }

    /// Takes no more connections, gives readers a moment for the rest, and removes the socket.
    pub(super) async fn close(mut self) {
        self.shared.closed.set(true);
        self.shared.moved.notify_waiters();
        let gone = async {
            while self.shared.readers.get() > 0 {
                self.shared.stdin_changed.notified().await;
            }
        };
        let _ = timeout(FAREWELL, gone).await;
        if let Some(listening) = self.listening.take() {
            listening.abort();
            let _ = listening.await;
        }
        sys::remove(&self.path);
    }
}

impl Tail {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Without a reader nothing is kept.
    fn push(&mut self, chunk: &[u8], has_readers: bool) {
        if !has_readers {
            self.start = self.end() + chunk.len() as u64;
            self.bytes = VecDeque::new();
            return;
        }
        self.bytes.extend(chunk);
        let surplus = self.bytes.len().saturating_sub(TAIL);
        self.bytes.drain(..surplus);
        self.start += surplus as u64;
    }

    /// The bytes from `cursor` on, as far as they lie in one piece.
    fn slice(&self, cursor: u64) -> &[u8] {
        let at = usize::try_from(cursor - self.start).unwrap_or(usize::MAX);
        let (front, back) = self.bytes.as_slices();
        front.get(at..).filter(|slice| !slice.is_empty()).or_else(|| back.get(at - front.len()..)).unwrap_or(&[])
    }
}

impl Shared {
    fn set_stdin(&self, stdin: Option<Rc<StdinWriter>>) {
        *self.stdin.borrow_mut() = stdin;
        self.stdin_changed.notify_waiters();
    }

    /// What ends the input of a run that reads a terminal, which stays open.
    fn end_key(&self) -> Option<u8> {
        self.stdin.borrow().as_ref().and_then(|stdin| stdin.end_key())
    }

    fn is_first(&self, connection: u64) -> bool {
        self.connections.borrow().first() == Some(&connection)
    }
}

/// Takes connections until it is aborted; then they end with it.
async fn accept(listener: Listener, shared: Rc<Shared>) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        // Those that have ended are let go.
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok(stream) => {
                number += 1;
                shared.connections.borrow_mut().insert(number);
                shared.readers.set(shared.readers.get() + 1);
                connections.spawn_local(serve(stream, number, Rc::clone(&shared)));
            }
            Err(error) => {
                // Out of descriptors, mostly: taking the next one at once would only spin.
                tracing::warn!("cannot take a connection to a stdio socket: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One connection, until its reader is gone.
async fn serve(stream: Stream, connection: u64, shared: Rc<Shared>) {
    let cursor = shared.tail.borrow().end();
    tokio::select! {
        () = receive(&stream, connection, &shared) => {}
        _ = send(&stream, cursor, &shared) => {}
    }
    sys::let_go(&stream);
    shared.connections.borrow_mut().remove(&connection);
    shared.readers.set(shared.readers.get() - 1);
    shared.stdin_changed.notify_waiters();
}

/// Writes what comes from the cursor on, until the reader is gone or everything is said.
async fn send(mut to: &Stream, mut cursor: u64, shared: &Shared) -> io::Result<()> {
    // Who connected after the end is told just that.
    let rests = shared.rests.get() - u64::from(shared.resting.get());
    loop {
        let moved = shared.moved.notified();
        let skipped = shared.tail.borrow().start.saturating_sub(cursor);
        if skipped > 0 {
            to.write_all(format!("\n[copo: {skipped} bytes skipped]\n").as_bytes()).await?;
            cursor += skipped;
            continue;
        }
        if cursor < shared.tail.borrow().end() {
            cursor += write_some(to, cursor, shared).await? as u64;
        } else if shared.closed.get() || shared.rests.get() > rests {
            return to.shutdown().await;
        } else {
            moved.await;
        }
    }
}

/// Writes what the reader can take; nothing when it has been passed over meanwhile.
async fn write_some(mut to: &Stream, cursor: u64, shared: &Shared) -> io::Result<usize> {
    poll_fn(|context| {
        let tail = shared.tail.borrow();
        if cursor < tail.start {
            return Poll::Ready(Ok(0));
        }
        match Pin::new(&mut to).poll_write(context, tail.slice(cursor)) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            other => other,
        }
    })
    .await
}

/// Reads what the connection sends, until it is gone; what comes from others than the first goes nowhere.
async fn receive(mut from: &Stream, connection: u64, shared: &Shared) {
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) => break,
            Ok(read) if shared.is_first(connection) => feed(&buffer[..read], shared).await,
            Ok(_) => {}
            Err(_) => return,
        }
    }
    if !sys::only_stopped_sending(from) {
        return;
    }
    if shared.is_first(connection) {
        match shared.end_key() {
            Some(key) => feed(&[key], shared).await,
            None => {
                shared.set_stdin(None);
                if let Some(closer) = shared.closer.borrow_mut().take() {
                    closer();
                }
            }
        }
    }
    // It still reads; but it has nothing to say any more, and someone else may have.
    shared.connections.borrow_mut().remove(&connection);
    std::future::pending::<()>().await;
}

/// Hands bytes to the run's stdin; drops them when there is none, or when it takes no more.
async fn feed(bytes: &[u8], shared: &Shared) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let changed = shared.stdin_changed.notified();
        let stdin = shared.stdin.borrow().clone();
        let Some(stdin) = stdin else {
            if timeout(PATIENCE, changed).await.is_err() {
                return;
            }
            continue;
        };
        tokio::select! {
            () = changed => {}
            written = stdin.write_some(rest) => match written {
                Ok(written) => rest = &rest[written..],
                Err(_) => return,
            },
        }
    }
}

#[cfg(unix)]
mod sys {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    use std::path::Path;
    use std::{fs, io};

    use interprocess::local_socket::tokio::{Listener, Stream};
    use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    /// The folder is for its owner alone, and so is the socket in it.
    pub fn listen(path: &Path) -> io::Result<Listener> {
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        // One left by a killed orchestrator; no living one can have it, since we hold the lock.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) | Ok(()) => {}
        }
        let name = path.to_fs_name::<GenericFilePath>()?;
        let listener = ListenerOptions::new().name(name).reclaim_name(false).create_tokio()?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    }

    /// Removes the socket, and its folder when nothing else is in it.
    pub fn remove(path: &Path) {
        let _ = fs::remove_file(path);
        if let Some(folder) = path.parent() {
            let _ = fs::remove_dir(folder);
        }
    }

    /// Nothing stands between dropping a connection and closing it.
    pub fn let_go(_stream: &Stream) {}

    /// Of a connection that reads as ended: is it still there to read? A hang-up means that both directions are over.
    pub fn only_stopped_sending(from: &Stream) -> bool {
        let Stream::UdSocket(from) = from;
        let mut fds = [PollFd::new(from.inner(), PollFlags::empty())];
        let polled = poll(&mut fds, Some(&Timespec::default()));
        polled.is_ok() && !fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }
}

#[cfg(windows)]
mod sys {
    use std::io;
    use std::path::Path;

    use interprocess::local_socket::tokio::{Listener, Stream};
    use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
    use interprocess::os::windows::local_socket::ListenerOptionsExt;

    use crate::windows_user;

    /// A pipe for its owner alone.
    pub fn listen(path: &Path) -> io::Result<Listener> {
        let name = path.to_fs_name::<GenericFilePath>()?;
        ListenerOptions::new().name(name).security_descriptor(windows_user::pipe_for_own_user()?).create_tokio()
    }

    /// A pipe goes with its last handle.
    pub fn remove(_path: &Path) {}

    /// What is written stays readable when our end is closed. Otherwise the library would hand the pipe to a thread that
    /// waits until all is read, one pipe after another.
    pub fn let_go(stream: &Stream) {
        let Stream::NamedPipe(stream) = stream;
        stream.inner().assume_flushed();
    }

    /// A named pipe cannot be closed in one direction alone.
    pub fn only_stopped_sending(_from: &Stream) -> bool {
        false
    }
}

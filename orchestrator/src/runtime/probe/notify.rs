//! NOTIFY_SOCKET: one datagram socket for each run that wants one, so that the socket tells whose message it is. The
//! kernel names the sender where it can (Linux), and only processes of the run are heard.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, IoSliceMut};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::net::{RecvAncillaryBuffer, RecvFlags, recvmsg};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use super::main_process::MainProcess;
use crate::supervisor::{Event, Notice, RunId};

/// The longest message; systemd reads no more either.
const LONGEST: usize = 4096;

/// The socket of one run. Dropped, it is gone.
pub(super) struct NotifySocket {
    path: PathBuf,
    socket: Rc<UnixDatagram>,
    ear: Option<Ear>,
}

/// Hears what processes of the run say.
struct Ear {
    run: RunId,
    main: Rc<MainProcess>,
    events: UnboundedSender<Event>,
    task: AbortHandle,
}

impl NotifySocket {
    /// Binds the socket at this path, in place of one that was left there.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) | Ok(()) => {}
        }
        let socket = Rc::new(UnixDatagram::bind(path)?);
        let bound = Self { path: path.to_owned(), socket, ear: None };
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        #[cfg(target_os = "linux")]
        rustix::net::sockopt::set_socket_passcred(&*bound.socket, true)?;
        Ok(bound)
    }

    /// Hands on what the processes of the run say.
    pub(super) fn listen(&mut self, run: RunId, main: Rc<MainProcess>, events: UnboundedSender<Event>) {
        let (socket, his, told) = (Rc::clone(&self.socket), Rc::clone(&main), events.clone());
        let task = tokio::task::spawn_local(async move {
            loop {
                match socket.async_io(Interest::READABLE, || receive(&socket)).await {
                    Ok(message) => hear(run, &his, &told, message),
                    Err(error) => return tracing::warn!("cannot hear run {run} any more: {error}"),
                }
            }
        });
        self.ear = Some(Ear { run, main, events, task: task.abort_handle() });
    }

    /// Hands on all that has been said until now: what was said before an end counts before it.
    pub(super) fn hear_all(&self) {
        let Some(Ear { run, main, events, .. }) = &self.ear else { return };
        while let Ok(message) = receive(&self.socket) {
            hear(*run, main, events, message);
        }
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        if let Some(ear) = &self.ear {
            ear.task.abort();
        }
        let _ = fs::remove_file(&self.path);
    }
}

fn hear(run: RunId, main: &Rc<MainProcess>, events: &UnboundedSender<Event>, message: Message) {
    let Message { text, sender } = message;
    if let Some(pid) = sender.filter(|pid| !main.knows(*pid)) {
        return tracing::warn!("pid {pid} is no process of run {run}: what it says of that run does not count");
    }
    let mut notice = Notice::parse(&text);
    if let Some(pid) = notice.main_pid.filter(|pid| !main.name(*pid)) {
        tracing::warn!("pid {pid} is no process of run {run}: it cannot be its main process");
        notice.main_pid = None;
    }
    if !notice.is_empty() {
        let _ = events.send(Event::Notified { run, notice });
    }
}

struct Message {
    text: Vec<u8>,
    sender: Option<u32>,
}

/// Descriptors that came with it are closed: that is what a sender with `BARRIER=1` waits for.
fn receive(socket: &UnixDatagram) -> io::Result<Message> {
    let mut text = vec![0; LONGEST];
    #[cfg(target_os = "linux")]
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16), ScmCredentials(1))];
    #[cfg(not(target_os = "linux"))]
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | close_on_exec();
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut text)], &mut control, flags)?;
    let sender = sender_of(&mut control);
    text.truncate(received.bytes);
    Ok(Message { text, sender })
}

#[cfg(target_os = "linux")]
fn close_on_exec() -> RecvFlags {
    RecvFlags::CMSG_CLOEXEC
}

#[cfg(not(target_os = "linux"))]
fn close_on_exec() -> RecvFlags {
    RecvFlags::empty()
}

#[cfg(target_os = "linux")]
fn sender_of(control: &mut RecvAncillaryBuffer<'_>) -> Option<u32> {
    use rustix::net::RecvAncillaryMessage;
    let mut sender = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmCredentials(credentials) = message {
            sender = u32::try_from(credentials.pid.as_raw_nonzero().get()).ok();
        }
    }
    sender
}

/// The folder (0700) and the socket's mode keep others out.
#[cfg(not(target_os = "linux"))]
fn sender_of(control: &mut RecvAncillaryBuffer<'_>) -> Option<u32> {
    control.drain().for_each(drop);
    None
}

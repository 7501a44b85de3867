//! Windows: a process made suspended, put into a job of its own, then let go.
//!
//! Its output goes into a named pipe, since an anonymous one cannot be read without a thread of its own.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, IntoRawHandle, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::net::windows::named_pipe::NamedPipeServer;
use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, PIPE_ACCESS_INBOUND, PIPE_ACCESS_OUTBOUND,
};
use windows_sys::Win32::System::Pipes::{CreateNamedPipeW, PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_BYTE};
use windows_sys::Win32::System::Threading::{CREATE_NEW_PROCESS_GROUP, CREATE_SUSPENDED};

use super::{Hold, Launch, Obstacle, Spawned};
use crate::plan::Stdin;
use crate::runtime::child::Child;
use crate::runtime::group::Group;

/// The end of the output pipe that we keep.
pub(in crate::runtime) type OutputEnd = OwnedHandle;
/// The end of the stdin pipe that we keep.
pub(in crate::runtime) type StdinEnd = OwnedHandle;

/// What a pipe holds at most.
const PIPE: u32 = 64 * 1024;
/// How long the last bytes of a run may take: with its job gone, the end of its pipe is at hand.
const LAST_BYTES: Duration = Duration::from_secs(1);

#[link(name = "ntdll")]
unsafe extern "system" {
    fn NtResumeProcess(process: HANDLE) -> i32;
}

/// Starts children.
#[derive(Debug)]
pub(super) struct Spawner;

impl Spawner {
    #[allow(clippy::unnecessary_wraps, reason = "as elsewhere")]
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    #[allow(clippy::unused_self, reason = "as elsewhere")]
    pub(super) fn spawn(&self, program: &Path, launch: &Launch, hold: &Hold<'_>) -> Result<Spawned, Obstacle> {
        spawn(program, launch, hold).map_err(Obstacle::from)
    }
}

fn spawn(program: &Path, launch: &Launch, hold: &Hold<'_>) -> io::Result<Spawned> {
    let (output, child_output) = pipe(PIPE_ACCESS_INBOUND)?;
    let (stdin, child_stdin) = match launch.stdin {
        Stdin::Null => (None, Stdio::null()),
        Stdin::Attach => {
            let (end, child_end) = pipe(PIPE_ACCESS_OUTBOUND)?;
            (Some(end), Stdio::from(child_end))
        }
        // Refused by `config`.
        Stdin::Terminal => return Err(io::ErrorKind::Unsupported.into()),
    };
    hold(&output, stdin.as_ref());
    let mut process = Command::new(program)
        .args(&launch.script)
        .args(&launch.args)
        .env_clear()
        .envs(launch.env.iter())
        .current_dir(&launch.cwd)
        .creation_flags(CREATE_NEW_PROCESS_GROUP | CREATE_SUSPENDED)
        .stdin(child_stdin)
        .stdout(child_output.try_clone()?)
        .stderr(child_output)
        .spawn()?;
    let pid = process.id();
    let started = process.as_handle().try_clone_to_owned().and_then(|handle| {
        let group = Group::of(pid, &handle)?;
        // SAFETY: the handle is open.
        let resumed = unsafe { NtResumeProcess(handle.as_raw_handle()) };
        if resumed < 0 {
            return Err(io::Error::other(format!("it cannot be resumed (status {resumed:#x})")));
        }
        Ok((Child::watch(handle)?, group))
    });
    match started {
        Ok((child, group)) => Ok(Spawned { pid, child, group, output, stdin }),
        Err(error) => {
            let _ = process.kill();
            Err(error)
        }
    }
}

/// A pipe of one direction: our end, overlapped, and the child's, which is not.
fn pipe(access: u32) -> io::Result<(OwnedHandle, File)> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let name = format!(r"\\.\pipe\copo-child-{:032x}", u128::from_le_bytes(random));
    let wide: Vec<u16> = std::ffi::OsStr::new(&name).encode_wide().chain([0]).collect();
    // SAFETY: the name ends with a NUL and outlives the call; no attributes are given.
    let ours = unsafe {
        CreateNamedPipeW(
            wide.as_ptr(),
            access | FILE_FLAG_OVERLAPPED | FILE_FLAG_FIRST_PIPE_INSTANCE,
            PIPE_TYPE_BYTE | PIPE_REJECT_REMOTE_CLIENTS,
            1,
            PIPE,
            PIPE,
            0,
            std::ptr::null(),
        )
    };
    if ours == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and owned by nobody else.
    let ours = unsafe { OwnedHandle::from_raw_handle(ours) };
    let is_written = access == PIPE_ACCESS_INBOUND;
    let theirs = OpenOptions::new().read(!is_written).write(is_written).open(&name)?;
    Ok((ours, theirs))
}

fn on_this_thread(end: OwnedHandle) -> io::Result<NamedPipeServer> {
    // SAFETY: the handle is an overlapped pipe's, and tokio owns it from here on.
    unsafe { NamedPipeServer::from_raw_handle(end.into_raw_handle()) }
}

/// The end of a pipe that nobody holds any more reads as an error.
fn is_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Reads what a child writes. Made on the thread that reads.
pub(in crate::runtime) struct OutputReader {
    pipe: NamedPipeServer,
}

impl OutputReader {
    pub(in crate::runtime) fn new(end: OutputEnd) -> io::Result<Self> {
        Ok(Self { pipe: on_this_thread(end)? })
    }

    /// Waits until there is something to read, or nothing any more.
    pub(in crate::runtime) async fn readable(&self) -> io::Result<()> {
        self.pipe.readable().await
    }

    /// Reads what is there; `WouldBlock` when nothing is, 0 at the end.
    pub(in crate::runtime) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.pipe.try_read(buffer) {
            Err(error) if is_end(&error) => Ok(0),
            other => other,
        }
    }

    /// Reads to the end, for which a stray process is not waited for.
    pub(in crate::runtime) async fn drain(&self, buffer: &mut [u8], mut take: impl FnMut(&[u8])) {
        let rest = async {
            while self.readable().await.is_ok() {
                match self.try_read(buffer) {
                    Ok(0) => return,
                    Ok(count) => take(&buffer[..count]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        };
        let _ = tokio::time::timeout(LAST_BYTES, rest).await;
    }

    /// There are no terminals here.
    #[allow(clippy::unused_self, reason = "as elsewhere")]
    pub(in crate::runtime) fn terminal_size(&self) -> Option<(u16, u16)> {
        None
    }

    /// There are no terminals here.
    #[allow(clippy::unused_self, reason = "as elsewhere")]
    pub(in crate::runtime) fn set_terminal_size(&self, _size: (u16, u16)) {}
}

/// Writes to a child's stdin. Made on the thread that writes.
pub(in crate::runtime) struct StdinWriter {
    pipe: NamedPipeServer,
}

impl StdinWriter {
    pub(in crate::runtime) fn new(end: StdinEnd) -> io::Result<Self> {
        Ok(Self { pipe: on_this_thread(end)? })
    }

    /// Writes as much as the child takes, at least a byte.
    pub(in crate::runtime) async fn write_some(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.pipe.writable().await?;
            match self.pipe.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }

    /// There are no terminals here.
    #[allow(clippy::unused_self, reason = "as elsewhere")]
    pub(in crate::runtime) fn end_key(&self) -> Option<u8> {
        None
    }
}

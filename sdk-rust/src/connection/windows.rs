//! The line on Windows: a named pipe opened for overlapped I/O, which is given the form of a socket that never blocks:
//! one read and one write are under way at most, in buffers of ours, and an event tells when either has ended.

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::BytesMut;
use interprocess::local_socket::Stream;
use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_IO_INCOMPLETE, ERROR_IO_PENDING, ERROR_NO_DATA, ERROR_PIPE_NOT_CONNECTED, HANDLE,
    WAIT_FAILED, WAIT_OBJECT_0,
};
use windows_sys::Win32::Security::{EqualSid, GetTokenInformation, TOKEN_QUERY, TOKEN_USER, TokenUser};
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Pipes::GetNamedPipeServerProcessId;
use windows_sys::Win32::System::Threading::{
    CreateEventW, GetCurrentProcess, INFINITE, OpenProcess, OpenProcessToken, PROCESS_QUERY_LIMITED_INFORMATION,
    SetEvent, WaitForMultipleObjects,
};

/// What one transfer carries at most.
const TRANSFER: usize = crate::inbox::READ;

/// One connected pipe.
#[derive(Debug)]
pub(crate) struct Line {
    // Before the handle, so that they end their transfers while it is open.
    reading: Mutex<Transfer>,
    writing: Mutex<Transfer>,
    pipe: OwnedHandle,
}

/// One direction: at most one transfer under way.
#[derive(Debug)]
struct Transfer {
    /// Boxed, because the kernel holds on to its address while a transfer is under way.
    overlapped: Box<Overlapped>,
    event: OwnedHandle,
    /// As `overlapped`.
    buffer: Box<[u8]>,
    is_under_way: bool,
    /// Only to end a transfer when this is dropped.
    pipe: usize,
}

struct Overlapped(OVERLAPPED);

// SAFETY: what it points to (an event) may be used from any thread, and it is only touched under the Transfer's lock.
unsafe impl Send for Overlapped {}

impl std::fmt::Debug for Overlapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Overlapped")
    }
}

impl Line {
    /// No thread waits inside a read: nothing would break it off.
    pub(crate) const CAN_WAIT_INSIDE: bool = false;

    pub(super) fn new(stream: Stream) -> io::Result<Self> {
        let Stream::NamedPipe(stream) = stream;
        let pipe = OwnedHandle::from(stream);
        check_server(&pipe)?;
        let raw = pipe.as_raw_handle() as usize;
        Ok(Self { reading: Mutex::new(Transfer::new(raw)?), writing: Mutex::new(Transfer::new(raw)?), pipe })
    }

    fn raw(&self) -> HANDLE {
        self.pipe.as_raw_handle().cast()
    }

    /// Takes over what there is room for; WouldBlock while the last write is under way.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut writing = lock(&self.writing);
        if writing.is_under_way {
            writing.finished(self.raw())?;
        }
        let count = bytes.len().min(TRANSFER);
        writing.buffer[..count].copy_from_slice(&bytes[..count]);
        writing.begin();
        let (buffer, overlapped) = (writing.buffer.as_ptr(), &raw mut writing.overlapped.0);
        // SAFETY: buffer and overlapped are boxed, belong to this transfer and stay until it has ended.
        let done = unsafe { WriteFile(self.raw(), buffer, count as u32, ptr::null_mut(), overlapped) };
        writing.begun(done)?;
        Ok(count)
    }

    /// Reads what has come into a buffer that holds at least [`TRANSFER`] bytes; WouldBlock when nothing has, 0 when the
    /// other side has closed.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_with(|come| buffer[..come.len()].copy_from_slice(come))
    }

    /// Appends what has come; otherwise as [`Self::read`].
    pub(crate) fn append(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.read_with(|come| buffer.extend_from_slice(come))
    }

    /// There is no such read here.
    pub(crate) fn read_waiting(&self, _buffer: &mut [u8], _deadline: Option<Instant>) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Nobody waits inside a read.
    pub(crate) fn hang_up(&self) {}

    /// The pipe's buffers are what they are.
    pub(crate) fn widen(&self) {}

    fn read_with(&self, take: impl FnOnce(&[u8])) -> io::Result<usize> {
        let mut reading = lock(&self.reading);
        match self.read_some(&mut reading) {
            Ok(count) => {
                take(&reading.buffer[..count]);
                // The next read begins at once, so that a wait has something to wait for.
                let _ = self.begin_read(&mut reading);
                Ok(count)
            }
            Err(why) if is_end(&why) => Ok(0),
            Err(why) => Err(why),
        }
    }

    fn read_some(&self, reading: &mut Transfer) -> io::Result<usize> {
        loop {
            self.begin_read(reading)?;
            match reading.finished(self.raw())? {
                0 => {} // A write of nothing by the other side is not its end.
                count => return Ok(count),
            }
        }
    }

    fn begin_read(&self, reading: &mut Transfer) -> io::Result<()> {
        if reading.is_under_way {
            return Ok(());
        }
        reading.begin();
        let (buffer, overlapped) = (reading.buffer.as_mut_ptr(), &raw mut reading.overlapped.0);
        // SAFETY: buffer and overlapped are boxed, belong to this transfer and stay until it has ended.
        let done = unsafe { ReadFile(self.raw(), buffer, TRANSFER as u32, ptr::null_mut(), overlapped) };
        reading.begun(done)
    }
}

impl Transfer {
    fn new(pipe: usize) -> io::Result<Self> {
        let event = event(true)?;
        // SAFETY: OVERLAPPED is plain data for which all zeroes are valid.
        let mut overlapped: OVERLAPPED = unsafe { std::mem::zeroed() };
        overlapped.hEvent = event.as_raw_handle().cast();
        let overlapped = Box::new(Overlapped(overlapped));
        Ok(Self { overlapped, event, buffer: vec![0; TRANSFER].into(), is_under_way: false, pipe })
    }

    fn begin(&mut self) {
        let event = self.overlapped.0.hEvent;
        // SAFETY: as in `new`; no transfer is under way.
        self.overlapped.0 = unsafe { std::mem::zeroed() };
        self.overlapped.0.hEvent = event;
    }

    /// What the call that begins a transfer returned. One that has ended at once signals its event all the same.
    fn begun(&mut self, done: i32) -> io::Result<()> {
        if done == 0 {
            let why = io::Error::last_os_error();
            if why.raw_os_error() != Some(ERROR_IO_PENDING as i32) {
                return Err(why);
            }
        }
        self.is_under_way = true;
        Ok(())
    }

    /// How much the transfer moved; WouldBlock while it is under way.
    fn finished(&mut self, pipe: HANDLE) -> io::Result<usize> {
        let mut count = 0;
        // SAFETY: the overlapped is that of a transfer which was begun on this pipe.
        if unsafe { GetOverlappedResult(pipe, &raw const self.overlapped.0, &raw mut count, 0) } == 0 {
            let why = io::Error::last_os_error();
            if why.raw_os_error() == Some(ERROR_IO_INCOMPLETE as i32) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.is_under_way = false;
            return Err(why);
        }
        self.is_under_way = false;
        Ok(count as usize)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if self.is_under_way {
            let (pipe, mut count) = (self.pipe as HANDLE, 0);
            // SAFETY: the Line drops its transfers before its pipe. Until the kernel has let go of buffer and
            // overlapped they must not be freed, so this waits; a cancelled transfer ends at once.
            unsafe {
                CancelIoEx(pipe, &raw const self.overlapped.0);
                GetOverlappedResult(pipe, &raw const self.overlapped.0, &raw mut count, 1);
            }
        }
    }
}

fn lock(transfer: &Mutex<Transfer>) -> MutexGuard<'_, Transfer> {
    transfer.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_end(why: &io::Error) -> bool {
    let ends = [ERROR_BROKEN_PIPE, ERROR_PIPE_NOT_CONNECTED, ERROR_NO_DATA];
    why.raw_os_error().is_some_and(|code| ends.contains(&(code as u32)))
}

fn event(manual_reset: bool) -> io::Result<OwnedHandle> {
    // SAFETY: no pointer is passed; the handle is new and ours.
    unsafe {
        let event = CreateEventW(ptr::null(), i32::from(manual_reset), 0, ptr::null());
        if event.is_null() { Err(io::Error::last_os_error()) } else { Ok(OwnedHandle::from_raw_handle(event.cast())) }
    }
}

/// Anyone could have made a pipe of that name before the orchestrator did: its server must be a process of our user.
fn check_server(pipe: &OwnedHandle) -> io::Result<()> {
    let mut pid = 0;
    // SAFETY: the handle is open; pid lives across the call.
    if unsafe { GetNamedPipeServerProcessId(pipe.as_raw_handle().cast(), &raw mut pid) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: no pointer is passed; a handle that is not null is new and ours.
    let server = unsafe {
        let server = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid);
        if server.is_null() {
            return Err(io::Error::last_os_error());
        }
        OwnedHandle::from_raw_handle(server.cast())
    };
    let theirs = user_of(server.as_raw_handle().cast())?;
    // SAFETY: it returns a constant.
    let ours = user_of(unsafe { GetCurrentProcess() })?;
    // SAFETY: both buffers hold a TOKEN_USER, whose Sid points into the same buffer.
    let is_same = unsafe {
        let sid = |user: &[u64]| (*user.as_ptr().cast::<TOKEN_USER>()).User.Sid;
        EqualSid(sid(&theirs), sid(&ours)) != 0
    };
    if is_same {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "the pipe's server is a process of another user"))
}

/// A TOKEN_USER, in a buffer aligned for it.
fn user_of(process: HANDLE) -> io::Result<Vec<u64>> {
    let mut token: HANDLE = ptr::null_mut();
    // SAFETY: the process handle is open; token lives across the call.
    if unsafe { OpenProcessToken(process, TOKEN_QUERY, &raw mut token) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call before made it, for us.
    let token = unsafe { OwnedHandle::from_raw_handle(token.cast()) };
    let mut user = vec![0u64; 64]; // A SID has at most 68 bytes.
    let (size, mut used) = ((user.len() * size_of::<u64>()) as u32, 0);
    // SAFETY: the buffer has the size that is told.
    let got = unsafe {
        GetTokenInformation(token.as_raw_handle().cast(), TokenUser, user.as_mut_ptr().cast(), size, &raw mut used)
    };
    if got == 0 { Err(io::Error::last_os_error()) } else { Ok(user) }
}

/// Ends a [`wait`] from another thread. Once woken it stays woken until a wait has noticed.
#[derive(Debug)]
pub(crate) struct Waker {
    event: OwnedHandle,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { event: event(false)? })
    }

    pub(crate) fn wake(&self) {
        // SAFETY: the event is open.
        unsafe { SetEvent(self.event.as_raw_handle().cast()) };
    }

    /// There is no fork here.
    pub(crate) fn renew(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until `line` has something to read (or, `writable`, has room), the waker rings or the deadline has come. Says
/// whether the waker rang.
pub(crate) fn wait(
    line: Option<&Line>,
    writable: bool,
    waker: Option<&Waker>,
    deadline: Option<Instant>,
) -> io::Result<bool> {
    let mut events: Vec<HANDLE> = Vec::with_capacity(3);
    if let Some(waker) = waker {
        events.push(waker.event.as_raw_handle().cast());
    }
    if let Some(line) = line {
        let mut reading = lock(&line.reading);
        if line.begin_read(&mut reading).is_err() {
            return Ok(false); // The read that follows tells why.
        }
        events.push(reading.event.as_raw_handle().cast());
        drop(reading);
        if writable {
            let writing = lock(&line.writing);
            if !writing.is_under_way {
                return Ok(false);
            }
            events.push(writing.event.as_raw_handle().cast());
        }
    }
    let milliseconds = deadline.map_or(INFINITE, |at| {
        let left = at.saturating_duration_since(Instant::now());
        u32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(INFINITE - 1).min(INFINITE - 1)
    });
    if events.is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(u64::from(milliseconds)));
        return Ok(false);
    }
    // SAFETY: the pointer and the count are those of one array of open handles: line and waker outlive this call.
    let waited = unsafe { WaitForMultipleObjects(events.len() as u32, events.as_ptr(), 0, milliseconds) };
    if waited == WAIT_FAILED {
        return Err(io::Error::last_os_error());
    }
    // The first of them, where there is a waker.
    Ok(waker.is_some() && waited == WAIT_OBJECT_0)
}

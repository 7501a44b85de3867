//! Where the output of one instance goes: into its log, and to who is attached. A log that takes nothing holds up nobody:
//! what comes meanwhile is dropped and counted.

use std::cell::{Cell, RefCell};
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;

use super::clock;
use super::log::Log;
use super::log_budget::Budget;
use super::probe::LineWatch;
#[cfg(target_os = "linux")]
use super::side::Side;
use super::spawn::OutputReader;
use super::stdio::Stdio;
use crate::layout::Layout;
use crate::plan::LogSpec;

/// From so many bytes on that lie in a pipe, they go by the side pipe.
#[cfg(target_os = "linux")]
const MUCH: u64 = 32 * 1024;

/// What the logs of an application share.
pub(super) struct Shared {
    pub(super) layout: Layout,
    pub(super) budget: Arc<Budget>,
    #[cfg(target_os = "linux")]
    pub(super) side: Option<Side>,
}

/// Where the output of an instance goes.
pub(super) struct Sinks {
    pub(super) internal_name: String,
    pub(super) stdio: Option<Stdio>,
    /// Columns and rows of the last run's terminal: the next one's is as large.
    pub(super) terminal_size: Cell<Option<(u16, u16)>>,
    shared: Rc<Shared>,
    spec: Cell<LogSpec>,
    /// Opened when there is something to write: a silent process costs neither files nor descriptors.
    log: RefCell<Option<Log>>,
    /// The log took nothing the last time: said once, not for every chunk.
    is_failing: Cell<bool>,
    /// Bytes that came while it could not be opened.
    dropped: Cell<u64>,
}

impl Sinks {
    /// An instance runs without its log or its socket rather than not at all.
    pub(super) fn open(shared: &Rc<Shared>, internal_name: &str, spec: LogSpec) -> Self {
        let stdio = Stdio::open(&shared.layout.stdio(internal_name));
        let stdio = stdio.inspect_err(|error| tracing::error!("cannot open the stdio of {internal_name}: {error}"));
        Self {
            internal_name: internal_name.to_owned(),
            stdio: stdio.ok(),
            terminal_size: Cell::new(None),
            shared: Rc::clone(shared),
            spec: Cell::new(spec),
            log: RefCell::new(None),
            is_failing: Cell::new(false),
            dropped: Cell::new(0),
        }
    }

    /// The log is rotated by these settings from here on.
    pub(super) fn set_spec(&self, spec: LogSpec) {
        self.spec.set(spec);
        if let Some(log) = &mut *self.log.borrow_mut() {
            log.set_spec(spec);
        }
    }

    /// Takes what has come; without reading it, where that is possible. 0 at the end.
    ///
    /// What somebody looks for something in has to be read for that.
    pub(super) fn take(
        &self,
        reader: &OutputReader,
        watch: &mut Option<LineWatch>,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        #[cfg(target_os = "linux")]
        if watch.is_none() {
            match reader.try_with(|pipe| self.move_on(pipe)) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {}
                moved => return moved,
            }
        }
        let read = reader.try_read(buffer)?;
        if read > 0 {
            self.write(&buffer[..read]);
        }
        if watch.as_mut().is_some_and(|watch| !watch.feed(&buffer[..read])) {
            *watch = None;
        }
        Ok(read)
    }

    /// Writes what was read.
    pub(super) fn write(&self, chunk: &[u8]) {
        let mut log = self.log.borrow_mut();
        if log.is_none() {
            *log = self.open_log();
        }
        match &mut *log {
            Some(log) => self.told(log.write(chunk, clock::wall()), log),
            None => self.dropped.set(self.dropped.get() + chunk.len() as u64),
        }
        if let Some(stdio) = &self.stdio {
            stdio.written(chunk);
        }
    }

    fn open_log(&self) -> Option<Log> {
        let opened = self.shared.log(&self.internal_name, self.spec.get());
        match opened {
            Ok(mut log) => {
                log.note_dropped(self.dropped.take());
                Some(log)
            }
            Err(error) => {
                self.fails(&format!("cannot open the log of {}: {error}", self.internal_name));
                None
            }
        }
    }

    /// Says what became of a write, when that is new.
    fn told(&self, written: io::Result<()>, log: &mut Log) {
        match written {
            Err(error) => self.fails(&format!("cannot write the log of {}: {error}", self.internal_name)),
            Ok(()) if self.is_failing.replace(false) => {
                let (name, dropped) = (&self.internal_name, log.take_dropped());
                tracing::warn!("the log of {name} is written again; {dropped} bytes are lost");
            }
            Ok(()) => {}
        }
    }

    fn fails(&self, reason: &str) {
        if !self.is_failing.replace(true) {
            tracing::error!("{reason}; what it writes is dropped until that is over");
        }
    }
}

impl Shared {
    fn log(&self, internal_name: &str, spec: LogSpec) -> io::Result<Log> {
        let (path, times) = (self.layout.log(internal_name), self.layout.log_times(internal_name));
        Log::open(path, Some(times), spec).map(|log| log.within(Arc::clone(&self.budget)))
    }
}

#[cfg(target_os = "linux")]
impl Sinks {
    /// Takes what lies in the pipe at the end of a run, and does not wait for more.
    pub(super) fn take_last(&self, reader: &OutputReader) {
        let (pipe, mut left) = reader.pipe();
        while left > 0 {
            match self.move_on(pipe) {
                Ok(moved) if moved > 0 => left = left.saturating_sub(moved as u64),
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Takes what a killed orchestrator has left on its way into this log.
    pub(super) fn take_left(&self) {
        let Some(side) = &self.shared.side else { return };
        if side.take_left(|owner| owner == self.internal_name).is_some() {
            self.empty(side);
        }
    }

    /// Moves what lies in the pipe into the log. Any error but `WouldBlock`: it has to be read and written.
    fn move_on(&self, pipe: BorrowedFd<'_>) -> io::Result<usize> {
        let available = rustix::io::ioctl_fionread(pipe)?;
        if let Some(side) = self.shared.side.as_ref().filter(|_| available >= MUCH && !self.is_failing.get()) {
            self.shared.take_left_of_another(side);
            if side.claim(&self.internal_name) {
                let moved = side.take_from(pipe)?;
                self.empty(side);
                return Ok(moved);
            }
        }
        let mut log = self.log.borrow_mut();
        if log.is_none() && available > 0 {
            *log = self.open_log();
        }
        // While it takes nothing, what is read is dropped and counted.
        let log = log.as_mut().filter(|_| !self.is_failing.get()).ok_or(io::ErrorKind::Unsupported)?;
        self.splice(pipe, log)
    }

    fn splice(&self, pipe: BorrowedFd<'_>, log: &mut Log) -> io::Result<usize> {
        let range = log.splice(pipe, clock::wall())?;
        if let Some(stdio) = self.stdio.as_ref().filter(|stdio| stdio.has_readers()) {
            stdio.written(&log.read_back(range.clone())?);
        }
        Ok(usize::try_from(range.end - range.start).unwrap_or(usize::MAX))
    }

    /// Moves all that lies in the side pipe into the log; what that takes no more of is dropped and counted.
    fn empty(&self, side: &Side) {
        if self.log.borrow().is_none() {
            *self.log.borrow_mut() = self.open_log();
        }
        while let Some(log) = &mut *self.log.borrow_mut() {
            let moved =
                side.holds().and_then(|holds| if holds > 0 { self.splice(side.read_end(), log) } else { Ok(0) });
            if !moved.is_ok_and(|moved| moved > 0) {
                break;
            }
        }
        match side.read() {
            Ok(rest) if rest.is_empty() => {}
            Ok(rest) => self.write(&rest),
            Err(error) => tracing::error!("cannot read the side pipe: {error}"),
        }
    }
}

#[cfg(target_os = "linux")]
impl Shared {
    /// Of a process that copo.toml has no more, so that nobody else comes for it.
    pub(super) fn take_left_of_another(&self, side: &Side) {
        let Some(owner) = side.take_left(|_| true) else { return };
        let whole = LogSpec { size: u64::MAX, files: 1 };
        let moved = self.log(&owner, whole).and_then(|mut log| {
            while side.holds()? > 0 && !log.splice(side.read_end(), clock::wall())?.is_empty() {}
            Ok(())
        });
        if let Err(error) = moved {
            let dropped = side.read().map_or(0, |rest| rest.len());
            tracing::error!("cannot write the log of {owner}: {error}; {dropped} bytes are lost");
        }
    }
}

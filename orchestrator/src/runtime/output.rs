//! The output thread: everything the children write goes through it, to their logs and to who is attached. It also writes
//! the files that the main thread must not wait for.
//!
//! It is one thread with a runtime of its own, so that chatty children never delay a record. Bytes are copied in chunks
//! and never looked into, except for the line end at which a log that is due is turned.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::kept::StdinCloser;
use super::probe::LineWatch;
use super::reports_file;
use super::sinks::{Shared, Sinks};
use super::spawn::{OutputEnd, OutputReader, StdinEnd, StdinWriter};
use crate::plan::LogSpec;

/// Read at once, at most: a pipe of the largest size.
const CHUNK: usize = 1024 * 1024;
/// Read at once of what is left at the end of a run.
const LAST_CHUNK: usize = 64 * 1024;
/// How long the end of a run may wait for its last bytes to be in the log; only a hanging disk takes that long.
const LAST_BYTES: Duration = Duration::from_secs(2);

/// The main thread's end of the output thread.
pub(super) struct Output {
    commands: mpsc::UnboundedSender<Command>,
    thread: Cell<Option<JoinHandle<()>>>,
}

enum Command {
    Open { internal_name: String, log: LogSpec },
    Limit { total: Option<u64> },
    Begin { internal_name: String, output: OutputEnd, stdin: Option<(StdinEnd, StdinCloser)>, watch: Option<LineWatch> },
    Shut { internal_name: String },
    Finish { internal_name: String, done: oneshot::Sender<()> },
    Rest { internal_name: String },
    Reports { path: PathBuf, json: Vec<u8> },
    Close,
}

impl Output {
    /// Starts the thread.
    pub(super) fn start(shared: Shared) -> io::Result<Self> {
        let (commands, received) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || LocalSet::new().block_on(&runtime, work(shared, received));
        let thread = thread::Builder::new().name("output".to_owned()).spawn(work)?;
        Ok(Self { commands, thread: Cell::new(Some(thread)) })
    }

    /// Opens an instance's log and stdio socket; when they are open, the log goes on with these settings.
    pub(super) fn open(&self, internal_name: &str, log: LogSpec) {
        self.say(Command::Open { internal_name: internal_name.to_owned(), log });
    }

    /// All logs together hold no more than this from here on.
    pub(super) fn limit(&self, total: Option<u64>) {
        self.say(Command::Limit { total });
    }

    /// An instance is no more: its socket goes, its log stays for whoever reads it.
    pub(super) fn shut(&self, internal_name: &str) {
        self.say(Command::Shut { internal_name: internal_name.to_owned() });
    }

    /// A run of an opened instance has begun: copy what it writes, and look in it for what `watch` looks for.
    pub(super) fn begin(
        &self,
        internal_name: &str,
        output: OutputEnd,
        stdin: Option<(StdinEnd, StdinCloser)>,
        watch: Option<LineWatch>,
    ) {
        self.say(Command::Begin { internal_name: internal_name.to_owned(), output, stdin, watch });
    }

    /// A run has ended; resolves when what it wrote is in the log.
    pub(super) fn finish(&self, internal_name: &str) -> impl Future<Output = ()> + use<> {
        let (done, finished) = oneshot::channel();
        self.say(Command::Finish { internal_name: internal_name.to_owned(), done });
        async {
            let _ = timeout(LAST_BYTES, finished).await;
        }
    }

    /// An instance has come to rest: who is attached to it is told all, and then that this is all.
    pub(super) fn rest(&self, internal_name: &str) {
        self.say(Command::Rest { internal_name: internal_name.to_owned() });
    }

    /// Replaces reports.json.
    pub(super) fn reports(&self, path: PathBuf, json: Vec<u8>) {
        self.say(Command::Reports { path, json });
    }

    /// Ends the thread: sockets are removed, logs are closed.
    pub(super) fn close(&self) {
        self.say(Command::Close);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the output thread has panicked");
        }
    }

    fn say(&self, command: Command) {
        // The thread ends only when it is told to; without it there is nothing left to copy to.
        let _ = self.commands.send(command);
    }
}

/// One instance's log and stdio, open from up to down.
struct Instance {
    sinks: Rc<Sinks>,
    run: Option<CopiedRun>,
}

/// The copying of one run's output.
struct CopiedRun {
    ended: oneshot::Sender<oneshot::Sender<()>>,
}

/// What the thread does until it is told to close.
async fn work(shared: Shared, mut commands: mpsc::UnboundedReceiver<Command>) {
    let buffer = Rc::new(RefCell::new(vec![0; CHUNK]));
    let (shared, mut instances) = (Rc::new(shared), HashMap::new());
    while let Some(command) = commands.recv().await {
        match command {
            Command::Open { internal_name, log } => {
                let opened = |instance: &mut Instance| instance.sinks.set_spec(log);
                let instance = || Instance::open(&shared, &internal_name, log);
                instances.entry(internal_name.clone()).and_modify(opened).or_insert_with(instance);
            }
            Command::Limit { total } => shared.budget.set(total),
            Command::Shut { internal_name } => {
                if let Some(instance) = instances.remove(&internal_name) {
                    instance.close().await;
                }
            }
            Command::Begin { internal_name, output, stdin, watch } => {
                if let Some(instance) = instances.get_mut(&internal_name) {
                    instance.begin(output, watch, stdin, &buffer);
                }
            }
            Command::Finish { internal_name, done } => {
                // Without a run to finish, `done` is dropped here: there is nothing to wait for.
                if let Some(run) = instances.get_mut(&internal_name).and_then(|instance| instance.run.take()) {
                    let _ = run.ended.send(done);
                }
            }
            Command::Rest { internal_name } => {
                if let Some(stdio) = instances.get(&internal_name).and_then(|instance| instance.sinks.stdio.as_ref()) {
                    stdio.rest();
                }
            }
            Command::Reports { path, json } => reports_file::replace(&path, &json),
            Command::Close => break,
        }
    }
    #[cfg(target_os = "linux")]
    shared.side.iter().for_each(|side| shared.take_left_of_another(side));
    let closing: Vec<_> = instances.into_values().map(|instance| tokio::task::spawn_local(instance.close())).collect();
    for instance in closing {
        let _ = instance.await;
    }
}

impl Instance {
    fn open(shared: &Rc<Shared>, internal_name: &str, log: LogSpec) -> Self {
        let sinks = Rc::new(Sinks::open(shared, internal_name, log));
        #[cfg(target_os = "linux")]
        sinks.take_left();
        Self { sinks, run: None }
    }

    fn begin(
        &mut self,
        output: OutputEnd,
        watch: Option<LineWatch>,
        stdin: Option<(StdinEnd, StdinCloser)>,
        buffer: &Rc<RefCell<Vec<u8>>>,
    ) {
        match OutputReader::new(output) {
            Ok(reader) => {
                if let Some(size) = self.sinks.terminal_size.get() {
                    reader.set_terminal_size(size);
                }
                let (ended, end) = oneshot::channel();
                self.run = Some(CopiedRun { ended });
                tokio::task::spawn_local(copy(reader, watch, Rc::clone(&self.sinks), Rc::clone(buffer), end));
            }
            Err(error) => tracing::error!("cannot read the output of {}: {error}", self.sinks.internal_name),
        }
        let writer = stdin.map(|(end, closer)| Ok((StdinWriter::new(end)?, closer))).transpose();
        let writer =
            writer.inspect_err(|error: &io::Error| tracing::error!("cannot use the stdin of a child: {error}"));
        if let Some(stdio) = &self.sinks.stdio {
            stdio.begin(writer.ok().flatten());
        }
    }

    async fn close(self) {
        drop(self.run);
        // The copying of a run that nobody finished may still hold the sinks; it ends with the thread.
        if let Some(stdio) = Rc::into_inner(self.sinks).and_then(|sinks| sinks.stdio) {
            stdio.close().await;
        }
    }
}

/// Copies a run's output until its pipe has ended or the run has; then what is in the pipe, and no more.
async fn copy(
    reader: OutputReader,
    mut watch: Option<LineWatch>,
    sinks: Rc<Sinks>,
    buffer: Rc<RefCell<Vec<u8>>>,
    mut end: oneshot::Receiver<oneshot::Sender<()>>,
) {
    let done = loop {
        tokio::select! {
            done = &mut end => break done,
            readable = reader.readable() => {
                if readable.is_err() || !copy_some(&reader, &mut watch, &sinks, &mut buffer.borrow_mut()) {
                    break end.await;
                }
            }
        }
    };
    // Not the shared buffer, which others read into while this one waits.
    #[cfg(target_os = "linux")]
    sinks.take_last(&reader);
    let mut last = vec![0; LAST_CHUNK];
    reader.drain(&mut last, |chunk| sinks.write(chunk)).await;
    sinks.terminal_size.set(reader.terminal_size());
    if let Some(stdio) = &sinks.stdio {
        stdio.set_stdin(None);
    }
    drop(sinks);
    if let Ok(done) = done {
        let _ = done.send(());
    }
}

/// Copies one chunk; false at the end.
fn copy_some(reader: &OutputReader, watch: &mut Option<LineWatch>, sinks: &Sinks, buffer: &mut [u8]) -> bool {
    match sinks.take(reader, watch, buffer) {
        Ok(taken) => taken > 0,
        Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
    }
}

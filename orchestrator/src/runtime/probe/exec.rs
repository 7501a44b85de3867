//! A program is run, and its exit code is the answer.

use std::convert::Infallible;
use std::io;

use super::line_of;
use crate::runtime::child::Child;
use crate::runtime::group::Group;
use crate::runtime::leaders::Leaders;
use crate::runtime::spawn::{OutputEnd, OutputReader, Spawned};
use crate::supervisor::{Answer, Outcome};

/// Kept of what it writes: enough for its last line.
const KEPT: usize = 4 * 1024;

/// A probe's program that runs. Dropped, nothing is left of it.
pub(super) struct Program {
    name: String,
    child: Option<Child>,
    output: Option<OutputEnd>,
    running: Running,
}

/// What has to be ended whatever becomes of the question.
struct Running {
    pid: u32,
    group: Option<Group>,
    leaders: Leaders,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group.take() {
            group.sweep();
        }
        self.leaders.remove(self.pid);
        self.leaders.reap_orphans();
    }
}

impl Program {
    pub(super) fn of(name: String, spawned: Spawned, leaders: Leaders) -> Self {
        let Spawned { pid, child, group, output, stdin: _ } = spawned;
        leaders.add(pid);
        Self { name, child: Some(child), output: Some(output), running: Running { pid, group: Some(group), leaders } }
    }

    pub(super) async fn answer(mut self) -> Answer {
        let (Some(child), Some(output)) = (self.child.take(), self.output.take()) else {
            return Err("it was not started".to_owned());
        };
        let mut said = Said::default();
        // Without a reader there is nothing to tell but the exit code.
        let reader = OutputReader::new(output).ok();
        let outcome = tokio::select! {
            outcome = child.wait() => outcome,
            never = said.read(reader.as_ref()) => match never {},
        };
        if let Some(reader) = &reader {
            // Its end may be known before its last words are read.
            reader.drain(&mut vec![0; KEPT], |chunk| said.take(chunk)).await;
        }
        drop(self.running);
        let how = match outcome {
            Outcome::Code(0) => return Ok(()),
            Outcome::Code(code) => format!("exit code {code}"),
            Outcome::Signal { name, .. } => format!("ended by {name}"),
            Outcome::Unknown => "how it ended is not known".to_owned(),
        };
        let last = said.last_line().map(|line| format!(": {line}")).unwrap_or_default();
        Err(format!("{}: {how}{last}", self.name))
    }
}

/// The last of what it writes.
#[derive(Default)]
struct Said(Vec<u8>);

impl Said {
    /// Its end is told by the process, not by the pipe, which others may hold.
    async fn read(&mut self, reader: Option<&OutputReader>) -> Infallible {
        let mut buffer = vec![0; KEPT];
        while let Some(reader) = reader
            && reader.readable().await.is_ok()
        {
            match reader.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => self.take(&buffer[..read]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => break,
            }
        }
        std::future::pending().await
    }

    fn take(&mut self, chunk: &[u8]) {
        self.0.extend_from_slice(chunk);
        self.0.drain(..self.0.len().saturating_sub(KEPT));
    }

    fn last_line(&self) -> Option<String> {
        self.0.rsplit(|byte| *byte == b'\n').map(line_of).find(|line| !line.is_empty())
    }
}

//! A program is run, and its exit code is the answer.

use std::convert::Infallible;
use std::io;

use super::line_of;
use crate::plan::{ExtraEnv, ProcessSpec};
use crate::runtime::child::Child;
use crate::runtime::environment::Environment;
use crate::runtime::group::Group;
use crate::runtime::leaders::Leaders;
use crate::runtime::spawn::{OutputEnd, OutputReader, Spawned};
use crate::supervisor::{Answer, Outcome};

/// Kept of what it writes: enough for its last line.
const KEPT: usize = 4 * 1024;

/// Stands in place of a secret.
const REDACTED: &[u8] = b"(secret)";

/// A probe's program that runs. Dropped, nothing is left of it.
pub(super) struct Program {
    name: String,
    child: Option<Child>,
    output: Option<OutputEnd>,
    secrets: Secrets,
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
    pub(super) fn of(name: String, secrets: Secrets, spawned: Spawned, leaders: Leaders) -> Self {
        let Spawned { pid, child, group, output, stdin: _ } = spawned;
        leaders.add(pid);
        let running = Running { pid, group: Some(group), leaders };
        Self { name, child: Some(child), output: Some(output), secrets, running }
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
        let last = said.last_line(&self.secrets).map(|line| format!(": {line}")).unwrap_or_default();
        Err(format!("{}: {how}{last}", self.name))
    }
}

/// The last of what it writes.
#[derive(Default)]
struct Said {
    bytes: Vec<u8>,
    /// What came before is not there any more.
    is_cut: bool,
}

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
        self.bytes.extend_from_slice(chunk);
        let surplus = self.bytes.len().saturating_sub(KEPT);
        self.bytes.drain(..surplus);
        self.is_cut |= surplus > 0;
    }

    fn last_line(&self, secrets: &Secrets) -> Option<String> {
        // A line without its beginning may begin within a secret.
        let start =
            if self.is_cut { memchr::memchr(b'\n', &self.bytes).map_or(self.bytes.len(), |end| end + 1) } else { 0 };
        let bytes = if secrets.is_empty() { &self.bytes } else { &self.bytes[start..] };
        let bytes = secrets.redact(bytes);
        bytes.rsplit(|byte| *byte == b'\n').map(line_of).find(|line| !line.is_empty())
    }
}

/// What a program finds in its environment and nobody else is to see.
#[derive(Default)]
pub(super) struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    /// The values of the variables that are secret.
    pub(super) fn of(spec: &ProcessSpec, env: &Environment) -> Self {
        let ExtraEnv { secrets, secret_files, port: _ } = &spec.extra_env;
        let values = secrets.iter().chain(secret_files.keys()).filter_map(|name| env.get(name));
        let mut values: Vec<Vec<u8>> = values.map(|value| value.as_encoded_bytes().to_vec()).collect();
        values.retain(|value| !value.is_empty());
        // One that is part of another comes after it.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self(values)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn redact(&self, text: &[u8]) -> Vec<u8> {
        let mut redacted = text.to_vec();
        for secret in &self.0 {
            let mut rest = std::mem::take(&mut redacted);
            while let Some(at) = memchr::memmem::find(&rest, secret) {
                redacted.extend_from_slice(&rest[..at]);
                redacted.extend_from_slice(REDACTED);
                rest.drain(..at + secret.len());
            }
            redacted.extend_from_slice(&rest);
        }
        redacted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &[u8]) -> Said {
        let mut said = Said::default();
        text.chunks(1000).for_each(|chunk| said.take(chunk));
        said
    }

    #[test]
    fn no_secret_stands_in_the_last_line_whole_or_in_part() {
        let secrets = Secrets(vec![b"hunter2-and-more".to_vec(), b"hunter2".to_vec()]);
        let last = |text: &[u8]| said(text).last_line(&secrets);

        assert_eq!(
            last(b"hunter2\nlogin hunter2 refused (hunter2-and-more)\n").as_deref(),
            Some("login (secret) refused ((secret))")
        );
        assert_eq!(last(&[b"x".repeat(5000), b"hunter2".to_vec()].concat()), None, "its beginning is not known");
        assert_eq!(last(&[b"x".repeat(5000), b"\nwell".to_vec()].concat()).as_deref(), Some("well"));
        assert_eq!(said(&b"y".repeat(5000)).last_line(&Secrets::default()).map(|line| line.len()), Some(200));
    }
}

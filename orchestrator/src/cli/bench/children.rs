//! The processes of a round: started, told to begin, and asked what came of it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::args::Work;
use crate::cli::failure::{FAILED, Failure};

/// One process of a measurement.
pub struct Worker {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts `copo bench role <role>`, or the program that stands for it, and returns once it is ready.
    pub fn start(role: &str, work: &Work) -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| Failure::io(format!("start the bench's {role}"), &error);
        let mut command = match &work.program {
            Some(program) => program.command(),
            None => {
                let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
                command.args(["bench", "role"]);
                command
            }
        };
        command.args([role, "--socket"]).arg(&work.socket);
        let numbers = [
            ("--count", work.count),
            ("--size", work.size as u64),
            ("--rate", work.rate),
            ("--id", u64::from(work.id)),
            ("--publishers", work.publishers as u64),
            ("--subscribers", work.subscribers as u64),
            ("--window", u64::from(work.window)),
        ];
        for (name, value) in numbers {
            command.arg(name).arg(value.to_string());
        }
        if work.keys {
            command.arg("--keys");
        }
        if let Some(path) = &work.sync {
            command.arg("--sync").arg(path);
        }
        if let Some(peer) = work.peer {
            command.args(["--peer", peer.name()]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(cannot)?;
        let out = child.stdout.take().map(BufReader::new);
        let Some(out) = out else { return Err(Failure::new(FAILED, format!("cannot start the bench's {role}"))) };
        let mut worker = Self { child, out };
        worker.line().map(|_| worker)
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        match self.out.read_line(&mut line) {
            Ok(read) if read > 0 => Ok(line),
            Ok(_) | Err(_) => Err(Failure::new(FAILED, "cannot measure: a process of the bench ended early")),
        }
    }

    /// Tells it to begin.
    pub fn go(&mut self) -> Result<(), Failure> {
        let told = self.child.stdin.as_mut().map_or(Ok(()), |stdin| stdin.write_all(b"go\n"));
        told.map_err(|error| Failure::io("start a process of the bench", &error))
    }

    /// What came of it, once it has ended.
    pub fn result(mut self) -> Result<Value, Failure> {
        let line = self.line()?;
        // Its line is its last word.
        let _ = self.child.wait();
        serde_json::from_str(&line).map_err(|why| Failure::new(FAILED, format!("cannot read a bench result: {why}")))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // One that has ended is not there to be killed; one that has not must not stay.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

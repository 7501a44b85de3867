//! The limit that `copo bench supervise` measures against: children started in the way that the orchestrator starts its
//! own, and nothing else: no name, no log, no report.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::descriptors::Descriptors;
use super::environment::Environment;
use super::spawn::{Attributes, Cloner, Ends, Launch};
use crate::plan::Stdin;

/// Starts children.
#[derive(Debug)]
pub struct Bare {
    cloner: Cloner,
}

/// A child: the caller waits for it and reads it.
#[derive(Debug)]
pub struct BareChild {
    /// Its process id.
    pub pid: u32,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
    /// Its stdout and stderr.
    pub output: OwnedFd,
}

impl Bare {
    /// Raises the limit of open files, for many children.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn new() -> io::Result<Self> {
        Descriptors::raise();
        Ok(Self { cloner: Cloner::new()? })
    }

    /// Starts `program` with these arguments and our environment.
    ///
    /// # Errors
    /// It cannot be started, or not in this way on this system.
    pub fn spawn(&self, program: &Path, args: &[String]) -> io::Result<BareChild> {
        let (output, write_end) = io::pipe()?;
        let launch = Launch {
            program: program.to_owned(),
            script: None,
            args: args.to_vec(),
            cwd: Path::new("/").to_owned(),
            env: Environment::inherited(std::env::vars_os(), Path::new("/")),
            stdin: Stdin::Null,
            attributes: Attributes::default(),
            cgroup: None,
        };
        let ends = Ends { output: write_end.as_fd(), stdin: None, is_terminal: false };
        let cloned = self.cloner.spawn(program, &launch, &launch.attributes, &ends);
        let cloned = cloned.map_err(|obstacle| io::Error::other(format!("{obstacle:?}")))?;
        let cloned = cloned.ok_or_else(|| io::Error::other("this system has no clone3 for us"))?;
        Ok(BareChild { pid: cloned.pid, pidfd: cloned.pidfd, output: output.into() })
    }
}

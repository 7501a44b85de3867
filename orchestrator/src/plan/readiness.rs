//! When a run is ready, and how it is seen to be alive.

use std::path::PathBuf;
use std::time::Duration;

use super::ProcessSpec;
use crate::supervisor::ProbeKind;

/// When a run counts as ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// As soon as its program runs, or has started up where `startup` asks for that.
    Started,
    /// When it says so through the SDK.
    Sdk,
    /// When it says so as sd_notify(3) does.
    Notify,
    /// While it answers.
    Probe(Probe),
}

/// What is asked of a run, when, and how many answers count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What is asked.
    pub check: Check,
    /// From one answer to the next question.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// So many good answers one after the other count as good.
    pub successes: u32,
    /// So many bad answers one after the other count as bad.
    pub failures: u32,
    /// From the start of the probing to the first question.
    pub initial_delay: Duration,
}

/// What is asked of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// A GET is answered with a status from 200 to 399.
    Http {
        /// The server.
        address: Address,
        /// Path and query.
        target: String,
    },
    /// A connection is taken.
    Tcp(Address),
    /// A program ends with 0.
    Exec {
        /// The program: with a slash it is absolute, without one it is looked for on PATH.
        program: PathBuf,
        /// Its arguments.
        args: Vec<String>,
    },
    /// Its output has held this. Nothing is asked: it is told once.
    Log(Pattern),
    /// It reads what it follows.
    Progress,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name, or an IP address (one of IPv6 without brackets).
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What is looked for in the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// These very bytes.
    Text(String),
    /// A regular expression that has been found to be one; it is matched against lines.
    Regex(String),
}

impl ProcessSpec {
    /// The probe of this kind, if it has one.
    #[must_use]
    pub fn probe(&self, kind: ProbeKind) -> Option<&Probe> {
        match (kind, &self.ready) {
            (ProbeKind::Startup, _) => self.startup.as_ref(),
            (ProbeKind::Ready, Readiness::Probe(probe)) => Some(probe),
            (ProbeKind::Ready, Readiness::Started | Readiness::Sdk | Readiness::Notify) => None,
            (ProbeKind::Liveness, _) => self.liveness.as_ref(),
            (ProbeKind::Progress, _) => self.progress.as_ref(),
        }
    }

    /// Running alone does not make it ready.
    #[must_use]
    pub fn declares_readiness(&self) -> bool {
        self.ready != Readiness::Started || self.startup.is_some()
    }

    /// Its runs are given a NOTIFY_SOCKET.
    #[must_use]
    pub fn has_notify_socket(&self) -> bool {
        self.notify || self.watchdog.is_some() || self.ready == Readiness::Notify
    }
}

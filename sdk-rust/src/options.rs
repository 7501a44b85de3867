//! What a caller may choose: how to connect, what to send, what to follow.

use std::time::Duration;

use copo_proto::{env, key, v1};

use crate::client::Client;
use crate::error::{Error, Result};
use crate::v1::ErrorCode;

/// How to connect; made by [`Client::options`].
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    pub(crate) socket: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) name: String,
    pub(crate) sdk: String,
    pub(crate) window: u32,
    pub(crate) window_bytes: u64,
    pub(crate) timeout: Duration,
}

impl ConnectOptions {
    pub(crate) fn new() -> Self {
        Self {
            socket: None,
            token: None,
            name: "rust".into(),
            sdk: concat!("rust/", env!("CARGO_PKG_VERSION")).into(),
            window: u32::MAX,
            window_bytes: u64::MAX,
            timeout: Duration::from_secs(5),
        }
    }

    /// Path of the Server (on Windows the pipe's name); default: `COPO_SOCKET`.
    #[must_use]
    pub fn socket(mut self, path: impl Into<String>) -> Self {
        self.socket = Some(path.into());
        self
    }

    /// The token of the run that speaks; default: `COPO_TOKEN` if the socket too is taken from the environment, else
    /// none. `""`: speak as a person whatever the environment says.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Who speaks when there is no token: `sent_by` becomes `@<name>`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Name and version of the language's SDK, for people: `python/0.1.0`.
    #[must_use]
    pub fn sdk(mut self, sdk: impl Into<String>) -> Self {
        self.sdk = sdk.into();
        self
    }

    /// At most so many unacknowledged sends and bytes of them; the orchestrator's own limits hold as well. One send
    /// larger than `bytes` may be under way alone.
    #[must_use]
    pub fn window(mut self, sends: u32, bytes: u64) -> Self {
        self.window = sends.max(1);
        self.window_bytes = bytes.max(1);
        self
    }

    /// How long the handshake may take; default 5 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// NO_ORCHESTRATOR at once when no socket is known or nobody listens there; what the orchestrator refuses with.
    pub fn connect(self) -> Result<Client> {
        Client::connect_with(self)
    }

    /// Fills in from the environment what was not given.
    pub(crate) fn resolve(mut self) -> Result<Self> {
        if self.socket.is_none() {
            let socket = std::env::var(env::SOCKET).ok().filter(|path| !path.is_empty());
            self.socket = Some(socket.ok_or_else(|| {
                Error::new(ErrorCode::NoOrchestrator, "cannot connect: COPO_SOCKET is not set and no socket was given")
            })?);
            self.token = self.token.or_else(|| std::env::var(env::TOKEN).ok());
        }
        Ok(self)
    }
}

/// One record to send, with everything that can be said about it. `Send { data, ..Send::default() }`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Send<'a> {
    /// `""` or a key.
    pub key: &'a str,
    /// The record's data.
    pub data: &'a [u8],
    /// Append only if the newest record of the key has this Seq (0: if there is none); else CONFLICT.
    pub expect_seq: Option<u64>,
    /// How long to wait for room in the window (and, for a synchronous send, for the acknowledgement); `None`: as long
    /// as it takes.
    pub timeout: Option<Duration>,
}

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum From {
    /// With the oldest that is still there.
    First,
    /// With the next one that comes.
    #[default]
    New,
    /// With this Seq.
    Seq(u64),
    /// With the first one at or after this time, microseconds since the Unix epoch.
    Time(u64),
}

/// What to follow. The default: all records from now on.
#[derive(Debug, Clone, Default)]
pub struct SubscribeOptions {
    pub(crate) from: From,
    pub(crate) log_id: Vec<u8>,
    pub(crate) key_pattern: String,
    pub(crate) records: bool,
    pub(crate) reports: bool,
    pub(crate) to: Option<u64>,
    pub(crate) no_follow: bool,
    pub(crate) once: bool,
}

impl SubscribeOptions {
    /// Where to begin; default: [`From::New`].
    #[must_use]
    pub fn from(mut self, from: From) -> Self {
        self.from = from;
        self
    }

    /// The log the Seq of [`From::Seq`] belongs to, as [`crate::Subscription::log_id`] gave it: if the log is another
    /// one by now, a Gap with LOG_REPLACED comes first.
    #[must_use]
    pub fn log_id(mut self, log_id: impl Into<Vec<u8>>) -> Self {
        self.log_id = log_id.into();
        self
    }

    /// Which records: a key, or a pattern with `*` (one segment) and `**` (any number); default: all.
    #[must_use]
    pub fn key_pattern(mut self, pattern: impl Into<String>) -> Self {
        self.key_pattern = pattern.into();
        self
    }

    /// Deliver records. When neither records nor reports are asked for, records are delivered.
    #[must_use]
    pub fn records(mut self, yes: bool) -> Self {
        self.records = yes;
        self
    }

    /// Deliver reports.
    #[must_use]
    pub fn reports(mut self, yes: bool) -> Self {
        self.reports = yes;
        self
    }

    /// End after this Seq.
    #[must_use]
    pub fn to(mut self, seq: u64) -> Self {
        self.to = Some(seq);
        self
    }

    /// End at the head found when subscribing.
    #[must_use]
    pub fn no_follow(mut self) -> Self {
        self.no_follow = true;
        self
    }

    /// When the connection is lost, return CLOSED instead of waiting for the orchestrator to come back.
    #[must_use]
    pub fn no_reconnect(mut self) -> Self {
        self.once = true;
        self
    }

    pub(crate) fn request(&self) -> Result<v1::Subscribe> {
        key::Pattern::parse(&self.key_pattern).map_err(|why| {
            Error::new(ErrorCode::InvalidKey, format!("cannot subscribe to {:?}: {why}", self.key_pattern))
        })?;
        let from = match self.from {
            From::First => v1::subscribe::From::First(true),
            From::New => v1::subscribe::From::New(true),
            From::Seq(seq) => v1::subscribe::From::Seq(seq),
            From::Time(time) => v1::subscribe::From::Time(time),
        };
        Ok(v1::Subscribe {
            from: Some(from),
            log_id: self.log_id.clone().into(),
            key_pattern: self.key_pattern.clone(),
            records: self.records || !self.reports,
            reports: self.reports,
            to: self.to,
            no_follow: self.no_follow,
        })
    }
}

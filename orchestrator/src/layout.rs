//! The paths under COPO_HOME, in one place.

use std::path::{Path, PathBuf};

use copo_proto::name;

/// The name the orchestrator itself goes by, in paths and in `sent_by`.
pub const ORCHESTRATOR: &str = "orchestrator";

/// The longest path a Unix domain socket may have, in bytes, the closing NUL not counted (sockaddr_un.sun_path).
#[cfg(target_os = "linux")]
pub const MAX_SOCKET_PATH: usize = 107;
/// The longest path a Unix domain socket may have, in bytes, the closing NUL not counted (sockaddr_un.sun_path).
#[cfg(all(unix, not(target_os = "linux")))]
pub const MAX_SOCKET_PATH: usize = 103;
/// The longest name of a Windows named pipe, in characters, `\\.\pipe\` included (CreateNamedPipe).
#[cfg(windows)]
pub const MAX_SOCKET_PATH: usize = 256;

/// Where everything of one application lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    home: PathBuf,
    application: String,
}

impl Layout {
    /// The layout of `application` under `home` ($COPO_HOME, absolute).
    #[must_use]
    pub fn new(home: &Path, application: &str) -> Self {
        Self { home: home.to_owned(), application: application.to_owned() }
    }

    /// $COPO_HOME itself.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Name of the application.
    #[must_use]
    pub fn application(&self) -> &str {
        &self.application
    }

    /// The application's folder.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.home.join(&self.application)
    }

    /// The Meta struct as people read it.
    #[must_use]
    pub fn reports(&self) -> PathBuf {
        self.root().join("reports.json")
    }

    /// Folder of the pid files.
    #[must_use]
    pub fn pids(&self) -> PathBuf {
        self.root().join("pids")
    }

    /// Pid file of one instance.
    #[must_use]
    pub fn pid(&self, internal_name: &str) -> PathBuf {
        self.pids().join(format!("{internal_name}.pid"))
    }

    /// Folder of the logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root().join("logs")
    }

    /// Log of one instance: exactly what it wrote to stdout and stderr.
    #[must_use]
    pub fn log(&self, internal_name: &str) -> PathBuf {
        self.logs().join(format!("{internal_name}.log"))
    }

    /// Where in the log which time stands; beside the log, rotated with it.
    #[must_use]
    pub fn log_times(&self, internal_name: &str) -> PathBuf {
        self.logs().join(format!("{internal_name}.times"))
    }

    /// The orchestrator's own folder.
    #[must_use]
    pub fn orchestrator(&self) -> PathBuf {
        self.root().join(ORCHESTRATOR)
    }

    /// The Server, as given to children in COPO_SOCKET: a path, or the name of a pipe on Windows.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.socket_of(ORCHESTRATOR, "sock")
    }

    /// The live stdio of one instance: a path, or the name of a pipe on Windows.
    #[must_use]
    pub fn stdio(&self, internal_name: &str) -> PathBuf {
        self.socket_of(internal_name, "stdio")
    }

    #[cfg(unix)]
    fn socket_of(&self, folder: &str, file: &str) -> PathBuf {
        self.root().join(folder).join(file)
    }

    #[cfg(windows)]
    fn socket_of(&self, folder: &str, file: &str) -> PathBuf {
        let suffix = if file == "sock" { "" } else { "-stdio" };
        let owner = crate::layout_windows::owner_hash(&self.home);
        PathBuf::from(format!(r"\\.\pipe\copo-{owner}-{}-{folder}{suffix}", self.application))
    }

    /// The orchestrator's own log.
    #[must_use]
    pub fn orchestrator_log(&self) -> PathBuf {
        self.orchestrator().join("log")
    }

    /// Held locked while an orchestrator lives; holds its pid and the path of its copo.toml.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.orchestrator().join("lock")
    }

    /// Folder of the context's segments.
    #[must_use]
    pub fn context(&self) -> PathBuf {
        self.orchestrator().join("context")
    }

    /// The longest socket path there is with instances of these names, for the check at load.
    #[must_use]
    pub fn longest_socket<'a>(&self, processes: impl Iterator<Item = (&'a str, u32)>) -> PathBuf {
        let instances = processes.map(|(process, instances)| self.stdio(&name::internal(process, instances)));
        instances.chain([self.socket()]).max_by_key(|path| path.as_os_str().len()).unwrap_or_else(|| self.socket())
    }
}

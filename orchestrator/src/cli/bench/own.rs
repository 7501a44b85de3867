//! What a measurement runs against: an orchestrator of its own, in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use copo_orchestrator::layout::Layout;
use copo_proto::env;
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::failure::{FAILED, Failure};

/// An orchestrator of the measurement's own; down, and its folder gone, when dropped.
pub struct Own {
    folder: TempDir,
    /// Where its server is.
    pub socket: PathBuf,
    /// Its process id.
    pub pid: u32,
}

impl Own {
    /// Starts one that runs this copo.toml.
    pub fn start(config: &str) -> Result<Self, Failure> {
        let mut own = Self::new()?;
        own.configure(config)?;
        own.up()?;
        Ok(own)
    }

    /// A place for one that is not started yet.
    pub fn new() -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| Failure::io("make a folder for the measurement", &error);
        // Nobody else may know its name before it is there, or look into it then.
        let folder = tempfile::Builder::new().prefix("copo-bench-").tempdir().map_err(cannot)?;
        let socket = Layout::new(folder.path(), "bench").socket();
        Ok(Self { folder, socket, pid: 0 })
    }

    /// Writes its copo.toml.
    pub fn configure(&self, config: &str) -> Result<(), Failure> {
        let path = self.folder().join("copo.toml");
        std::fs::write(&path, config).map_err(|error| Failure::io(format!("write {}", path.display()), &error))
    }

    /// Starts it.
    pub fn up(&mut self) -> Result<(), Failure> {
        self.copo(&["up", "-d"])?;
        self.find_pid()
    }

    /// Asks who it is now.
    pub fn find_pid(&mut self) -> Result<(), Failure> {
        let version: Value = serde_json::from_slice(&self.copo(&["version", "--json"])?).unwrap_or_default();
        self.pid = version["orchestrator"]["pid"].as_u64().and_then(|pid| pid.try_into().ok()).unwrap_or(0);
        Ok(())
    }

    /// Its folder, for what else the measurement needs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `copo` on it; gives what it printed.
    pub fn copo(&self, args: &[&str]) -> Result<Vec<u8>, Failure> {
        self.run(args, Stdio::inherit())
    }

    /// The same, in silence: it may have nobody to talk to.
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub fn ask(&self, args: &[&str]) -> Result<Vec<u8>, Failure> {
        self.run(args, Stdio::null())
    }

    fn run(&self, args: &[&str], stderr: Stdio) -> Result<Vec<u8>, Failure> {
        let cannot = |error: std::io::Error| Failure::io("run copo", &error);
        let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
        command.arg("-f").arg(self.folder().join("copo.toml")).args(args);
        command.env(env::HOME, self.folder()).env_remove(env::SOCKET).env_remove(env::TOKEN);
        let output = command.stdin(Stdio::null()).stderr(stderr).output().map_err(cannot)?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(Failure::new(FAILED, "cannot measure: the bench's own orchestrator did not do as told"))
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Whatever went wrong has been said already.
        let _ = self.copo(&["down", "-t", "0"]);
    }
}

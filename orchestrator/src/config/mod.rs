//! copo.toml as written → [`Plan`]. Errors point at file, line and column, several at once where they can be found
//! together, and suggest the nearest name.

mod error;

use std::path::{Path, PathBuf};

pub use error::{ConfigError, Position, Problem};

use crate::plan::Plan;

/// The name `copo` looks for.
pub const FILE_NAME: &str = "copo.toml";

/// Reads and checks the file at `path`. `home` is $COPO_HOME (absolute), under which the sockets will lie: their paths
/// must not be too long.
pub fn load(path: &Path, home: &Path) -> Result<Plan, ConfigError> {
    let _ = home;
    Err(ConfigError::whole(path, "cannot load the file".to_owned()))
}

/// The copo.toml of `start` or of the nearest folder above it that has one.
#[must_use]
pub fn find(start: &Path) -> Option<PathBuf> {
    start.ancestors().map(|folder| folder.join(FILE_NAME)).find(|path| path.is_file())
}

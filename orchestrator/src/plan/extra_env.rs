//! What of a process's environment stands neither in `env` nor in `env_file`: secrets and ports.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Variables that are more than a name and a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtraEnv {
    /// Variables, wherever they are set, whose values are never printed.
    pub secrets: BTreeSet<String>,
    /// Variables whose values are the contents of files (absolute paths), read at each start. They are secrets too.
    pub secret_files: BTreeMap<String, PathBuf>,
    /// The variable that holds the port of each instance.
    pub port: Option<Port>,
}

impl ExtraEnv {
    /// Is this variable's value never to be printed?
    #[must_use]
    pub fn is_secret(&self, name: &str) -> bool {
        self.secrets.contains(name) || self.secret_files.contains_key(name)
    }

    /// Is there any value that is never to be printed?
    #[must_use]
    pub fn has_secrets(&self) -> bool {
        !self.secrets.is_empty() || !self.secret_files.is_empty()
    }
}

/// A free loopback port for each instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The variable it is given in.
    pub env: String,
    /// The first that is free from this one on; `None`: any that is free.
    pub base: Option<u16>,
}

//! What a child finds in its environment (C1): the orchestrator's without any COPO_*, then `env_file`, `env`, and its own
//! COPO_*. COPO_HOME is kept. What a service manager said to the orchestrator alone (NOTIFY_SOCKET) is not handed on.
//! PATH ends with the folder of the `copo` binary, so that scripts find it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::{env, fs};

use copo_proto::env as names;

#[cfg(unix)]
use super::account::Credentials;
use super::probe;
use super::spawn::{SpawnError, why};
use crate::config::env_file::{self, EnvFileError};
use crate::plan::ProcessSpec;

/// A whole environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// What of the orchestrator's own environment (`vars_os`) every child gets.
    pub(super) fn inherited(own: impl Iterator<Item = (OsString, OsString)>, home: &Path) -> Self {
        let is_ours = |name: &OsStr| {
            let name = name.to_string_lossy();
            name.to_ascii_uppercase().starts_with("COPO_") || probe::OWN_VARIABLES.contains(&name.as_ref())
        };
        let mut inherited = Self { variables: own.filter(|(name, _)| !is_ours(name)).collect() };
        inherited.set(names::HOME, home);
        inherited
    }

    /// What a program finds that runs as this user; copo.toml may say otherwise.
    #[cfg(unix)]
    pub(super) fn become_user(&mut self, credentials: &Credentials) {
        if let Some(person) = &credentials.person {
            for (name, value) in
                [("HOME", &person.home), ("USER", &person.name), ("LOGNAME", &person.name), ("SHELL", &person.shell)]
            {
                self.set(name, value);
            }
        }
    }

    /// Adds what copo.toml says of one process; its `env_file` is read anew.
    pub(super) fn configured(mut self, spec: &ProcessSpec) -> Result<Self, SpawnError> {
        if let Some(path) = &spec.env_file {
            let text = fs::read_to_string(path)
                .map_err(|error| SpawnError::lasting(format!("env_file {}: {}", path.display(), why(&error))))?;
            let variables = env_file::parse(&text).map_err(|EnvFileError { line, why }| {
                // The reason quotes what stands there, which may be a secret.
                let is_quoted = !spec.extra_env.has_secrets();
                let why = if is_quoted { why } else { "it is no NAME=VALUE as it should be".to_owned() };
                SpawnError::lasting(format!("env_file {}:{line}: {why}", path.display()))
            })?;
            for (name, value) in variables {
                self.set(&name, value);
            }
        }
        for (name, value) in &spec.env {
            self.set(name, value);
        }
        for (name, path) in &spec.extra_env.secret_files {
            self.set(name, secret(path)?);
        }
        Ok(self)
    }

    /// Appends a folder to PATH, unless it is the last already.
    pub(super) fn append_to_path(&mut self, folder: &Path) {
        let path = self.get("PATH").map(OsStr::to_owned).unwrap_or_default();
        let mut folders: Vec<_> = env::split_paths(&path).filter(|known| !known.as_os_str().is_empty()).collect();
        if folders.last().is_some_and(|last| last == folder) {
            return;
        }
        folders.push(folder.to_owned());
        // A folder whose name holds a separator cannot stand in PATH.
        if let Ok(joined) = env::join_paths(folders) {
            self.set("PATH", &joined);
        }
    }

    pub(super) fn set(&mut self, name: &str, value: impl AsRef<OsStr>) {
        let name = self.key(name);
        self.variables.insert(name, value.as_ref().to_owned());
    }

    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(&self.key(name)).map(OsString::as_os_str)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.variables.iter()
    }

    /// The name as it is already written, where its case means nothing.
    fn key(&self, name: &str) -> OsString {
        if !cfg!(windows) {
            return name.into();
        }
        let known = self.variables.keys().find(|known| known.eq_ignore_ascii_case(name));
        known.cloned().unwrap_or_else(|| name.into())
    }
}

/// What stands in the file, without the line end that editors put behind it.
fn secret(path: &Path) -> Result<String, SpawnError> {
    let cannot = |why: String| SpawnError::lasting(format!("secret_file {}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| cannot(why(&error)))?;
    if text.contains('\0') {
        return Err(cannot("it holds a NUL character, which cannot be passed to a program".to_owned()));
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_copo_is_inherited_but_its_home() {
        let own = [("COPO_TOKEN", "secret"), ("COPO_HOME", "elsewhere"), ("LANG", "C"), ("PATH", "/bin:/usr/bin")];
        let own = own.into_iter().map(|(name, value)| (name.into(), value.into()));
        let mut environment = Environment::inherited(own, Path::new("/home/me/.copo"));

        environment.append_to_path(Path::new("/opt/copo"));
        environment.append_to_path(Path::new("/bin"));
        environment.append_to_path(Path::new("/bin"));

        let text = |name| environment.get(name).and_then(OsStr::to_str);
        assert_eq!(text("COPO_TOKEN"), None);
        assert_eq!(text("COPO_HOME"), Some("/home/me/.copo"));
        assert_eq!(text("LANG"), Some("C"));
        #[cfg(unix)]
        assert_eq!(text("PATH"), Some("/bin:/usr/bin:/opt/copo:/bin"));
    }
}

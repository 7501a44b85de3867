//! What a child finds in its environment (C1): the orchestrator's without any COPO_*, then `env_file`, `env`, and its own
//! COPO_*. COPO_HOME is kept. PATH ends with the folder of the `copo` binary, so that scripts find it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::{env, fs};

use copo_proto::env as names;

use super::spawn::{SpawnError, why};
use crate::plan::ProcessSpec;

/// A whole environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// What of the orchestrator's own environment (`vars_os`) every child gets.
    pub(super) fn inherited(own: impl Iterator<Item = (OsString, OsString)>, home: &Path) -> Self {
        let is_ours = |name: &OsStr| name.to_string_lossy().to_ascii_uppercase().starts_with("COPO_");
        let mut inherited = Self { variables: own.filter(|(name, _)| !is_ours(name)).collect() };
        inherited.set(names::HOME, home);
        inherited
    }

    /// Adds what copo.toml says of one process; its `env_file` is read anew.
    pub(super) fn configured(mut self, spec: &ProcessSpec) -> Result<Self, SpawnError> {
        if let Some(path) = &spec.env_file {
            let text = fs::read_to_string(path)
                .map_err(|error| SpawnError::lasting(format!("env_file {}: {}", path.display(), why(&error))))?;
            for (name, value) in
                parse(&text).map_err(|reason| SpawnError::lasting(format!("env_file {}:{reason}", path.display())))?
            {
                self.set(&name, &value);
            }
        }
        for (name, value) in &spec.env {
            self.set(name, value);
        }
        Ok(self)
    }

    /// Appends a folder to PATH, unless it is there already.
    pub(super) fn append_to_path(&mut self, folder: &Path) {
        let path = self.get("PATH").map(OsStr::to_owned).unwrap_or_default();
        let mut folders: Vec<_> = env::split_paths(&path).filter(|known| !known.as_os_str().is_empty()).collect();
        if folders.iter().any(|known| known == folder) {
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

/// Reads an env_file: `NAME=value` lines, `#` comments, an optional `export`, values in single or double quotes.
///
/// # Errors
/// "<line>: <why>".
fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut variables = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').ok_or(format!("{number}: there is no '=' in this line"))?;
        let name = name.trim_end();
        if name.is_empty() || name.contains(char::is_whitespace) || name.contains('\0') {
            return Err(format!("{number}: {name:?} is no name of a variable"));
        }
        let value = unquote(value.trim_start()).ok_or(format!("{number}: the quote is not closed"))?;
        variables.push((name.to_owned(), value));
    }
    Ok(variables)
}

/// The value without its quotes, and without a comment behind it; `None` when a quote is not closed.
fn unquote(value: &str) -> Option<String> {
    if let Some(rest) = value.strip_prefix('\'') {
        return rest.split_once('\'').map(|(inside, _)| inside.to_owned());
    }
    let Some(rest) = value.strip_prefix('"') else {
        let end = value.find(" #").unwrap_or(value.len());
        return Some(value[..end].trim_end().to_owned());
    };
    let mut inside = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return Some(inside),
            '\\' => match chars.next()? {
                'n' => inside.push('\n'),
                't' => inside.push('\t'),
                'r' => inside.push('\r'),
                other => inside.push(other),
            },
            other => inside.push(other),
        }
    }
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

        let text = |name| environment.get(name).and_then(OsStr::to_str);
        assert_eq!(text("COPO_TOKEN"), None);
        assert_eq!(text("COPO_HOME"), Some("/home/me/.copo"));
        assert_eq!(text("LANG"), Some("C"));
        #[cfg(unix)]
        assert_eq!(text("PATH"), Some("/bin:/usr/bin:/opt/copo"));
    }

    #[test]
    fn an_env_file_is_read_as_people_write_it() {
        let text = "# db\nHOST=localhost\n\nexport PORT = 5432 # default\nEMPTY=\nA='it is \"raw\" \\n'\nB=\"two\\nlines\" # x\n";
        let expected =
            [("HOST", "localhost"), ("PORT", "5432"), ("EMPTY", ""), ("A", "it is \"raw\" \\n"), ("B", "two\nlines")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(text), Ok(expected.to_vec()));
    }

    #[test]
    fn what_is_wrong_in_an_env_file_is_named_with_its_line() {
        assert_eq!(parse("A=1\nB"), Err("2: there is no '=' in this line".into()));
        assert_eq!(parse("A=\"open"), Err("1: the quote is not closed".into()));
        assert_eq!(parse("two words=1"), Err("1: \"two words\" is no name of a variable".into()));
    }
}

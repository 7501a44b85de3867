//! copo.toml as written → [`Plan`]. Errors point at file, line and column, several at once where they can be found
//! together, and suggest the nearest name.
//!
//! `read` makes text a `raw::RawFile` (one type per table; unknown keys and wrong types end there); `application` and
//! `process` make that the Plan (defaults, paths, and everything that only the whole file can tell).

mod application;
mod at;
mod attributes;
mod choice;
mod cycle;
mod dependences;
pub mod env_file;
mod error;
mod extra_env;
mod init;
mod process;
mod quantity;
mod raw;
mod read;
mod readiness;
mod restarts;
mod schedules;
mod schema;
mod stdin;
#[cfg(test)]
mod tests;
mod zone;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub use error::{ConfigError, Position, Problem};
pub use init::STARTER;
pub use schema::schema;

use crate::layout::{self, Layout};
use crate::plan::Plan;
use error::Found;

/// The name `copo` looks for.
pub const FILE_NAME: &str = "copo.toml";

/// Reads and checks the file at `path`. `home` is $COPO_HOME (absolute), under which the sockets will lie: their paths
/// must not be too long.
pub fn load(path: &Path, home: &Path) -> Result<Plan, ConfigError> {
    let cannot_read = |why: &dyn std::fmt::Display| ConfigError::whole(path, format!("cannot read the file: {why}"));
    let bytes = fs::read(path).map_err(|why| cannot_read(&reason(&why)))?;
    let config_path = absolute(path).map_err(|why| cannot_read(&why))?;
    let text = String::from_utf8(bytes).map_err(|why| not_utf8(path, &why))?;
    check(&text, config_path, home).map_err(|found| ConfigError::at(path, &text, found))
}

/// Keeps a copy of the file, which is right as it is now, for an orchestrator that takes another's place while it is not.
pub fn keep_copy(path: &Path, layout: &Layout) -> io::Result<()> {
    let new = layout.last_config().with_extension("new");
    let text = fs::read(path)?;
    layout::private_file().truncate(true).open(&new)?.write_all(&text)?;
    fs::rename(new, layout.last_config())
}

/// Reads and checks a copy of the file at `path`, as if it lay there.
pub fn load_copy(copy: &Path, path: &Path, home: &Path) -> Result<Plan, ConfigError> {
    let cannot_read = |why: &dyn std::fmt::Display| ConfigError::whole(copy, format!("cannot read the file: {why}"));
    let text = fs::read_to_string(copy).map_err(|why| cannot_read(&reason(&why)))?;
    let config_path = absolute(path).map_err(|why| cannot_read(&why))?;
    check(&text, config_path, home).map_err(|found| ConfigError::at(copy, &text, found))
}

/// All of [`load`] but the file.
fn check(text: &str, config_path: PathBuf, home: &Path) -> Result<Plan, Vec<Found>> {
    application::plan(read::read(text)?, config_path, home)
}

/// The copo.toml of `start` or of the nearest folder above it that has one.
#[must_use]
pub fn find(start: &Path) -> Option<PathBuf> {
    start.ancestors().map(|folder| folder.join(FILE_NAME)).find(|path| path.is_file())
}

/// In the words people know, where there are some.
fn reason(why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => why.to_string(),
    }
}

fn not_utf8(path: &Path, why: &std::string::FromUtf8Error) -> ConfigError {
    let valid = why.utf8_error().valid_up_to();
    let text = String::from_utf8_lossy(&why.as_bytes()[..valid]);
    let found = Found { span: valid..valid, message: "cannot read the file: it is not UTF-8 from here".to_owned() };
    ConfigError::at(path, &text, vec![found])
}

/// Two ways to the same folder are the same file: links and ".." on the way to it are resolved. The file itself may be
/// a link; what it says is relative to where it is found.
#[cfg(unix)]
fn absolute(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    match (absolute.parent(), absolute.file_name()) {
        (Some(folder), Some(file)) => Ok(fs::canonicalize(folder)?.join(file)),
        (Some(_) | None, _) => Ok(absolute),
    }
}

/// Windows resolves ".." by itself, and its canonical paths (`\\?\`) are refused by many programs.
#[cfg(windows)]
fn absolute(path: &Path) -> io::Result<PathBuf> {
    std::path::absolute(path)
}

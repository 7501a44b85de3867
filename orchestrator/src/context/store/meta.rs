//! The meta file: the little that holds for the whole log. JSON, a newline and its checksum; replaced by rename.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::layout;

const NAME: &str = "meta";

/// What holds for the whole log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::context) struct Meta {
    pub log_id: [u8; 16],
    /// The boot of the machine in which the log was last open.
    pub boot_id: String,
    /// It was closed, and all of it was on the disk.
    pub clean: bool,
    /// At least this Seq was given.
    pub head: u64,
    /// Records up to this Seq are purged.
    pub purged: u64,
    /// The file `reach` was made: it goes further than head and newest segments here.
    #[serde(default)]
    pub has_reach: bool,
    /// Number of each stream's newest segment.
    pub newest: BTreeMap<String, u64>,
    pub headers: Vec<String>,
    /// The headers of copo.toml when they last won.
    pub file_headers: Option<Vec<String>>,
    /// When and by whom the user-defined data last changed other than by a record that is still there.
    pub changed_at: u64,
    pub changed_by: String,
    /// Damage that was told already.
    pub told: Vec<String>,
}

/// The meta file of a folder; `None` in durability `memory`.
#[derive(Debug)]
pub(in crate::context) struct MetaFile(Option<PathBuf>);

impl MetaFile {
    pub fn memory() -> Self {
        Self(None)
    }

    pub fn folder(dir: &Path) -> Self {
        Self(Some(dir.join(NAME)))
    }

    /// What it holds; `Ok(None)` when there is no file, an error of kind InvalidData when it is damaged.
    pub fn read(&self) -> io::Result<Option<Meta>> {
        let Some(path) = &self.0 else { return Ok(None) };
        match fs::read_to_string(path) {
            Ok(text) => parse(&text).map(Some).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces it; with `synced` it is on the disk before this returns.
    pub fn write(&self, meta: &Meta, synced: bool) -> io::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        let json = serde_json::to_string(meta)?;
        let fresh = path.with_extension("new");
        let mut file = layout::private_file().truncate(true).open(&fresh)?;
        writeln!(file, "{json}\n{:08x}", crc32c::crc32c(json.as_bytes()))?;
        if synced {
            file.sync_all()?;
        }
        drop(file);
        fs::rename(fresh, path)?;
        match path.parent() {
            Some(dir) if synced => super::disk::sync_folder(dir),
            Some(_) | None => Ok(()),
        }
    }
}

fn parse(text: &str) -> Option<Meta> {
    let (json, checksum) = text.trim_end().rsplit_once('\n')?;
    let stored = u32::from_str_radix(checksum, 16).ok()?;
    (stored == crc32c::crc32c(json.as_bytes())).then(|| serde_json::from_str(json).ok()).flatten()
}

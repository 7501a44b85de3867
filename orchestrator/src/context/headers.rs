//! Headers: names of the fields of a record, and when the user-defined data last changed (C6).

use copo_proto::v1;

use super::{Context, StoreError};
use crate::layout::ORCHESTRATOR;

impl Context {
    /// The headers, and when and by whom the user-defined data last changed.
    #[must_use]
    pub fn headers(&self) -> v1::Headers {
        v1::Headers {
            headers: self.meta.headers.clone(),
            last_update: self.changed_at,
            last_update_by: self.changed_by.clone(),
        }
    }

    /// Replaces the headers; false when they were the same already.
    pub fn set_headers(&mut self, now: u64, by: &str, headers: Vec<String>) -> Result<bool, StoreError> {
        if headers == self.meta.headers {
            return Ok(false);
        }
        let before = std::mem::replace(&mut self.meta.headers, headers);
        self.changed(now, by);
        self.write_meta(self.is_synced()).inspect_err(|_| self.meta.headers = before)?;
        Ok(true)
    }

    /// Brings in the headers of copo.toml: they win when they changed since they last won. True when that changed the
    /// headers.
    pub fn apply_file_headers(&mut self, now: u64, file: Option<&[String]>) -> Result<bool, StoreError> {
        let Some(file) = file.filter(|file| self.meta.file_headers.as_deref() != Some(*file)) else { return Ok(false) };
        self.meta.file_headers = Some(file.to_vec());
        let changed = self.set_headers(now, ORCHESTRATOR, file.to_vec())?;
        if !changed {
            self.write_meta(self.is_synced())?;
        }
        Ok(changed)
    }

    /// The user-defined data changed.
    pub(super) fn changed(&mut self, now: u64, by: &str) {
        self.last_time = self.last_time.max(now);
        self.changed_at = self.last_time;
        by.clone_into(&mut self.changed_by);
    }
}

//! What may stand in a copo.toml, for editors: `copo schema`.

use super::raw::RawFile;

/// The JSON schema of copo.toml.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(RawFile).to_value()
}

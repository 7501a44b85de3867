//! What the Rust programs of the examples share.

//! The Copo SDK for Rust.

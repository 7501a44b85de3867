//! The binaries under test. `cargo test` does not build those of other packages: they are built here once per run, by
//! `cargo build` behind a file lock, and found by what cargo says of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The workspace's folder.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

/// Cargo's target folder of this run.
#[must_use]
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => workspace().join(dir),
        None => workspace().join("target"),
    }
}

/// The `copo` binary.
#[must_use]
pub fn copo() -> &'static Path {
    binary("copo")
}

/// The puppet: a child that does what its arguments say (see `src/bin/puppet.rs`).
#[must_use]
pub fn puppet() -> &'static Path {
    binary("puppet")
}

/// A binary of the workspace's default members.
#[must_use]
pub fn binary(name: &str) -> &'static Path {
    static BINARIES: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    let binaries = BINARIES.get_or_init(build_binaries);
    binaries.get(name).unwrap_or_else(|| panic!("the workspace has no binary {name}"))
}

fn build_binaries() -> BTreeMap<String, PathBuf> {
    let _held = hold_build_lock();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace()).args(["build", "--bins", "--message-format=json-render-diagnostics"]);
    strip_cargo_environment(&mut command);
    let output = command.stderr(Stdio::inherit()).output().expect("cargo can be run");
    assert!(output.status.success(), "cargo build --bins failed");
    let messages = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    messages.lines().filter_map(executable).collect()
}

fn executable(message: &str) -> Option<(String, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let path = message["executable"].as_str()?;
    Some((message["target"]["name"].as_str()?.to_owned(), PathBuf::from(path)))
}

/// Held while something is built, by whichever test program comes first; released when dropped.
#[must_use]
pub fn hold_build_lock() -> File {
    std::fs::create_dir_all(target()).expect("the target folder can be made");
    let lock = File::create(target().join("copo-tests.lock")).expect("the target folder is writable");
    lock.lock().expect("a file can be locked");
    lock
}

/// Takes away what the outer cargo says to its tests: a build tool called from here must not read it.
pub fn strip_cargo_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let is_cargo = text.starts_with("CARGO_") && !KEPT.contains(&text.as_ref());
        if is_cargo || text.starts_with("RUST_BACKTRACE") || text == "CARGO" {
            command.env_remove(&name);
        }
    }
}

/// What a person may have set for every cargo.
const KEPT: [&str; 6] = [
    "CARGO_HOME",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_JOBS",
    "CARGO_NET_OFFLINE",
    "CARGO_TERM_COLOR",
    "CARGO_INCREMENTAL",
];

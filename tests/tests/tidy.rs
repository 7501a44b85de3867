//! The house is as ARCHITECTURE.md says: who may import whom, what the pure rings may name, sizes, one version.

use std::path::{Path, PathBuf};

use copo_tests::build::workspace;

/// Folders and files of the decision ring and of the words: no clock, process, file, socket, thread or runtime.
const PURE: [&str; 3] = ["proto/src", "orchestrator/src/supervisor", "sdk-rust/src/session.rs"];

/// What the pure rings must not name.
const IMPURE: [&str; 11] = [
    "tokio",
    "std::process",
    "std::fs",
    "std::net",
    "std::thread",
    "std::io",
    "Instant::now",
    "SystemTime",
    "interprocess",
    "rustix",
    "libc::",
];

fn tracked_files() -> Vec<PathBuf> {
    let output = std::process::Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(workspace())
        .output()
        .expect("git lists the files");
    let text = String::from_utf8(output.stdout).expect("paths are UTF-8");
    text.split('\0')
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .filter(|path| workspace().join(path).is_file())
        .collect()
}

fn rust_files() -> Vec<(PathBuf, String)> {
    let is_ours =
        |path: &PathBuf| path.extension().is_some_and(|ext| ext == "rs") && !path.starts_with("proto/src/generated");
    tracked_files().into_iter().filter(is_ours).map(|path| (path.clone(), read(&path))).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(workspace().join(path))
        .unwrap_or_else(|why| panic!("cannot read {}: {why}", path.display()))
}

/// A file's code without comments and without its unit tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let product = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    product.lines().enumerate().map(|(i, line)| (i + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn is_test_file(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name == "tests.rs" || name.ends_with("_tests.rs") || path.iter().any(|part| part == "tests" || part == "benches")
}

#[test]
fn the_pure_rings_name_nothing_impure() {
    let mut found = Vec::new();
    for (path, text) in rust_files() {
        if is_test_file(&path) || !PURE.iter().any(|pure| path.starts_with(pure)) {
            continue;
        }
        for (line, code) in code(&text) {
            found.extend(
                IMPURE
                    .iter()
                    .filter(|word| code.contains(**word))
                    .map(|word| format!("{}:{line}: {word}", path.display())),
            );
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn only_the_driver_calls_the_supervisor() {
    let calls = |text: &str| code(text).any(|(_, line)| line.contains(".handle(Now") || line.contains("orc.handle("));
    let callers: Vec<PathBuf> = rust_files()
        .into_iter()
        .filter(|(path, text)| path.starts_with("orchestrator/src") && !is_test_file(path) && calls(text))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(callers, [PathBuf::from("orchestrator/src/runtime/driver.rs")]);
}

#[test]
fn packages_import_only_whom_they_may() {
    let allowed: [(&str, &[&str]); 8] = [
        ("proto", &[]),
        ("sdk-rust", &["copo-proto"]),
        ("orchestrator", &["copo-proto", "copo-sdk"]),
        ("sdk-c", &["copo-sdk"]),
        ("bindings-python", &["copo-sdk"]),
        ("bindings-node", &["copo-sdk"]),
        ("examples", &["copo-sdk"]),
        ("tests", &["copo-proto", "copo-sdk", "copo-orchestrator", "copo-c"]),
    ];
    for (folder, may) in allowed {
        let manifest = read(&Path::new(folder).join("Cargo.toml"));
        let dependencies = manifest.split("\n[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        let imported = dependencies
            .lines()
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .filter(|name| name.starts_with("copo-"));
        for name in imported {
            assert!(may.contains(&name), "{folder} must not import {name}");
        }
    }
}

#[test]
fn only_the_command_line_uses_the_sdk_inside_the_orchestrator() {
    let uses = |text: &str| code(text).any(|(_, line)| line.contains("use copo::") || line.contains(" copo::"));
    for (path, text) in rust_files() {
        let inside = path.starts_with("orchestrator/src") && !path.starts_with("orchestrator/src/cli");
        assert!(!inside || is_test_file(&path) || !uses(&text), "{} imports the SDK", path.display());
    }
}

#[test]
fn no_file_outgrows_its_room() {
    let long: Vec<String> = rust_files()
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > 400)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "split by noun: {long:#?}");
}

#[test]
fn there_is_one_version() {
    let version = env!("CARGO_PKG_VERSION");
    for (path, line) in [
        ("bindings-python/pyproject.toml", format!("version = \"{version}\"")),
        ("bindings-node/package.json", format!("\"version\": \"{version}\"")),
        ("CHANGELOG.md", format!("## {version}")),
    ] {
        assert!(read(Path::new(path)).contains(&line), "{path} lacks {line}");
    }
}

#[test]
fn the_top_level_is_fixed() {
    let fixed = ["bindings-node", "bindings-python", "examples", "orchestrator", "proto", "sdk-c", "sdk-rust", "tests"];
    for path in tracked_files() {
        let top = path.iter().next().and_then(|part| part.to_str()).expect("a path has a first part");
        let is_folder = path.iter().count() > 1;
        assert!(!is_folder || top.starts_with('.') || fixed.contains(&top), "{} is in no package", path.display());
    }
}

#[test]
fn lock_files_hold_no_download_addresses() {
    for path in tracked_files().iter().filter(|path| path.ends_with("package-lock.json")) {
        assert!(!read(path).contains("\"resolved\": \"http"), "{} names addresses", path.display());
    }
}

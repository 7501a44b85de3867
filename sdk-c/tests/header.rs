//! The committed include/copo.h is what the sources say (run with `COPO_BLESS=1` to write it anew), and a C99 and a C++17
//! compiler take it without a warning.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The sources in the order of a reader of the header; the enums stand in proto's generated file alone.
const SOURCES: [&str; 9] = [
    "../proto/src/generated/copo.v1.rs",
    "src/error.rs",
    "src/handle.rs",
    "src/client.rs",
    "src/text.rs",
    "src/item.rs",
    "src/udd.rs",
    "src/subscription.rs",
    "src/meta.rs",
];

fn generate() -> String {
    let mut config = cbindgen::Config::from_root_or_default(root());
    assert!(config.export.include.contains(&"ErrorCode".to_owned()), "cbindgen.toml was read");
    config.header = Some(conventions());
    let builder = SOURCES
        .iter()
        .fold(cbindgen::Builder::new().with_config(config), |builder, source| builder.with_src(root().join(source)));
    let mut header = Vec::new();
    builder.generate().expect("the sources can be read").write(&mut header);
    without_safety(&String::from_utf8(header).expect("UTF-8"))
}

/// The page at the top of lib.rs as a C comment.
fn conventions() -> String {
    let source = fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs can be read");
    let page = source.lines().map_while(|line| line.strip_prefix("//!"));
    let lines = page.map(|line| format!(" *{line}").trim_end().to_owned()).collect::<Vec<_>>().join("\n");
    format!(
        "/*\n{lines}\n *\n * Made by cbindgen from the sources of sdk-c: COPO_BLESS=1 cargo test -p copo-c --test header\n */"
    )
}

/// The `# Safety` paragraphs are for Rust's readers: to C's the conventions are the contract.
fn without_safety(header: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut is_safety = false;
    for line in header.lines().map(str::trim_end) {
        is_safety = line.starts_with("//") && (is_safety || line == "// # Safety");
        if is_safety {
            kept.pop_if(|last| *last == "//"); // The empty line before the paragraph.
        } else {
            kept.push(line);
        }
    }
    kept.join("\n") + "\n"
}

#[test]
fn the_committed_header_is_what_the_sources_say() {
    let path = root().join("include/copo.h");
    let header = generate();
    if env::var_os("COPO_BLESS").is_some() {
        fs::write(&path, &header).expect("the source folder is writable");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert!(
        committed == header,
        "{} is out of date: run COPO_BLESS=1 cargo test -p copo-c --test header",
        path.display()
    );
}

#[test]
fn every_exported_function_and_every_error_code_stands_in_it() {
    let header = fs::read_to_string(root().join("include/copo.h")).expect("the header is committed");
    for source in SOURCES.iter().filter(|source| source.starts_with("src/")) {
        let source = fs::read_to_string(root().join(source)).expect("a source can be read");
        for name in source.split("extern \"C\" fn ").skip(1).filter_map(|rest| rest.split('(').next()) {
            assert!(header.contains(&format!("{name}(")), "{name} is not in copo.h");
        }
    }
    for code in (0..).map_while(|number| copo::ErrorCode::try_from(number).ok()) {
        let line = format!("COPO_{} = {},", code.as_str_name(), code as i32);
        assert!(header.contains(&line), "{line} is not in copo.h");
    }
}

/// A program that uses the header, translated without linking. `None`: there is no such compiler here.
fn compile(compiler: &str, standard: &str, name: &str) -> Option<Output> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let source = folder.path().join(name);
    fs::write(&source, PROGRAM).expect("the temporary folder is writable");
    Command::new(compiler)
        .args([standard, "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "-I"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("include"))
        .arg(source)
        .output()
        .ok()
}

const PROGRAM: &str = r#"
#include <copo.h>
#include <copo.h> /* twice: it guards itself */
#include <string.h>

int main(void) {
    CopoClient *client = NULL;
    CopoSubscription *subscription = NULL;
    CopoSubscribeOptions options;
    CopoItem item;
    memset(&options, 0, sizeof options);
    options.from = COPO_FROM_FIRST;
    if (copo_connect(&client) != COPO_ERROR_CODE_OK) return 1;
    if (copo_udd_send(client, "21.5", 4) == COPO_ERROR_CODE_FENCED) return 2;
    if (copo_udd_subscribe(client, &options, &subscription) != 0) return 3;
    while (copo_udd_next(subscription, -1, &item) == 0) {
        if (item.kind == COPO_ITEM_GAP && item.gap.cause == COPO_GAP_CAUSE_TRIMMED) return 4;
        if (item.kind == COPO_ITEM_REPORT && item.report.facts.event == COPO_EVENT_KIND_EXITED) break;
    }
    copo_subscription_free(subscription);
    copo_client_free(client);
    return 0;
}
"#;

fn compiles(compiler: &str, standard: &str, name: &str) {
    match compile(compiler, standard, name) {
        Some(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        None if env::var_os("CI").is_some() => panic!("there is no {compiler}"),
        None => eprintln!("ignored, no {compiler}"),
    }
}

#[test]
#[cfg(unix)]
fn a_c99_compiler_takes_it() {
    compiles("cc", "-std=c99", "program.c");
}

#[test]
#[cfg(unix)]
fn a_cpp17_compiler_takes_it() {
    compiles("c++", "-std=c++17", "program.cpp");
}

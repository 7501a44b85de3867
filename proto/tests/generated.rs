//! The committed `src/generated/copo.v1.rs` is what the `.proto` files say; run with `COPO_BLESS=1` to write it anew.

use std::path::Path;

fn generate() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["error", "context", "control", "session"].map(|name| root.join(format!("copo/v1/{name}.proto")));
    let descriptors = protox::compile(files, [root]).expect("the .proto files compile");
    let out = tempfile();
    prost_build::Config::new().bytes(["."]).out_dir(&out).compile_fds(descriptors).expect("the descriptors generate");
    let code = std::fs::read_to_string(out.join("copo.v1.rs")).expect("one file for the one package");
    std::fs::remove_dir_all(&out).expect("the folder made above can be removed");
    code
}

fn tempfile() -> std::path::PathBuf {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("generated-{}", std::process::id()));
    std::fs::create_dir_all(&out).expect("cargo's own temporary folder is writable");
    out
}

#[test]
fn the_committed_code_is_what_the_proto_files_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/generated/copo.v1.rs");
    let code = generate();
    if std::env::var_os("COPO_BLESS").is_some() {
        std::fs::write(&path, &code).expect("the source folder is writable");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == code, "{} is out of date: run COPO_BLESS=1 cargo test -p copo-proto", path.display());
}

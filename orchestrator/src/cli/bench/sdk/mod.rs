//! The other SDKs: their programs for the roles of a publisher and a subscriber, and what runs them. The programs are part
//! of this binary; the SDKs they use are built from the sources, and one that is not there is told with what builds it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::ValueEnum;

use crate::cli::failure::{FAILED, Failure};

/// Whose SDK publishes and follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sdk {
    /// The Rust SDK.
    Rust,
    /// The C SDK: a prefix that sdk-c/install.sh has made.
    C,
    /// The Python SDK: an interpreter that can import it.
    Python,
    /// The Node SDK: the folder of its package.
    Node,
}

impl Sdk {
    /// As typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Python => "python",
            Self::Node => "node",
        }
    }

    /// Where it is looked for unless told.
    fn default_path(self) -> &'static str {
        match self {
            Self::Rust => "",
            Self::C => "target/sdk/c",
            Self::Python => "target/sdk/python/bin/python",
            Self::Node => "bindings-node",
        }
    }

    /// What builds it there, in a clone of the sources.
    fn build(self) -> &'static str {
        match self {
            Self::Rust => "",
            Self::C => "sdk-c/install.sh target/sdk/c",
            Self::Python => "python3 -m venv target/sdk/python && target/sdk/python/bin/pip install ./bindings-python",
            Self::Node => "(cd bindings-node && npm ci && npm run build)",
        }
    }
}

/// A program that does what `copo bench role` does.
#[derive(Debug, Clone)]
pub struct Program {
    command: Vec<OsString>,
    env: Option<(&'static str, PathBuf)>,
}

impl Program {
    /// The command, without its arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).envs(self.env.clone());
        command
    }
}

/// Puts the SDK's program into `folder`; `None`: this binary is the program.
pub fn prepare(sdk: Sdk, path: Option<&Path>, folder: &Path) -> Result<Option<Program>, Failure> {
    let path = path.unwrap_or_else(|| Path::new(sdk.default_path()));
    let missing = |what: &str| {
        let (name, path, build) = (sdk.name(), path.display(), sdk.build());
        let message =
            format!("cannot measure the {name} SDK: {what} ({path}); in a clone of the sources build it by: {build}");
        Failure::new(FAILED, message)
    };
    let write = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).map_err(|error| Failure::io(format!("write {}", file.display()), &error))?;
        Ok::<_, Failure>(file)
    };
    match sdk {
        Sdk::Rust => Ok(None),
        Sdk::C => {
            if !path.join("include/copo.h").exists() {
                return Err(missing("its header is not there"));
            }
            let program = folder.join("bench-c");
            compile(path, &write("bench.c", include_str!("bench.c"))?, &program)?;
            Ok(Some(Program { command: vec![program.into()], env: None }))
        }
        Sdk::Python => {
            if !is_done(Command::new(path).args(["-c", "import copo"])) {
                return Err(missing("no interpreter is there that can import it"));
            }
            let script = write("bench.py", include_str!("bench.py"))?;
            Ok(Some(Program { command: vec![path.into(), script.into()], env: None }))
        }
        Sdk::Node => {
            let package = std::path::absolute(path).unwrap_or_default();
            if !is_done(Command::new("node").arg("-e").arg("require(process.argv[1])").arg(&package)) {
                return Err(missing("node finds no built package there"));
            }
            let script = write("bench.mjs", include_str!("bench.mjs"))?;
            Ok(Some(Program { command: vec!["node".into(), script.into()], env: Some(("COPO_BENCH_NODE", package)) }))
        }
    }
}

fn compile(prefix: &Path, source: &Path, program: &Path) -> Result<(), Failure> {
    let library = std::path::absolute(prefix.join("lib")).unwrap_or_default();
    let mut command = Command::new("cc");
    command.args(["-std=c99", "-O2"]).arg(source).arg("-o").arg(program);
    command.arg(format!("-I{}", prefix.join("include").display())).arg(format!("-L{}", library.display()));
    command.arg("-lcopo").arg(format!("-Wl,-rpath,{}", library.display()));
    let compiled = command.stderr(Stdio::inherit()).status();
    match compiled {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            Err(Failure::new(FAILED, format!("cannot compile the bench's C program: cc ended with {status}")))
        }
        Err(error) => Err(Failure::io("run the C compiler cc", &error)),
    }
}

fn is_done(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sdk_that_is_not_built_is_told_with_what_builds_it() {
        let folder = tempfile::tempdir().expect("a folder");
        for sdk in [Sdk::C, Sdk::Python, Sdk::Node] {
            let why = prepare(sdk, Some(&folder.path().join("none")), folder.path())
                .expect_err("not built")
                .message
                .unwrap_or_default();
            assert!(why.contains(sdk.build()), "{why}");
        }
        assert!(prepare(Sdk::Rust, None, folder.path()).expect("always there").is_none());
    }
}

//! The languages, and how each one's actor is built: every tool with a target folder of its own under `target/`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use copo_tests::build::{binary, copo, hold_build_lock, strip_cargo_environment, target, workspace};

/// A language of the SDKs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Rust,
    C,
    Python,
    Node,
}

/// All of them.
pub const ALL: [Language; 4] = [Language::Rust, Language::C, Language::Python, Language::Node];

/// How an actor is run.
pub struct Actor {
    /// The program.
    pub program: PathBuf,
    /// The script, when the program is an interpreter.
    pub script: Option<PathBuf>,
}

/// Why a language's actor could not be built.
pub enum Unready {
    /// A tool is not on this machine.
    Missing(&'static str),
    /// A step failed; what it printed.
    Failed(String),
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(tool) => write!(f, "there is no {tool} on this machine"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl Language {
    /// As the scenarios' names begin.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Python => "python",
            Self::Node => "node",
        }
    }

    /// Builds the actor.
    pub fn prepare(self) -> Result<Actor, Unready> {
        match self {
            Self::Rust => Ok(Actor { program: binary("actor").to_owned(), script: None }),
            Self::C => c(),
            Self::Python => python(),
            Self::Node => node(),
        }
    }
}

impl Language {
    /// The language's own tests of what only it has, beside the common scenarios.
    pub fn own_suite(self, actor: &Actor) -> Option<Command> {
        match self {
            Self::Python => {
                let mut suite = Command::new(&actor.program);
                suite.args(["-B", "-m", "unittest", "discover", "-s"]).arg(workspace().join("bindings-python/tests"));
                suite.env("COPO_BIN", copo());
                Some(suite)
            }
            Self::Rust | Self::C | Self::Node => None,
        }
    }
}

fn actors() -> PathBuf {
    workspace().join("tests/actors")
}

/// A folder under `target/` for one language's products.
fn folder(name: &str) -> PathBuf {
    let folder = target().join("languages").join(name);
    std::fs::create_dir_all(&folder).expect("the target folder is writable");
    folder
}

fn need(tool: &'static str) -> Result<(), Unready> {
    let found = Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success());
    if found { Ok(()) } else { Err(Unready::Missing(tool)) }
}

fn step(what: &str, command: &mut Command) -> Result<(), Unready> {
    println!("  {what}");
    strip_cargo_environment(command);
    let output = command.output().map_err(|why| Unready::Failed(format!("cannot {what}: {why}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(Unready::Failed(format!("cannot {what}:\n{}", String::from_utf8_lossy(&said))))
}

fn c() -> Result<Actor, Unready> {
    need("cc")?;
    let _held = hold_build_lock();
    let out = folder("c");
    step(
        "install the C library",
        Command::new("sh")
            .arg(workspace().join("sdk-c/install.sh"))
            .arg(&out)
            .env("COPO_PROFILE", "dev")
            .env("CARGO_TARGET_DIR", target()),
    )?;
    let program = out.join("actor");
    let library = out.join("lib");
    step(
        "compile actor.c",
        Command::new("cc")
            .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1"])
            .arg(format!("-I{}", out.join("include").display()))
            .arg(actors().join("actor.c"))
            .args(["-o".into(), program.clone(), format!("-L{}", library.display()).into(), "-lcopo".into()])
            .arg(format!("-Wl,-rpath,{}", library.display())),
    )?;
    Ok(Actor { program, script: None })
}

fn python() -> Result<Actor, Unready> {
    need("python3")?;
    let _held = hold_build_lock();
    let out = folder("python");
    let python = out.join("venv/bin/python");
    if !python.exists() {
        step("make a virtual environment", Command::new("python3").args(["-m", "venv"]).arg(out.join("venv")))?;
    }
    let pip = |args: &[&str]| {
        let mut command = Command::new(&python);
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(args);
        command
    };
    if !out.join("venv/bin/maturin").exists() {
        step("install maturin", &mut pip(&["maturin>=1.16,<2"]))?;
    }
    let wheels = out.join("wheels");
    let _ = std::fs::remove_dir_all(&wheels);
    step(
        "build the wheel",
        Command::new(&python)
            .args(["-m", "maturin", "build", "--quiet", "--manifest-path"])
            .arg(workspace().join("bindings-python/Cargo.toml"))
            .arg("--target-dir")
            .arg(target().join("python"))
            .arg("--out")
            .arg(&wheels),
    )?;
    let wheel = only_file(&wheels)?;
    step("install the wheel", pip(&["--force-reinstall", "--no-deps"]).arg(wheel))?;
    Ok(Actor { program: python, script: Some(actors().join("actor.py")) })
}

fn only_file(folder: &Path) -> Result<PathBuf, Unready> {
    let found = std::fs::read_dir(folder).ok().and_then(|mut entries| entries.next()?.ok());
    found.map(|entry| entry.path()).ok_or_else(|| Unready::Failed(format!("nothing was built in {}", folder.display())))
}

fn node() -> Result<Actor, Unready> {
    need("node")?;
    need("npm")?;
    let _held = hold_build_lock();
    let out = folder("node");
    // A copy of the package, so that nothing is written into the sources and no running program's addon is replaced.
    let package = out.join("node_modules/copo");
    std::fs::create_dir_all(&package).expect("the target folder is writable");
    let source = workspace().join("bindings-node");
    for file in ["package.json", "package-lock.json", "index.js", "index.mjs", "index.d.ts"] {
        std::fs::copy(source.join(file), package.join(file)).expect("the package's files can be copied");
    }
    if !package.join("node_modules/.package-lock.json").exists() {
        step(
            "install the build tools",
            Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&package),
        )?;
    }
    step(
        "build the addon",
        Command::new("npx")
            .args(["napi", "build", "--platform", "--js", "native.js", "--dts", "native.d.ts"])
            .arg("--manifest-path")
            .arg(source.join("Cargo.toml"))
            .arg("--package-json-path")
            .arg(package.join("package.json"))
            .arg("--output-dir")
            .arg(&package)
            .arg("--target-dir")
            .arg(target().join("node"))
            .current_dir(&package),
    )?;
    let script = out.join("actor.mjs");
    std::fs::copy(actors().join("actor.mjs"), &script).expect("the actor can be copied");
    Ok(Actor { program: "node".into(), script: Some(script) })
}

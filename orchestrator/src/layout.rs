//! The paths under COPO_HOME, in one place.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use copo_proto::name;

/// The name the orchestrator itself goes by, in paths and in `sent_by`.
pub const ORCHESTRATOR: &str = "orchestrator";

/// The longest path a Unix domain socket may have, in bytes, the closing NUL not counted (sockaddr_un.sun_path).
#[cfg(target_os = "linux")]
pub const MAX_SOCKET_PATH: usize = 107;
/// The longest path a Unix domain socket may have, in bytes, the closing NUL not counted (sockaddr_un.sun_path).
#[cfg(all(unix, not(target_os = "linux")))]
pub const MAX_SOCKET_PATH: usize = 103;
/// The longest name of a Windows named pipe, in characters, `\\.\pipe\` included (CreateNamedPipe).
#[cfg(windows)]
pub const MAX_SOCKET_PATH: usize = 256;

/// Where everything of one application lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    home: PathBuf,
    application: String,
}

impl Layout {
    /// The layout of `application` under `home` ($COPO_HOME, absolute).
    #[must_use]
    pub fn new(home: &Path, application: &str) -> Self {
        Self { home: home.to_owned(), application: application.to_owned() }
    }

    /// $COPO_HOME itself.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Name of the application.
    #[must_use]
    pub fn application(&self) -> &str {
        &self.application
    }

    /// The application's folder.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.home.join(&self.application)
    }

    /// The Meta struct as people read it.
    #[must_use]
    pub fn reports(&self) -> PathBuf {
        self.root().join("reports.json")
    }

    /// Folder of the pid files.
    #[must_use]
    pub fn pids(&self) -> PathBuf {
        self.root().join("pids")
    }

    /// Pid file of one instance.
    #[must_use]
    pub fn pid(&self, internal_name: &str) -> PathBuf {
        self.pids().join(format!("{internal_name}.pid"))
    }

    /// Folder of the logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root().join("logs")
    }

    /// Log of one instance: exactly what it wrote to stdout and stderr.
    #[must_use]
    pub fn log(&self, internal_name: &str) -> PathBuf {
        self.logs().join(format!("{internal_name}.log"))
    }

    /// Where in the log which time stands; beside the log, rotated with it.
    #[must_use]
    pub fn log_times(&self, internal_name: &str) -> PathBuf {
        self.logs().join(format!("{internal_name}.times"))
    }

    /// The orchestrator's own folder.
    #[must_use]
    pub fn orchestrator(&self) -> PathBuf {
        self.root().join(ORCHESTRATOR)
    }

    /// The Server, as given to children in COPO_SOCKET: a path, or the name of a pipe on Windows.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        #[cfg(unix)]
        return self.orchestrator().join("sock");
        #[cfg(windows)]
        self.pipe(|owner| owner.server())
    }

    /// The live stdio of one instance: a path, or the name of a pipe on Windows.
    #[must_use]
    pub fn stdio(&self, internal_name: &str) -> PathBuf {
        #[cfg(unix)]
        return self.root().join(internal_name).join("stdio");
        #[cfg(windows)]
        self.pipe(|owner| owner.stdio(internal_name))
    }

    /// One of this application's pipes.
    ///
    /// # Panics
    /// When Windows does not tell who runs this process; without that no pipe has a name.
    #[cfg(windows)]
    fn pipe(&self, name: impl FnOnce(&crate::pipe_name::Owner<'_>) -> String) -> PathBuf {
        let sid = crate::windows_user::own_sid();
        let sid = sid.unwrap_or_else(|why| panic!("cannot ask Windows for this process's user: {why}"));
        let home = std::path::absolute(&self.home).unwrap_or_else(|_| self.home.clone());
        PathBuf::from(name(&crate::pipe_name::Owner { sid: &sid, home: &home, application: &self.application }))
    }

    /// A link to the terminal of one instance: there while it runs with one.
    #[cfg(unix)]
    #[must_use]
    pub fn terminal(&self, internal_name: &str) -> PathBuf {
        self.root().join(internal_name).join("tty")
    }

    /// Where a run of one instance says how it does, as sd_notify(3) does it.
    #[must_use]
    pub fn notify(&self, internal_name: &str) -> PathBuf {
        self.root().join(internal_name).join("notify")
    }

    /// The orchestrator's own log.
    #[must_use]
    pub fn orchestrator_log(&self) -> PathBuf {
        self.orchestrator().join("log")
    }

    /// Held locked while an orchestrator lives; holds its pid and the path of its copo.toml.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.orchestrator().join("lock")
    }

    /// Held locked while a keeper lives; holds its pid.
    #[must_use]
    pub fn keeper(&self) -> PathBuf {
        self.orchestrator().join("keeper")
    }

    /// The copo.toml as the orchestrator has last read it, for one that takes its place while the file is broken.
    #[must_use]
    pub fn last_config(&self) -> PathBuf {
        self.orchestrator().join("copo.toml")
    }

    /// What the orchestrator writes down for the one that follows it, should it be killed.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.orchestrator().join("state")
    }

    /// Which pipe much output passes through on its way into the logs, and whose lies in it.
    #[must_use]
    pub fn side(&self) -> PathBuf {
        self.orchestrator().join("side")
    }

    /// What the next orchestrator is to know of schedules.
    #[must_use]
    pub fn schedules(&self) -> PathBuf {
        self.orchestrator().join("schedules")
    }

    /// Folder of the context's segments.
    #[must_use]
    pub fn context(&self) -> PathBuf {
        self.orchestrator().join("context")
    }

    /// The longest socket path there is with instances of these names, for the check at load.
    #[must_use]
    pub fn longest_socket<'a>(&self, processes: impl Iterator<Item = (&'a str, u32)>) -> PathBuf {
        let instances = processes.map(|(process, instances)| self.stdio(&name::internal(process, instances)));
        instances.chain([self.socket()]).max_by_key(|path| path.as_os_str().len()).unwrap_or_else(|| self.socket())
    }
}

/// The variable that holds the user's own folder.
const OWN_FOLDER: &str = if cfg!(windows) { "USERPROFILE" } else { "HOME" };

/// Where everything lies: $COPO_HOME made absolute, or `.copo` in the user's own folder ($HOME; %USERPROFILE% on
/// Windows).
pub fn home() -> io::Result<PathBuf> {
    home_of(std::env::var_os(copo_proto::env::HOME), std::env::var_os(OWN_FOLDER))
}

/// [`home`] of what the two variables hold.
fn home_of(copo_home: Option<OsString>, own_folder: Option<OsString>) -> io::Result<PathBuf> {
    if let Some(home) = copo_home.filter(|home| !home.is_empty()).map(PathBuf::from) {
        return std::path::absolute(&home).map_err(|why| told(&why, format!("cannot use COPO_HOME {home:?}: {why}")));
    }
    match own_folder.map(PathBuf::from) {
        Some(own) if own.is_absolute() => Ok(own.join(".copo")),
        Some(_) | None => Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("cannot find a place for Copo's files: neither COPO_HOME nor {OWN_FOLDER} says an absolute path"),
        )),
    }
}

/// Makes the folders that are there before anything runs, for this user alone (0700).
pub fn prepare(layout: &Layout) -> io::Result<()> {
    make_private(layout.home(), false)?;
    // Somebody's own choice of home may be open to others; the application's folder inside never is.
    make_private(&layout.root(), true)?;
    for folder in [layout.pids(), layout.logs(), layout.orchestrator()] {
        make_private(&folder, true)?;
    }
    Ok(())
}

/// Makes the folder and those above it; one that is there is closed to others when `close` says so.
fn make_private(folder: &Path, close: bool) -> io::Result<()> {
    let is_there = folder.is_dir();
    let made = if is_there { Ok(()) } else { create_private(folder) };
    let closed = made.and_then(|()| if is_there && close { close_to_others(folder) } else { Ok(()) });
    closed.map_err(|why| told(&why, format!("cannot make the folder {}: {why}", folder.display())))
}

/// How a file that only its owner may read is opened; it is made if it is not there.
#[must_use]
pub fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes a folder, and those above it, that only its owner may look into.
///
/// # Errors
/// It cannot be made.
pub fn private_folder(folder: &Path) -> io::Result<()> {
    create_private(folder)
}

fn told(why: &io::Error, message: String) -> io::Error {
    io::Error::new(why.kind(), message)
}

#[cfg(unix)]
fn create_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(unix)]
fn close_to_others(folder: &Path) -> io::Result<()> {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(folder)?.permissions().mode();
    if mode & 0o077 == 0 { Ok(()) } else { std::fs::set_permissions(folder, Permissions::from_mode(0o700)) }
}

#[cfg(windows)]
use crate::windows_user::{close_to_others, create_private};

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;

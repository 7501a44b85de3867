//! Which application is meant, and how to reach its orchestrator (C1): `-a`, then `-f`, then COPO_SOCKET inside a run,
//! then copo.toml here or upwards.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use copo::{Client, ErrorCode};
use copo_orchestrator::config;
use copo_orchestrator::layout::{self, Layout};
use copo_orchestrator::plan::Plan;
use copo_orchestrator::runtime::lock;
use copo_proto::{env as variable, name};

use super::args::Place;
use super::failure::{FAILED, Failure, NO_ORCHESTRATOR, USAGE};

/// A keeper has another orchestrator answering within this time, or not at all.
const REVIVED_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked whether it does.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// One application and the way to its orchestrator.
#[derive(Debug)]
pub struct Target {
    /// Its files.
    pub layout: Layout,
    /// The Server; the layout's own, unless the environment names another.
    socket: PathBuf,
    /// The token of the run that speaks, if this is the run's own orchestrator.
    token: Option<String>,
}

/// Finds the application by everything C1 names.
pub fn target(place: &Place) -> Result<Target, Failure> {
    let is_named = place.application.is_some() || place.file.is_some();
    if let Some(socket) = own_socket().filter(|_| !is_named) {
        return Ok(Target { layout: layout_of(&socket)?, token: own_token(), socket });
    }
    let layout = Layout::new(&home()?, &application(place)?);
    let socket = layout.socket();
    // A token is shown only to the orchestrator that gave it: any other would refuse it.
    let token = if own_socket().as_ref() == Some(&socket) { own_token() } else { None };
    Ok(Target { layout, socket, token })
}

impl Target {
    /// The application of these files, spoken to as a person.
    pub fn of(layout: Layout) -> Self {
        Self { socket: layout.socket(), layout, token: None }
    }

    /// Connects, as the run this command is called in or as a person. An orchestrator that was killed is waited for as
    /// long as its keeper may be starting another one.
    pub fn connect(&self) -> Result<Client, Failure> {
        let since = Instant::now();
        loop {
            match self.try_connect() {
                Err(failure)
                    if failure.code == NO_ORCHESTRATOR
                        && since.elapsed() < REVIVED_WITHIN
                        && lock::keeper(&self.layout).is_some() =>
                {
                    thread::sleep(LOOK_AGAIN);
                }
                other => return other,
            }
        }
    }

    fn try_connect(&self) -> Result<Client, Failure> {
        let socket = self.socket.to_str().ok_or_else(|| {
            Failure::new(FAILED, format!("cannot connect to {}: the path is not UTF-8", self.socket.display()))
        })?;
        let options = Client::options().socket(socket).token(self.token.as_deref().unwrap_or_default());
        let sdk = concat!("cli/", env!("CARGO_PKG_VERSION"));
        options.name("cli").sdk(sdk).connect().map_err(|error| match error.code() {
            ErrorCode::NoOrchestrator => self.nobody(),
            _ => error.into(),
        })
    }

    /// As [`Self::connect`]; `None` when there is no orchestrator.
    pub fn connect_if_up(&self) -> Result<Option<Client>, Failure> {
        match self.connect() {
            Ok(client) => Ok(Some(client)),
            Err(failure) if failure.code == NO_ORCHESTRATOR => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// What is said when there is no orchestrator.
    pub fn nobody(&self) -> Failure {
        let application = self.layout.application();
        let message = format!("no orchestrator is running for application {application} (copo up starts one)");
        Failure::new(NO_ORCHESTRATOR, message)
    }
}

/// The copo.toml that `up`, `check` and `init` mean: `-f`, or the one here or upwards. COPO_* does not count.
pub fn config_path(place: &Place) -> Result<PathBuf, Failure> {
    if let Some(file) = &place.file {
        return std::path::absolute(file).map_err(|why| Failure::io(format!("find {}", file.display()), &why));
    }
    let here = env::current_dir().map_err(|why| Failure::io("read the name of this folder", &why))?;
    config::find(&here).ok_or_else(|| {
        let name = config::FILE_NAME;
        let hint = "copo init writes one; -f PATH or -a NAME say which application is meant";
        Failure::new(USAGE, format!("cannot find {name} in {} or above: there is none ({hint})", here.display()))
    })
}

/// The checked configuration that `up` and `check` mean.
pub fn plan(place: &Place) -> Result<Plan, Failure> {
    let path = config_path(place)?;
    let plan = config::load(&path, &home()?).map_err(|error| Failure::new(USAGE, config_message(&error)))?;
    match &place.application {
        Some(wanted) if *wanted != plan.application => {
            let (path, found) = (path.display(), &plan.application);
            Err(Failure::new(USAGE, format!("cannot use {path} for application {wanted}: it is of {found}")))
        }
        Some(_) | None => Ok(plan),
    }
}

/// All that is wrong, one a line.
fn config_message(error: &config::ConfigError) -> String {
    match error.problems().len() {
        1 => error.to_string(),
        count => format!("{count} errors in {}:\n{error}", error.path().display()),
    }
}

/// $COPO_HOME.
pub fn home() -> Result<PathBuf, Failure> {
    layout::home().map_err(|error| Failure::new(USAGE, error.to_string()))
}

fn own_socket() -> Option<PathBuf> {
    env::var_os(variable::SOCKET).filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn own_token() -> Option<String> {
    env::var(variable::TOKEN).ok().filter(|token| !token.is_empty())
}

/// The files of the application whose Server this is. On Unix the socket lies among them; a pipe's name tells nothing.
fn layout_of(socket: &Path) -> Result<Layout, Failure> {
    let root = socket.parent().and_then(Path::parent);
    let lies_in = |root: &Path| {
        let layout = Layout::new(root.parent()?, root.file_name()?.to_str()?);
        (layout.socket() == *socket).then_some(layout)
    };
    if let Some(layout) = root.and_then(lies_in) {
        return Ok(layout);
    }
    let application = env::var(variable::APPLICATION).unwrap_or_default();
    Ok(Layout::new(&home()?, &checked_name(&application)?))
}

fn application(place: &Place) -> Result<String, Failure> {
    match &place.application {
        Some(application) => checked_name(application),
        None => application_of(&config_path(place)?),
    }
}

fn checked_name(application: &str) -> Result<String, Failure> {
    match name::check(application) {
        Ok(()) => Ok(application.to_owned()),
        Err(why) => Err(Failure::new(USAGE, format!("cannot find application {application:?}: {why}"))),
    }
}

/// The application a copo.toml is of. Nothing else in it needs to be right: `copo down` must work while it is not.
fn application_of(path: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|why| Failure::new(USAGE, format!("cannot read {}: {why}", path.display())))?;
    let whole = text.parse::<toml::Table>().ok();
    let application =
        whole.or_else(|| head_of(&text)).and_then(|table| Some(table.get("application")?.as_str()?.to_owned()));
    match application {
        Some(application) => checked_name(&application),
        None => {
            Err(Failure::new(USAGE, format!("{}: cannot find the application: no key \"application\"", path.display())))
        }
    }
}

/// What can be read of a broken file's head: the lines before its first table that are right by themselves.
fn head_of(text: &str) -> Option<toml::Table> {
    let head = text.lines().take_while(|line| !line.trim_start().starts_with('['));
    head.filter_map(|line| line.parse::<toml::Table>().ok()).find(|table| table.contains_key("application"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application_in(text: &str) -> Result<String, Failure> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("copo.toml");
        fs::write(&path, text).expect("written");
        application_of(&path)
    }

    #[test]
    fn the_application_is_found_in_a_broken_file() {
        assert_eq!(application_in("application = \"a\"\n[process.x]\nnonsense = 1\n").as_deref(), Ok("a"));
        assert_eq!(application_in("# a comment\napplication = 'a' # b\nx = = 1\n[broken").as_deref(), Ok("a"));
    }

    #[test]
    fn a_file_without_an_application_is_a_configuration_error() {
        for text in ["", "[process.x]\napplication = \"a\"\n", "application = 1\n", "application = \"../a\"\n"] {
            assert_eq!(application_in(text).expect_err(text).code, USAGE, "{text}");
        }
    }

    #[test]
    fn the_name_wins_over_the_file() {
        let place = Place { file: Some("/nowhere/copo.toml".into()), application: Some("shop".into()) };
        assert_eq!(target(&place).expect("found").layout.application(), "shop");
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_tells_whose_files_lie_around_it() {
        let layout = Layout::new(Path::new("/home/me/.copo"), "shop");
        assert_eq!(layout_of(&layout.socket()), Ok(layout));
    }
}

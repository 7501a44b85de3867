//! Linux, cgroup v2: a cgroup for each instance, where we may make one. What a run starts stays in it whatever session or
//! parent it gives itself, so that nothing of the run can be left behind; and its memory and processors can be limited.
//!
//! ```text
//! <our own cgroup, or one above it>/copo-<application>-<hash of its folder>/<internal name>
//! ```
//!
//! An instance's cgroup stays from one run to the next and is removed at the end of the application.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{Access, Mode, OFlags, access, open, statfs};
use sha2::{Digest, Sha256};

use crate::layout::Layout;
use crate::plan::Attributes;

/// What statfs(2) says of a cgroup2 file system, wherever it is mounted.
const CGROUP2: i64 = 0x6367_7270;
/// What the folders of all applications begin with.
const PREFIX: &str = "copo-";
/// Microseconds in which a share of the processors is measured out.
const PERIOD: f64 = 100_000.0;

/// The cgroups of one application.
#[derive(Debug)]
pub(super) struct Cgroups {
    folder: Option<PathBuf>,
    made: RefCell<HashSet<String>>,
    /// Can memory and processors be limited? Else why not.
    limits: Result<(), String>,
}

/// The cgroup of one instance.
#[derive(Debug, Clone)]
pub(super) struct Cgroup {
    path: Rc<Path>,
}

impl Cgroups {
    /// Finds a place for the application's cgroups; `limits`: whether any of its processes is to be limited by one.
    pub(super) fn find(layout: &Layout, limits: bool) -> Self {
        let (place, mut limits) = match place(limits) {
            Ok(place) if limits => (Some(place), Ok(())),
            // One above our own would take the processes out of whatever confines us: only if it is asked for.
            Ok(place) => (Some(place), Err("nothing was limited when the orchestrator started".to_owned())),
            Err(why) => (place(false).ok(), Err(why)),
        };
        let folder = place.and_then(|place| {
            let folder = place.join(folder_name(layout));
            let made = make(&folder);
            made.inspect_err(|error| tracing::info!("no cgroups: {}: {error}", folder.display())).ok().map(|()| folder)
        });
        if limits.is_ok() {
            let delegated = folder.as_deref().map_or(Ok(()), delegate);
            limits = delegated.map_err(|error| format!("the controllers cannot be handed on: {error}"));
        }
        Self { folder, made: RefCell::default(), limits }
    }

    /// Why memory and processors cannot be limited, if they cannot.
    pub(super) fn why_no_limits(&self) -> Option<&str> {
        match (&self.limits, &self.folder) {
            (Err(why), _) => Some(why),
            (Ok(()), None) => Some("no cgroup can be made"),
            (Ok(()), Some(_)) => None,
        }
    }

    /// The cgroup of an instance, with its limits set.
    ///
    /// # Errors
    /// It has limits that cannot be set. One without limits runs without a cgroup rather than not at all.
    pub(super) fn of(&self, internal_name: &str, attributes: &Attributes) -> io::Result<Option<Cgroup>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let cgroup = Cgroup { path: folder.join(internal_name).into() };
        let is_new = self.made.borrow_mut().insert(internal_name.to_owned());
        if is_new && let Err(error) = make(&cgroup.path) {
            tracing::warn!("no cgroup for {internal_name}: {error}");
            self.made.borrow_mut().remove(internal_name);
            return Ok(None);
        }
        if self.limits.is_ok() {
            cgroup.limit(attributes)?;
        }
        Ok(Some(cgroup))
    }

    /// Removes all that are empty.
    pub(super) fn remove(&self) {
        if let Some(folder) = &self.folder {
            remove(folder);
        }
    }
}

impl Cgroup {
    /// The one that an orchestrator before us has put a process into, wherever that orchestrator was itself.
    pub(super) fn of_process(mount: &Path, pid: u32, internal_name: &str) -> Option<Self> {
        let path = folder_of(mount, &format!("/proc/{pid}/cgroup"))?;
        let is_ours = |folder: &Path| folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        let ours = path.ancestors().find(|folder| folder.parent().is_some_and(is_ours))?;
        (ours.file_name()?.to_str()? == internal_name).then(|| Self { path: ours.into() })
    }

    /// For a child that is born in it.
    pub(super) fn open(&self) -> io::Result<OwnedFd> {
        Ok(open(&*self.path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// Moves a process into it.
    pub(super) fn take(&self, pid: u32) -> io::Result<()> {
        fs::write(self.path.join("cgroup.procs"), pid.to_string())
    }

    /// Does anything live in it?
    pub(super) fn is_populated(&self) -> bool {
        // One that is gone holds nothing.
        fs::read_to_string(self.path.join("cgroup.events")).is_ok_and(|events| events.contains("populated 1"))
    }

    /// Kills all that live in it. Frozen meanwhile, so that nothing is born that was not seen. Not by cgroup.kill: the
    /// kernel remembers that for ever, and kills at birth whoever is born into the cgroup from one that has not been
    /// killed (seen with Linux 6.18).
    pub(super) fn kill(&self) {
        let freeze = |state: &str| fs::write(self.path.join("cgroup.freeze"), state);
        // Before Linux 5.2 there is none; then what is born meanwhile is killed the next time.
        let _ = freeze("1");
        for pid in pids(&self.path) {
            let _ = rustix::process::kill_process(super::child::pid_of(pid), rustix::process::Signal::KILL);
        }
        let _ = freeze("0");
    }

    /// Sets what is asked for, and takes back what an earlier configuration asked for.
    fn limit(&self, attributes: &Attributes) -> io::Result<()> {
        let quota = |cpu: f64| format!("{} {PERIOD}", (cpu * PERIOD).round().max(1_000.0));
        let limits =
            [("memory.max", attributes.memory.map(|bytes| bytes.to_string())), ("cpu.max", attributes.cpu.map(quota))];
        for (file, limit) in limits {
            let set = fs::write(self.path.join(file), limit.as_deref().unwrap_or("max"));
            if limit.is_some() {
                set?;
            }
        }
        Ok(())
    }
}

/// Why the memory and the processors of a process cannot be limited here, in words; `None`: they can.
#[must_use]
pub fn why_no_limits() -> Option<String> {
    place(true).err()
}

/// Removes what an orchestrator that was killed has left of its cgroups, where it was where we are.
pub(super) fn remove_left(layout: &Layout) {
    let Some(mount) = mount() else { return };
    let own = folder_of(&mount, "/proc/self/cgroup").unwrap_or_else(|| mount.clone());
    for folder in own.ancestors().take_while(|folder| folder.starts_with(&mount)) {
        let left = folder.join(folder_name(layout));
        if left.is_dir() {
            remove(&left);
        }
    }
}

fn folder_name(layout: &Layout) -> String {
    let hash = Sha256::digest(layout.root().as_os_str().as_encoded_bytes());
    let hash: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{}-{hash}", layout.application())
}

/// Our own cgroup, or the nearest above it in which we may make one; with `limits`, one that can hand on the controllers.
fn place(limits: bool) -> Result<PathBuf, String> {
    let mount = mount().ok_or("no cgroup v2 is mounted")?;
    let own = folder_of(&mount, "/proc/self/cgroup").ok_or("the kernel does not say in which cgroup v2 we are")?;
    let mut why = format!("{} is not writable", own.display());
    for folder in own.ancestors().take_while(|folder| folder.starts_with(&mount)) {
        if access(folder, Access::WRITE_OK).is_err() || access(folder.join("cgroup.procs"), Access::WRITE_OK).is_err() {
            continue;
        }
        match if limits { can_limit(folder) } else { Ok(()) } {
            Ok(()) => return Ok(folder.to_owned()),
            Err(because) => why = because,
        }
    }
    Err(why)
}

/// Can the controllers of memory and processors be handed on from this cgroup to those in it?
fn can_limit(folder: &Path) -> Result<(), String> {
    let list = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default();
    let has = |list: &str| ["memory", "cpu"].iter().all(|wanted| list.split_whitespace().any(|it| it == *wanted));
    if has(&list("cgroup.subtree_control")) {
        return Ok(());
    }
    if !has(&list("cgroup.controllers")) {
        return Err(format!("{} has no memory and cpu controllers of cgroup v2", folder.display()));
    }
    let is_root = !folder.join("cgroup.type").exists();
    if !is_root && !list("cgroup.procs").trim().is_empty() {
        return Err(format!("{} holds processes itself, so it cannot hand its controllers on", folder.display()));
    }
    Ok(())
}

/// Hands the controllers on, from the folder above to this one, and from this one to the instances.
fn delegate(folder: &Path) -> io::Result<()> {
    for folder in folder.parent().into_iter().chain([folder]) {
        fs::write(folder.join("cgroup.subtree_control"), "+memory +cpu")?;
    }
    Ok(())
}

/// Where cgroup v2 is mounted.
#[allow(clippy::useless_conversion, reason = "the type differs between processors")]
pub(super) fn mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let v2 = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place))
    });
    v2.into_iter().find(|place| statfs(place).is_ok_and(|found| i64::from(found.f_type) == CGROUP2))
}

/// The cgroup v2 that this file of /proc names, as a folder.
fn folder_of(mount: &Path, file: &str) -> Option<PathBuf> {
    let text = fs::read_to_string(file).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let folder = mount.join(path);
    folder.is_dir().then_some(folder)
}

fn make(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Err(_) | Ok(()) => Ok(()),
    }
}

/// Removes a cgroup and those below it; what holds processes stays.
fn remove(folder: &Path) {
    for below in below(folder) {
        remove(&below);
    }
    let _ = fs::remove_dir(folder);
}

/// The processes in a cgroup and in those below it.
fn pids(folder: &Path) -> Vec<u32> {
    let here = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let here = here.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0);
    here.chain(below(folder).iter().flat_map(|below| pids(below))).collect()
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_as_the_kernel_reads_them_and_taken_back() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cgroup = Cgroup { path: folder.path().into() };
        let read = || ["memory.max", "cpu.max"].map(|file| fs::read_to_string(folder.path().join(file)).expect("set"));
        let asked = Attributes { memory: Some(512 << 20), cpu: Some(0.5), ..Attributes::default() };

        cgroup.limit(&asked).expect("set");
        assert_eq!(read(), ["536870912", "50000 100000"]);

        cgroup.limit(&Attributes::default()).expect("taken back");
        assert_eq!(read(), ["max", "max"]);
    }

    #[test]
    fn controllers_are_handed_on_only_where_the_kernel_lets_us() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).expect("written");
        assert!(can_limit(folder.path()).is_err_and(|why| why.contains("has no memory and cpu controllers")));

        write("cgroup.controllers", "cpuset cpu io memory pids\n");
        write("cgroup.type", "domain\n");
        write("cgroup.procs", "1\n");
        assert!(can_limit(folder.path()).is_err_and(|why| why.contains("holds processes itself")));

        write("cgroup.procs", "");
        assert_eq!(can_limit(folder.path()), Ok(()));
    }
}

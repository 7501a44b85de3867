//! What a killed orchestrator left running. Its runs cannot go on without it, and a second copy of them must not start
//! beside the first: the next orchestrator kills their groups before it starts anything, and reports it.
//!
//! Beside the `sock`, `runs/<process>` names each live run. A pid alone names nobody, since numbers are given again: the
//! start time, the session and the boot go with it. Windows needs none of this: there a job ends with who holds it.

use std::fs;
use std::io;

use copo_proto::name;
use copo_proto::v1::{EventKind, Facts};

use super::boot;
use crate::layout::Layout;
use crate::supervisor::RunId;

/// A run as its file tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Left {
    pid: u32,
    started: u64,
    session: u32,
    boot: String,
    run: String,
}

impl Left {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let left = Self {
            pid: lines.next()?.parse().ok()?,
            started: lines.next()?.parse().ok()?,
            session: lines.next()?.parse().ok()?,
            boot: lines.next()?.to_owned(),
            run: lines.next()?.to_owned(),
        };
        // The newline shows that the last line is whole.
        text.ends_with('\n').then_some(left)
    }

    fn text(&self) -> String {
        format!("{}\n{}\n{}\n{}\n{}\n", self.pid, self.started, self.session, self.boot, self.run)
    }
}

/// Notes a run that has just been started.
pub(super) fn note(layout: &Layout, internal_name: &str, run: RunId, pid: u32) {
    let Some((started, session)) = sys::identity(pid) else { return };
    let left = Left { pid, started, session, boot: boot::id(), run: run.to_string() };
    if let Err(error) = write(layout, internal_name, &left.text()) {
        tracing::warn!("cannot note the run of {internal_name}: {error}");
    }
}

/// Forgets a run of which nothing is left.
pub(super) fn forget(layout: &Layout, internal_name: &str) {
    let _ = fs::remove_file(layout.run_state(internal_name));
}

/// Kills what is left of the runs noted, waits until it is gone, and tells of each in a report.
pub(super) fn end_all(layout: &Layout) -> Vec<Facts> {
    let boot = boot::id();
    let mut noted = Vec::new();
    for entry in fs::read_dir(layout.runs()).into_iter().flatten().flatten() {
        let left = fs::read_to_string(entry.path()).ok().and_then(|text| Left::parse(&text));
        match left.zip(entry.file_name().into_string().ok()) {
            Some(whole) => noted.push(whole),
            None => drop(fs::remove_file(entry.path())),
        }
    }
    let of_this_boot = noted.iter().map(|(left, _)| left).filter(|left| left.boot == boot);
    let killed = sys::end_groups(&of_this_boot.collect::<Vec<_>>());
    let ended = noted.into_iter().map(|(left, internal_name)| {
        tracing::warn!("{internal_name}, pid {}, was left by an orchestrator that was killed", left.pid);
        let was_killed = left.boot == boot && killed.contains(&left.pid);
        forget(layout, &internal_name);
        facts(internal_name, left, was_killed)
    });
    ended.collect()
}

fn facts(internal_name: String, left: Left, was_killed: bool) -> Facts {
    let reason = if was_killed {
        "its orchestrator was killed, and the next one ended what was left of it"
    } else {
        "it ended while there was no orchestrator"
    };
    Facts {
        event: EventKind::Exited.into(),
        process: name::split_internal(&internal_name).map(|(process, _)| process.to_owned()),
        internal_name: Some(internal_name),
        run: Some(left.run),
        pid: Some(left.pid),
        reason: Some(reason.to_owned()),
        ..Facts::default()
    }
}

fn write(layout: &Layout, internal_name: &str, text: &str) -> io::Result<()> {
    use std::io::Write;
    fs::create_dir_all(layout.runs())?;
    let mut options = fs::OpenOptions::new();
    options.create(true).write(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(layout.run_state(internal_name))?.write_all(text.as_bytes())
}

#[cfg(target_os = "linux")]
mod sys {
    use std::collections::{BTreeSet, HashMap};
    use std::fs;
    use std::thread;
    use std::time::{Duration, Instant};

    use rustix::process::{Signal, kill_process_group};

    use super::Left;
    use crate::runtime::child::pid_of;

    /// Longer than this only a process takes to die that hangs in the kernel; nobody can wait for that.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// What `/proc/<pid>/stat` says.
    struct Stat {
        is_dead: bool,
        group: u32,
        session: u32,
        started: u64,
    }

    /// Start time (ticks since boot) and session of a process.
    pub fn identity(pid: u32) -> Option<(u64, u32)> {
        stat(pid).map(|stat| (stat.started, stat.session))
    }

    /// Kills what lives of these groups and waits until nothing does; the main pids of those of which something was there.
    ///
    /// All at once: each look goes through every process there is.
    pub fn end_groups(all: &[&Left]) -> BTreeSet<u32> {
        let start = Instant::now();
        let there = those_there(all);
        let mut left = there.clone();
        while !left.is_empty() && start.elapsed() < PATIENCE {
            for pid in left {
                let _ = kill_process_group(pid_of(pid), Signal::KILL);
            }
            thread::sleep(Duration::from_millis(1));
            left = those_there(all);
        }
        there
    }

    /// A group's number is given to nobody else while one member lives, and a member stays in the session it was born
    /// in unless it leaves the group with it. A zombie that its new parent does not reap is nobody.
    fn those_there(all: &[&Left]) -> BTreeSet<u32> {
        if all.is_empty() {
            return BTreeSet::new();
        }
        let by_group: HashMap<u32, &Left> = all.iter().map(|left| (left.pid, *left)).collect();
        let is_anothers = |left: &&Left| stat(left.pid).is_some_and(|leader| leader.started != left.started);
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let members = processes.filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?));
        let lefts = members.filter(|member| !member.is_dead).filter_map(|member| {
            let left = by_group.get(&member.group)?;
            (member.session == left.session && member.started >= left.started).then_some(*left)
        });
        lefts.filter(|left| !is_anothers(left)).map(|left| left.pid).collect()
    }

    fn stat(pid: u32) -> Option<Stat> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything; behind it stand state, parent, group, session …
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Stat {
            is_dead: matches!(*fields.first()?, "Z" | "X"),
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(target_vendor = "apple")]
mod sys {
    use std::collections::BTreeSet;
    use std::mem::MaybeUninit;
    use std::thread;
    use std::time::{Duration, Instant};

    use rustix::process::{Signal, kill_process_group};

    use super::Left;
    use crate::runtime::child::pid_of;

    /// Longer than this only a process takes to die that hangs in the kernel; nobody can wait for that.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// Start time (microseconds since the Unix epoch) of a process; its session is not needed.
    pub fn identity(pid: u32) -> Option<(u64, u32)> {
        let mut info = MaybeUninit::<libc::proc_bsdinfo>::zeroed();
        let size = size_of::<libc::proc_bsdinfo>() as i32;
        // SAFETY: `info` has room for `size` bytes, and zeroed is a value of its type.
        let info = unsafe {
            if libc::proc_pidinfo(pid as i32, libc::PROC_PIDTBSDINFO, 0, info.as_mut_ptr().cast(), size) != size {
                return None;
            }
            info.assume_init()
        };
        Some((info.pbi_start_tvsec * 1_000_000 + info.pbi_start_tvusec, 0))
    }

    /// Kills these groups, each while its main process is the one noted; the pids of those that were there.
    pub fn end_groups(all: &[&Left]) -> BTreeSet<u32> {
        let is_there = |left: &&&Left| identity(left.pid).is_some_and(|(started, _)| started == left.started);
        let those_there = || all.iter().filter(is_there).map(|left| left.pid).collect::<BTreeSet<_>>();
        let (start, there) = (Instant::now(), those_there());
        let mut left = there.clone();
        while !left.is_empty() && start.elapsed() < PATIENCE {
            for pid in left {
                let _ = kill_process_group(pid_of(pid), Signal::KILL);
            }
            thread::sleep(Duration::from_millis(1));
            left = those_there();
        }
        there
    }
}

/// Where nobody can be told from who came after, nobody is killed.
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
mod sys {
    use std::collections::BTreeSet;

    use super::Left;

    pub fn identity(_pid: u32) -> Option<(u64, u32)> {
        None
    }

    pub fn end_groups(_all: &[&Left]) -> BTreeSet<u32> {
        BTreeSet::new()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::path::Path;
    use std::process::{Child, Command};

    use super::*;

    fn sleeper() -> (Child, Left) {
        let child = Command::new("sleep").arg("600").process_group(0).spawn().expect("sleep runs");
        let (started, session) = sys::identity(child.id()).expect("it lives");
        let left = Left { pid: child.id(), started, session, boot: boot::id(), run: "r".to_owned() };
        (child, left)
    }

    fn layout_with(left: &Left) -> (tempfile::TempDir, Layout) {
        let home = tempfile::tempdir().expect("a temporary folder");
        let layout = Layout::new(home.path(), "app");
        write(&layout, "a-1", &left.text()).expect("written");
        (home, layout)
    }

    #[test]
    fn what_was_left_is_killed_reported_and_forgotten() {
        let (mut child, left) = sleeper();
        let (_home, layout) = layout_with(&left);

        let reports = end_all(&layout);

        assert!(child.try_wait().expect("ours").is_some());
        assert_eq!((reports.len(), reports[0].internal_name.as_deref()), (1, Some("a-1")));
        assert!(reports[0].reason.as_deref().is_some_and(|reason| reason.contains("killed")));
        assert!(end_all(&layout).is_empty());
    }

    #[test]
    fn a_stranger_who_got_the_number_is_left_alone() {
        let (mut child, left) = sleeper();
        for stranger in [
            Left { started: left.started - 1, ..left.clone() },
            Left { boot: "another".to_owned(), ..left.clone() },
            Left { session: left.session + 1, ..left },
        ] {
            let (_home, layout) = layout_with(&stranger);
            end_all(&layout);
            assert!(child.try_wait().expect("ours").is_none(), "{stranger:?}");
        }
        child.kill().and_then(|()| child.wait()).expect("ours");
    }

    #[test]
    fn half_a_file_names_nobody() {
        let (mut child, left) = sleeper();
        let text = left.text();
        assert_eq!(Left::parse(&text), Some(left));
        assert_eq!(Left::parse(&text[..text.len() - 1]), None);
        child.kill().and_then(|()| child.wait()).expect("ours");
        assert!(end_all(&Layout::new(Path::new("/nowhere"), "app")).is_empty());
    }
}

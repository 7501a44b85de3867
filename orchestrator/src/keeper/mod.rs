//! The keeper: the orchestrator's parent, and the holder of its children's pipes. It decides nothing about processes.
//!
//! ```text
//! copo up ──starts──▶ keeper ──starts──▶ orchestrator ──starts──▶ children
//!                       ▲  holds their pipes │  Hold, Release, Settled, Ended, Upgrade (see `message`)
//!                       └────────────────────┘
//! ```
//!
//! When the orchestrator is killed its children fall to the keeper (PR_SET_CHILD_SUBREAPER), which starts another one at
//! once; no child meets a pipe without a reader meanwhile. A child that ends stays a zombie until that one has learned
//! how, from its entry in /proc. The new orchestrator finds the pipes among the keeper's descriptors, through
//! `/proc/<keeper>/fd`: so nothing has to be told in that direction.
//!
//! It has one thread, no runtime, and sleeps in one `poll`. It is entered before anything else in `main`, so that its
//! memory holds nothing of the rest.

mod arguments;
mod children;
pub mod message;
mod place;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;

pub use arguments::{Arguments, Held, KEEP};
use children::Signals;
use message::Message;
use place::{raise_descriptors, take_file};

use crate::runtime::memory;

/// So many orchestrators in a row that never came to answer: nothing better is to be expected of the next one.
const HOPELESS: u32 = 5;
/// So many restarts at once, then one each [`PERIOD`].
const BURST: u32 = 64;
const PERIOD: Duration = Duration::from_secs(1);
/// How long an orchestrator of another binary may take until it answers; then the old one goes on.
const PATIENCE: Duration = Duration::from_secs(10);

/// The whole life of a keeper, if this process is to be one; its exit code.
#[must_use]
pub fn entered() -> Option<u8> {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_none_or(|first| first != KEEP) {
        return None;
    }
    let Some(arguments) = Arguments::parse(args) else {
        eprintln!("copo: cannot keep anything: this is started by copo up alone");
        return Some(2);
    };
    Some(Keeper::begin(arguments).map_or_else(refused, Keeper::keep))
}

/// Says why there is no keeper to whoever waits for an orchestrator at the other end of stdout.
fn refused(error: io::Error) -> u8 {
    println!("error cannot start the orchestrator: {error}");
    1
}

/// Has the keeper of this pid start an orchestrator now, if it has none.
pub fn wake(pid: u32) {
    signal(pid, Signal::USR1);
}

/// Asks the keeper of this pid to end, and its orchestrator to stop everything in order.
pub fn end(pid: u32) {
    signal(pid, Signal::TERM);
}

struct Keeper {
    arguments: Arguments,
    signals: Signals,
    /// Held locked; says our pid.
    file: File,
    held: Vec<Held>,
    orchestrator: Option<Orchestrator>,
    /// Children of an earlier orchestrator that the present one waits for.
    adopted: Vec<u32>,
    /// Orchestrators in a row that never came to answer.
    failures: u32,
    /// Restarts that may follow at once, counted from then.
    credit: (u32, Instant),
    /// When the next orchestrator starts; `None` while one lives, or while there is no hope.
    start_at: Option<Instant>,
    /// The binary that is to take the place of this one, once an orchestrator of it answers.
    successor: Option<PathBuf>,
    /// Asked to end while there was no orchestrator to ask.
    asked_to_end: bool,
}

struct Orchestrator {
    pid: u32,
    socket: Option<OwnedFd>,
    /// It answers, and has taken over what there was.
    is_settled: bool,
    /// It ends in order: no other one follows.
    has_ended: bool,
    /// The binary that is to take its place.
    upgrade: Option<PathBuf>,
    started_at: Instant,
}

impl Orchestrator {
    fn new(pid: u32, socket: OwnedFd) -> Self {
        Self {
            pid,
            socket: Some(socket),
            is_settled: false,
            has_ended: false,
            upgrade: None,
            started_at: Instant::now(),
        }
    }
}

impl Keeper {
    fn begin(mut arguments: Arguments) -> io::Result<Self> {
        // Who leads a group already cannot make a session, and need not.
        let _ = rustix::process::setsid();
        let _ = std::env::set_current_dir("/");
        let file = take_file(&arguments)?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        raise_descriptors();
        let held = std::mem::take(&mut arguments.held);
        let adopted = std::mem::take(&mut arguments.adopted);
        let orchestrator = arguments
            .orchestrator
            .take()
            .map(|(pid, socket)| Orchestrator { is_settled: true, ..Orchestrator::new(pid, socket) });
        Ok(Self {
            signals: Signals::take()?,
            file,
            held,
            arguments,
            start_at: orchestrator.is_none().then(Instant::now),
            orchestrator,
            adopted,
            failures: 0,
            credit: (BURST, Instant::now()),
            successor: None,
            asked_to_end: false,
        })
    }

    fn keep(mut self) -> u8 {
        loop {
            if self.start_at.is_some_and(|at| at <= Instant::now()) {
                self.start();
            }
            self.sleep();
            self.hear_signals();
            self.hear_orchestrator();
            self.lose_patience();
            if let Some(code) = self.look_after_orchestrator() {
                return code;
            }
            self.reap_orphans();
        }
    }

    fn start(&mut self) {
        self.start_at = None;
        match self.spawn() {
            Ok(orchestrator) => {
                if self.asked_to_end {
                    signal(orchestrator.pid, Signal::TERM);
                    self.asked_to_end = false;
                }
                self.orchestrator = Some(orchestrator);
            }
            Err(error) => {
                eprintln!("copo: cannot start an orchestrator: {error}");
                self.failures += 1;
                self.start_again_later();
            }
        }
    }

    fn spawn(&mut self) -> io::Result<Orchestrator> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let binary = self.successor.clone().unwrap_or_else(own_binary);
        let mut command = Command::new(binary);
        command.arg0("copo").args(self.arguments.of_orchestrator()).stdin(theirs);
        let child = command.spawn()?;
        // Only the first one is waited for by a starter; it is told by that orchestrator, not by us.
        if !self.arguments.is_resumed {
            self.arguments.is_resumed = true;
            let null = OpenOptions::new().write(true).open("/dev/null")?;
            rustix::stdio::dup2_stdout(null)?;
            self.arguments.is_first = true;
        } else {
            self.arguments.is_first = false;
        }
        Ok(Orchestrator::new(child.id(), ours))
    }

    fn sleep(&self) {
        let socket = self.orchestrator.as_ref().and_then(|orchestrator| orchestrator.socket.as_ref());
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        fds.extend(socket.map(|socket| PollFd::new(socket, PollFlags::IN)));
        let wake_at = [self.start_at, self.hopeless_at()].into_iter().flatten().min();
        let left = wake_at.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        let _ = poll(&mut fds, timeout.as_ref());
    }

    /// When an orchestrator of another binary is taken for one that hangs.
    fn hopeless_at(&self) -> Option<Instant> {
        let waited_for = self.orchestrator.as_ref().filter(|it| self.successor.is_some() && !it.is_settled);
        waited_for.map(|orchestrator| orchestrator.started_at + PATIENCE)
    }

    /// Ends an orchestrator of another binary that does not come to answer.
    fn lose_patience(&self) {
        if let Some((orchestrator, _)) =
            self.orchestrator.as_ref().zip(self.hopeless_at().filter(|at| *at <= Instant::now()))
        {
            eprintln!("copo: it has not come to answer within {} s, and is killed", PATIENCE.as_secs());
            signal(orchestrator.pid, Signal::KILL);
        }
    }

    fn hear_signals(&mut self) {
        while let Some(number) = self.signals.next() {
            match (number, &self.orchestrator) {
                (libc::SIGTERM, Some(orchestrator)) => signal(orchestrator.pid, Signal::TERM),
                // Whoever waits for its start waits no longer.
                (libc::SIGQUIT, Some(orchestrator)) if !orchestrator.is_settled => {
                    signal(orchestrator.pid, Signal::KILL);
                }
                (libc::SIGTERM, None) => self.asked_to_end = true,
                // Somebody wants an orchestrator now.
                (libc::SIGUSR1, None) => {
                    self.failures = 0;
                    self.start_at = Some(Instant::now());
                }
                // A child has ended: looked at each time anyway.
                _ => {}
            }
        }
    }

    fn hear_orchestrator(&mut self) {
        while let Some(orchestrator) = &mut self.orchestrator {
            let Some(socket) = &orchestrator.socket else { return };
            match message::receive(socket.as_fd()) {
                Ok(Some(Message::Hold { run, output, stdin })) => self.held.push(Held { run, output, stdin }),
                Ok(Some(Message::Release { run, pid })) => self.release(run, pid),
                Ok(Some(Message::CloseStdin { run })) => {
                    self.held.iter_mut().filter(|held| held.run == run).for_each(|held| held.stdin = None);
                }
                Ok(Some(Message::Adopted { pids })) => self.adopted.extend(pids),
                Ok(Some(Message::Settled)) => {
                    orchestrator.is_settled = true;
                    self.failures = 0;
                    self.hand_over();
                    memory::give_back();
                }
                Ok(Some(Message::Ended)) => orchestrator.has_ended = true,
                Ok(Some(Message::Upgrade { binary })) => orchestrator.upgrade = Some(binary),
                Ok(Some(Message::Unknown)) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Ok(None) | Err(_) => orchestrator.socket = None,
            }
        }
    }

    fn release(&mut self, run: [u8; 16], pid: u32) {
        if let Some(place) = self.held.iter().position(|held| held.run == run) {
            self.held.swap_remove(place);
        }
        if let Some(place) = self.adopted.iter().position(|adopted| *adopted == pid) {
            self.adopted.swap_remove(place);
            children::reap(pid);
        }
    }

    /// When the orchestrator has ended: what follows. `Some`: the end, with this exit code.
    fn look_after_orchestrator(&mut self) -> Option<u8> {
        let Some(orchestrator) = &self.orchestrator else {
            // Nobody is left to stop things in order; what runs is found by the next `copo up` or `down`.
            return (self.asked_to_end && self.start_at.is_none()).then_some(0);
        };
        let code = children::ended(orchestrator.pid)?;
        // What it said last may have come after we listened last.
        self.hear_orchestrator();
        let orchestrator = self.orchestrator.take()?;
        self.adopted.clear();
        if orchestrator.has_ended || (self.arguments.is_first && !orchestrator.is_settled) {
            return Some(code.unwrap_or(1));
        }
        if let Some(failed) = self.successor.take() {
            eprintln!("copo: an orchestrator of {} did not come to answer; the old one goes on", failed.display());
        } else if !orchestrator.is_settled {
            self.failures += 1;
        }
        self.successor = orchestrator.upgrade;
        self.start_again_later();
        None
    }

    /// At once, as long as that is no loop; not at all when there is no hope.
    fn start_again_later(&mut self) {
        if self.failures >= HOPELESS {
            eprintln!("copo: {HOPELESS} orchestrators in a row did not come to answer; copo up tries again");
            self.start_at = None;
            return;
        }
        let (credit, since) = self.credit;
        let earned = u32::try_from(since.elapsed().as_secs() / PERIOD.as_secs()).unwrap_or(BURST);
        let credit = if earned > 0 { credit.saturating_add(earned).min(BURST) } else { credit };
        let pause = if credit == 0 || self.failures > 0 { PERIOD / 4 * (self.failures.max(1)) } else { Duration::ZERO };
        self.credit = (credit.saturating_sub(1), if earned > 0 { Instant::now() } else { since });
        self.start_at = Some(Instant::now() + pause);
    }

    /// An orchestrator of the binary that is to take our place answers: now it does.
    fn hand_over(&mut self) {
        if let Some(successor) = self.successor.take() {
            let error = self.become_another(&successor);
            eprintln!("copo: cannot keep with {}: {error}; the old keeper goes on", successor.display());
        }
    }

    /// Puts another binary in the place of this one: number, children and descriptors stay. Returns only when it cannot.
    fn become_another(&mut self, binary: &Path) -> io::Error {
        let adopted: Vec<String> = self.adopted.iter().map(u32::to_string).collect();
        let mut more = vec![format!("--file-descriptor={}", self.file.as_raw_fd())];
        more.push(format!("--adopted={}", adopted.join(",")));
        let socket =
            self.orchestrator.as_ref().and_then(|orchestrator| Some((orchestrator.pid, orchestrator.socket.as_ref()?)));
        more.extend(socket.map(|(pid, socket)| format!("--orchestrator={pid}:{}", socket.as_raw_fd())));
        let words = self.arguments.of_keeper(&self.held, &more);
        if let Err(error) = self.set_inherited(rustix::io::FdFlags::empty()) {
            return error.into();
        }
        let error = Command::new(binary).arg0("copo").args(words).exec();
        let _ = self.set_inherited(rustix::io::FdFlags::CLOEXEC);
        error
    }

    /// Whether what is kept stays open at exec.
    fn set_inherited(&self, flags: rustix::io::FdFlags) -> Result<(), Errno> {
        let socket = self.orchestrator.as_ref().and_then(|orchestrator| orchestrator.socket.as_ref());
        let mut kept =
            self.held.iter().flat_map(Held::descriptors).chain([self.file.as_fd()]).chain(socket.map(AsFd::as_fd));
        kept.try_for_each(|descriptor| rustix::io::fcntl_setfd(descriptor, flags))
    }

    /// Reaps those that nobody waits for. While there is no orchestrator, or it is only taking over, that is not known.
    fn reap_orphans(&self) {
        if let Some(orchestrator) = self.orchestrator.as_ref().filter(|orchestrator| orchestrator.is_settled) {
            children::reap_all_but(|pid| pid == orchestrator.pid || self.adopted.contains(&pid));
        }
    }
}

/// This binary, even when another file has taken its place.
#[must_use]
pub fn own_binary() -> PathBuf {
    use std::os::unix::fs::MetadataExt;
    let running = PathBuf::from("/proc/self/exe");
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    match std::env::current_exe() {
        Ok(path) if identity(&path).is_some() && identity(&path) == identity(&running) => path,
        Ok(_) | Err(_) => running,
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

//! Linux: a child that shares our memory and our descriptor table until it executes its program, so that neither a large
//! orchestrator nor a thousand open pipes make a start dearer.
//!
//! `clone3` with CLONE_VM and CLONE_VFORK stops the calling thread until the child has executed its program or given up,
//! so what the child reads stays as it is, and what it writes into the job is read afterwards. With CLONE_FILES nothing
//! is copied: the ends that the child is to have are duplicated into low slots beforehand, and the child takes a table of
//! its own that ends with those (CLOSE_RANGE_UNSHARE). posix_spawn copies and closes all there are.
//!
//! In the child only what is async-signal-safe may be done: no allocation, no lock, no panic. Its signal handlers are gone
//! from the start (CLONE_CLEAR_SIGHAND), since ours would run in our own memory.

use std::arch::asm;
use std::cell::{Cell, RefCell};
use std::ffi::{CString, OsString, c_char, c_int, c_void};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use memmap2::{MmapMut, MmapOptions};
use rustix::io::{DupFlags, Errno, dup3, fcntl_dupfd_cloexec};

use super::attributes::{Attributes, Unset};
use super::{Launch, Obstacle};
use crate::runtime::cgroup::Cgroup;

const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// What failed, when it is the program itself: its error says what is wrong with it.
const PROGRAM: &str = "its program";
const FOLDER: &str = "its working folder";
/// The child's stack: it calls nothing deep.
const STACK: usize = 64 * 1024;

/// What of the child's stdio is given to it.
pub(in crate::runtime) struct Ends<'a> {
    /// stdout and stderr.
    pub output: BorrowedFd<'a>,
    /// stdin; none: the null device.
    pub stdin: Option<BorrowedFd<'a>>,
    /// They are a terminal, which becomes its controlling one.
    pub is_terminal: bool,
}

/// A child that runs its program.
pub(in crate::runtime) struct Cloned {
    pub pid: u32,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
}

/// Starts children.
#[derive(Debug)]
pub(in crate::runtime) struct Cloner {
    /// What the slots hold while no child is being started.
    null: OwnedFd,
    output: OwnedFd,
    stdin: OwnedFd,
    stack: RefCell<MmapMut>,
    /// This kernel, or whoever confines us, lets us.
    works: Cell<bool>,
}

/// What `clone3` is told (clone(2), `struct clone_args`).
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// What the child is to do, and what kept it from that.
struct Job<'a> {
    program: *const c_char,
    argv: *const *const c_char,
    envp: *const *const c_char,
    folder: *const c_char,
    output: c_int,
    stdin: c_int,
    first_closed: c_int,
    is_terminal: bool,
    attributes: &'a Attributes,
    /// What could not be done; the number 0 is nothing.
    failed: Unset,
}

impl Cloner {
    /// To be made while few descriptors are open: the slots' numbers bound what a child has to copy.
    pub(in crate::runtime) fn new() -> io::Result<Self> {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        // 0, 1 and 2 are the child's own.
        let slot = || fcntl_dupfd_cloexec(&null, 3);
        let (output, stdin) = (slot()?, slot()?);
        let stack = RefCell::new(MmapOptions::new().len(STACK).map_anon()?);
        Ok(Self { null: slot()?, output, stdin, stack, works: Cell::new(true) })
    }

    /// Starts a program; `None` where it cannot be done like this.
    pub(in crate::runtime) fn spawn(
        &self,
        program: &Path,
        launch: &Launch,
        attributes: &Attributes,
        ends: &Ends<'_>,
    ) -> Result<Option<Cloned>, Obstacle> {
        if !self.works.get() {
            return Ok(None);
        }
        let texts = Texts::of(program, launch)?;
        let (argv, envp) = (pointers(&texts.argv), pointers(&texts.env));
        let highest = [&self.null, &self.output, &self.stdin].map(AsRawFd::as_raw_fd).into_iter().max().unwrap_or(2);
        let mut job = Job {
            program: texts.program.as_ptr(),
            argv: argv.as_ptr(),
            envp: envp.as_ptr(),
            folder: texts.folder.as_ptr(),
            output: self.output.as_raw_fd(),
            stdin: self.stdin.as_raw_fd(),
            first_closed: highest + 1,
            is_terminal: ends.is_terminal,
            attributes,
            failed: Unset { what: PROGRAM, errno: 0 },
        };
        self.fill_slots(ends.output, ends.stdin.unwrap_or(self.null.as_fd()))?;
        let cgroup = launch.cgroup.as_ref().map(Cgroup::open).transpose()?;
        let cloned = start(&mut self.stack.borrow_mut(), &mut job, cgroup.as_ref());
        // Nobody may hold a child's end but the child: its closing would go unseen.
        self.fill_slots(self.null.as_fd(), self.null.as_fd())?;
        match (cloned, job.failed) {
            (Ok(cloned), Unset { errno: 0, .. }) => Ok(Some(cloned)),
            (Ok(cloned), failed) => {
                give_up(&cloned);
                match failed {
                    Unset { errno: libc::ENOSYS, .. } => Ok(self.not_here()),
                    // Whether it is the folder that is missing is looked up later.
                    Unset { what: PROGRAM, errno }
                    | Unset { what: FOLDER, errno: errno @ (libc::ENOENT | libc::ENOTDIR) } => {
                        Err(io::Error::from_raw_os_error(errno).into())
                    }
                    unset => Err(unset.into()),
                }
            }
            // Too old (ENOSYS, EINVAL, E2BIG) or forbidden (EPERM, as container runtimes answer).
            (Err(Errno::NOSYS | Errno::INVAL | Errno::TOOBIG | Errno::PERM), _) => Ok(self.not_here()),
            // Its cgroup does not take it like this; a moment after its start it may.
            (Err(_), _) if cgroup.is_some() => Ok(None),
            (Err(error), _) => Err(io::Error::from(error).into()),
        }
    }

    /// As on a system that cannot do it.
    #[cfg(test)]
    pub(super) fn fail(&self) {
        self.works.set(false);
    }

    fn not_here(&self) -> Option<Cloned> {
        tracing::info!("children are started by posix_spawn: this system does not let us share our memory with them");
        self.works.set(false);
        None
    }

    fn fill_slots(&self, output: BorrowedFd<'_>, stdin: BorrowedFd<'_>) -> io::Result<()> {
        for (end, slot) in [(output, &self.output), (stdin, &self.stdin)] {
            // SAFETY: the slot is ours and stays open: only what it refers to is replaced. The copy is not dropped.
            let mut slot = std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(slot.as_raw_fd()) });
            rustix::io::retry_on_intr(|| dup3(end, &mut slot, DupFlags::CLOEXEC))?;
        }
        Ok(())
    }
}

/// A launch as the kernel takes it.
struct Texts {
    program: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
    folder: CString,
}

impl Texts {
    fn of(program: &Path, launch: &Launch) -> io::Result<Self> {
        let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
        let of_path = |path: &Path| text(path.as_os_str().as_bytes());
        let mut argv = vec![of_path(program)?];
        argv.extend(launch.script.as_deref().map(of_path).transpose()?);
        for arg in &launch.args {
            argv.push(text(arg.as_bytes())?);
        }
        let pair = |(name, value): (&OsString, &OsString)| text(&[name.as_bytes(), b"=", value.as_bytes()].concat());
        let env = launch.env.iter().map(pair).collect::<io::Result<_>>()?;
        Ok(Self { program: of_path(program)?, argv, env, folder: of_path(&launch.cwd)? })
    }
}

/// Where the texts stand, with the null pointer at the end that `execve` looks for.
fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Takes the end of a child that could not execute its program.
fn give_up(cloned: &Cloned) {
    let pid = crate::runtime::child::pid_of(cloned.pid);
    let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()));
}

/// Makes the child and returns when it has executed its program, or has ended.
fn start(stack: &mut MmapMut, job: &mut Job<'_>, cgroup: Option<&OwnedFd>) -> Result<Cloned, Errno> {
    let mut pidfd: c_int = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES | libc::CLONE_PIDFD;
    let args = CloneArgs {
        flags: flags as u64 | CLONE_CLEAR_SIGHAND | cgroup.map_or(0, |_| CLONE_INTO_CGROUP),
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.as_mut_ptr() as u64,
        stack_size: stack.len() as u64,
        cgroup: cgroup.map_or(0, |cgroup| cgroup.as_raw_fd() as u64),
        ..CloneArgs::default()
    };
    // SAFETY: zeroed is a value of the type.
    let mut old = unsafe { std::mem::zeroed::<libc::sigset_t>() };
    // SAFETY: both sets are plain values that the calls fill. With all signals blocked the child, which inherits the mask,
    // is not interrupted while it shares our memory.
    unsafe {
        let mut all = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut old);
    }
    // SAFETY: the stack is a mapping of its own that nobody else uses meanwhile (it is borrowed mutably), page-aligned as
    // the ABI wants; `job` and all it points to outlive the call, during which this thread stands still.
    let result = unsafe { clone3(&args, child, std::ptr::from_mut(job).cast()) };
    // SAFETY: `old` was filled above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const old, std::ptr::null_mut()) };
    match u32::try_from(result) {
        // SAFETY: with CLONE_PIDFD the kernel has put a new descriptor there, which is nobody else's.
        Ok(pid) => Ok(Cloned { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
        Err(_) => Err(Errno::from_raw_os_error(i32::try_from(-result).unwrap_or(libc::EINVAL))),
    }
}

/// `clone3`, with a child that calls `child` on the stack named in `args` and never returns from it.
///
/// # Safety
/// The stack in `args` is unused and aligned to 16 bytes at its end; `job` is what `child` takes.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3(args: &CloneArgs, child: extern "C" fn(*mut c_void) -> !, job: *mut c_void) -> i64 {
    let result: i64;
    // SAFETY: the parent goes on behind the call with its registers as the kernel leaves them (rax, rcx and r11 are
    // named). The child has a stack of its own, touches none of ours, and does not return.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") std::ptr::from_ref(args),
            in("rsi") size_of::<CloneArgs>(),
            in("r12") child,
            in("r13") job,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// `clone3`, with a child that calls `child` on the stack named in `args` and never returns from it.
///
/// # Safety
/// The stack in `args` is unused and aligned to 16 bytes at its end; `job` is what `child` takes.
#[cfg(target_arch = "aarch64")]
unsafe fn clone3(args: &CloneArgs, child: extern "C" fn(*mut c_void) -> !, job: *mut c_void) -> i64 {
    let result: i64;
    // SAFETY: the parent goes on behind the call with its registers as the kernel leaves them (all but x0). The child has
    // a stack of its own, touches none of ours, and does not return.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x21",
            "blr x20",
            "brk 1",
            "2:",
            inlateout("x0") std::ptr::from_ref(args) => result,
            in("x1") size_of::<CloneArgs>(),
            in("x8") libc::SYS_clone3,
            in("x20") child,
            in("x21") job,
        );
    }
    result
}

/// The child: becomes the program, or notes why it cannot and ends.
extern "C" fn child(job: *mut c_void) -> ! {
    // SAFETY: `job` is the Job that `start` was given, which lives until this process has executed or ended, and which
    // nobody else touches meanwhile. `_exit` may be called anywhere.
    unsafe {
        let job = &mut *job.cast::<Job<'_>>();
        job.failed = become_program(job);
        libc::_exit(127)
    }
}

/// What kept the program from running.
///
/// # Safety
/// To be called in the child alone; every call in here is async-signal-safe.
unsafe fn become_program(job: &Job<'_>) -> Unset {
    let failed = |what| Unset { what, errno: errno() };
    // SAFETY: all pointers of the job are valid C strings and arrays of them; what is changed (descriptors, group, limits,
    // folder, signals) is this process's own: the descriptor table from the first line on, the rest from its birth.
    unsafe {
        let first_closed = job.first_closed as libc::c_uint;
        if libc::syscall(libc::SYS_close_range, first_closed, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE) != 0 {
            // Until here the table is our parent's: nothing of it may be touched.
            return Unset { what: PROGRAM, errno: libc::ENOSYS };
        }
        if libc::dup2(job.stdin, 0) < 0 || libc::dup2(job.output, 1) < 0 || libc::dup2(job.output, 2) < 0 {
            return failed("its descriptors");
        }
        if job.is_terminal {
            if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY as _, 0) != 0 {
                return failed("its terminal");
            }
        } else if libc::setpgid(0, 0) != 0 {
            return failed("its group");
        }
        // Whoever started us may have left some open that are not to be inherited on. Before Linux 5.11 they are.
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        if let Err(unset) = job.attributes.apply() {
            return unset;
        }
        if libc::chdir(job.folder) != 0 {
            return failed(FOLDER);
        }
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        libc::execve(job.program, job.argv, job.envp);
        failed(PROGRAM)
    }
}

fn errno() -> c_int {
    // SAFETY: the thread's own; the child shares it with the thread that stands still.
    unsafe { *libc::__errno_location() }
}

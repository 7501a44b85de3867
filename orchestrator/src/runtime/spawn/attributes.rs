//! What a child is given before it executes its program: as whom it runs, its limits, its niceness, its umask.

use std::ffi::c_int;
use std::io;

use rustix::process::{Rlimit, setrlimit};

use super::{Obstacle, why};
use crate::plan::{self, Resource};
use crate::runtime::account::{self, Credentials};

/// Set in the child, in every way there is to start one.
#[derive(Debug, Clone, Default)]
pub(in crate::runtime) struct Attributes {
    pub(in crate::runtime) credentials: Option<Credentials>,
    umask: Option<u32>,
    nice: Option<i32>,
    rlimits: Vec<(rustix::process::Resource, Rlimit)>,
}

/// What could not be set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unset {
    /// "its limits", say.
    pub what: &'static str,
    /// The number of the error.
    pub errno: c_int,
}

impl From<Unset> for Obstacle {
    fn from(unset: Unset) -> Self {
        Self::Attribute(format!("cannot set {}: {}", unset.what, why(&io::Error::from_raw_os_error(unset.errno))))
    }
}

impl Attributes {
    /// As configured; users and groups are looked up now.
    ///
    /// # Errors
    /// In words: the user or the group cannot be had.
    pub(in crate::runtime) fn of(spec: &plan::Attributes) -> Result<Self, String> {
        let rlimit = |limit: &plan::Limit| {
            resource(limit.resource).map(|it| (it, Rlimit { current: limit.soft, maximum: limit.hard }))
        };
        Ok(Self {
            credentials: account::credentials(spec.user.as_ref(), spec.group.as_ref())?,
            umask: spec.umask,
            nice: spec.nice,
            rlimits: spec.limits.iter().filter_map(rlimit).collect(),
        })
    }

    /// With this limit of open files, unless one is configured.
    pub(super) fn with_open_files(&self, limit: Rlimit) -> Self {
        let mut attributes = self.clone();
        if !self.rlimits.iter().any(|(resource, _)| *resource == rustix::process::Resource::Nofile) {
            attributes.rlimits.push((rustix::process::Resource::Nofile, limit));
        }
        attributes
    }

    /// Is nothing configured?
    pub(super) fn is_plain(&self) -> bool {
        let Self { credentials, umask, nice, rlimits } = self;
        credentials.is_none() && umask.is_none() && nice.is_none() && rlimits.is_empty()
    }

    /// Sets them for the calling process. Async-signal-safe.
    pub(super) fn apply(&self) -> Result<(), Unset> {
        if let Some(nice) = self.nice {
            // SAFETY: no memory is touched.
            let set = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
            checked("its niceness", set.into())?;
        }
        for (resource, limit) in &self.rlimits {
            let set = setrlimit(*resource, *limit);
            set.map_err(|error| Unset { what: "its limits", errno: error.raw_os_error() })?;
        }
        if let Some(umask) = self.umask {
            // SAFETY: no memory is touched.
            unsafe { libc::umask(umask as libc::mode_t) };
        }
        self.credentials.as_ref().map_or(Ok(()), become_user)
    }
}

/// On Linux by the system's own calls: the library's would signal all threads of the process whose memory we may share.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn become_user(credentials: &Credentials) -> Result<(), Unset> {
    let Credentials { uid, gid, groups, person: _ } = credentials;
    // SAFETY: `groups` is as long as is said, and only read.
    unsafe {
        checked("its groups", libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
        checked("its group", libc::syscall(libc::SYS_setresgid, *gid, *gid, *gid))?;
        checked("its user", libc::syscall(libc::SYS_setresuid, *uid, *uid, *uid))
    }
}

/// Elsewhere a child is alone in its memory.
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn become_user(credentials: &Credentials) -> Result<(), Unset> {
    let Credentials { uid, gid, groups, person: _ } = credentials;
    // SAFETY: `groups` is as long as is said, and only read.
    unsafe {
        checked("its groups", libc::setgroups(groups.len() as _, groups.as_ptr()).into())?;
        checked("its group", libc::setgid(*gid).into())?;
        checked("its user", libc::setuid(*uid).into())
    }
}

fn checked(what: &'static str, result: libc::c_long) -> Result<(), Unset> {
    let errno = || io::Error::last_os_error().raw_os_error().unwrap_or(libc::EPERM);
    if result == 0 { Ok(()) } else { Err(Unset { what, errno: errno() }) }
}

/// As the system calls it; `None`: this one does not have it, and its name is refused by `config`.
fn resource(resource: Resource) -> Option<rustix::process::Resource> {
    use rustix::process::Resource as Sys;
    Some(match resource {
        Resource::As => Sys::As,
        Resource::Core => Sys::Core,
        Resource::Cpu => Sys::Cpu,
        Resource::Data => Sys::Data,
        Resource::Fsize => Sys::Fsize,
        Resource::Memlock => Sys::Memlock,
        Resource::Nofile => Sys::Nofile,
        Resource::Nproc => Sys::Nproc,
        Resource::Stack => Sys::Stack,
        #[cfg(target_os = "linux")]
        Resource::Msgqueue => Sys::Msgqueue,
        #[cfg(target_os = "linux")]
        Resource::Nice => Sys::Nice,
        #[cfg(target_os = "linux")]
        Resource::Rss => Sys::Rss,
        #[cfg(target_os = "linux")]
        Resource::Rtprio => Sys::Rtprio,
        #[cfg(target_os = "linux")]
        Resource::Rttime => Sys::Rttime,
        #[cfg(target_os = "linux")]
        Resource::Sigpending => Sys::Sigpending,
        #[cfg(not(target_os = "linux"))]
        Resource::Msgqueue
        | Resource::Nice
        | Resource::Rss
        | Resource::Rtprio
        | Resource::Rttime
        | Resource::Sigpending => {
            return None;
        }
    })
}

//! What the kernel is told of a process before its program runs: as whom, and how much of the machine it may have.

/// As whom a process runs, and how much of the machine it may have. What is not said stays as the orchestrator has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes {
    /// The user it runs as.
    pub user: Option<Account>,
    /// The group it runs in; the user's own where none is named.
    pub group: Option<Account>,
    /// The permissions that new files do not get.
    pub umask: Option<u32>,
    /// Its niceness, -20 (first) to 19 (last).
    pub nice: Option<i32>,
    /// Limits of resources, in the order of [`Resource`].
    pub limits: Vec<Limit>,
    /// The most memory, in bytes, that a run and all it starts may use (cgroup v2).
    pub memory: Option<u64>,
    /// The most processors, in parts of one, that a run and all it starts may use (cgroup v2).
    pub cpu: Option<f64>,
}

impl Attributes {
    /// Does it ask for what only a cgroup can give?
    #[must_use]
    pub fn wants_controllers(&self) -> bool {
        self.memory.is_some() || self.cpu.is_some()
    }
}

/// A user or group as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// By name; looked up at each start.
    Name(String),
    /// By number.
    Id(u32),
}

/// A limit of one resource; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Of what.
    pub resource: Resource,
    /// What holds.
    pub soft: Option<u64>,
    /// How far the process itself may raise it.
    pub hard: Option<u64>,
}

/// What can be limited (setrlimit(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Address space, bytes.
    As,
    /// Size of a core file, bytes.
    Core,
    /// CPU time, seconds.
    Cpu,
    /// Data segment, bytes.
    Data,
    /// Size of a file, bytes.
    Fsize,
    /// Locked memory, bytes.
    Memlock,
    /// Bytes in message queues.
    Msgqueue,
    /// Ceiling of niceness, 20 - nice.
    Nice,
    /// Open files.
    Nofile,
    /// Processes of the user.
    Nproc,
    /// Resident memory, bytes.
    Rss,
    /// Ceiling of real-time priority.
    Rtprio,
    /// CPU time without a pause of a real-time process, microseconds.
    Rttime,
    /// Pending signals.
    Sigpending,
    /// Stack, bytes.
    Stack,
}

impl Resource {
    /// All that this platform can limit, by the name in copo.toml.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("as", Self::As),
        ("core", Self::Core),
        ("cpu", Self::Cpu),
        ("data", Self::Data),
        ("fsize", Self::Fsize),
        ("memlock", Self::Memlock),
        #[cfg(target_os = "linux")]
        ("msgqueue", Self::Msgqueue),
        #[cfg(target_os = "linux")]
        ("nice", Self::Nice),
        ("nofile", Self::Nofile),
        ("nproc", Self::Nproc),
        #[cfg(target_os = "linux")]
        ("rss", Self::Rss),
        #[cfg(target_os = "linux")]
        ("rtprio", Self::Rtprio),
        #[cfg(target_os = "linux")]
        ("rttime", Self::Rttime),
        #[cfg(target_os = "linux")]
        ("sigpending", Self::Sigpending),
        ("stack", Self::Stack),
    ];

    /// Is it counted in bytes?
    #[must_use]
    pub fn is_in_bytes(self) -> bool {
        match self {
            Self::As
            | Self::Core
            | Self::Data
            | Self::Fsize
            | Self::Memlock
            | Self::Msgqueue
            | Self::Rss
            | Self::Stack => true,
            Self::Cpu | Self::Nice | Self::Nofile | Self::Nproc | Self::Rtprio | Self::Rttime | Self::Sigpending => {
                false
            }
        }
    }
}

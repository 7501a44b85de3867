//! Names and numbers of signals, in one place. Pure: config checks names with it, reports name numbers with it.

/// On Unix the numbers are the platform's own; `libc` knows them.
#[cfg(unix)]
const TABLE: &[(&str, i32)] = &[
    ("SIGHUP", libc::SIGHUP),
    ("SIGINT", libc::SIGINT),
    ("SIGQUIT", libc::SIGQUIT),
    ("SIGILL", libc::SIGILL),
    ("SIGTRAP", libc::SIGTRAP),
    ("SIGABRT", libc::SIGABRT),
    ("SIGBUS", libc::SIGBUS),
    ("SIGFPE", libc::SIGFPE),
    ("SIGKILL", libc::SIGKILL),
    ("SIGUSR1", libc::SIGUSR1),
    ("SIGSEGV", libc::SIGSEGV),
    ("SIGUSR2", libc::SIGUSR2),
    ("SIGPIPE", libc::SIGPIPE),
    ("SIGALRM", libc::SIGALRM),
    ("SIGTERM", libc::SIGTERM),
    ("SIGCHLD", libc::SIGCHLD),
    ("SIGCONT", libc::SIGCONT),
    ("SIGSTOP", libc::SIGSTOP),
    ("SIGTSTP", libc::SIGTSTP),
    ("SIGTTIN", libc::SIGTTIN),
    ("SIGTTOU", libc::SIGTTOU),
    ("SIGURG", libc::SIGURG),
    ("SIGXCPU", libc::SIGXCPU),
    ("SIGXFSZ", libc::SIGXFSZ),
    ("SIGVTALRM", libc::SIGVTALRM),
    ("SIGPROF", libc::SIGPROF),
    ("SIGWINCH", libc::SIGWINCH),
    ("SIGIO", libc::SIGIO),
    ("SIGSYS", libc::SIGSYS),
    #[cfg(target_os = "linux")]
    ("SIGPWR", libc::SIGPWR),
    #[cfg(target_os = "linux")]
    ("SIGSTKFLT", libc::SIGSTKFLT),
];

/// Windows has no signals; a copo.toml still names them. These are what `runtime/group` translates: ask, interrupt, kill.
#[cfg(windows)]
const TABLE: &[(&str, i32)] = &[("SIGHUP", 1), ("SIGINT", 2), ("SIGABRT", 6), ("SIGKILL", 9), ("SIGTERM", 15)];

/// The number of the signal of this name ("SIGTERM"; without "SIG" and in any case, as `kill -s` takes it, too).
#[must_use]
pub fn number(name: &str) -> Option<i32> {
    canonical(name).and_then(|name| TABLE.iter().find(|(known, _)| *known == name)).map(|(_, number)| *number)
}

/// The full name of the signal that a person may have written short ("term").
#[must_use]
pub fn canonical(name: &str) -> Option<&'static str> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    TABLE.iter().map(|(known, _)| *known).find(|known| known[3..] == *bare)
}

/// The name of the signal of this number; real-time and unknown ones are named by their number: "SIG40".
#[must_use]
pub fn name(number: i32) -> String {
    match TABLE.iter().find(|(_, known)| *known == number) {
        Some((name, _)) => (*name).to_owned(),
        None => format!("SIG{number}"),
    }
}

/// All names, for suggestions.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_its_number_find_each_other() {
        for known in names() {
            assert_eq!(number(known).map(name).as_deref(), Some(known));
        }
        assert_eq!(number("term"), number("SIGTERM"));
        assert_eq!(canonical("int"), Some("SIGINT"));
        assert_eq!(number("SIGNONSENSE"), None);
        assert_eq!(name(40), "SIG40");
    }
}

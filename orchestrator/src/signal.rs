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
pub fn name(number: i32) -> &'static str {
    let known = TABLE.iter().find(|(_, known)| *known == number).map(|(name, _)| *name);
    let numbered = || usize::try_from(number).ok().and_then(|number| NUMBERED.get(number.checked_sub(32)?).copied());
    known.or_else(numbered).unwrap_or("SIG?")
}

/// Real-time signals, from 32 on.
const NUMBERED: [&str; 33] = [
    "SIG32", "SIG33", "SIG34", "SIG35", "SIG36", "SIG37", "SIG38", "SIG39", "SIG40", "SIG41", "SIG42", "SIG43",
    "SIG44", "SIG45", "SIG46", "SIG47", "SIG48", "SIG49", "SIG50", "SIG51", "SIG52", "SIG53", "SIG54", "SIG55",
    "SIG56", "SIG57", "SIG58", "SIG59", "SIG60", "SIG61", "SIG62", "SIG63", "SIG64",
];

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
            assert_eq!(number(known).map(name), Some(known));
        }
        assert_eq!(number("term"), number("SIGTERM"));
        assert_eq!(canonical("int"), Some("SIGINT"));
        assert_eq!(number("SIGNONSENSE"), None);
        assert_eq!([name(32), name(40), name(64), name(65), name(-1)], ["SIG32", "SIG40", "SIG64", "SIG?", "SIG?"]);
    }
}

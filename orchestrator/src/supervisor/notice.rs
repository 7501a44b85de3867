//! What a run says of itself as sd_notify(3) does: lines of `KEY=value`. What is not known is passed over.

use std::time::Duration;

/// The longest text that is kept of a STATUS: people read it in one line.
const MAX_STATUS: usize = 512;

/// One message of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notice {
    /// `READY=1`
    pub ready: bool,
    /// `STOPPING=1`
    pub stopping: bool,
    /// `STATUS=…`; empty: nothing more to say.
    pub status: Option<String>,
    /// `MAINPID=…`: another process of the run is its main process from here on.
    pub main_pid: Option<u32>,
    /// `WATCHDOG=1`
    pub alive: bool,
    /// `WATCHDOG=trigger`
    pub not_alive: bool,
    /// `WATCHDOG_USEC=…`
    pub watchdog: Option<Duration>,
    /// `EXTEND_TIMEOUT_USEC=…`
    pub extend_timeout: Option<Duration>,
    /// `ERRNO=…`
    pub errno: Option<i32>,
}

impl Notice {
    /// Reads a message.
    #[must_use]
    pub fn parse(message: &[u8]) -> Self {
        let mut notice = Self::default();
        for line in String::from_utf8_lossy(message).lines() {
            let Some((key, value)) = line.split_once('=') else { continue };
            match (key, value) {
                ("READY", "1") => notice.ready = true,
                ("STOPPING", "1") => notice.stopping = true,
                ("STATUS", text) => notice.status = Some(printable(text)),
                ("MAINPID", pid) => notice.main_pid = pid.parse().ok().filter(|pid| *pid > 0),
                ("WATCHDOG", "1") => notice.alive = true,
                ("WATCHDOG", "trigger") => notice.not_alive = true,
                ("WATCHDOG_USEC", time) => notice.watchdog = microseconds(time),
                ("EXTEND_TIMEOUT_USEC", time) => notice.extend_timeout = microseconds(time),
                ("ERRNO", number) => notice.errno = number.parse().ok(),
                _ => {}
            }
        }
        notice
    }

    /// It says nothing that anybody here listens to.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn microseconds(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_micros)
}

/// As it may be printed to a terminal.
fn printable(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(MAX_STATUS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_known_is_read_and_nothing_else() {
        let message = b"READY=1\nSTATUS= at \x1b[31mwork\xff \nMAINPID=42\nWATCHDOG=1\nWATCHDOG_USEC=1500000\n\
            EXTEND_TIMEOUT_USEC=7\nERRNO=2\nSTOPPING=1\nX_MINE=1\nnonsense\nREADY=0";
        let expected = Notice {
            ready: true,
            stopping: true,
            status: Some("at [31mwork\u{fffd}".to_owned()),
            main_pid: Some(42),
            alive: true,
            not_alive: false,
            watchdog: Some(Duration::from_millis(1500)),
            extend_timeout: Some(Duration::from_micros(7)),
            errno: Some(2),
        };
        assert_eq!(Notice::parse(message), expected);
        assert!(Notice::parse(b"WATCHDOG=trigger").not_alive);
        for nothing in [&b""[..], b"READY", b"MAINPID=0", b"MAINPID=-1", b"READY=yes", b"\xff\xfe"] {
            assert!(Notice::parse(nothing).is_empty(), "{nothing:?}");
        }
    }
}

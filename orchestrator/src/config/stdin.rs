//! Where a process's stdin comes from: `stdin` and `tty`.

use super::at::At;
use super::choice::RawStdin;
use super::process::Reader;
use crate::plan::Stdin;

impl Reader<'_> {
    /// A terminal is read from as well as written to.
    pub(super) fn stdin(&mut self, stdin: Option<At<RawStdin>>, tty: Option<At<bool>>) -> Stdin {
        let stdin = stdin.map(|stdin| stdin.value);
        if let Some(tty) = tty.filter(|tty| tty.value) {
            if cfg!(windows) {
                self.refuse("tty", &tty, "Windows has nothing like it");
            } else if matches!(stdin, Some(RawStdin::Null)) {
                self.refuse("tty", &tty, "who attaches is a terminal's stdin, which cannot be \"null\"");
            }
            return Stdin::Terminal;
        }
        match stdin {
            Some(RawStdin::Null) | None => Stdin::Null,
            Some(RawStdin::Attach) => Stdin::Attach,
        }
    }
}

//! The terminal that a person attaches from, while it stands for a process's own: every key goes to the process, and the
//! process's terminal is as large as this one.

#[cfg(unix)]
pub use unix::Terminal;
#[cfg(windows)]
pub use windows::Terminal;

use std::io::{self, Read};

/// Ctrl-]: as with telnet and the consoles of virtual machines, since few programs want it.
const DETACH: u8 = 0x1d;

/// What is typed, up to the key that detaches.
pub struct Keys<R> {
    typed: R,
    has_detached: bool,
}

impl<R> Keys<R> {
    fn new(typed: R) -> Self {
        Self { typed, has_detached: false }
    }

    /// Have they ended with that key?
    pub fn has_detached(&self) -> bool {
        self.has_detached
    }
}

impl<R: Read> Read for Keys<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.has_detached {
            return Ok(0);
        }
        let read = self.typed.read(buffer)?;
        let detach = memchr::memchr(DETACH, &buffer[..read]);
        self.has_detached = detach.is_some();
        Ok(detach.unwrap_or(read))
    }
}

#[cfg(unix)]
mod unix {
    use std::fs::{self, File};
    use std::io::{self, IsTerminal, StdinLock};
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::{Path, PathBuf};
    use std::thread;

    use copo_orchestrator::layout::Layout;
    use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
    use tokio::signal::unix::{SignalKind, signal};

    use super::super::failure::Failure;
    use super::super::output;
    use super::Keys;

    /// This command's terminal, and how it was set.
    #[derive(Clone)]
    pub struct Terminal {
        settings: Termios,
    }

    /// Restores the terminal when it goes.
    pub struct HandedOver(Terminal);

    impl Terminal {
        /// Lets a process have this terminal; `None` when it has none of its own, or nobody types here.
        pub fn hand_over(layout: &Layout, internal_name: &str) -> Result<Option<Self>, Failure> {
            let theirs = layout.terminal(internal_name);
            if !io::stdin().is_terminal() || fs::symlink_metadata(&theirs).is_err() {
                return Ok(None);
            }
            let cannot = |error: io::Error| Failure::io("hand this terminal over", &error);
            let terminal = Self { settings: tcgetattr(io::stdin()).map_err(|error| cannot(error.into()))? };
            resize_with_ours(theirs).map_err(cannot)?;
            output::say(&format!("attached to {internal_name}; Ctrl-] detaches"));
            let mut raw = terminal.settings.clone();
            raw.make_raw();
            tcsetattr(io::stdin(), OptionalActions::Now, &raw).map_err(|error| cannot(error.into()))?;
            Ok(Some(terminal))
        }

        /// It is restored when what is answered goes, also while panicking.
        pub fn until_dropped(self) -> HandedOver {
            HandedOver(self)
        }

        /// As it was before; doing it twice does no harm.
        pub fn restore(&self) {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.settings);
        }

        /// What is typed at it.
        pub fn keys(&self) -> Keys<StdinLock<'static>> {
            Keys::new(io::stdin().lock())
        }
    }

    impl Drop for HandedOver {
        fn drop(&mut self) {
            self.0.restore();
        }
    }

    /// Makes the process's terminal as large as ours, now and whenever ours changes.
    fn resize_with_ours(theirs: PathBuf) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut changes = {
            let _inside = runtime.enter();
            signal(SignalKind::window_change())?
        };
        resize(&theirs);
        thread::spawn(move || {
            runtime.block_on(async {
                while changes.recv().await.is_some() {
                    resize(&theirs);
                }
            });
        });
        Ok(())
    }

    /// Between two runs there is none, and the next one keeps the size of the last.
    fn resize(theirs: &Path) {
        // It is not to become the controlling terminal of a command that has none.
        let theirs = File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(theirs);
        if let (Ok(theirs), Ok(size)) = (theirs, tcgetwinsize(io::stdin()))
            && size.ws_row > 0
            && size.ws_col > 0
        {
            let _ = tcsetwinsize(theirs, size);
        }
    }
}

#[cfg(windows)]
mod windows {
    use std::io::{self, StdinLock};

    use copo_orchestrator::layout::Layout;

    use super::super::failure::Failure;
    use super::Keys;

    /// Processes have no terminals here, so there is none of these.
    #[derive(Clone)]
    pub enum Terminal {}

    impl Terminal {
        /// There is no process that could have it.
        #[allow(clippy::unnecessary_wraps, reason = "as elsewhere")]
        pub fn hand_over(_layout: &Layout, _internal_name: &str) -> Result<Option<Self>, Failure> {
            Ok(None)
        }

        /// Itself.
        pub fn until_dropped(self) -> Self {
            self
        }

        /// As it was before.
        pub fn restore(&self) {
            match *self {}
        }

        /// What is typed at it.
        pub fn keys(&self) -> Keys<StdinLock<'static>> {
            Keys::new(io::stdin().lock())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_end_before_the_one_that_detaches() {
        let mut typed = String::new();
        let mut keys = Keys::new(&b"ls\x03\x1dq"[..]);
        keys.read_to_string(&mut typed).expect("read");
        assert_eq!((typed.as_str(), keys.has_detached()), ("ls\x03", true));

        let mut keys = Keys::new(&b"\x04"[..]);
        typed.clear();
        keys.read_to_string(&mut typed).expect("read");
        assert_eq!((typed.as_str(), keys.has_detached()), ("\x04", false));
    }
}

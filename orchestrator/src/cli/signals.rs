//! What Ctrl-C, SIGTERM and SIGHUP (Windows: Ctrl-C, Ctrl-Break, the console's closing) become in a command that lives for a while.

use std::io;
use std::thread;

use super::failure::Failure;

/// From here on these signals no longer end this process: `told` is called for each, on a thread of its own.
pub fn watch(told: impl FnMut() + Send + 'static) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    let signals = {
        let _inside = runtime.enter();
        Signals::new().map_err(cannot)?
    };
    thread::spawn(move || runtime.block_on(forward(signals, told)));
    Ok(())
}

fn cannot(error: io::Error) -> Failure {
    Failure::io("watch for signals", &error)
}

async fn forward(mut signals: Signals, mut told: impl FnMut()) {
    while signals.next().await.is_some() {
        told();
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Option<()> {
        tokio::select! {
            one = self.interrupt.recv() => one,
            one = self.terminate.recv() => one,
            one = self.hangup.recv() => one,
        }
    }
}

#[cfg(windows)]
struct Signals {
    ctrl_c: tokio::signal::windows::CtrlC,
    ctrl_break: tokio::signal::windows::CtrlBreak,
    ctrl_close: tokio::signal::windows::CtrlClose,
}

#[cfg(windows)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close};
        Ok(Self { ctrl_c: ctrl_c()?, ctrl_break: ctrl_break()?, ctrl_close: ctrl_close()? })
    }

    async fn next(&mut self) -> Option<()> {
        tokio::select! {
            one = self.ctrl_c.recv() => one,
            one = self.ctrl_break.recv() => one,
            one = self.ctrl_close.recv() => one,
        }
    }
}

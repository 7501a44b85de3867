//! Signals to the orchestrator itself: those that ask it to end, and the state of signals that its children inherit.

use std::io;

use tokio::sync::mpsc::UnboundedSender;

use crate::supervisor::Event;

/// What asks the orchestrator to end.
#[cfg(unix)]
pub(super) struct Terminations {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Terminations {
    /// From here on these signals end nothing by themselves.
    pub(super) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// What asks the orchestrator to end.
#[cfg(windows)]
pub(super) struct Terminations {
    interrupt: tokio::signal::windows::CtrlC,
    r#break: tokio::signal::windows::CtrlBreak,
    close: tokio::signal::windows::CtrlClose,
    shutdown: tokio::signal::windows::CtrlShutdown,
}

#[cfg(windows)]
impl Terminations {
    /// From here on these events end nothing by themselves.
    pub(super) fn listen() -> io::Result<Self> {
        use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown};
        Ok(Self { interrupt: ctrl_c()?, r#break: ctrl_break()?, close: ctrl_close()?, shutdown: ctrl_shutdown()? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.r#break.recv() => {}
            _ = self.close.recv() => {}
            _ = self.shutdown.recv() => {}
        }
    }
}

impl Terminations {
    /// Tells the supervisor of each.
    pub(super) async fn forward(mut self, events: UnboundedSender<Event>) {
        loop {
            self.next().await;
            tracing::info!("asked to end by a signal");
            if events.send(Event::Terminate).is_err() {
                return;
            }
        }
    }
}

/// Undoes what a parent may have left: a blocked or ignored signal would be so in every child, too. SIGPIPE stays ignored
/// here; `Command` sets it back in the child. SIGXFSZ is caught and passed over, so that a limit on the size of files is
/// an error like any other here, and the default in every child: a handler, unlike "ignore", ends at exec. To be called
/// before there are threads.
#[cfg(unix)]
pub(super) fn reset_inherited() {
    // SAFETY: the set and the actions are plain values, initialised before use; only dispositions that are "ignore" are
    // changed, and the one handler that is installed does nothing.
    unsafe {
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        for number in crate::signal::names().filter_map(crate::signal::number).filter(|it| *it != libc::SIGPIPE) {
            let mut action = std::mem::zeroed::<libc::sigaction>();
            let known = libc::sigaction(number, std::ptr::null(), &raw mut action) == 0;
            if known && action.sa_sigaction == libc::SIG_IGN {
                libc::signal(number, libc::SIG_DFL);
            }
        }
        libc::signal(libc::SIGXFSZ, pass_over as *const () as libc::sighandler_t);
    }
}

/// Takes a signal, and does nothing.
#[cfg(unix)]
extern "C" fn pass_over(_signal: i32) {}

/// There is nothing to inherit.
#[cfg(windows)]
pub(super) fn reset_inherited() {}

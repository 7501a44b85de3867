//! What all clones of a client share: the link, and its replacement in a forked child.
//!
//! In a child made by fork nothing of the parent's link may be used: its socket is the parent's, and its lock may be
//! held by a thread that does not exist here. So the child's handle makes a new link (new client id, new connection,
//! empty window) at first use and leaves the old one where it is, closing only its copy of the descriptor so that the
//! orchestrator notices when the parent is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::fork;
use crate::link::{Link, Wait};
use crate::options::ConnectOptions;

/// How long dropping the last handle waits for acknowledgements while connected, and while not.
const LAST_FLUSH: Duration = Duration::from_secs(5);
const LAST_FLUSH_AWAY: Duration = Duration::from_secs(1);

pub(crate) struct Handle {
    /// Never null; made by `Box::into_raw`.
    link: AtomicPtr<Arc<Link>>,
}

impl Handle {
    pub(crate) fn connect(options: ConnectOptions) -> Result<Self> {
        let link = Box::new(Link::connect(options)?);
        Ok(Self { link: AtomicPtr::new(Box::into_raw(link)) })
    }

    /// This process's link, if it is the one that made it.
    fn present(&self) -> (&Arc<Link>, bool) {
        // SAFETY: the pointer came from `Box::into_raw`; a link is freed only when the handle is, and one that was
        // replaced in a child never.
        let link = unsafe { &*self.link.load(Ordering::Acquire) };
        (link, link.generation == fork::generation())
    }

    /// The link; in a forked child a new one, which fails with NO_ORCHESTRATOR as connecting does.
    pub(crate) fn link(&self) -> Result<&Arc<Link>> {
        match self.present() {
            (link, true) => Ok(link),
            (inherited, false) => self.replace(inherited),
        }
    }

    #[cold]
    fn replace(&self, inherited: &Arc<Link>) -> Result<&Arc<Link>> {
        close_inherited(inherited);
        let fresh = Box::into_raw(Box::new(Link::connect(inherited.options.clone())?));
        let old = std::ptr::from_ref(inherited).cast_mut();
        if self.link.compare_exchange(old, fresh, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // Another thread of the child was faster.
            // SAFETY: `fresh` came from `Box::into_raw` above and nobody else has seen it.
            unsafe { Box::from_raw(fresh) }.shut();
        }
        Ok(self.present().0)
    }

    /// Options to connect with, as they were given; readable in a forked child without touching anything else.
    pub(crate) fn options(&self) -> &ConnectOptions {
        &self.present().0.options
    }
}

#[cfg(unix)]
fn close_inherited(link: &Link) {
    let descriptor = link.descriptor.swap(-1, Ordering::AcqRel);
    if descriptor >= 0 {
        crate::connection::Line::close_inherited(descriptor);
    }
}

#[cfg(not(unix))]
fn close_inherited(_link: &Link) {}

impl Drop for Handle {
    fn drop(&mut self) {
        let (link, is_ours) = self.present();
        if !is_ours {
            return close_inherited(link); // The rest is the parent's and is left alone.
        }
        let patience = if link.lock().line.is_some() { LAST_FLUSH } else { LAST_FLUSH_AWAY };
        let _ = link.flush(Some(Instant::now() + patience), Wait::LastAcks);
        link.shut();
        // SAFETY: the pointer came from `Box::into_raw`, and whoever could use it has let go of the handle.
        drop(unsafe { Box::from_raw(*self.link.get_mut()) });
    }
}

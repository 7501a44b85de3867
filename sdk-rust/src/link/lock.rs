//! The lock around a link's state, made for one thread that sends without a pause: that thread becomes its *owner* and
//! from then on goes in and out without an atomic read-modify-write, which would cost more than a send does.
//!
//! ```text
//!  owner:      inside = true; (compiler fence) owner == me?  ─ yes ─▶ works; inside = false
//!                                                             └ no ──▶ inside = false; goes by the mutex
//!  any other:  mutex; owner = nobody; (a barrier on all of the process's CPUs) waits while inside; works
//! ```
//!
//! The barrier (membarrier(2)) makes up for the fence that the owner does without: afterwards either the owner is seen to be
//! inside, or it will see that it is the owner no more. Where there is no such call, nobody becomes the owner.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, compiler_fence};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::State;

/// After so many sends of one thread, between which nobody else came, it becomes the owner. To stop an owner costs some
/// microseconds, as much as so many sends save.
const STREAK: u32 = 256;
const NOBODY: usize = 0;

/// See the module.
pub(crate) struct Lock {
    owner: AtomicUsize,
    is_inside: AtomicBool,
    has_barrier: bool,
    mutex: Mutex<()>,
    state: UnsafeCell<State>,
}

// SAFETY: the state may go from thread to thread (below), and one at a time reaches it: whoever holds the mutex, after the
// owner was seen outside and will not come in again; or the owner, while it is inside.
unsafe impl Sync for Lock {}
const _: fn() = || {
    fn goes_from_thread_to_thread<T: Send>() {}
    goes_from_thread_to_thread::<State>();
};

/// The state, reached by the holder of the mutex.
pub(crate) struct Guard<'a> {
    lock: &'a Lock,
    held: MutexGuard<'a, ()>,
}

/// The state, reached by the owner.
pub(super) struct Inside<'a> {
    lock: &'a Lock,
}

impl Lock {
    pub(super) fn new(state: State) -> Self {
        Self {
            owner: AtomicUsize::new(NOBODY),
            is_inside: AtomicBool::new(false),
            has_barrier: barrier::prepare(),
            mutex: Mutex::new(()),
            state: UnsafeCell::new(state),
        }
    }

    /// The way in for everything: what was worked out for the sends that follow holds no more.
    pub(super) fn lock(&self) -> Guard<'_> {
        let mut guard = self.lock_to_send();
        guard.session.disarm();
        guard
    }

    /// The way in for a send like the one before it. A panic under the lock would be ours and leaves no half-done state that
    /// a later call could trip over.
    pub(super) fn lock_to_send(&self) -> Guard<'_> {
        self.guard(self.mutex.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn guard<'a>(&'a self, held: MutexGuard<'a, ()>) -> Guard<'a> {
        let (owner, me) = (self.owner.load(Ordering::Relaxed), me());
        if owner != NOBODY && owner != me {
            self.stop_owner();
        }
        let mut guard = Guard { lock: self, held };
        if guard.sender != me {
            guard.streak = 0;
        }
        guard
    }

    #[cold]
    fn stop_owner(&self) {
        self.owner.store(NOBODY, Ordering::Relaxed);
        barrier::everywhere();
        let mut looks = 0u32;
        // It is inside for a few dozen instructions, unless it was put to sleep there.
        while self.is_inside.load(Ordering::Acquire) {
            looks += 1;
            if looks < 100 { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }

    /// The way in for the owner; `None`: the present thread is not.
    #[inline]
    pub(super) fn enter(&self) -> Option<Inside<'_>> {
        let me = me();
        if self.owner.load(Ordering::Relaxed) != me {
            return None;
        }
        self.is_inside.store(true, Ordering::Relaxed);
        let inside = Inside { lock: self };
        // Keeps the compiler from turning the two around; for the processor the barrier of whoever stops us does.
        compiler_fence(Ordering::SeqCst);
        (self.owner.load(Ordering::Relaxed) == me).then_some(inside)
    }
}

impl<'a> Guard<'a> {
    /// The present thread has sent: it may have become the owner.
    pub(super) fn count_send(&mut self) {
        let me = me();
        self.sender = me;
        self.streak += 1;
        if self.streak >= STREAK && self.lock.has_barrier {
            self.streak = 0;
            self.lock.owner.store(me, Ordering::Relaxed);
        }
    }

    pub(crate) fn wait(self, condvar: &Condvar) -> Self {
        let Self { lock, held } = self;
        let mut guard = lock.guard(condvar.wait(held).unwrap_or_else(PoisonError::into_inner));
        guard.session.disarm();
        guard
    }

    pub(crate) fn wait_timeout(self, condvar: &Condvar, timeout: Duration) -> Self {
        self.wait_lease(condvar, timeout, || false)
    }

    /// Waits for `lease`, and for as long again whenever nothing came and `again` says so, which stops no owner.
    pub(crate) fn wait_lease(self, condvar: &Condvar, lease: Duration, mut again: impl FnMut() -> bool) -> Self {
        let Self { lock, mut held } = self;
        loop {
            let (now_held, waited) = condvar.wait_timeout(held, lease).unwrap_or_else(PoisonError::into_inner);
            held = now_held;
            if !waited.timed_out() || !again() {
                let mut guard = lock.guard(held);
                guard.session.disarm();
                return guard;
            }
        }
    }
}

impl Deref for Guard<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        // SAFETY: see `Lock`: the mutex is held, and `Lock::guard` has seen to the owner.
        unsafe { &*self.lock.state.get() }
    }
}

impl DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut State {
        // SAFETY: as for `deref`; this guard is borrowed alone.
        unsafe { &mut *self.lock.state.get() }
    }
}

impl Inside<'_> {
    #[inline]
    pub(super) fn state(&mut self) -> &mut State {
        // SAFETY: see `Lock`: made by `enter` when the present thread was the owner and inside; it is until this is dropped.
        unsafe { &mut *self.lock.state.get() }
    }
}

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        self.lock.is_inside.store(false, Ordering::Release);
    }
}

/// What tells the present thread from all others that live.
#[inline]
fn me() -> usize {
    thread_local!(static PLACE: u8 = const { 0 });
    PLACE.with(|place| std::ptr::from_ref(place) as usize)
}

#[cfg(target_os = "linux")]
mod barrier {
    use std::time::Duration;

    // linux/membarrier.h; the libc crate does not have them for every C library.
    const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

    fn membarrier(command: libc::c_int) -> bool {
        // SAFETY: no pointer is passed.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }

    pub(super) fn prepare() -> bool {
        membarrier(REGISTER_PRIVATE_EXPEDITED)
    }

    pub(super) fn everywhere() {
        if !membarrier(PRIVATE_EXPEDITED) {
            // A sandbox has been put on since: then what each CPU holds back has long been seen when this is over.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod barrier {
    /// There is none: nobody becomes an owner.
    pub(super) fn prepare() -> bool {
        false
    }

    pub(super) fn everywhere() {}
}

//! Notices that this process is a fork of the one a handle was made in.
//!
//! The count below is a static because a fork concerns the whole process and its hook takes no argument. It is raised
//! in the child by `pthread_atfork`, so noticing costs one load and no system call. A child made by a bare `clone`
//! without libc's fork is not noticed.

#[cfg(unix)]
mod imp {
    use std::sync::Once;
    use std::sync::atomic::{AtomicU64, Ordering};

    static GENERATION: AtomicU64 = AtomicU64::new(0);
    static WATCH: Once = Once::new();

    extern "C" fn in_the_child() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }

    /// From now on forks are counted.
    pub(crate) fn watch() {
        WATCH.call_once(|| {
            // SAFETY: the hook only adds to an atomic, which is allowed in a forked child; it lives as long as the
            // program or library it stands in, and libc drops it with the library.
            unsafe { libc::pthread_atfork(None, None, Some(in_the_child)) };
        });
    }

    /// How many forks lie between the first process and this one.
    #[inline]
    pub(crate) fn generation() -> u64 {
        GENERATION.load(Ordering::Relaxed)
    }
}

#[cfg(not(unix))]
mod imp {
    /// There is no fork here.
    pub(crate) fn watch() {}

    /// There is no fork here.
    pub(crate) fn generation() -> u64 {
        0
    }
}

pub(crate) use imp::{generation, watch};

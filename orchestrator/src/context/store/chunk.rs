//! Chunks: preallocated memory that one writer fills from front to back while readers hold slices of what is sealed.
//!
//! The promise that all `unsafe` here relies on: a byte below `sealed` is never written again for as long as anyone but
//! this `Chunk` holds the mapping; a byte at or above it is never lent to anyone who outlives a borrow of this `Chunk`.
//! The assertions in [`Chunk::writable`], [`Chunk::shared`] and [`Chunk::reset`] keep it, so the functions are safe to
//! call. A file that someone else shortens while it is mapped is beyond any promise: the folder is ours alone (0700).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use memmap2::MmapRaw;

/// A mapping and how far it is filled.
#[derive(Debug)]
pub(in crate::context) struct Chunk {
    map: Arc<MmapRaw>,
    sealed: usize,
    /// The file behind it; `None`: anonymous memory.
    pub path: Option<PathBuf>,
    /// The disk under it fails to take anything.
    #[cfg(test)]
    pub is_broken: bool,
}

impl Chunk {
    pub fn new(map: MmapRaw, path: Option<PathBuf>) -> Self {
        Self {
            map: Arc::new(map),
            sealed: 0,
            path,
            #[cfg(test)]
            is_broken: false,
        }
    }

    /// Bytes it holds.
    pub fn capacity(&self) -> usize {
        self.map.len()
    }

    /// What stands in a range.
    pub fn bytes(&self, from: usize, to: usize) -> &[u8] {
        assert!(from <= to && to <= self.capacity(), "cannot read a chunk beyond its end");
        // SAFETY: the range is inside the mapping; writing needs `&mut self`, which this borrow excludes.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(from), to - from) }
    }

    /// A range to write to; it must not be sealed.
    pub fn writable(&mut self, from: usize, to: usize) -> &mut [u8] {
        assert!(self.sealed <= from && from <= to && to <= self.capacity(), "cannot write to a sealed range");
        // SAFETY: the range is inside the mapping; nothing at or above `sealed` is lent beyond a borrow of self, and
        // `&mut self` excludes those.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().add(from), to - from) }
    }

    /// Stores a block's length, after all that was written before: whoever finds this length finds the block whole,
    /// also when this process ends between any two instructions.
    pub fn store_length(&mut self, at: usize, length: u32) {
        assert!(self.sealed <= at && at.is_multiple_of(4) && at + 4 <= self.capacity(), "cannot store a length there");
        // SAFETY: aligned (mappings begin at a page) and inside the mapping; not lent to anyone, as in `writable`.
        let place = unsafe { AtomicU32::from_ptr(self.map.as_mut_ptr().add(at).cast()) };
        place.store(length.to_le(), Ordering::Release);
    }

    /// From here on nothing below `to` is written again.
    pub fn seal(&mut self, to: usize) {
        assert!(self.sealed <= to && to <= self.capacity());
        self.sealed = to;
    }

    /// A sealed range that lives as long as it is needed, whatever becomes of this chunk.
    pub fn shared(&self, from: usize, to: usize) -> Bytes {
        assert!(from <= to && to <= self.sealed, "cannot share what is not sealed");
        Bytes::from_owner(Shared { map: Arc::clone(&self.map), from, to })
    }

    /// Makes it writable from the start again; false while a reader still holds a part of it.
    pub fn reset(&mut self) -> bool {
        // No weak references are ever made, so a count of one is this chunk alone.
        let alone = Arc::strong_count(&self.map) == 1;
        if alone {
            self.sealed = 0;
        }
        alone
    }

    /// Returns when a range is on the disk.
    pub fn flush(&self, from: usize, to: usize) -> io::Result<()> {
        if self.path.is_none() || from == to {
            return Ok(());
        }
        #[cfg(test)]
        if self.is_broken {
            return Err(io::Error::other("broken for a test"));
        }
        self.map.flush_range(from, to - from)
    }
}

/// A sealed range of a mapping.
struct Shared {
    map: Arc<MmapRaw>,
    from: usize,
    to: usize,
}

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the range was sealed when this was made: it is inside the mapping, and not written while `map` is
        // held here (see the promise above).
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(self.from), self.to - self.from) }
    }
}

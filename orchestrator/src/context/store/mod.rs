//! The context's edge on disk: mapped chunks, the folder they lie in, the reach and the meta file. It decides nothing.

mod chunk;
mod disk;
mod reach;
mod meta;

pub(super) use chunk::Chunk;
pub(super) use disk::Disk;
pub(super) use reach::{Reach, ReachFile};
pub(super) use meta::{Meta, MetaFile};

//! The context's edge on disk: mapped chunks, the folder they lie in, the reach and the meta file. It decides nothing.

mod chunk;
mod disk;
mod meta;
mod reach;

pub(super) use chunk::Chunk;
pub(super) use disk::Disk;
pub(super) use meta::{Meta, MetaFile};
pub(super) use reach::{Reach, ReachFile};

//! Bytes that are gathered in one block: those of a message that does not arrive in one piece.
//!
//! A large block goes to the pool when the message that took it is dropped, and comes from there where one is kept:
//! so a stream of large messages fills the same few blocks, which are neither grown nor zeroed again.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::buffer::BufferPool;

/// The front of a block. `filled <= block.len()` always; what lies between was initialised by somebody.
#[derive(Debug, Default)]
pub(crate) struct MessageBuf {
    block: Vec<u8>,
    filled: usize,
}

impl MessageBuf {
    /// Blocks from this size on are worth to be kept.
    const LARGE: usize = 64 << 10;

    pub(crate) fn capacity(&self) -> usize {
        self.block.capacity()
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.block.get(..self.filled).unwrap_or_default()
    }

    /// Forgets the bytes, and keeps the block.
    pub(crate) const fn clear(&mut self) {
        self.filled = 0;
    }

    /// Makes room for `capacity` bytes in all.
    pub(crate) fn reserve_to(&mut self, capacity: usize, pool: &dyn BufferPool) {
        if capacity <= self.capacity() {
            return;
        }
        let large = capacity >= Self::LARGE;
        let kept = large.then(|| pool.take_large(capacity)).flatten();
        if kept.is_none_or(|block| !self.move_to(block)) {
            let more = capacity.saturating_sub(self.block.len());
            self.block.reserve_exact(more);
        }
    }

    /// Moves the bytes to another block. Returns whether they fit.
    fn move_to(&mut self, mut block: Vec<u8>) -> bool {
        let held = self.as_slice();
        let Some(front) = block.get_mut(..held.len()) else {
            return false;
        };
        front.copy_from_slice(held);
        self.block = block;
        true
    }

    /// Adds bytes at the end.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let spare = self.block.get_mut(self.filled..).unwrap_or_default();
        let (over, behind) = bytes.split_at(bytes.len().min(spare.len()));
        if let Some(target) = spare.get_mut(..over.len()) {
            target.copy_from_slice(over);
        }
        self.block.extend_from_slice(behind);
        self.filled = self.filled.saturating_add(bytes.len());
    }

    /// Returns the room behind the bytes, to be read into.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        self.block.resize(self.block.capacity(), 0);
        self.block.get_mut(self.filled..).unwrap_or_default()
    }

    /// Says that `count` bytes of the room were filled, and returns them.
    pub(crate) fn commit(&mut self, count: usize) -> &mut [u8] {
        let start = self.filled;
        self.filled = start.saturating_add(count).min(self.block.len());
        self.block.get_mut(start..self.filled).unwrap_or_default()
    }

    /// Takes the bytes. Many give their block to the pool when they are dropped.
    pub(crate) fn take(&mut self, pool: &Arc<dyn BufferPool>) -> Bytes {
        let mut taken = core::mem::take(self);
        if taken.filled < taken.block.len() >> 1 {
            let bytes = Bytes::copy_from_slice(taken.as_slice());
            taken.release(&**pool);
            return bytes;
        }
        if taken.filled < Self::LARGE {
            taken.block.truncate(taken.filled);
            return taken.block.into();
        }
        let pool = pool.clone();
        Bytes::from_owner(PooledBlock { taken, pool })
    }

    /// Gives a large block to the pool, and forgets the bytes.
    pub(crate) fn release(&mut self, pool: &dyn BufferPool) {
        let released = core::mem::take(self);
        if released.block.len() >= Self::LARGE {
            pool.give(released.block);
        }
    }
}

/// Bytes whose block goes to the pool.
struct PooledBlock {
    taken: MessageBuf,
    pool: Arc<dyn BufferPool>,
}

impl AsRef<[u8]> for PooledBlock {
    fn as_ref(&self) -> &[u8] {
        self.taken.as_slice()
    }
}

impl Drop for PooledBlock {
    fn drop(&mut self) {
        self.taken.release(&*self.pool);
    }
}

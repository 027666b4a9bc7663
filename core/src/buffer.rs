//! Buffers that a connection leases while it needs one.
//!
//! A [`Buffer`] is a window into a block of initialised bytes. The block comes from a [`BufferPool`]
//! when there is something to hold, and goes back when there is nothing left, so that an idle
//! connection holds none. Blocks are zeroed once, when they are made, never per read.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// Where connections lease their buffers from.
///
/// The default pool allocates and frees. A driver injects one that keeps a few blocks per thread, so
/// that they stay in the processor's cache.
pub trait BufferPool: fmt::Debug + Send + Sync {
    /// Returns a block of initialised bytes, of any content and of a length of the pool's choosing
    /// (at least 256 bytes).
    fn take(&self) -> Vec<u8>;

    /// Takes back a block. It may have another length than the one taken.
    fn give(&self, block: Vec<u8>);
}

/// The default pool: every block is allocated and freed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unpooled;

impl Unpooled {
    const BLOCK: usize = 4096;
}

impl BufferPool for Unpooled {
    fn take(&self) -> Vec<u8> {
        vec![0; Self::BLOCK]
    }

    fn give(&self, _block: Vec<u8>) {}
}

/// Bytes in a leased block: consumed at the front, added at the end.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    block: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// A buffer without a block.
    pub(crate) const EMPTY: Self = Self {
        block: Vec::new(),
        start: 0,
        end: 0,
    };

    /// Below this, what is left over is copied into a fresh block instead of being added to.
    const SMALL: usize = 256;

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.end.saturating_sub(self.start)
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    #[inline]
    pub(crate) fn filled(&self) -> &[u8] {
        self.block.get(self.start..self.end).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn filled_mut(&mut self) -> &mut [u8] {
        self.block.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Drops `count` bytes from the front.
    #[inline]
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        if self.is_empty() {
            self.clear();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Returns room for more bytes, at least one, and as much as the block has.
    pub(crate) fn room(&mut self, pool: &dyn BufferPool) -> &mut [u8] {
        if self.block.len() == self.end {
            self.make_room(pool);
        }
        self.block.get_mut(self.end..).unwrap_or_default()
    }

    /// Says that `count` bytes of the room were filled.
    #[inline]
    pub(crate) fn commit(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.block.len());
    }

    /// Adds `count` bytes at the end and returns them, to be overwritten.
    #[inline]
    pub(crate) fn extend(&mut self, count: usize, pool: &dyn BufferPool) -> &mut [u8] {
        let end = self.end.saturating_add(count);
        if end > self.block.len() {
            self.grow(count, pool);
        }
        let start = self.end;
        self.commit(count);
        self.block.get_mut(start..self.end).unwrap_or_default()
    }

    pub(crate) fn extend_from_slice(&mut self, bytes: &[u8], pool: &dyn BufferPool) {
        self.extend(bytes.len(), pool).copy_from_slice(bytes);
    }

    /// Gives the block back, or, where a little is left over, exchanges it for one of that size.
    pub(crate) fn release(&mut self, pool: &dyn BufferPool) {
        let held = self.len();
        if held > self.block.len() >> 2 || self.block.is_empty() {
            return;
        }
        let left: Vec<u8> = self.filled().into();
        let old = core::mem::replace(&mut self.block, left);
        self.start = 0;
        self.end = held;
        Self::give(old, pool);
    }

    /// Makes room at the end: by moving what is held to the front, by a fresh block, or by growing.
    #[cold]
    fn make_room(&mut self, pool: &dyn BufferPool) {
        if self.start > 0 {
            self.compact();
        } else if self.end < Self::SMALL {
            self.lease(pool);
        } else {
            self.block.resize(self.block.len().saturating_mul(2), 0);
        }
    }

    /// Makes room for `count` bytes. Moves what is held only where that frees as much as it moves.
    #[cold]
    fn grow(&mut self, count: usize, pool: &dyn BufferPool) {
        if self.start >= self.len() {
            self.compact();
        }
        if self.start == 0 && self.end < Self::SMALL {
            self.lease(pool);
        }
        let needed = self.end.saturating_add(count);
        if needed > self.block.len() {
            let doubled = self.block.len().saturating_mul(2);
            self.block.resize(needed.max(doubled), 0);
        }
    }

    fn compact(&mut self) {
        self.block.copy_within(self.start..self.end, 0);
        self.end = self.len();
        self.start = 0;
    }

    /// Exchanges the block for a fresh one, unless that would be smaller.
    fn lease(&mut self, pool: &dyn BufferPool) {
        let mut fresh = pool.take();
        if fresh.len() <= self.block.len() {
            pool.give(fresh);
            return;
        }
        if let Some(front) = fresh.get_mut(..self.end) {
            front.copy_from_slice(self.block.get(..self.end).unwrap_or_default());
        }
        let old = core::mem::replace(&mut self.block, fresh);
        Self::give(old, pool);
    }

    /// Gives a block back, unless it is one that held what was left over.
    fn give(block: Vec<u8>, pool: &dyn BufferPool) {
        if block.len() >= Self::SMALL {
            pool.give(block);
        }
    }
}

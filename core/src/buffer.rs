//! Buffers that a connection leases while it needs one.
//!
//! A [`Buffer`] is a window into a block of initialised bytes. The block comes from a [`BufferPool`]
//! when there is something to hold, and goes back when there is nothing left, so that an idle
//! connection holds none. Blocks are zeroed once, when they are made, never per read.

use alloc::sync::Arc;
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

    /// Returns a kept block of at least `size` initialised bytes, for a large message that arrives in parts. The
    /// block of such a message is [given](Self::give) when the message is dropped, on whatever thread, wherever it
    /// came from. By default none is kept.
    fn take_large(&self, size: usize) -> Option<Vec<u8>> {
        let _ = size;
        None
    }

    /// Whether there are blocks enough that a connection which has just received, and may go on to, keeps
    /// its own. By default it gives it back.
    fn has_spare(&self) -> bool {
        false
    }
}

/// Pools nothing: every block is allocated when it is needed and freed when it is not.
///
/// The default [`BufferPool`]; with the feature `deflate` it is a `CodecPool` as well.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPool;

impl NoPool {
    const BLOCK: usize = 4096;
}

impl BufferPool for NoPool {
    fn take(&self) -> Vec<u8> {
        vec![0; Self::BLOCK]
    }

    fn give(&self, _block: Vec<u8>) {}
}

/// Bytes in a leased block: consumed at the front, added at the end. `start <= end <= block.len()` always.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    block: Vec<u8>,
    start: usize,
    end: usize,
    /// Whether the block is one of the pool's.
    leased: bool,
    /// Whether the pool had enough of them when it was leased.
    had_spare: bool,
}

impl Buffer {
    /// A buffer without a block.
    pub(crate) const EMPTY: Self = Self {
        block: Vec::new(),
        start: 0,
        end: 0,
        leased: false,
        had_spare: false,
    };

    /// Below this, what is left over is copied into a fresh block instead of being added to.
    const SMALL: usize = 256;

    /// Bytes of a block of its own, for what is sent a little at a time. Only what is longer is worth a
    /// block of the pool.
    const OWN: usize = 2048;

    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.end.wrapping_sub(self.start)
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether the block is one of the pool's.
    #[inline]
    pub(crate) const fn is_leased(&self) -> bool {
        self.leased
    }

    #[inline]
    pub(crate) fn filled(&self) -> &[u8] {
        self.block.get(self.start..self.end).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn filled_mut(&mut self) -> &mut [u8] {
        self.block.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Whether the block is one of the pool's, which had enough of them.
    #[inline]
    pub(crate) const fn may_be_kept(&self) -> bool {
        self.had_spare
    }

    /// Returns the first `count` bytes; none where there are fewer.
    #[inline]
    pub(crate) fn front(&self, count: usize) -> &[u8] {
        let end = self.start.wrapping_add(count);
        self.block.get(self.start..end).unwrap_or_default()
    }

    /// Drops `count` bytes from the front.
    #[inline]
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = self.start.wrapping_add(count.min(self.len()));
        if self.start == self.end {
            self.clear();
        }
    }

    /// Drops `count` bytes from the end.
    pub(crate) fn retract(&mut self, count: usize) {
        self.end = self.end.saturating_sub(count.min(self.len()));
    }

    #[inline]
    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Returns room for more bytes, at least one, and as much as the block has.
    #[inline(always)]
    pub(crate) fn room(&mut self, pool: &Arc<dyn BufferPool>) -> &mut [u8] {
        if self.block.len() == self.end {
            self.make_room(&**pool);
        }
        self.block.get_mut(self.end..).unwrap_or_default()
    }

    /// Says that `count` bytes of the room were filled. Returns how many that are: no more than there was.
    #[inline]
    pub(crate) fn commit(&mut self, count: usize) -> usize {
        let count = count.min(self.block.len().saturating_sub(self.end));
        self.end = self.end.saturating_add(count);
        count
    }

    /// Adds `count` bytes at the end and returns them, to be overwritten.
    #[inline]
    pub(crate) fn extend(&mut self, count: usize, pool: &Arc<dyn BufferPool>) -> &mut [u8] {
        if count > self.block.len().wrapping_sub(self.end) {
            self.grow(count, &**pool);
        }
        let start = self.end;
        let end = start.wrapping_add(count);
        self.end = end;
        self.block.get_mut(start..end).unwrap_or_default()
    }

    pub(crate) fn extend_from_slice(&mut self, bytes: &[u8], pool: &Arc<dyn BufferPool>) {
        self.extend(bytes.len(), pool).copy_from_slice(bytes);
    }

    /// Gives the block back, or, where a little is left over, exchanges it for one of that size.
    pub(crate) fn release(&mut self, pool: &Arc<dyn BufferPool>) {
        let held = self.len();
        if held > self.block.len() >> 2 || self.block.is_empty() {
            return;
        }
        let left: Vec<u8> = self.filled().into();
        self.exchange(left, false, &**pool);
        self.start = 0;
        self.end = held;
    }

    /// Gives a leased block back, whatever is in it.
    pub(crate) fn give_back(&mut self, pool: &Arc<dyn BufferPool>) {
        if self.leased {
            self.clear();
            self.exchange(Vec::new(), false, &**pool);
        }
    }

    /// Replaces the block, and gives the old one back if it is the pool's.
    fn exchange(&mut self, block: Vec<u8>, leased: bool, pool: &dyn BufferPool) {
        let old = core::mem::replace(&mut self.block, block);
        if core::mem::replace(&mut self.leased, leased) {
            pool.give(old);
        }
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
        let needed = self.end.saturating_add(count);
        if needed <= self.block.len() {
            return;
        }
        if needed <= Self::OWN {
            self.block.resize(Self::OWN, 0);
            return;
        }
        if !self.is_leased() {
            self.lease(pool);
        }
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
        self.exchange(fresh, true, pool);
        self.had_spare = pool.has_spare();
    }
}

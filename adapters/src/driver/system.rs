//! The default configuration of a driver, and the buffers that a thread keeps.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::sync::LazyLock;

use sansock_core::{BufferPool, Config};

/// Returns the default configuration of a driver, which leases buffers from the thread's pool.
///
/// ```
/// let config = sansock::config().max_message_size(16 << 20);
/// ```
#[must_use]
pub fn config() -> Config {
    static CONFIG: LazyLock<Config> = LazyLock::new(|| Config::new().buffers(ThreadBuffers));
    CONFIG.clone()
}

/// Buffers of 68 KiB, of which each thread keeps a few; and up to 4 MiB of blocks for large messages.
///
/// A connection holds one only while there is something in it, so that thousands of idle connections
/// share what a few busy ones need, and the block in use stays in the processor's cache.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThreadBuffers;

/// The blocks of one thread.
#[derive(Debug)]
struct Blocks {
    kept: Vec<Vec<u8>>,
    /// Those of messages that were larger.
    large: Vec<Vec<u8>>,
    /// How many were made here, more than are kept at most.
    made: usize,
}

impl Blocks {
    /// Keeps a large block. Returns what is too much then: the smallest of them.
    fn keep_large(&mut self, block: Vec<u8>) -> Option<Vec<u8>> {
        self.large.push(block);
        let kept: usize = self.large.iter().map(Vec::len).sum();
        if kept <= ThreadBuffers::KEPT_LARGE {
            return None;
        }
        let sizes = self.large.iter().map(Vec::len).enumerate();
        let (smallest, _) = sizes.min_by_key(|&(_, size)| size)?;
        Some(self.large.swap_remove(smallest))
    }
}

impl ThreadBuffers {
    /// So that messages of 64 KiB in all are read and queued together with their headers.
    const BLOCK: usize = (64 << 10) + 4096;
    const KEPT: usize = 8;
    /// Bytes of the large blocks that are kept.
    const KEPT_LARGE: usize = 4 << 20;

    /// Uses the blocks of this thread, unless it is about to end.
    #[inline]
    fn with<R>(use_them: impl FnOnce(&mut Blocks) -> R) -> Option<R> {
        let used = BLOCKS.try_with(|blocks| use_them(&mut *blocks.try_borrow_mut().ok()?).into());
        used.ok().flatten()
    }
}

thread_local! {
    static BLOCKS: RefCell<Blocks> = const {
        RefCell::new(Blocks { kept: Vec::new(), large: Vec::new(), made: 0 })
    };
}

impl BufferPool for ThreadBuffers {
    fn take(&self) -> Vec<u8> {
        let kept = Self::with(|blocks| {
            let kept = blocks.kept.pop();
            blocks.made = blocks.made.saturating_add(usize::from(kept.is_none()));
            kept
        });
        kept.flatten().unwrap_or_else(|| vec![0; Self::BLOCK])
    }

    fn give(&self, block: Vec<u8>) {
        let surplus = Self::with(|blocks| match block.len().cmp(&Self::BLOCK) {
            Ordering::Greater => blocks.keep_large(block),
            Ordering::Equal if blocks.kept.len() < Self::KEPT => {
                blocks.kept.push(block);
                None
            }
            Ordering::Equal | Ordering::Less => Some(block),
        });
        drop(surplus);
    }

    fn take_large(&self, size: usize) -> Option<Vec<u8>> {
        let kept = Self::with(|blocks| {
            let found = blocks.large.iter().rposition(|block| block.len() >= size)?;
            Some(blocks.large.swap_remove(found))
        });
        kept.flatten()
    }

    /// While this thread has made no more than it keeps, or has some left.
    fn has_spare(&self) -> bool {
        let abound = Self::with(|blocks| blocks.made <= Self::KEPT || !blocks.kept.is_empty());
        abound.unwrap_or(false)
    }
}

//! What the operating system and the thread give to connections: seeds and buffers.

use std::cell::RefCell;
use std::sync::LazyLock;

use sansock_core::{BufferPool, Config, Entropy, EntropyError};

/// Returns the default configuration of a driver: seeds from the operating system, buffers from the
/// thread's pool.
///
/// ```
/// let config = sansock::config().max_message_size(16 << 20);
/// ```
#[must_use]
pub fn config() -> Config {
    static CONFIG: LazyLock<Config> =
        LazyLock::new(|| Config::new().entropy(SystemEntropy).buffers(ThreadBuffers));
    CONFIG.clone()
}

/// Seeds from the operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn seed(&self) -> Result<[u8; 32], EntropyError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|_| EntropyError)?;
        Ok(seed)
    }
}

/// Buffers of 64 KiB, of which each thread keeps a few.
///
/// A connection holds one only while there is something in it, so that thousands of idle connections
/// share what a few busy ones need, and the block in use stays in the processor's cache.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThreadBuffers;

/// The blocks of one thread.
#[derive(Debug, Default)]
struct Blocks {
    kept: Vec<Vec<u8>>,
    /// How many were made here, more than are kept at most.
    made: usize,
}

impl ThreadBuffers {
    const BLOCK: usize = 64 << 10;
    const KEPT: usize = 8;

    /// Uses the blocks of this thread, unless it is about to end.
    #[inline]
    fn with<R>(use_them: impl FnOnce(&mut Blocks) -> R) -> Option<R> {
        let used = BLOCKS.try_with(|blocks| use_them(&mut *blocks.try_borrow_mut().ok()?).into());
        used.ok().flatten()
    }
}

thread_local! {
    static BLOCKS: RefCell<Blocks> = const {
        RefCell::new(Blocks { kept: Vec::new(), made: 0 })
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
        if block.len() != Self::BLOCK {
            return;
        }
        let surplus = Self::with(|blocks| {
            if blocks.kept.len() < Self::KEPT {
                blocks.kept.push(block);
                return None;
            }
            Some(block)
        });
        drop(surplus);
    }

    /// While this thread has made no more than it keeps, or has some left.
    fn abounds(&self) -> bool {
        let abound = Self::with(|blocks| blocks.made <= Self::KEPT || !blocks.kept.is_empty());
        abound.unwrap_or(false)
    }
}

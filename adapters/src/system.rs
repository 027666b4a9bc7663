//! What the operating system and the thread give to connections: seeds and buffers.

use std::cell::Cell;

use sansock_core::{BufferPool, Config, Entropy, EntropyError};

/// Returns the default configuration of a driver: seeds from the operating system, buffers from the
/// thread's pool.
///
/// ```
/// let config = sansock::config().max_message_size(16 << 20);
/// ```
#[must_use]
pub fn config() -> Config {
    Config::new().entropy(SystemEntropy).buffers(ThreadBuffers)
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

impl ThreadBuffers {
    const BLOCK: usize = 64 << 10;
    const KEPT: usize = 8;
}

thread_local! {
    static KEPT: Cell<Vec<Vec<u8>>> = const { Cell::new(Vec::new()) };
}

impl BufferPool for ThreadBuffers {
    fn take(&self) -> Vec<u8> {
        let kept = KEPT.try_with(|cell| {
            let mut blocks = cell.take();
            let block = blocks.pop();
            cell.set(blocks);
            block
        });
        kept.ok().flatten().unwrap_or_else(|| vec![0; Self::BLOCK])
    }

    fn give(&self, block: Vec<u8>) {
        if block.len() != Self::BLOCK {
            return;
        }
        // A thread that ends has no pool any more; then the block is freed.
        let _ = KEPT.try_with(|cell| {
            let mut blocks = cell.take();
            if blocks.len() < Self::KEPT {
                blocks.push(block);
            }
            cell.set(blocks);
        });
    }
}

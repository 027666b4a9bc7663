//! What a side wants of compression, and what it costs.

use alloc::{sync::Arc, vec::Vec};
use core::iter;

use super::compressor::Compressor;
use super::decompressor::Decompressor;
use super::deflater::DeflaterKind;
use super::negotiate::{ClientWindow, Context, Parameters, Terms};
use super::pool::CodecPool;

/// Compression of messages (permessage-deflate, RFC 7692): what to offer or accept, and how to compress.
///
/// The same type configures both sides; where a setting means one thing to a client and another to a
/// server, it says so. Numbers outside the stated range are moved to its nearer end.
///
/// Compressing secrets together with what an attacker can choose lets the length of the messages tell
/// the secrets (RFC 7692 section 8). Send such messages uncompressed; without context takeover, at
/// least no message tells about another.
///
/// ```
/// use sansock_core::deflate::Deflate;
///
/// let deflate = Deflate::new().level(6).server_max_window_bits(10);
/// let config = sansock_core::Config::new().deflate(deflate);
/// ```
#[derive(Debug, Clone)]
pub struct Deflate {
    pub(super) terms: Terms,
    pub(super) requires_client_window: bool,
    fallbacks: Vec<Terms>,
    level: u8,
    mem_level: u8,
    threshold: usize,
    pool: Arc<dyn CodecPool>,
}

impl Default for Deflate {
    fn default() -> Self {
        Self::new()
    }
}

impl Deflate {
    /// Returns the defaults that the setters state, with a [pool](Self::pool) of its own: make it once, and clone it, or the
    /// configuration that has it, for each connection.
    #[must_use]
    pub fn new() -> Self {
        Self {
            terms: Terms {
                client_max_window_bits: Some(ClientWindow::Any),
                ..Terms::default()
            },
            requires_client_window: false,
            fallbacks: Vec::new(),
            level: 4,
            mem_level: 6,
            threshold: 64,
            pool: default_pool(),
        }
    }

    /// Sets how hard to search for repetitions: 1 (fastest) to 9 (smallest). Default 4, which saves 99 %
    /// of what level 6 saves of JSON, in nine tenths of the time.
    #[must_use]
    pub fn level(mut self, level: u8) -> Self {
        self.level = level.clamp(1, 9);
        self
    }

    /// Sets how much memory a compressor uses for blocks: 1 to 9. Default 6, which compresses messages
    /// of up to 16 KiB as well as more would.
    #[must_use]
    pub fn mem_level(mut self, mem_level: u8) -> Self {
        self.mem_level = mem_level.clamp(1, 9);
        self
    }

    /// Sets the length in bytes below which messages go uncompressed. Default 64.
    #[must_use]
    pub fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// Bounds the window of the messages that the server sends, as an exponent of two of bytes: 8 to 15
    /// (RFC 7692 section 7.1.2.1).
    ///
    /// A server uses no larger window; default 12, or 4 KiB. What is set here is also sent to a client that did
    /// not offer the parameter, which can then use less memory; some clients fail instead. A client asks for no larger one; by
    /// default it does not ask. Each side keeps this much per connection, if context is taken over.
    #[must_use]
    pub fn server_max_window_bits(mut self, bits: u8) -> Self {
        self.terms.server_max_window_bits = Some(bits.clamp(8, 15));
        self
    }

    /// Bounds the window of the messages that the client sends, as an exponent of two of bytes: 8 to 15
    /// (RFC 7692 section 7.1.2.2).
    ///
    /// A server asks for no larger window, where the client offers to be asked; default 12, or 4 KiB.
    /// A client uses no larger one; by default, the one that the server asks for. To offer no bound, use
    /// [`omit_client_max_window_bits`](Self::omit_client_max_window_bits).
    #[must_use]
    pub fn client_max_window_bits(mut self, bits: u8) -> Self {
        self.terms.client_max_window_bits = Some(ClientWindow::AtMost(bits.clamp(8, 15)));
        self
    }

    /// Leaves `client_max_window_bits` out of a client's offer. A server means nothing by it.
    ///
    /// By default a client offers that the server may bound its window, as browsers do. Some servers decline an offer
    /// with this parameter, or fail the handshake. Without it, the client's messages refer to a window of 32 KiB,
    /// which the server has to keep, unless [context takeover](Self::client_no_context_takeover) is off. A later
    /// [`client_max_window_bits`](Self::client_max_window_bits) puts it back. To try both, see [`or`](Self::or).
    ///
    /// ```
    /// use sansock_core::deflate::Deflate;
    ///
    /// let plain = Deflate::new().omit_client_max_window_bits();
    /// let deflate = Deflate::new().or(&plain);
    /// ```
    #[must_use]
    pub fn omit_client_max_window_bits(mut self) -> Self {
        self.terms.client_max_window_bits = None;
        self
    }

    /// Makes a server decline offers of clients whose window it cannot bound. Default: such clients use
    /// a window of 32 KiB.
    #[must_use]
    pub fn require_client_max_window_bits(mut self) -> Self {
        self.requires_client_window = true;
        self
    }

    /// Makes the messages of the server independent of one another (RFC 7692 section 7.1.1.1). Default:
    /// they refer to each other, which makes short messages much smaller.
    #[must_use]
    pub fn server_no_context_takeover(mut self) -> Self {
        self.terms.server_no_context_takeover = true;
        self
    }

    /// Makes the messages of the client independent of one another (RFC 7692 section 7.1.1.2). Default:
    /// they refer to each other, which makes short messages much smaller.
    #[must_use]
    pub fn client_no_context_takeover(mut self) -> Self {
        self.terms.client_no_context_takeover = true;
        self
    }

    /// Makes a client offer what `fallback` would offer as well, for servers that decline the rest
    /// (RFC 7692 section 5.2). Of `fallback`, only the windows and context takeover count. Default: none.
    #[must_use]
    pub fn or(mut self, fallback: &Self) -> Self {
        self.fallbacks.extend(fallback.offered());
        self
    }

    /// Sets where connections borrow compressors and decompressors. Default: with the feature `std`, a
    /// [`BoundedPool`](super::BoundedPool) of 32 of a kind for all clones of this configuration, else [`NoPool`](crate::NoPool).
    #[must_use]
    pub fn pool(mut self, pool: Arc<dyn CodecPool>) -> Self {
        self.pool = pool;
        self
    }

    pub(super) fn offered(&self) -> impl Iterator<Item = Terms> {
        iter::once(self.terms).chain(self.fallbacks.iter().copied())
    }

    /// Returns the compressor of a connection; it allocates nothing before its first message.
    #[must_use]
    pub(super) fn compressor(&self, parameters: Parameters) -> Compressor {
        let context = parameters.ours();
        let kind = self.deflater_kind(context);
        Compressor::new(kind, context, self.threshold, Arc::clone(&self.pool))
    }

    fn deflater_kind(&self, context: Context) -> DeflaterKind {
        DeflaterKind::new(context.window_bits(), self.level, self.mem_level)
    }

    /// Returns the decompressor of a connection; it allocates nothing before its first message.
    #[must_use]
    pub(super) fn decompressor(&self, parameters: Parameters) -> Decompressor {
        Decompressor::new(parameters.theirs(), Arc::clone(&self.pool))
    }
}

#[cfg(feature = "std")]
fn default_pool() -> Arc<dyn CodecPool> {
    Arc::new(super::pool::BoundedPool::new(32))
}

#[cfg(not(feature = "std"))]
fn default_pool() -> Arc<dyn CodecPool> {
    Arc::new(crate::NoPool)
}

//! Compresses the messages of one direction (RFC 7692 section 7.2.1), with or without context takeover
//! (section 7.1.1).
//!
//! The rule: what the history holds is always the end of what the peer's decompressor has inflated. A
//! message sent uncompressed enters neither; one compressed elsewhere enters both, and the compressor
//! at hand, which has not seen it, is given back.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::fmt;

use super::deflater::{Deflater, DeflaterKind, TAIL};
use super::history::History;
use super::negotiate::Context;
use super::pool::{CodecKind, CodecPool, give_deflater, take_deflater};

/// A stored block without bytes, from one byte's start to another's.
const EMPTY_BLOCK: [u8; 5] = [0x00, 0x00, 0x00, 0xff, 0xff];

/// Compresses the messages that one side of a connection sends.
pub struct Compressor {
    kind: DeflaterKind,
    takeover: bool,
    threshold: usize,
    /// Stays empty without context takeover.
    history: History,
    deflater: Option<Box<Deflater>>,
    is_in_message: bool,
    pool: Arc<dyn CodecPool>,
}

impl Compressor {
    pub(super) fn new(
        kind: DeflaterKind,
        context: Context,
        threshold: usize,
        pool: Arc<dyn CodecPool>,
    ) -> Self {
        Self {
            kind,
            takeover: context.takeover(),
            threshold,
            history: History::new(context.window()),
            deflater: None,
            is_in_message: false,
            pool,
        }
    }

    /// Whether a message of this length in bytes is worth compressing.
    #[must_use]
    pub fn is_worthwhile(&self, length: usize) -> bool {
        length >= self.threshold
    }

    /// Compresses a fragment that others follow, and appends the payload of its frame to `output`.
    ///
    /// Who has received the frame can inflate all of `plain`.
    pub fn compress_fragment(&mut self, plain: &[u8], output: &mut Vec<u8>) {
        self.compress(plain, output);
        self.is_in_message = true;
    }

    /// Compresses a whole message or its last fragment, and appends the payload of its frame to `output`.
    pub fn compress_final(&mut self, plain: &[u8], output: &mut Vec<u8>) {
        self.compress(plain, output);
        output.truncate(output.len().saturating_sub(TAIL.len()));
        self.is_in_message = false;
    }

    fn compress(&mut self, plain: &[u8], output: &mut Vec<u8>) {
        if plain.is_empty() {
            output.extend_from_slice(&EMPTY_BLOCK);
            return;
        }
        let mut deflater = self.started();
        deflater.deflate(plain, output);
        self.deflater = Some(deflater);
        if self.takeover {
            self.history.record(plain);
        }
    }

    fn started(&mut self) -> Box<Deflater> {
        let continues = self.takeover || self.is_in_message;
        match self.deflater.take() {
            Some(deflater) if continues => deflater,
            borrowed => {
                let mut deflater =
                    borrowed.unwrap_or_else(|| take_deflater(&*self.pool, self.kind));
                deflater.start(self.history.as_slice());
                deflater
            }
        }
    }

    /// Compresses a whole message for any number of connections whose [`kind`](Self::kind) is this one.
    ///
    /// It refers to no message before it, and touches neither history nor context. Who sends the
    /// payload on a connection calls [`record_prepared`](Self::record_prepared) of its compressor.
    pub fn compress_prepared(&self, plain: &[u8], output: &mut Vec<u8>) {
        let mut alone = Self {
            takeover: false,
            history: History::new(0),
            deflater: None,
            is_in_message: false,
            pool: Arc::clone(&self.pool),
            ..*self
        };
        alone.compress_final(plain, output);
        alone.release();
    }

    /// Takes note of a message between others whose payload came from [`compress_prepared`](Self::compress_prepared).
    ///
    /// While the history is empty it stays so: a sender need not refer to all that it has sent, and one
    /// that only sends prepared messages keeps nothing.
    pub fn record_prepared(&mut self, plain: &[u8]) {
        if !self.history.is_empty() {
            self.history.record(plain);
            self.release();
        }
    }

    /// Gives the borrowed compressor back; the history stays, and the next message borrows again.
    ///
    /// May be called at any time, between the fragments of a message as well.
    pub fn release(&mut self) {
        if let Some(deflater) = self.deflater.take() {
            give_deflater(&*self.pool, deflater);
        }
    }

    /// Whether a compressor is borrowed.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.deflater.is_some()
    }

    /// Returns the kind of compressor that this one borrows.
    #[must_use]
    pub fn kind(&self) -> CodecKind {
        CodecKind::of_deflater(self.kind)
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor")
            .field("kind", &self.kind)
            .field("takeover", &self.takeover)
            .field("is_busy", &self.is_busy())
            .finish_non_exhaustive()
    }
}

//! Messages that are compressed once for many connections.
//!
//! A prepared payload starts from an empty context and so never refers to an earlier message: any
//! decompressor inflates it, whatever it has seen before, if its window is at least as large as the
//! compressor's. It enters the receiver's window like every message, which the sender's
//! [`record_prepared`](Compressor::record_prepared) has to be told.

use alloc::vec::Vec;

use bytes::Bytes;

use super::compressor::Compressor;
use super::pool::CodecKind;

/// The compressed forms of one message: one for each kind of compressor among its connections.
#[derive(Debug, Clone, Default)]
pub struct PreparedPayloads {
    payloads: Vec<(CodecKind, Bytes)>,
}

impl PreparedPayloads {
    /// Returns a cache that holds nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            payloads: Vec::new(),
        }
    }

    /// Returns the compressed form of `plain`, always the same message, for who has this compressor.
    pub fn payload(&mut self, plain: &[u8], compressor: &Compressor) -> Bytes {
        let kind = compressor.kind();
        if let Some((_, payload)) = self.payloads.iter().find(|(other, _)| *other == kind) {
            return payload.clone();
        }
        let mut payload = Vec::new();
        compressor.compress_prepared(plain, &mut payload);
        let payload = Bytes::from(payload);
        self.payloads.push((kind, payload.clone()));
        payload
    }
}

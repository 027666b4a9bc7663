//! What the tests of compression share: numbers, messages, hand-made DEFLATE data, and sides of a connection.

use alloc::{sync::Arc, vec, vec::Vec};

use super::Deflate;
use super::compressor::Compressor;
use super::decompressor::Decompressor;
use super::error::DecompressError;
use super::negotiate::Parameters;
use crate::buffer::NoPool;

/// Numbers that look random and are the same in every run.
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(256) as u8).collect()
    }

    /// Returns bytes that repeat themselves at distances of all sizes, among bytes that do not.
    pub(super) fn message(&mut self, length: usize) -> Vec<u8> {
        let mut message = Vec::new();
        while message.len() < length {
            let stretch = 1 + self.below(300);
            if message.is_empty() || self.below(3) == 0 {
                let alphabet = [2, 26, 256][self.below(3)];
                message.extend((0..stretch).map(|_| self.below(alphabet) as u8));
            } else {
                let reach = 1 << self.below(16);
                let distance = 1 + self.below(message.len().min(reach));
                for _ in 0..stretch {
                    message.push(message[message.len() - distance]);
                }
            }
        }
        message.truncate(length);
        message
    }
}

/// Writes blocks with the fixed codes (RFC 1951 section 3.2.6), bit by bit.
#[derive(Default)]
pub(super) struct FixedBlocks {
    bytes: Vec<u8>,
    used: u32,
}

impl FixedBlocks {
    fn bits(&mut self, value: u32, count: u32) {
        for bit in 0..count {
            if self.used % 8 == 0 {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().unwrap() |= ((value >> bit & 1) as u8) << (self.used % 8);
            self.used += 1;
        }
    }

    fn code(&mut self, code: u32, length: u32) {
        self.bits(code.reverse_bits() >> (32 - length), length);
    }

    pub(super) fn block(mut self) -> Self {
        self.bits(0b010, 3);
        self
    }

    pub(super) fn final_block(mut self) -> Self {
        self.bits(0b011, 3);
        self
    }

    pub(super) fn symbol(mut self, symbol: u32) -> Self {
        match symbol {
            0..=143 => self.code(0x30 + symbol, 8),
            144..=255 => self.code(0x190 + symbol - 144, 9),
            256..=279 => self.code(symbol - 256, 7),
            _ => self.code(0xc0 + symbol - 280, 8),
        }
        self
    }

    pub(super) fn literals(self, bytes: &[u8]) -> Self {
        bytes
            .iter()
            .fold(self, |blocks, byte| blocks.symbol(u32::from(*byte)))
    }

    /// Starts a block with codes of its own: 257 of literals and lengths, one of distances. Their lengths
    /// are written by [`code_length`](Self::code_length) and [`zeros`](Self::zeros).
    pub(super) fn dynamic_block(mut self) -> Self {
        self.bits(0b100, 3);
        self.bits(14 << 10, 14);
        // The codes of 18, 0 and 1, in the order of RFC 1951 section 3.2.7.
        for length in [0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2] {
            self.bits(length, 3);
        }
        self
    }

    /// Writes a code length of 0 or 1.
    pub(super) fn code_length(mut self, length: u32) -> Self {
        self.code(0b10 | length, 2);
        self
    }

    /// Writes 11 to 138 code lengths of 0.
    pub(super) fn zeros(mut self, count: u32) -> Self {
        self.code(0, 1);
        self.bits(count - 11, 7);
        self
    }

    /// Writes a match of three bytes.
    pub(super) fn back(self, distance: u32) -> Self {
        let mut blocks = self.symbol(257);
        let code = (0..30)
            .rev()
            .find(|code| distance_base(*code) <= distance)
            .unwrap();
        blocks.code(code, 5);
        blocks.bits(distance - distance_base(code), distance_bits(code));
        blocks
    }

    pub(super) fn end(self) -> Self {
        self.symbol(256)
    }

    /// Starts the next block with the next byte, as it must after a final block.
    pub(super) fn align(mut self) -> Self {
        self.used = self.used.next_multiple_of(8);
        self
    }

    pub(super) fn stored(mut self, bytes: &[u8]) -> Self {
        self.bits(0b000, 3);
        let length = bytes.len() as u16;
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend((!length).to_le_bytes());
        self.bytes.extend(bytes);
        self.used = self.bytes.len() as u32 * 8;
        self
    }

    /// Ends the message, with a stored block whose lengths are left out.
    pub(super) fn message(mut self) -> Vec<u8> {
        self.bits(0b000, 3);
        self.bytes
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.bytes
    }
}

fn distance_bits(code: u32) -> u32 {
    (code / 2).saturating_sub(1)
}

fn distance_base(code: u32) -> u32 {
    1 + (0..code).map(|code| 1 << distance_bits(code)).sum::<u32>()
}

/// Returns what both directions agree on: windows of these bits, and context takeover or none.
pub(super) fn agreed(bits: u8, takeover: bool) -> Parameters {
    let mut deflate = Deflate::new()
        .server_max_window_bits(bits)
        .client_max_window_bits(bits);
    if !takeover {
        deflate = deflate
            .server_no_context_takeover()
            .client_no_context_takeover();
    }
    let offer = [("client_max_window_bits", None)];
    deflate.answer(offer).unwrap().1
}

pub(super) fn compressor(level: u8, bits: u8, takeover: bool) -> Compressor {
    Deflate::new()
        .level(level)
        .pool(Arc::new(NoPool))
        .compressor(agreed(bits, takeover))
}

pub(super) fn decompressor(bits: u8, takeover: bool) -> Decompressor {
    Deflate::new()
        .pool(Arc::new(NoPool))
        .decompressor(agreed(bits, takeover))
}

pub(super) fn compressed(compressor: &mut Compressor, plain: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    compressor.compress_final(plain, &mut payload);
    payload
}

/// Inflates a message that comes in these pieces; on error, returns what came out before as well.
pub(super) fn inflate_pieces(
    decompressor: &mut Decompressor,
    pieces: &[&[u8]],
    limit: usize,
) -> (Vec<u8>, Result<(), DecompressError>) {
    let mut plain = vec![];
    let mut result = Ok(());
    for piece in pieces {
        result = result.and_then(|()| {
            decompressor.decompress(piece, limit - plain.len(), |bytes| {
                plain.extend_from_slice(bytes);
                Ok(())
            })
        });
    }
    let result = result.and_then(|()| decompressor.finish());
    (plain, result)
}

pub(super) fn inflate(
    decompressor: &mut Decompressor,
    payload: &[u8],
) -> Result<Vec<u8>, DecompressError> {
    let (plain, result) = inflate_pieces(decompressor, &[payload], usize::MAX);
    result.map(|()| plain)
}

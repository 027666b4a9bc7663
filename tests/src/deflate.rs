//! Compressed messages (RFC 7692), their DEFLATE blocks written by hand from RFC 1951.

use sansock_core::deflate::Deflate;
use sansock_core::{Config, Connection, Negotiated, Side};

use crate::end::{End, config};

/// RSV1 in the first byte: the message is compressed.
pub const RSV1: u8 = 0x40;

/// What the sender of a message leaves out at its end (RFC 7692 section 7.2.1).
pub const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Windows of 4 KiB both ways, with context takeover.
pub const TWELVE_BITS: &str =
    "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12";

/// A connection that has agreed on this, as it stands in the server's answer.
///
/// # Panics
/// If it cannot be agreed on.
#[must_use]
#[track_caller]
pub fn connection(side: Side, answer: &str, config: Config) -> Connection {
    let negotiated = Negotiated {
        extensions: answer.parse().expect("extensions"),
        ..Negotiated::default()
    };
    Connection::new(side, negotiated, config).expect("agreed")
}

/// An end with the default compression that has agreed on this.
#[must_use]
#[track_caller]
pub fn end(side: Side, answer: &str) -> End {
    end_with(side, answer, config().deflate(Deflate::new()))
}

/// An end with this configuration that has agreed on this.
#[must_use]
#[track_caller]
pub fn end_with(side: Side, answer: &str, config: Config) -> End {
    End::of(connection(side, answer, config))
}

/// Writes blocks, bit by bit.
#[derive(Debug, Clone, Default)]
pub struct Blocks {
    bytes: Vec<u8>,
    used: u32,
}

impl Blocks {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bits, the lowest first.
    #[must_use]
    pub fn bits(mut self, value: u32, count: u32) -> Self {
        for bit in 0..count {
            if self.used % 8 == 0 {
                self.bytes.push(0);
            }
            let last = self.bytes.last_mut().expect("a byte");
            *last |= ((value >> bit & 1) as u8) << (self.used % 8);
            self.used += 1;
        }
        self
    }

    /// The header of a block with the fixed codes.
    #[must_use]
    pub fn fixed(self) -> Self {
        self.bits(0b010, 3)
    }

    /// The same of a final block.
    #[must_use]
    pub fn fixed_final(self) -> Self {
        self.bits(0b011, 3)
    }

    /// A symbol of the fixed code of literals and lengths (RFC 1951 section 3.2.6).
    #[must_use]
    pub fn symbol(self, symbol: u32) -> Self {
        let (code, length) = match symbol {
            0..=143 => (0x30 + symbol, 8),
            144..=255 => (0x190 + symbol - 144, 9),
            256..=279 => (symbol - 256, 7),
            _ => (0xc0 + symbol - 280, 8),
        };
        self.code(code, length)
    }

    /// A code, the highest bit first.
    #[must_use]
    pub fn code(self, code: u32, length: u32) -> Self {
        self.bits(code.reverse_bits() >> (32 - length), length)
    }

    /// Literals.
    #[must_use]
    pub fn literals(self, bytes: &[u8]) -> Self {
        let symbols = bytes.iter().map(|byte| u32::from(*byte));
        symbols.fold(self, Self::symbol)
    }

    /// A match of three bytes.
    #[must_use]
    pub fn back(self, distance: u32) -> Self {
        self.symbol(257).distance(distance)
    }

    /// A match of 258 bytes, the longest there is.
    #[must_use]
    pub fn far_back(self, distance: u32) -> Self {
        self.symbol(285).distance(distance)
    }

    fn distance(self, distance: u32) -> Self {
        let extra = |code: u32| (code / 2).saturating_sub(1);
        let base = |code| 1 + (0..code).map(|code| 1 << extra(code)).sum::<u32>();
        let code = (0..30).rev().find(|code| base(*code) <= distance);
        let code = code.expect("a distance from 1");
        self.code(code, 5).bits(distance - base(code), extra(code))
    }

    /// The end of a block with codes.
    #[must_use]
    pub fn end(self) -> Self {
        self.symbol(256)
    }

    /// Goes on with the next byte, as after a final block.
    #[must_use]
    pub fn align(mut self) -> Self {
        self.used = self.used.next_multiple_of(8);
        self
    }

    /// A stored block.
    #[must_use]
    pub fn stored(self, bytes: &[u8]) -> Self {
        let length = u16::try_from(bytes.len()).expect("at most 65,535 bytes");
        let mut blocks = self.bits(0b000, 3).align();
        blocks.bytes.extend(length.to_le_bytes());
        blocks.bytes.extend((!length).to_le_bytes());
        blocks.bytes.extend(bytes);
        blocks.used = blocks.bytes.len() as u32 * 8;
        blocks
    }

    /// The payload of a message: ended by the block whose lengths are left out.
    #[must_use]
    pub fn message(self) -> Vec<u8> {
        self.bits(0b000, 3).bytes
    }

    /// What was written, without more.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The payload of a message that inflates to so many zeros.
#[must_use]
pub fn bomb(size: usize) -> Vec<u8> {
    let mut blocks = Blocks::new().fixed().symbol(0);
    let mut left = size - 1;
    while left >= 258 {
        blocks = blocks.far_back(1);
        left -= 258;
    }
    blocks.literals(&vec![0; left]).end().message()
}

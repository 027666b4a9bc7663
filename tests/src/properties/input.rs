//! Choices and cuts that an input makes.

use sansock_core::{Delivery, Side};

use crate::random::Random;

/// What is left of an input. Where nothing is, every choice is the first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let (byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *byte
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        let number = u16::from_be_bytes([0, self.byte()]);
        let number = match limit {
            0..=256 => number,
            _ => number << 8 | u16::from(self.byte()),
        };
        usize::from(number) % limit
    }

    pub(super) fn flag(&mut self) -> bool {
        self.byte() & 1 != 0
    }

    pub(super) fn side(&mut self) -> Side {
        match self.flag() {
            true => Side::Client,
            false => Side::Server,
        }
    }

    pub(super) fn delivery(&mut self) -> Delivery {
        [Delivery::Messages, Delivery::Frames, Delivery::Chunks][self.below(3)]
    }

    /// Bytes, up to 255 of them.
    pub(super) fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }

    /// How what follows is cut.
    pub(super) fn cuts(&mut self) -> Cuts {
        Cuts(Random::new(
            u64::from(self.byte()) << 8 | u64::from(self.byte()),
        ))
    }
}

/// Cuts bytes into pieces, many of them small.
#[derive(Debug, Clone)]
pub(super) struct Cuts(Random);

impl Cuts {
    pub(super) fn pieces<'a>(&mut self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let order = self.0.below(8);
            let size = (1 + self.0.below(1 << order)).min(bytes.len());
            let (piece, rest) = bytes.split_at(size);
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }
}

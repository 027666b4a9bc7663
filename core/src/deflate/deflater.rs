//! Compresses into DEFLATE blocks (RFC 1951) that end on a byte, with an empty stored block
//! (RFC 7692 section 7.2.1).

use alloc::{boxed::Box, vec::Vec};

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush};

/// What every flush ends with, and the last flush of a message leaves out (RFC 7692 section 7.2.1).
pub(super) const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

const RAW_STREAM: &str = "a raw stream fails only when it was finished, which this one never is";

const SCRATCH: usize = 4096;

/// The smallest window that can be had. Matches reach back 250 bytes in it, the size less the longest
/// match and some lookahead, so that it serves an agreed window of 8 bits as well.
const MIN_WINDOW_BITS: u8 = 9;

/// The parameters of a compressor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct DeflaterKind {
    window_bits: u8,
    level: u8,
    mem_level: u8,
}

impl DeflaterKind {
    pub(super) fn new(window_bits: u8, level: u8, mem_level: u8) -> Self {
        Self {
            window_bits: window_bits.max(MIN_WINDOW_BITS),
            level,
            mem_level,
        }
    }

    /// Returns a number that no other parameters have, and that is not 0.
    pub(super) fn number(self) -> u64 {
        u64::from(u32::from_be_bytes([
            0,
            self.window_bits,
            self.level,
            self.mem_level,
        ]))
    }
}

pub(super) struct Deflater {
    kind: DeflaterKind,
    stream: Deflate,
    is_fresh: bool,
    scratch: Box<[u8; SCRATCH]>,
}

impl Deflater {
    pub(super) fn new(kind: DeflaterKind) -> Self {
        Self {
            kind,
            stream: Deflate::new_with_config(DeflateConfig {
                level: i32::from(kind.level),
                // Negative for data without a zlib header.
                window_bits: i32::from(kind.window_bits).wrapping_neg(),
                mem_level: i32::from(kind.mem_level),
                ..DeflateConfig::default()
            }),
            is_fresh: true,
            scratch: Box::new([0; SCRATCH]),
        }
    }

    pub(super) fn kind(&self) -> DeflaterKind {
        self.kind
    }

    /// Starts over as if `history` had just been compressed.
    #[cfg_attr(not(test), expect(clippy::expect_used, reason = "RAW_STREAM"))]
    pub(super) fn start(&mut self, history: &[u8]) {
        if !self.is_fresh {
            self.stream.reset();
            self.is_fresh = true;
        }
        if !history.is_empty() {
            self.stream.set_dictionary(history).expect(RAW_STREAM);
            self.is_fresh = false;
        }
    }

    /// Appends the compressed form of `plain`, [`TAIL`] included.
    pub(super) fn deflate(&mut self, mut plain: &[u8], output: &mut Vec<u8>) {
        self.is_fresh = false;
        loop {
            let (taken, written) = self.step(plain);
            plain = plain.get(taken..).unwrap_or_default();
            output.extend_from_slice(self.scratch.get(..written).unwrap_or_default());
            if plain.is_empty() && written < SCRATCH {
                return;
            }
        }
    }

    /// Returns how much was taken, and how much written to the scratch buffer.
    #[cfg_attr(not(test), expect(clippy::expect_used, reason = "RAW_STREAM"))]
    fn step(&mut self, plain: &[u8]) -> (usize, usize) {
        let (taken, written) = (self.stream.total_in(), self.stream.total_out());
        self.stream
            .compress(plain, &mut *self.scratch, DeflateFlush::SyncFlush)
            .expect(RAW_STREAM);
        let taken = self.stream.total_in().wrapping_sub(taken);
        let written = self.stream.total_out().wrapping_sub(written);
        (taken as usize, written as usize)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::deflate::error::DecompressError;
    use crate::deflate::inflate::Inflater;
    use crate::deflate::testing::Numbers;

    /// Whether no match in what comes of these messages reaches further back than this.
    fn stays_within(distance: usize, level: u8, messages: &[Vec<u8>]) -> bool {
        let mut deflater = Deflater::new(DeflaterKind::new(8, level, 8));
        let mut inflater = Inflater::new();
        inflater.start(distance, &[]);
        messages.iter().all(|plain| {
            let mut stream = vec![];
            deflater.deflate(plain, &mut stream);
            inflater
                .inflate(&stream, usize::MAX, |_| Ok::<_, DecompressError>(()))
                .is_ok()
        })
    }

    #[test]
    fn distances_of_the_smallest_window_stay_below_256() {
        let mut numbers = Numbers::new(1);
        let messages: Vec<_> = (200..600)
            .map(|distance| {
                let mut plain = numbers.bytes(distance).repeat(3);
                plain.extend(numbers.message(distance));
                plain
            })
            .collect();
        for level in 1..=9 {
            assert!(stays_within(250, level, &messages), "level {level}");
            assert!(!stays_within(249, level, &messages), "level {level}");
        }
    }
}

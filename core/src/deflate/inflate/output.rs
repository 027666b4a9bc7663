//! The window and, behind it, what was inflated and not delivered yet, in one stretch of memory.
//!
//! A match copies inside this stretch, and may reach back as far as the agreed window and not one
//! byte further (RFC 7692 section 7.1.2), wherever the input or the output was cut.

#![cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "`delivered <= position <= buffer.len()`, and writers see to `has_room` first"
    )
)]

use alloc::vec::Vec;

/// The longest match (RFC 1951 section 3.2.5).
const MAX_MATCH: usize = 258;

/// Copies are made in steps of this size, and may write as much beyond their end.
const STEP: usize = 16;

/// What is inflated before it is delivered. The more, the less often the window is moved; but a peer decides
/// how many windows there are at a time.
const FRESH: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(super) struct Output {
    buffer: Vec<u8>,
    position: usize,
    delivered: usize,
    window: usize,
}

impl Output {
    /// Starts over with a window of this size in bytes, holding the end of `history`.
    pub(super) fn start(&mut self, window: usize, history: &[u8]) {
        let length = window + FRESH;
        if self.buffer.len() < length {
            self.buffer = alloc::vec![0; length];
        }
        let history = &history[history.len().saturating_sub(window)..];
        self.buffer[..history.len()].copy_from_slice(history);
        self.window = window;
        self.position = history.len();
        self.delivered = self.position;
    }

    /// Returns what matches may refer to.
    pub(super) fn window(&self) -> &[u8] {
        &self.buffer[self.position - self.reach()..self.position]
    }

    fn reach(&self) -> usize {
        self.position.min(self.window)
    }

    /// Returns what was inflated since the last call.
    pub(super) fn deliver(&mut self) -> &[u8] {
        let fresh = &self.buffer[self.delivered..self.position];
        self.delivered = self.position;
        fresh
    }

    /// Makes room by forgetting what lies before the window.
    pub(super) fn slide(&mut self) {
        debug_assert_eq!(self.delivered, self.position, "only what was delivered");
        let kept = self.reach();
        self.buffer
            .copy_within(self.position - kept..self.position, 0);
        self.position = kept;
        self.delivered = kept;
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Whether a literal or any match can be written.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.buffer.len() - self.position >= MAX_MATCH + STEP
    }

    #[inline]
    pub(super) fn push(&mut self, byte: u8) {
        self.buffer[self.position] = byte;
        self.position += 1;
    }

    /// Returns room for up to this many bytes; [`advance`](Self::advance) tells how many were written.
    pub(super) fn room(&mut self, length: usize) -> &mut [u8] {
        let end = self.buffer.len().min(self.position + length);
        &mut self.buffer[self.position..end]
    }

    pub(super) fn advance(&mut self, length: usize) {
        self.position += length;
    }

    /// Repeats what was written `distance` bytes ago, and tells whether the window reaches that far.
    #[inline]
    pub(super) fn copy_match(&mut self, distance: usize, length: usize) -> bool {
        if distance > self.reach() {
            return false;
        }
        let source = self.position - distance;
        if distance >= STEP {
            self.copy_steps(source, length);
        } else {
            self.copy_pattern(source, distance, length);
        }
        self.position += length;
        true
    }

    #[inline]
    fn copy_steps(&mut self, source: usize, length: usize) {
        for done in (0..length).step_by(STEP) {
            let from = source + done;
            self.buffer
                .copy_within(from..from + STEP, self.position + done);
        }
    }

    /// Repeats a pattern shorter than a step, in stretches that double.
    fn copy_pattern(&mut self, source: usize, distance: usize, length: usize) {
        let mut written = 0;
        while written < length {
            let stretch = (distance + written).min(length - written);
            self.buffer
                .copy_within(source..source + stretch, self.position + written);
            written += stretch;
        }
    }
}

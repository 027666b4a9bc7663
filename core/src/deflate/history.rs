//! The plain bytes that a context is made of: the last window of what was compressed or inflated.
//!
//! They are all that context takeover (RFC 7692 section 7.1.1) needs between two messages.

use alloc::collections::VecDeque;

/// The last bytes of a direction, at most a window of them.
#[derive(Debug, Default)]
pub(super) struct History {
    bytes: VecDeque<u8>,
    window: usize,
}

impl History {
    /// Keeps up to `window` bytes, and allocates nothing before there are some.
    pub(super) fn new(window: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            window,
        }
    }

    pub(super) fn window(&self) -> usize {
        self.window
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Appends bytes, and forgets those that leave the window.
    pub(super) fn record(&mut self, plain: &[u8]) {
        let (_, plain) = plain.split_at(plain.len().saturating_sub(self.window));
        let length = self.bytes.len().saturating_add(plain.len());
        self.bytes.drain(..length.saturating_sub(self.window));
        self.grow(length.min(self.window));
        self.bytes.extend(plain);
    }

    /// Doubles the buffer as it fills, up to the window and not beyond.
    fn grow(&mut self, length: usize) {
        if length > self.bytes.capacity() {
            let capacity = length.next_power_of_two().min(self.window);
            self.bytes
                .reserve_exact(capacity.saturating_sub(self.bytes.len()));
        }
    }

    pub(super) fn as_slice(&mut self) -> &[u8] {
        self.bytes.make_contiguous()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn keeps_the_last_window_of_bytes_however_they_come() {
        let bytes: Vec<u8> = (0..2000_u32).map(|n| (n % 251) as u8).collect();
        for step in [1, 7, 255, 256, 257, 600, 2000] {
            let mut history = History::new(256);
            for piece in bytes.chunks(step) {
                history.record(piece);
            }
            assert_eq!(history.as_slice(), &bytes[2000 - 256..], "steps of {step}");
        }
    }

    #[test]
    fn grows_with_use_and_not_beyond_the_window() {
        let mut history = History::new(4096);
        assert_eq!(history.bytes.capacity(), 0);
        history.record(&[1; 100]);
        assert!(history.bytes.capacity() <= 128);
        for _ in 0..100 {
            history.record(&[2; 1000]);
        }
        assert_eq!(history.bytes.capacity(), 4096);
    }
}

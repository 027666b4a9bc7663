//! Reads bits, least significant first (RFC 1951 section 3.1.1), from input that comes in pieces.
//!
//! The buffer holds more bits than any [atom](BitReader::ATOM), so that what cannot be read whole yet
//! is not consumed at all.

#![cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        reason = "counts of bits stay within the 64 bits of the buffer"
    )
)]

/// The bits that one piece of input left for the next.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Carry {
    bits: u64,
    count: u32,
}

impl Carry {
    pub(super) fn is_empty(self) -> bool {
        self.count == 0
    }
}

/// The input ended inside an atom; nothing of the atom was consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Starved;

#[derive(Debug, Clone, Copy)]
pub(super) struct BitReader<'a> {
    /// Above `count`, bits of `input` may stand already: taking them again changes nothing.
    bits: u64,
    count: u32,
    input: &'a [u8],
}

impl<'a> BitReader<'a> {
    /// The most bits that are looked at before they are consumed: a length and a distance with their
    /// extra bits (15 + 5 + 15 + 13).
    pub(super) const ATOM: u32 = 48;

    pub(super) fn resume(carry: Carry, input: &'a [u8]) -> Self {
        Self {
            bits: carry.bits,
            count: carry.count,
            input,
        }
    }

    pub(super) fn suspend(self) -> Carry {
        Carry {
            bits: self.bits & mask(self.count),
            count: self.count,
        }
    }

    /// Buffers a whole atom, or else all the input there is.
    #[inline]
    pub(super) fn refill(&mut self) {
        if self.count >= Self::ATOM {
            return;
        }
        match self.input.first_chunk::<8>() {
            Some(chunk) => self.refill_from(*chunk),
            None => self.refill_from_end(),
        }
    }

    #[inline]
    fn refill_from(&mut self, chunk: [u8; 8]) {
        self.bits |= u64::from_le_bytes(chunk) << self.count;
        let bytes = (63 - self.count) >> 3;
        self.input = self.input.get(bytes as usize..).unwrap_or_default();
        self.count += bytes << 3;
    }

    #[cold]
    fn refill_from_end(&mut self) {
        while self.count < Self::ATOM + 8 {
            let Some((byte, rest)) = self.input.split_first() else {
                return;
            };
            self.bits |= u64::from(*byte) << self.count;
            self.count += 8;
            self.input = rest;
        }
    }

    #[inline]
    pub(super) fn bits(&self) -> u64 {
        self.bits
    }

    #[inline]
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Drops bits that were seen to be there.
    #[inline]
    pub(super) fn consume(&mut self, count: u32) {
        debug_assert!(count <= self.count, "consumed bits were seen before");
        self.bits >>= count;
        self.count -= count;
    }

    /// Takes up to 32 bits as one number.
    pub(super) fn take(&mut self, count: u32) -> Result<u32, Starved> {
        self.refill();
        if self.count < count {
            return Err(Starved);
        }
        let value = self.bits & mask(count);
        self.consume(count);
        Ok(value as u32)
    }

    /// Drops what is left of the current byte.
    pub(super) fn align(&mut self) {
        self.consume(self.count % 8);
    }

    /// Takes whole bytes, as many as can be had at once; the reader stands at the start of a byte.
    pub(super) fn take_bytes(&mut self, output: &mut [u8]) -> usize {
        let buffered = (self.count as usize / 8).min(output.len());
        let (from_buffer, rest) = output.split_at_mut(buffered);
        for slot in from_buffer {
            *slot = self.bits as u8;
            self.consume(8);
        }
        if self.count > 0 {
            return buffered;
        }
        self.bits = 0;
        buffered + self.take_input(rest)
    }

    fn take_input(&mut self, output: &mut [u8]) -> usize {
        let length = output.len().min(self.input.len());
        let (taken, rest) = self.input.split_at(length);
        let (room, _) = output.split_at_mut(length);
        room.copy_from_slice(taken);
        self.input = rest;
        length
    }
}

#[inline]
pub(super) fn mask(count: u32) -> u64 {
    (1 << count) - 1
}

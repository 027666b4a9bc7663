//! Prefix codes (RFC 1951 sections 3.2.1 to 3.2.6): codes of common lengths by table, longer ones bit by bit.
//!
//! A table is indexed by the next bits of the stream, with zeros where they have not come yet. The
//! entry found is right where its length does not exceed the bits that have come, and means that
//! more are needed where it does.

#![cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "lengths are at most 15 and symbols at most 287; `check` refuses more codes than fit, and indices into a table are masked to its size"
    )
)]

use super::bits::mask;

const MAX_LENGTH: usize = 15;

/// What a code stands for, with the length of the code.
///
/// From the lowest bit: length (4 bits), extra bits (4 bits), kind, and the value from bit 16 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(u32);

impl Entry {
    const LITERAL: u32 = 1 << 8;
    const END_OF_BLOCK: u32 = 1 << 9;
    const LONG: u32 = 1 << 10;
    const INVALID: u32 = 1 << 11;

    const fn new(kind: u32, value: u16, extra_bits: u8) -> Self {
        Self(kind | (value as u32) << 16 | (extra_bits as u32) << 4)
    }

    const fn invalid() -> Self {
        Self::new(Self::INVALID, 0, 0)
    }

    const fn with_length(self, length: usize) -> Self {
        Self(self.0 | length as u32)
    }

    #[inline]
    pub(super) fn length(self) -> u32 {
        self.0 & 15
    }

    #[inline]
    pub(super) fn extra_bits(self) -> u32 {
        self.0 >> 4 & 15
    }

    #[inline]
    pub(super) fn value(self) -> u16 {
        (self.0 >> 16) as u16
    }

    #[inline]
    pub(super) fn is_literal(self) -> bool {
        self.0 & Self::LITERAL != 0
    }

    /// Whether the entry is neither a literal nor a number with extra bits.
    #[inline]
    pub(super) fn is_special(self) -> bool {
        self.0 & (Self::END_OF_BLOCK | Self::LONG | Self::INVALID) != 0
    }

    pub(super) fn is_long(self) -> bool {
        self.0 & Self::LONG != 0
    }

    pub(super) fn is_end_of_block(self) -> bool {
        self.0 & Self::END_OF_BLOCK != 0
    }

    pub(super) fn is_invalid(self) -> bool {
        self.0 & Self::INVALID != 0
    }
}

/// Whether a code may leave sequences of bits without a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Completeness {
    Required,
    /// RFC 1951 section 3.2.7: a single code has one bit; a block without matches has no distances.
    OneCodeMayStandAlone,
}

/// The lengths do not make a prefix code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadLengths;

/// A prefix code over at most `SYMBOLS` symbols, with a table of `SIZE` entries, a power of two.
#[derive(Debug)]
pub(super) struct Code<const SIZE: usize, const SYMBOLS: usize> {
    table: [Entry; SIZE],
    /// How many codes there are of each length.
    counts: [u16; MAX_LENGTH + 1],
    /// What the codes stand for, in the order of the codes.
    sorted: [Entry; SYMBOLS],
}

impl<const SIZE: usize, const SYMBOLS: usize> Code<SIZE, SYMBOLS> {
    const TABLE_BITS: usize = SIZE.trailing_zeros() as usize;

    pub(super) const fn new() -> Self {
        Self {
            table: [Entry::invalid(); SIZE],
            counts: [0; MAX_LENGTH + 1],
            sorted: [Entry::invalid(); SYMBOLS],
        }
    }

    /// Assigns codes to symbols by the lengths of the codes, zero for none.
    pub(super) fn build(
        &mut self,
        lengths: &[u8],
        meanings: &[Entry; SYMBOLS],
        completeness: Completeness,
    ) -> Result<(), BadLengths> {
        self.count(lengths);
        self.check(completeness)?;
        self.sort(lengths, meanings);
        self.fill();
        Ok(())
    }

    fn count(&mut self, lengths: &[u8]) {
        self.counts = [0; MAX_LENGTH + 1];
        for length in lengths {
            self.counts[usize::from(length & 15)] += 1;
        }
        self.counts[0] = 0;
    }

    fn check(&self, completeness: Completeness) -> Result<(), BadLengths> {
        let mut unassigned = 1_u32;
        for count in &self.counts[1..] {
            unassigned = (unassigned << 1)
                .checked_sub(u32::from(*count))
                .ok_or(BadLengths)?;
        }
        let stands_alone =
            self.longest() <= 1 && completeness == Completeness::OneCodeMayStandAlone;
        match unassigned {
            0 => Ok(()),
            _ if stands_alone => Ok(()),
            _ => Err(BadLengths),
        }
    }

    fn longest(&self) -> usize {
        self.counts
            .iter()
            .rposition(|count| *count > 0)
            .unwrap_or(0)
    }

    fn sort(&mut self, lengths: &[u8], meanings: &[Entry; SYMBOLS]) {
        let mut next = [0_u16; MAX_LENGTH + 1];
        for length in 1..MAX_LENGTH {
            next[length + 1] = next[length] + self.counts[length];
        }
        for (length, meaning) in lengths.iter().zip(meanings) {
            let length = usize::from(length & 15);
            if length > 0 {
                self.sorted[usize::from(next[length])] = meaning.with_length(length);
                next[length] += 1;
            }
        }
    }

    /// Doubles the table with each length, so that every code is written once and spreads by copying.
    fn fill(&mut self) {
        self.table[0] = self.filler();
        let mut sorted = self.sorted.iter();
        let mut code = 0_u16;
        for length in 1..=Self::TABLE_BITS {
            let size = 1 << (length - 1);
            self.table.copy_within(..size, size);
            for entry in sorted.by_ref().take(usize::from(self.counts[length])) {
                self.table[usize::from(reversed(code, length))] = *entry;
                code += 1;
            }
            code <<= 1;
        }
    }

    /// What stands where no code of the table's bits does.
    fn filler(&self) -> Entry {
        if self.longest() > Self::TABLE_BITS {
            Entry::new(Entry::LONG, 0, 0).with_length(Self::TABLE_BITS)
        } else {
            Entry::invalid().with_length(1)
        }
    }

    /// Returns the entry for the code that `bits` begin with.
    #[inline]
    pub(super) fn find(&self, bits: u64) -> Entry {
        self.table[bits as usize & (SIZE - 1)]
    }

    /// Returns the entry for a code that is longer than the table has bits.
    #[cold]
    pub(super) fn find_long(&self, bits: u64) -> Entry {
        let mut code = 0_u16;
        let mut first = 0_u16;
        let mut index = 0_u16;
        for length in 1..=MAX_LENGTH {
            let count = self.counts[length];
            code |= (bits >> (length - 1) & mask(1)) as u16;
            if code < first + count {
                return self.sorted[usize::from(index + code - first)];
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Entry::invalid().with_length(MAX_LENGTH)
    }
}

fn reversed(code: u16, length: usize) -> u16 {
    code.reverse_bits() >> (16 - length)
}

/// The symbol that ends a block.
pub(super) const END_OF_BLOCK: usize = 256;

/// Base and extra bits of the length codes from 257 on.
const LENGTHS: [(u16, u8); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];

/// RFC 1951 section 3.2.5: 286 and 287 have codes, but no meaning.
pub(super) static LITERALS_AND_LENGTHS: [Entry; 288] = {
    let mut meanings = [Entry::invalid(); 288];
    let mut symbol = 0;
    while symbol < END_OF_BLOCK {
        meanings[symbol] = Entry::new(Entry::LITERAL, symbol as u16, 0);
        symbol += 1;
    }
    meanings[END_OF_BLOCK] = Entry::new(Entry::END_OF_BLOCK, 0, 0);
    let mut index = 0;
    while index < LENGTHS.len() {
        let (base, extra_bits) = LENGTHS[index];
        meanings[END_OF_BLOCK + 1 + index] = Entry::new(0, base, extra_bits);
        index += 1;
    }
    meanings
};

/// RFC 1951 section 3.2.5: 30 and 31 have codes, but no meaning.
pub(super) static DISTANCES: [Entry; 32] = {
    let mut meanings = [Entry::invalid(); 32];
    let mut symbol = 0;
    let mut base = 1;
    while symbol < 30 {
        let extra_bits = if symbol < 4 { 0 } else { symbol as u8 / 2 - 1 };
        meanings[symbol] = Entry::new(0, base, extra_bits);
        base += 1 << extra_bits;
        symbol += 1;
    }
    meanings
};

/// RFC 1951 section 3.2.7: the lengths 0 to 15, and three ways to repeat.
pub(super) static CODE_LENGTHS: [Entry; 19] = {
    let mut meanings = [Entry::invalid(); 19];
    let mut symbol = 0;
    while symbol < 16 {
        meanings[symbol] = Entry::new(Entry::LITERAL, symbol as u16, 0);
        symbol += 1;
    }
    meanings[16] = Entry::new(0, 3, 2);
    meanings[17] = Entry::new(0, 3, 3);
    meanings[18] = Entry::new(0, 11, 7);
    meanings
};

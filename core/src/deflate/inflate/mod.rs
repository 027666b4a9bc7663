//! Inflates DEFLATE blocks (RFC 1951) inside an agreed window (RFC 7692 sections 7.1.2 and 7.2.2).
//!
//! The machine stops only between atoms: a field, a code with its extra bits, or a whole match. Where
//! the input ends inside an atom, nothing of it is consumed; where the output is full, it is delivered
//! and the window slides. So every way of cutting a stream gives the same bytes and the same error.
//!
//! A final block ends a DEFLATE stream but not the message: the next block starts with the next byte
//! (RFC 7692 section 7.2.3.4). The window stays, as it does for every other block.

#![cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "fields of the stream have at most 16 bits, and counts of codes are checked when read"
    )
)]

mod bits;
mod huffman;
mod output;

use crate::deflate::DecompressError;

use bits::{BitReader, Carry, Starved};
use huffman::{
    BadLengths, CODE_LENGTHS, Code, Completeness, DISTANCES, END_OF_BLOCK, Entry,
    LITERALS_AND_LENGTHS,
};
use output::Output;

/// The order in which the lengths of the code lengths' codes are sent (RFC 1951 section 3.2.7).
const CODE_LENGTH_ORDER: [u8; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

const MAX_LENGTH_CODES: usize = 286;
const MAX_DISTANCE_CODES: usize = 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    BlockHeader,
    StoredLength,
    Stored { remaining: usize },
    CodeCounts,
    CodeLengthLengths { read: usize },
    CodeLengths { read: usize },
    Symbols,
}

/// Why the machine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    NeedsInput,
    NeedsRoom,
    Failed(DecompressError),
}

impl From<Starved> for Stop {
    fn from(_: Starved) -> Self {
        Self::NeedsInput
    }
}

impl From<BadLengths> for Stop {
    fn from(_: BadLengths) -> Self {
        CORRUPT
    }
}

const CORRUPT: Stop = Stop::Failed(DecompressError::Corrupt);

/// Which codes the tables hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tables {
    Fixed,
    Other,
}

/// How many of each kind of code a dynamic block announces.
#[derive(Debug, Clone, Copy, Default)]
struct CodeCounts {
    lengths: usize,
    distances: usize,
    code_lengths: usize,
}

#[derive(Debug)]
pub(super) struct Inflater {
    phase: Phase,
    carry: Carry,
    is_last_block: bool,
    tables: Tables,
    counts: CodeCounts,
    /// The lengths of codes as they are read: first of literals and lengths, then of distances.
    lengths: [u8; 320],
    code_lengths: Code<128, 19>,
    literals: Code<1024, 288>,
    distances: Code<256, 32>,
    output: Output,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::BlockHeader,
            carry: Carry::default(),
            is_last_block: false,
            tables: Tables::Other,
            counts: CodeCounts::default(),
            lengths: [0; 320],
            code_lengths: Code::new(),
            literals: Code::new(),
            distances: Code::new(),
            output: Output::default(),
        }
    }

    /// Starts over with a window of this size in bytes, holding the end of `history`.
    pub(super) fn start(&mut self, window: usize, history: &[u8]) {
        self.output.start(window, history);
        self.start_message();
    }

    /// Starts a message that may refer to what was inflated before.
    pub(super) fn start_message(&mut self) {
        self.phase = Phase::BlockHeader;
        self.carry = Carry::default();
        self.is_last_block = false;
    }

    /// Returns what the next message may refer to.
    pub(super) fn window(&self) -> &[u8] {
        self.output.window()
    }

    /// Inflates all of `input`; `limit` is how many bytes may come out, and is lowered by what does.
    pub(super) fn inflate<E: From<DecompressError>>(
        &mut self,
        input: &[u8],
        mut limit: usize,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut reader = BitReader::resume(self.carry, input);
        loop {
            let stop = self.run(&mut reader);
            let fresh = self.output.deliver();
            limit = limit
                .checked_sub(fresh.len())
                .ok_or(DecompressError::LimitExceeded)?;
            if !fresh.is_empty() {
                sink(fresh)?;
            }
            match stop {
                Stop::NeedsInput => break,
                Stop::NeedsRoom => self.output.slide(),
                Stop::Failed(error) => return Err(error.into()),
            }
        }
        self.carry = reader.suspend();
        Ok(())
    }

    /// Whether the stream may end here, given that the sender cut the last four bytes (RFC 7692
    /// section 7.2.1): they are the lengths of a stored block whose header must have come.
    ///
    /// A final block that is followed by nothing at all is complete as well.
    pub(super) fn is_complete(&self) -> bool {
        let may_end = match self.phase {
            Phase::StoredLength => true,
            Phase::BlockHeader => self.is_last_block,
            Phase::Stored { .. }
            | Phase::CodeCounts
            | Phase::CodeLengthLengths { .. }
            | Phase::CodeLengths { .. }
            | Phase::Symbols => false,
        };
        may_end && self.carry.is_empty()
    }

    fn run(&mut self, reader: &mut BitReader<'_>) -> Stop {
        loop {
            if let Err(stop) = self.step(reader) {
                return stop;
            }
        }
    }

    fn step(&mut self, reader: &mut BitReader<'_>) -> Result<(), Stop> {
        match self.phase {
            Phase::BlockHeader => self.block_header(reader),
            Phase::StoredLength => self.stored_length(reader),
            Phase::Stored { remaining } => self.stored(reader, remaining),
            Phase::CodeCounts => self.code_counts(reader),
            Phase::CodeLengthLengths { read } => self.code_length_lengths(reader, read),
            Phase::CodeLengths { read } => self.code_lengths(reader, read),
            Phase::Symbols => self.symbols(reader),
        }
    }

    fn block_header(&mut self, reader: &mut BitReader<'_>) -> Result<(), Stop> {
        let header = reader.take(3)?;
        self.is_last_block = header & 1 != 0;
        self.phase = match header >> 1 {
            0 => {
                reader.align();
                Phase::StoredLength
            }
            1 => {
                self.use_fixed_codes()?;
                Phase::Symbols
            }
            2 => Phase::CodeCounts,
            _ => return Err(CORRUPT),
        };
        Ok(())
    }

    fn end_block(&mut self, reader: &mut BitReader<'_>) {
        self.phase = Phase::BlockHeader;
        if self.is_last_block {
            reader.align();
        }
    }

    fn stored_length(&mut self, reader: &mut BitReader<'_>) -> Result<(), Stop> {
        let field = reader.take(32)?;
        let (length, complement) = (field & 0xffff, field >> 16);
        if length != !complement & 0xffff {
            return Err(CORRUPT);
        }
        self.phase = Phase::Stored {
            remaining: length as usize,
        };
        Ok(())
    }

    fn stored(&mut self, reader: &mut BitReader<'_>, remaining: usize) -> Result<(), Stop> {
        if remaining == 0 {
            self.end_block(reader);
            return Ok(());
        }
        if !self.output.has_room() {
            return Err(Stop::NeedsRoom);
        }
        let taken = reader.take_bytes(self.output.room(remaining));
        self.output.advance(taken);
        self.phase = Phase::Stored {
            remaining: remaining - taken,
        };
        match taken {
            0 => Err(Stop::NeedsInput),
            _ => Ok(()),
        }
    }

    fn use_fixed_codes(&mut self) -> Result<(), BadLengths> {
        if self.tables == Tables::Fixed {
            return Ok(());
        }
        let lengths = fixed_lengths();
        let (literals, distances) = lengths.split_at(LITERALS_AND_LENGTHS.len());
        self.build(literals, distances)?;
        self.tables = Tables::Fixed;
        Ok(())
    }

    fn code_counts(&mut self, reader: &mut BitReader<'_>) -> Result<(), Stop> {
        let field = reader.take(14)? as usize;
        self.counts = CodeCounts {
            lengths: (field & 31) + 257,
            distances: (field >> 5 & 31) + 1,
            code_lengths: (field >> 10) + 4,
        };
        if self.counts.lengths > MAX_LENGTH_CODES || self.counts.distances > MAX_DISTANCE_CODES {
            return Err(CORRUPT);
        }
        self.lengths = [0; 320];
        self.phase = Phase::CodeLengthLengths { read: 0 };
        Ok(())
    }

    fn code_length_lengths(
        &mut self,
        reader: &mut BitReader<'_>,
        mut read: usize,
    ) -> Result<(), Stop> {
        let order = CODE_LENGTH_ORDER.iter().take(self.counts.code_lengths);
        for symbol in order.skip(read) {
            self.phase = Phase::CodeLengthLengths { read };
            let length = reader.take(3)? as u8;
            self.lengths[usize::from(*symbol)] = length;
            read += 1;
        }
        let lengths = &self.lengths[..CODE_LENGTH_ORDER.len()];
        self.code_lengths
            .build(lengths, &CODE_LENGTHS, Completeness::Required)?;
        self.phase = Phase::CodeLengths { read: 0 };
        Ok(())
    }

    fn code_lengths(&mut self, reader: &mut BitReader<'_>, mut read: usize) -> Result<(), Stop> {
        let total = self.counts.lengths + self.counts.distances;
        while read < total {
            self.phase = Phase::CodeLengths { read };
            let (length, repeat) = self.code_length(reader, read)?;
            if read + repeat > total {
                return Err(CORRUPT);
            }
            self.lengths[read..read + repeat].fill(length);
            read += repeat;
        }
        self.use_dynamic_codes()?;
        self.phase = Phase::Symbols;
        Ok(())
    }

    /// Reads one length, and how often it comes.
    fn code_length(&self, reader: &mut BitReader<'_>, read: usize) -> Result<(u8, usize), Stop> {
        reader.refill();
        let entry = self.code_lengths.find(reader.bits());
        let needed = entry.length() + entry.extra_bits();
        if needed > reader.count() {
            return Err(Stop::NeedsInput);
        }
        let extra = reader.bits() >> entry.length() & bits::mask(entry.extra_bits());
        reader.consume(needed);
        if entry.is_literal() {
            return Ok((entry.value() as u8, 1));
        }
        let repeat = usize::from(entry.value()) + extra as usize;
        match entry.extra_bits() {
            2 => Ok((self.previous_length(read)?, repeat)),
            _ => Ok((0, repeat)),
        }
    }

    fn previous_length(&self, read: usize) -> Result<u8, Stop> {
        let previous = read.checked_sub(1).and_then(|last| self.lengths.get(last));
        previous.copied().ok_or(CORRUPT)
    }

    fn use_dynamic_codes(&mut self) -> Result<(), Stop> {
        let lengths = self.lengths;
        let (literals, rest) = lengths.split_at(self.counts.lengths);
        if literals[END_OF_BLOCK] == 0 {
            return Err(CORRUPT);
        }
        self.tables = Tables::Other;
        Ok(self.build(literals, &rest[..self.counts.distances])?)
    }

    fn build(&mut self, literals: &[u8], distances: &[u8]) -> Result<(), BadLengths> {
        let completeness = Completeness::OneCodeMayStandAlone;
        self.literals
            .build(literals, &LITERALS_AND_LENGTHS, completeness)?;
        self.distances.build(distances, &DISTANCES, completeness)
    }

    fn symbols(&mut self, reader: &mut BitReader<'_>) -> Result<(), Stop> {
        loop {
            if !self.output.has_room() {
                return Err(Stop::NeedsRoom);
            }
            reader.refill();
            let mut entry = self.literals.find(reader.bits());
            if entry.is_long() && entry.length() <= reader.count() {
                entry = self.literals.find_long(reader.bits());
            }
            if entry.length() > reader.count() {
                return Err(Stop::NeedsInput);
            }
            if entry.is_literal() {
                reader.consume(entry.length());
                self.output.push(entry.value() as u8);
                continue;
            }
            if entry.is_special() {
                return self.end_symbols(reader, entry);
            }
            self.copy_match(reader, entry)?;
        }
    }

    #[cold]
    fn end_symbols(&mut self, reader: &mut BitReader<'_>, entry: Entry) -> Result<(), Stop> {
        if !entry.is_end_of_block() {
            return Err(CORRUPT);
        }
        reader.consume(entry.length());
        self.end_block(reader);
        Ok(())
    }

    #[inline]
    fn copy_match(&mut self, reader: &mut BitReader<'_>, length: Entry) -> Result<(), Stop> {
        let mut bits = reader.bits() >> length.length();
        let extra_length = bits & bits::mask(length.extra_bits());
        bits >>= length.extra_bits();
        let mut distance = self.distances.find(bits);
        if distance.is_long() {
            distance = self.distances.find_long(bits);
        }
        let seen = length.length() + length.extra_bits() + distance.length();
        if seen + distance.extra_bits() > reader.count() {
            return Err(Stop::NeedsInput);
        }
        if distance.is_invalid() {
            return Err(CORRUPT);
        }
        let extra_distance = bits >> distance.length() & bits::mask(distance.extra_bits());
        reader.consume(seen + distance.extra_bits());
        let within_window = self.output.copy_match(
            usize::from(distance.value()) + extra_distance as usize,
            usize::from(length.value()) + extra_length as usize,
        );
        if within_window {
            Ok(())
        } else {
            Err(Stop::Failed(DecompressError::WindowExceeded))
        }
    }
}

fn fixed_lengths() -> [u8; 320] {
    let mut lengths = [8; 320];
    lengths[144..256].fill(9);
    lengths[256..280].fill(7);
    lengths[288..].fill(5);
    lengths
}

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

use crate::deflate::error::DecompressError;

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
enum BlockPart {
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
    part: BlockPart,
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
            part: BlockPart::BlockHeader,
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
        self.part = BlockPart::BlockHeader;
        self.carry = Carry::default();
        self.is_last_block = false;
    }

    /// Returns what the next message may refer to.
    pub(super) fn window(&self) -> &[u8] {
        self.output.window()
    }

    /// Returns how many bytes the window and what is delivered at once take.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.output.capacity()
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
        let may_end = match self.part {
            BlockPart::StoredLength => true,
            BlockPart::BlockHeader => self.is_last_block,
            BlockPart::Stored { .. }
            | BlockPart::CodeCounts
            | BlockPart::CodeLengthLengths { .. }
            | BlockPart::CodeLengths { .. }
            | BlockPart::Symbols => false,
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
        match self.part {
            BlockPart::BlockHeader => self.block_header(reader),
            BlockPart::StoredLength => self.stored_length(reader),
            BlockPart::Stored { remaining } => self.stored(reader, remaining),
            BlockPart::CodeCounts => self.code_counts(reader),
            BlockPart::CodeLengthLengths { read } => self.code_length_lengths(reader, read),
            BlockPart::CodeLengths { read } => self.code_lengths(reader, read),
            BlockPart::Symbols => self.symbols(reader),
        }
    }

    fn block_header(&mut self, reader: &mut BitReader<'_>) -> Result<(), Stop> {
        let header = reader.take(3)?;
        self.is_last_block = header & 1 != 0;
        self.part = match header >> 1 {
            0 => {
                reader.align();
                BlockPart::StoredLength
            }
            1 => {
                self.use_fixed_codes()?;
                BlockPart::Symbols
            }
            2 => BlockPart::CodeCounts,
            _ => return Err(CORRUPT),
        };
        Ok(())
    }

    fn end_block(&mut self, reader: &mut BitReader<'_>) {
        self.part = BlockPart::BlockHeader;
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
        self.part = BlockPart::Stored {
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
        self.part = BlockPart::Stored {
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
        self.part = BlockPart::CodeLengthLengths { read: 0 };
        Ok(())
    }

    fn code_length_lengths(
        &mut self,
        reader: &mut BitReader<'_>,
        mut read: usize,
    ) -> Result<(), Stop> {
        let order = CODE_LENGTH_ORDER.iter().take(self.counts.code_lengths);
        for symbol in order.skip(read) {
            self.part = BlockPart::CodeLengthLengths { read };
            let length = reader.take(3)? as u8;
            self.lengths[usize::from(*symbol)] = length;
            read += 1;
        }
        let lengths = &self.lengths[..CODE_LENGTH_ORDER.len()];
        self.code_lengths
            .build(lengths, &CODE_LENGTHS, Completeness::Required)?;
        self.part = BlockPart::CodeLengths { read: 0 };
        Ok(())
    }

    fn code_lengths(&mut self, reader: &mut BitReader<'_>, mut read: usize) -> Result<(), Stop> {
        let total = self.counts.lengths + self.counts.distances;
        while read < total {
            self.part = BlockPart::CodeLengths { read };
            let (length, repeat) = self.code_length(reader, read)?;
            if read + repeat > total {
                return Err(CORRUPT);
            }
            self.lengths[read..read + repeat].fill(length);
            read += repeat;
        }
        self.use_dynamic_codes()?;
        self.part = BlockPart::Symbols;
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

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use zlib_rs::{DeflateConfig, DeflateFlush, InflateFlush, Status, Strategy};

    use super::*;
    use crate::deflate::testing::{FixedBlocks, Numbers};

    const WINDOW: usize = 1 << 15;

    /// What came out, and how it ended.
    type Outcome = (Vec<u8>, Result<bool, DecompressError>);

    fn inflate(window: usize, pieces: &[&[u8]]) -> Outcome {
        let mut inflater = Inflater::new();
        inflater.start(window, &[]);
        let mut plain = vec![];
        for piece in pieces {
            let result = inflater.inflate(piece, usize::MAX, |bytes| {
                plain.extend_from_slice(bytes);
                Ok(())
            });
            if let Err(error) = result {
                return (plain, Err(error));
            }
        }
        (plain, Ok(inflater.is_complete()))
    }

    /// Inflates with the other implementation at hand, up to the first final block.
    fn reference(stream: &[u8], room: usize) -> (Vec<u8>, Option<Status>) {
        let mut inflate = zlib_rs::Inflate::new(false, 15);
        let mut plain = vec![0; room];
        let status = inflate.decompress(stream, &mut plain, InflateFlush::SyncFlush);
        plain.truncate(inflate.total_out() as usize);
        (plain, status.ok())
    }

    fn deflated(plain: &[u8], level: i32, strategy: Strategy, flush: DeflateFlush) -> Vec<u8> {
        let mut deflate = zlib_rs::Deflate::new_with_config(DeflateConfig {
            level,
            strategy,
            window_bits: -15,
            ..DeflateConfig::default()
        });
        let mut stream = vec![0; 2 * plain.len() + 64];
        deflate.compress(plain, &mut stream, flush).unwrap();
        stream.truncate(deflate.total_out() as usize);
        stream
    }

    /// Bytes whose frequencies make codes of all lengths up to fifteen bits.
    fn skewed() -> Vec<u8> {
        let (mut plain, mut count, mut next) = (vec![], 1, 1);
        for byte in 0..20 {
            plain.extend(core::iter::repeat_n(byte * 11, count));
            (count, next) = (next, count + next);
        }
        let mut numbers = Numbers::new(9);
        for index in (1..plain.len()).rev() {
            plain.swap(index, numbers.below(index + 1));
        }
        plain
    }

    #[test]
    fn inflates_what_every_strategy_writes() {
        let strategies = [
            Strategy::Default,
            Strategy::Filtered,
            Strategy::HuffmanOnly,
            Strategy::Rle,
            Strategy::Fixed,
        ];
        let mut numbers = Numbers::new(1);
        let mut messages: Vec<_> = [0, 1, 2, 50, 300, 5000, 70_000, 200_000]
            .map(|length| numbers.message(length))
            .into();
        messages.push(skewed());
        messages.push(vec![0; 100_000]);
        messages.push(numbers.bytes(100_000));
        for plain in &messages {
            for strategy in strategies {
                for level in [0, 1, 2, 4, 6, 9] {
                    let stream = deflated(plain, level, strategy, DeflateFlush::SyncFlush);
                    let outcome = inflate(WINDOW, &[&stream[..stream.len() - 4]]);
                    assert!(outcome == (plain.clone(), Ok(true)), "{level} {strategy:?}");
                }
            }
        }
    }

    #[test]
    fn fails_on_damaged_streams_where_the_other_implementation_fails() {
        let mut numbers = Numbers::new(2);
        let skewed = skewed();
        let (mut failed, mut passed) = (0, 0);
        for round in 0..4000 {
            let length = 1 + numbers.below(600);
            let plain = match round % 3 {
                0 => skewed[..20 * length].to_vec(),
                _ => numbers.message(length),
            };
            let strategy = [Strategy::Default, Strategy::Fixed][round % 2];
            let mut stream = deflated(&plain, 6, strategy, DeflateFlush::SyncFlush);
            for _ in 0..=numbers.below(3) {
                let index = numbers.below(stream.len());
                stream[index] ^= 1 << numbers.below(8);
            }
            let (expected, status) = reference(&stream, 1 << 20);
            let (inflated, result) = inflate(WINDOW, &[&stream]);
            match status {
                Some(Status::StreamEnd) => assert!(inflated.starts_with(&expected)),
                Some(_) => {
                    passed += 1;
                    assert!(inflated == expected && result.is_ok(), "round {round}");
                }
                None => {
                    failed += 1;
                    assert!(result.is_err(), "round {round}");
                }
            }
        }
        assert!(failed > 500 && passed > 500, "{failed} and {passed}");
    }

    #[test]
    fn survives_arbitrary_bytes() {
        let mut numbers = Numbers::new(3);
        for _ in 0..20_000 {
            let length = numbers.below(200);
            let mut stream = numbers.bytes(length);
            if let Some(first) = stream.first_mut() {
                *first = *first & !7 | 4;
            }
            let (expected, status) = reference(&stream, 1 << 20);
            let (inflated, result) = inflate(WINDOW, &[&stream]);
            assert!(inflated.starts_with(&expected));
            assert!(status.is_some() || result.is_err());
        }
    }

    #[test]
    fn every_way_of_cutting_a_stream_gives_the_same() {
        let mut numbers = Numbers::new(4);
        let plain = numbers.message(150);
        let mut streams = vec![
            FixedBlocks::default()
                .block()
                .literals(b"Hello")
                .end()
                .message(),
            FixedBlocks::default()
                .stored(b"some stored bytes")
                .message(),
            FixedBlocks::default()
                .final_block()
                .literals(b"one")
                .end()
                .align()
                .block()
                .back(3)
                .end()
                .message(),
            FixedBlocks::default()
                .block()
                .literals(b"x")
                .back(2)
                .end()
                .message(),
            FixedBlocks::default().block().symbol(287).message(),
            vec![0x00, 0x01, 0x00, 0x00, 0x00],
            vec![0x06],
        ];
        for level in [1, 6] {
            let mut stream = deflated(&plain, level, Strategy::Default, DeflateFlush::SyncFlush);
            stream.truncate(stream.len() - 4);
            streams.push(stream.clone());
            stream[20] ^= 0x55;
            streams.push(stream);
        }
        for stream in &streams {
            let whole = inflate(WINDOW, &[stream]);
            for first in 0..=stream.len() {
                for second in first..=stream.len() {
                    let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
                    assert_eq!(inflate(WINDOW, &pieces), whole, "{first} {second}");
                }
            }
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(inflate(WINDOW, &bytes), whole);
        }
    }

    #[test]
    fn large_streams_byte_by_byte_give_the_same() {
        let plain = Numbers::new(5).message(100_000);
        for (level, plain) in [(6, plain), (6, skewed()), (0, vec![7; 40_000])] {
            let mut stream = deflated(&plain, level, Strategy::Default, DeflateFlush::SyncFlush);
            stream.truncate(stream.len() - 4);
            for size in [1, 2, 3, 7, 8, 9, 100] {
                let pieces: Vec<&[u8]> = stream.chunks(size).collect();
                assert!(inflate(WINDOW, &pieces) == (plain.clone(), Ok(true)));
            }
        }
    }

    #[test]
    fn matches_reach_as_far_as_the_window_and_no_further() {
        for bits in 8..=15 {
            let window = 1 << bits;
            for before in [window, window + 1, 2 * window, 3 * window + 40_000] {
                let plain = Numbers::new(bits).bytes(before);
                let blocks = || FixedBlocks::default().block().literals(&plain);
                let within = blocks().back(window as u32).end().message();
                let (inflated, result) = inflate(window, &[&within]);
                assert_eq!(result, Ok(true));
                assert_eq!(inflated[before..], plain[before - window..][..3]);
                if bits < 15 {
                    let beyond = blocks().back(window as u32 + 1).end().message();
                    let (inflated, result) = inflate(window, &[&beyond]);
                    assert_eq!(result, Err(DecompressError::WindowExceeded));
                    assert!(inflated == plain);
                }
            }
        }
    }

    #[test]
    fn matches_do_not_reach_before_the_start() {
        let blocks = || FixedBlocks::default().block().literals(b"abc");
        let within = blocks().back(3).end().message();
        assert_eq!(inflate(256, &[&within]), (b"abcabc".into(), Ok(true)));
        let beyond = blocks().back(4).end().message();
        let outcome = (b"abc".into(), Err(DecompressError::WindowExceeded));
        assert_eq!(inflate(256, &[&beyond]), outcome);
    }

    #[test]
    fn symbols_without_a_meaning_are_corrupt() {
        for symbol in [286, 287] {
            let stream = FixedBlocks::default().block().symbol(symbol).message();
            assert_eq!(inflate(256, &[&stream]).1, Err(DecompressError::Corrupt));
        }
    }

    /// RFC 1951 section 3.2.7.
    #[test]
    fn code_lengths_fit_their_number_and_let_the_block_end() {
        let block = || FixedBlocks::default().dynamic_block().code_length(1);
        let good = block().zeros(138).zeros(117).code_length(1).code_length(0);
        assert_eq!(inflate(256, &[&good.bytes()]).1, Ok(false));
        let endless = block().code_length(1).zeros(138).zeros(117).code_length(0);
        let too_many = block().zeros(138).zeros(117).code_length(1).zeros(11);
        for blocks in [endless, too_many] {
            let outcome = (vec![], Err(DecompressError::Corrupt));
            assert_eq!(inflate(256, &[&blocks.bytes()]), outcome);
        }
    }

    #[test]
    fn blocks_that_no_sender_writes_are_corrupt() {
        let corrupt: [&[u8]; 8] = [
            // The reserved type.
            &[0x06],
            &[0x07],
            // Lengths of a stored block that are not complements.
            &[0x00, 0x05, 0x00, 0xfa, 0xfe],
            // 287 codes of literals and lengths; 31 codes of distances.
            &[0xf4, 0x01, 0x00],
            &[0x04, 0x1e, 0x00],
            // Code lengths: too many codes of one bit; none at all; a repetition of nothing.
            &[0x04, 0x00, 0x92, 0x04, 0x00],
            &[0x04, 0x00, 0x00, 0x00, 0x00],
            &[0x04, 0x00, 0x12, 0x00, 0x00],
        ];
        for stream in corrupt {
            assert_eq!(
                inflate(256, &[stream]),
                (vec![], Err(DecompressError::Corrupt)),
                "{stream:02x?}"
            );
        }
    }
}

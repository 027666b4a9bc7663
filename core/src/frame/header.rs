//! The frame header, read and written (RFC 6455 section 5.2).
//!
//! Reading refuses at the first byte that allows it: reserved bits, opcode and fragmentation at byte
//! 0, masking and the length of control frames at byte 1, then the length, and only then the masking
//! key. A change must keep that order: nothing of a payload is stored before its header is right.

use super::error::HeaderError;
use super::{Kind, OpCode, Side, mask};

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0F;
const FIN_TEXT: u8 = FIN | OpCode::Text.number();
const FIN_BINARY: u8 = FIN | OpCode::Binary.number();
const MASK: u8 = 0x80;
const LENGTH: u8 = 0x7F;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// What the connection allows the next frame to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeaderRules {
    /// The side that reads.
    pub(crate) side: Side,
    /// Whether a fragmented message is open, so that a continuation must come.
    pub(crate) in_message: bool,
    /// Reserved bits that an extension claims on the first frame of a message.
    pub(crate) claimed: u8,
    /// Whether the message that is open was encoded by an extension.
    pub(crate) encoded: bool,
    /// Largest payload of a data frame.
    pub(crate) limit: u64,
}

/// A header that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) opcode: OpCode,
    pub(crate) fin: bool,
    /// Reserved bits, as they stand in the first byte.
    pub(crate) reserved: u8,
    pub(crate) payload_length: u64,
    /// All zero where the frame is not masked.
    pub(crate) masking_key: [u8; 4],
    /// Length of the header itself.
    pub(crate) size: usize,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` where more bytes are needed.
    #[inline]
    pub(crate) fn read(bytes: &[u8], rules: HeaderRules) -> Result<Option<Self>, HeaderError> {
        let Some((&first, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let opcode = check_first(first, rules)?;
        let Some((&second, rest)) = rest.split_first() else {
            return Ok(None);
        };
        check_second(second, opcode, rules.side)?;
        let Some((payload_length, rest)) = read_length(second & LENGTH, rest)? else {
            return Ok(None);
        };
        if !opcode.is_control() {
            check_size(payload_length, first & RESERVED != 0, rules)?;
        }
        let (masking_key, rest) = match rules.side {
            Side::Client => ([0; 4], rest),
            Side::Server => match rest.split_first_chunk::<4>() {
                Some((key, rest)) => (*key, rest),
                None => return Ok(None),
            },
        };
        Ok(Some(Self {
            opcode,
            fin: first & FIN != 0,
            reserved: first & RESERVED,
            payload_length,
            masking_key,
            size: bytes.len().saturating_sub(rest.len()),
        }))
    }
}

/// A message in one frame that has arrived whole: what is most common.
#[derive(Debug)]
pub(crate) struct SingleFrame<'a> {
    pub(crate) kind: Kind,
    pub(crate) masking_key: [u8; 4],
    /// Length of the header.
    pub(crate) size: usize,
    /// Still masked.
    pub(crate) payload: &'a mut [u8],
}

impl<'a> SingleFrame<'a> {
    /// Finds the message at the start of `bytes`, up to 64 KiB long. `None` for whatever else there is, right
    /// or wrong: [`Header::read`] is the judge of that.
    #[inline(always)]
    pub(crate) fn find(bytes: &'a mut [u8], side: Side) -> Option<Self> {
        let ([first, second], rest) = bytes.split_first_chunk_mut::<2>()?;
        let kind = match *first {
            FIN_TEXT => Kind::Text,
            FIN_BINARY => Kind::Binary,
            _ => return None,
        };
        let (masked, length) = (*second & MASK, *second & LENGTH);
        let (size, length, rest) = match length {
            LENGTH_64 => return None,
            LENGTH_16 => {
                let (bytes, rest) = rest.split_first_chunk_mut::<2>()?;
                let length = u16::from_be_bytes(*bytes);
                if length < u16::from(LENGTH_16) {
                    return None;
                }
                (4_usize, length, rest)
            }
            short => (2, u16::from(short), rest),
        };
        let (size, masking_key, rest) = match (side, masked) {
            (Side::Server, MASK) => {
                let (key, rest) = rest.split_first_chunk_mut::<4>()?;
                (size.saturating_add(4), *key, rest)
            }
            (Side::Client, 0) => (size, [0; 4], rest),
            (Side::Server | Side::Client, _) => return None,
        };
        Some(Self {
            kind,
            masking_key,
            size,
            payload: rest.get_mut(..usize::from(length))?,
        })
    }
}

#[inline]
fn check_first(first: u8, rules: HeaderRules) -> Result<OpCode, HeaderError> {
    let opcode =
        OpCode::from_number(first & OPCODE).ok_or(HeaderError::ReservedOpcode(first & OPCODE))?;
    let claimed = match opcode {
        OpCode::Text | OpCode::Binary => rules.claimed,
        OpCode::Continuation | OpCode::Close | OpCode::Ping | OpCode::Pong => 0,
    };
    if first & RESERVED & !claimed != 0 {
        return Err(HeaderError::ReservedBits(first & RESERVED & !claimed));
    }
    if opcode.is_control() {
        if first & FIN == 0 {
            return Err(HeaderError::FragmentedControl(opcode));
        }
    } else if (opcode == OpCode::Continuation) != rules.in_message {
        return Err(if rules.in_message {
            HeaderError::ExpectedContinuation(opcode)
        } else {
            HeaderError::UnexpectedContinuation
        });
    }
    Ok(opcode)
}

#[inline]
fn check_second(second: u8, opcode: OpCode, side: Side) -> Result<(), HeaderError> {
    match (second & MASK != 0, side) {
        (false, Side::Server) => return Err(HeaderError::NotMasked),
        (true, Side::Client) => return Err(HeaderError::Masked),
        (true, Side::Server) | (false, Side::Client) => {}
    }
    if opcode.is_control() && second & LENGTH >= LENGTH_16 {
        return Err(HeaderError::ControlTooLong(opcode));
    }
    Ok(())
}

/// Checks the payload of a data frame against the limit. What cannot be compressed grows when it is:
/// an encoded frame may be an eighth larger, and is measured again when it is decoded.
#[inline]
fn check_size(length: u64, encoded: bool, rules: HeaderRules) -> Result<(), HeaderError> {
    let limit = rules.limit;
    let growth = match encoded || rules.encoded {
        true => (limit >> 3).saturating_add(64),
        false => 0,
    };
    if length > limit.saturating_add(growth) {
        return Err(HeaderError::TooBig { length, limit });
    }
    Ok(())
}

/// Reads the extended length, if `length` says that there is one.
#[inline]
fn read_length(length: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, HeaderError> {
    match length {
        LENGTH_16 => {
            let Some((bytes, rest)) = rest.split_first_chunk::<2>() else {
                return Ok(None);
            };
            let length = u64::from(u16::from_be_bytes(*bytes));
            if length < u64::from(LENGTH_16) {
                return Err(HeaderError::LengthNotMinimal);
            }
            Ok(Some((length, rest)))
        }
        LENGTH_64 => read_long_length(rest),
        short => Ok(Some((u64::from(short), rest))),
    }
}

fn read_long_length(rest: &[u8]) -> Result<Option<(u64, &[u8])>, HeaderError> {
    if rest.first().is_some_and(|top| top & 0x80 != 0) {
        return Err(HeaderError::LengthTopBit);
    }
    let Some((bytes, rest)) = rest.split_first_chunk::<8>() else {
        return Ok(None);
    };
    let length = u64::from_be_bytes(*bytes);
    if length <= u64::from(u16::MAX) {
        return Err(HeaderError::LengthNotMinimal);
    }
    Ok(Some((length, rest)))
}

/// A header to be written, with the shortest form of the length.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeaderEncoder {
    first: u8,
    payload_length: usize,
    /// Only on a client.
    masking_key: Option<[u8; 4]>,
}

impl HeaderEncoder {
    #[inline]
    pub(crate) const fn new(
        opcode: OpCode,
        fin: bool,
        reserved: u8,
        payload_length: usize,
        masking_key: Option<[u8; 4]>,
    ) -> Self {
        Self {
            first: opcode.number() | reserved | if fin { FIN } else { 0 },
            payload_length,
            masking_key,
        }
    }

    pub(crate) const fn is_masked(self) -> bool {
        self.masking_key.is_some()
    }

    /// Returns the length of the header.
    #[inline]
    pub(crate) const fn size(self) -> usize {
        let length = match self.payload_length {
            0..126 => 2_usize,
            126..=0xFFFF => 4,
            _ => 10,
        };
        match self.masking_key {
            Some(_) => length.saturating_add(4),
            None => length,
        }
    }

    /// Writes the frame, its payload masked on a client, to a slot of exactly its size.
    #[inline]
    pub(crate) fn write_frame(self, payload: &[u8], slot: &mut [u8]) {
        let body = self.write(slot);
        match self.masking_key {
            Some(key) => mask::copy(payload, body, key),
            None => body.copy_from_slice(payload),
        }
    }

    /// Returns the length of the frame.
    #[inline]
    pub(crate) const fn frame_size(self) -> usize {
        self.size().saturating_add(self.payload_length)
    }

    /// Writes the header to the start of `slot`, and returns the rest.
    #[inline]
    pub(crate) fn write(self, slot: &mut [u8]) -> &mut [u8] {
        let Some(([first, second], rest)) = slot.split_first_chunk_mut() else {
            return &mut [];
        };
        *first = self.first;
        let mask = if self.masking_key.is_some() { MASK } else { 0 };
        let rest = match self.payload_length {
            short @ 0..126 => {
                *second = mask | short as u8;
                rest
            }
            middle @ 126..=0xFFFF => {
                *second = mask | LENGTH_16;
                put((middle as u16).to_be_bytes(), rest)
            }
            long => {
                *second = mask | LENGTH_64;
                put((long as u64).to_be_bytes(), rest)
            }
        };
        match self.masking_key {
            Some(key) => put(key, rest),
            None => rest,
        }
    }
}

/// Writes bytes to the start of `slot`, and returns the rest.
#[inline]
fn put<const N: usize>(bytes: [u8; N], slot: &mut [u8]) -> &mut [u8] {
    let Some((start, rest)) = slot.split_first_chunk_mut() else {
        return &mut [];
    };
    *start = bytes;
    rest
}

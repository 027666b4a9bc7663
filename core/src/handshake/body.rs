//! The body of a response that refuses the handshake (RFC 9112 sections 6 and 7).
//!
//! Enough of it is kept to tell what went wrong; once that much is there, the rest is not waited for.
//! Lengths are strictly digits: no sign, no space, no `0x`. Trailers are not read, for the connection
//! ends with the body.

use alloc::vec::Vec;
use core::{fmt, mem, str};

use bytes::Bytes;

use crate::handshake::{HandshakeError, Headers, Response};

/// Longest length that is accepted, in digits: as many hexadecimal ones fit 60 bits.
const MAX_DIGITS: usize = 15;

/// Longest line between chunks that is accepted, in bytes.
const MAX_LINE: usize = 1024;

/// Reads the body of a response and keeps the start of it.
#[derive(Debug)]
pub struct BodyReader {
    state: State,
    kept: Vec<u8>,
    limit: usize,
    truncated: bool,
}

#[derive(Debug)]
enum State {
    UntilEof,
    Length { left: u64 },
    ChunkSize { line: Vec<u8> },
    ChunkData { left: u64 },
    ChunkEnd { line: Vec<u8> },
    Done,
}

impl BodyReader {
    /// How much of a body is kept by default, in bytes.
    pub const DEFAULT_LIMIT: usize = 4096;

    /// Returns a reader for the body of a response, of which at most `limit` bytes are kept.
    ///
    /// # Errors
    ///
    /// The headers that tell the length of the body are malformed.
    pub fn new(response: &Response, limit: usize) -> Result<Self, BodyError> {
        Ok(Self {
            state: State::of(response)?,
            kept: Vec::new(),
            limit,
            truncated: false,
        })
    }

    /// Whether the body is complete, or as much of it as is kept.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Takes the next bytes of the body and returns [`is_done`](Self::is_done).
    ///
    /// What follows the body is ignored.
    ///
    /// # Errors
    ///
    /// The chunked coding is malformed. What came before is kept.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Result<bool, BodyError> {
        while !bytes.is_empty() && !self.is_done() {
            let state = mem::replace(&mut self.state, State::Done);
            (self.state, bytes) = self.step(state, bytes)?;
            if self.truncated {
                self.state = State::Done;
            }
        }
        Ok(self.is_done())
    }

    /// Takes the end of the stream.
    ///
    /// # Errors
    ///
    /// The body is shorter than announced. What came is kept.
    pub fn receive_eof(&mut self) -> Result<(), BodyError> {
        match mem::replace(&mut self.state, State::Done) {
            State::UntilEof | State::Done => Ok(()),
            State::Length { .. }
            | State::ChunkSize { .. }
            | State::ChunkData { .. }
            | State::ChunkEnd { .. } => {
                self.truncated = true;
                Err(BodyError::Incomplete)
            }
        }
    }

    /// Gives the response what was kept.
    pub fn finish(self, response: &mut Response) {
        let truncated = self.truncated || !self.is_done();
        response.receive_body(Bytes::from(self.kept), truncated);
    }

    fn step<'a>(&mut self, state: State, bytes: &'a [u8]) -> Result<(State, &'a [u8]), BodyError> {
        Ok(match state {
            State::UntilEof => (State::UntilEof, self.keep(bytes, u64::MAX).1),
            State::Length { left } => match self.keep(bytes, left) {
                (0, rest) => (State::Done, rest),
                (left, rest) => (State::Length { left }, rest),
            },
            State::ChunkSize { mut line } => match read_line(&mut line, bytes)? {
                (true, rest) => (State::after_size(chunk_size(&line)?), rest),
                (false, rest) => (State::ChunkSize { line }, rest),
            },
            State::ChunkData { left } => match self.keep(bytes, left) {
                (0, rest) => (State::ChunkEnd { line: Vec::new() }, rest),
                (left, rest) => (State::ChunkData { left }, rest),
            },
            State::ChunkEnd { mut line } => match read_line(&mut line, bytes)? {
                (true, rest) if line.is_empty() => (State::ChunkSize { line }, rest),
                (true, _) => return Err(BodyError::Chunk),
                (false, rest) => (State::ChunkEnd { line }, rest),
            },
            State::Done => (State::Done, bytes),
        })
    }

    /// Keeps what there is room for of the next `left` bytes; returns how many of them are missing
    /// and what follows them.
    fn keep<'a>(&mut self, bytes: &'a [u8], left: u64) -> (u64, &'a [u8]) {
        let length = usize::try_from(left).unwrap_or(usize::MAX);
        let (data, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
        let room = self.limit.saturating_sub(self.kept.len());
        let kept = data.get(..room).unwrap_or(data);
        self.kept.extend_from_slice(kept);
        self.truncated |= kept.len() < data.len();
        (left.saturating_sub(data.len() as u64), rest)
    }
}

impl State {
    /// RFC 9112 section 6.3: what tells where the body ends.
    fn of(response: &Response) -> Result<Self, BodyError> {
        let headers = response.headers();
        if matches!(response.status().number(), 100..=199 | 204 | 304) {
            return Ok(Self::Done);
        }
        if headers.contains("Transfer-Encoding") {
            return Self::of_transfer_encoding(headers);
        }
        match headers.single("Content-Length") {
            Ok(None) => Ok(Self::UntilEof),
            Ok(Some(length)) => match parse_length(length, 10) {
                Some(0) => Ok(Self::Done),
                Some(left) => Ok(Self::Length { left }),
                None => Err(BodyError::ContentLength),
            },
            Err(_) => Err(BodyError::ContentLength),
        }
    }

    fn of_transfer_encoding(headers: &Headers) -> Result<Self, BodyError> {
        match headers.single("Transfer-Encoding") {
            Ok(Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(Self::ChunkSize { line: Vec::new() })
            }
            _ => Err(BodyError::TransferEncoding),
        }
    }

    const fn after_size(left: u64) -> Self {
        match left {
            0 => Self::Done,
            left => Self::ChunkData { left },
        }
    }
}

/// Parses a length that consists of digits only.
pub(super) fn parse_length(digits: &[u8], radix: u32) -> Option<u64> {
    let is_digit = |byte: &u8| char::from(*byte).is_digit(radix);
    if digits.len() > MAX_DIGITS || !digits.iter().all(is_digit) {
        return None;
    }
    u64::from_str_radix(str::from_utf8(digits).ok()?, radix).ok()
}

/// RFC 9112 section 7.1: the size is hexadecimal, and what follows a semicolon is ignored.
fn chunk_size(line: &[u8]) -> Result<u64, BodyError> {
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
    parse_length(size, 16).ok_or(BodyError::Chunk)
}

/// Moves bytes to `line` up to CRLF, which is dropped; returns whether it came, and what follows.
fn read_line<'a>(line: &mut Vec<u8>, bytes: &'a [u8]) -> Result<(bool, &'a [u8]), BodyError> {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (part, rest) = end
        .and_then(|end| bytes.split_at_checked(end))
        .unwrap_or((bytes, &[]));
    if line.len().saturating_add(part.len()) > MAX_LINE {
        return Err(BodyError::Chunk);
    }
    line.extend_from_slice(part);
    match end {
        None => Ok((false, rest)),
        Some(_) if line.pop() == Some(b'\r') => Ok((true, rest.get(1..).unwrap_or_default())),
        Some(_) => Err(BodyError::Chunk),
    }
}

/// Why a body was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// `Content-Length` is not one number.
    ContentLength,
    /// `Transfer-Encoding` is something else than `chunked`.
    TransferEncoding,
    /// The chunked coding is malformed.
    Chunk,
    /// The stream ended before the body was complete.
    Incomplete,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ContentLength => "Content-Length is not one number",
            Self::TransferEncoding => "Transfer-Encoding is not chunked",
            Self::Chunk => "chunked coding is malformed",
            Self::Incomplete => "body breaks off",
        })
    }
}

impl core::error::Error for BodyError {}

impl From<BodyError> for HandshakeError {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

//! The body of a response that refuses the handshake (RFC 9112 sections 6 and 7).
//!
//! Enough of it is kept to tell what went wrong; once that much is there, the rest is not waited
//! for. Lengths are strictly digits: no sign, no `0x`, and no space except after the size of a chunk.
//! Trailers are not read, for the connection ends with the body.

use alloc::vec::Vec;
use core::{fmt, mem, str};

use bytes::Bytes;

use crate::handshake::{HandshakeError, Headers, Response};

/// Longest length that is accepted, in digits after leading zeros: as many hexadecimal ones fit 60 bits.
const MAX_DIGITS: usize = 15;

/// Longest line between chunks that is accepted, in bytes.
const MAX_LINE: usize = 1024;

/// Reads the body of a response and keeps the start of it.
#[derive(Debug)]
pub struct BodyReader {
    state: Framing,
    kept: Vec<u8>,
    limit: usize,
    truncated: bool,
}

#[derive(Debug)]
enum Framing {
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
            state: Framing::of(response)?,
            kept: Vec::new(),
            limit,
            truncated: false,
        })
    }

    /// Whether the body is complete, or as much of it as is kept.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, Framing::Done)
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
            let state = mem::replace(&mut self.state, Framing::Done);
            let step = self.step(state, bytes);
            self.truncated |= step.is_err();
            (self.state, bytes) = step?;
            if self.truncated {
                self.state = Framing::Done;
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
        match mem::replace(&mut self.state, Framing::Done) {
            Framing::UntilEof | Framing::Done => Ok(()),
            Framing::Length { .. }
            | Framing::ChunkSize { .. }
            | Framing::ChunkData { .. }
            | Framing::ChunkEnd { .. } => {
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

    fn step<'a>(
        &mut self,
        state: Framing,
        bytes: &'a [u8],
    ) -> Result<(Framing, &'a [u8]), BodyError> {
        Ok(match state {
            Framing::UntilEof => (Framing::UntilEof, self.keep(bytes, u64::MAX).1),
            Framing::Length { left } => match self.keep(bytes, left) {
                (0, rest) => (Framing::Done, rest),
                (left, rest) => (Framing::Length { left }, rest),
            },
            Framing::ChunkSize { mut line } => match read_line(&mut line, bytes)? {
                (true, rest) => (Framing::after_size(chunk_size(&line)?), rest),
                (false, rest) => (Framing::ChunkSize { line }, rest),
            },
            Framing::ChunkData { left } => match self.keep(bytes, left) {
                (0, rest) => (Framing::ChunkEnd { line: Vec::new() }, rest),
                (left, rest) => (Framing::ChunkData { left }, rest),
            },
            Framing::ChunkEnd { mut line } => match read_line(&mut line, bytes)? {
                (true, rest) if line.is_empty() => (Framing::ChunkSize { line }, rest),
                (true, _) => return Err(BodyError::Chunk),
                (false, rest) => (Framing::ChunkEnd { line }, rest),
            },
            Framing::Done => (Framing::Done, bytes),
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

impl Framing {
    /// RFC 9112 section 6.3: what tells where the body ends.
    fn of(response: &Response) -> Result<Self, BodyError> {
        let headers = response.headers();
        if !response.status().allows_body() {
            return Ok(Self::Done);
        }
        if headers.contains("Transfer-Encoding") {
            return Self::of_transfer_encoding(headers);
        }
        match headers.lines("Content-Length").single() {
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
        match headers.lines("Transfer-Encoding").single() {
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

/// Parses a length that consists of digits only. Zeros in front mean nothing.
pub(super) fn parse_length(digits: &[u8], radix: u32) -> Option<u64> {
    let is_digit = |byte: &u8| char::from(*byte).is_digit(radix);
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
    let significant = digits.len().saturating_sub(zeros);
    if significant > MAX_DIGITS || !digits.iter().all(is_digit) {
        return None;
    }
    u64::from_str_radix(str::from_utf8(digits).ok()?, radix).ok()
}

/// RFC 9112 section 7.1: the size is hexadecimal, and what follows a semicolon is ignored.
///
/// Spaces after the size are the bad whitespace of section 7.1.1, which a recipient has to accept: some
/// servers pad the size to a fixed width.
fn chunk_size(line: &[u8]) -> Result<u64, BodyError> {
    let mut size = line.split(|byte| *byte == b';').next().unwrap_or_default();
    while let [digits @ .., b' ' | b'\t'] = size {
        size = digits;
    }
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

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;
    use crate::handshake::StatusCode;

    type Fields = &'static [(&'static str, &'static str)];

    const CHUNKED: (&str, &str) = ("Transfer-Encoding", "chunked");

    fn response(status: u16, headers: &[(&str, &str)]) -> Response {
        let mut response = Response::new(StatusCode::new(status).unwrap());
        for (name, value) in headers {
            response.headers_mut().append(name, value).unwrap();
        }
        response
    }

    const LENGTH: (&str, &str) = ("Content-Length", "3");

    /// Reads a body whole and byte by byte, which must agree; returns what was kept, whether it
    /// was cut, and whether it is done before the end of the stream.
    #[track_caller]
    fn read(
        response: &Response,
        body: &[u8],
        limit: usize,
    ) -> Result<(String, bool, bool), BodyError> {
        let whole = read_in(response, [body], limit);
        assert_eq!(read_in(response, body.chunks(1), limit), whole);
        whole
    }

    fn read_in<'a>(
        response: &Response,
        parts: impl IntoIterator<Item = &'a [u8]>,
        limit: usize,
    ) -> Result<(String, bool, bool), BodyError> {
        let mut reader = BodyReader::new(response, limit)?;
        for part in parts {
            reader.receive(part)?;
        }
        let done = reader.is_done();
        reader.receive_eof()?;
        let mut response = response.clone();
        reader.finish(&mut response);
        let kept = String::from_utf8(response.body().to_vec()).unwrap();
        Ok((kept, response.is_body_truncated(), done))
    }

    #[test]
    fn a_body_ends_where_its_headers_say() {
        let cases: [(u16, Fields, &str, &str, bool); 16] = [
            (404, &[], "abc", "abc", false),
            (404, &[], "", "", false),
            (404, &[LENGTH], "abc", "abc", true),
            (404, &[LENGTH], "abcdef", "abc", true),
            (404, &[("content-length", "0")], "abc", "", true),
            (404, &[("Content-Length", "000003")], "abc", "abc", true),
            (
                404,
                &[("Content-Length", "00000000000000003")],
                "abc",
                "abc",
                true,
            ),
            (404, &[CHUNKED], "3\r\nabc\r\n0\r\n\r\n", "abc", true),
            (404, &[CHUNKED], "3 \r\nabc\r\n0 \r\n\r\n", "abc", true),
            (404, &[CHUNKED], "3\t ;x\r\nabc\r\n0\r\n\r\n", "abc", true),
            (
                404,
                &[CHUNKED],
                "00000000000000003  \r\nabc\r\n0000\r\n\r\n",
                "abc",
                true,
            ),
            (
                404,
                &[CHUNKED],
                "3;x=\"y\"\r\nabc\r\n00A\r\n0123456789\r\n0\r\n",
                "abc0123456789",
                true,
            ),
            (
                404,
                &[CHUNKED, LENGTH],
                "1\r\na\r\n0\r\nT: r\r\n\r\n",
                "a",
                true,
            ),
            (100, &[LENGTH], "abc", "", true),
            (204, &[CHUNKED], "abc", "", true),
            (304, &[LENGTH], "abc", "", true),
        ];
        for (status, headers, body, kept, done) in cases {
            let result = read(&response(status, headers), body.as_bytes(), 100);
            assert_eq!(
                result,
                Ok((kept.into(), false, done)),
                "{status} {headers:?} {body:?}"
            );
        }
    }

    #[test]
    fn what_exceeds_the_limit_is_cut_and_not_waited_for() {
        let cases: [(Fields, &str, bool); 6] = [
            (&[], "abcd", false),
            (&[], "abcde", true),
            (&[("Content-Length", "999999999999999")], "abcde", true),
            (&[("Content-Length", "4")], "abcd", false),
            (&[CHUNKED], "2\r\nab\r\n2\r\ncd\r\n0\r\n", false),
            (&[CHUNKED], "2\r\nab\r\n3\r\ncde", true),
        ];
        for (headers, body, truncated) in cases {
            let result = read(&response(404, headers), body.as_bytes(), 4);
            let (kept, cut, done) = result.unwrap();
            assert_eq!((kept.as_str(), cut), ("abcd", truncated), "{headers:?}");
            assert_eq!(done, truncated || !headers.is_empty());
        }
    }

    #[test]
    fn lengths_are_strictly_digits() {
        for length in [
            "",
            "+3",
            "-3",
            "3_0",
            "0x3",
            "3 ",
            "3,3",
            "3.0",
            "٣",
            "9999999999999999",
            "09999999999999999",
        ] {
            let response = response(404, &[("Content-Length", length.trim_end())]);
            let expected = match length {
                "3 " => Ok(("abc".into(), false, true)),
                _ => Err(BodyError::ContentLength),
            };
            assert_eq!(read(&response, b"abc", 100), expected, "{length:?}");
        }
        let twice = [("Content-Length", "3"), ("Content-Length", "3")];
        let result = read(&response(404, &twice), b"abc", 100);
        assert_eq!(result, Err(BodyError::ContentLength));
    }

    #[test]
    fn other_codings_are_refused() {
        for coding in [
            "gzip, chunked",
            "chunked, chunked",
            "identity",
            "",
            "xchunked",
        ] {
            let result = read(&response(404, &[("Transfer-Encoding", coding)]), b"", 100);
            assert_eq!(result, Err(BodyError::TransferEncoding), "{coding}");
        }
        let result = read(&response(404, &[CHUNKED, CHUNKED]), b"", 100);
        assert_eq!(result, Err(BodyError::TransferEncoding));
    }

    #[test]
    fn a_line_of_a_chunk_may_have_so_many_bytes() {
        let head = response(404, &[CHUNKED]);
        // Its CR is counted, its LF is not.
        for (more, is_allowed) in [(MAX_LINE - 3, true), (MAX_LINE - 2, false)] {
            let body = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(more));
            let expected = match is_allowed {
                true => Ok(("a".to_owned(), false, true)),
                false => Err(BodyError::Chunk),
            };
            assert_eq!(read(&head, body.as_bytes(), 100), expected, "{more}");
        }
    }

    #[test]
    fn an_error_says_what_is_wrong() {
        for (error, text) in [
            (BodyError::ContentLength, "Content-Length is not one number"),
            (
                BodyError::TransferEncoding,
                "Transfer-Encoding is not chunked",
            ),
            (BodyError::Chunk, "chunked coding is malformed"),
            (BodyError::Incomplete, "body breaks off"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        let long_line = "1;".to_owned() + &"x".repeat(MAX_LINE);
        let bodies = [
            "+3\r\nabc\r\n",
            "0x3\r\nabc\r\n",
            " 3\r\nabc\r\n",
            "3 3\r\nabc\r\n",
            "3\x0c\r\nabc\r\n",
            " \r\nabc\r\n",
            "\r\nabc\r\n",
            ";x\r\n",
            "3\nabc\r\n",
            "30\nabc\r\n0\r\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\n",
            "3\r\nabc\rX\n",
            "1000000000000000\r\n",
            &long_line,
        ];
        for body in bodies {
            let result = read(&response(404, &[CHUNKED]), body.as_bytes(), 100);
            assert_eq!(result, Err(BodyError::Chunk), "{body:?}");
        }
    }

    #[test]
    fn what_came_before_a_malformed_chunk_is_kept() {
        let mut response = response(404, &[CHUNKED]);
        let mut reader = BodyReader::new(&response, 100).unwrap();
        assert_eq!(reader.receive(b"3\r\nabc\r\n?"), Ok(false));
        assert_eq!(reader.receive(b"\r\n"), Err(BodyError::Chunk));
        reader.finish(&mut response);
        assert_eq!(response.body(), "abc");
        assert!(response.is_body_truncated());
    }

    #[test]
    fn a_body_that_breaks_off_is_an_error_and_is_kept() {
        let chunks = [
            "3",
            "3\r\n",
            "3\r\nab",
            "3\r\nabc",
            "3\r\nabc\r\n",
            "3\r\nabc\r\n0\r",
        ];
        for body in chunks {
            let result = read(&response(404, &[CHUNKED]), body.as_bytes(), 100);
            assert_eq!(result, Err(BodyError::Incomplete), "{body:?}");
        }
        let mut response = response(404, &[("Content-Length", "3")]);
        let mut reader = BodyReader::new(&response, 100).unwrap();
        assert_eq!(reader.receive(b"ab"), Ok(false));
        assert_eq!(reader.receive_eof(), Err(BodyError::Incomplete));
        reader.finish(&mut response);
        assert_eq!(response.body(), "ab");
        assert!(response.is_body_truncated());
    }
}

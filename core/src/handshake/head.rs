//! Heads: the part of an HTTP/1.1 message up to its empty line (RFC 9112 section 2).
//!
//! The crate `httparse` takes a head apart. It forgives more than we do, so what it made of the bytes
//! counts only if they keep our rules as well: limits, no empty line in front (a server has skipped one),
//! every line ended by CRLF (RFC 9112 section 2.2). Where it fails, or we do not agree, the careful [`HeadScanner`] says why.
//!
//! Nothing is repaired, so that no proxy in between can read the same bytes differently.

use alloc::vec;
use core::{fmt, mem::MaybeUninit};

use httparse::{Error, Header, Status};

use crate::handshake::{
    HandshakeError, HeadScanner, Headers, ascii::is_token_byte, scanner::check_first_byte,
};

/// How much a peer may send before the handshake is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Length of the request or status line in bytes, with its CRLF. Default: 8 KiB.
    pub line: usize,
    /// Length of the whole head in bytes. Default: 16 KiB.
    pub head: usize,
    /// Number of header lines. Default: 100.
    pub headers: usize,
}

/// The default of [`HeadLimits::headers`].
const HEADERS: usize = 100;

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            line: 8 * 1024,
            head: 16 * 1024,
            headers: HEADERS,
        }
    }
}

/// Room for one header field, in which httparse puts it.
pub(super) type Slot<'a> = MaybeUninit<Header<'a>>;

/// Calls `parse` with room for as many header fields as are allowed and can be there.
pub(super) fn with_slots<'a, T>(
    bytes: &'a [u8],
    limits: &HeadLimits,
    parse: impl FnOnce(&mut [Slot<'a>]) -> T,
) -> T {
    const SHORTEST_FIELD: usize = b"a:\r\n".len();

    let mut slots = [MaybeUninit::uninit(); HEADERS];
    if let Some(slots) = slots.get_mut(..limits.headers) {
        return parse(slots);
    }
    let possible = bytes.len().min(limits.head) / SHORTEST_FIELD;
    parse(&mut vec![
        MaybeUninit::uninit();
        limits.headers.min(possible)
    ])
}

/// Returns what was parsed of some bytes, if it is all of them.
pub(super) fn whole<T>(bytes: &[u8], (head, size): (T, usize)) -> Result<T, HeadError> {
    match bytes.len().saturating_sub(size) {
        0 => Ok(head),
        bytes => Err(HeadError::TrailingBytes { bytes }),
    }
}

/// Applies our rules to what httparse made of a head, and returns the length of the head.
///
/// `explain` tells what is wrong with a start line.
pub(super) fn check(
    bytes: &[u8],
    limits: &HeadLimits,
    parsed: httparse::Result<usize>,
    explain: fn(&[u8]) -> HeadError,
) -> Result<usize, HeadError> {
    check_first_byte(bytes)?;
    let Ok(Status::Complete(size)) = parsed else {
        return Err(defect(bytes, limits, parsed, explain));
    };
    if size > limits.line.min(limits.head) {
        HeadScanner::new(*limits).scan(bytes)?;
    }
    Ok(size)
}

/// Returns the header fields of a head from behind its start line, which has so many bytes.
pub(super) fn headers(
    head: &[u8],
    limits: &HeadLimits,
    start_line: usize,
    fields: &[Header<'_>],
) -> Result<Headers, HeadError> {
    let lines = head.get(start_line..).unwrap_or_default();
    let lines = lines.strip_prefix(b"\r\n");
    let headers = lines.and_then(|lines| Headers::parsed(fields, lines));
    headers.ok_or_else(|| line_defect(head, limits))
}

/// Returns which line does not end in CRLF.
#[cold]
fn line_defect(head: &[u8], limits: &HeadLimits) -> HeadError {
    let scanned = HeadScanner::new(*limits).scan(head);
    scanned.err().unwrap_or(HeadError::StartLine)
}

/// Returns why httparse found no head.
#[cold]
fn defect(
    bytes: &[u8],
    limits: &HeadLimits,
    parsed: httparse::Result<usize>,
    explain: fn(&[u8]) -> HeadError,
) -> HeadError {
    if let Err(error) = HeadScanner::new(*limits).scan(bytes) {
        return error;
    }
    match parsed {
        Ok(_) => HeadError::Incomplete { bytes: bytes.len() },
        Err(Error::HeaderName | Error::HeaderValue) => field_defect(bytes),
        Err(Error::TooManyHeaders) => HeadError::TooManyHeaders {
            limit: limits.headers,
        },
        Err(Error::NewLine | Error::Status | Error::Token | Error::Version) => {
            explain(start_line(bytes))
        }
    }
}

/// Returns what is wrong with the first header line that does not begin with a name and a colon.
fn field_defect(bytes: &[u8]) -> HeadError {
    let mut lines = bytes.split(|byte| *byte == b'\n').zip(1..).skip(1);
    match lines.find(|(line, _)| !begins_with_name(line)) {
        Some(([b' ' | b'\t', ..], line)) => HeadError::FoldedLine { line },
        Some((_, line)) => HeadError::HeaderName { line },
        None => HeadError::Incomplete { bytes: bytes.len() },
    }
}

fn begins_with_name(line: &[u8]) -> bool {
    let end = line.iter().position(|byte| !is_token_byte(*byte));
    end.is_some_and(|end| end > 0 && line.get(end) == Some(&b':'))
}

/// Returns the start line without its CRLF.
pub(super) fn start_line(bytes: &[u8]) -> &[u8] {
    let line = bytes.split(|byte| *byte == b'\r').next();
    line.unwrap_or_default()
}

/// The version of a message (RFC 9112 section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum HttpVersion {
    /// HTTP/1.0, in which no handshake is possible.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
    /// HTTP/2, in which a handshake is a request by Extended CONNECT (RFC 8441).
    Http2,
    /// HTTP/3, in which a handshake is a request by Extended CONNECT (RFC 9220).
    Http3,
}

/// A request or response of HTTP/2 or HTTP/3 cannot be written: it is not text, and the application's HTTP stack sends
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotText(pub HttpVersion);

impl fmt::Display for NotText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.0;
        write!(
            f,
            "cannot write {version}: pass the request or response to the HTTP stack of the stream"
        )
    }
}

impl core::error::Error for NotText {}

impl HttpVersion {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Http3 => "HTTP/3",
        }
    }

    /// Whether a connection carries many streams, so that a request takes one of them instead of the connection.
    #[must_use]
    pub const fn is_multiplexed(self) -> bool {
        matches!(self, Self::Http2 | Self::Http3)
    }

    /// Checks that messages of this version are text, which is all that is written here.
    #[inline]
    pub(crate) const fn check_written_as_text(self) -> Result<(), NotText> {
        match self.is_multiplexed() {
            true => Err(NotText(self)),
            false => Ok(()),
        }
    }

    /// Returns the version HTTP/1.x.
    pub(super) const fn of_minor(minor: u8) -> Self {
        match minor {
            0 => Self::Http10,
            _ => Self::Http11,
        }
    }

    pub(super) fn parse(text: &[u8]) -> Result<Self, HeadError> {
        match text {
            b"HTTP/1.1" => Ok(Self::Http11),
            b"HTTP/1.0" => Ok(Self::Http10),
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
                Err(HeadError::HttpVersion)
            }
            _ => Err(HeadError::StartLine),
        }
    }
}

impl fmt::Display for HttpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why bytes are not the head of a request or response that we accept.
///
/// Lines are counted from 1, which is the request or status line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// The stream ended, or the bytes given end, before the empty line.
    Incomplete {
        /// How many bytes there were.
        bytes: usize,
    },
    /// Bytes follow the empty line where only a head was expected.
    TrailingBytes {
        /// How many bytes there were.
        bytes: usize,
    },
    /// The request or status line exceeds [`HeadLimits::line`].
    StartLineTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The head exceeds [`HeadLimits::head`].
    HeadTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// There are more header lines than [`HeadLimits::headers`].
    TooManyHeaders {
        /// The limit.
        limit: usize,
    },
    /// The first byte is that of TLS: a handshake, or an alert.
    LooksLikeTls,
    /// The request or status line is malformed.
    StartLine,
    /// The version is well-formed but neither HTTP/1.1 nor HTTP/1.0.
    HttpVersion,
    /// The request target holds a character that it may not hold.
    Target {
        /// Where in the target it stands.
        offset: usize,
    },
    /// A line ends in LF without CR.
    BareLineFeed {
        /// The line.
        line: usize,
    },
    /// A header is continued on a second line (obs-fold).
    FoldedLine {
        /// The second line.
        line: usize,
    },
    /// A header line does not begin with a token and a colon.
    HeaderName {
        /// The line.
        line: usize,
    },
    /// A line holds a control character other than HTAB.
    ControlCharacter {
        /// The line.
        line: usize,
    },
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete { bytes: 0 } => f.write_str("the peer ended without a word"),
            Self::Incomplete { bytes } => write!(f, "head breaks off after {bytes} bytes"),
            Self::TrailingBytes { bytes } => write!(f, "{bytes} bytes follow the head"),
            Self::StartLineTooLong { limit } => {
                write!(f, "first line exceeds the limit of {limit} bytes")
            }
            Self::HeadTooLarge { limit } => write!(f, "head exceeds the limit of {limit} bytes"),
            Self::TooManyHeaders { limit } => write!(f, "more than {limit} header lines"),
            Self::LooksLikeTls => f.write_str("the peer's first byte looks like TLS: use wss://"),
            Self::StartLine => f.write_str("first line is malformed"),
            Self::HttpVersion => f.write_str("HTTP version is not 1.1"),
            Self::Target { offset } => {
                write!(
                    f,
                    "request target has a forbidden character at offset {offset}"
                )
            }
            Self::BareLineFeed { line } => write!(f, "line {line} ends in LF without CR"),
            Self::FoldedLine { line } => write!(f, "line {line} begins with whitespace"),
            Self::HeaderName { line } => {
                write!(
                    f,
                    "line {line} does not begin with a header name and a colon"
                )
            }
            Self::ControlCharacter { line } => write!(f, "line {line} holds a control character"),
        }
    }
}

impl core::error::Error for HeadError {}

impl From<HeadError> for HandshakeError {
    fn from(error: HeadError) -> Self {
        Self::Head(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use alloc::{format, string::ToString, vec::Vec};

    use crate::handshake::{Headers, Request, Response};

    const DEFAULT: HeadLimits = HeadLimits {
        line: 8192,
        head: 16_384,
        headers: 100,
    };

    /// Parses the same header lines in a request and in a response, which must agree.
    #[track_caller]
    fn parse(lines: &[u8], limits: HeadLimits) -> Result<Headers, HeadError> {
        let request = [b"GET / HTTP/1.1\r\n", lines].concat();
        let request = Request::parse(&request, &limits).map(|head| head.headers().clone());
        let response = [b"HTTP/1.1 200 \r\n", lines].concat();
        let response = Response::parse(&response, &limits).map(|head| head.headers().clone());
        match (&request, &response) {
            (Err(HeadError::Incomplete { .. }), Err(HeadError::Incomplete { .. })) => {}
            _ => assert_eq!(request, response),
        }
        request
    }

    #[test]
    fn header_lines_that_could_be_read_in_two_ways_are_refused() {
        type Case = (&'static [u8], HeadError);
        let cases: [Case; 16] = [
            (b"A : b\r\n\r\n", HeadError::HeaderName { line: 2 }),
            (b"A\t: b\r\n\r\n", HeadError::HeaderName { line: 2 }),
            (b": b\r\n\r\n", HeadError::HeaderName { line: 2 }),
            (b"A\r\n\r\n", HeadError::HeaderName { line: 2 }),
            (b"A: b\r\n(: c\r\n\r\n", HeadError::HeaderName { line: 3 }),
            (b"\xc3: b\r\n\r\n", HeadError::HeaderName { line: 2 }),
            (b" A: b\r\n\r\n", HeadError::FoldedLine { line: 2 }),
            (b"A: b\r\n c\r\n\r\n", HeadError::FoldedLine { line: 3 }),
            (b"A: b\r\n\tc\r\n\r\n", HeadError::FoldedLine { line: 3 }),
            (b"A:\r\n b\r\n\r\n", HeadError::FoldedLine { line: 3 }),
            (b"A: b\n\r\n", HeadError::BareLineFeed { line: 2 }),
            (b"A:\n\r\n", HeadError::BareLineFeed { line: 2 }),
            (b"A: b\r\n\n", HeadError::BareLineFeed { line: 3 }),
            (b"\n", HeadError::BareLineFeed { line: 2 }),
            (b"A: b\rc\r\n\r\n", HeadError::ControlCharacter { line: 2 }),
            (b"A: \0\r\n\r\n", HeadError::ControlCharacter { line: 2 }),
        ];
        for (lines, error) in cases {
            let result = parse(lines, DEFAULT);
            assert_eq!(result, Err(error), "{}", lines.escape_ascii());
        }
    }

    #[test]
    fn header_lines_end_with_the_empty_line() {
        let parse = |lines| parse(lines, DEFAULT);
        for lines in [&b""[..], b"A: b\r\n", b"A: b\r\n\r", b"A", b"A: b\r"] {
            let result = parse(lines);
            assert!(matches!(result, Err(HeadError::Incomplete { .. })));
        }
        let trailing = Err(HeadError::TrailingBytes { bytes: 1 });
        assert_eq!(parse(b"A: b\r\n\r\nX"), trailing);
        let headers = parse(b"A:b\r\na: \t c \r\nE:\r\nF: \r\n\r\n").unwrap();
        assert_eq!(headers.get_all("A").collect::<Vec<_>>(), [b"b", b"c"]);
        assert_eq!(headers.get("E"), Some(&b""[..]));
        assert_eq!(headers.get("F"), Some(&b""[..]));
    }

    #[test]
    fn spaces_around_a_value_are_no_part_of_it_wherever_they_stand() {
        for (before, after) in [
            ("", ""),
            ("", " "),
            (" ", ""),
            ("\t", ""),
            (" ", " "),
            ("  ", ""),
        ] {
            for value in ["", "b", "b c"] {
                let lines = format!("A:{before}{value}{after}\r\nD: e\r\n\r\n");
                let headers = parse(lines.as_bytes(), DEFAULT).unwrap();
                assert_eq!(headers.get_str("A"), Some(value), "{lines:?}");
                assert_eq!(headers.get_str("D"), Some("e"), "{lines:?}");
                let mut written = Vec::new();
                headers.pieces(|piece| written.extend_from_slice(piece));
                let usual = format!("A: {value}\r\nD: e\r\n\r\n");
                assert_eq!(written, usual.as_bytes(), "{lines:?}");
            }
        }
    }

    #[test]
    fn no_empty_line_stands_in_front() {
        for start in ["\r\n", "\n", "\r", " "] {
            for line in ["GET / HTTP/1.1", "HTTP/1.1 200 "] {
                let head = format!("{start}{line}\r\n\r\n");
                let request = Request::parse(head.as_bytes(), &DEFAULT);
                assert_eq!(request, Err(HeadError::StartLine), "{head:?}");
                let response = Response::parse(head.as_bytes(), &DEFAULT);
                assert_eq!(response, Err(HeadError::StartLine), "{head:?}");
            }
        }
    }

    #[test]
    fn values_may_hold_every_byte_but_control_characters() {
        for byte in 0..=255 {
            let result = parse(&[b"A: b", &[byte][..], b"c\r\n\r\n"].concat(), DEFAULT);
            match byte {
                b'\t' | 0x20..=0x7e | 0x80..=0xff => {
                    assert_eq!(result.unwrap().get("A"), Some(&[b'b', byte, b'c'][..]));
                }
                b'\n' => assert_eq!(result, Err(HeadError::BareLineFeed { line: 2 })),
                _ => assert_eq!(result, Err(HeadError::ControlCharacter { line: 2 })),
            }
        }
    }

    #[test]
    fn names_hold_every_token_character_and_no_other() {
        for byte in 0..=255 {
            let result = parse(&[b"A", &[byte][..], b"c: d\r\n\r\n"].concat(), DEFAULT);
            let expected = is_token_byte(byte) || byte == b':';
            assert_eq!(result.is_ok(), expected, "{byte:#x}");
        }
    }

    #[test]
    fn versions_are_told_from_garbage() {
        for (text, version) in [
            ("HTTP/1.1", Ok(HttpVersion::Http11)),
            ("HTTP/1.0", Ok(HttpVersion::Http10)),
            ("HTTP/2.0", Err(HeadError::HttpVersion)),
            ("HTTP/0.9", Err(HeadError::HttpVersion)),
            ("HTTP/1.", Err(HeadError::StartLine)),
            ("http/1.1", Err(HeadError::StartLine)),
            ("HTTP/1.10", Err(HeadError::StartLine)),
            ("HTTP/1-1", Err(HeadError::StartLine)),
        ] {
            assert_eq!(HttpVersion::parse(text.as_bytes()), version, "{text}");
            if let Ok(version) = version {
                assert_eq!(version.to_string(), text);
            }
        }
        assert_eq!(HttpVersion::of_minor(0), HttpVersion::Http10);
        assert_eq!(HttpVersion::of_minor(1), HttpVersion::Http11);
        assert_eq!(HttpVersion::Http2.to_string(), "HTTP/2");
        assert_eq!(HttpVersion::Http3.to_string(), "HTTP/3");
    }

    #[test]
    fn an_error_says_what_is_wrong_and_where() {
        for (error, text) in [
            (
                HeadError::Incomplete { bytes: 0 },
                "the peer ended without a word",
            ),
            (
                HeadError::Incomplete { bytes: 7 },
                "head breaks off after 7 bytes",
            ),
            (
                HeadError::TrailingBytes { bytes: 2 },
                "2 bytes follow the head",
            ),
            (
                HeadError::StartLineTooLong { limit: 9 },
                "first line exceeds the limit of 9 bytes",
            ),
            (
                HeadError::HeadTooLarge { limit: 9 },
                "head exceeds the limit of 9 bytes",
            ),
            (
                HeadError::TooManyHeaders { limit: 9 },
                "more than 9 header lines",
            ),
            (
                HeadError::LooksLikeTls,
                "the peer's first byte looks like TLS: use wss://",
            ),
            (HeadError::StartLine, "first line is malformed"),
            (HeadError::HttpVersion, "HTTP version is not 1.1"),
            (
                HeadError::Target { offset: 3 },
                "request target has a forbidden character at offset 3",
            ),
            (
                HeadError::BareLineFeed { line: 2 },
                "line 2 ends in LF without CR",
            ),
            (
                HeadError::FoldedLine { line: 2 },
                "line 2 begins with whitespace",
            ),
            (
                HeadError::HeaderName { line: 2 },
                "line 2 does not begin with a header name and a colon",
            ),
            (
                HeadError::ControlCharacter { line: 2 },
                "line 2 holds a control character",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn as_many_headers_are_parsed_as_are_allowed() {
        for allowed in [0, 1, 99, 100, 101, 1000, usize::MAX] {
            let limits = HeadLimits {
                headers: allowed,
                ..DEFAULT
            };
            for count in [0, 1, 100, 101, 102, 1000, 1001] {
                let lines = format!("{}\r\n", "a:\r\n".repeat(count));
                let expected = match count <= allowed {
                    true => Ok(count),
                    false => Err(HeadError::TooManyHeaders { limit: allowed }),
                };
                let result = parse(lines.as_bytes(), limits).map(|headers| headers.len());
                assert_eq!(result, expected, "{count} of {allowed}");
            }
        }
    }

    #[test]
    fn limits_hold_when_a_head_is_parsed_without_a_scanner() {
        let limits = HeadLimits {
            line: 16,
            head: 24,
            headers: 1,
        };
        let parse = |limits| {
            let result = Request::parse(b"GET / HTTP/1.1\r\nA: b\r\n\r\n", &limits);
            result.map(|request| request.headers().len())
        };
        assert_eq!(parse(limits), Ok(1));
        let too_long = HeadError::StartLineTooLong { limit: 15 };
        assert_eq!(parse(HeadLimits { line: 15, ..limits }), Err(too_long));
        let too_large = HeadError::HeadTooLarge { limit: 23 };
        assert_eq!(parse(HeadLimits { head: 23, ..limits }), Err(too_large));
        let too_many = HeadError::TooManyHeaders { limit: 0 };
        let none = HeadLimits {
            headers: 0,
            ..limits
        };
        assert_eq!(parse(none), Err(too_many));
    }
}

//! Heads: the part of an HTTP/1.1 message up to its empty line (RFC 9112 section 2).
//!
//! [`HeadScanner`] finds where a head ends while it arrives, looking at every byte once, and
//! refuses it with the very byte that exceeds a limit. What it found is then parsed once. Neither
//! repairs anything: lines end in CRLF, are not folded, and names are followed by the colon at
//! once (RFC 9112 section 5), so that no proxy in between can read the same bytes differently.

use core::fmt;

use crate::handshake::{
    HandshakeError, Headers,
    ascii::{is_token_byte, text_length, trim},
};

/// First byte of a TLS record that holds a handshake message (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// How much a peer may send before the handshake is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Length of the request or status line in bytes, with its CRLF. Default: 8 KiB.
    pub line: usize,
    /// Length of the whole head in bytes. Default: 16 KiB.
    pub head: usize,
    /// Number of header lines. Default: 64.
    pub headers: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            line: 8 * 1024,
            head: 16 * 1024,
            headers: 64,
        }
    }
}

/// Finds the end of a head that arrives in pieces.
#[derive(Debug, Clone, Default)]
pub struct HeadScanner {
    limits: HeadLimits,
    /// Bytes looked at so far.
    scanned: usize,
    /// Where the line begins that has not ended yet.
    line_start: usize,
    /// Lines that have ended.
    lines: usize,
}

impl HeadScanner {
    /// Returns a scanner that stands at the first byte of a head.
    #[must_use]
    pub fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Looks at what is new in `buffered`, which holds all bytes received since the head began.
    ///
    /// Returns the length of the head once its empty line is there. The result depends on the
    /// bytes only, not on how they were cut.
    ///
    /// # Errors
    ///
    /// A limit is exceeded, or the bytes cannot become a head.
    pub fn scan(&mut self, buffered: &[u8]) -> Result<Option<usize>, HeadError> {
        check_first_byte(buffered)?;
        loop {
            let allowed = self.allowed(buffered);
            if self.has_too_many_headers(allowed) {
                return Err(HeadError::TooManyHeaders {
                    limit: self.limits.headers,
                });
            }
            let Some(length) = self.next_line(allowed)? else {
                return self.incomplete(buffered);
            };
            if length == 0 {
                return Ok(Some(self.line_start));
            }
        }
    }

    /// The part of the buffer in which the next line must end.
    fn allowed<'a>(&self, buffered: &'a [u8]) -> &'a [u8] {
        let limit = match self.lines {
            0 => self.limits.line.min(self.limits.head),
            _ => self.limits.head,
        };
        buffered.get(..limit).unwrap_or(buffered)
    }

    fn has_too_many_headers(&self, allowed: &[u8]) -> bool {
        self.lines > self.limits.headers
            && allowed
                .get(self.line_start)
                .is_some_and(|byte| *byte != b'\r')
    }

    /// Passes one line and returns its length without CRLF.
    fn next_line(&mut self, allowed: &[u8]) -> Result<Option<usize>, HeadError> {
        let number = self.lines.saturating_add(1);
        let unseen = allowed.get(self.scanned..).unwrap_or_default();
        let (text, rest) = split_text(unseen);
        let end = self.scanned.saturating_add(text.len());
        if strip_line_end(rest, number)?.is_none() {
            self.scanned = end;
            return Ok(None);
        }
        let length = end.saturating_sub(self.line_start);
        self.scanned = end.saturating_add(2);
        self.line_start = self.scanned;
        self.lines = number;
        Ok(Some(length))
    }

    fn incomplete(&self, buffered: &[u8]) -> Result<Option<usize>, HeadError> {
        if self.lines == 0 && buffered.len() > self.limits.line {
            return Err(HeadError::StartLineTooLong {
                limit: self.limits.line,
            });
        }
        if buffered.len() > self.limits.head {
            return Err(HeadError::HeadTooLarge {
                limit: self.limits.head,
            });
        }
        Ok(None)
    }
}

/// Both a method and a protocol name begin with a token character.
fn check_first_byte(buffered: &[u8]) -> Result<(), HeadError> {
    match buffered.first() {
        Some(&TLS_HANDSHAKE) => Err(HeadError::LooksLikeTls),
        Some(&byte) if !is_token_byte(byte) => Err(HeadError::StartLine),
        _ => Ok(()),
    }
}

/// Splits before the first control character other than HTAB.
fn split_text(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes
        .split_at_checked(text_length(bytes))
        .unwrap_or_default()
}

/// Takes CRLF off what follows the text of a line; `None` if it has not arrived.
fn strip_line_end(rest: &[u8], line: usize) -> Result<Option<&[u8]>, HeadError> {
    match rest {
        [b'\r', b'\n', after @ ..] => Ok(Some(after)),
        [] | [b'\r'] => Ok(None),
        [b'\n', ..] => Err(HeadError::BareLineFeed { line }),
        _ => Err(HeadError::ControlCharacter { line }),
    }
}

/// Takes one line off a complete head.
fn split_line(bytes: &[u8], number: usize, whole: usize) -> Result<(&[u8], &[u8]), HeadError> {
    let (line, rest) = split_text(bytes);
    match strip_line_end(rest, number)? {
        Some(rest) => Ok((line, rest)),
        None => Err(HeadError::Incomplete { bytes: whole }),
    }
}

/// Takes the start line off a complete head; the header lines and the empty line are left.
pub(super) fn split_start_line<'a>(
    head: &'a [u8],
    limits: &HeadLimits,
) -> Result<(&'a [u8], &'a [u8]), HeadError> {
    check_first_byte(head)?;
    let (line, rest) = split_line(head, 1, head.len())?;
    if line.len().saturating_add(2) > limits.line {
        return Err(HeadError::StartLineTooLong { limit: limits.line });
    }
    if head.len() > limits.head {
        return Err(HeadError::HeadTooLarge { limit: limits.head });
    }
    Ok((line, rest))
}

/// Parses header lines up to the empty line, which must be the end.
pub(super) fn parse_headers(mut rest: &[u8], limits: &HeadLimits) -> Result<Headers, HeadError> {
    const TYPICAL_FIELDS: usize = 16;

    let whole = rest.len();
    let mut headers = Headers::with_capacity(TYPICAL_FIELDS, whole);
    for number in 2_usize.. {
        let (line, after) = split_line(rest, number, whole)?;
        rest = after;
        if line.is_empty() {
            break;
        }
        if number.saturating_sub(1) > limits.headers {
            return Err(HeadError::TooManyHeaders {
                limit: limits.headers,
            });
        }
        let (name, value) = parse_field(line, number)?;
        headers.push(name, value);
    }
    match rest.len() {
        0 => Ok(headers),
        bytes => Err(HeadError::TrailingBytes { bytes }),
    }
}

/// Parses `name: value` (RFC 9112 section 5).
fn parse_field(line: &[u8], number: usize) -> Result<(&[u8], &[u8]), HeadError> {
    let end = line.iter().position(|byte| !is_token_byte(*byte));
    match end.and_then(|end| line.split_at_checked(end)) {
        Some(([], [b' ' | b'\t', ..])) => Err(HeadError::FoldedLine { line: number }),
        Some((name @ [_, ..], [b':', value @ ..])) => Ok((name, trim(value))),
        _ => Err(HeadError::HeaderName { line: number }),
    }
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
}

impl HttpVersion {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
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
    /// The first byte is that of a TLS handshake.
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
            Self::Incomplete { bytes } => write!(f, "head breaks off after {bytes} bytes"),
            Self::TrailingBytes { bytes } => write!(f, "{bytes} bytes follow the head"),
            Self::StartLineTooLong { limit } => {
                write!(f, "first line exceeds the limit of {limit} bytes")
            }
            Self::HeadTooLarge { limit } => write!(f, "head exceeds the limit of {limit} bytes"),
            Self::TooManyHeaders { limit } => write!(f, "more than {limit} header lines"),
            Self::LooksLikeTls => {
                f.write_str("the peer's first byte looks like TLS (0x16): use wss://")
            }
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

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\t\r\n\r\n";

    /// Scans the bytes whole, byte by byte, and at every cut; all must agree.
    #[track_caller]
    fn scan(bytes: &[u8], limits: HeadLimits) -> Result<Option<usize>, HeadError> {
        let whole = HeadScanner::new(limits).scan(bytes);
        assert_eq!(
            scan_at(bytes, limits, 0..bytes.len()),
            whole,
            "byte by byte"
        );
        for cut in 0..bytes.len() {
            assert_eq!(scan_at(bytes, limits, [cut]), whole, "cut at {cut}");
        }
        whole
    }

    fn scan_at(
        bytes: &[u8],
        limits: HeadLimits,
        cuts: impl IntoIterator<Item = usize>,
    ) -> Result<Option<usize>, HeadError> {
        let mut scanner = HeadScanner::new(limits);
        for cut in cuts.into_iter().chain([bytes.len()]) {
            let result = scanner.scan(&bytes[..cut]);
            if result != Ok(None) {
                return result;
            }
        }
        Ok(None)
    }

    fn small() -> HeadLimits {
        HeadLimits {
            line: 20,
            head: 60,
            headers: 3,
        }
    }

    #[test]
    fn finds_the_end_of_a_head_at_every_cut() {
        let limits = HeadLimits::default();
        assert_eq!(scan(REQUEST, limits), Ok(Some(REQUEST.len())));
        let with_frames = [REQUEST, b"\x81\x80abcd\r\n\r\n"].concat();
        assert_eq!(scan(&with_frames, limits), Ok(Some(REQUEST.len())));
        for end in 0..REQUEST.len() {
            assert_eq!(scan(&REQUEST[..end], limits), Ok(None), "{end}");
        }
    }

    #[test]
    fn refuses_garbage_at_every_cut() {
        type Case = (&'static [u8], HeadError);
        let cases: [Case; 13] = [
            (b"\x16\x03\x01\x02\x00\x01", HeadError::LooksLikeTls),
            (b"\r\nGET / HTTP/1.1\r\n\r\n", HeadError::StartLine),
            (b" GET / HTTP/1.1\r\n\r\n", HeadError::StartLine),
            (b"\x80", HeadError::StartLine),
            (b"GET / HTTP/1.1\nHost", HeadError::BareLineFeed { line: 1 }),
            (b"G\r\nA: b\n\r\n", HeadError::BareLineFeed { line: 2 }),
            (b"G\r\nA: b\r\n\n", HeadError::BareLineFeed { line: 3 }),
            (b"G\r\nA: b\rc\r\n", HeadError::ControlCharacter { line: 2 }),
            (b"G\r\nA: b\r\r\n", HeadError::ControlCharacter { line: 2 }),
            (b"G\r\nA: \0\r\n", HeadError::ControlCharacter { line: 2 }),
            (b"G\r\nA: \x7f\r\n", HeadError::ControlCharacter { line: 2 }),
            (b"G\0", HeadError::ControlCharacter { line: 1 }),
            (b"G\r\n\r\x81", HeadError::ControlCharacter { line: 2 }),
        ];
        for (bytes, error) in cases {
            let result = scan(bytes, HeadLimits::default());
            assert_eq!(result, Err(error), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn the_start_line_may_fill_its_limit_and_no_more() {
        let limit = small().line;
        let fits = [&vec![b'a'; limit - 2][..], b"\r\n\r\n"].concat();
        assert_eq!(scan(&fits, small()), Ok(Some(limit + 2)));
        let error = Err(HeadError::StartLineTooLong { limit });
        let exceeds = [&vec![b'a'; limit - 1][..], b"\r\n\r\n"].concat();
        assert_eq!(scan(&exceeds, small()), error);
        let endless = vec![b'a'; limit + 1];
        assert_eq!(scan(&endless[..limit], small()), Ok(None));
        assert_eq!(scan(&endless, small()), error);
    }

    #[test]
    fn the_head_may_fill_its_limit_and_no_more() {
        let limit = small().head;
        let value = |length| [b"G\r\nA: ", &vec![b'a'; length][..], b"\r\n\r\n"].concat();
        let fits = value(limit - 10);
        assert_eq!(fits.len(), limit);
        assert_eq!(scan(&fits, small()), Ok(Some(limit)));
        let error = Err(HeadError::HeadTooLarge { limit });
        assert_eq!(scan(&value(limit - 9), small()), error);
        let endless = value(2 * limit);
        assert_eq!(scan(&endless[..limit], small()), Ok(None));
        assert_eq!(scan(&endless[..=limit], small()), error);
    }

    #[test]
    fn a_header_beyond_the_limit_is_refused_with_its_first_byte() {
        let limit = small().headers;
        let fits = b"G\r\nA: b\r\nA: b\r\nA: b\r\n\r\n";
        assert_eq!(scan(fits, small()), Ok(Some(fits.len())));
        let error = Err(HeadError::TooManyHeaders { limit });
        assert_eq!(scan(b"G\r\nA: b\r\nA: b\r\nA: b\r\nA", small()), error);
    }

    #[test]
    fn an_endless_head_is_refused_at_the_default_limits() {
        let limits = HeadLimits::default();
        let mut scanner = HeadScanner::new(limits);
        let line = [b"GET / HTTP/1.1\r\nX: ", &vec![b'a'; 20_000][..]].concat();
        for end in 0..=limits.head {
            assert_eq!(scanner.scan(&line[..end]), Ok(None), "{end}");
        }
        let error = HeadError::HeadTooLarge { limit: 16_384 };
        assert_eq!(scanner.scan(&line[..=limits.head]), Err(error));

        let many = [b"GET / HTTP/1.1\r\n", "a:\r\n".repeat(65).as_bytes()].concat();
        let error = HeadError::TooManyHeaders { limit: 64 };
        assert_eq!(HeadScanner::new(limits).scan(&many), Err(error));
        let error = HeadError::StartLineTooLong { limit: 8192 };
        let target = [b"GET /", &vec![b'a'; 65_536][..]].concat();
        assert_eq!(HeadScanner::new(limits).scan(&target), Err(error));
    }

    /// What was looked at is replaced by bytes that would be refused if they were looked at again.
    #[test]
    fn no_byte_is_looked_at_twice() {
        let mut scanner = HeadScanner::new(HeadLimits::default());
        let mut seen = vec![b'G'];
        for (index, byte) in REQUEST.iter().enumerate().skip(1) {
            let keep = if *byte == b'\n' { index - 1 } else { index };
            seen[1..keep].fill(0);
            seen.push(*byte);
            let end = (index + 1 == REQUEST.len()).then_some(REQUEST.len());
            assert_eq!(scanner.scan(&seen), Ok(end), "{index}");
        }
    }

    #[test]
    fn header_lines_that_could_be_read_in_two_ways_are_refused() {
        type Case = (&'static [u8], HeadError);
        let cases: [Case; 11] = [
            (b"A : b\r\n\r\n", HeadError::HeaderName { line: 2 }),
            (b"A\t: b\r\n\r\n", HeadError::HeaderName { line: 2 }),
            (b": b\r\n\r\n", HeadError::HeaderName { line: 2 }),
            (b"A\r\n\r\n", HeadError::HeaderName { line: 2 }),
            (b"A: b\r\n(: c\r\n\r\n", HeadError::HeaderName { line: 3 }),
            (b"\xc3: b\r\n\r\n", HeadError::HeaderName { line: 2 }),
            (b"A: b\r\n c\r\n\r\n", HeadError::FoldedLine { line: 3 }),
            (b"A: b\r\n\tc\r\n\r\n", HeadError::FoldedLine { line: 3 }),
            (b"A: b\n\r\n", HeadError::BareLineFeed { line: 2 }),
            (b"A: b\rc\r\n\r\n", HeadError::ControlCharacter { line: 2 }),
            (b"A: \0\r\n\r\n", HeadError::ControlCharacter { line: 2 }),
        ];
        for (lines, error) in cases {
            let result = parse_headers(lines, &HeadLimits::default());
            assert_eq!(result, Err(error), "{}", lines.escape_ascii());
        }
    }

    #[test]
    fn header_lines_end_with_the_empty_line() {
        let limits = HeadLimits::default();
        let parse = |lines: &[u8]| parse_headers(lines, &limits);
        assert_eq!(parse(b"A: b\r\n"), Err(HeadError::Incomplete { bytes: 6 }));
        let trailing = Err(HeadError::TrailingBytes { bytes: 1 });
        assert_eq!(parse(b"A: b\r\n\r\nX"), trailing);
        let headers = parse(b"A:b\r\na: \t c \r\nE:\r\n\r\n").unwrap();
        assert_eq!(headers.get_all("A").collect::<Vec<_>>(), [b"b", b"c"]);
        assert_eq!(headers.get("E"), Some(&b""[..]));
    }

    #[test]
    fn limits_hold_when_a_head_is_parsed_without_a_scanner() {
        let head = b"G\r\nA: b\r\n\r\n";
        let parse = |limits: HeadLimits| {
            let (_, rest) = split_start_line(head, &limits)?;
            parse_headers(rest, &limits)
        };
        let limits = HeadLimits {
            line: 3,
            head: 11,
            headers: 1,
        };
        assert!(parse(limits).is_ok());
        let too_long = HeadError::StartLineTooLong { limit: 2 };
        assert_eq!(parse(HeadLimits { line: 2, ..limits }), Err(too_long));
        let too_large = HeadError::HeadTooLarge { limit: 10 };
        assert_eq!(parse(HeadLimits { head: 10, ..limits }), Err(too_large));
        let too_many = HeadError::TooManyHeaders { limit: 0 };
        assert_eq!(
            parse(HeadLimits {
                headers: 0,
                ..limits
            }),
            Err(too_many)
        );
    }
}

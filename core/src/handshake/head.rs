//! Heads: the part of an HTTP/1.1 message up to its empty line (RFC 9112 section 2).
//!
//! [`HeadScanner`] finds where a head ends while it arrives, looking at every byte once, and refuses it
//! with the very byte that exceeds a limit. What it found is then parsed once. Neither repairs anything:
//! lines end in CRLF, are not folded, and names are followed by the colon at once (RFC 9112 section 5),
//! so that no proxy in between can read the same bytes differently.

use core::fmt;

use crate::handshake::{
    HandshakeError, Headers,
    headers::{is_token, is_token_byte, is_value_byte, trim},
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
    /// Returns the length of the head once its empty line is there. The result depends on the bytes only, not on how
    /// they were cut.
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
        let unseen = allowed.get(self.scanned..).unwrap_or_default();
        let Some(found) = find_line_feed(unseen) else {
            self.scanned = self.scanned.saturating_add(unseen.len());
            return Ok(None);
        };
        let end = self.scanned.saturating_add(found);
        let line = allowed.get(self.line_start..end).unwrap_or_default();
        let number = self.lines.saturating_add(1);
        let Some((b'\r', line)) = line.split_last() else {
            return Err(HeadError::BareLineFeed { line: number });
        };
        self.scanned = end.saturating_add(1);
        self.line_start = self.scanned;
        self.lines = number;
        Ok(Some(line.len()))
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

fn find_line_feed(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
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
    if let [b' ' | b'\t', ..] = line {
        return Err(HeadError::FoldedLine { line: number });
    }
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, value) = colon
        .and_then(|colon| line.split_at_checked(colon))
        .filter(|(name, _)| is_token(name))
        .ok_or(HeadError::HeaderName { line: number })?;
    let value = value.strip_prefix(b":").unwrap_or_default();
    if value.iter().all(|byte| is_value_byte(*byte)) {
        Ok((name, trim(value)))
    } else {
        Err(HeadError::HeaderValue { line: number })
    }
}

/// Splits after the first CRLF, which is dropped.
fn split_line(bytes: &[u8], number: usize, whole: usize) -> Result<(&[u8], &[u8]), HeadError> {
    let (line, rest) = find_line_feed(bytes)
        .and_then(|end| bytes.split_at_checked(end))
        .ok_or(HeadError::Incomplete { bytes: whole })?;
    match line.split_last() {
        Some((b'\r', line)) => Ok((line, rest.strip_prefix(b"\n").unwrap_or_default())),
        _ => Err(HeadError::BareLineFeed { line: number }),
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
    /// A header value holds a control character.
    HeaderValue {
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
            Self::HeaderValue { line } => write!(f, "line {line} holds a control character"),
        }
    }
}

impl core::error::Error for HeadError {}

impl From<HeadError> for HandshakeError {
    fn from(error: HeadError) -> Self {
        Self::Head(error)
    }
}

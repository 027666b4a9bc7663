//! Heads that arrive in pieces: where they end, and whether they may go on.
//!
//! Every byte is looked at once, and a head is refused with the very byte that exceeds a limit or that
//! no head can hold. The result depends on the bytes, not on how they were cut.

use crate::handshake::{
    HeadError, HeadLimits,
    ascii::{is_token_byte, text_length},
};

/// First bytes of TLS: of a handshake, and of the alert that answers what is not TLS (RFC 8446 section
/// 5.1).
const TLS: [u8; 2] = [0x16, 0x15];

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

    /// Parses a head with `parse` as soon as all of it is there; returns it and its length.
    pub(crate) fn read<T>(
        &mut self,
        buffered: &[u8],
        parse: impl Fn(&[u8], &HeadLimits) -> Result<(T, usize), HeadError>,
    ) -> Result<Option<(T, usize)>, HeadError> {
        if buffered.is_empty() {
            return Ok(None);
        }
        // Most heads arrive whole. Those are not worth looking for their end first.
        if self.scanned == 0 {
            if let Ok(head) = parse(buffered, &self.limits) {
                return Ok(Some(head));
            }
        }
        match self.scan(buffered)? {
            Some(size) => parse(buffered.get(..size).unwrap_or_default(), &self.limits).map(Some),
            None => Ok(None),
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

    /// CodingMask one line and returns its length without CRLF.
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
pub(crate) fn check_first_byte(buffered: &[u8]) -> Result<(), HeadError> {
    match buffered.first() {
        Some(byte) if TLS.contains(byte) => Err(HeadError::LooksLikeTls),
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
        let cases: [Case; 14] = [
            (b"\x16\x03\x01\x02\x00\x01", HeadError::LooksLikeTls),
            (b"\x15\x03\x03\x00\x02\x02\x32", HeadError::LooksLikeTls),
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

        let many = [b"GET / HTTP/1.1\r\n", "a:\r\n".repeat(101).as_bytes()].concat();
        let error = HeadError::TooManyHeaders { limit: 100 };
        assert_eq!(HeadScanner::new(limits).scan(&many), Err(error));
        let error = HeadError::StartLineTooLong { limit: 8192 };
        let target = [b"GET /", &vec![b'a'; 65_536][..]].concat();
        assert_eq!(HeadScanner::new(limits).scan(&target), Err(error));
    }

    /// What was looked at is replaced by bytes that would be refused if they were looked at again.
    #[test]
    fn a_head_in_pieces_is_parsed_at_its_start_and_its_end_alone() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let parsed = core::cell::Cell::new(0);
        let parse = |bytes: &[u8], limits: &HeadLimits| {
            parsed.set(parsed.get() + 1);
            crate::handshake::Request::parse_front(bytes, limits)
        };
        let mut scanner = HeadScanner::new(HeadLimits::default());
        for end in 1..head.len() {
            assert!(
                matches!(scanner.read(&head[..end], parse), Ok(None)),
                "{end}"
            );
        }
        assert!(matches!(scanner.read(head, parse), Ok(Some((_, size))) if size == head.len()));
        assert_eq!(parsed.get(), 2);
    }

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
}

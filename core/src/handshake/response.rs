//! Responses and status codes (RFC 9112 section 4, RFC 9110 section 15).
//!
//! A response that refuses a handshake always says `Connection: close`: bytes that follow a refused
//! request must never be taken for a second one.

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::fmt;

use bytes::Bytes;
use httparse::ParserConfig;

use crate::handshake::{
    HeadError, HeadLimits, Headers, HttpVersion, NotText,
    extended::CONNECTION_SPECIFIC,
    head::{check, headers, start_line, whole, with_slots},
};

/// The status of a response: a number from 100 to 599.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusCode(u16);

impl StatusCode {
    /// 101: the connection speaks WebSocket from here on.
    pub const SWITCHING_PROTOCOLS: Self = Self(101);
    /// 200: an ordinary answer.
    pub const OK: Self = Self(200);
    /// 400: the request is malformed.
    pub const BAD_REQUEST: Self = Self(400);
    /// 401: credentials are missing or wrong.
    pub const UNAUTHORIZED: Self = Self(401);
    /// 403: the client may not do this, whoever it is.
    pub const FORBIDDEN: Self = Self(403);
    /// 404: nothing is here.
    pub const NOT_FOUND: Self = Self(404);
    /// 405: the handshake is a `GET` request.
    pub const METHOD_NOT_ALLOWED: Self = Self(405);
    /// 408: the request did not arrive in time.
    pub const REQUEST_TIMEOUT: Self = Self(408);
    /// 414: the request line is too long.
    pub const URI_TOO_LONG: Self = Self(414);
    /// 421: the server does not answer for the host of the request.
    pub const MISDIRECTED_REQUEST: Self = Self(421);
    /// 426: only WebSocket is spoken here.
    pub const UPGRADE_REQUIRED: Self = Self(426);
    /// 429: the client comes too often.
    pub const TOO_MANY_REQUESTS: Self = Self(429);
    /// 431: the headers are too large or too many.
    pub const REQUEST_HEADER_FIELDS_TOO_LARGE: Self = Self(431);
    /// 500: the server is at fault.
    pub const INTERNAL_SERVER_ERROR: Self = Self(500);
    /// 501: the server does not support what the request asks for, such as a `:protocol`.
    pub const NOT_IMPLEMENTED: Self = Self(501);
    /// 503: the server is overloaded or going down.
    pub const SERVICE_UNAVAILABLE: Self = Self(503);
    /// 505: the request is not HTTP/1.1.
    pub const HTTP_VERSION_NOT_SUPPORTED: Self = Self(505);

    /// Returns the status with this number, which must lie between 100 and 599.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        match number {
            100..=599 => Some(Self(number)),
            _ => None,
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Whether another response follows this one: 1xx other than 101.
    #[must_use]
    pub const fn is_interim(self) -> bool {
        matches!(self.0, 100 | 102..=199)
    }

    /// Whether the request has succeeded: 2xx.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self.0, 200..=299)
    }

    /// Whether the response sends the client elsewhere.
    #[must_use]
    pub const fn is_redirect(self) -> bool {
        matches!(self.0, 301 | 302 | 303 | 307 | 308)
    }

    /// Whether a response with this status may have a body: not 1xx, 204 and 304 (RFC 9112 section 6.3).
    pub(super) const fn allows_body(self) -> bool {
        !matches!(self.0, 100..=199 | 204 | 304)
    }

    /// Whether a response with this status may have `Content-Length`: not 1xx and 204 (RFC 9110 section 8.6).
    const fn allows_content_length(self) -> bool {
        !matches!(self.0, 100..=199 | 204)
    }

    /// Returns the phrase that stands after the number in a status line.
    #[must_use]
    pub const fn reason_phrase(self) -> &'static str {
        match self.0 {
            100 => "Continue",
            101 => "Switching Protocols",
            200 => "OK",
            204 => "No Content",
            301 => "Moved Permanently",
            302 => "Found",
            303 => "See Other",
            304 => "Not Modified",
            307 => "Temporary Redirect",
            308 => "Permanent Redirect",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            407 => "Proxy Authentication Required",
            408 => "Request Timeout",
            409 => "Conflict",
            410 => "Gone",
            413 => "Content Too Large",
            414 => "URI Too Long",
            418 => "I'm a teapot",
            421 => "Misdirected Request",
            426 => "Upgrade Required",
            429 => "Too Many Requests",
            431 => "Request Header Fields Too Large",
            451 => "Unavailable For Legal Reasons",
            500 => "Internal Server Error",
            501 => "Not Implemented",
            502 => "Bad Gateway",
            503 => "Service Unavailable",
            504 => "Gateway Timeout",
            505 => "HTTP Version Not Supported",
            511 => "Network Authentication Required",
            _ => "",
        }
    }

    const fn digits(self) -> [u8; 3] {
        [
            b'0'.wrapping_add((self.0 / 100 % 10) as u8),
            b'0'.wrapping_add((self.0 / 10 % 10) as u8),
            b'0'.wrapping_add((self.0 % 10) as u8),
        ]
    }
}

impl fmt::Debug for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatusCode({})", self.0)
    }
}

/// Writes `404 Not Found`.
impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        match self.reason_phrase() {
            "" => Ok(()),
            phrase => write!(f, " {phrase}"),
        }
    }
}

/// An HTTP response, as the server answers the request to open a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    status: StatusCode,
    reason: Cow<'static, str>,
    version: HttpVersion,
    headers: Headers,
    body: Bytes,
    body_truncated: bool,
}

impl Response {
    /// Returns a response without headers or body.
    #[must_use]
    pub const fn new(status: StatusCode) -> Self {
        Self {
            status,
            reason: Cow::Borrowed(status.reason_phrase()),
            version: HttpVersion::Http11,
            headers: Headers::new(),
            body: Bytes::new(),
            body_truncated: false,
        }
    }

    /// Returns a response with a body of plain text, after which the connection is closed.
    #[must_use]
    pub fn text(status: StatusCode, text: impl Into<String>) -> Self {
        let mut response = Self::new(status);
        response.headers.push(b"Connection", b"close");
        response.set_body(text.into());
        let plain = b"text/plain; charset=utf-8";
        response.headers.push(b"Content-Type", plain);
        response
    }

    pub(super) fn with_headers(status: StatusCode, headers: Headers) -> Self {
        Self {
            headers,
            ..Self::new(status)
        }
    }

    /// Parses the bytes that [`HeadScanner`](crate::handshake::HeadScanner) has found to be a head.
    ///
    /// The body, if there is one, is read with [`BodyReader`](crate::handshake::BodyReader).
    ///
    /// # Errors
    ///
    /// The head is malformed or exceeds a limit.
    pub fn parse(head: &[u8], limits: &HeadLimits) -> Result<Self, HeadError> {
        whole(head, Self::parse_front(head, limits)?)
    }

    /// Parses the head that bytes begin with, and returns its length as well.
    pub(crate) fn parse_front(
        bytes: &[u8],
        limits: &HeadLimits,
    ) -> Result<(Self, usize), HeadError> {
        with_slots(bytes, limits, |slots| {
            let mut head = httparse::Response::new(&mut []);
            let parsed =
                ParserConfig::default().parse_response_with_uninit_headers(&mut head, bytes, slots);
            let size = check(bytes, limits, parsed, explain)?;
            let (Some(minor), Some(code)) = (head.version, head.code) else {
                return Err(HeadError::StartLine);
            };
            let status = StatusCode::new(code).ok_or(HeadError::StartLine)?;
            let line = start_line(bytes);
            let bytes = bytes.get(..size).unwrap_or_default();
            let headers = headers(bytes, limits, line.len(), head.headers)?;
            let response = Self {
                reason: parse_reason(line, status)?,
                version: HttpVersion::of_minor(minor),
                ..Self::with_headers(status, headers)
            };
            Ok((response, size))
        })
    }

    /// Returns the status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the phrase of the status line. It means nothing.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns the version of the response.
    #[must_use]
    pub const fn version(&self) -> HttpVersion {
        self.version
    }

    /// Returns the headers.
    #[must_use]
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Returns the headers for editing.
    pub const fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// Returns the body, or as much of it as was kept.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Whether the body was longer than what was kept of it.
    #[must_use]
    pub const fn is_body_truncated(&self) -> bool {
        self.body_truncated
    }

    /// Replaces the body and the `Content-Length` header.
    ///
    /// Neither is sent where HTTP forbids it: the body with the status 1xx, 204 or 304 and in the response to a
    /// `HEAD` request, the header with 1xx and 204 (RFC 9110 sections 8.6 and 9.3.2).
    pub fn set_body(&mut self, body: impl Into<Bytes>) {
        self.body = body.into();
        self.body_truncated = false;
        self.headers.remove("Content-Length");
        let length = alloc::format!("{}", self.body.len());
        self.headers.push(b"Content-Length", length.as_bytes());
    }

    /// Removes the body and keeps the headers, `Content-Length` included, as the response to a `HEAD` request
    /// needs it (RFC 9110 section 9.3.2).
    ///
    /// [`ServerConnection`](crate::ServerConnection) and [`ServerOptions::accept`](super::ServerOptions::accept) do
    /// this for you.
    pub fn omit_body(&mut self) {
        self.body = Bytes::new();
    }

    /// Gives a parsed response the body that followed it, without touching the headers.
    pub(crate) fn receive_body(&mut self, body: Bytes, truncated: bool) {
        self.body = body;
        self.body_truncated = truncated;
    }

    pub(super) const fn set_version(&mut self, version: HttpVersion) {
        self.version = version;
    }

    /// Returns the response as an answer to a request of this version. For a server that refuses requests itself, with
    /// [`reject`](super::reject) for example; [`ServerOptions::accept`](super::ServerOptions::accept) does it for you.
    ///
    /// HTTP/2 and HTTP/3 have no headers that belong to a connection, such as `Connection` and `Upgrade`: they are
    /// removed (RFC 9113 section 8.2.2, RFC 9114 section 4.2). The status 426, which needs `Upgrade`
    /// (RFC 9110 section 15.5.22), becomes 400.
    ///
    /// ```
    /// use sansock_core::handshake::{HttpVersion, StatusCode, reject};
    ///
    /// let response = reject(StatusCode::NOT_FOUND, "nothing is here\n");
    /// assert!(response.headers().contains("Connection"));
    /// let response = response.for_version(HttpVersion::Http2);
    /// assert!(!response.headers().contains("Connection"));
    /// ```
    #[must_use]
    pub fn for_version(mut self, version: HttpVersion) -> Self {
        self.version = version;
        if !version.is_multiplexed() {
            return self;
        }
        for name in CONNECTION_SPECIFIC {
            if self.headers.contains(name) {
                self.headers.remove(name);
            }
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            self.status = StatusCode::BAD_REQUEST;
            self.reason = Cow::Borrowed(self.status.reason_phrase());
        }
        self
    }

    /// Appends the response as it goes over the wire.
    ///
    /// # Errors
    ///
    /// [`NotText`] for a response of HTTP/2 or HTTP/3, which an HTTP stack sends.
    pub fn write_to(&self, out: &mut Vec<u8>) -> Result<(), NotText> {
        self.version.check_written_as_text()?;
        self.pieces(|piece| out.extend_from_slice(piece));
        Ok(())
    }

    /// Gives out the response as it goes over the wire.
    pub(crate) fn pieces(&self, mut put: impl FnMut(&[u8])) {
        self.head_pieces(&mut put);
        put(self.sent_body());
    }

    /// Passes on the head of the response as it goes over the wire.
    pub(crate) fn head_pieces(&self, mut put: impl FnMut(&[u8])) {
        let [hundreds, tens, ones] = self.status.digits();
        put(self.version.as_str().as_bytes());
        put(&[b' ', hundreds, tens, ones, b' ']);
        put(self.reason.as_bytes());
        put(b"\r\n");
        match self.status.allows_content_length() {
            true => self.headers.pieces(put),
            false => self.headers.pieces_without("Content-Length", put),
        }
    }

    /// Returns the body, unless the status forbids one.
    pub(super) fn sent_body(&self) -> &Bytes {
        static NONE: Bytes = Bytes::new();

        match self.status.allows_body() {
            true => &self.body,
            false => &NONE,
        }
    }
}

/// Returns what stands behind the status, which httparse drops where it is not ASCII.
///
/// RFC 9112 section 4 asks senders for the space in front of it even if nothing follows. Some servers leave out
/// both, which cannot be mistaken.
fn parse_reason(line: &[u8], status: StatusCode) -> Result<Cow<'static, str>, HeadError> {
    let reason = match line.split_at_checked("HTTP/1.1 101".len()) {
        Some((_, [b' ', reason @ ..])) => reason,
        Some((_, [])) => &[],
        _ => return Err(HeadError::StartLine),
    };
    if reason == status.reason_phrase().as_bytes() {
        return Ok(Cow::Borrowed(status.reason_phrase()));
    }
    Ok(String::from_utf8_lossy(reason).into_owned().into())
}

/// Returns what is wrong with a status line.
fn explain(line: &[u8]) -> HeadError {
    let version = line.split(|byte| *byte == b' ').next();
    let version = HttpVersion::parse(version.unwrap_or_default());
    version.err().unwrap_or(HeadError::StartLine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Response, HeadError> {
        let head = format!("{line}\r\nA: b\r\n\r\n");
        Response::parse(head.as_bytes(), &HeadLimits::default())
    }

    fn written(response: &Response) -> String {
        let mut out = Vec::new();
        response.write_to(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_was_parsed_is_written_unchanged() {
        for line in [
            "HTTP/1.1 101 Switching Protocols",
            "HTTP/1.1 599 ",
            "HTTP/1.0 200 Fine",
        ] {
            let response = parse(line).unwrap();
            assert_eq!(written(&response), format!("{line}\r\nA: b\r\n\r\n"));
        }
    }

    #[test]
    fn status_and_reason_are_given() {
        let response = parse("HTTP/1.1 404 Nothing Here").unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.reason(), "Nothing Here");
        assert_eq!(response.status().to_string(), "404 Not Found");
        assert_eq!(parse("HTTP/1.1 299 ").unwrap().status().to_string(), "299");
    }

    #[test]
    fn a_response_of_http_2_has_no_headers_of_the_connection() {
        let mut response = Response::text(StatusCode::UPGRADE_REQUIRED, "no");
        for name in CONNECTION_SPECIFIC {
            response.headers_mut().append(name, "x").unwrap();
        }
        let same = response.clone().for_version(HttpVersion::Http11);
        assert_eq!(same, response);
        for version in [HttpVersion::Http2, HttpVersion::Http3] {
            let response = response.clone().for_version(version);
            assert_eq!(response.version(), version);
            assert_eq!(response.status(), StatusCode::BAD_REQUEST);
            assert_eq!(response.reason(), "Bad Request");
            let names: Vec<_> = response.headers().iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["Content-Length", "Content-Type"]);
            let error = NotText(version);
            assert_eq!(response.write_to(&mut Vec::new()), Err(error));
        }
        let response = Response::new(StatusCode::FORBIDDEN).for_version(HttpVersion::Http2);
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
    }

    #[test]
    fn malformed_status_lines_are_refused() {
        let lines = [
            "",
            "HTTP/1.1",
            "HTTP/1.1 10",
            "HTTP/1.1 101X",
            "HTTP/1.1 1011",
            "HTTP/1.1 1011 X",
            "HTTP/1.1 +10 X",
            "HTTP/1.1 1_1 X",
            "HTTP/1.1 0x1 X",
            "HTTP/1.1 600 X",
            "HTTP/1.1 099 X",
            "HTTP/1.1  101 X",
            "http/1.1 101 X",
            "ICY 200 OK",
        ];
        for line in lines {
            assert_eq!(parse(line), Err(HeadError::StartLine), "{line:?}");
        }
        assert_eq!(parse("HTTP/2.0 200 OK"), Err(HeadError::HttpVersion));
    }

    #[test]
    fn the_space_before_a_missing_reason_may_be_missing() {
        for line in ["HTTP/1.1 101", "HTTP/1.1 101 "] {
            let response = parse(line).unwrap();
            assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
            assert_eq!(response.reason(), "");
        }
    }

    #[test]
    fn a_reason_may_hold_any_bytes_but_control_characters() {
        let parse = |head: &[u8]| Response::parse(head, &HeadLimits::default());
        let response = parse(b"HTTP/1.1 404 Nicht gef\xfcnden\r\n\r\n").unwrap();
        assert_eq!(response.reason(), "Nicht gef\u{fffd}nden");
        let error = Err(HeadError::ControlCharacter { line: 1 });
        assert_eq!(parse(b"HTTP/1.1 404 \0\r\n\r\n"), error);
    }

    #[test]
    fn a_text_closes_the_connection_and_tells_its_length() {
        let response = Response::text(StatusCode::FORBIDDEN, "nö\n");
        let expected = "HTTP/1.1 403 Forbidden\r\n\
             Connection: close\r\n\
             Content-Length: 4\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\r\nnö\n";
        assert_eq!(written(&response), expected);
    }

    #[test]
    fn a_new_body_brings_its_length() {
        let mut response = Response::text(StatusCode::OK, "long text");
        response.set_body("short");
        assert_eq!(response.headers().get_all("Content-Length").count(), 1);
        assert_eq!(response.headers().get_str("Content-Length"), Some("5"));
    }

    /// The phrases of RFC 9110 section 15, RFC 6585 and RFC 7725; 418 is that of RFC 2324.
    #[test]
    fn the_phrases_are_those_of_their_rfc() {
        let phrases = [
            (100, "Continue"),
            (101, "Switching Protocols"),
            (200, "OK"),
            (204, "No Content"),
            (301, "Moved Permanently"),
            (302, "Found"),
            (303, "See Other"),
            (304, "Not Modified"),
            (307, "Temporary Redirect"),
            (308, "Permanent Redirect"),
            (400, "Bad Request"),
            (401, "Unauthorized"),
            (403, "Forbidden"),
            (404, "Not Found"),
            (405, "Method Not Allowed"),
            (407, "Proxy Authentication Required"),
            (408, "Request Timeout"),
            (409, "Conflict"),
            (410, "Gone"),
            (413, "Content Too Large"),
            (414, "URI Too Long"),
            (418, "I'm a teapot"),
            (421, "Misdirected Request"),
            (426, "Upgrade Required"),
            (429, "Too Many Requests"),
            (431, "Request Header Fields Too Large"),
            (451, "Unavailable For Legal Reasons"),
            (500, "Internal Server Error"),
            (501, "Not Implemented"),
            (502, "Bad Gateway"),
            (503, "Service Unavailable"),
            (504, "Gateway Timeout"),
            (505, "HTTP Version Not Supported"),
            (511, "Network Authentication Required"),
        ];
        for number in 100..=599 {
            let known = phrases.iter().find(|(known, _)| *known == number);
            let phrase = known.map_or("", |(_, phrase)| phrase);
            let status = StatusCode::new(number).unwrap();
            assert_eq!(status.reason_phrase(), phrase, "{number}");
        }
    }

    #[test]
    fn every_status_has_three_digits() {
        for number in 100..=599 {
            let status = StatusCode::new(number).unwrap();
            assert_eq!(status.digits(), number.to_string().as_bytes());
            let line = format!("HTTP/1.1 {number} ");
            assert_eq!(parse(&line).unwrap().status(), status);
            let interim = number < 200 && number != 101;
            assert_eq!(status.is_interim(), interim);
            assert_eq!(status.number(), number);
            assert_eq!(format!("{status:?}"), format!("StatusCode({number})"));
            let redirect = [301, 302, 303, 307, 308].contains(&number);
            assert_eq!(status.is_redirect(), redirect);
        }
        assert_eq!(StatusCode::new(99), None);
        assert_eq!(StatusCode::new(600), None);
    }
}

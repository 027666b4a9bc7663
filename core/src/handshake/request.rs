//! Requests (RFC 9112 section 3).
//!
//! The request target is handed over as received: nothing is decoded, normalised or resolved. Only
//! what could be read in two ways is refused: control characters, spaces, `#` and bytes outside
//! ASCII.

use alloc::{boxed::Box, vec::Vec};
use core::{fmt, str};

use crate::handshake::{
    HandshakeError, HeadError, HeadLimits, Headers, HttpVersion, NotText, PseudoHeaders,
    ascii::is_token,
    extended::ExtendedConnect,
    head::{check, headers, whole, with_slots},
};

/// An HTTP request without a body, as the client sends it to open a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    method: Method,
    target: Target,
    version: HttpVersion,
    headers: Headers,
}

impl Request {
    /// Returns a `GET` request without headers, for servers that parse HTTP themselves.
    ///
    /// # Errors
    ///
    /// The target is empty or holds a space, a control character, `#`, or a byte outside ASCII.
    pub fn get(target: &str) -> Result<Self, HeadError> {
        Self::new("GET", target)
    }

    /// Returns a `GET` request for a target that is known to be well-formed.
    pub(super) fn get_known(target: &str, headers: Headers) -> Self {
        Self {
            method: Method::Get,
            target: Target::new(target),
            version: HttpVersion::Http11,
            headers,
        }
    }

    /// Returns a request for a method that is known to be a token.
    pub(super) fn new(method: &str, target: &str) -> Result<Self, HeadError> {
        check_target(target.as_bytes())?;
        Ok(Self {
            method: Method::new(method),
            ..Self::get_known(target, Headers::new())
        })
    }

    /// Returns a request by Extended CONNECT, for servers whose HTTP/2 or HTTP/3 is done elsewhere (RFC 8441,
    /// RFC 9220).
    ///
    /// [`ServerOptions::accept`](super::ServerOptions::accept) then accepts it with 200. The rules for hosts, origins,
    /// subprotocols and extensions are those of HTTP/1.1, since `:authority` becomes the `Host` header.
    /// Several `Cookie` headers become one (RFC 9113 section 8.2.3).
    ///
    /// # Errors
    ///
    /// The version has no Extended CONNECT; a pseudo-header is malformed; a `Host` header differs from `:authority`; or
    /// a header is one that HTTP/2 forbids. [`refuse`](super::refuse) returns the response.
    ///
    /// # Example
    /// ```
    /// use sansock_core::handshake::{Headers, HttpVersion, PseudoHeaders, Request, ServerOptions};
    /// use sansock_core::{Config, Connection, Side};
    ///
    /// let mut headers = Headers::new();
    /// headers.append("sec-websocket-version", "13")?;
    /// headers.append("sec-websocket-protocol", "chat")?;
    /// headers.append("origin", "https://example.com")?;
    /// let pseudo = PseudoHeaders {
    ///     protocol: "websocket",
    ///     scheme: "https",
    ///     authority: "example.com",
    ///     path: "/chat",
    /// };
    /// let request = Request::extended_connect(HttpVersion::Http2, pseudo, headers)?;
    ///
    /// let (response, result) = ServerOptions::new().subprotocols(["chat"]).accept(&request);
    /// assert_eq!(response.status().number(), 200);
    /// assert_eq!(response.headers().len(), 1);
    /// // The HTTP stack sends the response. Then frames pass over the stream.
    /// let server = Connection::new(Side::Server, result?, Config::new().multiplexed(true))?;
    /// assert_eq!(server.subprotocol(), Some("chat"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn extended_connect(
        version: HttpVersion,
        pseudo: PseudoHeaders<'_>,
        mut headers: Headers,
    ) -> Result<Self, HandshakeError> {
        let extended = ExtendedConnect::new(version, pseudo, &mut headers)?;
        Ok(Self {
            method: Method::ExtendedConnect(Box::new(extended)),
            version,
            ..Self::get_known(pseudo.path, headers)
        })
    }

    /// Parses the bytes that [`HeadScanner`](crate::handshake::HeadScanner) has found to be a head.
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
        const REST_OF_LINE: &str = "  HTTP/1.1";

        with_slots(bytes, limits, |slots| {
            let mut head = httparse::Request::new(&mut []);
            let parsed = head.parse_with_uninit_headers(bytes, slots);
            let size = check(bytes, limits, parsed, explain)?;
            let (Some(method), Some(target), Some(minor)) = (head.method, head.path, head.version)
            else {
                return Err(HeadError::StartLine);
            };
            let line = REST_OF_LINE
                .len()
                .saturating_add(method.len())
                .saturating_add(target.len());
            let bytes = bytes.get(..size).unwrap_or_default();
            let headers = headers(bytes, limits, line, head.headers)?;
            check_target(target.as_bytes())?;
            let request = Self {
                method: Method::new(method),
                version: HttpVersion::of_minor(minor),
                ..Self::get_known(target, headers)
            };
            Ok((request, size))
        })
    }

    /// Whether the response to this request has no body (RFC 9110 section 9.3.2).
    pub(crate) fn is_head(&self) -> bool {
        self.method() == "HEAD"
    }

    pub(super) const fn is_get(&self) -> bool {
        matches!(self.method, Method::Get)
    }

    /// Returns the method, which is `GET` in a handshake, and `CONNECT` over HTTP/2 and HTTP/3.
    #[must_use]
    pub fn method(&self) -> &str {
        self.method.as_str()
    }

    /// Returns `:protocol` of a request by [Extended CONNECT](Self::extended_connect); `None` of any other request.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.pseudo_headers().map(|pseudo| pseudo.protocol)
    }

    /// Returns `:scheme` of a request by [Extended CONNECT](Self::extended_connect); `None` of any other request.
    #[must_use]
    pub fn scheme(&self) -> Option<&str> {
        self.pseudo_headers().map(|pseudo| pseudo.scheme)
    }

    /// Returns the pseudo-headers of a request by [Extended CONNECT](Self::extended_connect); `None` of any other
    /// request.
    #[must_use]
    pub fn pseudo_headers(&self) -> Option<PseudoHeaders<'_>> {
        let Method::ExtendedConnect(extended) = &self.method else {
            return None;
        };
        Some(PseudoHeaders {
            protocol: &extended.protocol,
            scheme: &extended.scheme,
            authority: &extended.authority,
            path: self.target(),
        })
    }

    /// Returns the request target as it was received.
    #[must_use]
    pub fn target(&self) -> &str {
        self.target.as_str()
    }

    /// Returns the path of the target, still percent-encoded.
    #[must_use]
    pub fn path(&self) -> &str {
        let target = self.origin_form();
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    /// Returns the query of the target, still percent-encoded, without the question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.origin_form().split_once('?').map(|(_, query)| query)
    }

    /// Returns the version of the request.
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

    /// Appends the request as it goes over the wire.
    ///
    /// # Errors
    ///
    /// [`NotText`] for a request by [Extended CONNECT](Self::extended_connect), which an HTTP stack sends.
    pub fn write_to(&self, out: &mut Vec<u8>) -> Result<(), NotText> {
        self.version.check_written_as_text()?;
        self.pieces(|piece| out.extend_from_slice(piece));
        Ok(())
    }

    /// Gives out the request as it goes over the wire.
    pub(crate) fn pieces(&self, mut put: impl FnMut(&[u8])) {
        for part in [
            self.method(),
            " ",
            self.target(),
            " ",
            self.version.as_str(),
        ] {
            put(part.as_bytes());
        }
        put(b"\r\n");
        self.headers.pieces(put);
    }

    /// RFC 9112 section 3.2.2: a target in absolute form has a path after its authority.
    fn origin_form(&self) -> &str {
        let target = self.target();
        if target.starts_with('/') {
            return target;
        }
        let Some((_, rest)) = target.split_once("://") else {
            return target;
        };
        let path = rest
            .find(['/', '?'])
            .and_then(|at| rest.split_at_checked(at));
        path.map_or("/", |(_, path)| path)
    }

    #[cfg(feature = "http")]
    pub(super) const fn set_version(&mut self, version: HttpVersion) {
        self.version = version;
    }
}

/// The method of a request, with what only requests of this method have.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Method {
    Get,
    Other(Box<str>),
    /// RFC 8441 section 4: `CONNECT` with `:protocol`.
    ExtendedConnect(Box<ExtendedConnect>),
}

impl Method {
    fn new(method: &str) -> Self {
        match method {
            "GET" => Self::Get,
            other => Self::Other(other.into()),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Other(method) => method,
            Self::ExtendedConnect(_) => "CONNECT",
        }
    }
}

/// The target of a request. Most are short, and take no block of their own.
#[derive(Clone, PartialEq, Eq)]
enum Target {
    /// The bytes behind the text are zero.
    Short {
        bytes: [u8; Self::SHORT],
        length: u8,
    },
    Long(Box<str>),
}

impl Target {
    /// As much as a `String` has room for itself.
    const SHORT: usize = 22;

    fn new(text: &str) -> Self {
        let mut bytes = [0; Self::SHORT];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(slot), Ok(length)) => {
                slot.copy_from_slice(text.as_bytes());
                Self::Short { bytes, length }
            }
            _ => Self::Long(text.into()),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Short { bytes, length } => {
                let text = bytes.get(..usize::from(*length)).unwrap_or_default();
                str::from_utf8(text).unwrap_or_default()
            }
            Self::Long(text) => text,
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

pub(super) fn check_target(target: &[u8]) -> Result<(), HeadError> {
    let allowed = |byte: &u8| byte.is_ascii_graphic() && *byte != b'#';
    match target.iter().position(|byte| !allowed(byte)) {
        Some(offset) => Err(HeadError::Target { offset }),
        None if target.is_empty() => Err(HeadError::StartLine),
        None => Ok(()),
    }
}

/// Returns what is wrong with a request line.
fn explain(line: &[u8]) -> HeadError {
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next())
    else {
        return HeadError::StartLine;
    };
    let version = HttpVersion::parse(version);
    match check_target(target) {
        _ if !is_token(method) => HeadError::StartLine,
        target => version
            .map(|_| ())
            .and(target)
            .err()
            .unwrap_or(HeadError::StartLine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &[u8]) -> Result<Request, HeadError> {
        Request::parse(head, &HeadLimits::default())
    }

    fn parse_line(line: &str) -> Result<Request, HeadError> {
        parse(format!("{line}\r\nHost: a\r\n\r\n").as_bytes())
    }

    #[test]
    fn method_and_version_are_those_of_the_line() {
        let request = parse_line("PUT /a HTTP/1.0").unwrap();
        assert_eq!(
            (request.method(), request.version()),
            ("PUT", HttpVersion::Http10)
        );
    }

    #[test]
    fn what_was_parsed_is_written_unchanged() {
        let head = b"GET /chat?a=b HTTP/1.1\r\nHost: a\r\nx-ODD: \xff\r\n\r\n";
        let request = parse(head).unwrap();
        assert_eq!(request.method(), "GET");
        assert_eq!(request.target(), "/chat?a=b");
        assert_eq!(request.version(), HttpVersion::Http11);
        assert_eq!(request.headers().get("X-Odd"), Some(&b"\xff"[..]));
        let mut written = Vec::new();
        request.write_to(&mut written).unwrap();
        assert_eq!(
            written.escape_ascii().to_string(),
            head.escape_ascii().to_string()
        );
    }

    #[test]
    fn targets_of_every_length_are_kept() {
        for length in 1..64 {
            let target = "/".repeat(length);
            let request = Request::get(&target).unwrap();
            assert_eq!(request.target(), target);
            assert!(format!("{request:?}").contains(&format!("{target:?}")));
            assert_ne!(request, Request::get(&format!("{target}/")).unwrap());
            assert_eq!(request, Request::get(&target).unwrap());
        }
    }

    #[test]
    fn targets_are_handed_over_raw() {
        let targets = [
            ("/", "/", None),
            ("/a?", "/a", Some("")),
            ("/a?b?c", "/a", Some("b?c")),
            ("/%00", "/%00", None),
            ("/../x", "/../x", None),
            ("*", "*", None),
            ("example.com:80", "example.com:80", None),
            ("http://h/p?q", "/p", Some("q")),
            ("http://h?q", "", Some("q")),
            ("http://h", "/", None),
            ("/x://y", "/x://y", None),
        ];
        for (target, path, query) in targets {
            let request = parse_line(&format!("GET {target} HTTP/1.1")).unwrap();
            assert_eq!(request.target(), target);
            assert_eq!(request.path(), path, "{target}");
            assert_eq!(request.query(), query, "{target}");
        }
    }

    #[test]
    fn targets_that_could_be_read_in_two_ways_are_refused() {
        for (target, offset) in [("/#frag", 1), ("#", 0), ("/\t", 1), ("/é", 1)] {
            let error = Err(HeadError::Target { offset });
            assert_eq!(parse_line(&format!("GET {target} HTTP/1.1")), error);
            assert_eq!(Request::get(target), error);
        }
        assert_eq!(Request::get("/ x"), Err(HeadError::Target { offset: 1 }));
        assert_eq!(
            Request::get("/\r\nA: b"),
            Err(HeadError::Target { offset: 1 })
        );
        assert_eq!(Request::get(""), Err(HeadError::StartLine));
    }

    #[test]
    fn malformed_request_lines_are_refused() {
        let lines = [
            "",
            "GET",
            "GET /",
            "GET / ",
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET / a HTTP/1.1",
            "G(T / HTTP/1.1",
            "G(T / HTTP/2.0",
            "G(T /#a HTTP/1.1",
            " / HTTP/1.1",
            "GET / http/1.1",
            "GET / HTTP/11",
            "GET / HTTP/1.10",
        ];
        for line in lines {
            assert_eq!(parse_line(line), Err(HeadError::StartLine), "{line:?}");
        }
    }

    #[test]
    fn other_versions_are_told_from_garbage() {
        for line in [
            "GET / HTTP/2.0",
            "PRI * HTTP/2.0",
            "GET / HTTP/0.9",
            "GET / HTTP/1.2",
        ] {
            assert_eq!(parse_line(line), Err(HeadError::HttpVersion), "{line}");
        }
        let request = parse_line("GET / HTTP/1.0").unwrap();
        assert_eq!(request.version(), HttpVersion::Http10);
    }

    #[test]
    fn a_head_that_breaks_off_at_any_byte_is_incomplete() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for end in 0..head.len() {
            let result = parse(&head[..end]);
            assert!(
                matches!(result, Err(HeadError::Incomplete { .. })),
                "{end}: {result:?}"
            );
        }
    }

    #[test]
    fn debug_hides_credentials() {
        let head = b"GET / HTTP/1.1\r\nAuthorization: Basic c2VjcmV0\r\n\r\n";
        assert!(!format!("{:?}", parse(head)).contains("c2Vj"));
    }
}

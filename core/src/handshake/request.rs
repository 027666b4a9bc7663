//! Requests (RFC 9112 section 3).
//!
//! The request target is handed over as received: nothing is decoded, normalised or resolved. Only
//! what could be read in two ways is refused: control characters, spaces, `#` and bytes outside
//! ASCII.

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::str;

use crate::handshake::{
    HeadError, HeadLimits, Headers, HttpVersion,
    ascii::is_token,
    head::{parse_headers, split_start_line},
};

/// An HTTP request without a body, as the client sends it to open a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    method: Cow<'static, str>,
    target: String,
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
        Self::new(b"GET", target.as_bytes())
    }

    /// Returns a `GET` request for a target that is known to be well-formed.
    pub(super) fn get_known(target: &str, headers: Headers) -> Self {
        Self {
            method: Cow::Borrowed("GET"),
            target: target.into(),
            version: HttpVersion::Http11,
            headers,
        }
    }

    pub(super) fn new(method: &[u8], target: &[u8]) -> Result<Self, HeadError> {
        Ok(Self {
            method: parse_method(method)?,
            target: parse_target(target)?,
            version: HttpVersion::Http11,
            headers: Headers::new(),
        })
    }

    /// Parses the bytes that [`HeadScanner`](crate::handshake::HeadScanner) has found to be a head.
    ///
    /// # Errors
    ///
    /// The head is malformed or exceeds a limit.
    pub fn parse(head: &[u8], limits: &HeadLimits) -> Result<Self, HeadError> {
        let (line, rest) = split_start_line(head, limits)?;
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let (Some(method), Some(target), Some(version)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(HeadError::StartLine);
        };
        Ok(Self {
            version: HttpVersion::parse(version)?,
            headers: parse_headers(rest, limits)?,
            ..Self::new(method, target)?
        })
    }

    /// Returns the method, which is `GET` in a handshake.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Returns the request target as it was received.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
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
    pub fn write_to(&self, out: &mut Vec<u8>) {
        for part in [&self.method, " ", &self.target, " ", self.version.as_str()] {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        self.headers.write_to(out);
    }

    /// RFC 9112 section 3.2.2: a target in absolute form has a path after its authority.
    fn origin_form(&self) -> &str {
        if self.target.starts_with('/') {
            return &self.target;
        }
        let Some((_, rest)) = self.target.split_once("://") else {
            return &self.target;
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

fn parse_method(method: &[u8]) -> Result<Cow<'static, str>, HeadError> {
    match method {
        b"GET" => Ok(Cow::Borrowed("GET")),
        _ if is_token(method) => Ok(String::from_utf8_lossy(method).into_owned().into()),
        _ => Err(HeadError::StartLine),
    }
}

fn parse_target(target: &[u8]) -> Result<String, HeadError> {
    let allowed = |byte: &u8| byte.is_ascii_graphic() && *byte != b'#';
    match target.iter().position(|byte| !allowed(byte)) {
        Some(offset) => Err(HeadError::Target { offset }),
        None if target.is_empty() => Err(HeadError::StartLine),
        None => Ok(str::from_utf8(target).unwrap_or_default().into()),
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
    fn what_was_parsed_is_written_unchanged() {
        let head = b"GET /chat?a=b HTTP/1.1\r\nHost: a\r\nx-ODD: \xff\r\n\r\n";
        let request = parse(head).unwrap();
        assert_eq!(request.method(), "GET");
        assert_eq!(request.target(), "/chat?a=b");
        assert_eq!(request.version(), HttpVersion::Http11);
        assert_eq!(request.headers().get("X-Odd"), Some(&b"\xff"[..]));
        let mut written = Vec::new();
        request.write_to(&mut written);
        assert_eq!(
            written.escape_ascii().to_string(),
            head.escape_ascii().to_string()
        );
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

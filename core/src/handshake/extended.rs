//! Extended CONNECT: requests for a WebSocket over HTTP/2 and HTTP/3 (RFC 8441, RFC 9220).
//!
//! The application's HTTP stack parses and sends such requests, and carries the stream. Here they become a
//! [`Request`](crate::handshake::Request), so that the checks of RFC 6455 section 4.2 apply to them as well.
//!
//! The rule: a request that two programs could read in two ways does not become one. `Host` and `:authority` are the
//! same, and no header changes the connection that the stream shares.

use alloc::{boxed::Box, vec::Vec};
use core::{error::Error, fmt};

use crate::handshake::{
    HandshakeError, Headers, HttpVersion, ascii::is_token, request::check_target, uri::is_authority,
};

/// The only protocol that is spoken here.
pub(super) const WEBSOCKET: &str = "websocket";

/// Headers that belong to a connection, which no message of HTTP/2 or HTTP/3 has (RFC 9113 section 8.2.2, RFC 9114
/// section 4.2).
pub(super) const CONNECTION_SPECIFIC: [&str; 5] = [
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Transfer-Encoding",
    "Upgrade",
];

/// The pseudo-header fields of a request by Extended CONNECT (RFC 8441 section 4, RFC 9220 section 3). The method,
/// `:method`, is `CONNECT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PseudoHeaders<'a> {
    /// `:protocol`: what the stream is to carry, `websocket`.
    pub protocol: &'a str,
    /// `:scheme`: `https` for a `wss://` URI, `http` for a `ws://` URI.
    pub scheme: &'a str,
    /// `:authority`: the host, and the port unless it is the default one. It may be empty if there is a `Host` header
    /// (RFC 9113 section 8.3.1).
    pub authority: &'a str,
    /// `:path`: path and query.
    pub path: &'a str,
}

/// What a request by Extended CONNECT has besides path and headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExtendedConnect {
    pub(super) protocol: Box<str>,
    pub(super) scheme: Box<str>,
    pub(super) authority: Box<str>,
}

impl ExtendedConnect {
    /// Checks a request, and completes its headers: `:authority` becomes `Host`, and cookies become one header.
    pub(super) fn new(
        version: HttpVersion,
        pseudo: PseudoHeaders<'_>,
        headers: &mut Headers,
    ) -> Result<Self, ExtendedConnectError> {
        if !version.is_multiplexed() {
            return Err(ExtendedConnectError::HttpVersion(version));
        }
        let authority: Box<str> = match pseudo.authority {
            "" => headers.get_str("Host").unwrap_or_default().into(),
            authority => authority.into(),
        };
        check_pseudo(pseudo, &authority)?;
        check_headers(headers, &authority)?;
        if !headers.contains("Host") {
            headers.push(b"Host", authority.as_bytes());
        }
        join_cookies(headers);
        Ok(Self {
            protocol: pseudo.protocol.into(),
            scheme: pseudo.scheme.into(),
            authority,
        })
    }
}

fn check_pseudo(pseudo: PseudoHeaders<'_>, authority: &str) -> Result<(), ExtendedConnectError> {
    if pseudo.protocol.is_empty() {
        return Err(ExtendedConnectError::NoProtocol);
    }
    if !is_token(pseudo.protocol.as_bytes()) {
        return Err(ExtendedConnectError::Protocol);
    }
    if !is_scheme(pseudo.scheme) {
        return Err(ExtendedConnectError::Scheme);
    }
    if !is_authority(authority.as_bytes()) {
        return Err(ExtendedConnectError::Authority);
    }
    // RFC 9113 section 8.3.1: the path of an "http" or "https" URI begins with a slash.
    if !pseudo.path.starts_with('/') || check_target(pseudo.path.as_bytes()).is_err() {
        return Err(ExtendedConnectError::Path);
    }
    Ok(())
}

fn check_headers(headers: &Headers, authority: &str) -> Result<(), ExtendedConnectError> {
    let is_same = |host: &[u8]| host.eq_ignore_ascii_case(authority.as_bytes());
    if !headers.get_all("Host").all(is_same) {
        return Err(ExtendedConnectError::Host);
    }
    let mut forbidden = CONNECTION_SPECIFIC.into_iter();
    match forbidden.find(|name| headers.contains(name)) {
        Some(name) => Err(ExtendedConnectError::ConnectionSpecific(name)),
        None => Ok(()),
    }
}

/// RFC 3986 section 3.1.
fn is_scheme(scheme: &str) -> bool {
    let is_rest =
        |byte| matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'+' | b'-' | b'.');
    scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(is_rest)
}

/// RFC 9113 section 8.2.3: a client may send each cookie in a separate header.
fn join_cookies(headers: &mut Headers) {
    let cookies: Vec<&[u8]> = headers.get_all("Cookie").collect();
    if cookies.len() > 1 {
        let joined = cookies.join(&b"; "[..]);
        headers.remove("Cookie");
        headers.push(b"Cookie", &joined);
    }
}

/// What is wrong with a request by Extended CONNECT (RFC 8441, RFC 9220).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExtendedConnectError {
    /// The version of HTTP has no Extended CONNECT.
    HttpVersion(HttpVersion),
    /// The method is not `CONNECT`.
    Method,
    /// There is no `:protocol`.
    NoProtocol,
    /// `:protocol` is not a token.
    Protocol,
    /// `:scheme` is missing, or not the scheme of a URI.
    Scheme,
    /// `:authority` is not a host and an optional port, or it is missing, as is `Host`.
    Authority,
    /// `:path` does not begin with a slash, or has a character that a path and a query cannot have.
    Path,
    /// `Host` differs from `:authority`.
    Host,
    /// A header that belongs to a connection of HTTP/1.1.
    ConnectionSpecific(&'static str),
}

impl fmt::Display for ExtendedConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HttpVersion(version) => write!(
                f,
                "{version} has no Extended CONNECT; open the WebSocket with GET and Upgrade"
            ),
            Self::Method => f.write_str(
                "the method is not CONNECT; over HTTP/2 and HTTP/3, open the WebSocket with CONNECT and :protocol",
            ),
            Self::NoProtocol => f.write_str(
                "there is no :protocol, without which CONNECT opens a tunnel; send :protocol = websocket",
            ),
            Self::Protocol => f.write_str(":protocol is not a token"),
            Self::Scheme => f.write_str(":scheme is not the scheme of a URI"),
            Self::Authority => f.write_str(":authority is not a host and an optional port"),
            Self::Path => f.write_str(":path does not begin with / or has a forbidden character"),
            Self::Host => f.write_str("Host differs from :authority"),
            Self::ConnectionSpecific(name) => {
                write!(f, "HTTP/2 and HTTP/3 have no {name} header")
            }
        }
    }
}

impl Error for ExtendedConnectError {}

impl From<ExtendedConnectError> for HandshakeError {
    fn from(error: ExtendedConnectError) -> Self {
        Self::ExtendedConnect(error)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};

    use super::*;
    use crate::handshake::NotText;
    use crate::handshake::{Request, StatusCode, refuse};

    const PSEUDO: PseudoHeaders<'static> = PseudoHeaders {
        protocol: "websocket",
        scheme: "https",
        authority: "a:1",
        path: "/chat?x",
    };

    fn connect(
        pseudo: PseudoHeaders<'_>,
        headers: &[(&str, &str)],
    ) -> Result<Request, HandshakeError> {
        let mut given = Headers::new();
        for (name, value) in headers {
            given.append(name, value).unwrap();
        }
        Request::extended_connect(HttpVersion::Http2, pseudo, given)
    }

    #[test]
    fn a_request_is_returned_as_it_was_given() {
        let request = connect(PSEUDO, &[("x", "1")]).unwrap();
        assert_eq!(request.pseudo_headers(), Some(PSEUDO));
        assert_eq!(request.protocol(), Some("websocket"));
        assert_eq!(request.scheme(), Some("https"));
        assert_eq!(request.method(), "CONNECT");
        assert_eq!(request.target(), "/chat?x");
        assert_eq!((request.path(), request.query()), ("/chat", Some("x")));
        assert_eq!(request.version(), HttpVersion::Http2);
        assert_eq!(request.headers().get_str("x"), Some("1"));
        let get = Request::get("/").unwrap();
        assert_eq!((get.protocol(), get.scheme()), (None, None));
    }

    #[test]
    fn the_authority_becomes_the_host() {
        let host = |authority, headers: &[(&str, &str)]| -> Result<String, HandshakeError> {
            let request = connect(
                PseudoHeaders {
                    authority,
                    ..PSEUDO
                },
                headers,
            )?;
            let pseudo = request.pseudo_headers().unwrap();
            let hosts: Vec<_> = request.headers().get_all("Host").collect();
            assert_eq!(hosts, [pseudo.authority.as_bytes()]);
            Ok(pseudo.authority.to_string())
        };
        assert_eq!(host("a:1", &[]).unwrap(), "a:1");
        assert_eq!(host("[::1]:1", &[("host", "[::1]:1")]).unwrap(), "[::1]:1");
        assert_eq!(host("", &[("Host", "b")]).unwrap(), "b");
        let error = Err(ExtendedConnectError::Authority.into());
        assert_eq!(host("", &[]), error);
        assert_eq!(host("", &[("Host", "")]), error);
    }

    #[test]
    fn malformed_requests_get_400() {
        let cases = [
            (
                PseudoHeaders {
                    protocol: "",
                    ..PSEUDO
                },
                ExtendedConnectError::NoProtocol,
            ),
            (
                PseudoHeaders {
                    protocol: "a b",
                    ..PSEUDO
                },
                ExtendedConnectError::Protocol,
            ),
            (
                PseudoHeaders {
                    scheme: "",
                    ..PSEUDO
                },
                ExtendedConnectError::Scheme,
            ),
            (
                PseudoHeaders {
                    scheme: "1s",
                    ..PSEUDO
                },
                ExtendedConnectError::Scheme,
            ),
            (
                PseudoHeaders {
                    scheme: "ht/p",
                    ..PSEUDO
                },
                ExtendedConnectError::Scheme,
            ),
            (
                PseudoHeaders {
                    authority: "u@a",
                    ..PSEUDO
                },
                ExtendedConnectError::Authority,
            ),
            (
                PseudoHeaders {
                    authority: "a/b",
                    ..PSEUDO
                },
                ExtendedConnectError::Authority,
            ),
            (
                PseudoHeaders { path: "", ..PSEUDO },
                ExtendedConnectError::Path,
            ),
            (
                PseudoHeaders {
                    path: "*",
                    ..PSEUDO
                },
                ExtendedConnectError::Path,
            ),
            (
                PseudoHeaders {
                    path: "chat",
                    ..PSEUDO
                },
                ExtendedConnectError::Path,
            ),
            (
                PseudoHeaders {
                    path: "https://a:1/",
                    ..PSEUDO
                },
                ExtendedConnectError::Path,
            ),
            (
                PseudoHeaders {
                    path: "/a#b",
                    ..PSEUDO
                },
                ExtendedConnectError::Path,
            ),
            (
                PseudoHeaders {
                    path: "/\r\n",
                    ..PSEUDO
                },
                ExtendedConnectError::Path,
            ),
        ];
        for (pseudo, expected) in cases {
            assert_refused(connect(pseudo, &[]), expected);
        }
        for name in CONNECTION_SPECIFIC {
            let expected = ExtendedConnectError::ConnectionSpecific(name);
            assert_refused(connect(PSEUDO, &[(name, "x")]), expected);
        }
        for hosts in [
            &[("Host", "b:1")][..],
            &[("Host", "a")],
            &[("Host", "a:1"), ("Host", "b")],
        ] {
            assert_refused(connect(PSEUDO, hosts), ExtendedConnectError::Host);
        }
        for version in [HttpVersion::Http10, HttpVersion::Http11] {
            let request = Request::extended_connect(version, PSEUDO, Headers::new());
            assert_refused(request, ExtendedConnectError::HttpVersion(version));
        }
    }

    #[track_caller]
    fn assert_refused(result: Result<Request, HandshakeError>, expected: ExtendedConnectError) {
        let error = result.unwrap_err();
        assert_eq!(error, HandshakeError::ExtendedConnect(expected));
        let response = refuse(&error);
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(response.version(), HttpVersion::Http2);
        let body = String::from_utf8_lossy(response.body());
        assert!(body.contains(&expected.to_string()), "{body}");
        for name in CONNECTION_SPECIFIC {
            assert!(!response.headers().contains(name), "{response:?}");
        }
    }

    #[test]
    fn schemes_are_those_of_uris() {
        for scheme in ["https", "http", "wss", "A1+-.z"] {
            let request = connect(PseudoHeaders { scheme, ..PSEUDO }, &[]).unwrap();
            assert_eq!(request.scheme(), Some(scheme));
        }
    }

    #[test]
    fn cookies_become_one_header() {
        let cookies = |headers: &[(&str, &str)]| {
            let request = connect(PSEUDO, headers).unwrap();
            let cookies = request.headers().get_all("Cookie");
            cookies
                .map(|cookie| String::from_utf8_lossy(cookie).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(cookies(&[("x", "y")]), [""; 0]);
        assert_eq!(cookies(&[("cookie", "a=1")]), ["a=1"]);
        let several = [
            ("cookie", "a=1"),
            ("x", "y"),
            ("Cookie", "b=2; c=3"),
            ("cookie", "d=4"),
        ];
        assert_eq!(cookies(&several), ["a=1; b=2; c=3; d=4"]);
    }

    #[test]
    fn errors_say_what_to_do() {
        for (error, expected) in [
            (
                ExtendedConnectError::HttpVersion(HttpVersion::Http11),
                "GET and Upgrade",
            ),
            (ExtendedConnectError::Method, "with CONNECT and :protocol"),
            (
                ExtendedConnectError::NoProtocol,
                "send :protocol = websocket",
            ),
        ] {
            let text = error.to_string();
            assert!(text.ends_with(expected), "{text}");
        }
    }

    #[test]
    fn a_request_is_not_written_as_text() {
        let request = connect(PSEUDO, &[]).unwrap();
        let mut out = Vec::new();
        let error = NotText(HttpVersion::Http2);
        assert_eq!(request.write_to(&mut out), Err(error));
        assert!(out.is_empty());
        assert!(error.to_string().contains("HTTP/2"));
    }
}

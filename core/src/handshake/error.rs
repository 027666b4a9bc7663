//! Why an opening handshake failed, and what a server answers to it.
//!
//! Errors never repeat the value of a header that may hold a secret. What they show of the peer is escaped.

use alloc::{boxed::Box, string::String};
use core::{error::Error, fmt};

use bytes::Bytes;
use bytestring::ByteString;

use crate::escape::escaped;
use crate::frame::CloseFrame;
use crate::handshake::{
    BodyError, ExtendedConnectError, GrammarError, HeadError, HttpVersion, Response, StatusCode,
};

/// Why the opening handshake failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    // Either side, about the connection.
    /// The handshake took longer than it may.
    TimedOut,
    /// The peer's stream ended before the handshake was complete.
    ConnectionLost,
    /// This side failed the connection before the handshake was complete, with this code and reason.
    Aborted(CloseFrame),

    // Either side, about the peer's head.
    /// The peer did not send a head that we accept.
    Head(HeadError),
    /// The peer speaks HTTP, but not version 1.1.
    HttpVersion(HttpVersion),
    /// A header is missing.
    MissingHeader(&'static str),
    /// A header stands more than once where only one makes sense.
    RepeatedHeader(&'static str),
    /// A header does not follow its grammar.
    InvalidHeader {
        /// The header.
        name: &'static str,
        /// What is wrong with it.
        cause: GrammarError,
    },
    /// `Connection` or `Upgrade` does not name the change of protocol.
    NoUpgrade {
        /// The header.
        name: &'static str,
    },

    // Servers, about the client's request.
    /// The method is not `GET`.
    Method,
    /// A request by [Extended CONNECT](super::Request::extended_connect) is malformed.
    ExtendedConnect(ExtendedConnectError),
    /// `:protocol` of a request by [Extended CONNECT](super::Request::extended_connect) is not `websocket`, but this.
    Protocol(ByteString),
    /// The request announces a body.
    RequestBody,
    /// `Sec-WebSocket-Version` is not 13.
    WebSocketVersion,
    /// The client offers no subprotocol that the server supports, and the server
    /// [requires](super::ServerOptions::require_subprotocol) one.
    NoSubprotocol {
        /// How many the client offers. Some clients send credentials there, which no error shows.
        offered: usize,
        /// What the server supports, separated by commas; empty if the application selects.
        supported: ByteString,
    },
    /// The page that wants to connect may not, or did not tell its origin.
    OriginNotAllowed {
        /// The `Origin` of the request; `None` if it has none.
        origin: Option<ByteString>,
        /// The `Host` of the request, with which [`Origins::SameHost`](super::Origins::SameHost) compares; `None`
        /// with a list.
        host: Option<ByteString>,
    },

    /// The request is addressed to a host that the server does not answer for.
    HostNotAllowed {
        /// The `Host` of the request.
        host: ByteString,
        /// Whether loopback names only are accepted ([`Hosts::Loopback`](super::Hosts::Loopback)); otherwise there
        /// is a list.
        only_loopback: bool,
    },

    // Servers, about their application.
    /// The application refused the request.
    Rejected {
        /// The status it gave.
        status: StatusCode,
        /// The text it gave.
        text: ByteString,
    },
    /// The application selected a subprotocol that the client does not offer.
    SubprotocolNotOffered(ByteString),

    // Clients, about the server's response.
    /// The server speaks some other protocol than HTTP.
    NotHttp {
        /// What came first, up to 32 bytes.
        start: Bytes,
    },
    /// The server answered with another status than 101; over HTTP/2 and HTTP/3, with another one than 2xx.
    Refused(Box<Response>),
    /// The body of a response that refuses the handshake is malformed.
    Body(BodyError),
    /// `Sec-WebSocket-Accept` does not belong to our key.
    Accept {
        /// What our key asks for.
        expected: ByteString,
        /// What the server sent.
        received: ByteString,
    },
    /// The server accepts an extension in a way that we did not offer.
    Extension {
        /// The extension.
        name: ByteString,
        /// What is wrong with the answer, and with which parameter.
        problem: ByteString,
    },
    /// The server selected a subprotocol that we did not offer.
    UnexpectedSubprotocol(ByteString),
}

impl HandshakeError {
    /// Returns the error with which an application refuses a request.
    #[must_use]
    pub fn rejected(status: StatusCode, text: impl Into<ByteString>) -> Self {
        Self::Rejected {
            status,
            text: text.into(),
        }
    }

    /// Returns the status with which a server answers a request that failed so.
    ///
    /// Over HTTP/2 and HTTP/3, which have no `Upgrade`, 400 takes the place of 426.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Head(HeadError::StartLineTooLong { .. }) => StatusCode::URI_TOO_LONG,
            Self::Head(HeadError::HeadTooLarge { .. } | HeadError::TooManyHeaders { .. }) => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::Head(HeadError::HttpVersion) | Self::HttpVersion(_) => {
                StatusCode::HTTP_VERSION_NOT_SUPPORTED
            }
            Self::NoUpgrade { .. } | Self::WebSocketVersion => StatusCode::UPGRADE_REQUIRED,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Protocol(_) => StatusCode::NOT_IMPLEMENTED,
            Self::OriginNotAllowed { .. } => StatusCode::FORBIDDEN,
            Self::HostNotAllowed { .. } => StatusCode::MISDIRECTED_REQUEST,
            Self::Rejected { status, .. } => *status,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::SubprotocolNotOffered(_) | Self::Aborted(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ConnectionLost
            | Self::Head(_)
            | Self::MissingHeader(_)
            | Self::RepeatedHeader(_)
            | Self::InvalidHeader { .. }
            | Self::ExtendedConnect(_)
            | Self::RequestBody
            | Self::NoSubprotocol { .. }
            | Self::NotHttp { .. }
            | Self::Refused(_)
            | Self::Body(_)
            | Self::Accept { .. }
            | Self::Extension { .. }
            | Self::UnexpectedSubprotocol(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("opening handshake timed out"),
            Self::ConnectionLost => f.write_str("connection lost during the opening handshake"),
            Self::Aborted(frame) => write!(f, "opening handshake failed by this side: {frame}"),
            Self::Head(_) => f.write_str("did not receive a valid HTTP head"),
            Self::HttpVersion(version) => write!(f, "HTTP version is {version}, not 1.1"),
            Self::MissingHeader(name) => write!(f, "missing {name} header"),
            Self::RepeatedHeader(name) => write!(f, "more than one {name} header"),
            Self::InvalidHeader { name, .. } => write!(f, "invalid {name} header"),
            Self::NoUpgrade { name } => write!(f, "{name} header does not ask for WebSocket"),
            Self::Method => f.write_str("request method is not GET"),
            Self::ExtendedConnect(_) => {
                f.write_str("did not receive a valid Extended CONNECT request")
            }
            Self::Protocol(protocol) => write!(
                f,
                ":protocol is \"{}\", not \"websocket\"",
                escaped(&**protocol)
            ),
            Self::RequestBody => f.write_str("request has a body"),
            Self::WebSocketVersion => f.write_str("Sec-WebSocket-Version is not 13"),
            Self::NoSubprotocol { offered, supported } => {
                write_no_subprotocol(f, *offered, supported)
            }
            Self::OriginNotAllowed { origin, host } => {
                write_origin_not_allowed(f, origin.as_deref(), host.as_deref())
            }
            Self::HostNotAllowed {
                host,
                only_loopback,
            } => write_host_not_allowed(f, host, *only_loopback),
            Self::Rejected { status, text } => {
                write!(f, "rejected with {status}: {}", escaped(&**text))
            }
            Self::SubprotocolNotOffered(name) => {
                write!(
                    f,
                    "selected subprotocol \"{}\", which the client does not offer",
                    escaped(&**name)
                )
            }
            Self::NotHttp { start } => write!(
                f,
                "server does not speak HTTP; it began with \"{}\"",
                escaped(start)
            ),
            Self::Refused(response) => write_refused(f, response),
            Self::Body(_) => f.write_str("did not receive a valid HTTP body"),
            Self::Accept { expected, received } => write!(
                f,
                "Sec-WebSocket-Accept is \"{}\", expected \"{expected}\"",
                escaped(&**received)
            ),
            Self::Extension { name, problem } => {
                write!(f, "extension {}: {problem}", escaped(&**name))
            }
            Self::UnexpectedSubprotocol(name) => {
                write!(
                    f,
                    "server selected subprotocol \"{}\", which was not offered",
                    escaped(&**name)
                )
            }
        }
    }
}

impl Error for HandshakeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Head(error) => Some(error),
            Self::ExtendedConnect(error) => Some(error),
            Self::InvalidHeader { cause, .. } => Some(cause),
            Self::Body(error) => Some(error),
            Self::TimedOut
            | Self::ConnectionLost
            | Self::Aborted(_)
            | Self::HttpVersion(_)
            | Self::MissingHeader(_)
            | Self::RepeatedHeader(_)
            | Self::NoUpgrade { .. }
            | Self::Method
            | Self::Protocol(_)
            | Self::RequestBody
            | Self::WebSocketVersion
            | Self::NoSubprotocol { .. }
            | Self::OriginNotAllowed { .. }
            | Self::HostNotAllowed { .. }
            | Self::Rejected { .. }
            | Self::SubprotocolNotOffered(_)
            | Self::NotHttp { .. }
            | Self::Refused(_)
            | Self::Accept { .. }
            | Self::Extension { .. }
            | Self::UnexpectedSubprotocol(_) => None,
        }
    }
}

fn write_no_subprotocol(
    f: &mut fmt::Formatter<'_>,
    offered: usize,
    supported: &str,
) -> fmt::Result {
    match offered {
        0 => f.write_str("the client offers no subprotocol")?,
        _ => write!(
            f,
            "no subprotocol of the {offered} that the client offers is supported"
        )?,
    }
    match supported {
        "" => Ok(()),
        _ => write!(f, "; supported: {supported}"),
    }
}

fn write_origin_not_allowed(
    f: &mut fmt::Formatter<'_>,
    origin: Option<&str>,
    host: Option<&str>,
) -> fmt::Result {
    let Some(origin) = origin else {
        return f.write_str("requests without Origin are not allowed");
    };
    write!(f, "Origin {} is not allowed", escaped(origin))?;
    match host {
        Some(host) => write!(f, ": the Host of the request is {}", escaped(host)),
        None => f.write_str(": it is not in the server's list"),
    }
}

fn write_host_not_allowed(
    f: &mut fmt::Formatter<'_>,
    host: &str,
    only_loopback: bool,
) -> fmt::Result {
    write!(f, "Host {} is not allowed: ", escaped(host))?;
    f.write_str(match only_loopback {
        true => "the server listens at a loopback address and has no list of hosts",
        false => "it is not in the server's list",
    })
}

fn write_refused(f: &mut fmt::Formatter<'_>, response: &Response) -> fmt::Result {
    const SHOWN: usize = 80;

    let expected = match response.version().is_multiplexed() {
        true => "200",
        false => "101",
    };
    write!(
        f,
        "server answered {} instead of {expected}",
        response.status()
    )?;
    if let (true, Some(location)) = (
        response.status().is_redirect(),
        response.headers().get_str("Location"),
    ) {
        write!(
            f,
            ", a redirect to {}",
            escaped(&without_user_info(location))
        )?;
    }
    let body = response.body();
    if body.is_empty() {
        return Ok(());
    }
    let start = body.get(..SHOWN).unwrap_or(body);
    write!(f, "; first bytes of body: \"{}\"", escaped(start))
}

/// Returns a URL up to its user information, and what follows that.
fn without_user_info(url: &str) -> String {
    let start = url.find("//").map_or(0, |at| at.saturating_add(2));
    let (scheme, rest) = url.split_at_checked(start).unwrap_or(("", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    alloc::format!("{scheme}{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: StatusCode, location: &str, body: &'static str) -> String {
        let mut response = Response::new(status);
        response.headers_mut().append("Location", location).unwrap();
        response.set_body(body);
        HandshakeError::Refused(Box::new(response)).to_string()
    }

    #[test]
    fn a_refusal_tells_status_redirect_and_body() {
        let found = StatusCode::new(302).unwrap();
        assert_eq!(
            refused(found, "https://b/", ""),
            "server answered 302 Found instead of 101, a redirect to https://b/"
        );
        assert!(refused(found, "wss://user:secret@b/@", "").ends_with(" to wss://b/@"));
        assert!(refused(found, "/a@b", "").ends_with(" to /a@b"));
        assert_eq!(
            refused(StatusCode::NOT_FOUND, "https://b/", "no\r\nsuch page"),
            "server answered 404 Not Found instead of 101; \
             first bytes of body: \"no\\r\\nsuch page\""
        );
        let long = "x".repeat(1000).leak();
        assert!(refused(StatusCode::NOT_FOUND, "", long).len() < 200);
    }

    #[test]
    fn a_refusal_over_http_2_is_not_compared_with_101() {
        for (version, expected) in [
            (HttpVersion::Http11, "101"),
            (HttpVersion::Http2, "200"),
            (HttpVersion::Http3, "200"),
        ] {
            let response = Response::new(StatusCode::FORBIDDEN).for_version(version);
            assert_eq!(
                HandshakeError::Refused(Box::new(response)).to_string(),
                format!("server answered 403 Forbidden instead of {expected}")
            );
        }
    }

    #[test]
    fn a_refused_origin_names_what_it_was_compared_with() {
        let text = |origin: Option<&'static str>, host: Option<&'static str>| {
            let (origin, host) = (origin.map(Into::into), host.map(Into::into));
            HandshakeError::OriginNotAllowed { origin, host }.to_string()
        };
        assert_eq!(
            text(Some("https://a"), Some("b:1")),
            "Origin https://a is not allowed: the Host of the request is b:1"
        );
        assert_eq!(
            text(Some("https://a"), None),
            "Origin https://a is not allowed: it is not in the server's list"
        );
        assert_eq!(text(None, None), "requests without Origin are not allowed");
    }

    #[test]
    fn a_refused_host_says_what_is_accepted() {
        let text = |only_loopback| {
            let host = "b:1".into();
            HandshakeError::HostNotAllowed {
                host,
                only_loopback,
            }
            .to_string()
        };
        assert_eq!(
            text(false),
            "Host b:1 is not allowed: it is not in the server's list"
        );
        assert_eq!(
            text(true),
            "Host b:1 is not allowed: the server listens at a loopback address and has no list of hosts"
        );
    }

    #[test]
    fn what_the_peer_chose_is_escaped() {
        const HOSTILE: &str = "a\u{1b}[2J\u{9b}\u{202e}\u{2028}\r\n";
        const SHOWN: &str = r"a\u{1b}[2J\u{9b}\u{202e}\u{2028}\r\n";
        let mut redirect = Response::new(StatusCode::new(302).unwrap());
        let location = HOSTILE.replace(|c: char| c.is_ascii_control(), "");
        let headers = redirect.headers_mut();
        headers.append("Location", &location).unwrap();
        let mut refusal = Response::new(StatusCode::NOT_FOUND);
        refusal.set_body(HOSTILE);
        let hostile = ByteString::from(HOSTILE);
        let errors = [
            HandshakeError::Aborted(CloseFrame::new(1000, HOSTILE)),
            HandshakeError::OriginNotAllowed {
                origin: Some(hostile.clone()),
                host: None,
            },
            HandshakeError::OriginNotAllowed {
                origin: Some("https://a".into()),
                host: Some(hostile.clone()),
            },
            HandshakeError::HostNotAllowed {
                host: hostile.clone(),
                only_loopback: false,
            },
            HandshakeError::rejected(StatusCode::FORBIDDEN, HOSTILE),
            HandshakeError::Protocol(hostile.clone()),
            HandshakeError::SubprotocolNotOffered(hostile.clone()),
            HandshakeError::UnexpectedSubprotocol(hostile.clone()),
            HandshakeError::NotHttp {
                start: Bytes::from_static(HOSTILE.as_bytes()),
            },
            HandshakeError::Refused(Box::new(refusal)),
            HandshakeError::Accept {
                expected: ByteString::from("x"),
                received: hostile.clone(),
            },
            HandshakeError::Extension {
                name: hostile,
                problem: "x".into(),
            },
        ];
        for error in errors {
            let text = error.to_string();
            assert!(text.contains(SHOWN), "{text}");
            assert!(text.is_ascii(), "{text}");
        }
        let text = HandshakeError::Refused(Box::new(redirect)).to_string();
        assert!(text.ends_with(r"a[2J\u{9b}\u{202e}\u{2028}"), "{text}");
    }

    #[test]
    fn texts_are_lower_case_without_full_stop() {
        let errors = [
            HandshakeError::MissingHeader("Host"),
            HandshakeError::TimedOut,
            HandshakeError::ConnectionLost,
            HandshakeError::Aborted(CloseFrame::new(1011, "")),
            HandshakeError::Method,
            HandshakeError::OriginNotAllowed {
                origin: None,
                host: None,
            },
            HandshakeError::rejected(StatusCode::FORBIDDEN, "no"),
            HandshakeError::Head(HeadError::LooksLikeTls),
            HandshakeError::Body(BodyError::Chunk),
            HandshakeError::ExtendedConnect(ExtendedConnectError::Path),
        ];
        for error in errors {
            let text = error.to_string();
            assert!(text.starts_with(char::is_lowercase), "{text}");
            assert!(!text.ends_with('.'), "{text}");
        }
    }

    #[test]
    fn the_cause_is_the_source_and_not_repeated() {
        let error = HandshakeError::Head(HeadError::LooksLikeTls);
        let cause = error.source().unwrap().to_string();
        assert!(cause.contains("wss://"));
        assert!(!error.to_string().contains(&cause));
    }

    #[test]
    fn an_error_is_small() {
        assert!(size_of::<HandshakeError>() <= 80);
    }
}

//! Which pages may connect (RFC 6455 section 10.2).
//!
//! A browser opens a WebSocket to any server for any page, with the user's cookies, and tells the server
//! the page's origin. Only the server can refuse, and the check must come before the 101.

use alloc::{string::String, vec::Vec};

use bytestring::ByteString;

use crate::handshake::{HandshakeError, Headers};

/// The origins from which a server accepts connections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Origins {
    /// Every origin, and requests without one.
    Any,
    /// The host that the request is addressed to, and requests without an origin, which come from other
    /// programs than browsers. The default.
    #[default]
    SameHost,
    /// The origins of a list.
    List(OriginList),
}

impl Origins {
    /// Returns the policy that accepts the origins of a list; see [`OriginList::new`].
    #[must_use]
    pub fn list<I>(patterns: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Self::List(OriginList::new(patterns))
    }

    /// Checks the `Origin` of a request.
    pub(super) fn check(&self, headers: &Headers) -> Result<(), HandshakeError> {
        let origin = headers.single("Origin")?;
        let allowed = match (self, origin) {
            (Self::Any, _) | (Self::SameHost, None) => true,
            (Self::SameHost, Some(origin)) => is_same_host(origin, headers),
            (Self::List(list), None) => list.allows_missing,
            (Self::List(list), Some(origin)) => list.allows(origin),
        };
        match allowed {
            true => Ok(()),
            false => Err(HandshakeError::OriginNotAllowed(origin.map(printable))),
        }
    }
}

/// Origins such as `https://example.com`, and patterns of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginList {
    patterns: Vec<String>,
    allows_missing: bool,
}

impl OriginList {
    /// Returns a list of origins, each a scheme, host, and port if it is not the scheme's default.
    ///
    /// One `*` in an origin stands for one or more letters, digits, dots and hyphens:
    /// `https://*.example.com` accepts every subdomain but not `example.com` itself, and `http://localhost:*`
    /// every port. Requests without an `Origin` are refused; see [`or_missing`](Self::or_missing).
    #[must_use]
    pub fn new<I>(patterns: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let normalised = |pattern: String| pattern.trim_end_matches('/').to_ascii_lowercase();
        let patterns = patterns.into_iter().map(Into::into);
        Self {
            patterns: patterns.map(normalised).collect(),
            allows_missing: false,
        }
    }

    /// Accepts requests without an `Origin`, too: programs other than browsers send none.
    #[must_use]
    pub fn or_missing(mut self) -> Self {
        self.allows_missing = true;
        self
    }

    fn allows(&self, origin: &[u8]) -> bool {
        self.patterns.iter().any(|pattern| matches(pattern, origin))
    }
}

impl From<OriginList> for Origins {
    fn from(list: OriginList) -> Self {
        Self::List(list)
    }
}

/// Whether a pattern with at most one `*` matches the whole origin.
fn matches(pattern: &str, origin: &[u8]) -> bool {
    let Some((start, end)) = pattern.split_once('*') else {
        return pattern.as_bytes() == origin;
    };
    let wild = origin
        .strip_prefix(start.as_bytes())
        .and_then(|rest| rest.strip_suffix(end.as_bytes()));
    wild.is_some_and(|wild| !wild.is_empty() && wild.iter().all(is_host_byte))
}

const fn is_host_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(*byte, b'-' | b'.')
}

/// Compares host and port of `Origin` and `Host`, where the scheme's default port may be left out.
///
/// The scheme itself cannot be compared: a server behind a proxy does not know whether TLS was used.
fn is_same_host(origin: &[u8], headers: &Headers) -> bool {
    let (origin, default_port): (_, &[u8]) = match origin {
        [b'h', b't', b't', b'p', b's', b':', b'/', b'/', rest @ ..] => (rest, b":443"),
        [b'h', b't', b't', b'p', b':', b'/', b'/', rest @ ..] => (rest, b":80"),
        _ => return false,
    };
    let host = headers.get("Host").unwrap_or_default();
    let host = host.strip_suffix(default_port).unwrap_or(host);
    let origin = origin.strip_suffix(default_port).unwrap_or(origin);
    host.eq_ignore_ascii_case(origin)
}

fn printable(origin: &[u8]) -> ByteString {
    String::from_utf8_lossy(origin).into_owned().into()
}

//! Which pages may connect (RFC 6455 section 10.2).
//!
//! A browser opens a WebSocket to any server for any page, with the user's cookies, and tells the
//! server the page's origin. Only the server can refuse, and the check must come before the 101.

use alloc::{string::String, vec::Vec};

use bytestring::ByteString;

use crate::handshake::{HandshakeError, ascii::is_same_in_any_case, headers::Lines};

/// The origins from which a server accepts connections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Origins {
    /// Every origin, and requests without one.
    Any,
    /// The host that the request is addressed to, and requests without an origin, which come from
    /// other programs than browsers. The default.
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

    /// Checks the `Origin` of a request to a host.
    pub(super) fn check(&self, origin: &Lines<'_>, host: &[u8]) -> Result<(), HandshakeError> {
        let origin = origin.single()?;
        let allowed = match (self, origin) {
            (Self::Any, _) | (Self::SameHost, None) => true,
            (Self::SameHost, Some(origin)) => is_same_host(origin, host),
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
    /// `https://*.example.com` accepts every subdomain but not `example.com` itself, and
    /// `http://localhost:*` every port. Requests without an `Origin` are refused; see
    /// [`or_missing`](Self::or_missing).
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
/// The scheme itself cannot be compared: a server behind a proxy does not know whether TLS was
/// used.
fn is_same_host(origin: &[u8], host: &[u8]) -> bool {
    let (origin, default_port): (_, &[u8]) = match origin {
        [b'h', b't', b't', b'p', b's', b':', b'/', b'/', rest @ ..] => (rest, b":443"),
        [b'h', b't', b't', b'p', b':', b'/', b'/', rest @ ..] => (rest, b":80"),
        _ => return false,
    };
    let host = host.strip_suffix(default_port).unwrap_or(host);
    let origin = origin.strip_suffix(default_port).unwrap_or(origin);
    is_same_in_any_case(host, origin)
}

fn printable(origin: &[u8]) -> ByteString {
    String::from_utf8_lossy(origin).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::Headers;

    fn check(origins: &Origins, host: &str, origin: Option<&str>) -> bool {
        let mut headers = Headers::new();
        if let Some(origin) = origin {
            headers.append("Origin", origin).unwrap();
        }
        match origins.check(&headers.lines("Origin"), host.as_bytes()) {
            Ok(()) => true,
            Err(HandshakeError::OriginNotAllowed(refused)) => {
                assert_eq!(refused.as_deref(), origin);
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn same_host_compares_host_and_port() {
        let cases = [
            ("example.com", None, true),
            ("example.com", Some("https://example.com"), true),
            ("example.com", Some("http://example.com"), true),
            ("EXAMPLE.com", Some("https://example.com"), true),
            ("example.com:443", Some("https://example.com"), true),
            ("example.com:80", Some("http://example.com"), true),
            ("example.com", Some("https://example.com:443"), true),
            ("localhost:8000", Some("http://localhost:8000"), true),
            ("[::1]:8000", Some("http://[::1]:8000"), true),
            ("example.com:80", Some("https://example.com"), false),
            ("localhost:8000", Some("http://localhost:8001"), false),
            ("example.com", Some("https://evil.example"), false),
            (
                "example.com",
                Some("https://example.com.evil.example"),
                false,
            ),
            ("example.com", Some("https://evilexample.com"), false),
            ("example.com", Some("https://sub.example.com"), false),
            ("example.com", Some("null"), false),
            ("null", Some("null"), false),
            ("example.com", Some(""), false),
            ("example.com", Some("example.com"), false),
            ("example.com", Some("file://example.com"), false),
            ("example.com", Some("https://example.com/"), false),
            ("example.com", Some("https://a https://example.com"), false),
        ];
        for (host, origin, allowed) in cases {
            let result = check(&Origins::SameHost, host, origin);
            assert_eq!(result, allowed, "{host} {origin:?}");
        }
    }

    #[test]
    fn lists_compare_the_whole_origin() {
        let list = Origins::list([
            "https://Example.com/",
            "https://*.example.org",
            "http://localhost:*",
        ]);
        let cases = [
            ("https://example.com", true),
            ("https://a.example.org", true),
            ("https://a.b-c.example.org", true),
            ("http://localhost:3000", true),
            ("http://example.com", false),
            ("https://example.com:8443", false),
            ("https://example.com.evil.example", false),
            ("https://example.org", false),
            ("https://.example.org.evil.example", false),
            ("https://evil.example/.example.org", false),
            ("https://evil.example:1.example.org", false),
            ("https://evil@x.example.org", false),
            ("https://*.example.org", false),
            ("http://localhost", false),
            ("http://localhost:", false),
            ("http://localhost:1@evil.example", false),
            ("null", false),
        ];
        for (origin, allowed) in cases {
            assert_eq!(
                check(&list, "example.com", Some(origin)),
                allowed,
                "{origin}"
            );
        }
    }

    #[test]
    fn a_list_refuses_a_missing_origin_unless_told_otherwise() {
        let list = OriginList::new(["https://a"]);
        assert!(!check(&list.clone().into(), "a", None));
        assert!(check(&list.or_missing().into(), "a", None));
        assert!(!check(&Origins::list([""; 0]), "a", Some("https://a")));
        assert!(check(&Origins::list(["null"]), "a", Some("null")));
    }

    #[test]
    fn any_accepts_everything_but_two_origins() {
        assert!(check(&Origins::Any, "a", None));
        assert!(check(&Origins::Any, "a", Some("null")));
        let mut headers = Headers::new();
        headers.append("Origin", "https://a").unwrap();
        headers.append("Origin", "https://a").unwrap();
        let error = Err(HandshakeError::RepeatedHeader("Origin"));
        for origins in [
            Origins::Any,
            Origins::SameHost,
            Origins::list(["https://a"]),
        ] {
            assert_eq!(origins.check(&headers.lines("Origin"), b"a"), error);
        }
    }
}

//! Which pages may connect (RFC 6455 section 10.2).
//!
//! A browser opens a WebSocket to any server for any page, with the user's cookies, and tells the
//! server the page's origin. Only the server can refuse, and the check must come before the 101.

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec::Vec,
};
use core::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use bytestring::ByteString;

use crate::escape::escaped;
use crate::handshake::{
    HandshakeError, UriError,
    ascii::is_same_in_any_case,
    headers::Lines,
    uri::{is_name, to_ascii},
};

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
    ///
    /// # Errors
    /// As [`OriginList::new`].
    pub fn list<I>(patterns: I) -> Result<Self, InvalidOrigin>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        OriginList::new(patterns).map(Self::List)
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
            false => Err(HandshakeError::OriginNotAllowed {
                origin: origin.map(printable),
                host: self.compares_host().then(|| printable(host)),
            }),
        }
    }

    pub(super) const fn compares_host(&self) -> bool {
        matches!(self, Self::SameHost)
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
    /// Each is brought to the form that browsers send: the host in lower case, in its `xn--` form if it is not
    /// ASCII (with the feature `idna`), and without the default port. `null` is the origin of pages that have none,
    /// such as files and sandboxed frames.
    ///
    /// One `*` in an origin stands for one or more letters, digits, dots and hyphens:
    /// `https://*.example.com` accepts every subdomain but not `example.com` itself, and
    /// `http://localhost:*` every port. Requests without an `Origin` are refused; see
    /// [`or_missing`](Self::or_missing).
    ///
    /// # Errors
    /// One of them is no origin that a browser can send: it would never match.
    ///
    /// # Example
    /// ```
    /// use sansock_core::handshake::{OriginList, OriginProblem};
    ///
    /// let list = OriginList::new(["https://example.com:443", "http://localhost:*"]);
    /// assert_eq!(list, OriginList::new(["https://Example.com", "http://LOCALHOST:*"]));
    ///
    /// let error = OriginList::new(["example.com"]).unwrap_err();
    /// assert_eq!(error.problem, OriginProblem::NoScheme);
    /// ```
    pub fn new<I>(patterns: I) -> Result<Self, InvalidOrigin>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let normalised = |pattern: I::Item| {
            let pattern = pattern.as_ref().trim();
            normalise(pattern).map_err(|problem| InvalidOrigin {
                origin: pattern.to_owned(),
                problem,
            })
        };
        Ok(Self {
            patterns: patterns
                .into_iter()
                .map(normalised)
                .collect::<Result<_, _>>()?,
            allows_missing: false,
        })
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

/// An origin of a list that no browser sends, so that it would never match.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidOrigin {
    /// The origin as given.
    pub origin: String,
    /// What is wrong with it.
    pub problem: OriginProblem,
}

/// What is wrong with an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginProblem {
    /// It is `*`, which stands for no whole origin: [`Origins::Any`] accepts all of them.
    Any,
    /// It has more than one `*`, or one inside a name that is not ASCII.
    Wildcard,
    /// It does not begin with a scheme and `://`.
    NoScheme,
    /// Its scheme is that of a WebSocket. The origin is that of the page, most often with `https`.
    WebSocketScheme,
    /// It has a path, query, fragment or user information.
    NotOnlyHost,
    /// Its host is empty or malformed.
    Host,
    /// Its host is not ASCII, and this build cannot convert it.
    IdnaDisabled,
    /// Its port is not a number up to 65535.
    Port,
}

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "origin \"{}\" ", escaped(&self.origin))?;
        f.write_str(match self.problem {
            OriginProblem::Any => "stands for no origin; use Origins::Any to accept all of them",
            OriginProblem::Wildcard => "may have one *, and none inside a name that is not ASCII",
            OriginProblem::NoScheme => "must begin with a scheme, such as https://",
            OriginProblem::WebSocketScheme => {
                "must be that of the page, which has http:// or https:// instead of ws:// or wss://"
            }
            OriginProblem::NotOnlyHost => "must end after host and port, and have no user",
            OriginProblem::Host => "has no valid host",
            OriginProblem::IdnaDisabled => {
                "has a host that is not ASCII, and this build cannot convert it; \
                 enable the feature idna or write the host in its xn-- form"
            }
            OriginProblem::Port => "must have a port from 0 to 65535",
        })
    }
}

impl core::error::Error for InvalidOrigin {}

/// Brings a pattern to the form in which browsers serialise an origin (RFC 6454 section 6.2).
fn normalise(pattern: &str) -> Result<String, OriginProblem> {
    match pattern {
        "*" => return Err(OriginProblem::Any),
        _ if pattern.eq_ignore_ascii_case("null") => return Ok("null".to_owned()),
        _ if pattern.matches('*').count() > 1 => return Err(OriginProblem::Wildcard),
        _ => {}
    }
    let (scheme, rest) = pattern.split_once("://").ok_or(OriginProblem::NoScheme)?;
    let scheme = normalise_scheme(scheme)?;
    let authority = rest.trim_end_matches('/');
    if authority.contains(['/', '\\', '?', '#', '@']) {
        return Err(OriginProblem::NotOnlyHost);
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    };
    match &*scheme {
        "https" => Ok(alloc::format!(
            "https://{}{}",
            normalise_host(host)?,
            normalise_port(port, "443")?
        )),
        "http" => Ok(alloc::format!(
            "http://{}{}",
            normalise_host(host)?,
            normalise_port(port, "80")?
        )),
        "*" => Ok(alloc::format!(
            "*://{}{}",
            normalise_host(host)?,
            normalise_port(port, "")?
        )),
        // Hosts of other schemes are opaque: applications that show pages of their own choose them.
        _ if authority.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(alloc::format!("{scheme}://{authority}"))
        }
        _ => Err(OriginProblem::Host),
    }
}

fn normalise_scheme(scheme: &str) -> Result<String, OriginProblem> {
    let may_stand =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'*');
    let scheme = scheme.to_ascii_lowercase();
    match &*scheme {
        "ws" | "wss" => Err(OriginProblem::WebSocketScheme),
        "" => Err(OriginProblem::NoScheme),
        _ if !scheme.bytes().all(may_stand) => Err(OriginProblem::NoScheme),
        _ => Ok(scheme),
    }
}

pub(super) fn normalise_host(host: &str) -> Result<String, OriginProblem> {
    let address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if let Some(address) = address {
        let address = address.parse().map_err(|_| OriginProblem::Host)?;
        return Ok(alloc::format!("[{}]", serialise_ipv6(address)));
    }
    let name = to_ascii(host).map_err(|error| host_problem(&error))?;
    let name = name.to_ascii_lowercase();
    // What `*` stands for would be encoded together with what is around it.
    let is_cut = |label: &str| label.starts_with("xn--") && label.contains('*');
    if !host.is_ascii() && name.split('.').any(is_cut) {
        return Err(OriginProblem::Wildcard);
    }
    match is_name(name.as_bytes()) && is_name_or_ipv4(&name) {
        true => Ok(name),
        false => Err(OriginProblem::Host),
    }
}

fn host_problem(error: &UriError) -> OriginProblem {
    match *error == UriError::IdnaDisabled {
        true => OriginProblem::IdnaDisabled,
        false => OriginProblem::Host,
    }
}

/// Whether a host that ends in a number is an IPv4 address in its usual form: browsers take it for one.
fn is_name_or_ipv4(name: &str) -> bool {
    let labels = name.strip_suffix('.').unwrap_or(name);
    let last = labels.rsplit('.').next().unwrap_or_default();
    let is_number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    !is_number || name.contains('*') || name.parse::<Ipv4Addr>().is_ok()
}

/// Browsers write an address of IPv4 in IPv6 in hexadecimal, too.
fn serialise_ipv6(address: Ipv6Addr) -> String {
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] => alloc::format!("::ffff:{high:x}:{low:x}"),
        _ => address.to_string(),
    }
}

/// Returns the port with its colon, or nothing if it is the default.
fn normalise_port(port: &str, default: &str) -> Result<String, OriginProblem> {
    let may_stand = |byte: u8| byte.is_ascii_digit() || byte == b'*';
    if !port.bytes().all(may_stand) {
        return Err(OriginProblem::Port);
    }
    let port = match port {
        "" => String::new(),
        _ if port.contains('*') => port.to_owned(),
        _ => port
            .parse::<u16>()
            .map_err(|_| OriginProblem::Port)?
            .to_string(),
    };
    match port.is_empty() || port == default {
        true => Ok(String::new()),
        false => Ok(alloc::format!(":{port}")),
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
            Err(HandshakeError::OriginNotAllowed {
                origin: refused,
                host: compared,
            }) => {
                assert_eq!(refused.as_deref(), origin);
                let expected = (*origins == Origins::SameHost).then_some(host);
                assert_eq!(compared.as_deref(), expected);
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
            ("localhost", Some("tauri://localhost"), false),
            ("localhost", Some("file://"), false),
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
        ])
        .unwrap();
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

    /// What a browser sends for the page at the address in the list, as the URL standard serialises it.
    #[test]
    fn an_origin_is_listed_as_a_browser_sends_it() {
        let cases = [
            ("https://example.com:443", "https://example.com"),
            ("https://example.com:0443/", "https://example.com"),
            ("http://example.com:80", "http://example.com"),
            ("http://example.com:443", "http://example.com:443"),
            ("https://example.com:80", "https://example.com:80"),
            ("https://example.com:", "https://example.com"),
            ("https://example.com.", "https://example.com."),
            ("https://a..", "https://a.."),
            ("HTTPS://Example.COM:8443", "https://example.com:8443"),
            (" https://example.com ", "https://example.com"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://[0:0::A]:80", "http://[::a]"),
            ("http://[::ffff:127.0.0.1]", "http://[::ffff:7f00:1]"),
            ("*://example.com:8443", "https://example.com:8443"),
            ("*://example.com", "http://example.com"),
            ("https://*", "https://example.com"),
            ("http://192.168.*.1", "http://192.168.0.1"),
            ("http://a:80*", "http://a:8080"),
            ("tauri://localhost", "tauri://localhost"),
            ("capacitor://localhost:80", "capacitor://localhost:80"),
            ("moz-extension://*", "moz-extension://1f-2e"),
            ("app://Opaque", "app://Opaque"),
            ("file:///", "file://"),
            ("NULL", "null"),
        ];
        for (listed, sent) in cases {
            let list = Origins::list([listed]).unwrap();
            assert!(check(&list, "a", Some(sent)), "{listed:?} {sent:?}");
        }
    }

    #[test]
    fn what_no_browser_sends_is_not_listed() {
        let cases = [
            ("*", OriginProblem::Any),
            ("https://*.*.example", OriginProblem::Wildcard),
            ("example.com", OriginProblem::NoScheme),
            ("//example.com", OriginProblem::NoScheme),
            ("://example.com", OriginProblem::NoScheme),
            ("a b://example.com", OriginProblem::NoScheme),
            ("", OriginProblem::NoScheme),
            ("ws://example.com", OriginProblem::WebSocketScheme),
            ("WSS://example.com", OriginProblem::WebSocketScheme),
            ("https://example.com/chat", OriginProblem::NotOnlyHost),
            ("https://example.com?x", OriginProblem::NotOnlyHost),
            ("https://example.com#x", OriginProblem::NotOnlyHost),
            ("https://u@example.com", OriginProblem::NotOnlyHost),
            ("https://", OriginProblem::Host),
            ("https://:443", OriginProblem::Host),
            ("https://a b", OriginProblem::Host),
            ("https://ex%61mple", OriginProblem::Host),
            ("https://[::1", OriginProblem::Host),
            ("https://[x]", OriginProblem::Host),
            ("http://127.1", OriginProblem::Host),
            ("http://127.0.0.1.", OriginProblem::Host),
            ("http://a.256", OriginProblem::Host),
            ("app://a b", OriginProblem::Host),
            ("https://a:65536", OriginProblem::Port),
            ("https://a:+1", OriginProblem::Port),
            ("https://a:http", OriginProblem::Port),
        ];
        for (origin, problem) in cases {
            let error = Origins::list(["https://a", origin]).unwrap_err();
            assert_eq!(error.origin, origin);
            assert_eq!(error.problem, problem, "{origin:?}");
            assert!(error.to_string().contains(origin), "{error}");
        }
    }

    #[cfg(feature = "idna")]
    #[test]
    fn international_origins_are_listed_in_their_ascii_form() {
        for listed in ["https://BÜCHER.example:443", "https://*.bücher.example"] {
            let list = Origins::list([listed]).unwrap();
            let subdomain = if listed.contains('*') { "a." } else { "" };
            let sent = format!("https://{subdomain}xn--bcher-kva.example");
            assert!(check(&list, "a", Some(&sent)), "{listed}");
        }
        for (listed, problem) in [
            ("https://bü*.example", OriginProblem::Wildcard),
            ("https://\u{ad}", OriginProblem::Host),
            ("https://ü b", OriginProblem::Host),
        ] {
            let error = Origins::list([listed]).unwrap_err();
            assert_eq!(error.problem, problem, "{listed}");
        }
    }

    #[test]
    fn a_host_that_this_build_cannot_convert_is_a_separate_problem() {
        let problem = host_problem(&UriError::IdnaDisabled);
        assert_eq!(problem, OriginProblem::IdnaDisabled);
        let origin = String::from("https://bücher.example");
        let error = InvalidOrigin { origin, problem }.to_string();
        assert!(error.contains("enable the feature idna"), "{error}");
        assert_eq!(host_problem(&UriError::Host), OriginProblem::Host);
    }

    #[cfg(not(feature = "idna"))]
    #[test]
    fn international_origins_need_a_feature_that_the_error_names() {
        let error = Origins::list(["https://bücher.example"]).unwrap_err();
        assert_eq!(error.problem, OriginProblem::IdnaDisabled);
        assert!(error.to_string().contains("idna"));
    }

    #[test]
    fn a_list_refuses_a_missing_origin_unless_told_otherwise() {
        let list = OriginList::new(["https://a"]).unwrap();
        assert!(!check(&list.clone().into(), "a", None));
        assert!(check(&list.or_missing().into(), "a", None));
        let empty = Origins::list([""; 0]).unwrap();
        assert!(!check(&empty, "a", Some("https://a")));
        let null = Origins::list(["null"]).unwrap();
        assert!(check(&null, "a", Some("null")));
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
            Origins::list(["https://a"]).unwrap(),
        ] {
            assert_eq!(origins.check(&headers.lines("Origin"), b"a"), error);
        }
    }
}

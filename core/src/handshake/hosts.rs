//! Which hosts a request may be addressed to (RFC 9110 section 7.2).
//!
//! A page can have the name of its host resolve to another address after it was loaded, for example to that of a
//! server on the user's machine (DNS rebinding). Then `Origin` and `Host` are equal, and only a server that knows
//! its names can refuse.

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::escape::escaped;
use crate::handshake::{HandshakeError, origin::normalise_host};

/// The hosts to which requests may be addressed: what their `Host` may be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hosts {
    /// Names of this machine that do not depend on DNS: `localhost`, `*.localhost`, `127.0.0.0/8` and `[::1]`.
    Loopback,
    /// The hosts of a list.
    List(HostList),
}

impl Hosts {
    /// Returns the policy that accepts the hosts of a list; see [`HostList::new`].
    ///
    /// # Errors
    /// As [`HostList::new`].
    pub fn list<I>(hosts: I) -> Result<Self, InvalidHost>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        HostList::new(hosts).map(Self::List)
    }

    /// Checks the value of a `Host` header, which is a host and an optional port.
    pub(super) fn check(&self, host: &[u8]) -> Result<(), HandshakeError> {
        let host = String::from_utf8_lossy(host);
        let (name, port) = split_port(&host);
        let name = canonical(name);
        let is_allowed = match self {
            Self::Loopback => is_loopback(&name),
            Self::List(list) => list.allows(&name, port),
        };
        match is_allowed {
            true => Ok(()),
            false => Err(HandshakeError::HostNotAllowed {
                host: host.into_owned().into(),
                only_loopback: *self == Self::Loopback,
            }),
        }
    }
}

/// Hosts such as `example.com`, and patterns of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostList {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    name: Name,
    /// Without one, every port matches.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Any,
    Exact(String),
    /// Every name that ends with this, which begins with a dot.
    Below(String),
}

impl HostList {
    /// Returns a list of hosts: names and addresses, each with a port or without.
    ///
    /// - `example.com` and `192.0.2.1` match with every port; `example.com:8443` matches with that port only. A
    ///   request without a port has port 80 or 443.
    /// - `*.example.com` matches every name below `example.com`, but not that itself.
    /// - `[2001:db8::1]` and `2001:db8::1` are the same address. A port needs the brackets.
    /// - `*` matches every host.
    ///
    /// Case and a dot at the end do not matter. A name that is not ASCII is converted with the feature `idna`.
    ///
    /// # Errors
    /// An entry that is not a host matches no request.
    ///
    /// # Example
    /// ```
    /// use sansock_core::handshake::HostList;
    ///
    /// HostList::new(["example.com", "*.example.com", "localhost:8080", "[::1]"])?;
    ///
    /// let error = HostList::new(["https://example.com"]).unwrap_err();
    /// assert_eq!(error.host, "https://example.com");
    /// # Ok::<(), sansock_core::handshake::InvalidHost>(())
    /// ```
    pub fn new<I>(hosts: I) -> Result<Self, InvalidHost>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let parsed = |host: I::Item| {
            let host = host.as_ref().trim();
            Pattern::parse(host).ok_or_else(|| InvalidHost {
                host: host.to_owned(),
            })
        };
        let patterns = hosts.into_iter().map(parsed).collect::<Result<_, _>>()?;
        Ok(Self { patterns })
    }

    fn allows(&self, name: &str, port: &str) -> bool {
        self.patterns
            .iter()
            .any(|pattern| pattern.matches(name, port))
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            let name = Name::Exact(alloc::format!("[{address}]"));
            return Some(Self { name, port: None });
        }
        let (name, port) = split_port(text);
        let port = match port.is_empty() {
            true => None,
            false => Some(port.parse().ok()?),
        };
        let name = match name.strip_prefix("*.") {
            _ if name == "*" => Name::Any,
            Some(parent) => Name::Below(alloc::format!(".{}", normalise(parent)?)),
            None => Name::Exact(normalise(name)?),
        };
        Some(Self { name, port })
    }

    fn matches(&self, name: &str, port: &str) -> bool {
        let is_port = match (self.port, port) {
            (None, _) | (Some(80 | 443), "") => true,
            (Some(ours), port) => port.parse() == Ok(ours),
        };
        is_port
            && match &self.name {
                Name::Any => true,
                Name::Exact(exact) => exact == name,
                Name::Below(end) => name.len() > end.len() && name.ends_with(&**end),
            }
    }
}

/// An entry of a list that is not a host, so that it would never match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidHost {
    /// The entry as given.
    pub host: String,
}

impl fmt::Display for InvalidHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\" is not a host; write a name or an address, and a port if only that is accepted",
            escaped(&self.host)
        )?;
        match self.host.is_ascii() {
            true => Ok(()),
            false => f.write_str(" (a name that is not ASCII needs the feature idna)"),
        }
    }
}

impl core::error::Error for InvalidHost {}

/// Brings the name of a pattern to the form that [`canonical`] returns.
fn normalise(name: &str) -> Option<String> {
    let name = normalise_host(name).ok()?;
    (!name.contains('*')).then(|| canonical(&name))
}

/// Brings a host to one form: names in lower case without a dot at the end, IPv6 addresses in their shortest form.
fn canonical(host: &str) -> String {
    match ipv6(host) {
        Some(address) => alloc::format!("[{address}]"),
        None => {
            let host = host.strip_suffix('.').unwrap_or(host);
            host.to_ascii_lowercase()
        }
    }
}

fn ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Splits off the port, which may be empty.
fn split_port(host: &str) -> (&str, &str) {
    match host.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (host, ""),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = match ipv6(host) {
        Some(address) => Some(address.to_canonical()),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    match address {
        Some(address) => address.is_loopback(),
        // RFC 6761 section 6.3: these names always resolve to loopback addresses.
        None => host == "localhost" || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_allowed(hosts: &Hosts, host: &str) -> bool {
        match hosts.check(host.as_bytes()) {
            Ok(()) => true,
            Err(HandshakeError::HostNotAllowed {
                host: refused,
                only_loopback,
            }) => {
                assert_eq!(refused, host);
                assert_eq!(only_loopback, *hosts == Hosts::Loopback);
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_list_allows_its_hosts_and_no_others() {
        let hosts = Hosts::list([
            " Example.com ",
            "*.example.org",
            "port.example:8443",
            "tls.example:443",
            "192.0.2.1",
            "2001:db8:0::1",
            "[2001:db8::2]:81",
        ])
        .unwrap();
        let cases = [
            ("example.com", true),
            ("EXAMPLE.COM", true),
            ("example.com.", true),
            ("example.com:8443", true),
            ("a.example.com", false),
            ("example.com.evil.example", false),
            ("evilexample.com", false),
            ("a.example.org", true),
            ("a.b.example.org:1", true),
            ("example.org", false),
            (".example.org", false),
            ("evilexample.org", false),
            ("port.example:8443", true),
            ("port.example:08443", true),
            ("port.example:8444", false),
            ("port.example", false),
            ("port.example:", false),
            ("tls.example", true),
            ("tls.example:443", true),
            ("tls.example:80", false),
            ("192.0.2.1", true),
            ("192.0.2.10", false),
            ("[2001:db8::1]", true),
            ("[2001:0DB8::1]:9001", true),
            ("[2001:db8::2]:81", true),
            ("[2001:db8::2]", false),
            ("[2001:db8::3]", false),
            ("localhost", false),
        ];
        for (host, expected) in cases {
            assert_eq!(is_allowed(&hosts, host), expected, "{host}");
        }
        let none = Hosts::list([""; 0]).unwrap();
        assert!(!is_allowed(&none, "example.com"));
        let any = Hosts::list(["*"]).unwrap();
        assert!(is_allowed(&any, "example.com:1"));
        let any_with_a_port = Hosts::list(["*:81"]).unwrap();
        assert!(is_allowed(&any_with_a_port, "a:81") && !is_allowed(&any_with_a_port, "a"));
    }

    #[test]
    fn loopback_names_do_not_depend_on_dns() {
        let cases = [
            ("localhost", true),
            ("LocalHost:9001", true),
            ("localhost.", true),
            ("app.localhost", true),
            ("127.0.0.1", true),
            ("127.255.0.1:80", true),
            ("[::1]", true),
            ("[0::1]:9001", true),
            ("[::ffff:127.0.0.1]", true),
            ("example.com", false),
            ("localhost.example.com", false),
            ("evillocalhost", false),
            ("127.0.0.1.example.com", false),
            ("0.0.0.0", false),
            ("192.168.0.1", false),
            ("[::]", false),
            ("[::2]", false),
        ];
        for (host, expected) in cases {
            assert_eq!(is_allowed(&Hosts::Loopback, host), expected, "{host}");
        }
    }

    #[test]
    fn what_is_not_a_host_is_not_listed() {
        for entry in [
            "",
            "https://example.com",
            "example.com/chat",
            "a b",
            "*.*.example",
            "a.*.example",
            "*.",
            "a:65536",
            "a:http",
            "[::1",
            "127.1",
        ] {
            let error = HostList::new(["a", entry]).unwrap_err();
            assert_eq!(error.host, entry);
            assert!(error.to_string().contains(entry), "{error}");
        }
        let error = InvalidHost {
            host: "ü b".to_owned(),
        };
        assert!(error.to_string().contains("idna"), "{error}");
    }
}

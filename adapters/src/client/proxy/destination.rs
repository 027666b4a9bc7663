//! The destination of a tunnel, in the two forms that proxies take: a name or an address.
//!
//! The rule: a destination is only made from values that were validated, so nothing in a name can inject
//! bytes into a request.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use sansock_core::handshake::Uri;

/// Where a tunnel leads: the host and port of a URI, or an address that the caller has looked up.
///
/// ```
/// use sansock::core::handshake::Uri;
/// use sansock::proxy::Destination;
///
/// let uri: Uri = "wss://example.com/chat".parse()?;
/// assert_eq!(Destination::from(&uri).to_string(), "example.com:443");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    pub(super) host: Host,
    pub(super) port: u16,
}

/// Only made from what was checked: nothing in a name can break a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Host {
    Name(String),
    Address(IpAddr),
}

impl Destination {
    /// Whether this is an address that only IPv6 reaches.
    pub(super) fn is_ipv6(&self) -> bool {
        matches!(self.host, Host::Address(address) if address.to_canonical().is_ipv6())
    }
}

impl From<&Uri> for Destination {
    fn from(uri: &Uri) -> Self {
        let host = match uri.host().parse() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(uri.host().into()),
        };
        let port = uri.port();
        Self { host, port }
    }
}

impl From<SocketAddr> for Destination {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: Host::Address(address.ip()),
            port: address.port(),
        }
    }
}

/// Writes `host:port`, with brackets around an IPv6 address.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Address(address) => SocketAddr::new(*address, self.port).fmt(f),
        }
    }
}

//! The peer of a connection, and the client in whose place a proxy has connected.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// A host on the network. Behind a proxy this is the proxy, unless it is
    /// [trusted](crate::serve::Serve::trusted_proxies).
    Ip(SocketAddr),
    /// A process on this machine, over a Unix socket.
    Unix,
    /// Nothing is known about it.
    Unknown,
    /// A client that a trusted proxy names.
    Proxied(Proxied),
}

/// A client that connects through proxies, and is named by the last of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proxied {
    inner: Arc<Inner>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Inner {
    client: SocketAddr,
    transport: Peer,
    /// Types, lengths and values, one after the other.
    tlvs: Box<[u8]>,
}

impl Peer {
    /// Returns a client that a trusted proxy names. Its port is 0 if the proxy does not name it.
    pub(crate) fn proxied(&self, client: SocketAddr) -> Self {
        let tlvs = match self {
            Self::Proxied(proxied) => proxied.inner.tlvs.clone(),
            Self::Ip(_) | Self::Unix | Self::Unknown => Box::default(),
        };
        self.proxied_with(client, tlvs)
    }

    /// As [`proxied`](Self::proxied), with additional information: types, lengths and values.
    pub(crate) fn proxied_with(&self, client: SocketAddr, tlvs: Box<[u8]>) -> Self {
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        Self::Proxied(Proxied {
            inner: Arc::new(Inner {
                client,
                transport: self.transport().clone(),
                tlvs,
            }),
        })
    }

    /// Returns the address of the client, if it is known. Its port is 0 if a proxy names the client without one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Proxied(proxied) => Some(proxied.inner.client),
            Self::Unix | Self::Unknown => None,
        }
    }

    /// Returns the IP address of the client, if it is known.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.address().map(|address| address.ip())
    }

    /// Returns the other end of the transport: the proxy, if a trusted one names the client, or else this peer
    /// itself.
    #[must_use]
    pub fn transport(&self) -> &Self {
        match self {
            Self::Proxied(proxied) => &proxied.inner.transport,
            Self::Ip(_) | Self::Unix | Self::Unknown => self,
        }
    }

    /// Returns the additional information that a header of the PROXY protocol has: types and values, in their order.
    /// Among the types are 1 for the ALPN protocol, 2 for the host name of TLS, 5 for an identifier of the connection,
    /// and 32 for the client's TLS.
    pub fn tlvs(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut rest = match self {
            Self::Proxied(proxied) => &*proxied.inner.tlvs,
            Self::Ip(_) | Self::Unix | Self::Unknown => &[],
        };
        std::iter::from_fn(move || {
            let (&[kind, high, low], after) = rest.split_first_chunk()?;
            let length = u16::from_be_bytes([high, low]);
            let (value, after) = after.split_at_checked(length.into())?;
            rest = after;
            Some((kind, value))
        })
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

/// Names the client.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Unix => f.write_str("unix"),
            Self::Unknown => f.write_str("unknown"),
            Self::Proxied(proxied) => match proxied.inner.client {
                client if client.port() == 0 => write!(f, "{}", client.ip()),
                client => write!(f, "{client}"),
            },
        }
    }
}

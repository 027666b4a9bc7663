//! Where a server's connections come from: the trait [`Listener`], and what it returns.
//!
//! The rule: accepting never waits for one client. What takes time, such as a TLS handshake, is a future
//! inside [`Accepted`], which runs in the task of that connection.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::{fmt, io};

use crate::error::{Error, Result};

/// A future on the heap that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Accepts connections: a listening socket, or anything that gives transports.
///
/// ```
/// use std::io;
/// use sansock::serve::{Accepted, BoxFuture, Listener, Peer};
///
/// struct Tcp(async_net::TcpListener);
///
/// impl Listener<async_net::TcpStream> for Tcp {
///     fn accept(&self) -> BoxFuture<'_, io::Result<Accepted<async_net::TcpStream>>> {
///         Box::pin(async {
///             let (stream, address) = self.0.accept().await?;
///             Ok(Accepted::new(stream, address))
///         })
///     }
/// }
/// ```
pub trait Listener<S>: Send + Sync {
    /// Waits for the next connection. The future may be dropped before it is ready.
    ///
    /// # Errors
    /// The server calls again after any error, at growing intervals of up to a second unless the error
    /// was that of one connection.
    fn accept(&self) -> BoxFuture<'_, io::Result<Accepted<S>>>;

    /// Returns the address at which it listens, if it has one.
    fn local_address(&self) -> Option<SocketAddr> {
        None
    }
}

/// A connection that a [`Listener`] has accepted.
pub struct Accepted<S> {
    pub(crate) transport: BoxFuture<'static, Result<S>>,
    pub(crate) peer: Peer,
}

impl<S: Send + 'static> Accepted<S> {
    /// A transport that is ready.
    #[must_use]
    pub fn new(transport: S, peer: impl Into<Peer>) -> Self {
        let ready: Result<S> = Ok(transport);
        Self::opening(std::future::ready(ready), peer)
    }

    /// A transport that has something to do first, such as the handshake of TLS. That is done in the
    /// task of the connection, within the time for the opening handshake.
    #[must_use]
    pub fn opening<E: Into<Error>>(
        transport: impl Future<Output = Result<S, E>> + Send + 'static,
        peer: impl Into<Peer>,
    ) -> Self {
        Self {
            transport: Box::pin(async { transport.await.map_err(Into::into) }),
            peer: peer.into(),
        }
    }
}

impl<S> fmt::Debug for Accepted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// A host on the network. Behind a proxy this is the proxy.
    Ip(SocketAddr),
    /// A process on this machine, over a Unix socket.
    Unix,
    /// Nothing is known about it.
    Unknown,
}

impl Peer {
    /// Returns the address, where there is one.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix | Self::Unknown => None,
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Unix => f.write_str("unix"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

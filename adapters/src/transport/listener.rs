//! Where a server's connections come from: the trait [`Listener`], and what it returns.
//!
//! The rule: accepting never waits for one client. What takes time, such as a TLS handshake, is a future
//! inside [`Accepted`], which runs in the task of that connection.

use std::future::Future;
use std::net::SocketAddr;
use std::{fmt, io};

use super::mode::{BoxFuture, Boxes, Mode, Threads};
use super::peer::Peer;
use crate::error::{Error, Result};

/// Accepts connections: a listening socket, or anything that gives transports.
///
/// ```
/// use std::io;
/// use sansock::runtime::{BoxFuture, Threads};
/// use sansock::serve::{Accepted, Listener};
///
/// struct Tcp(async_net::TcpListener);
///
/// impl Listener<async_net::TcpStream> for Tcp {
///     fn accept(&self) -> BoxFuture<Threads, io::Result<Accepted<async_net::TcpStream>>> {
///         let listener = self.0.clone();
///         Box::pin(async move {
///             let (stream, address) = listener.accept().await?;
///             Ok(Accepted::new(stream, address))
///         })
///     }
/// }
/// ```
pub trait Listener<S: 'static, M: Mode = Threads> {
    /// Waits for the next connection. The future may be dropped before it is ready.
    ///
    /// # Errors
    /// The server calls again after any error, at growing intervals of up to a second unless the error
    /// was that of one connection.
    fn accept(&self) -> BoxFuture<M, io::Result<Accepted<S, M>>>;

    /// Returns the address at which it listens, if it has one.
    fn local_address(&self) -> Option<SocketAddr> {
        None
    }
}

/// A connection that a [`Listener`] has accepted.
pub struct Accepted<S: 'static, M: Mode = Threads> {
    pub(crate) transport: Transport<S, M>,
    pub(crate) peer: Peer,
    /// Whether the listener has a loopback address.
    pub(crate) on_loopback: bool,
}

/// A transport that is ready, and the client that a proxy names.
pub(crate) type Ready<S> = (S, Option<Peer>);

pub(crate) enum Transport<S: 'static, M: Mode> {
    Ready(S),
    Opening(BoxFuture<M, Result<Ready<S>>>),
}

impl<S: 'static, M: Mode> Accepted<S, M> {
    /// A transport that is ready.
    #[must_use]
    pub fn new(transport: S, peer: impl Into<Peer>) -> Self {
        Self {
            transport: Transport::Ready(transport),
            peer: peer.into(),
            on_loopback: false,
        }
    }

    /// A transport that has something to do first, such as the handshake of TLS. That is done in the
    /// task of the connection, within the time for the opening handshake.
    #[must_use]
    pub fn opening<F, E>(transport: F, peer: impl Into<Peer>) -> Self
    where
        F: Future<Output = Result<S, E>>,
        E: Into<Error>,
        M: Boxes<F>,
    {
        let transport = M::boxed(transport, |opened| {
            let opened = opened.map_err(Into::into);
            opened.map(|transport| (transport, None))
        });
        Self {
            transport: Transport::Opening(transport),
            peer: peer.into(),
            on_loopback: false,
        }
    }

    /// A transport that has something to do first, in which a proxy may name the client.
    #[cfg(any(feature = "rustls", feature = "native-tls", feature = "proxy-protocol"))]
    pub(crate) fn naming<F>(transport: F, peer: Peer) -> Self
    where
        F: Future<Output = Result<Ready<S>>>,
        M: Boxes<F>,
    {
        Self {
            transport: Transport::Opening(M::boxed(transport, |opened| opened)),
            peer,
            on_loopback: false,
        }
    }
}

impl<S: 'static, M: Mode> Transport<S, M> {
    /// Returns the transport once it is ready.
    pub(crate) async fn open(self) -> Result<Ready<S>> {
        match self {
            Self::Ready(transport) => Ok((transport, None)),
            Self::Opening(opening) => opening.await,
        }
    }
}

impl<S: 'static, M: Mode> fmt::Debug for Accepted<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

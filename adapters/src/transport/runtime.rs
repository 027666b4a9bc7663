//! What a runtime supplies: sockets, name resolution and timers. The shims implement it, and all other code
//! is generic over it.
//!
//! The rule: nothing here knows WebSocket, TLS or HTTP.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};

use futures_io::{AsyncRead, AsyncWrite};

use crate::driver::Timer;

/// A byte stream as the operating system has it.
pub trait Socket: AsyncRead + AsyncWrite + Debug + Unpin + Send + Sync + 'static {}

impl<S: AsyncRead + AsyncWrite + Debug + Unpin + Send + Sync + 'static> Socket for S {}

/// A TCP connection. To close it must end the stream for the peer.
pub trait Tcp: Socket {
    fn peer_addr(&self) -> io::Result<SocketAddr>;

    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Sets whether small writes leave at once.
    fn set_nodelay(&self, nodelay: bool) -> io::Result<()>;
}

/// The sockets, the resolver and the timer of a runtime.
pub trait Runtime: Clone + Debug + Unpin + Send + Sync + 'static {
    type Tcp: Tcp;

    #[cfg(unix)]
    type Unix: Socket;

    type Timer: Timer + Debug + Unpin + Send + 'static;

    /// Returns a timer that is off.
    fn timer(&self) -> Self::Timer;

    /// Returns the addresses of a host, the preferred one first.
    fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// Connects to one address, from the local one if it is given.
    fn connect(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
    ) -> impl Future<Output = io::Result<Self::Tcp>> + Send;
}

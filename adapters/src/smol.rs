//! WebSockets over the sockets of smol.
//!
//! ```no_run
//! # async fn run() -> sansock::Result<()> {
//! let mut ws = sansock::smol::connect("ws://localhost:9001/").await?;
//! ws.send("hello").await?;
//! while let Some(message) = ws.recv().await? {
//!     println!("{message:?}");
//! }
//! # Ok(())
//! # }
//! ```

use std::io;
use std::net::{IpAddr, SocketAddr};

use async_io::Timer;
use async_net::TcpStream;

use crate::runtime::{Runtime, Tcp};
use crate::tcp::DryTcp;

crate::shim::shim!(Smol);

/// The runtime: sockets of async-net, timers of async-io.
#[derive(Debug, Clone, Copy, Default)]
pub struct Smol;

impl Runtime for Smol {
    type Tcp = DryTcp;
    #[cfg(unix)]
    type Unix = async_net::unix::UnixStream;
    type Timer = Timer;

    fn timer(&self) -> Timer {
        Timer::never()
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        async_net::resolve((host, port)).await
    }

    async fn connect(&self, to: SocketAddr, from: Option<IpAddr>) -> io::Result<DryTcp> {
        let stream = crate::shim::connect(to, from).await?;
        Ok(DryTcp::new(stream.into()))
    }
}

impl Tcp for DryTcp {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.as_tcp().peer_addr()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.as_tcp().local_addr()
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.as_tcp().set_nodelay(nodelay)
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::from_tcp(DryTcp::new(stream.into()))
    }
}

#[cfg(unix)]
impl From<async_net::unix::UnixStream> for Stream {
    fn from(stream: async_net::unix::UnixStream) -> Self {
        Self::from_unix(stream)
    }
}

impl Stream {
    /// Returns the TCP connection at the bottom, for example to set options of the socket; `None` where
    /// it is a Unix socket.
    #[must_use]
    pub fn as_tcp(&self) -> Option<&std::net::TcpStream> {
        self.tcp().map(DryTcp::as_tcp)
    }
}

//! WebSockets over the sockets of smol.
//!
//! ```no_run
//! # async fn run() -> sansock::Result<()> {
//! let mut ws = sansock::smol::connect("ws://localhost:9001/").await?;
//! ws.send("hello").await?;
//! while let Some(message) = ws.recv().await? {
//!     println!("{message:?}");
//! }
//! ws.close_result()
//! # }
//! ```

use std::io;
use std::net::{IpAddr, SocketAddr};

use async_io::{Async, Timer};
use async_net::TcpStream;

use crate::transport::ReadinessTcp;
use crate::transport::runtime::{Runtime, Tcp};

crate::shims::common::shim!(Smol, smol);
crate::shims::serve::serve_shim!(
    Smol,
    smol,
    "Connections run while the server does, in the task that awaits it; to run them on other threads, \
     give [`spawn`](crate::serve::Serve::spawn) an executor, for example \
     `|connection| smol::spawn(connection).detach()`."
);

/// The runtime: sockets of async-net, timers of async-io.
#[derive(Debug, Clone, Copy, Default)]
pub struct Smol;

impl Runtime for Smol {
    type Tcp = ReadinessTcp;
    #[cfg(unix)]
    type Unix = async_net::unix::UnixStream;
    type Timer = Timer;

    fn timer(&self) -> Timer {
        Timer::never()
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        async_net::resolve((host, port)).await
    }

    async fn connect(&self, to: SocketAddr, from: Option<IpAddr>) -> io::Result<ReadinessTcp> {
        let stream = crate::shims::common::connect(to, from).await?;
        Ok(ReadinessTcp::new(stream.into()))
    }
}

impl crate::shims::serve::Serves for Smol {
    fn tcp(stream: Async<std::net::TcpStream>) -> io::Result<Stream> {
        Ok(TcpStream::from(stream).into())
    }

    #[cfg(unix)]
    fn unix(stream: Async<std::os::unix::net::UnixStream>) -> io::Result<Stream> {
        Ok(async_net::unix::UnixStream::from(stream).into())
    }

    fn executor() -> Executor {
        let executor = Arc::new(async_executor::Executor::new());
        let spawner = executor.clone();
        let spawn = move |connection| spawner.spawn(connection).detach();
        Executor::new(spawn).run_by(async move |main| executor.run(main).await)
    }
}

impl From<async_net::TcpListener> for Listen {
    fn from(listener: async_net::TcpListener) -> Self {
        Arc::<Async<std::net::TcpListener>>::from(listener).into()
    }
}

#[cfg(unix)]
impl From<async_net::unix::UnixListener> for Listen {
    fn from(listener: async_net::unix::UnixListener) -> Self {
        Arc::<Async<std::os::unix::net::UnixListener>>::from(listener).into()
    }
}

impl Tcp for ReadinessTcp {
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
        Self::from_tcp(ReadinessTcp::new(stream.into()))
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
        self.tcp().map(ReadinessTcp::as_tcp)
    }
}

//! WebSockets over the sockets of async-std.
//!
//! ```no_run
//! # async fn run() -> sansock::Result<()> {
//! let mut ws = sansock::async_std::connect("ws://localhost:9001/").await?;
//! ws.send("hello").await?;
//! while let Some(message) = ws.recv().await? {
//!     println!("{message:?}");
//! }
//! ws.close_result()
//! # }
//! ```

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_io::{Async, Timer};
use async_std::net::{TcpStream, ToSocketAddrs};
#[cfg(unix)]
use async_std::os::unix::net::UnixStream;
use futures_io::{AsyncRead, AsyncWrite};

use crate::transport::runtime::{Runtime, Tcp};
use crate::transport::{Accepted, BoxFuture, Listener};

crate::shims::common::shim!(AsyncStd, async_std);
crate::shims::serve::serve_shim!(
    AsyncStd,
    async_std,
    "Connections run on the threads of async-std."
);

/// The runtime: sockets of async-std, timers of async-io, which it runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsyncStd;

impl Runtime for AsyncStd {
    type Tcp = Closing<TcpStream>;
    #[cfg(unix)]
    type Unix = Closing<UnixStream>;
    type Timer = Timer;

    fn timer(&self) -> Timer {
        Timer::never()
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let addresses = (host, port).to_socket_addrs().await?;
        Ok(addresses.collect())
    }

    async fn connect(&self, to: SocketAddr, from: Option<IpAddr>) -> io::Result<Self::Tcp> {
        let stream = crate::shims::common::connect(to, from)
            .await?
            .into_inner()?;
        Ok(Closing(stream.into()))
    }
}

impl crate::shims::serve::Serves for AsyncStd {
    fn tcp(stream: Async<std::net::TcpStream>) -> io::Result<Stream> {
        Ok(TcpStream::from(stream.into_inner()?).into())
    }

    #[cfg(unix)]
    fn unix(stream: Async<std::os::unix::net::UnixStream>) -> io::Result<Stream> {
        Ok(UnixStream::from(stream.into_inner()?).into())
    }

    fn executor() -> Executor {
        Executor::new(|connection| drop(async_std::task::spawn(connection)))
    }
}

impl Listener<Stream> for async_std::net::TcpListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<Accepted<Stream>>> {
        Box::pin(async {
            let (stream, address) = self.accept().await?;
            let stream = stream.set_nodelay(true).map(|()| stream.into());
            Ok(Accepted::opening(std::future::ready(stream), address))
        })
    }

    fn local_address(&self) -> Option<SocketAddr> {
        self.local_addr().ok()
    }
}

impl From<async_std::net::TcpListener> for Listen {
    fn from(listener: async_std::net::TcpListener) -> Self {
        Self::on(listener)
    }
}

impl Tcp for Closing<TcpStream> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.0.set_nodelay(nodelay)
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::from_tcp(Closing(stream))
    }
}

#[cfg(unix)]
impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self::from_unix(Closing(stream))
    }
}

impl Stream {
    /// Returns the TCP connection at the bottom, for example to set options of the socket; `None` where
    /// it is a Unix socket.
    #[must_use]
    pub fn as_tcp(&self) -> Option<&TcpStream> {
        self.tcp().map(|stream| &stream.0)
    }
}

/// A socket that can be closed.
///
/// To close async-std's own does nothing, so that the peer would wait for an end that a server has to
/// bring about (RFC 6455 section 7.1.1).
#[derive(Debug)]
pub struct Closing<S>(S);

/// A socket whose write side can be shut down.
trait Shut {
    fn shut(&self) -> io::Result<()>;
}

impl Shut for TcpStream {
    fn shut(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

#[cfg(unix)]
impl Shut for UnixStream {
    fn shut(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Closing<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read_vectored(cx, bufs)
    }
}

impl<S: AsyncWrite + Shut + Unpin> AsyncWrite for Closing<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    /// Closes the write side.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.shut())
    }
}

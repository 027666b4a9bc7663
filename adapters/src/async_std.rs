//! WebSockets over the sockets of async-std.
//!
//! ```no_run
//! # async fn run() -> sansock::Result<()> {
//! let mut ws = sansock::async_std::connect("ws://localhost:9001/").await?;
//! ws.send("hello").await?;
//! while let Some(message) = ws.recv().await? {
//!     println!("{message:?}");
//! }
//! # Ok(())
//! # }
//! ```

use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_std::net::{TcpListener, TcpStream};
use futures_io::{AsyncRead, AsyncWrite};

crate::shim::tcp_shim!();
crate::shim::serve_shim!();

/// Serves WebSockets at an address, or on listeners that exist already.
///
/// Each connection is handed to the handler with its opening handshake done, and closed when the
/// handler returns. Choose which pages may connect, then await it, or [`bind`](crate::serve::Serve::bind) it to learn
/// its address and to be able to shut it down.
///
/// Connections run on the threads of async-std.
///
/// ```no_run
/// use sansock::serve::Origins;
/// use sansock::async_std::{Socket, serve};
///
/// async fn echo(mut ws: Socket) -> sansock::Result<()> {
///     while let Some(message) = ws.recv().await? {
///         ws.send(message).await?;
///     }
///     Ok(())
/// }
///
/// # async fn run() -> sansock::Result<()> {
/// serve("127.0.0.1:9001", echo).origins(Origins::SameHost).await
/// # }
/// ```
pub fn serve<H, F, R>(at: impl Into<Listen>, handler: H) -> ChooseOrigins<Stream, Timer>
where
    H: Fn(Socket) -> F + Send + Sync + 'static,
    F: Future<Output = R> + Send + 'static,
    R: Outcome,
{
    let spawn = |connection| drop(async_std::task::spawn(connection));
    Serve::new(handler, Timer::never, spawn).with(|serve| serve.listen(at))
}

/// A TCP stream that can be closed.
///
/// To close async-std's own stream does nothing, so that the peer would wait for an end that a server
/// has to bring about (RFC 6455 section 7.1.1). It dereferences to that stream.
#[derive(Debug, Clone)]
pub struct Stream(TcpStream);

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self(stream)
    }
}

impl Deref for Stream {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.0
    }
}

impl AsyncRead for Stream {
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

impl AsyncWrite for Stream {
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
        Poll::Ready(self.shutdown(Shutdown::Write))
    }
}

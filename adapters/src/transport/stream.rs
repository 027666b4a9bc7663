//! The one type of stream that a shim connects and accepts: TCP, a Unix socket, or TLS over either.
//!
//! The rule: the features that are enabled decide which layers can be inside, never what the type is.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use super::runtime::{Runtime, Tcp};
#[cfg(any(feature = "rustls", feature = "native-tls"))]
use super::tls::{ServerTls, TlsStream};
#[cfg(any(feature = "rustls", feature = "native-tls"))]
use crate::error::Result;

/// A TCP connection, a Unix socket, or TLS over either, whatever features are on.
///
/// It is made from the runtime's own streams by [`From`], and by connecting.
pub struct Stream<R: Runtime>(Layer<R>);

enum Layer<R: Runtime> {
    Tcp(R::Tcp),
    #[cfg(unix)]
    Unix(R::Unix),
    #[cfg(feature = "rustls")]
    Rustls(Box<futures_rustls::TlsStream<Stream<R>>>),
    #[cfg(feature = "native-tls")]
    NativeTls(Box<super::tls::native::TlsStream<Stream<R>>>),
    /// TLS that ends at a proxy.
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    Proxy(Box<Stream<R>>),
}

impl<R: Runtime> Stream<R> {
    pub(crate) const fn from_tcp(stream: R::Tcp) -> Self {
        Self(Layer::Tcp(stream))
    }

    #[cfg(unix)]
    pub(crate) const fn from_unix(stream: R::Unix) -> Self {
        Self(Layer::Unix(stream))
    }

    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    pub(crate) fn from_tls(stream: TlsStream<Self>) -> Self {
        Self(match stream {
            #[cfg(feature = "rustls")]
            TlsStream::Rustls(stream) => Layer::Rustls(stream),
            #[cfg(feature = "native-tls")]
            TlsStream::NativeTls(stream) => Layer::NativeTls(stream),
        })
    }

    /// Returns a stream that leads through a proxy, to which TLS was negotiated.
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    pub(crate) fn to_proxy(stream: TlsStream<Self>) -> Self {
        Self(Layer::Proxy(Box::new(Self::from_tls(stream))))
    }

    /// Returns the TCP connection at the bottom.
    pub(crate) fn tcp(&self) -> Option<&R::Tcp> {
        match &self.0 {
            Layer::Tcp(stream) => Some(stream),
            #[cfg(unix)]
            Layer::Unix(_) => None,
            #[cfg(feature = "rustls")]
            Layer::Rustls(stream) => stream.get_ref().0.tcp(),
            #[cfg(feature = "native-tls")]
            Layer::NativeTls(stream) => stream.get_ref().tcp(),
            #[cfg(any(feature = "rustls", feature = "native-tls"))]
            Layer::Proxy(stream) => stream.tcp(),
        }
    }

    /// Whether what passes is encrypted all the way to the peer. TLS to a proxy does not count.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        match &self.0 {
            Layer::Tcp(_) => false,
            #[cfg(unix)]
            Layer::Unix(_) => false,
            #[cfg(feature = "rustls")]
            Layer::Rustls(_) => true,
            #[cfg(feature = "native-tls")]
            Layer::NativeTls(_) => true,
            #[cfg(any(feature = "rustls", feature = "native-tls"))]
            Layer::Proxy(_) => false,
        }
    }

    /// Returns the address of the peer, or of the proxy in between.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] for a Unix socket; what the system says.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().ok_or_else(not_tcp)?.peer_addr()
    }

    /// Returns the address of this side.
    ///
    /// # Errors
    /// As [`peer_addr`](Self::peer_addr).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().ok_or_else(not_tcp)?.local_addr()
    }

    /// Sets whether small writes leave at once, which is right for messages. A Unix socket always does.
    pub(crate) fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.tcp().map_or(Ok(()), |tcp| tcp.set_nodelay(nodelay))
    }
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
impl ServerTls {
    /// Negotiates TLS with a client that has connected.
    ///
    /// It takes as long as the client likes: limit its time.
    ///
    /// # Errors
    /// [`Error::Tls`](crate::Error::Tls).
    ///
    /// # Cancel safety
    /// Dropping the future drops the socket.
    pub async fn accept<R: Runtime>(&self, stream: impl Into<Stream<R>>) -> Result<Stream<R>> {
        Ok(Stream::from_tls(self.negotiate(stream.into()).await?))
    }
}

fn not_tcp() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "a Unix socket has no address")
}

/// Calls a method of whatever is inside.
macro_rules! forward {
    ($stream:ident.$method:ident($($argument:expr),*)) => {
        match &mut $stream.get_mut().0 {
            Layer::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            #[cfg(unix)]
            Layer::Unix(stream) => Pin::new(stream).$method($($argument),*),
            #[cfg(feature = "rustls")]
            Layer::Rustls(stream) => Pin::new(&mut **stream).$method($($argument),*),
            #[cfg(feature = "native-tls")]
            Layer::NativeTls(stream) => Pin::new(&mut **stream).$method($($argument),*),
            #[cfg(any(feature = "rustls", feature = "native-tls"))]
            Layer::Proxy(stream) => Pin::new(&mut **stream).$method($($argument),*),
        }
    };
}

/// Takes a stream that ends without the farewell of TLS for one that ends: that nothing is missing at the
/// end, a WebSocket tells by its Close frame, over TCP as over TLS.
fn end_of_stream(read: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
    read.map(|read| match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        read => read,
    })
}

impl<R: Runtime> AsyncRead for Stream<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        end_of_stream(forward!(self.poll_read(cx, buf)))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        end_of_stream(forward!(self.poll_read_vectored(cx, bufs)))
    }
}

impl<R: Runtime> AsyncWrite for Stream<R> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        forward!(self.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self.poll_write_vectored(cx, bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self.poll_flush(cx))
    }

    /// Ends the stream for the peer.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self.poll_close(cx))
    }
}

impl<R: Runtime> fmt::Debug for Stream<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("is_tls", &self.is_tls())
            .field("peer_addr", &self.peer_addr().ok())
            .finish_non_exhaustive()
    }
}

//! The one type of stream that a client connects and a server accepts: that of the runtime, or TLS over it.
//!
//! The rule: the features that are enabled decide which layers can be inside, never what the type is.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use super::runtime::Runtime;
#[cfg(any(feature = "rustls", feature = "native-tls"))]
use super::tls::{ServerTls, TlsStream};
#[cfg(any(feature = "rustls", feature = "native-tls"))]
use crate::error::Result;

/// A stream of a [`Runtime`], or TLS over it, whatever features are on.
///
/// It is made from the runtime's own stream by [`new`](Self::new), and by connecting.
pub struct Stream<R: Runtime>(Layer<R>);

enum Layer<R: Runtime> {
    Plain(R::Stream),
    #[cfg(feature = "rustls")]
    Rustls(Box<futures_rustls::TlsStream<Stream<R>>>),
    #[cfg(feature = "native-tls")]
    NativeTls(Box<super::tls::native::TlsStream<Stream<R>>>),
    /// TLS that ends at a proxy.
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    Proxy(Box<Stream<R>>),
}

impl<R: Runtime> Stream<R> {
    /// Returns a stream without TLS.
    pub const fn new(stream: R::Stream) -> Self {
        Self(Layer::Plain(stream))
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

    /// Returns the stream at the bottom, for example to set options of the socket.
    pub fn get_ref(&self) -> &R::Stream {
        match &self.0 {
            Layer::Plain(stream) => stream,
            #[cfg(feature = "rustls")]
            Layer::Rustls(stream) => stream.get_ref().0.get_ref(),
            #[cfg(feature = "native-tls")]
            Layer::NativeTls(stream) => stream.get_ref().get_ref(),
            #[cfg(any(feature = "rustls", feature = "native-tls"))]
            Layer::Proxy(stream) => stream.get_ref(),
        }
    }

    /// Whether what passes is encrypted all the way to the peer. TLS to a proxy does not count.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        match &self.0 {
            Layer::Plain(_) => false,
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
        R::peer_address(self.get_ref())
    }

    /// Returns the address of this side.
    ///
    /// # Errors
    /// As [`peer_addr`](Self::peer_addr).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        R::local_address(self.get_ref())
    }

    /// Sets whether small writes leave at once, which is right for messages. A Unix socket always does.
    pub(crate) fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        R::set_nodelay(self.get_ref(), nodelay)
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

/// Calls a method of whatever is inside.
macro_rules! forward {
    ($stream:ident.$method:ident($($argument:expr),*)) => {
        match &mut $stream.get_mut().0 {
            Layer::Plain(stream) => Pin::new(stream).$method($($argument),*),
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

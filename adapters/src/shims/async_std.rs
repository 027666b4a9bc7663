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

use std::future::{Future, ready};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_io::{Async, Timer};
use async_std::net::{TcpStream, ToSocketAddrs};
#[cfg(unix)]
use async_std::os::unix::net::UnixStream;
use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::Config;
use sansock_core::handshake::ServerOptions;

use super::dial;
use super::listener::{AsyncListener, Connected};
use super::socket::TcpOrUnix;
use crate::error::Result;
use crate::runtime::{self, BoxFuture, Runtime, Threads};
use crate::serve::{ChooseOrigins, Listener, Outcome};
use crate::transport::{Accepted, limit_unsent};

/// The runtime: sockets of async-std, timers of async-io, which it runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsyncStd;

#[cfg(not(unix))]
type UnixStream = TcpStream;

impl Runtime for AsyncStd {
    type Mode = Threads;
    type Stream = TcpOrUnix<Closing<TcpStream>, Closing<UnixStream>>;
    type Listener = AsyncListener;
    type Timer = Timer;

    fn timer(&self) -> Timer {
        Timer::never()
    }

    fn spawn(&self, task: BoxFuture<Threads, ()>) {
        drop(async_std::task::spawn(task));
    }

    fn resolve(&self, host: &str, port: u16) -> BoxFuture<Threads, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { Ok((&*host, port).to_socket_addrs().await?.collect()) })
    }

    fn connect(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
    ) -> BoxFuture<Threads, io::Result<Self::Stream>> {
        Box::pin(async move {
            let stream = dial::connect(to, from).await?.into_inner()?;
            Ok(TcpOrUnix::Tcp(Closing(stream.into())))
        })
    }

    fn listen(&self, at: SocketAddr) -> BoxFuture<Threads, io::Result<AsyncListener>> {
        Box::pin(ready(AsyncListener::bind(at)))
    }

    fn accept(&self, listener: &AsyncListener) -> BoxFuture<Threads, io::Result<Accepted<Stream>>> {
        let listener = listener.clone();
        Box::pin(async move {
            let connected = listener.accept().await?;
            let peer = connected.peer();
            Ok(match open(connected) {
                Ok(stream) => Accepted::new(stream, peer),
                Err(error) => Accepted::opening(ready(Err(error)), peer),
            })
        })
    }

    fn listener_address(listener: &AsyncListener) -> Option<SocketAddr> {
        listener.address()
    }

    fn peer_address(stream: &Self::Stream) -> io::Result<SocketAddr> {
        stream.tcp()?.0.peer_addr()
    }

    fn local_address(stream: &Self::Stream) -> io::Result<SocketAddr> {
        stream.tcp()?.0.local_addr()
    }

    fn set_nodelay(stream: &Self::Stream, nodelay: bool) -> io::Result<()> {
        match stream {
            TcpOrUnix::Tcp(stream) => stream.0.set_nodelay(nodelay),
            TcpOrUnix::Unix(_) => Ok(()),
        }
    }

    fn listen_on(&self, listener: TcpListener) -> io::Result<AsyncListener> {
        AsyncListener::of(listener)
    }

    #[cfg(unix)]
    fn listen_unix(&self, at: &Path) -> io::Result<AsyncListener> {
        AsyncListener::bind_unix(at)
    }

    #[cfg(unix)]
    fn listen_on_unix(
        &self,
        listener: std::os::unix::net::UnixListener,
    ) -> io::Result<AsyncListener> {
        Ok(AsyncListener::of_unix(Async::new(listener)?.into()))
    }
}

fn open(connected: Connected) -> io::Result<Stream> {
    Ok(match connected {
        Connected::Tcp(stream, _) => {
            // Messages are whole when they are written: to wait for more only delays them.
            stream.get_ref().set_nodelay(true)?;
            limit_unsent(stream.get_ref());
            TcpStream::from(stream.into_inner()?).into()
        }
        #[cfg(unix)]
        Connected::Unix(stream) => UnixStream::from(stream.into_inner()?).into(),
    })
}

/// A listener of async-std.
struct SharedListener(Arc<async_std::net::TcpListener>);

impl Listener<Stream> for SharedListener {
    fn accept(&self) -> BoxFuture<Threads, io::Result<Accepted<Stream>>> {
        let listener = self.0.clone();
        Box::pin(async move {
            let (stream, address) = listener.accept().await?;
            let stream = stream.set_nodelay(true).map(|()| stream.into());
            Ok(Accepted::opening(ready(stream), address))
        })
    }

    fn local_address(&self) -> Option<SocketAddr> {
        self.0.local_addr().ok()
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::new(TcpOrUnix::Tcp(Closing(stream)))
    }
}

#[cfg(unix)]
impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self::new(TcpOrUnix::Unix(Closing(stream)))
    }
}

impl From<async_std::net::TcpListener> for Listen {
    fn from(listener: async_std::net::TcpListener) -> Self {
        Self::on(SharedListener(listener.into()))
    }
}

impl From<Arc<Async<TcpListener>>> for Listen {
    fn from(listener: Arc<Async<TcpListener>>) -> Self {
        Self::bound(AsyncStd, AsyncListener::Tcp(listener))
    }
}

#[cfg(unix)]
impl From<Arc<Async<std::os::unix::net::UnixListener>>> for Listen {
    fn from(listener: Arc<Async<std::os::unix::net::UnixListener>>) -> Self {
        Self::bound(AsyncStd, AsyncListener::of_unix(listener))
    }
}

impl Stream {
    /// Returns the TCP connection at the bottom, for example to set options of the socket; `None` where
    /// it is a Unix socket.
    #[must_use]
    pub fn as_tcp(&self) -> Option<&TcpStream> {
        self.get_ref().tcp().ok().map(|stream| &stream.0)
    }
}

// Types.

/// A TCP connection, a Unix socket, or TLS over either.
pub type Stream = crate::Stream<AsyncStd>;

/// A WebSocket over the sockets of this runtime.
pub type WebSocket = crate::WebSocket<Stream, Timer>;

/// The half that sends, of a client or a server. It has no parameters, so that a struct can hold it.
///
/// ```no_run
/// use sansock::async_std::{Receiver, Sender, Socket, connect};
///
/// struct Player {
///     name: String,
///     sender: Sender,
/// }
///
/// // A client and the handler of a server split alike.
/// async fn join(url: &str, name: String) -> sansock::Result<(Player, Receiver)> {
///     let (sender, receiver) = connect(url).await?.split();
///     Ok((Player { name, sender }, receiver))
/// }
///
/// fn welcome(socket: Socket, name: String) -> (Player, Receiver) {
///     let (sender, receiver) = socket.split();
///     (Player { name, sender }, receiver)
/// }
///
/// async fn greet(player: &Player) -> sansock::Result<()> {
///     player.sender.send(format!("hello, {}", player.name)).await
/// }
/// ```
pub type Sender = crate::Sender<Stream, Timer>;

/// The half that receives, of a client or a server; see [`Sender`].
pub type Receiver = crate::Receiver<Stream, Timer>;

/// A request to open a WebSocket that was not yet answered.
pub type Upgrade = crate::Upgrade<Stream, Timer>;

/// A connection to be opened: options, then `.await`.
pub type Connect = crate::Connect<AsyncStd>;

/// A server in the making.
pub type Serve = crate::serve::Serve<Stream, Timer>;

/// A WebSocket of a server, for its handler.
pub type Socket = crate::serve::Socket<Stream, Timer>;

/// A request for [`process_request`](crate::serve::Serve::process_request) to decide on.
pub type IncomingRequest = crate::serve::IncomingRequest<Stream, Timer>;

/// What is done about a request; made by [`IncomingRequest`].
pub type HandshakeDecision = crate::serve::HandshakeDecision<Stream, Timer>;

/// Where a server is to listen: an address, a path, or a listener that exists already.
pub type Listen = crate::serve::Listen<Stream>;

// Functions.

/// Connects to the server at a `ws://` or `wss://` URL, once the result is awaited; before that,
/// it can be given options. `http://` and `https://` mean the same.
///
/// # Errors
/// See [`Connect`].
pub fn connect(url: &str) -> Connect {
    runtime::connect(AsyncStd, url)
}

/// Opens a WebSocket as a server, over a connection that was accepted, with the default
/// configuration. Pages of other hosts are refused.
///
/// # Errors
/// [`Error::Handshake`](crate::Error::Handshake) where the client does not ask for a WebSocket
/// as it should; it has received a response.
///
/// # Cancel safety
/// Dropping the future drops the socket.
pub fn accept(stream: impl Into<Stream>) -> impl Future<Output = Result<WebSocket>> {
    runtime::accept(&AsyncStd, stream.into())
}

/// Reads the request of a client, to look at it before it is accepted or rejected.
///
/// # Errors
/// As [`accept`].
///
/// # Cancel safety
/// As [`accept`].
pub fn upgrade(
    stream: impl Into<Stream>,
    options: Arc<ServerOptions>,
    config: Config,
) -> impl Future<Output = Result<Upgrade>> {
    runtime::upgrade(&AsyncStd, stream.into(), options, config)
}

/// Serves WebSockets at an address, or on a listener that exists already.
///
/// Each connection is handed to the handler with its opening handshake done, and closed when the
/// handler returns. Choose which pages may connect, then await it; or
/// [`bind`](crate::serve::Serve::bind) it, to learn its address and to be able to shut it down.
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
    runtime::serve(AsyncStd, at, handler)
}

// Sockets.

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

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

use std::fmt;
use std::future::{Future, ready};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use async_executor::Executor;
use async_io::{Async, Timer};
use async_net::TcpStream;
#[cfg(unix)]
use async_net::unix::UnixStream;
use sansock_core::Config;
use sansock_core::handshake::ServerOptions;

use super::dial;
use super::listener::{AsyncListener, Connected};
use super::socket::TcpOrUnix;
use crate::error::Result;
use crate::runtime::{self, BoxFuture, Runtime, Threads};
use crate::serve::{ChooseOrigins, Outcome};
use crate::transport::{Accepted, ReadinessTcp, limit_unsent};

/// The runtime: sockets of async-net, timers of async-io. The connections of a server run in the task that runs the
/// server.
#[derive(Clone, Default)]
pub struct Smol {
    /// Where the connections of a server run, while it does. It allocates when it first spawns.
    executor: Arc<Executor<'static>>,
}

#[cfg(not(unix))]
type UnixStream = ReadinessTcp;

impl Runtime for Smol {
    type Mode = Threads;
    type Stream = TcpOrUnix<ReadinessTcp, UnixStream>;
    type Listener = AsyncListener;
    type Timer = Timer;

    fn timer(&self) -> Timer {
        Timer::never()
    }

    fn spawn(&self, task: BoxFuture<Threads, ()>) {
        self.executor.spawn(task).detach();
    }

    fn run(&self, server: BoxFuture<Threads, ()>) -> BoxFuture<Threads, ()> {
        let executor = self.executor.clone();
        Box::pin(async move { executor.run(server).await })
    }

    fn resolve(&self, host: &str, port: u16) -> BoxFuture<Threads, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { async_net::resolve((host, port)).await })
    }

    fn connect(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
    ) -> BoxFuture<Threads, io::Result<Self::Stream>> {
        Box::pin(async move {
            let stream = dial::connect(to, from).await?;
            Ok(TcpOrUnix::Tcp(ReadinessTcp::new(stream.into())))
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
        stream.tcp()?.as_tcp().peer_addr()
    }

    fn local_address(stream: &Self::Stream) -> io::Result<SocketAddr> {
        stream.tcp()?.as_tcp().local_addr()
    }

    fn set_nodelay(stream: &Self::Stream, nodelay: bool) -> io::Result<()> {
        match stream {
            TcpOrUnix::Tcp(stream) => stream.as_tcp().set_nodelay(nodelay),
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
            TcpStream::from(stream).into()
        }
        #[cfg(unix)]
        Connected::Unix(stream) => UnixStream::from(stream).into(),
    })
}

impl fmt::Debug for Smol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Smol")
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::new(TcpOrUnix::Tcp(ReadinessTcp::new(stream.into())))
    }
}

#[cfg(unix)]
impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self::new(TcpOrUnix::Unix(stream))
    }
}

impl From<async_net::TcpListener> for Listen {
    fn from(listener: async_net::TcpListener) -> Self {
        Arc::<Async<TcpListener>>::from(listener).into()
    }
}

impl From<Arc<Async<TcpListener>>> for Listen {
    fn from(listener: Arc<Async<TcpListener>>) -> Self {
        Self::bound(Smol::default(), AsyncListener::Tcp(listener))
    }
}

#[cfg(unix)]
impl From<Arc<Async<std::os::unix::net::UnixListener>>> for Listen {
    fn from(listener: Arc<Async<std::os::unix::net::UnixListener>>) -> Self {
        Self::bound(Smol::default(), AsyncListener::of_unix(listener))
    }
}

#[cfg(unix)]
impl From<async_net::unix::UnixListener> for Listen {
    fn from(listener: async_net::unix::UnixListener) -> Self {
        Arc::<Async<std::os::unix::net::UnixListener>>::from(listener).into()
    }
}

impl Stream {
    /// Returns the TCP connection at the bottom, for example to set options of the socket; `None` where
    /// it is a Unix socket.
    #[must_use]
    pub fn as_tcp(&self) -> Option<&std::net::TcpStream> {
        self.get_ref().tcp().ok().map(ReadinessTcp::as_tcp)
    }
}

// Types.

/// A TCP connection, a Unix socket, or TLS over either.
pub type Stream = crate::Stream<Smol>;

/// A WebSocket over the sockets of this runtime.
pub type WebSocket = crate::WebSocket<Stream, Timer>;

/// The half that sends, of a client or a server. It has no parameters, so that a struct can hold it.
///
/// ```no_run
/// use sansock::smol::{Receiver, Sender, Socket, connect};
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
pub type Connect = crate::Connect<Smol>;

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
    runtime::connect(Smol::default(), url)
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
    runtime::accept(&Smol::default(), stream.into())
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
    runtime::upgrade(&Smol::default(), stream.into(), options, config)
}

/// Serves WebSockets at an address, or on a listener that exists already.
///
/// Each connection is handed to the handler with its opening handshake done, and closed when the
/// handler returns. Choose which pages may connect, then await it; or
/// [`bind`](crate::serve::Serve::bind) it, to learn its address and to be able to shut it down.
///
/// Connections run while the server does, in the task that awaits it; to run them on other threads,
/// give [`spawn`](crate::serve::Serve::spawn) an executor, for example
/// `|connection| smol::spawn(connection).detach()`.
///
/// ```no_run
/// use sansock::serve::Origins;
/// use sansock::smol::{Socket, serve};
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
    runtime::serve(Smol::default(), at, handler)
}

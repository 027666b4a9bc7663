//! What a runtime supplies: sockets, name resolution, timers and tasks. All of the client and the server are
//! generic over it.
//!
//! The rule: nothing here knows WebSocket, TLS or HTTP.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use futures_io::{AsyncRead, AsyncWrite};

use super::listener::Accepted;
use super::mode::{BoxFuture, Mode};
use super::stream::Stream;
use crate::driver::Timer;

type AcceptedBy<R> = Accepted<Stream<R>, <R as Runtime>::Mode>;

/// The sockets, the resolver, the timer and the tasks of a runtime.
///
/// Implement it for a runtime of your own, and [`connect`](crate::runtime::connect) and
/// [`serve`](crate::runtime::serve) do for it what they do for smol: address racing, proxies, TLS, redirects,
/// reconnecting, rooms, shutdown. A value of the type is cloned into every connection: make that cheap.
/// [`runtimes`](crate::runtimes) has an adapter for tokio to copy, and a skeleton that says what each function has to
/// guarantee.
///
/// The mode says whether tasks move between threads. In the mode [`Threads`](super::Threads), the runtime must be
/// `Send + Sync`, and its streams and timers `Send`.
pub trait Runtime: Clone + Debug + Unpin + 'static {
    /// Whether tasks move between threads: [`Threads`](super::Threads) or [`Local`](super::Local).
    type Mode: Mode;

    /// A connection, of TCP or of whatever else the runtime connects and accepts. To close it must end the
    /// stream for the peer.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// A listening socket.
    type Listener: 'static;

    /// A clock and an alarm.
    type Timer: Timer + Unpin + 'static;

    /// Returns a timer that is off. All timers share a start.
    fn timer(&self) -> Self::Timer;

    /// Runs a task to its end, beside others. A task that is dropped ends its connection at once.
    fn spawn(&self, task: BoxFuture<Self::Mode, ()>);

    /// Runs the task of a server, and the tasks that were spawned if nothing else runs them. By default, it runs
    /// only that task.
    fn run(&self, server: BoxFuture<Self::Mode, ()>) -> BoxFuture<Self::Mode, ()> {
        server
    }

    /// Returns the addresses of a host, the preferred one first.
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<Self::Mode, io::Result<Vec<SocketAddr>>>;

    /// Connects to one address, from the local one if it is given. A runtime that cannot choose the local
    /// address returns [`unsupported`]. To drop the future gives up.
    fn connect(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
    ) -> BoxFuture<Self::Mode, io::Result<Self::Stream>>;

    /// Listens at an address. With port 0 the system chooses one.
    fn listen(&self, at: SocketAddr) -> BoxFuture<Self::Mode, io::Result<Self::Listener>>;

    /// Waits for the next connection of a listener, which is shared. To drop the future loses none.
    fn accept(
        &self,
        listener: &Self::Listener,
    ) -> BoxFuture<Self::Mode, io::Result<AcceptedBy<Self>>>;

    /// Returns the address of a listener, `None` if it has none.
    fn listener_address(listener: &Self::Listener) -> Option<SocketAddr>;

    /// Returns the address of the peer.
    ///
    /// # Errors
    /// What the system says; [`unsupported`] if there is none.
    fn peer_address(stream: &Self::Stream) -> io::Result<SocketAddr>;

    /// Returns the address of this side.
    ///
    /// # Errors
    /// As [`peer_address`](Self::peer_address).
    fn local_address(stream: &Self::Stream) -> io::Result<SocketAddr>;

    /// Sets whether small writes leave at once (`TCP_NODELAY`). Does nothing for a stream that always does.
    ///
    /// # Errors
    /// What the system says.
    fn set_nodelay(stream: &Self::Stream, nodelay: bool) -> io::Result<()>;

    /// Listens on a socket that is bound already, for example by systemd. By default
    /// [`unsupported`].
    ///
    /// # Errors
    /// What the system says.
    fn listen_on(&self, listener: std::net::TcpListener) -> io::Result<Self::Listener> {
        drop(listener);
        Err(unsupported("a listener of the standard library"))
    }

    /// Listens at a path, on a Unix socket. By default [`unsupported`].
    ///
    /// # Errors
    /// What the system says.
    fn listen_unix(&self, at: &Path) -> io::Result<Self::Listener> {
        let _: &Path = at;
        Err(unsupported("a Unix socket"))
    }

    /// Listens on a Unix socket that is bound already. By default [`unsupported`].
    ///
    /// # Errors
    /// What the system says.
    #[cfg(unix)]
    fn listen_on_unix(
        &self,
        listener: std::os::unix::net::UnixListener,
    ) -> io::Result<Self::Listener> {
        drop(listener);
        Err(unsupported("a Unix socket"))
    }
}

/// Returns the error of what a runtime cannot do: its kind is [`io::ErrorKind::Unsupported`].
#[must_use]
pub fn unsupported(what: &str) -> io::Error {
    let text = format!("this runtime does not support {what}");
    io::Error::new(io::ErrorKind::Unsupported, text)
}

/// Where to listen, before a runtime has bound it.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "hidden methods of public traits have it")]
pub enum Address {
    /// A host or its address, and a port.
    Host(String),
    Tcp(std::net::TcpListener),
    Path(PathBuf),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener),
}

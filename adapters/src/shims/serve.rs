//! The server side of both shims: listeners over sockets of async-io, on which both runtimes run.
//!
//! The macro [`serve_shim`] defines `serve` and its types for each runtime. Everything else about servers is
//! in [`crate::serve`].

use std::future::ready;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;

use async_io::Async;

use crate::serve::{Executor, Listen};
use crate::transport::{Accepted, BoxFuture, Listener, Runtime, Stream};

/// A runtime on which a server can be: its streams, from those of async-io, and where it runs tasks.
pub trait Serves: Runtime {
    fn tcp(stream: Async<TcpStream>) -> io::Result<Stream<Self>>;

    #[cfg(unix)]
    fn unix(stream: Async<std::os::unix::net::UnixStream>) -> io::Result<Stream<Self>>;

    fn executor() -> Executor;
}

/// Defines the server of a shim over its runtime; `$where` says where its connections run.
macro_rules! serve_shim {
    ($runtime:ident, $module:ident, $where:literal) => {
        use std::future::Future;

        use crate::serve::{ChooseOrigins, Executor, Outcome};

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

        /// Serves WebSockets at an address, or on a listener that exists already.
        ///
        /// Each connection is handed to the handler with its opening handshake done, and closed when the
        /// handler returns. Choose which pages may connect, then await it; or
        /// [`bind`](crate::serve::Serve::bind) it, to learn its address and to be able to shut it down.
        ///
        #[doc = $where]
        ///
        /// ```no_run
        /// use sansock::serve::Origins;
        #[doc = concat!("use sansock::", stringify!($module), "::{Socket, serve};")]
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
            let executor = <$runtime as crate::shims::serve::Serves>::executor();
            Serve::on(executor, || $runtime.timer(), handler).listen(at)
        }
    };
}

pub(crate) use serve_shim;

/// Binds an address: a host or its address, and a port, such as `"127.0.0.1:9001"` or `"[::]:9001"`. The
/// first that can be bound is, where a host has several. With port 0 the system chooses one.
impl<R: Serves> From<&str> for Listen<Stream<R>> {
    fn from(address: &str) -> Self {
        address.to_owned().into()
    }
}

/// As for `&str`.
impl<R: Serves> From<String> for Listen<Stream<R>> {
    fn from(address: String) -> Self {
        Self::binding(async move {
            // A name that has to be looked up may block for a while: once, when the server starts.
            bind_first(address.to_socket_addrs()?)
        })
    }
}

/// Binds an address. With port 0 the system chooses one.
impl<R: Serves> From<SocketAddr> for Listen<Stream<R>> {
    fn from(address: SocketAddr) -> Self {
        Self::binding(ready(bind_first([address])))
    }
}

/// Listens on what is bound already, for example by systemd: with the crate `listenfd`,
/// `ListenFd::from_env().take_tcp_listener(0)` gives its first socket.
impl<R: Serves> From<TcpListener> for Listen<Stream<R>> {
    fn from(listener: TcpListener) -> Self {
        Self::binding(ready(Async::new(listener).map(Arc::new)))
    }
}

impl<R: Serves> From<Arc<Async<TcpListener>>> for Listen<Stream<R>> {
    fn from(listener: Arc<Async<TcpListener>>) -> Self {
        Self::on(listener)
    }
}

fn bind_first(
    addresses: impl IntoIterator<Item = SocketAddr>,
) -> io::Result<Arc<Async<TcpListener>>> {
    let none = io::Error::new(io::ErrorKind::InvalidInput, "the host has no address");
    let mut result = Err(none);
    for address in addresses {
        result = Async::<TcpListener>::bind(address).map(Arc::new);
        if result.is_ok() {
            break;
        }
    }
    result
}

impl<R: Serves> Listener<Stream<R>> for Arc<Async<TcpListener>> {
    fn accept(&self) -> BoxFuture<'_, io::Result<Accepted<Stream<R>>>> {
        Box::pin(async {
            let (stream, address) = Async::<TcpListener>::accept(self).await?;
            Ok(Accepted::opening(ready(open_tcp(stream)), address))
        })
    }

    fn local_address(&self) -> Option<SocketAddr> {
        self.get_ref().local_addr().ok()
    }
}

fn open_tcp<R: Serves>(stream: Async<TcpStream>) -> io::Result<Stream<R>> {
    // Messages are whole when they are written: to wait for more only delays them.
    stream.get_ref().set_nodelay(true)?;
    crate::transport::limit_unsent(stream.get_ref());
    R::tcp(stream)
}

#[cfg(unix)]
mod unix {
    use std::fs;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::{Path, PathBuf};

    use super::{Accepted, Arc, Async, BoxFuture, Listen, Listener, Serves, Stream, io, ready};
    use crate::transport::Peer;

    /// Binds a Unix socket at a path, and removes it when the server stops accepting. A socket that is
    /// left there by a process that is gone is replaced.
    impl<R: Serves> From<&Path> for Listen<Stream<R>> {
        fn from(path: &Path) -> Self {
            path.to_owned().into()
        }
    }

    /// As for `&Path`.
    impl<R: Serves> From<PathBuf> for Listen<Stream<R>> {
        fn from(path: PathBuf) -> Self {
            Self::binding(async { Ok(Bound(bind(&path)?.into(), path)) })
        }
    }

    /// Listens on what is bound already, for example by systemd: with the crate `listenfd`,
    /// `ListenFd::from_env().take_unix_listener(0)` gives its first socket.
    impl<R: Serves> From<UnixListener> for Listen<Stream<R>> {
        fn from(listener: UnixListener) -> Self {
            Self::binding(ready(Async::new(listener).map(Arc::new)))
        }
    }

    impl<R: Serves> From<Arc<Async<UnixListener>>> for Listen<Stream<R>> {
        fn from(listener: Arc<Async<UnixListener>>) -> Self {
            Self::on(listener)
        }
    }

    fn bind(path: &Path) -> io::Result<Async<UnixListener>> {
        let bound = Async::<UnixListener>::bind(path);
        match &bound {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
                fs::remove_file(path)?;
                Async::<UnixListener>::bind(path)
            }
            Ok(_) | Err(_) => bound,
        }
    }

    /// Whether there is a socket on which nobody listens.
    fn is_abandoned(path: &Path) -> bool {
        let connected = UnixStream::connect(path);
        connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// A socket at a path of its own.
    struct Bound(Arc<Async<UnixListener>>, PathBuf);

    impl<R: Serves> Listener<Stream<R>> for Bound {
        fn accept(&self) -> BoxFuture<'_, io::Result<Accepted<Stream<R>>>> {
            self.0.accept()
        }
    }

    impl Drop for Bound {
        fn drop(&mut self) {
            // It may be gone already.
            let _ = fs::remove_file(&self.1);
        }
    }

    impl<R: Serves> Listener<Stream<R>> for Arc<Async<UnixListener>> {
        fn accept(&self) -> BoxFuture<'_, io::Result<Accepted<Stream<R>>>> {
            Box::pin(async {
                let (stream, _) = Async::<UnixListener>::accept(self).await?;
                Ok(Accepted::opening(ready(R::unix(stream)), Peer::Unix))
            })
        }
    }
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
mod tls {
    use super::{Accepted, BoxFuture, Listen, Listener, Serves, SocketAddr, Stream, io};
    use crate::transport::tls::ServerTls;

    impl<R: Serves> Listen<Stream<R>> {
        /// Negotiates TLS with everybody who connects there. That is part of the opening handshake, and
        /// takes nobody else's time.
        #[must_use]
        pub fn tls(at: impl Into<Self>, tls: ServerTls) -> Self {
            let listen = at.into();
            Self::binding(async {
                let inner = listen.bind().await?;
                Ok(Secure { inner, tls })
            })
        }
    }

    struct Secure<R: Serves> {
        inner: Box<dyn Listener<Stream<R>>>,
        tls: ServerTls,
    }

    impl<R: Serves> Listener<Stream<R>> for Secure<R> {
        fn accept(&self) -> BoxFuture<'_, io::Result<Accepted<Stream<R>>>> {
            Box::pin(async {
                let Accepted { transport, peer } = self.inner.accept().await?;
                let tls = self.tls.clone();
                let secured = async move { tls.accept(transport.await?).await };
                Ok(Accepted::opening(secured, peer))
            })
        }

        fn local_address(&self) -> Option<SocketAddr> {
            self.inner.local_address()
        }
    }
}

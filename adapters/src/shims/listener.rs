//! Listening sockets of both shims, on async-io.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use async_io::Async;

use crate::transport::Peer;

#[cfg(unix)]
pub(super) use unix::UnixListener;

/// A listening socket.
#[derive(Debug, Clone)]
pub enum AsyncListener {
    /// Of TCP.
    Tcp(Arc<Async<TcpListener>>),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(Arc<UnixListener>),
}

/// A connection that was accepted.
pub(super) enum Connected {
    Tcp(Async<TcpStream>, SocketAddr),
    #[cfg(unix)]
    Unix(Async<std::os::unix::net::UnixStream>),
}

impl AsyncListener {
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self::Tcp(Async::<TcpListener>::bind(address)?.into()))
    }

    pub(super) fn of(listener: TcpListener) -> io::Result<Self> {
        Ok(Self::Tcp(Async::new(listener)?.into()))
    }

    #[cfg(unix)]
    pub(super) fn bind_unix(path: &std::path::Path) -> io::Result<Self> {
        Ok(Self::Unix(UnixListener::bind(path)?.into()))
    }

    #[cfg(unix)]
    pub(super) fn of_unix(listener: Arc<Async<std::os::unix::net::UnixListener>>) -> Self {
        Self::Unix(UnixListener::of(listener).into())
    }

    pub(super) async fn accept(self) -> io::Result<Connected> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, address) = Async::<TcpListener>::accept(&listener).await?;
                Connected::Tcp(stream, address)
            }
            #[cfg(unix)]
            Self::Unix(listener) => Connected::Unix(listener.accept().await?),
        })
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => (**listener).get_ref().local_addr().ok(),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }
}

impl Connected {
    pub(super) const fn peer(&self) -> Peer {
        match self {
            Self::Tcp(_, address) => Peer::Ip(*address),
            #[cfg(unix)]
            Self::Unix(_) => Peer::Unix,
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::fs;
    use std::io;
    use std::os::unix::net::{UnixListener as StdListener, UnixStream};
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use async_io::Async;

    /// A Unix socket, with the path to be removed when it is dropped.
    #[derive(Debug)]
    #[allow(
        unreachable_pub,
        reason = "the listeners of the runtimes are public types"
    )]
    pub struct UnixListener {
        inner: Arc<Async<StdListener>>,
        bound: Option<PathBuf>,
    }

    impl UnixListener {
        /// Binds a path. A socket that is left there by a process that is gone is replaced.
        pub(in super::super) fn bind(path: &Path) -> io::Result<Self> {
            let inner = match Async::<StdListener>::bind(path) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
                    fs::remove_file(path)?;
                    Async::<StdListener>::bind(path)?
                }
                bound => bound?,
            };
            Ok(Self {
                inner: inner.into(),
                bound: Some(path.to_owned()),
            })
        }

        /// Takes one that is bound already, whose path stays.
        pub(in super::super) const fn of(inner: Arc<Async<StdListener>>) -> Self {
            Self { inner, bound: None }
        }

        pub(in super::super) async fn accept(&self) -> io::Result<Async<UnixStream>> {
            Ok(self.inner.accept().await?.0)
        }
    }

    impl Drop for UnixListener {
        fn drop(&mut self) {
            if let Some(path) = &self.bound {
                // It may be gone already.
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Whether there is a socket without a listener.
    fn is_abandoned(path: &Path) -> bool {
        let connected = UnixStream::connect(path);
        connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    }
}

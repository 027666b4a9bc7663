//! What the shims have in common: the same functions over each runtime's `TcpStream`.

/// Defines the functions of a shim, over the `TcpStream` that is in scope, and the `Stream` that is
/// made from it.
macro_rules! tcp_shim {
    () => {
        use std::sync::Arc;

        use async_io::Timer;
        use sansock_core::handshake::{ClientOptions, ServerOptions, Uri};
        use sansock_core::{ClientConnection, Config, ServerConnection};

        use crate::{Error, Result};

        /// A WebSocket over TCP.
        pub type WebSocket = crate::WebSocket<Stream, Timer>;

        /// A request to open a WebSocket over TCP that was not yet answered.
        pub type Upgrade = crate::Upgrade<Stream, Timer>;

        /// Connects to a server, with the default configuration.
        ///
        /// # Errors
        /// [`Error::Uri`] for what is not the URI of a WebSocket; [`Error::NoTls`] for `wss://`;
        /// [`Error::Io`] where the server cannot be reached; [`Error::Handshake`] where it does not
        /// answer as a WebSocket server should.
        ///
        /// # Cancel safety
        /// Dropping the future drops the socket.
        pub async fn connect(url: &str) -> Result<WebSocket> {
            connect_with(url, &ClientOptions::new(), crate::config()).await
        }

        /// Connects to a server.
        ///
        /// # Errors
        /// As [`connect`].
        ///
        /// # Cancel safety
        /// As [`connect`].
        pub async fn connect_with(
            url: &str,
            options: &ClientOptions,
            config: Config,
        ) -> Result<WebSocket> {
            let uri: Uri = url.parse()?;
            if uri.is_secure() {
                return Err(Error::NoTls);
            }
            let connection = ClientConnection::new(&uri, options, config)?;
            let stream = TcpStream::connect((uri.host(), uri.port())).await?;
            stream.set_nodelay(true)?;
            let opened = WebSocket::client(stream.into(), Timer::never(), connection).await;
            opened.map(|(socket, _response)| socket)
        }

        /// Opens a WebSocket as a server, over a connection that was accepted, with the default
        /// configuration. Pages of other hosts are refused.
        ///
        /// # Errors
        /// [`Error::Handshake`] where the client does not ask for a WebSocket as it should; it was
        /// told.
        ///
        /// # Cancel safety
        /// Dropping the future drops the socket.
        pub async fn accept(stream: TcpStream) -> Result<WebSocket> {
            let options = Arc::new(ServerOptions::new());
            upgrade(stream, options, crate::config())
                .await?
                .accept()
                .await
        }

        /// Reads the request of a client, to look at it before it is accepted or rejected.
        ///
        /// # Errors
        /// As [`accept`].
        ///
        /// # Cancel safety
        /// As [`accept`].
        pub async fn upgrade(
            stream: TcpStream,
            options: Arc<ServerOptions>,
            config: Config,
        ) -> Result<Upgrade> {
            stream.set_nodelay(true)?;
            let connection = ServerConnection::new(options, config);
            Upgrade::read(stream.into(), Timer::never(), connection).await
        }
    };
}

/// Defines the server of a shim, over the `TcpListener` and the `Stream` that are in scope.
macro_rules! serve_shim {
    () => {
        use std::future::Future;
        use std::net::SocketAddr;

        use crate::serve::{Accepted, Boxed, ChooseOrigins, Listener, Outcome};

        /// A server in the making.
        pub type Serve = crate::serve::Serve<Stream, Timer>;

        /// A WebSocket of a server, for its handler.
        pub type Socket = crate::serve::Socket<Stream, Timer>;

        /// A request for [`process_request`](crate::serve::Serve::process_request) to decide on.
        pub type Opening = crate::serve::Opening<Stream, Timer>;

        /// Where a server is to listen: an address, or a listener that exists already.
        ///
        /// An address is a host or its address, and a port: `"127.0.0.1:9001"`, `"[::]:9001"`. The first
        /// that can be bound is, where a host has several. With port 0 the system chooses one.
        pub type Listen = crate::serve::Listen<Stream>;

        impl From<&str> for Listen {
            fn from(address: &str) -> Self {
                address.to_owned().into()
            }
        }

        impl From<String> for Listen {
            fn from(address: String) -> Self {
                Self::binding(async move { Ok(Tcp(TcpListener::bind(address).await?)) })
            }
        }

        impl From<SocketAddr> for Listen {
            fn from(address: SocketAddr) -> Self {
                Self::binding(async move { Ok(Tcp(TcpListener::bind(address).await?)) })
            }
        }

        impl From<TcpListener> for Listen {
            fn from(listener: TcpListener) -> Self {
                Self::on(Tcp(listener))
            }
        }

        struct Tcp(TcpListener);

        impl Listener<Stream> for Tcp {
            fn accept(&self) -> Boxed<'_, std::io::Result<Accepted<Stream>>> {
                Box::pin(async {
                    let (stream, address) = self.0.accept().await?;
                    let stream = stream.set_nodelay(true).map(|()| stream.into());
                    Ok(Accepted::opening(std::future::ready(stream), address))
                })
            }

            fn local_address(&self) -> Option<SocketAddr> {
                self.0.local_addr().ok()
            }
        }
    };
}

pub(crate) use serve_shim;
pub(crate) use tcp_shim;

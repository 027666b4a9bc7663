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

pub(crate) use tcp_shim;

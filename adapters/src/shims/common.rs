//! The client side of both shims, and the functions for a stream that was accepted already.
//!
//! The macro [`shim`] defines them once for each runtime, over its own sockets.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};

use async_io::Async;
use socket2::{Domain, Protocol, Socket, Type};

use crate::transport::limit_unsent;

/// Defines the functions of a shim over its runtime.
macro_rules! shim {
    ($runtime:ident, $module:ident) => {
        use std::sync::{Arc, LazyLock};

        use sansock_core::handshake::ServerOptions;
        use sansock_core::{Config, ServerConnection};

        use crate::error::Result;
        use crate::websocket::Pending;

        /// A TCP connection, a Unix socket, or TLS over either.
        pub type Stream = crate::Stream<$runtime>;

        /// A WebSocket over the sockets of this runtime.
        pub type WebSocket = crate::WebSocket<Stream, Timer>;

        /// The half that sends, of a client or a server. It has no parameters, so that a struct can hold it.
        ///
        /// ```no_run
        #[doc = concat!("use sansock::", stringify!($module), "::{Receiver, Sender, Socket, connect};")]
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
        pub type Connect = crate::Connect<$runtime>;

        /// Connects to the server at a `ws://` or `wss://` URL, once the result is awaited; before that,
        /// it can be given options. `http://` and `https://` mean the same.
        ///
        /// # Errors
        /// See [`Connect`].
        pub fn connect(url: &str) -> Connect {
            Connect::new($runtime, url)
        }

        /// Opens a WebSocket as a server, over a connection that was accepted, with the default
        /// configuration. Pages of other hosts are refused.
        ///
        /// # Errors
        /// [`Error::Handshake`](crate::Error::Handshake) where the client does not ask for a WebSocket
        /// as it should; it was told.
        ///
        /// # Cancel safety
        /// Dropping the future drops the socket.
        pub fn accept(stream: impl Into<Stream>) -> impl Future<Output = Result<WebSocket>> {
            static OPTIONS: LazyLock<Arc<ServerOptions>> = LazyLock::new(Arc::default);

            let pending = pending(stream.into(), OPTIONS.clone(), crate::config());
            async { pending?.serve().await }
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
            let pending = pending(stream.into(), options, config);
            async { pending?.read().await }
        }

        /// Returns a client whose request is to be read.
        fn pending(
            stream: Stream,
            options: Arc<ServerOptions>,
            config: Config,
        ) -> Result<Box<Pending<Stream, Timer, ServerConnection>>> {
            stream.set_nodelay(true)?;
            let mut connection = ServerConnection::new(options, config);
            crate::driver::trace::peer(connection.io(), || stream.peer_addr().ok());
            Ok(Pending::new(stream, $runtime.timer(), connection))
        }
    };
}

pub(crate) use shim;

/// Connects to an address, from a local one if it is given.
pub(crate) async fn connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<Async<TcpStream>> {
    let stream = connect_from(to, from).await?;
    limit_unsent(stream.get_ref());
    Ok(stream)
}

async fn connect_from(to: SocketAddr, from: Option<IpAddr>) -> io::Result<Async<TcpStream>> {
    let Some(from) = from else {
        return Async::<TcpStream>::connect(to).await;
    };
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    // An error says that the connection is being made, in a way of each system's own, or why it is not.
    let begun = socket.connect(&to.into());
    let stream = Async::new_nonblocking(TcpStream::from(socket))?;
    stream.writable().await?;
    if let Some(error) = stream.get_ref().take_error()? {
        return Err(error);
    }
    match (stream.get_ref().peer_addr(), begun) {
        (Ok(_), _) => Ok(stream),
        (Err(_), Err(error)) | (Err(error), Ok(())) => Err(error),
    }
}

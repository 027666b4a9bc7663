//! What the tests of the driver are made of: an executor that is run by hand, transports in memory
//! that misbehave on request, and WebSockets over them, on a clock that is moved by hand.

mod executor;
mod flood;
mod flush_only;
mod frames;
mod meter;
mod pipe;
mod reactor;
mod scripted;
pub mod server;

use std::sync::Arc;

use futures_io::{AsyncRead, AsyncWrite};
use sansock::clock::{VirtualClock, VirtualTimer};
use sansock::{Config, Result, WebSocket};
use sansock_core::handshake::{ClientOptions, ServerOptions};
use sansock_core::{ClientConnection, Connection, FixedSeed, Negotiated, ServerConnection, Side};

pub use executor::{Runs, Task, both, poll_once, recreated, run, settle, settle_with, waker_fn};
pub use flood::{Flood, Source};
pub use flush_only::FlushOnly;
pub use frames::{Frame, close_frame, frame, parse_frames};
pub use meter::{Meter, Metered, MeteredTimer, Work};
pub use pipe::{End, Manner, Watch, pipe, pipe_with};
pub use reactor::{Far, Reactive, Reactor};
pub use scripted::{Call, Fault, Log, OneSlice, Scripted};

/// A WebSocket of the tests.
pub type Socket<S = End> = WebSocket<S, VirtualTimer>;

/// Returns the configuration of the tests: the default one, with masking keys that do not vary.
#[must_use]
pub fn config() -> Config {
    Config::new().entropy(FixedSeed([7; 32]))
}

/// Returns the side that talks to this one.
#[must_use]
pub const fn peer_of(side: Side) -> Side {
    match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    }
}

/// Returns a client's connection that has yet to be opened.
#[must_use]
pub fn client_connection(options: &ClientOptions) -> ClientConnection {
    client_connection_with(options, config())
}

fn client_connection_with(options: &ClientOptions, config: Config) -> ClientConnection {
    let uri = "ws://example.com/chat".parse().unwrap();
    ClientConnection::new(&uri, options, config).unwrap()
}

/// Returns a server's connection that has yet to be opened.
#[must_use]
pub fn server_connection(options: ServerOptions) -> ServerConnection {
    ServerConnection::new(Arc::new(options), config())
}

/// Opens a WebSocket as a client, with default options.
///
/// # Errors
/// As [`WebSocket::client`].
pub async fn open_client<S>(stream: S, clock: &VirtualClock) -> Result<Socket<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    open_client_with(stream, clock, config()).await
}

/// Opens a WebSocket as a client in this configuration.
///
/// # Errors
/// As [`WebSocket::client`].
pub async fn open_client_with<S>(
    stream: S,
    clock: &VirtualClock,
    config: Config,
) -> Result<Socket<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connection = client_connection_with(&ClientOptions::new(), config);
    let opened = WebSocket::client(stream, clock.timer(), connection).await;
    opened.map(|(socket, _)| socket)
}

/// Opens a WebSocket as a server, with default options.
///
/// # Errors
/// As [`WebSocket::server`].
pub async fn open_server<S>(stream: S, clock: &VirtualClock) -> Result<Socket<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    open_server_with(stream, clock, config()).await
}

/// Opens a WebSocket as a server in this configuration.
///
/// # Errors
/// As [`WebSocket::server`].
pub async fn open_server_with<S>(
    stream: S,
    clock: &VirtualClock,
    config: Config,
) -> Result<Socket<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connection = ServerConnection::new(Arc::new(ServerOptions::new()), config);
    WebSocket::server(stream, clock.timer(), connection).await
}

/// Returns a WebSocket that is open already.
#[must_use]
pub fn opened_with<S>(side: Side, stream: S, clock: &VirtualClock, config: Config) -> Socket<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connection = Connection::new(side, Negotiated::default(), config).unwrap();
    WebSocket::new(stream, clock.timer(), connection)
}

/// Returns a WebSocket that is open already, in the configuration of the tests.
#[must_use]
pub fn opened<S>(side: Side, stream: S, clock: &VirtualClock) -> Socket<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    opened_with(side, stream, clock, config())
}

/// Returns a client and a server, open already, over a pipe.
#[must_use]
pub fn opened_pair(capacity: usize, clock: &VirtualClock) -> (Socket, Socket) {
    let (client, server) = pipe(capacity);
    (
        opened(Side::Client, client, clock),
        opened(Side::Server, server, clock),
    )
}

/// Sends every message back until the connection is closed.
///
/// # Errors
/// What ended the connection otherwise.
pub async fn echo<S>(socket: &mut Socket<S>) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = socket.recv().await? {
        socket.feed(message).await?;
    }
    Ok(())
}

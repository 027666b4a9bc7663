//! A WebSocket over any transport: the type that applications hold.

mod control;
mod receive;
mod send;
mod writer;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::{Closed, Connection, Message, SendError, State, Stats};

use crate::driver::Driver;
use crate::error::{Error, Result};
use crate::timer::Timer;

pub use writer::MessageWriter;

/// A WebSocket connection over the transport `S`, with the time of `T`.
///
/// All you need to know at first is [`recv`](Self::recv) and [`send`](Self::send). Pings are answered,
/// the peer is pinged, and deadlines are kept, while any operation is awaited; nothing happens behind
/// your back, as nothing is spawned.
///
/// | family | methods |
/// |---|---|
/// | receive | [`recv`](Self::recv), [`recv_ref`](Self::recv_ref) without a copy, [`recv_frame`](Self::recv_frame), [`recv_chunk`](Self::recv_chunk) for messages larger than memory |
/// | send | [`send`](Self::send), [`send_prepared`](Self::send_prepared), [`feed`](Self::feed) and [`flush`](Self::flush), [`writer`](Self::writer) for messages in fragments |
/// | control | [`ping`](Self::ping), [`close`](Self::close), [`fail`](Self::fail) |
/// | ask | [`subprotocol`](Self::subprotocol), [`state`](Self::state), [`closed`](Self::closed), [`latency`](Self::latency), [`stats`](Self::stats) |
/// | turn into | [`split`](Self::split) halves for two tasks, [`into_byte_stream`](Self::into_byte_stream); it is a `Stream` and a `Sink` itself |
///
/// Its futures are `Send` exactly when `S` and `T` are. Dropping it drops the transport at once; for a
/// clean end call [`close`](Self::close).
pub struct WebSocket<S, T> {
    /// In a block of its own: a WebSocket is passed from function to function, and a future has room for each
    /// place where it has been.
    pub(crate) inner: Box<Inner<S, T>>,
}

pub(crate) struct Inner<S, T> {
    /// Gone once the connection is over: the transport is dropped as soon as it has no use.
    driver: Option<Driver<S, T>>,
    connection: Connection,
    early: Option<Box<Early>>,
    /// The failure of the transport, once it is gone.
    io: Option<Arc<io::Error>>,
    /// The stream of messages has given its error.
    pub(crate) fused: bool,
}

/// Messages that came while a pong was awaited.
#[derive(Debug, Default)]
struct Early {
    messages: VecDeque<Message>,
    size: usize,
    /// The one that is lent.
    lent: Option<Message>,
}

impl Early {
    /// How many bytes are kept.
    const LIMIT: usize = 1 << 20;

    fn push(&mut self, message: Message) {
        self.size += message.len();
        self.messages.push_back(message);
    }

    fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.size -= message.len();
        Some(message)
    }
}

impl<S, T> WebSocket<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Returns a WebSocket over a transport on which the opening handshake was done elsewhere, for
    /// example by an HTTP server that hands over its stream.
    ///
    /// Bytes that were read beyond the handshake are fed to the connection before:
    /// [`Connection::receive_data`].
    ///
    /// A server ends the stream first, then waits for the peer. So `poll_close` must end what the peer
    /// reads, as that of `async_net::TcpStream` does; that of `async_io::Async` only flushes.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use sansock::core::{Connection, Instant, Negotiated, Side};
    /// use sansock::{NoTimer, WebSocket};
    ///
    /// let upgraded = futures_lite::io::Cursor::new(vec![]);
    /// let mut connection = Connection::new(Side::Server, Negotiated::default(), sansock::config())?;
    /// connection.receive_data(b"bytes behind the request", Instant::START);
    /// let ws = WebSocket::new(upgraded, NoTimer, connection);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn new(stream: S, timer: T, connection: Connection) -> Self {
        Self::from_parts(Driver::new(stream, timer), connection)
    }

    /// Returns the transport, the timer and the connection, to be driven by hand; `None` once the
    /// transport was dropped.
    ///
    /// What was received and queued is in the connection, whole messages that came while a
    /// [`ping`](Self::ping) was awaited aside: [`recv`](Self::recv) those first.
    #[must_use]
    pub fn into_parts(self) -> Option<(S, T, Connection)> {
        let inner = *self.inner;
        let (stream, timer) = inner.driver?.into_parts();
        Some((stream, timer, inner.connection))
    }

    pub(crate) fn from_parts(driver: Driver<S, T>, connection: Connection) -> Self {
        Self {
            inner: Box::new(Inner {
                driver: Some(driver),
                connection,
                early: None,
                io: None,
                fused: false,
            }),
        }
    }

    fn drop_transport(&mut self) {
        self.inner.io = self.io_error().cloned();
        self.inner.driver = None;
        // What is queued never leaves: that decides how the connection was closed.
        self.inner.connection.write_failed();
    }

    fn io_error(&self) -> Option<&Arc<io::Error>> {
        let driver = self.inner.driver.as_ref();
        driver.and_then(Driver::error).or(self.inner.io.as_ref())
    }

    /// How the connection ended: well, if the closing handshake was done, whatever the transport did.
    fn outcome(&self) -> Result<()> {
        match self.inner.connection.failure() {
            Some(failure) => Err(Error::of_failure(failure, self.io_error())),
            None => Ok(()),
        }
    }

    /// The error of whoever wants to send when that is not possible any more.
    fn ended_error(&self) -> Error {
        let connection = &self.inner.connection;
        let received = || connection.received_close().cloned().map(Closed::Received);
        match (
            self.outcome(),
            connection.closed().cloned().or_else(received),
        ) {
            (Err(error), _) => error,
            (Ok(()), Some(closed)) => Error::Closed(Box::new(closed)),
            (Ok(()), None) => Error::Misuse(SendError::State(connection.state())),
        }
    }

    // Ask.

    /// Returns the subprotocol that was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.inner.connection.subprotocol()
    }

    /// Returns what the connection is doing.
    #[must_use]
    pub const fn state(&self) -> State {
        self.inner.connection.state()
    }

    /// Returns which Close frames were exchanged and whose was first, once no more can follow.
    #[must_use]
    pub fn closed(&self) -> Option<&Closed> {
        self.inner.connection.closed()
    }

    /// Returns the round trip of the last ping that was answered, those of the keepalive included.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.inner.connection.stats().latency
    }

    /// Returns the counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.connection.stats()
    }

    /// Returns the connection, for what it tells.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.inner.connection
    }

    /// Returns the transport, `None` once it was dropped.
    #[must_use]
    pub fn get_ref(&self) -> Option<&S> {
        self.inner.driver.as_ref().map(Driver::stream)
    }

    /// Returns the transport, `None` once it was dropped. To read or write it breaks the connection.
    #[must_use]
    pub fn get_mut(&mut self) -> Option<&mut S> {
        self.inner.driver.as_mut().map(Driver::stream_mut)
    }
}

impl<S, T> fmt::Debug for WebSocket<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("side", &self.inner.connection.side())
            .field("state", &self.inner.connection.state())
            .finish_non_exhaustive()
    }
}

//! The type that applications hold: a WebSocket over any transport.
//!
//! `receive.rs`, `send.rs`, `writer.rs` and `control.rs` are its methods; `upgrade.rs` opens it, `split.rs`
//! shares it between two tasks, `stream_sink.rs` and `byte_stream.rs` give it the interfaces of other crates.
//!
//! The rule: state lives in the struct, not in futures, so that every future may be dropped at any time. No
//! guarantee is decided here: every method is a command to the connection, or a goal for the driver.

mod byte_stream;
mod control;
mod receive;
mod send;
mod split;
mod stream_sink;
mod upgrade;
mod writer;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::{Closed, Connection, Message, SendError, State, Stats};

use crate::driver::{Driver, RateLimit, Timer};
use crate::error::{Error, Result};

pub use byte_stream::ByteStream;
pub use split::{Receiver, Sender};
pub(crate) use upgrade::Pending;
pub use upgrade::Upgrade;
pub use writer::MessageWriter;
pub(crate) use writer::{FragmentSink, send_frame};

/// A WebSocket connection over the transport `S`, with the time of `T`.
///
/// All you need to know at first is [`recv`](Self::recv) and [`send`](Self::send). While any operation
/// is awaited, pings are answered, the peer is pinged and deadlines are kept. Nothing is spawned. While
/// you wait for something else, [`attend`](Self::attend) keeps the connection alive.
///
/// | family | methods |
/// |---|---|
/// | receive | [`recv`](Self::recv), [`recv_ref`](Self::recv_ref) without a copy, [`recv_frame`](Self::recv_frame), [`recv_chunk`](Self::recv_chunk) for messages larger than memory, [`recv_event`](Self::recv_event) for pings and pongs as well, [`close_read`](Self::close_read) for applications that only send |
/// | send | [`send`](Self::send), [`send_with`](Self::send_with), [`send_prepared`](Self::send_prepared), [`feed`](Self::feed) and [`flush`](Self::flush), [`writer`](Self::writer) for messages in fragments |
/// | control | [`ping`](Self::ping), [`send_ping`](Self::send_ping), [`send_pong`](Self::send_pong), [`send_close`](Self::send_close), [`close`](Self::close), [`fail`](Self::fail), [`attend`](Self::attend) |
/// | ask | [`subprotocol`](Self::subprotocol), [`state`](Self::state), [`closed`](Self::closed), [`close_result`](Self::close_result), [`stats`](Self::stats) |
/// | turn into | [`split`](Self::split) halves for two tasks, [`into_byte_stream`](Self::into_byte_stream); it is a `Stream` and a `Sink` itself |
///
/// # What every operation does
///
/// - It reads, up to one unread message, so that pings are answered and a Close frame is noticed. A
///   connection that only sends is read at least every 50 ms.
/// - It looks at the deadlines, however busy the peer keeps it.
/// - It lets other tasks run after 256 messages or 256 KiB, though more is ready.
/// - It wakes the tasks that wait in other operations: a `Stream` and a `Sink` in two tasks, for
///   example through [`StreamExt::split`](https://docs.rs/futures/0.3/futures/stream/trait.StreamExt.html#method.split), work.
/// - It reports the same end as every other operation.
///
/// Its futures are `Send` exactly when `S` and `T` are. Dropping it drops the transport at once; for a
/// clean end call [`close`](Self::close).
pub struct WebSocket<S, T> {
    /// In a block that is separate: a WebSocket is passed from function to function, and a future has room for
    /// each place where it has been.
    pub(crate) inner: Box<Inner<S, T>>,
}

pub(crate) struct Inner<S, T> {
    pub(crate) driver: Driver<S, T>,
    backlog: Option<Box<Backlog>>,
    /// The stream of messages has returned its error.
    fused: bool,
}

/// Messages that came while a pong was awaited.
#[derive(Debug, Default)]
struct Backlog {
    messages: VecDeque<Message>,
    /// In bytes, with an overhead for each message.
    size: usize,
    /// The message that is borrowed.
    borrowed: Option<Message>,
}

impl Backlog {
    /// How many bytes are kept.
    const LIMIT: usize = 1 << 20;
    /// What a message takes beside its payload.
    const OVERHEAD: usize = 64;

    const fn is_full(&self) -> bool {
        self.size >= Self::LIMIT
    }

    fn push(&mut self, message: Message) {
        self.size = self
            .size
            .saturating_add(message.len().saturating_add(Self::OVERHEAD));
        self.messages.push_back(message);
    }

    fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.size = self
            .size
            .saturating_sub(message.len().saturating_add(Self::OVERHEAD));
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
    /// connection.receive_data(b"bytes that follow the request", Instant::START);
    /// let ws = WebSocket::new(upgraded, NoTimer, connection);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn new(stream: S, timer: T, connection: Connection) -> Self {
        Self::from_driver(Driver::new(stream, timer, connection))
    }

    /// Returns the transport, the timer and the connection, to be driven by hand; `None` once the
    /// transport was dropped.
    ///
    /// What was received and queued is in the connection. Whole messages that came while a
    /// [`ping`](Self::ping) was awaited are not: [`recv`](Self::recv) those first.
    #[must_use]
    pub fn into_parts(self) -> Option<(S, T, Connection)> {
        self.inner.driver.into_parts()
    }

    pub(crate) fn from_driver(driver: Driver<S, T>) -> Self {
        Self {
            inner: Box::new(Inner {
                driver,
                backlog: None,
                fused: false,
            }),
        }
    }

    /// Limits how fast the connection is read.
    pub(crate) fn limit_rate(&mut self, limit: RateLimit) {
        self.inner.driver.limit_rate(limit);
    }

    /// How the connection ended: well if the closing handshake was done, whatever the transport did.
    fn outcome(&self) -> Result<()> {
        match self.connection().failure() {
            Some(failure) => Err(Error::of_failure(failure, self.inner.driver.error())),
            None => Ok(()),
        }
    }

    /// The error of a send when nothing can be sent any more.
    fn ended_error(&self) -> Error {
        let connection = self.connection();
        let received = || connection.received_close().cloned().map(Closed::Received);
        let closed = connection.closed().cloned().or_else(received);
        match (self.outcome(), closed) {
            (Err(error), _) => error,
            (Ok(()), Some(closed)) => Error::Closed(Box::new(closed)),
            (Ok(()), None) => Error::Misuse(SendError::State(connection.state())),
        }
    }

    /// Returns `Ok` if the connection was closed normally: the Close frame that came first had the code
    /// 1000 or 1001, or none. Call it after [`recv`](Self::recv) has returned `None`, so that a client
    /// does not take the server's failure for the end of the data.
    ///
    /// # Errors
    /// [`Error::Closed`] with the code and the reason if the close was not normal. What ended the
    /// connection if that was not a closing handshake. [`Error::Misuse`] if it has not ended.
    ///
    /// ```no_run
    /// # async fn run() -> sansock::Result<()> {
    /// let mut ws = sansock::smol::connect("ws://localhost:9001/").await?;
    /// while let Some(message) = ws.recv().await? {
    ///     println!("{message:?}");
    /// }
    /// ws.close_result()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn close_result(&self) -> Result<()> {
        match (self.outcome(), self.connection().closed()) {
            (Err(error), _) => Err(error),
            (Ok(()), Some(closed)) if closed.is_normal() => Ok(()),
            (Ok(()), _) => Err(self.ended_error()),
        }
    }

    // Ask.

    /// Returns the subprotocol that was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.connection().subprotocol()
    }

    /// Returns what the connection is doing.
    #[must_use]
    pub const fn state(&self) -> State {
        self.connection().state()
    }

    /// Returns which Close frames were exchanged and whose was first, once no more can follow.
    #[must_use]
    pub fn closed(&self) -> Option<&Closed> {
        self.connection().closed()
    }

    /// Returns the round trip of the last ping that was answered, those of the keepalive included.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.connection().stats().latency
    }

    /// Returns the counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.connection().stats()
    }

    /// Returns the connection, to ask what else it knows.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.inner.driver.connection
    }

    /// Returns the transport, `None` once it was dropped.
    #[must_use]
    pub fn get_ref(&self) -> Option<&S> {
        self.inner.driver.transport()
    }

    /// Returns the transport, `None` once it was dropped. Reading or writing it breaks the connection.
    #[must_use]
    pub fn get_mut(&mut self) -> Option<&mut S> {
        self.inner.driver.transport_mut()
    }
}

impl<S, T> fmt::Debug for WebSocket<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("side", &self.inner.driver.connection.side())
            .field("state", &self.inner.driver.connection.state())
            .finish_non_exhaustive()
    }
}

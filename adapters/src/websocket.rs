//! A WebSocket over any transport: the type that applications hold.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytestring::ByteString;
use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::{
    Chunk, CloseCode, Closed, Compression, Connection, Delivery, Event, Fin, FrameRef, Kind,
    Message, MessageRef, Outgoing, Payload, PingId, Prepared, SendError, State, Stats, TextPayload,
};

use crate::driver::Driver;
use crate::error::{Error, Result};
use crate::timer::Timer;

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
        let (stream, timer) = self.driver?.into_parts();
        Some((stream, timer, self.connection))
    }

    pub(crate) fn from_parts(driver: Driver<S, T>, connection: Connection) -> Self {
        Self {
            driver: Some(driver),
            connection,
            early: None,
            io: None,
            fused: false,
        }
    }

    // Receive.

    /// Receives the next message, `None` once the connection was closed.
    ///
    /// What was queued by [`feed`](Self::feed) is written before it waits.
    ///
    /// # Errors
    /// What ended the connection other than a closing handshake; the same at every further call.
    /// [`Error::InMessage`] inside a message that is being received in parts.
    ///
    /// # Cancel safety
    /// A message is given out or kept: dropping the future loses nothing.
    pub async fn recv(&mut self) -> Result<Option<Message>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Receives the next message without a copy: it is lent until the WebSocket is used again.
    ///
    /// # Errors
    /// As [`recv`](Self::recv). Text that is not UTF-8 is reported before the Close frame that says so
    /// is written; [`close`](Self::close) writes it.
    ///
    /// # Cancel safety
    /// As [`recv`](Self::recv).
    pub async fn recv_ref(&mut self) -> Result<Option<MessageRef<'_>>> {
        if !poll_fn(|cx| self.poll_ready(cx, Delivery::Messages)).await? {
            return Ok(None);
        }
        if self.has_early() {
            return Ok(self.lend_early().map(MessageRef::from));
        }
        match self.connection.next_event() {
            Some(Event::Message(message)) => Ok(Some(message)),
            Some(Event::Failed(failure)) => Err(Error::of_failure(&failure, None)),
            _ => Ok(None),
        }
    }

    /// Receives the next data frame as the peer framed it, `None` once the connection was closed.
    ///
    /// # Errors
    /// As [`recv`](Self::recv); [`Error::InMessage`] inside a message that is received in another way.
    ///
    /// # Cancel safety
    /// As [`recv`](Self::recv).
    pub async fn recv_frame(&mut self) -> Result<Option<FrameRef<'_>>> {
        if !poll_fn(|cx| self.poll_part(cx, Delivery::Frames)).await? {
            return Ok(None);
        }
        if self.has_early() {
            return Ok(self.lend_early().map(|message| FrameRef {
                opcode: message.kind().into(),
                fin: true,
                payload: message.as_bytes().into(),
            }));
        }
        match self.connection.next_event() {
            Some(Event::Frame(frame)) => Ok(Some(frame)),
            _ => Ok(None),
        }
    }

    /// Receives what has arrived of a message, `None` once the connection was closed. A message of any
    /// size passes through a buffer of constant size; the limit of messages does not apply. One that
    /// began to arrive before the first such call comes whole, unless
    /// [`Config::delivery`](sansock_core::Config::delivery) asks for chunks from the start.
    ///
    /// # Errors
    /// As [`recv`](Self::recv); [`Error::InMessage`] inside a message that is received in another way.
    ///
    /// # Cancel safety
    /// As [`recv`](Self::recv).
    pub async fn recv_chunk(&mut self) -> Result<Option<Chunk<'_>>> {
        if !poll_fn(|cx| self.poll_part(cx, Delivery::Chunks)).await? {
            return Ok(None);
        }
        if self.has_early() {
            return Ok(self.lend_early().map(|message| Chunk {
                kind: message.kind(),
                first: true,
                last: true,
                payload: message.as_bytes(),
            }));
        }
        match self.connection.next_event() {
            Some(Event::Chunk(chunk)) => Ok(Some(chunk)),
            _ => Ok(None),
        }
    }

    /// Receives the next event of any kind, pings and pongs among them, `None` once the connection is
    /// over. What is lent is valid until the WebSocket is used again.
    ///
    /// A Close frame or a failure is the last event; [`close`](Self::close) then waits for the end.
    /// Pings and pongs that come while this side waits to send are not given out.
    ///
    /// # Cancel safety
    /// As [`recv`](Self::recv).
    pub async fn recv_event(&mut self) -> Option<Event<'_>> {
        let has_early = self.has_early();
        poll_fn(|cx| match (&mut self.driver, has_early) {
            (Some(driver), false) => driver.poll_event(cx, &mut self.connection),
            (Some(_), true) | (None, _) => Poll::Ready(()),
        })
        .await;
        match has_early {
            true => Some(Event::Message(self.lend_early()?.into())),
            false => self.connection.next_event(),
        }
    }

    /// Receives the next message; the poll form of [`recv`](Self::recv).
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>>> {
        loop {
            if !ready!(self.poll_ready(cx, Delivery::Messages))? {
                return Poll::Ready(Ok(None));
            }
            if let Some(message) = self.early.as_mut().and_then(|early| early.pop()) {
                return Poll::Ready(Ok(Some(message)));
            }
            if let Some(Event::Message(message)) = self.connection.next_event() {
                return Poll::Ready(Ok(Some(message.into_owned())));
            }
        }
    }

    /// Drives the connection until data is ready in this delivery; `false` once it was closed. Ends of
    /// the connection are dealt with here, and never left to the caller.
    pub(crate) fn poll_ready(
        &mut self,
        cx: &mut Context<'_>,
        delivery: Delivery,
    ) -> Poll<Result<bool>> {
        if self.has_early() {
            return Poll::Ready(Ok(true));
        }
        if !self.connection.set_delivery(delivery) {
            return Poll::Ready(Err(Error::InMessage));
        }
        if let Some(driver) = &mut self.driver {
            let connection = &mut self.connection;
            if ready!(driver.poll_skipping(cx, connection, Connection::is_data_ready)) {
                return Poll::Ready(Ok(true));
            }
            self.drop_transport();
        }
        // A message may have been left by a sender that has driven the connection to its end.
        match self.connection.is_data_ready() {
            true => Poll::Ready(Ok(true)),
            false => Poll::Ready(self.outcome().map(|()| false)),
        }
    }

    /// Drives the connection until data is ready in this delivery of parts. A message that had begun
    /// before, while this side was sending, comes as one part.
    pub(crate) fn poll_part(
        &mut self,
        cx: &mut Context<'_>,
        delivery: Delivery,
    ) -> Poll<Result<bool>> {
        let whole = self.connection.delivery() == Delivery::Messages;
        if self.has_early() || !whole || self.connection.set_delivery(delivery) {
            return self.poll_ready(cx, delivery);
        }
        let Some(message) = ready!(self.poll_recv(cx))? else {
            return Poll::Ready(Ok(false));
        };
        self.early.get_or_insert_default().push(message);
        Poll::Ready(Ok(true))
    }

    /// Receives in this delivery from now on, where that is possible already.
    pub(crate) fn prefer_delivery(&mut self, delivery: Delivery) {
        self.connection.set_delivery(delivery);
    }

    /// Drops the event that is ready; a message, or the part of one, only where `messages` says so.
    /// Returns whether there was one.
    pub(crate) fn skip_event(&mut self, messages: bool) -> bool {
        let kept = self.connection.is_data_ready() && !messages;
        !kept && self.connection.next_event().is_some()
    }

    fn has_early(&self) -> bool {
        let early = self.early.as_ref();
        early.is_some_and(|early| !early.messages.is_empty())
    }

    fn lend_early(&mut self) -> Option<&Message> {
        let early = self.early.as_mut()?;
        early.lent = early.pop();
        early.lent.as_ref()
    }

    // Send.

    /// Sends a message: when this returns, it is in the hands of the transport.
    ///
    /// # Errors
    /// [`Error::Closed`], or what ended the connection, once nothing can be sent; [`Error::Misuse`]
    /// inside a message that is being sent in fragments.
    ///
    /// # Cancel safety
    /// Dropped before the message is queued, it is not sent. Dropped later, it is sent whole by
    /// whatever uses the WebSocket next.
    pub async fn send<'a>(&mut self, message: impl Into<Outgoing<'a>>) -> Result<()> {
        self.feed(message).await?;
        self.flush().await
    }

    /// Sends a message, and chooses whether it is compressed where compression was agreed on: images and
    /// the like are compressed already, and secrets should not be.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub async fn send_with<'a>(
        &mut self,
        message: impl Into<Outgoing<'a>>,
        compression: Compression,
    ) -> Result<()> {
        poll_fn(|cx| self.poll_capacity(cx)).await?;
        self.queue(|connection| connection.send_with(message, compression))?;
        self.flush().await
    }

    /// Queues a message, and waits only where the queue is full. [`flush`](Self::flush) writes it, and
    /// so does [`recv`](Self::recv) before it waits: a receive loop that feeds its replies pays one
    /// system call for all that came in one.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// The message is queued whole or not at all.
    pub async fn feed<'a>(&mut self, message: impl Into<Outgoing<'a>>) -> Result<()> {
        poll_fn(|cx| self.poll_capacity(cx)).await?;
        self.queue(|connection| connection.send(message))
    }

    /// Writes everything that is queued, and flushes the transport.
    ///
    /// # Errors
    /// What ended the connection, or kept from writing.
    ///
    /// # Cancel safety
    /// What was written is not written again.
    pub async fn flush(&mut self) -> Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Sends a message that was prepared for many connections.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub async fn send_prepared(&mut self, prepared: &Prepared) -> Result<()> {
        poll_fn(|cx| self.poll_capacity(cx)).await?;
        self.queue(|connection| connection.send_prepared(prepared))?;
        self.flush().await
    }

    /// Begins a message that is sent in fragments, for example because it is larger than memory.
    pub const fn writer(&mut self, kind: Kind) -> MessageWriter<'_, S, T> {
        MessageWriter {
            socket: self,
            next: Fragment::First(kind),
        }
    }

    /// Queues a frame of a message; the first of a text.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// As [`feed`](Self::feed).
    pub async fn feed_text<'a>(
        &mut self,
        text: impl Into<TextPayload<'a>>,
        fin: Fin,
    ) -> Result<()> {
        poll_fn(|cx| self.poll_capacity(cx)).await?;
        self.queue(|connection| connection.send_text(text, fin))
    }

    /// Queues a frame of a message; the first of a text, which may be cut inside a character.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`Error::Misuse`] where the text would not be UTF-8.
    ///
    /// # Cancel safety
    /// As [`feed`](Self::feed).
    pub async fn feed_text_part<'a>(
        &mut self,
        text: impl Into<Payload<'a>>,
        fin: Fin,
    ) -> Result<()> {
        poll_fn(|cx| self.poll_capacity(cx)).await?;
        self.queue(|connection| connection.send_text_part(text, fin))
    }

    /// Queues a frame of a message; the first of a binary one.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// As [`feed`](Self::feed).
    pub async fn feed_binary<'a>(
        &mut self,
        payload: impl Into<Payload<'a>>,
        fin: Fin,
    ) -> Result<()> {
        poll_fn(|cx| self.poll_capacity(cx)).await?;
        self.queue(|connection| connection.send_binary(payload, fin))
    }

    /// Queues a further frame of a message.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`Error::Misuse`] where no message was begun.
    ///
    /// # Cancel safety
    /// As [`feed`](Self::feed).
    pub async fn feed_continuation<'a>(
        &mut self,
        payload: impl Into<Payload<'a>>,
        fin: Fin,
    ) -> Result<()> {
        poll_fn(|cx| self.poll_capacity(cx)).await?;
        self.queue(|connection| connection.send_continuation(payload, fin))
    }

    /// Waits until the queue has room for a message.
    pub(crate) fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(driver) = &mut self.driver else {
            return Poll::Ready(Err(self.ended_error()));
        };
        ready!(driver.poll_capacity(cx, &mut self.connection));
        Poll::Ready(self.write_outcome())
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(driver) = &mut self.driver else {
            // Another half may have written what there was, and closed.
            self.outcome()?;
            let flushed = self.connection.is_flushed();
            return Poll::Ready(if flushed {
                Ok(())
            } else {
                Err(self.ended_error())
            });
        };
        ready!(driver.poll_flush(cx, &mut self.connection));
        Poll::Ready(self.write_outcome())
    }

    /// Whether nothing waits to be written or flushed, or never will be.
    pub(crate) fn is_written(&self) -> bool {
        let driver = self.driver.as_ref();
        driver.is_none_or(|driver| driver.is_written(&self.connection))
    }

    /// Runs a command. Where the connection is over, says what ended it.
    pub(crate) fn queue(
        &mut self,
        command: impl FnOnce(&mut Connection) -> Result<(), SendError>,
    ) -> Result<()> {
        match command(&mut self.connection) {
            Err(SendError::State(State::Closing | State::Closed)) => Err(self.ended_error()),
            result => Ok(result?),
        }
    }

    fn write_outcome(&self) -> Result<()> {
        if let Some(failure) = self.connection.failure() {
            return Err(Error::of_failure(failure, self.io_error()));
        }
        match self.driver.as_ref() {
            Some(driver) if driver.write_failed() => Err(Error::Lost(driver.error().cloned())),
            Some(_) | None => Ok(()),
        }
    }

    // Control.

    /// Pings the peer, and returns the round trip.
    ///
    /// Messages that arrive before the pong are kept for [`recv`](Self::recv), up to 1 MiB.
    ///
    /// # Errors
    /// What ended the connection; [`Error::InMessage`] inside a message that is being received in
    /// parts; [`Error::Backlog`] where too much arrives before the pong.
    ///
    /// # Cancel safety
    /// The ping is sent, and its pong ignored.
    pub async fn ping(&mut self) -> Result<Duration> {
        if !self.connection.set_delivery(Delivery::Messages) {
            return Err(Error::InMessage);
        }
        let id = self.queue_ping()?;
        poll_fn(|cx| self.poll_pong(cx, id)).await
    }

    pub(crate) fn queue_ping(&mut self) -> Result<PingId> {
        let Some(driver) = &self.driver else {
            return Err(self.ended_error());
        };
        match self.connection.ping(driver.now()) {
            Ok(id) => Ok(id),
            Err(SendError::State(State::Closing | State::Closed)) => Err(self.ended_error()),
            Err(error) => Err(error.into()),
        }
    }

    fn poll_pong(&mut self, cx: &mut Context<'_>, id: PingId) -> Poll<Result<Duration>> {
        loop {
            if let Some(latency) = self.answered(id) {
                return Poll::Ready(Ok(latency));
            }
            let Some(driver) = &mut self.driver else {
                return Poll::Ready(Err(self.ended_error()));
            };
            let over = !ready!(
                driver.poll_skipping(cx, &mut self.connection, |connection| {
                    connection.is_ping_answered(id) || connection.is_data_ready()
                })
            );
            if over {
                self.drop_transport();
            } else if let Some(Event::Message(message)) = self.next_data() {
                let message = message.into_owned();
                self.keep_early(message)?;
            }
        }
    }

    /// Returns the message, or the part of one, that is ready.
    fn next_data(&mut self) -> Option<Event<'_>> {
        match self.connection.is_data_ready() {
            true => self.connection.next_event(),
            false => None,
        }
    }

    /// Drives the connection until a ping is answered; the pong is received by whoever receives.
    pub(crate) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        id: PingId,
    ) -> Poll<Result<Duration>> {
        if let Some(driver) = &mut self.driver {
            ready!(
                driver.poll_until(cx, &mut self.connection, |connection, _| {
                    connection.is_ping_answered(id) || connection.state() == State::Closed
                })
            );
        }
        Poll::Ready(self.answered(id).ok_or_else(|| self.ended_error()))
    }

    /// Returns the round trip of a ping that was answered.
    pub(crate) fn answered(&self, id: PingId) -> Option<Duration> {
        let answered = self.connection.is_ping_answered(id);
        answered.then(|| self.latency()).flatten()
    }

    fn keep_early(&mut self, message: Message) -> Result<()> {
        let early = self.early.get_or_insert_default();
        early.push(message);
        match early.size > Early::LIMIT {
            true => Err(Error::Backlog),
            false => Ok(()),
        }
    }

    /// Closes the connection: sends a Close frame, waits for the peer's and for the end of the stream,
    /// and drops the transport. What still arrives is dropped.
    ///
    /// All that takes no longer than the configured close timeout. Where the connection is closing or
    /// closed already, this waits for its end.
    ///
    /// # Errors
    /// [`Error::Misuse`] for a code or reason that may not be sent. What ended the connection, where
    /// that was not a closing handshake.
    ///
    /// # Cancel safety
    /// The Close frame is queued in the first poll. Called again, it goes on where it was.
    pub async fn close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<ByteString>,
    ) -> Result<()> {
        self.start_close(code.into(), reason.into())?;
        poll_fn(|cx| self.poll_end(cx)).await
    }

    /// Queues a Close frame, unless the connection is closing already.
    pub(crate) fn start_close(&mut self, code: CloseCode, reason: ByteString) -> Result<()> {
        match self.connection.send_close(code, reason) {
            Ok(()) | Err(SendError::State(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Fails the connection (RFC 6455 section 7.1.7): says so to the peer, and waits for the end of
    /// the stream as [`close`](Self::close) does. Nothing more is received.
    ///
    /// # Errors
    /// [`Error::Misuse`] for a code or reason that may not be sent.
    ///
    /// # Cancel safety
    /// As [`close`](Self::close).
    pub async fn fail(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<ByteString>,
    ) -> Result<()> {
        self.connection.fail(code, reason)?;
        // The failure that this reports is the caller's own.
        let _ = poll_fn(|cx| self.poll_end(cx)).await;
        Ok(())
    }

    /// Drives the connection to its end; what arrives is dropped.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Some(driver) = &mut self.driver {
            ready!(driver.poll_skipping(cx, &mut self.connection, |_| false));
            self.drop_transport();
        }
        Poll::Ready(self.outcome())
    }

    /// Drives the connection to its end; what arrives is left to whoever receives.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Some(driver) = &mut self.driver {
            ready!(driver.poll_until(cx, &mut self.connection, |_, _| false));
            self.drop_transport();
        }
        Poll::Ready(self.outcome())
    }

    /// Fails the connection, where it has not ended already.
    pub(crate) fn start_fail(&mut self, code: CloseCode, reason: &'static str) {
        // The code and the reason are the driver's own.
        let _ = self.connection.fail(code, reason);
    }

    /// Uses the part of a message that is ready.
    pub(crate) fn with_chunk<R>(&mut self, use_it: impl FnOnce(Kind, &[u8]) -> R) -> Option<R> {
        if self.has_early() {
            let message = self.lend_early()?;
            return Some(use_it(message.kind(), message.as_bytes()));
        }
        match self.connection.next_event() {
            Some(Event::Chunk(chunk)) => Some(use_it(chunk.kind, chunk.payload)),
            _ => None,
        }
    }

    fn drop_transport(&mut self) {
        self.io = self.io_error().cloned();
        self.driver = None;
    }

    fn io_error(&self) -> Option<&Arc<io::Error>> {
        let driver = self.driver.as_ref();
        driver.and_then(Driver::error).or(self.io.as_ref())
    }

    /// How the connection ended: well, if the closing handshake was done, whatever the transport did.
    fn outcome(&self) -> Result<()> {
        match self.connection.failure() {
            Some(failure) => Err(Error::of_failure(failure, self.io_error())),
            None => Ok(()),
        }
    }

    /// The error of whoever wants to send when that is not possible any more.
    fn ended_error(&self) -> Error {
        match (self.outcome(), self.connection.closed()) {
            (Err(error), _) => error,
            (Ok(()), Some(closed)) => Error::Closed(Box::new(closed.clone())),
            (Ok(()), None) => Error::Misuse(SendError::State(self.connection.state())),
        }
    }

    // Ask.

    /// Returns the subprotocol that was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.connection.subprotocol()
    }

    /// Returns what the connection is doing.
    #[must_use]
    pub const fn state(&self) -> State {
        self.connection.state()
    }

    /// Returns which Close frames were exchanged and whose was first, once no more can follow.
    #[must_use]
    pub fn closed(&self) -> Option<&Closed> {
        self.connection.closed()
    }

    /// Returns the round trip of the last ping that was answered, those of the keepalive included.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.connection.stats().latency
    }

    /// Returns the counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.connection.stats()
    }

    /// Returns the connection, for what it tells.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns the transport, `None` once it was dropped.
    #[must_use]
    pub fn get_ref(&self) -> Option<&S> {
        self.driver.as_ref().map(Driver::stream)
    }

    /// Returns the transport, `None` once it was dropped. To read or write it breaks the connection.
    #[must_use]
    pub fn get_mut(&mut self) -> Option<&mut S> {
        self.driver.as_mut().map(Driver::stream_mut)
    }
}

impl<S, T> fmt::Debug for WebSocket<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("side", &self.connection.side())
            .field("state", &self.connection.state())
            .finish_non_exhaustive()
    }
}

/// Sends one message in fragments; made by [`WebSocket::writer`].
///
/// Dropped before [`finish`](Self::finish), it leaves the message open: only a further
/// [`feed_continuation`](WebSocket::feed_continuation), or the end of the connection, can follow.
#[derive(Debug)]
pub struct MessageWriter<'a, S, T> {
    socket: &'a mut WebSocket<S, T>,
    next: Fragment,
}

/// Which frame comes next.
#[derive(Debug, Clone, Copy)]
enum Fragment {
    First(Kind),
    Further,
}

impl<S, T> MessageWriter<'_, S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Sends a fragment. Text may be cut inside a character.
    ///
    /// # Errors
    /// As [`WebSocket::send`], and [`Error::Misuse`] where the text would not be UTF-8.
    ///
    /// # Cancel safety
    /// As [`WebSocket::send`].
    pub async fn write<'b>(&mut self, fragment: impl Into<Payload<'b>>) -> Result<()> {
        self.feed(fragment.into(), Fin::More).await?;
        self.socket.flush().await
    }

    /// Sends the last fragment, which may be empty.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    /// As [`WebSocket::send`].
    pub async fn finish<'b>(mut self, fragment: impl Into<Payload<'b>>) -> Result<()> {
        self.feed(fragment.into(), Fin::Last).await?;
        self.socket.flush().await
    }

    async fn feed(&mut self, fragment: Payload<'_>, fin: Fin) -> Result<()> {
        poll_fn(|cx| self.socket.poll_capacity(cx)).await?;
        let next = self.next;
        self.socket.queue(|connection| match next {
            Fragment::First(Kind::Binary) => connection.send_binary(fragment, fin),
            Fragment::First(Kind::Text) => connection.send_text_part(fragment, fin),
            Fragment::Further => connection.send_continuation(fragment, fin),
        })?;
        self.next = Fragment::Further;
        Ok(())
    }
}

//! A WebSocket that a server lends to a handler.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytestring::ByteString;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::Stream;
use futures_sink::Sink;
use sansock_core::handshake::Request;
use sansock_core::{
    Chunk, CloseCode, Closed, Compression, Connection, Delivery, Event, Fin, FrameRef, Kind,
    Message, MessageRef, OpCode, Outgoing, Payload, Prepared, SendError, State, Stats,
};

use super::drain::Draining;
use super::handle::Handle;
use super::registry::Registry;
use super::slot::Slot;
use crate::driver::Timer;
use crate::error::{Error, Result};
use crate::transport::Peer;
use crate::websocket::{ByteStream, FragmentSink, MessageWriter, Receiver, Sender, WebSocket};

/// A WebSocket of a server, for its handler: the methods of a [`WebSocket`], and the request that opened
/// it.
///
/// It is closed when the handler returns: with 1000, or with 1011 after an error or a panic. Meanwhile
/// the server may close it with 1001, which looks to the handler as if the peer had. Dropping it leaves
/// it to the server to close.
///
/// # While the handler is busy
///
/// While the handler waits for something else, such as a database, the server keeps the connection
/// alive: pings are answered, keepalive runs, a Close frame is answered, and what others
/// [push](Handle::push) is sent. At most one message is read; it is left for the handler. The end of the
/// connection is reported by the next call.
///
/// There are two exceptions. After [`recv_ref`](Self::recv_ref), [`recv_frame`](Self::recv_frame),
/// [`recv_chunk`](Self::recv_chunk) or [`recv_event`](Self::recv_event) has returned data that is
/// borrowed, nothing happens until the next call. After [`into_inner`](Self::into_inner), the handler
/// has to drive the WebSocket itself.
pub struct Socket<S, T> {
    slot: Arc<Slot<S, T>>,
    /// The WebSocket, while something is borrowed from it.
    borrowed: Option<WebSocket<S, T>>,
    handle: Handle,
    request: Box<Request>,
    subprotocol: Option<Box<str>>,
    registry: Arc<Registry>,
    /// The stream of messages has returned its error.
    fused: bool,
    /// Whether the server still has to close the WebSocket.
    is_lent: bool,
}

impl<S, T> Socket<S, T> {
    /// Returns the socket of a handler.
    pub(super) fn new(
        slot: Arc<Slot<S, T>>,
        handle: Handle,
        request: Request,
        subprotocol: Option<&str>,
        registry: Arc<Registry>,
    ) -> Self {
        Self {
            slot,
            borrowed: None,
            handle,
            request: Box::new(request),
            subprotocol: subprotocol.map(Into::into),
            registry,
            fused: false,
            is_lent: true,
        }
    }

    /// Returns the request that opened the connection.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// Returns the path of the request, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.request.path()
    }

    /// Returns who is connected.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        self.handle.peer()
    }

    /// Returns the handle of the connection: for rooms, and to send to it and close it from elsewhere.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Returns the subprotocol that was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Waits until the server [drains](super::ServerHandle::drain) or shuts down. The future borrows nothing:
    /// race it against the work of the handler, and finish when it is ready.
    ///
    /// ```
    /// # use sansock::Result;
    /// # use sansock::smol::Socket;
    /// use futures_lite::future::or;
    ///
    /// async fn echo(mut ws: Socket) -> Result<()> {
    ///     let mut draining = ws.draining();
    ///     loop {
    ///         let drained = async {
    ///             (&mut draining).await;
    ///             Ok(None)
    ///         };
    ///         // Returns when the server drains, and never between a message and its answer.
    ///         let Some(message) = or(drained, ws.recv()).await? else {
    ///             return Ok(());
    ///         };
    ///         ws.send(message).await?;
    ///     }
    /// }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing; another is ready just as well.
    #[must_use = "a future does nothing unless it is awaited"]
    pub fn draining(&self) -> Draining {
        Draining::new(self.registry.clone())
    }
}

/// Polls the WebSocket for the handler.
macro_rules! poll {
    ($socket:expr, $cx:expr, $poll:expr) => {
        $socket.slot.poll(&mut $socket.borrowed, $cx, $poll)
    };
}

impl<S, T> Socket<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    // Receive.

    /// Receives the next message, `None` once the connection was closed; see [`WebSocket::recv`].
    ///
    /// # Errors
    /// As [`WebSocket::recv`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::recv`].
    pub async fn recv(&mut self) -> Result<Option<Message>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Receives the next message; the poll form of [`recv`](Self::recv).
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    #[inline]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>>> {
        poll!(self, cx, WebSocket::poll_recv)
    }

    /// Receives the next message without a copy; see [`WebSocket::recv_ref`]. The server does not drive
    /// the connection until the next call.
    ///
    /// # Errors
    /// As [`WebSocket::recv_ref`].
    ///
    /// # Cancel safety
    /// As [`recv`](Self::recv).
    pub async fn recv_ref(&mut self) -> Result<Option<MessageRef<'_>>> {
        let received = poll_fn(|cx| {
            poll!(self, cx, |socket, cx| socket
                .poll_data(cx, Delivery::Messages))
        });
        if !received.await? {
            return Ok(None);
        }
        match self.borrow() {
            Some(socket) => socket.take_message_ref(),
            None => Ok(None),
        }
    }

    /// Receives the next data frame as the peer framed it; see [`WebSocket::recv_frame`]. The server does
    /// not drive the connection until the next call.
    ///
    /// # Errors
    /// As [`WebSocket::recv_frame`].
    ///
    /// # Cancel safety
    /// As [`recv`](Self::recv).
    pub async fn recv_frame(&mut self) -> Result<Option<FrameRef<'_>>> {
        if !poll_fn(|cx| self.poll_part(cx, Delivery::Frames)).await? {
            return Ok(None);
        }
        Ok(self.borrow().and_then(WebSocket::take_frame))
    }

    /// Receives what has arrived of a message; see [`WebSocket::recv_chunk`]. The server does not drive
    /// the connection until the next call.
    ///
    /// # Errors
    /// As [`WebSocket::recv_chunk`].
    ///
    /// # Cancel safety
    /// As [`recv`](Self::recv).
    pub async fn recv_chunk(&mut self) -> Result<Option<Chunk<'_>>> {
        if !poll_fn(|cx| self.poll_part(cx, Delivery::Chunks)).await? {
            return Ok(None);
        }
        Ok(self.borrow().and_then(WebSocket::take_chunk))
    }

    fn poll_part(&mut self, cx: &mut Context<'_>, delivery: Delivery) -> Poll<Result<bool>> {
        poll!(self, cx, |socket, cx| socket.poll_part(cx, delivery))
    }

    /// Receives the next event of any kind; see [`WebSocket::recv_event`]. The server does not drive the
    /// connection until the next call.
    ///
    /// # Cancel safety
    /// As [`recv`](Self::recv).
    pub async fn recv_event(&mut self) -> Option<Event<'_>> {
        poll_fn(|cx| poll!(self, cx, WebSocket::poll_event)).await;
        self.borrow()?.take_event()
    }

    /// Takes the WebSocket out of the slot until the next call.
    fn borrow(&mut self) -> Option<&mut WebSocket<S, T>> {
        self.borrowed = self.slot.take();
        self.borrowed.as_mut()
    }

    /// Discards what the peer sends from now on; see [`WebSocket::close_read`].
    pub fn close_read(&mut self, limit: u64) {
        self.with(|socket| socket.close_read(limit));
    }

    // Send.

    /// Sends a message; see [`WebSocket::send`].
    ///
    /// # Errors
    /// As [`WebSocket::send`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::send`].
    pub async fn send<'a>(&mut self, message: impl Into<Outgoing<'a>>) -> Result<()> {
        let mut message = Some(message);
        poll_fn(|cx| {
            poll!(self, cx, |socket, cx| {
                if message.is_some() {
                    ready!(socket.poll_room(cx))?;
                }
                if let Some(message) = message.take() {
                    socket.queue(|connection| connection.send(message))?;
                }
                socket.poll_flush(cx)
            })
        })
        .await
    }

    /// Sends a message, and chooses whether it is compressed; see [`WebSocket::send_with`].
    ///
    /// # Errors
    /// As [`WebSocket::send_with`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::send`].
    pub async fn send_with<'a>(
        &mut self,
        message: impl Into<Outgoing<'a>>,
        compression: Compression,
    ) -> Result<()> {
        let mut message = Some(message);
        self.queue(|connection| match message.take() {
            Some(message) => connection.send_with(message, compression),
            None => Ok(()),
        })
        .await?;
        self.flush().await
    }

    /// Sends a message that was prepared for many connections.
    ///
    /// # Errors
    /// As [`WebSocket::send`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::send`].
    pub async fn send_prepared(&mut self, prepared: &Prepared) -> Result<()> {
        self.queue(|connection| connection.send_prepared(prepared))
            .await?;
        self.flush().await
    }

    /// Queues a message; see [`WebSocket::feed`].
    ///
    /// # Errors
    /// As [`WebSocket::feed`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::feed`].
    pub async fn feed<'a>(&mut self, message: impl Into<Outgoing<'a>>) -> Result<()> {
        let mut message = Some(message);
        self.queue(|connection| match message.take() {
            Some(message) => connection.send(message),
            None => Ok(()),
        })
        .await
    }

    /// Queues a data frame; see [`WebSocket::feed_frame`].
    ///
    /// # Errors
    /// As [`WebSocket::feed_frame`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::feed`].
    pub async fn feed_frame<'a>(
        &mut self,
        opcode: OpCode,
        payload: impl Into<Payload<'a>>,
        fin: Fin,
    ) -> Result<()> {
        let payload = payload.into();
        self.queue(|connection| {
            crate::websocket::send_frame(connection, opcode, payload.clone(), fin)
        })
        .await
    }

    /// Queues data once there is room.
    async fn queue(
        &mut self,
        mut command: impl FnMut(&mut Connection) -> Result<(), SendError>,
    ) -> Result<()> {
        poll_fn(|cx| {
            poll!(self, cx, |socket, cx| {
                ready!(socket.poll_room(cx))?;
                Poll::Ready(socket.queue(&mut command))
            })
        })
        .await
    }

    /// Writes everything that is queued, and flushes the transport.
    ///
    /// # Errors
    /// As [`WebSocket::flush`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::flush`].
    pub async fn flush(&mut self) -> Result<()> {
        poll_fn(|cx| poll!(self, cx, WebSocket::poll_flush)).await
    }

    /// Starts a message that is sent in fragments; see [`WebSocket::writer`].
    pub const fn writer(&mut self, kind: Kind) -> MessageWriter<&mut Self> {
        MessageWriter::new(self, kind)
    }

    // Control.

    /// Pings the peer, and returns the round trip; see [`WebSocket::ping`].
    ///
    /// # Errors
    /// As [`WebSocket::ping`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::ping`].
    pub async fn ping(&mut self) -> Result<Duration> {
        let mut ping = None;
        poll_fn(|cx| poll!(self, cx, |socket, cx| socket.poll_ping(cx, &mut ping))).await
    }

    /// Sends a ping with a payload; see [`WebSocket::send_ping`].
    ///
    /// # Errors
    /// As [`WebSocket::send_ping`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::send`].
    pub async fn send_ping(&mut self, payload: &[u8]) -> Result<()> {
        self.queue(|connection| connection.send_ping(payload))
            .await?;
        self.flush().await
    }

    /// Sends a pong that answers no ping; see [`WebSocket::send_pong`].
    ///
    /// # Errors
    /// As [`WebSocket::send_pong`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::send`].
    pub async fn send_pong(&mut self, payload: &[u8]) -> Result<()> {
        self.queue(|connection| connection.send_pong(payload))
            .await?;
        self.flush().await
    }

    /// Sends a Close frame and returns; see [`WebSocket::send_close`].
    ///
    /// # Errors
    /// As [`WebSocket::send_close`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::send_close`].
    pub async fn send_close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<ByteString>,
    ) -> Result<()> {
        let mut frame = Some((code.into(), reason.into()));
        poll_fn(|cx| {
            poll!(self, cx, |socket, cx| {
                if let Some((code, reason)) = frame.take() {
                    socket.start_close(code, reason)?;
                }
                socket.poll_write_once(cx).map(Ok)
            })
        })
        .await
    }

    /// Closes the connection; see [`WebSocket::close`].
    ///
    /// # Errors
    /// As [`WebSocket::close`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::close`].
    pub async fn close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<ByteString>,
    ) -> Result<()> {
        let mut frame = Some((code.into(), reason.into()));
        poll_fn(|cx| {
            poll!(self, cx, |socket, cx| {
                if let Some((code, reason)) = frame.take() {
                    socket.start_close(code, reason)?;
                }
                socket.poll_discarding(cx)
            })
        })
        .await
    }

    /// Fails the connection; see [`WebSocket::fail`].
    ///
    /// # Errors
    /// As [`WebSocket::fail`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::fail`].
    pub async fn fail(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<ByteString>,
    ) -> Result<()> {
        let mut frame = Some((code.into(), reason.into()));
        poll_fn(|cx| {
            poll!(self, cx, |socket, cx| {
                if let Some((code, reason)) = frame.take() {
                    socket.start_fail(code, reason)?;
                }
                // The failure that this reports is the caller's.
                socket.poll_discarding(cx).map(|_| Ok(()))
            })
        })
        .await
    }

    // Ask.

    /// Uses the WebSocket for a moment, for example to ask for what this type has no method for. `None`
    /// if the WebSocket is not here, which does not happen in a handler.
    pub fn with<R>(&mut self, use_it: impl FnOnce(&mut WebSocket<S, T>) -> R) -> Option<R> {
        match &mut self.borrowed {
            Some(socket) => Some(use_it(socket)),
            None => self.slot.with(use_it),
        }
    }

    fn ask<R>(&self, ask: impl FnOnce(&WebSocket<S, T>) -> R) -> Option<R> {
        match &self.borrowed {
            Some(socket) => Some(ask(socket)),
            None => self.slot.with(|socket| ask(socket)),
        }
    }

    /// Returns what the connection is doing.
    #[must_use]
    pub fn state(&self) -> State {
        self.ask(WebSocket::state).unwrap_or(State::Closed)
    }

    /// Returns which Close frames were exchanged and whose was first, once no more can follow.
    #[must_use]
    pub fn closed(&self) -> Option<Closed> {
        self.ask(|socket| socket.closed().cloned()).flatten()
    }

    /// Returns `Ok` if the connection was closed normally; see [`WebSocket::close_result`].
    ///
    /// # Errors
    /// As [`WebSocket::close_result`].
    pub fn close_result(&self) -> Result<()> {
        self.ask(WebSocket::close_result).unwrap_or(Ok(()))
    }

    /// Returns the round trip of the last ping that was answered, those of the keepalive included.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.stats().latency
    }

    /// Returns the counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.ask(WebSocket::stats).unwrap_or_default()
    }

    // Turn into.

    /// Splits into halves for two tasks, as [`WebSocket::split`] does. The connection is closed when the
    /// handler returns, whether or not halves are left.
    #[must_use]
    pub fn split(mut self) -> (Sender<S, T>, Receiver<S, T>) {
        let (sender, receiver) = self.take().split();
        self.slot.set_half(sender.clone());
        (sender, receiver)
    }

    /// Turns the WebSocket into a stream of bytes; see [`WebSocket::into_byte_stream`]. The handler drives
    /// and closes it, as after [`into_inner`](Self::into_inner).
    #[must_use]
    pub fn into_byte_stream(self) -> ByteStream<S, T> {
        self.into_inner().into_byte_stream()
    }

    /// Returns the WebSocket itself. From now on the server does not drive it while the handler is busy,
    /// and does not close it when it is dropped. On shutdown the server closes it.
    #[must_use]
    pub fn into_inner(mut self) -> WebSocket<S, T> {
        self.take()
    }

    #[expect(
        clippy::expect_used,
        reason = "taken by methods that consume the socket"
    )]
    fn take(&mut self) -> WebSocket<S, T> {
        self.is_lent = false;
        let socket = self.borrowed.take().or_else(|| self.slot.take());
        socket.expect("the WebSocket is here")
    }
}

impl<S, T> FragmentSink for &mut Socket<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    fn poll_fragment(
        &mut self,
        cx: &mut Context<'_>,
        command: &mut dyn FnMut(&mut Connection) -> Result<(), SendError>,
    ) -> Poll<Result<()>> {
        poll!(self, cx, |socket, cx| {
            ready!(socket.poll_room(cx))?;
            Poll::Ready(socket.queue(command))
        })
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        poll!(self, cx, WebSocket::poll_flush)
    }
}

/// The messages, then the error if there was one, then `None`.
impl<S, T> Stream for Socket<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    type Item = Result<Message>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let socket = self.get_mut();
        if socket.fused {
            return Poll::Ready(None);
        }
        let received = ready!(socket.poll_recv(cx));
        socket.fused = received.is_err();
        Poll::Ready(received.transpose())
    }
}

/// Ready if the queue has room; closes with 1000.
impl<S, T> Sink<Message> for Socket<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let socket = self.get_mut();
        poll!(socket, cx, WebSocket::poll_room)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<()> {
        let sent = self
            .get_mut()
            .with(|socket| socket.queue(|connection| connection.send(message)));
        sent.unwrap_or(Ok(()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let socket = self.get_mut();
        poll!(socket, cx, WebSocket::poll_flush)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let socket = self.get_mut();
        poll!(socket, cx, |socket, cx| {
            socket.start_close(CloseCode::NORMAL, ByteString::new())?;
            socket.poll_end(cx)
        })
    }
}

impl<S, T> Drop for Socket<S, T> {
    fn drop(&mut self) {
        if self.is_lent {
            self.slot.give_back(self.borrowed.take());
        }
    }
}

impl<S, T> fmt::Debug for Socket<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("peer", self.peer())
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

//! Sending: whole messages, and the room that they need.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::{
    Compression, Connection, Fin, Kind, OpCode, Outgoing, Payload, Prepared, SendError, State,
};

use super::{MessageWriter, WebSocket, send_frame};
use crate::driver::{Role, Timer};
use crate::error::{Error, Result};

impl<S, T> WebSocket<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Sends a message: when this returns, the transport has taken it.
    ///
    /// It also reads, answers pings, keeps deadlines and lets other tasks run, as
    /// [every operation](#what-every-operation-does) does.
    ///
    /// # Errors
    /// [`Error::Closed`], or what ended the connection, once nothing can be sent; [`Error::NotSent`] if
    /// the transport fails and messages that were not received are in the way of the reason;
    /// [`Error::Misuse`] inside a message that is being sent in fragments.
    ///
    /// # Cancel safety
    /// Dropped before the message is queued, it is not sent. Dropped later, it is sent whole by
    /// the operation that uses the WebSocket next.
    pub async fn send<'a>(&mut self, message: impl Into<Outgoing<'a>>) -> Result<()> {
        // What `capacity` and `flush` do, written out: two futures inside this one cost a sixth of a small message.
        if !self.inner.driver.has_capacity() {
            poll_fn(|cx| self.poll_capacity(cx)).await?;
        }
        self.queue(|connection| connection.send(message))?;
        match poll_fn(|cx| self.poll_written(cx)).await {
            true => Ok(()),
            false => self.write_outcome(),
        }
    }

    /// Sends a message, and chooses whether it is compressed if compression was agreed on: images and
    /// the like are compressed already, and secrets should not be.
    ///
    /// It also reads, answers pings, keeps deadlines and lets other tasks run, as
    /// [every operation](#what-every-operation-does) does.
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
        self.capacity().await?;
        self.queue(|connection| connection.send_with(message, compression))?;
        self.flush().await
    }

    /// Queues a message, and waits only while the queue is full. [`flush`](Self::flush) writes it, and
    /// so does [`recv`](Self::recv) before it waits: a receive loop that feeds its replies makes one
    /// system call for all that came in one.
    ///
    /// It does no I/O while the queue has room; waiting for room, it does what [every operation](#what-every-operation-does)
    /// does.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// The message is queued whole or not at all.
    pub async fn feed<'a>(&mut self, message: impl Into<Outgoing<'a>>) -> Result<()> {
        // Written out, as in `send`. D3: nothing else would end a chain of messages that are queued.
        let driver = &mut self.inner.driver;
        if !driver.has_capacity() || !driver.budget.spend_message() {
            poll_fn(|cx| self.poll_capacity(cx)).await?;
        }
        self.queue(|connection| connection.send(message))
    }

    /// Writes everything that is queued, and flushes the transport.
    ///
    /// It also reads, answers pings, keeps deadlines and lets other tasks run, as
    /// [every operation](#what-every-operation-does) does.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// What was written is not written again.
    pub async fn flush(&mut self) -> Result<()> {
        match poll_fn(|cx| self.poll_written(cx)).await {
            true => Ok(()),
            false => self.write_outcome(),
        }
    }

    /// Sends a message that was prepared for many connections.
    ///
    /// It also reads, answers pings, keeps deadlines and lets other tasks run, as
    /// [every operation](#what-every-operation-does) does.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub async fn send_prepared(&mut self, prepared: &Prepared) -> Result<()> {
        self.capacity().await?;
        self.queue(|connection| connection.send_prepared(prepared))?;
        self.flush().await
    }

    /// Starts a message that is sent in fragments, for example because it is larger than memory.
    ///
    /// ```no_run
    /// # async fn run() -> sansock::Result<()> {
    /// use sansock::Kind;
    ///
    /// let mut ws = sansock::smol::connect("ws://localhost:9001/").await?;
    /// let mut writer = ws.writer(Kind::Text);
    /// writer.write("in two ").await?;
    /// writer.finish("fragments").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub const fn writer(&mut self, kind: Kind) -> MessageWriter<&mut Self> {
        MessageWriter::new(self, kind)
    }

    /// Queues a data frame, for an application that passes on frames as it has received them:
    /// the first of a message, or a continuation. Text may be cut inside a character.
    ///
    /// It does no I/O while the queue has room; waiting for room, it does what [every operation](#what-every-operation-does)
    /// does.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`Error::Misuse`] if the frame does not continue what was sent before, or
    /// if the text would not be UTF-8.
    ///
    /// # Cancel safety
    /// As [`feed`](Self::feed).
    pub async fn feed_frame<'a>(
        &mut self,
        opcode: OpCode,
        payload: impl Into<Payload<'a>>,
        fin: Fin,
    ) -> Result<()> {
        self.capacity().await?;
        self.queue(|connection| send_frame(connection, opcode, payload.into(), fin))
    }

    /// Waits until the queue has room for a message.
    #[inline]
    pub(super) async fn capacity(&mut self) -> Result<()> {
        match self.inner.driver.has_capacity() {
            true => Ok(()),
            false => poll_fn(|cx| self.poll_capacity(cx)).await,
        }
    }

    /// Waits until the queue has room for a message.
    #[inline]
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.inner.driver.has_capacity() {
            true => Poll::Ready(Ok(())),
            false => self.poll_capacity(cx),
        }
    }

    fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.inner.driver.poll_room(cx, Role::Send));
        Poll::Ready(match self.inner.driver.transport() {
            Some(_) => self.write_outcome(),
            None => Err(self.ended_error()),
        })
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(match ready!(self.poll_written(cx)) {
            true => Ok(()),
            false => self.write_outcome(),
        })
    }

    /// Writes what is queued. Returns whether all was written; if not, [`write_outcome`](Self::write_outcome)
    /// returns why.
    #[inline(always)]
    pub(crate) fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        ready!(self.inner.driver.poll_flush(cx, Role::Send));
        Poll::Ready(self.can_write())
    }

    /// Whether neither the transport nor the connection has failed.
    #[inline]
    fn can_write(&self) -> bool {
        self.inner.driver.can_write() && self.connection().failure().is_none()
    }

    /// Whether the transport has failed to write: nothing that is queued will leave.
    pub(crate) const fn write_failed(&self) -> bool {
        self.inner.driver.write_failed()
    }

    /// Whether nothing waits to be written or flushed, or never will be.
    pub(crate) fn is_written(&self) -> bool {
        self.inner.driver.is_written()
    }

    /// Runs a command. If the connection is over, returns what ended it.
    #[inline]
    pub(crate) fn queue(
        &mut self,
        command: impl FnOnce(&mut Connection) -> Result<(), SendError>,
    ) -> Result<()> {
        match command(&mut self.inner.driver.connection) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.refused(error)),
        }
    }

    /// D5: that the connection is over comes before what else is wrong with a command.
    #[cold]
    #[inline(never)]
    fn refused(&self, error: SendError) -> Error {
        match self.state() {
            State::Closing | State::Closed => self.ended_error(),
            State::Connecting | State::Open => error.into(),
        }
    }

    /// How writing has ended, after everything was offered to the transport.
    #[cold]
    pub(crate) fn write_outcome(&self) -> Result<()> {
        self.outcome()?;
        let driver = &self.inner.driver;
        match (driver.transport(), driver.error()) {
            // D5: what was received is in the way of how the connection ended.
            (Some(_), Some(error)) if driver.write_failed() => Err(Error::NotSent(error.clone())),
            (Some(_), _) => Ok(()),
            // Another half may have written what there was, and closed.
            (None, _) if !driver.write_failed() && self.connection().is_flushed() => Ok(()),
            (None, _) => Err(self.ended_error()),
        }
    }
}

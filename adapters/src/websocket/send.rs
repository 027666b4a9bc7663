//! Sending: whole messages, and frames.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::{
    Compression, Connection, Fin, Kind, Outgoing, Payload, Prepared, SendError, State, TextPayload,
};

use super::{MessageWriter, WebSocket};
use crate::driver::{Driver, Timer};
use crate::error::{Error, Result};

impl<S, T> WebSocket<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
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
        // What `capacity` and `flush` do, written out: two futures inside this one cost a sixth of a small message.
        if !self.has_capacity() {
            poll_fn(|cx| self.poll_capacity(cx)).await?;
        }
        self.queue(|connection| connection.send(message))?;
        match poll_fn(|cx| self.poll_written(cx)).await {
            true => Ok(()),
            false => self.written(),
        }
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
        self.capacity().await?;
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
        // Written out, as in `send`.
        if !self.has_capacity() {
            poll_fn(|cx| self.poll_capacity(cx)).await?;
        }
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
        match poll_fn(|cx| self.poll_written(cx)).await {
            true => Ok(()),
            false => self.written(),
        }
    }

    /// Sends a message that was prepared for many connections.
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

    /// Begins a message that is sent in fragments, for example because it is larger than memory.
    pub const fn writer(&mut self, kind: Kind) -> MessageWriter<'_, S, T> {
        MessageWriter::new(self, kind)
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
        self.capacity().await?;
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
        self.capacity().await?;
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
        self.capacity().await?;
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
        self.capacity().await?;
        self.queue(|connection| connection.send_continuation(payload, fin))
    }

    /// Waits until the queue has room for a message.
    #[inline]
    pub(super) async fn capacity(&mut self) -> Result<()> {
        match self.has_capacity() {
            true => Ok(()),
            false => poll_fn(|cx| self.poll_capacity(cx)).await,
        }
    }

    /// Whether a message can be queued at once, and nothing is known to keep it from being sent.
    #[inline]
    fn has_capacity(&self) -> bool {
        self.inner.connection.has_capacity() && self.can_write()
    }

    pub(crate) fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(driver) = &mut self.inner.driver else {
            return Poll::Ready(Err(self.ended_error()));
        };
        ready!(driver.poll_capacity(cx, &mut self.inner.connection));
        Poll::Ready(self.write_outcome())
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match ready!(self.poll_written(cx)) {
            true => Poll::Ready(Ok(())),
            false => Poll::Ready(self.written()),
        }
    }

    /// Writes what is queued. Returns whether nothing has kept from it; else [`written`](Self::written) tells.
    #[inline]
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let inner = &mut *self.inner;
        if let Some(driver) = &mut inner.driver {
            ready!(driver.poll_flush(cx, &mut inner.connection));
        }
        Poll::Ready(self.can_write())
    }

    /// Whether there is a transport, and neither it nor the connection has failed.
    #[inline]
    fn can_write(&self) -> bool {
        let inner = &*self.inner;
        let driver = inner.driver.as_ref();
        inner.connection.failure().is_none() && driver.is_some_and(|driver| !driver.write_failed())
    }

    /// Whether the transport has failed to write: nothing that is queued will leave.
    pub(crate) fn write_failed(&self) -> bool {
        let driver = self.inner.driver.as_ref();
        driver.is_some_and(Driver::write_failed)
    }

    /// Says how writing has ended, after everything was offered to the transport.
    #[cold]
    fn written(&self) -> Result<()> {
        if self.inner.driver.is_some() {
            return self.write_outcome();
        }
        // Another half may have written what there was, and closed.
        self.outcome()?;
        match self.inner.connection.is_flushed() {
            true => Ok(()),
            false => Err(self.ended_error()),
        }
    }

    /// Whether nothing waits to be written or flushed, or never will be.
    pub(crate) fn is_written(&self) -> bool {
        let driver = self.inner.driver.as_ref();
        driver.is_none_or(|driver| driver.is_written(&self.inner.connection))
    }

    /// Runs a command. Where the connection is over, says what ended it.
    #[inline]
    pub(crate) fn queue(
        &mut self,
        command: impl FnOnce(&mut Connection) -> Result<(), SendError>,
    ) -> Result<()> {
        match command(&mut self.inner.connection) {
            Err(SendError::State(State::Closing | State::Closed)) => Err(self.ended_error()),
            result => Ok(result?),
        }
    }

    fn write_outcome(&self) -> Result<()> {
        if let Some(failure) = self.inner.connection.failure() {
            return Err(Error::of_failure(failure, self.io_error()));
        }
        match self.inner.driver.as_ref() {
            Some(driver) if driver.write_failed() => Err(Error::Lost(driver.error().cloned())),
            Some(_) | None => Ok(()),
        }
    }
}

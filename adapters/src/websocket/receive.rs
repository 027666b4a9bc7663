//! Receiving: messages, lent or owned, and their parts.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::{Chunk, Connection, Delivery, Event, FrameRef, Kind, Message, MessageRef};

use super::WebSocket;
use crate::driver::Timer;
use crate::error::{Error, Result};

/// What waiting for data has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Data,
    /// The connection is over.
    End,
    /// A message is being received in another delivery.
    InMessage,
}

impl<S, T> WebSocket<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
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
        if self.is_at_hand(Delivery::Messages) {
            if let Ok(Some(message)) = self.inner.connection.next_message() {
                return Ok(Some(message.into_owned()));
            }
        }
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
        if !self.is_at_hand(Delivery::Messages) {
            match poll_fn(|cx| self.poll_next(cx, Delivery::Messages)).await {
                Next::Data => {}
                Next::End => return self.outcome().map(|()| None),
                Next::InMessage => return Err(Error::InMessage),
            }
        }
        if self.has_backlog() {
            return Ok(self.lend_backlog().map(MessageRef::from));
        }
        let message = self.inner.connection.next_message();
        message.map_err(|failure| Error::of_failure(&failure, None))
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
        if self.has_backlog() {
            return Ok(self.lend_backlog().map(|message| FrameRef {
                opcode: message.kind().into(),
                fin: true,
                payload: message.as_bytes().into(),
            }));
        }
        match self.inner.connection.next_event() {
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
        if self.has_backlog() {
            return Ok(self.lend_backlog().map(|message| Chunk {
                kind: message.kind(),
                first: true,
                last: true,
                payload: message.as_bytes(),
            }));
        }
        match self.inner.connection.next_event() {
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
        let has_backlog = self.has_backlog();
        poll_fn(|cx| match (&mut self.inner.driver, has_backlog) {
            (Some(driver), false) => driver.poll_event(cx, &mut self.inner.connection),
            (Some(_), true) | (None, _) => Poll::Ready(()),
        })
        .await;
        match has_backlog {
            true => Some(Event::Message(self.lend_backlog()?.into())),
            false => self.inner.connection.next_event(),
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
            if let Some(message) = self
                .inner
                .backlog
                .as_mut()
                .and_then(|backlog| backlog.pop())
            {
                return Poll::Ready(Ok(Some(message)));
            }
            if let Ok(Some(message)) = self.inner.connection.next_message() {
                return Poll::Ready(Ok(Some(message.into_owned())));
            }
        }
    }

    /// Drives the connection until data is ready in this delivery; `false` once it was closed. Ends of
    /// the connection are dealt with here, and never left to the caller.
    #[inline]
    pub(crate) fn poll_ready(
        &mut self,
        cx: &mut Context<'_>,
        delivery: Delivery,
    ) -> Poll<Result<bool>> {
        if self.is_at_hand(delivery) {
            return Poll::Ready(Ok(true));
        }
        Poll::Ready(match ready!(self.poll_next(cx, delivery)) {
            Next::Data => Ok(true),
            Next::End => self.outcome().map(|()| false),
            Next::InMessage => Err(Error::InMessage),
        })
    }

    /// Whether data has arrived in this delivery, and nothing must be done before it is given out.
    #[inline(always)]
    fn is_at_hand(&mut self, delivery: Delivery) -> bool {
        let inner = &mut *self.inner;
        inner.backlog.is_none()
            && inner.connection.delivery() == delivery
            && inner.connection.parse_next()
            && inner.connection.is_data_ready()
    }

    /// Drives the connection, after [`is_at_hand`](Self::is_at_hand) has said that nothing is.
    fn poll_next(&mut self, cx: &mut Context<'_>, delivery: Delivery) -> Poll<Next> {
        let is_parsed =
            self.inner.backlog.is_none() && self.inner.connection.delivery() == delivery;
        match &mut self.inner.driver {
            Some(driver) if is_parsed && !self.inner.connection.is_event_at_hand() => {
                ready!(driver.poll_unready(cx, &mut self.inner.connection));
            }
            Some(_) | None => {}
        }
        match is_parsed && self.inner.connection.is_data_ready() {
            true => Poll::Ready(Next::Data),
            false => self.poll_on(cx, delivery),
        }
    }

    /// Drives the connection past pings and pongs, to data or to its end.
    fn poll_on(&mut self, cx: &mut Context<'_>, delivery: Delivery) -> Poll<Next> {
        if self.has_backlog() {
            return Poll::Ready(Next::Data);
        }
        self.inner.backlog = None;
        if !self.inner.connection.set_delivery(delivery) {
            return Poll::Ready(Next::InMessage);
        }
        if let Some(driver) = &mut self.inner.driver {
            let connection = &mut self.inner.connection;
            if ready!(driver.poll_skipping(cx, connection, Connection::is_data_ready)) {
                return Poll::Ready(Next::Data);
            }
            self.drop_transport();
        }
        // A message may have been left by a sender that has driven the connection to its end.
        Poll::Ready(match self.inner.connection.is_data_ready() {
            true => Next::Data,
            false => Next::End,
        })
    }

    /// Drives the connection until data is ready in this delivery of parts. A message that had begun
    /// before, while this side was sending, comes as one part.
    pub(crate) fn poll_part(
        &mut self,
        cx: &mut Context<'_>,
        delivery: Delivery,
    ) -> Poll<Result<bool>> {
        let whole = self.inner.connection.delivery() == Delivery::Messages;
        if self.has_backlog() || !whole || self.inner.connection.set_delivery(delivery) {
            return self.poll_ready(cx, delivery);
        }
        let Some(message) = ready!(self.poll_recv(cx))? else {
            return Poll::Ready(Ok(false));
        };
        self.inner.backlog.get_or_insert_default().push(message);
        Poll::Ready(Ok(true))
    }

    /// Receives in this delivery from now on, where that is possible already.
    pub(crate) fn prefer_delivery(&mut self, delivery: Delivery) {
        self.inner.connection.set_delivery(delivery);
    }

    /// Drops the event that is ready; a message, or the part of one, only where `messages` says so.
    /// Returns whether there was one.
    pub(crate) fn skip_event(&mut self, messages: bool) -> bool {
        // What is ready has to be known first: what was read last may not have been parsed.
        let ready = self.inner.connection.parse_next();
        let kept = self.inner.connection.is_data_ready() && !messages;
        ready && !kept && self.inner.connection.next_event().is_some()
    }

    #[inline]
    fn has_backlog(&self) -> bool {
        let backlog = self.inner.backlog.as_ref();
        backlog.is_some_and(|backlog| !backlog.messages.is_empty())
    }

    fn lend_backlog(&mut self) -> Option<&Message> {
        let backlog = self.inner.backlog.as_mut()?;
        backlog.lent = backlog.pop();
        backlog.lent.as_ref()
    }

    /// Uses the part of a message that is ready.
    pub(crate) fn with_chunk<R>(&mut self, use_it: impl FnOnce(Kind, &[u8]) -> R) -> Option<R> {
        if self.has_backlog() {
            let message = self.lend_backlog()?;
            return Some(use_it(message.kind(), message.as_bytes()));
        }
        match self.inner.connection.next_event() {
            Some(Event::Chunk(chunk)) => Some(use_it(chunk.kind, chunk.payload)),
            _ => None,
        }
    }
}

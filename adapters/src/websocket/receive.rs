//! Receiving: messages, borrowed or owned, their parts, and events of any kind.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::{Chunk, Delivery, Event, FrameRef, Kind, Message, MessageRef, Ready};

use super::WebSocket;
use crate::driver::{ControlEvent, Goal, Role, Timer};
use crate::error::{Error, Result};

impl<S, T> WebSocket<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Receives the next message, `None` once the connection was closed.
    ///
    /// `None` says only that the peer or this side closed, with whatever code;
    /// [`close_result`](Self::close_result) tells a normal close from others.
    ///
    /// What was queued by [`feed`](Self::feed) is written before it waits.
    ///
    /// While it waits, it answers pings, keeps deadlines and lets other tasks run, as
    /// [every operation](#what-every-operation-does) does.
    ///
    /// # Errors
    /// What ended the connection other than a closing handshake; the same at every further call.
    /// [`Error::InMessage`] inside a message that is being received in parts.
    ///
    /// # Cancel safety
    /// A message is returned or kept: dropping the future loses nothing.
    pub async fn recv(&mut self) -> Result<Option<Message>> {
        if self.has_data(Delivery::Messages) {
            if let Ok(Some(message)) = self.inner.driver.connection.io().next_message() {
                return Ok(Some(message.into_owned()));
            }
        }
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Receives the next message without a copy: it is borrowed until the WebSocket is used again.
    ///
    /// While it waits, it answers pings, keeps deadlines and lets other tasks run, as
    /// [every operation](#what-every-operation-does) does.
    ///
    /// # Errors
    /// As [`recv`](Self::recv). Text that is not UTF-8 is reported before the Close frame for it is
    /// written; [`close`](Self::close) writes it.
    ///
    /// # Cancel safety
    /// As [`recv`](Self::recv).
    pub async fn recv_ref(&mut self) -> Result<Option<MessageRef<'_>>> {
        let mut is_kept = false;
        if !self.has_data(Delivery::Messages) {
            if !poll_fn(|cx| self.poll_more_data(cx, Delivery::Messages)).await? {
                return Ok(None);
            }
            is_kept = self.has_backlog() || self.inner.driver.transport().is_none();
        }
        match is_kept {
            true => self.take_message_ref(),
            false => self.borrow_message(),
        }
    }

    #[inline(always)]
    fn borrow_message(&mut self) -> Result<Option<MessageRef<'_>>> {
        let message = self.inner.driver.connection.io().next_message();
        message.map_err(Error::Protocol)
    }

    /// Borrows the message that is ready.
    #[inline]
    pub(crate) fn take_message_ref(&mut self) -> Result<Option<MessageRef<'_>>> {
        if self.inner.driver.transport().is_none() && !self.has_backlog() {
            self.keep_unread()?;
        }
        if self.has_backlog() {
            return Ok(self.borrow_from_backlog().map(MessageRef::from));
        }
        self.borrow_message()
    }

    /// D5: keeps the next message of a connection that is over. Text that is not UTF-8 does not change how it ended.
    #[cold]
    fn keep_unread(&mut self) -> Result<()> {
        while self.inner.driver.connection.parse_next() && self.inner.driver.is_data_ready() {
            if let Ok(Some(message)) = self.inner.driver.connection.io().next_message() {
                let message = message.into_owned();
                self.inner.backlog.get_or_insert_default().push(message);
                return Ok(());
            }
        }
        self.end_of_data()
    }

    /// Receives the next data frame as the peer framed it, `None` once the connection was closed.
    ///
    /// While it waits, it answers pings, keeps deadlines and lets other tasks run, as
    /// [every operation](#what-every-operation-does) does.
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
        Ok(self.take_frame())
    }

    /// Borrows the frame that is ready.
    pub(crate) fn take_frame(&mut self) -> Option<FrameRef<'_>> {
        if self.has_backlog() {
            return self.borrow_from_backlog().map(|message| FrameRef {
                opcode: message.kind().into(),
                fin: true,
                payload: message.as_bytes().into(),
            });
        }
        match self.inner.driver.connection.next_event() {
            Some(Event::Frame(frame)) => Some(frame),
            _ => None,
        }
    }

    /// Receives what has arrived of a message, `None` once the connection was closed. A message of any
    /// size passes through a buffer of constant size; the limit of messages does not apply. One that
    /// began to arrive before the first such call comes whole, unless
    /// [`Config::delivery`](sansock_core::Config::delivery) asks for chunks from the start.
    ///
    /// While it waits, it answers pings, keeps deadlines and lets other tasks run, as
    /// [every operation](#what-every-operation-does) does.
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
        Ok(self.take_chunk())
    }

    /// Borrows the part of a message that is ready.
    pub(crate) fn take_chunk(&mut self) -> Option<Chunk<'_>> {
        if self.has_backlog() {
            return self.borrow_from_backlog().map(|message| Chunk {
                kind: message.kind(),
                first: true,
                last: true,
                payload: message.as_bytes(),
            });
        }
        match self.inner.driver.connection.next_event() {
            Some(Event::Chunk(chunk)) => Some(chunk),
            _ => None,
        }
    }

    /// Receives the next event of any kind, pings and pongs among them, `None` once the connection is
    /// over. What is borrowed is valid until the WebSocket is used again.
    ///
    /// A Close frame or a failure is the last event; [`close`](Self::close) then waits for the end.
    ///
    /// From the first call on, pings and pongs that arrive while another operation is awaited are kept
    /// for the next call: the latest 32 of them.
    ///
    /// While it waits, it answers pings, keeps deadlines and lets other tasks run, as
    /// [every operation](#what-every-operation-does) does.
    ///
    /// # Cancel safety
    /// As [`recv`](Self::recv).
    pub async fn recv_event(&mut self) -> Option<Event<'_>> {
        poll_fn(|cx| self.poll_event(cx)).await;
        self.take_event()
    }

    /// Drives the connection until an event is ready, or it is over.
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let driver = &mut self.inner.driver;
        driver.unclaimed.observe();
        let is_kept = driver.unclaimed.has_observed() || self.has_backlog();
        let driver = &mut self.inner.driver;
        match driver.budget.spend_message() && is_kept {
            true => Poll::Ready(()),
            false => driver.drive_until(cx, Role::Receive, Goal::Event),
        }
    }

    /// Borrows the event that is ready.
    pub(crate) fn take_event(&mut self) -> Option<Event<'_>> {
        if self.has_backlog() {
            return Some(Event::Message(self.borrow_from_backlog()?.into()));
        }
        let driver = &mut self.inner.driver;
        match driver.unclaimed.has_observed() {
            true => driver.unclaimed.next_observed().map(ControlEvent::as_event),
            false => driver.connection.next_event(),
        }
    }

    /// Receives the next message; the poll form of [`recv`](Self::recv).
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>>> {
        loop {
            if !ready!(self.poll_data(cx, Delivery::Messages))? {
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
            // Text that is not UTF-8 fails the connection, whose end is awaited by the next turn.
            if let Ok(Some(message)) = self.inner.driver.connection.io().next_message() {
                return Poll::Ready(Ok(Some(message.into_owned())));
            }
        }
    }

    /// Drives the connection until data is ready in this delivery; `false` once it was closed.
    #[inline]
    pub(crate) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
        delivery: Delivery,
    ) -> Poll<Result<bool>> {
        match self.has_data(delivery) {
            true => Poll::Ready(Ok(true)),
            false => self.poll_more_data(cx, delivery),
        }
    }

    /// Whether data has arrived in this delivery, and may be returned at once.
    #[inline(always)]
    fn has_data(&mut self, delivery: Delivery) -> bool {
        let inner = &mut *self.inner;
        let may_return = inner.driver.may_return_data();
        let connection = &mut inner.driver.connection;
        inner.backlog.is_none()
            && may_return
            && connection.delivery() == delivery
            && connection.parse_next()
            && connection.io().ready() == Some(Ready::Data)
            && inner.driver.budget.spend_message()
    }

    /// As [`poll_data`](Self::poll_data), after [`has_data`](Self::has_data) has returned `false`.
    #[inline(never)]
    pub(crate) fn poll_more_data(
        &mut self,
        cx: &mut Context<'_>,
        delivery: Delivery,
    ) -> Poll<Result<bool>> {
        let inner = &mut *self.inner;
        if inner.backlog.is_some() || inner.driver.connection.delivery() != delivery {
            if let Some(ready) = self.prepare(cx, delivery) {
                return ready;
            }
            // What has arrived was not parsed in this delivery yet.
            if self.has_data(delivery) {
                return Poll::Ready(Ok(true));
            }
        }
        let inner = &mut *self.inner;
        ready!(inner.driver.poll_data(cx));
        // A message may be left by an operation that has driven the connection to its end.
        Poll::Ready(match inner.driver.is_data_ready() {
            true => Ok(true),
            false => self.end_of_data().map(|()| false),
        })
    }

    /// Returns what was kept while a pong was awaited; if there is nothing, changes the delivery.
    #[cold]
    fn prepare(&mut self, cx: &mut Context<'_>, delivery: Delivery) -> Option<Poll<Result<bool>>> {
        let has_backlog = self.has_backlog();
        let inner = &mut *self.inner;
        if has_backlog {
            return Some(match inner.driver.budget.spend_message() {
                true => Poll::Ready(Ok(true)),
                false => inner.driver.yield_now(cx),
            });
        }
        inner.backlog = None;
        // What is discarded is not received in any delivery: there is only the end to wait for.
        match inner.driver.connection.set_delivery(delivery) || inner.driver.is_discarding() {
            true => None,
            false => Some(Poll::Ready(Err(Error::InMessage))),
        }
    }

    /// How the messages have ended: well if the connection was closed and none was discarded.
    fn end_of_data(&self) -> Result<()> {
        self.outcome()?;
        match self.inner.driver.unclaimed.unread() {
            0 => Ok(()),
            messages => Err(Error::Discarded { messages }),
        }
    }

    /// Drives the connection until data is ready in this delivery of parts. A message that began in another
    /// one, while this side was sending, comes as one part.
    pub(crate) fn poll_part(
        &mut self,
        cx: &mut Context<'_>,
        delivery: Delivery,
    ) -> Poll<Result<bool>> {
        let connection = &mut self.inner.driver.connection;
        if connection.set_delivery(delivery)
            || !connection.set_delivery(Delivery::Messages)
            || self.has_backlog()
        {
            return self.poll_data(cx, delivery);
        }
        let Some(message) = ready!(self.poll_recv(cx))? else {
            return Poll::Ready(Ok(false));
        };
        self.inner.backlog.get_or_insert_default().push(message);
        Poll::Ready(Ok(true))
    }

    /// Receives in this delivery from now on, if that is possible already.
    pub(crate) fn prefer_delivery(&mut self, delivery: Delivery) {
        self.inner.driver.connection.set_delivery(delivery);
    }

    /// Discards what the peer sends from now on, for an application that only sends: pings are answered and
    /// a Close frame is noticed whatever comes before them. Once more than `limit` bytes of messages
    /// have arrived, the connection fails with 1008 (policy violation).
    ///
    /// Control frames that follow a message that was not received cannot be seen. So an application
    /// that never receives should call this once, or [`recv`](Self::recv) from time to time.
    ///
    /// ```no_run
    /// # async fn run() -> sansock::Result<()> {
    /// let mut ws = sansock::smol::connect("ws://localhost:9001/").await?;
    /// ws.close_read(0);
    /// for number in 0_u32.. {
    ///     ws.send(number.to_string()).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn close_read(&mut self, limit: u64) {
        self.inner.backlog = None;
        self.inner.driver.discard(limit);
        self.inner.driver.resume_reading();
    }

    #[inline]
    fn has_backlog(&self) -> bool {
        let backlog = self.inner.backlog.as_ref();
        backlog.is_some_and(|backlog| !backlog.messages.is_empty())
    }

    fn borrow_from_backlog(&mut self) -> Option<&Message> {
        let backlog = self.inner.backlog.as_mut()?;
        backlog.borrowed = backlog.pop();
        backlog.borrowed.as_ref()
    }

    /// Uses the part of a message that is ready.
    pub(crate) fn with_chunk<R>(&mut self, use_it: impl FnOnce(Kind, &[u8]) -> R) -> Option<R> {
        let chunk = self.take_chunk()?;
        Some(use_it(chunk.kind, chunk.payload))
    }
}

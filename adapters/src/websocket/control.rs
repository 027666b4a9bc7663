//! Control: pings, the end of the connection, and keeping it alive meanwhile.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytestring::ByteString;
use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::{CloseCode, Delivery, Event, PingId, SendError, State};

use super::WebSocket;
use crate::driver::{Goal, Role, Timer};
use crate::error::{Error, Result};

impl<S, T> WebSocket<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Pings the peer, and returns the round trip.
    ///
    /// Messages that arrive before the pong are kept for [`recv`](Self::recv), up to 1 MiB, each with an
    /// overhead of 64 bytes.
    ///
    /// While it waits, it answers pings, keeps deadlines and lets other tasks run, as
    /// [every operation](#what-every-operation-does) does.
    ///
    /// # Errors
    /// What ended the connection; [`Error::InMessage`] inside a message that is being received in
    /// parts; [`Error::Backlog`] if too much arrives before the pong: the messages are kept, and no
    /// more are read until some of them are received.
    ///
    /// # Cancel safety
    /// Dropped before the ping is queued, it is not sent. Dropped later, it is sent, and its pong ignored.
    pub async fn ping(&mut self) -> Result<Duration> {
        let mut ping = None;
        poll_fn(|cx| self.poll_ping(cx, &mut ping)).await
    }

    /// Pings the peer as soon as the queue has room, and waits for the pong.
    pub(crate) fn poll_ping(
        &mut self,
        cx: &mut Context<'_>,
        ping: &mut Option<PingId>,
    ) -> Poll<Result<Duration>> {
        let ping = match *ping {
            Some(ping) => {
                self.inner.driver.begin_poll();
                ping
            }
            None if !self
                .inner
                .driver
                .connection
                .set_delivery(Delivery::Messages) =>
            {
                return Poll::Ready(Err(Error::InMessage));
            }
            None => {
                ready!(self.poll_room(cx))?;
                *ping.insert(self.queue_ping()?)
            }
        };
        self.poll_pong(cx, ping)
    }

    pub(crate) fn queue_ping(&mut self) -> Result<PingId> {
        self.inner.driver.begin_poll();
        let now = self.inner.driver.current_time();
        match self.inner.driver.connection.ping(now) {
            Ok(ping) => Ok(ping),
            Err(SendError::State(State::Closing | State::Closed)) => Err(self.ended_error()),
            Err(error) => Err(error.into()),
        }
    }

    fn poll_pong(&mut self, cx: &mut Context<'_>, ping: PingId) -> Poll<Result<Duration>> {
        loop {
            let driver = &mut self.inner.driver;
            ready!(driver.continue_until(cx, Role::Send, Goal::PongOrData(ping)));
            if let Some(latency) = self.latency_of(ping) {
                return Poll::Ready(Ok(latency));
            }
            if !self.inner.driver.is_data_ready() {
                return Poll::Ready(Err(self.ended_error()));
            }
            self.keep_message()?;
        }
    }

    /// Moves the message that is ready to the backlog, if there is room.
    fn keep_message(&mut self) -> Result<()> {
        let inner = &mut *self.inner;
        let backlog = inner.backlog.get_or_insert_default();
        if backlog.is_full() {
            return Err(Error::Backlog);
        }
        // D3: messages that are kept spend from the budget as those that are received.
        inner.driver.budget.spend_message();
        if let Some(Event::Message(message)) = inner.driver.connection.next_event() {
            backlog.push(message.into_owned());
        }
        Ok(())
    }

    /// Drives the connection until a ping is answered, in a poll that has begun. Messages are left to another
    /// task.
    pub(crate) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        ping: PingId,
    ) -> Poll<Result<Duration>> {
        ready!(
            self.inner
                .driver
                .continue_until(cx, Role::Send, Goal::Pong(ping))
        );
        Poll::Ready(self.latency_of(ping).ok_or_else(|| self.ended_error()))
    }

    /// Returns the round trip of a ping that was answered.
    fn latency_of(&self, ping: PingId) -> Option<Duration> {
        let is_answered = self.connection().is_ping_answered(ping);
        is_answered.then(|| self.latency()).flatten()
    }

    /// Sends a ping with a payload of up to 125 bytes. Its pong is reported by
    /// [`recv_event`](Self::recv_event) only; to measure a round trip use [`ping`](Self::ping).
    ///
    /// It also reads, answers pings, keeps deadlines and lets other tasks run, as
    /// [every operation](#what-every-operation-does) does.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`Error::Misuse`] for a longer payload.
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub async fn send_ping(&mut self, payload: &[u8]) -> Result<()> {
        self.capacity().await?;
        self.queue(|connection| connection.send_ping(payload))?;
        self.flush().await
    }

    /// Sends a pong that answers no ping, with a payload of up to 125 bytes (RFC 6455 section 5.5.3).
    /// Pings are answered without it.
    ///
    /// It also reads, answers pings, keeps deadlines and lets other tasks run, as
    /// [every operation](#what-every-operation-does) does.
    ///
    /// # Errors
    /// As [`send_ping`](Self::send_ping).
    ///
    /// # Cancel safety
    /// As [`send`](Self::send).
    pub async fn send_pong(&mut self, payload: &[u8]) -> Result<()> {
        self.capacity().await?;
        self.queue(|connection| connection.send_pong(payload))?;
        self.flush().await
    }

    /// Closes the connection: sends a Close frame, waits for the peer's and for the end of the stream,
    /// and drops the transport. Messages that still arrive are dropped; to receive them, call
    /// [`send_close`](Self::send_close) and go on receiving.
    ///
    /// This takes no longer than the configured close timeout. If the connection is closing or closed
    /// already, this waits for its end.
    ///
    /// While it waits, it answers pings, keeps deadlines and lets other tasks run, as
    /// [every operation](#what-every-operation-does) does.
    ///
    /// # Errors
    /// [`Error::Misuse`] for a code or reason that may not be sent. What ended the connection if that was
    /// not a closing handshake.
    ///
    /// # Cancel safety
    /// The Close frame is queued in the first poll. Called again, it continues.
    pub async fn close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<ByteString>,
    ) -> Result<()> {
        self.start_close(code.into(), reason.into())?;
        poll_fn(|cx| self.poll_discarding(cx)).await
    }

    /// Sends a Close frame and returns, without waiting for the peer's: continue with
    /// [`recv`](Self::recv), which returns the messages that the peer sent before its own Close frame,
    /// and then `None`.
    ///
    /// What the transport does not take at once is written by the next operation. If the connection is
    /// closing or closed already, nothing is sent.
    ///
    /// It reads and writes once, without waiting, and keeps the deadlines, as
    /// [every operation](#what-every-operation-does) does.
    ///
    /// # Errors
    /// [`Error::Misuse`] for a code or reason that may not be sent.
    ///
    /// # Cancel safety
    /// The Close frame is queued in the first poll.
    pub async fn send_close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<ByteString>,
    ) -> Result<()> {
        self.start_close(code.into(), reason.into())?;
        poll_fn(|cx| self.poll_write_once(cx)).await;
        Ok(())
    }

    /// Writes what the transport takes at once. Waits for nothing but its turn (D3).
    pub(crate) fn poll_write_once(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.poll_written(cx).is_pending() && self.inner.driver.has_yielded() {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }

    /// Queues a Close frame, unless the connection is closing already.
    pub(crate) fn start_close(&mut self, code: CloseCode, reason: ByteString) -> Result<()> {
        self.inner.driver.take_commands();
        match self.inner.driver.connection.send_close(code, reason) {
            Ok(()) | Err(SendError::State(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Fails the connection (RFC 6455 section 7.1.7): sends the peer a Close frame, and waits for the end
    /// of the stream as [`close`](Self::close) does. Nothing more is received.
    ///
    /// While it waits, it answers pings, keeps deadlines and lets other tasks run, as
    /// [every operation](#what-every-operation-does) does.
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
        self.start_fail(code.into(), reason.into())?;
        // The failure that this reports is the caller's.
        let _ = poll_fn(|cx| self.poll_discarding(cx)).await;
        Ok(())
    }

    /// Fails the connection unless it has ended already.
    pub(crate) fn start_fail(&mut self, code: CloseCode, reason: ByteString) -> Result<()> {
        Ok(self.inner.driver.connection.fail(code, reason)?)
    }

    /// Drives the connection to its end. Messages are dropped.
    pub(crate) fn poll_discarding(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_discarding_as(cx, Role::Send)
    }

    /// As [`poll_discarding`](Self::poll_discarding), for a task in this role.
    pub(crate) fn poll_discarding_as(
        &mut self,
        cx: &mut Context<'_>,
        role: Role,
    ) -> Poll<Result<()>> {
        self.inner.backlog = None;
        self.inner.driver.discard(u64::MAX);
        ready!(self.inner.driver.drive_until(cx, role, Goal::End));
        Poll::Ready(self.outcome())
    }

    /// Drives the connection to its end. Messages are left to a task that receives, if there is one.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.inner.driver.poll_end(cx, Role::Send));
        Poll::Ready(self.outcome())
    }

    /// Runs a future, and keeps the connection alive meanwhile: pings are answered, keepalive and all
    /// deadlines run, a Close frame is answered, and what is queued is written. At most one message is
    /// read; it is left for [`recv`](Self::recv).
    ///
    /// The end of the connection does not stop the future. The next operation reports it.
    ///
    /// Whenever the future waits, it does what [every operation](#what-every-operation-does) does.
    ///
    /// # Cancel safety
    /// Dropping this future drops the other one; the WebSocket is not harmed.
    ///
    /// ```no_run
    /// # async fn query(_: &str) -> String { String::new() }
    /// # async fn run() -> sansock::Result<()> {
    /// let mut ws = sansock::smol::connect("ws://localhost:9001/").await?;
    /// while let Some(message) = ws.recv().await? {
    ///     let answer = ws.attend(query(message.as_text().unwrap_or(""))).await;
    ///     ws.send(answer).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn attend<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let polled = future.as_mut().poll(cx);
            if polled.is_pending() {
                self.poll_attend(cx);
            }
            polled
        })
        .await
    }

    /// Does what can be done without the application. The task is woken when there is more to do.
    pub(crate) fn poll_attend(&mut self, cx: &mut Context<'_>) {
        if self.inner.driver.transport().is_some() {
            let _ = self.inner.driver.drive_until(cx, Role::Attend, Goal::End);
        }
    }
}

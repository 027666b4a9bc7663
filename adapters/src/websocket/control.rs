//! Control: pings of our own, and the end of the connection.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytestring::ByteString;
use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::{CloseCode, Delivery, Event, Message, PingId, SendError, State};

use super::{Backlog, WebSocket};
use crate::driver::Timer;
use crate::error::{Error, Result};

impl<S, T> WebSocket<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
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
        if !self.inner.connection.set_delivery(Delivery::Messages) {
            return Err(Error::InMessage);
        }
        let id = self.queue_ping()?;
        poll_fn(|cx| self.poll_pong(cx, id)).await
    }

    pub(crate) fn queue_ping(&mut self) -> Result<PingId> {
        let Some(driver) = &self.inner.driver else {
            return Err(self.ended_error());
        };
        match self.inner.connection.ping(driver.now()) {
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
            let Some(driver) = &mut self.inner.driver else {
                return Poll::Ready(Err(self.ended_error()));
            };
            let over = !ready!(driver.poll_skipping(
                cx,
                &mut self.inner.connection,
                |connection| { connection.is_ping_answered(id) || connection.is_data_ready() }
            ));
            if over {
                self.drop_transport();
            } else if let Some(Event::Message(message)) = self.next_data() {
                let message = message.into_owned();
                self.push_backlog(message)?;
            }
        }
    }

    /// Returns the message, or the part of one, that is ready.
    fn next_data(&mut self) -> Option<Event<'_>> {
        match self.inner.connection.is_data_ready() {
            true => self.inner.connection.next_event(),
            false => None,
        }
    }

    /// Drives the connection until a ping is answered; the pong is received by whoever receives.
    pub(crate) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        id: PingId,
    ) -> Poll<Result<Duration>> {
        if let Some(driver) = &mut self.inner.driver {
            ready!(
                driver.poll_until(cx, &mut self.inner.connection, |connection, _| {
                    connection.is_ping_answered(id) || connection.state() == State::Closed
                })
            );
        }
        Poll::Ready(self.answered(id).ok_or_else(|| self.ended_error()))
    }

    /// Returns the round trip of a ping that was answered.
    pub(crate) fn answered(&self, id: PingId) -> Option<Duration> {
        let answered = self.inner.connection.is_ping_answered(id);
        answered.then(|| self.latency()).flatten()
    }

    fn push_backlog(&mut self, message: Message) -> Result<()> {
        let backlog = self.inner.backlog.get_or_insert_default();
        backlog.push(message);
        match backlog.size > Backlog::LIMIT {
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
        match self.inner.connection.send_close(code, reason) {
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
        self.inner.connection.fail(code, reason)?;
        // The failure that this reports is the caller's own.
        let _ = poll_fn(|cx| self.poll_end(cx)).await;
        Ok(())
    }

    /// Drives the connection to its end; what arrives is dropped.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Some(driver) = &mut self.inner.driver {
            ready!(driver.poll_skipping(cx, &mut self.inner.connection, |_| false));
            self.drop_transport();
        }
        Poll::Ready(self.outcome())
    }

    /// Drives the connection to its end; what arrives is left to whoever receives.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Some(driver) = &mut self.inner.driver {
            ready!(driver.poll_until(cx, &mut self.inner.connection, |_, _| false));
            self.drop_transport();
        }
        Poll::Ready(self.outcome())
    }

    /// Fails the connection, where it has not ended already.
    pub(crate) fn start_fail(&mut self, code: CloseCode, reason: &'static str) {
        // The code and the reason are the driver's own.
        let _ = self.inner.connection.fail(code, reason);
    }
}

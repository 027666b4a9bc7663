//! One message in fragments.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::{CloseCode, Connection, Fin, Kind, OpCode, Payload, SendError};

use super::WebSocket;
use crate::driver::Timer;
use crate::error::Result;

/// Sends one message in fragments; made by [`WebSocket::writer`], [`Sender::writer`](crate::Sender::writer)
/// and [`Socket::writer`](crate::serve::Socket::writer).
///
/// Dropped before [`finish`](Self::finish), it leaves the message unfinished: only the end of the
/// connection can follow.
#[derive(Debug)]
pub struct MessageWriter<W> {
    to: W,
    /// The opcode of the next frame.
    next: OpCode,
}

/// What a [`MessageWriter`] writes to.
pub trait FragmentSink {
    /// Queues a fragment once there is room.
    fn poll_fragment(
        &mut self,
        cx: &mut Context<'_>,
        command: &mut dyn FnMut(&mut Connection) -> Result<(), SendError>,
    ) -> Poll<Result<()>>;

    /// Writes what is queued.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>;
}

impl<S, T> FragmentSink for &mut WebSocket<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    fn poll_fragment(
        &mut self,
        cx: &mut Context<'_>,
        command: &mut dyn FnMut(&mut Connection) -> Result<(), SendError>,
    ) -> Poll<Result<()>> {
        ready!(self.poll_room(cx))?;
        Poll::Ready(self.queue(command))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        WebSocket::poll_flush(self, cx)
    }
}

impl<W> MessageWriter<W> {
    pub(crate) const fn new(to: W, kind: Kind) -> Self {
        let next = match kind {
            Kind::Text => OpCode::Text,
            Kind::Binary => OpCode::Binary,
        };
        Self { to, next }
    }
}

impl<W: FragmentSink> MessageWriter<W> {
    /// Sends a fragment. Text may be cut inside a character.
    ///
    /// # Errors
    /// As [`WebSocket::send`], and [`Error::Misuse`](crate::Error::Misuse) if the text would not be UTF-8.
    ///
    /// # Cancel safety
    /// As [`WebSocket::send`].
    pub async fn write<'b>(&mut self, fragment: impl Into<Payload<'b>>) -> Result<()> {
        self.feed(fragment.into(), Fin::More).await?;
        poll_fn(|cx| self.to.poll_flush(cx)).await
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
        poll_fn(|cx| self.to.poll_flush(cx)).await
    }

    async fn feed(&mut self, fragment: Payload<'_>, fin: Fin) -> Result<()> {
        let next = self.next;
        poll_fn(|cx| {
            self.to.poll_fragment(cx, &mut |connection| {
                send_frame(connection, next, fragment.clone(), fin)
            })
        })
        .await?;
        self.next = OpCode::Continuation;
        Ok(())
    }
}

/// Queues a data frame.
pub(crate) fn send_frame(
    connection: &mut Connection,
    opcode: OpCode,
    payload: Payload<'_>,
    fin: Fin,
) -> Result<(), SendError> {
    match opcode {
        OpCode::Binary => connection.send_binary(payload, fin),
        OpCode::Text => connection.send_text_part(payload, fin),
        OpCode::Continuation => connection.send_continuation(payload, fin),
        OpCode::Ping => connection.send_ping(payload.as_slice()),
        OpCode::Pong => connection.send_pong(payload.as_slice()),
        OpCode::Close => Err(SendError::InvalidCloseCode(CloseCode::NO_STATUS_RECEIVED)),
    }
}

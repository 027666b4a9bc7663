//! One message in fragments.

use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::{Fin, Kind, Payload};

use super::WebSocket;
use crate::driver::Timer;
use crate::error::Result;

/// Sends one message in fragments; made by [`WebSocket::writer`].
///
/// Dropped before [`finish`](Self::finish), it leaves the message open: only a further
/// [`feed_continuation`](WebSocket::feed_continuation), or the end of the connection, can follow.
#[derive(Debug)]
pub struct MessageWriter<'a, S, T> {
    socket: &'a mut WebSocket<S, T>,
    next: Fragment,
}

impl<'a, S, T> MessageWriter<'a, S, T> {
    pub(super) const fn new(socket: &'a mut WebSocket<S, T>, kind: Kind) -> Self {
        Self {
            socket,
            next: Fragment::First(kind),
        }
    }
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
    /// As [`WebSocket::send`], and [`Error::Misuse`](crate::Error::Misuse) where the text would not be UTF-8.
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
        self.socket.capacity().await?;
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

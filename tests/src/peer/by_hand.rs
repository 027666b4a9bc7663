//! A connection driven by hand, for what the driver keeps to itself: the payload of a pong.

use std::io;

use bytes::Buf;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use sansock::Timer as _;
use sansock::core::{Connection, Event};

use super::runtime::{Stream, Timer};
use super::{Outcome, Socket, check};

/// A transport and a connection, and nobody between them.
#[derive(Debug)]
pub(crate) struct ByHand<S> {
    stream: S,
    /// A clock and no more: nothing waits for its alarm.
    timer: Timer,
    pub(crate) connection: Connection,
    read_ended: bool,
}

impl<S: Stream> ByHand<S> {
    pub(crate) fn new(socket: Socket<S>) -> Outcome<Self> {
        let parts = socket.into_parts().ok_or("the connection has ended")?;
        let (stream, timer, connection) = parts;
        Ok(Self {
            stream,
            timer,
            connection,
            read_ended: false,
        })
    }

    /// Returns the next event, `None` at the end.
    pub(crate) async fn next_event(&mut self) -> io::Result<Option<Event<'_>>> {
        loop {
            self.write().await?;
            if self.connection.parse_next() {
                return Ok(self.connection.next_event());
            }
            if self.read_ended {
                return Ok(None);
            }
            self.read().await?;
        }
    }

    /// Sends a ping and waits for the pong that has its payload.
    pub(crate) async fn ping(&mut self, payload: &[u8]) -> Outcome {
        self.connection.send_ping(payload)?;
        match self.next_event().await? {
            Some(Event::Pong { payload: came, .. }) => check(came == payload, || {
                format!("ping of {payload:?} was answered by a pong of {came:?}")
            }),
            other => Err(format!("not a pong came, but {other:?}").into()),
        }
    }

    /// Closes with 1000 and waits for the end of the stream.
    pub(crate) async fn close(&mut self) -> Outcome {
        self.connection.send_close(1000, "")?;
        while self.next_event().await?.is_some() {}
        Ok(())
    }

    async fn write(&mut self) -> io::Result<()> {
        let mut data = self.connection.data_to_send();
        while data.has_remaining() {
            let size = self.stream.write(data.chunk()).await?;
            data.advance(size);
        }
        let ends = data.take_end();
        self.stream.flush().await?;
        if ends {
            self.stream.close().await?;
        }
        Ok(())
    }

    async fn read(&mut self) -> io::Result<()> {
        let size = self.stream.read(self.connection.io().read_buffer()).await?;
        let now = self.timer.now();
        self.read_ended = size == 0;
        match size {
            0 => self.connection.receive_eof(now),
            size => self.connection.io().received(size, now),
        }
        Ok(())
    }
}

//! A stream of bytes over the binary messages of a WebSocket: `AsyncRead` and `AsyncWrite`.
//!
//! The rule: only a clean close is the end of the stream. Everything else that ends the connection is an
//! error, so that data cannot be cut off unnoticed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::{CloseCode, Delivery, Fin, Kind};

use super::WebSocket;
use crate::driver::Timer;

/// A stream of bytes: what is written is sent in binary messages, and what is read is the payload of
/// those that arrive, whatever their boundaries. Made by [`WebSocket::into_byte_stream`].
///
/// Its end is a clean close; anything else that ends the connection is an error. A text message is an
/// error too, and fails the connection with 1003. Written bytes are sent on flush, or when 64 KiB have
/// been queued.
#[derive(Debug)]
pub struct ByteStream<S, T> {
    socket: WebSocket<S, T>,
    /// What was received and did not fit the reader's buffer.
    rest: Vec<u8>,
    given: usize,
}

impl<S, T> WebSocket<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Turns the WebSocket into a stream of bytes over its binary messages.
    #[must_use]
    pub fn into_byte_stream(mut self) -> ByteStream<S, T> {
        self.prefer_delivery(Delivery::Chunks);
        ByteStream {
            socket: self,
            rest: Vec::new(),
            given: 0,
        }
    }
}

impl<S, T> ByteStream<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// The most that one message carries.
    const MESSAGE: usize = 64 << 10;

    /// Returns the WebSocket. Bytes that were received and not read are lost.
    #[must_use]
    pub fn into_inner(self) -> WebSocket<S, T> {
        self.socket
    }

    /// Gives out what is left of an earlier chunk.
    fn read_rest(&mut self, buf: &mut [u8]) -> usize {
        let rest = &self.rest[self.given..];
        let size = rest.len().min(buf.len());
        buf[..size].copy_from_slice(&rest[..size]);
        self.given += size;
        if self.given == self.rest.len() {
            self.rest = Vec::new();
            self.given = 0;
        }
        size
    }

    /// Reads the chunk that is ready. `None` where it holds nothing.
    fn read_chunk(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let (rest, socket) = (&mut self.rest, &mut self.socket);
        let kind = socket.with_chunk(|kind, payload| {
            let size = payload.len().min(buf.len());
            buf[..size].copy_from_slice(&payload[..size]);
            rest.extend_from_slice(&payload[size..]);
            (kind, size)
        });
        match kind {
            Some((Kind::Text, _)) => {
                self.rest.clear();
                let reason = "text message in a stream of bytes";
                // Code and reason may be sent.
                let _ = self
                    .socket
                    .start_fail(CloseCode::UNSUPPORTED_DATA, reason.into());
                Err(io::Error::new(io::ErrorKind::InvalidData, reason))
            }
            Some((Kind::Binary, size)) if size > 0 => Ok(Some(size)),
            Some((Kind::Binary, _)) | None => Ok(None),
        }
    }
}

impl<S, T> AsyncRead for ByteStream<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if !this.rest.is_empty() {
            return Poll::Ready(Ok(this.read_rest(buf)));
        }
        loop {
            if !ready!(this.socket.poll_part(cx, Delivery::Chunks))? {
                return Poll::Ready(Ok(0));
            }
            let read = this.read_chunk(buf);
            if read.is_err() {
                // The peer is told first: nobody may call again.
                let _ = this.socket.poll_flush(cx);
            }
            if let Some(size) = read? {
                return Poll::Ready(Ok(size));
            }
        }
    }
}

impl<S, T> AsyncWrite for ByteStream<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let socket = &mut self.get_mut().socket;
        ready!(socket.poll_room(cx))?;
        let size = buf.len().min(Self::MESSAGE);
        socket.queue(|connection| connection.send_binary(&buf[..size], Fin::Last))?;
        Poll::Ready(Ok(size))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(ready!(self.get_mut().socket.poll_flush(cx))?))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = &mut self.get_mut().socket;
        socket.start_close(CloseCode::NORMAL, "".into())?;
        Poll::Ready(Ok(ready!(socket.poll_end(cx))?))
    }
}

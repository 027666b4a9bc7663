//! A transport that keeps what is written until it is flushed, as TLS may.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

/// Sends only on flush and on close.
#[derive(Debug)]
pub struct FlushOnly<S> {
    inner: S,
    kept: Vec<u8>,
}

impl<S> FlushOnly<S> {
    /// The most that it keeps; more waits until what is kept was sent.
    const ROOM: usize = 16 << 10;

    /// Returns the transport over another one.
    pub const fn new(inner: S) -> Self {
        Self {
            inner,
            kept: Vec::new(),
        }
    }
}

impl<S: AsyncWrite + Unpin> FlushOnly<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.kept.is_empty() {
            let size = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.kept))?;
            self.kept.drain(..size);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FlushOnly<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FlushOnly<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.kept.len() >= Self::ROOM {
            ready!(self.poll_send(cx))?;
        }
        let size = buf.len().min(Self::ROOM - self.kept.len());
        self.kept.extend_from_slice(&buf[..size]);
        Poll::Ready(Ok(size))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

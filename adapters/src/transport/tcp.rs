//! A TCP connection on async-io that does not read while the socket is empty.
//!
//! A read that does not fill the buffer has emptied the socket. Another read would only fail with
//! `WouldBlock`, so the reactor is asked for readiness first. That saves a system call each time.
//!
//! The rule: only a read that was short may be followed by that question. After a full one, more data may be
//! in the socket, and asking would delay it by a turn of the reactor.

use std::io::{self, IoSlice};
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_io::Async;
use futures_io::{AsyncRead, AsyncWrite};

/// A TCP connection that remembers whether it was read dry.
#[derive(Debug)]
pub struct ReadinessTcp {
    inner: Arc<Async<TcpStream>>,
    is_dry: bool,
}

impl ReadinessTcp {
    pub(crate) const fn new(inner: Arc<Async<TcpStream>>) -> Self {
        Self {
            inner,
            is_dry: false,
        }
    }

    pub(crate) fn as_tcp(&self) -> &TcpStream {
        (*self.inner).get_ref()
    }
}

impl AsyncRead for ReadinessTcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_dry {
            ready!(self.inner.poll_readable(cx))?;
            self.is_dry = false;
        }
        let room = buf.len();
        let read = ready!(Pin::new(&mut &*self.inner).poll_read(cx, buf))?;
        self.is_dry = read < room;
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for ReadinessTcp {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self.inner).poll_write_vectored(cx, bufs)
    }

    /// Does nothing: what was written is in the hands of the system.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the stream for the peer.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self.as_tcp().shutdown(Shutdown::Write) {
            // The peer was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            closed => closed,
        })
    }
}

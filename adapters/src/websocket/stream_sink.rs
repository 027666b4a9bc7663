//! `Stream` and `Sink` for a [`WebSocket`].
//!
//! Both call the poll methods that the async methods call, so they behave the same. After an error the
//! stream returns `None`.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::Stream;
use futures_sink::Sink;
use sansock_core::{CloseCode, Message};

use super::WebSocket;
use crate::driver::Timer;
use crate::error::{Error, Result};

/// The messages, then the error if there was one, then `None`.
///
/// Two tasks may use the stream and the sink, for example through `StreamExt::split` of the crate
/// `futures`: each is woken for what it waits for. [`WebSocket::split`] has more methods.
impl<S, T> Stream for WebSocket<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    type Item = Result<Message>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let socket = self.get_mut();
        if socket.inner.fused {
            return Poll::Ready(None);
        }
        let received = ready!(socket.poll_recv(cx));
        socket.inner.fused = received.is_err();
        Poll::Ready(received.transpose())
    }
}

/// Ready if the queue has room; closes with 1000.
///
/// While the sink is being closed, messages go to the stream if it is polled within 100 ms; else they
/// are discarded, and the stream ends with [`Error::Discarded`].
impl<S, T> Sink<Message> for WebSocket<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.get_mut().poll_room(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<()> {
        self.get_mut().queue(|connection| connection.send(message))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        WebSocket::poll_flush(self.get_mut(), cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let socket = self.get_mut();
        socket.start_close(CloseCode::NORMAL, "".into())?;
        socket.poll_end(cx)
    }
}

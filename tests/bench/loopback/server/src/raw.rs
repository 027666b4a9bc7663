//! The floor: bytes sent back as they come, as cheaply as a stream of futures-io allows.
//!
//! All connections share one buffer. In the broadcast, the first bytes of a connection are its handshake.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::Result;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use futures_util::AsyncWriteExt;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 << 10]);
}

pub async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    while let Some(unsent) = poll_fn(|cx| poll_echo(cx, &mut stream)).await? {
        stream.write_all(&unsent).await?;
    }
    Ok(())
}

/// Reads once and writes once; returns what did not go, nothing at the end of the stream.
fn poll_echo(
    cx: &mut Context<'_>,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Poll<Result<Option<Vec<u8>>>> {
    BUFFER.with_borrow_mut(|buffer| {
        let count = ready!(Pin::new(&mut *stream).poll_read(cx, buffer))?;
        if count == 0 {
            return Poll::Ready(Ok(None));
        }
        let written = match Pin::new(stream).poll_write(cx, &buffer[..count]) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        Poll::Ready(Ok(Some(buffer[written..count].to_vec())))
    })
}

/// Those who receive a broadcast.
pub type Receivers<S> = Arc<Mutex<Vec<S>>>;

pub async fn broadcast<S>(mut stream: S, receivers: Receivers<S>) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Clone + Unpin,
{
    let mut handshake = vec![0; 4096];
    let count = poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut handshake)).await?;
    stream.write_all(&handshake[..count]).await?;
    drop(handshake);
    receivers.lock().expect("no panic").push(stream.clone());
    while let Some(message) = poll_fn(|cx| poll_message(cx, &mut stream)).await? {
        let all = receivers.lock().expect("no panic").clone();
        for mut receiver in all {
            receiver.write_all(&message).await?;
        }
    }
    Ok(())
}

fn poll_message(
    cx: &mut Context<'_>,
    stream: &mut (impl AsyncRead + Unpin),
) -> Poll<Result<Option<Vec<u8>>>> {
    BUFFER.with_borrow_mut(|buffer| {
        let count = ready!(Pin::new(stream).poll_read(cx, buffer))?;
        Poll::Ready(Ok((count > 0).then(|| buffer[..count].to_vec())))
    })
}

//! A duplex pipe in memory, whose locks the scheduler sees. As a socket does, it keeps one waker a direction.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};
use locks::sync::{Mutex, MutexGuard};

/// One direction.
#[derive(Default)]
struct Channel {
    bytes: VecDeque<u8>,
    capacity: usize,
    ended: bool,
    /// There is nobody to read.
    deaf: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// One end.
pub struct End {
    incoming: Arc<Mutex<Channel>>,
    outgoing: Arc<Mutex<Channel>>,
}

/// Returns the ends of a pipe that holds so many bytes in each direction.
pub fn pipe(capacity: usize) -> (End, End) {
    let channel = || {
        Arc::new(Mutex::new(Channel {
            capacity,
            ..Channel::default()
        }))
    };
    let (there, back) = (channel(), channel());
    let far = End {
        incoming: there.clone(),
        outgoing: back.clone(),
    };
    (
        End {
            incoming: back,
            outgoing: there,
        },
        far,
    )
}

fn lock(channel: &Mutex<Channel>) -> MutexGuard<'_, Channel> {
    channel.lock().unwrap()
}

/// Changes a channel, and then wakes whom that concerns.
fn change<R>(
    channel: &Mutex<Channel>,
    change: impl FnOnce(&mut Channel) -> (R, Option<Waker>),
) -> R {
    let (result, waker) = change(&mut lock(channel));
    if let Some(waker) = waker {
        waker.wake();
    }
    result
}

impl Drop for End {
    fn drop(&mut self) {
        change(&self.outgoing, |channel| {
            channel.ended = true;
            ((), channel.reader.take())
        });
        change(&self.incoming, |channel| {
            channel.deaf = true;
            ((), channel.writer.take())
        });
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        change(&self.incoming, |channel| {
            if channel.bytes.is_empty() && !channel.ended {
                channel.reader = Some(cx.waker().clone());
                return (Poll::Pending, None);
            }
            let size = channel.bytes.len().min(buf.len());
            for (slot, byte) in buf.iter_mut().zip(channel.bytes.drain(..size)) {
                *slot = byte;
            }
            (Poll::Ready(Ok(size)), channel.writer.take())
        })
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        change(&self.outgoing, |channel| {
            if channel.ended || channel.deaf {
                return (Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())), None);
            }
            let size = buf.len().min(channel.capacity - channel.bytes.len());
            if size == 0 {
                channel.writer = Some(cx.waker().clone());
                return (Poll::Pending, None);
            }
            channel.bytes.extend(&buf[..size]);
            (Poll::Ready(Ok(size)), channel.reader.take())
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        change(&self.outgoing, |channel| {
            channel.ended = true;
            (Poll::Ready(Ok(())), channel.reader.take())
        })
    }
}

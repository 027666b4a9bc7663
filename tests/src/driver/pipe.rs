//! A duplex pipe in memory, of a few bytes if need be.
//!
//! It keeps one waker per direction, as a socket does, and forgets it once it has been polled with
//! another outcome than pending.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};

/// How an end of a pipe behaves.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// The most that one call reads.
    pub read: usize,
    /// The most that one call writes.
    pub write: usize,
    /// Whether every call is pending at first, and wakes at once.
    pub hesitates: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            read: usize::MAX,
            write: usize::MAX,
            hesitates: false,
        }
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Channel {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// The writer is done.
    ended: bool,
    /// There is nobody to read.
    deaf: bool,
    /// Every call fails.
    broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

type Shared = Arc<Mutex<Channel>>;

/// One end of a [`pipe`]: a transport, and, with its own methods, a peer that is moved by hand.
#[derive(Debug)]
pub struct End {
    incoming: Shared,
    outgoing: Shared,
    manner: Manner,
    hesitated: [bool; 4],
}

/// Tells whether an [`End`] was dropped.
#[derive(Debug)]
pub struct Watch(Shared);

impl Watch {
    /// Whether it was dropped.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        lock(&self.0).deaf
    }
}

/// Returns the ends of a pipe that holds so many bytes in each direction.
#[must_use]
pub fn pipe(capacity: usize) -> (End, End) {
    pipe_with(capacity, Manner::default())
}

/// Returns the ends of a pipe that behave in this way.
#[must_use]
pub fn pipe_with(capacity: usize, manner: Manner) -> (End, End) {
    let channel = || {
        Arc::new(Mutex::new(Channel {
            capacity,
            ..Channel::default()
        }))
    };
    let (there, back) = (channel(), channel());
    let end = |incoming: &Shared, outgoing: &Shared| End {
        incoming: incoming.clone(),
        outgoing: outgoing.clone(),
        manner,
        hesitated: [false; 4],
    };
    (end(&back, &there), end(&there, &back))
}

fn lock(channel: &Shared) -> MutexGuard<'_, Channel> {
    channel.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl End {
    /// Sends bytes, however many the pipe holds.
    pub fn put(&mut self, bytes: &[u8]) {
        let mut channel = lock(&self.outgoing);
        channel.bytes.extend(bytes);
        let reader = channel.reader.take();
        drop(channel);
        wake(reader);
    }

    /// Takes everything that has arrived.
    pub fn take_all(&mut self) -> Vec<u8> {
        let mut channel = lock(&self.incoming);
        let bytes = channel.bytes.drain(..).collect();
        let writer = channel.writer.take();
        drop(channel);
        wake(writer);
        bytes
    }

    /// Sends bytes, and wakes nobody: the other end finds them when it happens to look.
    pub fn put_silently(&mut self, bytes: &[u8]) {
        let reader = lock(&self.outgoing).reader.take();
        self.put(bytes);
        drop(reader);
    }

    /// Takes everything that has arrived, and wakes nobody.
    pub fn take_silently(&mut self) -> Vec<u8> {
        let writer = lock(&self.incoming).writer.take();
        let bytes = self.take_all();
        drop(writer);
        bytes
    }

    /// Returns how much has arrived and was not taken.
    #[must_use]
    pub fn arrived(&self) -> usize {
        lock(&self.incoming).bytes.len()
    }

    /// Returns how much was sent and was not read.
    #[must_use]
    pub fn unread(&self) -> usize {
        lock(&self.outgoing).bytes.len()
    }

    /// Ends the stream that this end sends.
    pub fn end(&mut self) {
        let mut channel = lock(&self.outgoing);
        channel.ended = true;
        let reader = channel.reader.take();
        drop(channel);
        wake(reader);
    }

    /// Breaks the connection, in both directions; what was not read is lost.
    pub fn reset(&mut self) {
        for channel in [&self.incoming, &self.outgoing] {
            let mut channel = lock(channel);
            channel.broken = true;
            let wakers = [channel.reader.take(), channel.writer.take()];
            drop(channel);
            wakers.into_iter().for_each(wake);
        }
    }

    /// Whether the other end has ended its stream.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        lock(&self.incoming).ended
    }

    /// Whether the other end was dropped.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        lock(&self.outgoing).deaf
    }

    /// Returns what tells whether this end was dropped.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch(self.incoming.clone())
    }

    /// Whether to be pending this time.
    fn hesitates(&mut self, call: usize, cx: &Context<'_>) -> bool {
        let hesitated = &mut self.hesitated[call];
        *hesitated = self.manner.hesitates && !*hesitated;
        if *hesitated {
            cx.waker().wake_by_ref();
        }
        *hesitated
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.end();
        let mut channel = lock(&self.incoming);
        channel.deaf = true;
        let writer = channel.writer.take();
        drop(channel);
        wake(writer);
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.hesitates(0, cx) {
            return Poll::Pending;
        }
        let mut channel = lock(&self.incoming);
        if channel.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if channel.bytes.is_empty() && !channel.ended {
            let old = channel.reader.replace(cx.waker().clone());
            drop(channel);
            drop(old);
            return Poll::Pending;
        }
        let size = channel.bytes.len().min(buf.len()).min(self.manner.read);
        for (slot, byte) in buf.iter_mut().zip(channel.bytes.drain(..size)) {
            *slot = byte;
        }
        let (writer, reader) = (channel.writer.take(), channel.reader.take());
        drop(channel);
        drop(reader);
        wake(writer);
        Poll::Ready(Ok(size))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.hesitates(1, cx) {
            return Poll::Pending;
        }
        let mut channel = lock(&self.outgoing);
        if channel.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if channel.ended || channel.deaf {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = channel.capacity.saturating_sub(channel.bytes.len());
        if room == 0 {
            let old = channel.writer.replace(cx.waker().clone());
            drop(channel);
            drop(old);
            return Poll::Pending;
        }
        let before = channel.bytes.len();
        let bytes = bufs.iter().flat_map(|buf| buf.iter());
        channel
            .bytes
            .extend(bytes.take(room.min(self.manner.write)));
        let size = channel.bytes.len() - before;
        let (reader, writer) = (channel.reader.take(), channel.writer.take());
        drop(channel);
        drop(writer);
        wake(reader);
        Poll::Ready(Ok(size))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.hesitates(2, cx) {
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.hesitates(3, cx) {
            return Poll::Pending;
        }
        self.end();
        Poll::Ready(Ok(()))
    }
}

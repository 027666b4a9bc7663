//! A transport that costs nothing: reads copy bytes that are there already, writes are dropped. It
//! counts the calls, each of which would be a system call on a socket.

use std::cell::Cell as Counter;
use std::hint::black_box;
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::cell::Cell;
use crate::wire::Wire;

/// The transport. A clone starts from the beginning, and counts into the same counters.
#[derive(Debug)]
pub struct Mock {
    wire: Rc<Wire>,
    at: usize,
    next_stop: usize,
    calls: Rc<Calls>,
}

/// Calls that would be system calls, and bytes written.
#[derive(Debug, Default)]
pub struct Calls {
    pub reads: Counter<u64>,
    pub writes: Counter<u64>,
    pub written: Counter<u64>,
}

impl Mock {
    pub fn of(cell: &Cell) -> Self {
        Self {
            wire: Rc::new(Wire::of(cell)),
            at: 0,
            next_stop: 0,
            calls: Rc::default(),
        }
    }

    pub fn calls(&self) -> Rc<Calls> {
        Rc::clone(&self.calls)
    }

    /// Returns what the next read gives to that much room.
    fn read(&mut self, room: usize) -> &[u8] {
        self.calls.reads.set(self.calls.reads.get() + 1);
        let stop = self.wire.stops[self.next_stop];
        let start = self.at;
        let end = stop.min(start + room);
        self.at = end;
        if end == stop {
            self.next_stop += 1;
        }
        if end == self.wire.bytes.len() {
            (self.at, self.next_stop) = (0, 0);
        }
        &self.wire.bytes[start..end]
    }

    fn write(&self, buffer: &[u8]) -> usize {
        self.written(black_box(buffer).len())
    }

    fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> usize {
        self.written(black_box(buffers).iter().map(|buffer| buffer.len()).sum())
    }

    fn written(&self, size: usize) -> usize {
        self.calls.writes.set(self.calls.writes.get() + 1);
        self.calls
            .written
            .set(self.calls.written.get() + size as u64);
        size
    }
}

impl Clone for Mock {
    fn clone(&self) -> Self {
        Self {
            wire: Rc::clone(&self.wire),
            at: 0,
            next_stop: 0,
            calls: Rc::clone(&self.calls),
        }
    }
}

impl futures_io::AsyncRead for Mock {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<Result<usize>> {
        let bytes = self.read(room.len());
        room[..bytes.len()].copy_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
}

impl futures_io::AsyncWrite for Mock {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &[u8]) -> Poll<Result<usize>> {
        Poll::Ready(Ok(self.write(buffer)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Poll::Ready(Ok(self.write_vectored(buffers)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncRead for Mock {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        // Nothing is zeroed first, as a socket would not.
        let bytes = self.read(room.remaining());
        room.put_slice(bytes);
        Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Mock {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &[u8]) -> Poll<Result<usize>> {
        Poll::Ready(Ok(self.write(buffer)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Poll::Ready(Ok(self.write_vectored(buffers)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}

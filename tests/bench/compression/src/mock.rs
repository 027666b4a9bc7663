//! A transport that costs nothing: reads copy frames that are there already, up to 64 KiB at a time;
//! writes are counted and dropped.

use std::hint::black_box;
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use crate::json::Rounds;
use crate::wire::Wire;

const BULK: usize = 64 << 10;

#[derive(Debug)]
pub struct Mock {
    wire: Arc<Wire>,
    at: usize,
    written: Arc<AtomicU64>,
}

impl Mock {
    #[must_use]
    pub fn new(wire: Wire) -> Self {
        Self {
            wire: Arc::new(wire),
            at: 0,
            written: Arc::default(),
        }
    }

    /// Returns the number of bytes that were written, which goes on counting.
    #[must_use]
    pub fn written(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.written)
    }

    /// Returns the mean size of the frames that are read.
    #[must_use]
    pub fn bytes_a_message(&self) -> f64 {
        self.wire.bytes.len() as f64 / self.wire.frames.len() as f64
    }

    /// Returns what is read, frame by frame.
    #[must_use]
    pub fn frames(&self) -> Rounds<Vec<u8>> {
        Rounds::of(self.wire.frames.clone())
    }

    /// Returns the payloads of the frames, unmasked.
    #[must_use]
    pub fn payloads(&self) -> Rounds<Vec<u8>> {
        Rounds::of(self.wire.payloads.clone())
    }

    fn read(&mut self, room: usize) -> &[u8] {
        let start = self.at;
        let end = self.wire.bytes.len().min(start + room.min(BULK));
        self.at = if end == self.wire.bytes.len() { 0 } else { end };
        &self.wire.bytes[start..end]
    }

    fn write(&self, buffers: &[IoSlice<'_>]) -> usize {
        let size = black_box(buffers).iter().map(|buffer| buffer.len()).sum();
        self.written.fetch_add(size as u64, Ordering::Relaxed);
        size
    }
}

/// The same for the traits of futures-io and of tokio.
macro_rules! writes {
    ($trait:path, $close:ident) => {
        impl $trait for Mock {
            fn poll_write(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
                buffer: &[u8],
            ) -> Poll<Result<usize>> {
                Poll::Ready(Ok(self.write(&[IoSlice::new(buffer)])))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<Result<usize>> {
                Poll::Ready(Ok(self.write(buffers)))
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn $close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
                Poll::Ready(Ok(()))
            }
        }
    };
}

writes!(futures_io::AsyncWrite, poll_close);
writes!(tokio::io::AsyncWrite, poll_shutdown);

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

impl tokio::io::AsyncRead for Mock {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let bytes = self.read(room.remaining());
        room.put_slice(bytes);
        Poll::Ready(Ok(()))
    }
}

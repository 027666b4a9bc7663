//! Counts what a connection does in one poll: looks at the clock, and calls of the transport.

use std::future::{Future, poll_fn};
use std::io;
use std::ops::Sub;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use sansock::Timer;
use sansock::clock::VirtualTimer;
use sansock_core::Instant;

/// Counts the work of one connection. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Mutex<Work>>);

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Looks at the clock.
    pub looks: usize,
    /// Calls that read.
    pub reads: usize,
    /// Calls that write.
    pub writes: usize,
    /// Calls that flush or close.
    pub flushes: usize,
    /// Bytes that were read and written.
    pub bytes: usize,
}

impl Work {
    /// Returns how often the transport was called.
    #[must_use]
    pub const fn calls(&self) -> usize {
        self.reads + self.writes + self.flushes
    }
}

impl Sub for Work {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            looks: self.looks - before.looks,
            reads: self.reads - before.reads,
            writes: self.writes - before.writes,
            flushes: self.flushes - before.flushes,
            bytes: self.bytes - before.bytes,
        }
    }
}

impl Meter {
    /// Returns all work until now.
    #[must_use]
    pub fn work(&self) -> Work {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns this transport, which counts.
    pub fn transport<S>(&self, inner: S) -> Metered<S> {
        Metered {
            inner,
            meter: self.clone(),
        }
    }

    /// Returns this timer, which counts.
    #[must_use]
    pub fn timer(&self, inner: VirtualTimer) -> MeteredTimer {
        MeteredTimer {
            inner,
            meter: self.clone(),
        }
    }

    /// Runs a future, and hands on the work of each of its polls.
    pub async fn polls<T>(&self, future: impl Future<Output = T>, mut each: impl FnMut(Work)) -> T {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let before = self.work();
            let polled = future.as_mut().poll(cx);
            each(self.work() - before);
            polled
        })
        .await
    }

    fn count(&self, count: impl FnOnce(&mut Work)) {
        count(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A transport whose calls are counted.
#[derive(Debug)]
pub struct Metered<S> {
    inner: S,
    meter: Meter,
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.meter.count(|work| work.reads += 1);
        let size = ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.meter.count(|work| work.bytes += size);
        Poll::Ready(Ok(size))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
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
        self.meter.count(|work| work.writes += 1);
        let size = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs))?;
        self.meter.count(|work| work.bytes += size);
        Poll::Ready(Ok(size))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.meter.count(|work| work.flushes += 1);
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.meter.count(|work| work.flushes += 1);
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

/// A timer whose clock counts how often it is looked at.
#[derive(Debug)]
pub struct MeteredTimer {
    inner: VirtualTimer,
    meter: Meter,
}

impl Timer for MeteredTimer {
    fn now(&self) -> Instant {
        self.meter.count(|work| work.looks += 1);
        self.inner.now()
    }

    fn set(&mut self, deadline: Option<Instant>) {
        self.inner.set(deadline);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.inner.poll(cx)
    }
}

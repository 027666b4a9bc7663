//! Writing to and reading from the transport, one call at a time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use futures_io::{AsyncRead, AsyncWrite, IoSlice};
use sansock_core::{CloseCode, DataToSend, Failure, Instant, State};

use super::rate::Allowance;
use super::{Detours, DriveTarget, Driver, Timer};

/// Slices in one vectored write.
const SLICES: usize = 16;

/// How far the write side of the transport is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteSide {
    Open,
    Closing,
    Closed,
}

impl<S, T, C> Driver<S, T, C>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
    C: DriveTarget,
{
    /// Whether there is nothing to write, flush or close.
    #[inline]
    pub(super) fn is_quiet(&mut self) -> bool {
        !self.connection.io().has_output()
            && !self.unflushed
            && self.write_side != WriteSide::Closing
    }

    /// Writes and flushes what is queued, then closes the write side if that is due. A failure ends the
    /// writing, and is kept.
    #[inline(always)]
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.is_quiet() || self.write_failed() {
            true => Poll::Ready(()),
            false => self.write(cx),
        }
    }

    #[inline(never)]
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(self.try_write(cx)) {
            Ok(()) => {}
            Err(error) => self.fail_writing(error),
        }
        Poll::Ready(())
    }

    #[inline]
    fn try_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(transport) = &mut self.transport else {
            return Poll::Ready(Ok(()));
        };
        let connection = &mut self.connection;
        while !connection.connection().is_flushed() {
            let mut data = connection.io().output();
            let (first, in_parts) = (data.chunk().len(), !data.is_contiguous());
            let Poll::Ready(written) = write_some(transport, cx, &data) else {
                // D6: what the transport takes next proves that the peer reads.
                connection.io().write_blocked();
                return Poll::Pending;
            };
            let size = written?;
            data.advance(size);
            self.unflushed = true;
            self.budget.spend_call(size);
            if self.budget.is_spent() && !connection.connection().is_flushed() {
                // D3: a transport that takes a byte a call does not hold the task.
                return Poll::Pending;
            }
            if in_parts && !self.vectored {
                self.vectored = true;
                // A transport that takes the first slice alone does not support vectored writes. Payloads
                // are copied for it from now on.
                if size == first && !connection.connection().is_flushed() {
                    connection.io().disable_vectored_writes();
                }
            }
        }
        if connection.io().has_output() && connection.io().output().take_end() {
            self.write_side = WriteSide::Closing;
        }
        if self.unflushed {
            let flushed = uninterrupted(|| Pin::new(&mut *transport).poll_flush(cx));
            connection.io().set_flush_pending(flushed.is_pending());
            ready!(flushed)?;
            self.unflushed = false;
        }
        if self.write_side == WriteSide::Closing {
            ready!(uninterrupted(|| Pin::new(&mut *transport).poll_close(cx)))?;
            self.write_side = WriteSide::Closed;
            connection.io().end_written();
        }
        Poll::Ready(Ok(()))
    }

    /// Nothing is written any more.
    #[cold]
    fn fail_writing(&mut self, error: io::Error) {
        self.detours.add(Detours::WRITE_FAILED);
        self.keep_error(error);
        self.connection.write_failed();
    }

    /// Keeps the first failure of the transport, unless the connection had failed before. A handshake that was
    /// refused still has to write the refusal.
    #[cold]
    fn keep_error(&mut self, error: io::Error) {
        let failure = self.connection.connection().failure();
        let is_first = failure.is_none_or(|failure| matches!(failure, Failure::Handshake(_)));
        if self.error.is_none() && is_first {
            self.error = Some(Arc::new(error));
        }
    }

    /// Reads once. A failure is the end of the stream, and is kept.
    #[inline(never)]
    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_read(cx)
    }

    /// As [`read`](Self::read), part of the caller.
    #[inline(always)]
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.grace.is_some() {
            true => self.read_within_limit(cx),
            false => self.read_up_to(cx, usize::MAX),
        }
    }

    /// Reads as much as a limit of the rate allows, if there is one. D6: the connection knows whether it is read.
    /// A connection that is closing is read to its end.
    #[cold]
    fn read_within_limit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.current_time();
        let connection = self.connection.connection();
        let limiter = self.grace.as_mut().and_then(|grace| grace.limiter.as_mut());
        let Some(limiter) = limiter else {
            return self.read_up_to(cx, usize::MAX);
        };
        let allowance = match connection.state() {
            State::Open => limiter.allowance(&connection.stats(), now),
            State::Connecting | State::Closing | State::Closed => Allowance::Read(usize::MAX),
        };
        let pauses = matches!(allowance, Allowance::Wait(_));
        if limiter.is_paused != pauses {
            limiter.is_paused = pauses;
            self.connection.set_reading_paused(pauses);
        }
        match allowance {
            Allowance::Read(most) => self.read_up_to(cx, most),
            Allowance::Wait(at) => {
                if self.poll_alarm(cx, Some(at)).is_ready() {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
            Allowance::Exceeded => {
                // Refused if it has failed already.
                let _ = self.connection.fail(CloseCode::POLICY_VIOLATION);
                Poll::Ready(())
            }
        }
    }

    #[inline(always)]
    fn read_up_to(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<()> {
        let Some(transport) = &mut self.transport else {
            return Poll::Pending;
        };
        if self.read_ended {
            return Poll::Pending;
        }
        let room = self.connection.io().read_buffer();
        let size = room.len().min(most);
        let room = &mut room[..size];
        let read = ready!(uninterrupted(|| {
            Pin::new(&mut *transport).poll_read(cx, room)
        }));
        let now = self.current_time();
        match read {
            Ok(read @ 1..) if read <= size => {
                self.connection.io().received(read, now);
                self.read_lately = true;
                self.budget.spend_call(read);
                if now >= self.check_at {
                    self.mind_deadlines_after_read(now);
                }
            }
            ended => {
                match ended {
                    Ok(0) => {}
                    Ok(_) => self.keep_error(invalid_io_count("read")),
                    Err(error) => self.keep_error(error),
                }
                self.end_reading(now);
            }
        }
        Poll::Ready(())
    }

    /// The peer's stream has ended, in whatever way.
    #[cold]
    pub(super) fn end_reading(&mut self, now: Instant) {
        self.read_ended = true;
        self.connection.receive_eof(now);
    }
}

/// Writes as much as the transport takes at once.
fn write_some(
    transport: &mut (impl AsyncWrite + Unpin),
    cx: &mut Context<'_>,
    data: &DataToSend<'_>,
) -> Poll<io::Result<usize>> {
    let size = data.remaining();
    let written = ready!(uninterrupted(|| {
        let transport = Pin::new(&mut *transport);
        match data.is_contiguous() {
            true => transport.poll_write(cx, data.chunk()),
            false => write_slices(transport, cx, data),
        }
    }))?;
    Poll::Ready(match written {
        0 => Err(io::ErrorKind::WriteZero.into()),
        too_many if too_many > size => Err(invalid_io_count("write")),
        written => Ok(written),
    })
}

/// Writes several slices in one call.
#[inline(never)]
fn write_slices(
    transport: Pin<&mut impl AsyncWrite>,
    cx: &mut Context<'_>,
    data: &DataToSend<'_>,
) -> Poll<io::Result<usize>> {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let count = data.chunks_vectored(&mut slices);
    transport.poll_write_vectored(cx, &slices[..count])
}

/// Calls the transport again as long as signals interrupt it.
#[inline]
fn uninterrupted<R>(mut call: impl FnMut() -> Poll<io::Result<R>>) -> Poll<io::Result<R>> {
    loop {
        match ready!(call()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return Poll::Ready(result),
        }
    }
}

/// The error of a transport that claims to have moved more bytes than it was given.
fn invalid_io_count(call: &str) -> io::Error {
    let text = format!("the transport claims that a {call} moved more bytes than it was given");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

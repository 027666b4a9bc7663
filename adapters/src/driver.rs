//! The driver: moves bytes between a transport and a connection, and minds the time.
//!
//! One step writes what is queued, reads, and looks at the clock, in this order:
//!
//! - A write that is blocked never keeps from reading, and deadlines pass while it is.
//! - A reply to the peer is offered to the transport before the event behind it is given out.
//! - A pong is missed only when there is nothing left to read: it might be in there.
//! - Everything that was begun is kept in the struct, so that a future may be dropped at any time.
//!
//! A transport that fails to write is still read to its end: what arrived before is given out, and a
//! Close frame among it makes the end a clean one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use futures_io::{AsyncRead, AsyncWrite, IoSlice};
use sansock_core::{ClientConnection, Connection, Instant, ServerConnection, State};

use crate::timer::Timer;

/// Steps that read before the task lets others run.
const STEPS_PER_POLL: u32 = 64;

/// Slices in one vectored write.
const SLICES: usize = 16;

/// A connection in whichever phase: what the driver asks of it.
pub(crate) trait Drives {
    /// Whether an event is ready.
    fn parse_next(&mut self) -> bool;

    /// Takes the end of the peer's stream.
    fn receive_eof(&mut self, now: Instant);

    fn connection(&mut self) -> &mut Connection;
}

macro_rules! drives {
    ($($connection:ty),*) => {$(
        impl Drives for $connection {
            #[inline]
            fn parse_next(&mut self) -> bool {
                Self::parse_next(self)
            }

            fn receive_eof(&mut self, now: Instant) {
                Self::receive_eof(self, now);
            }

            #[inline]
            fn connection(&mut self) -> &mut Connection {
                self
            }
        }
    )*};
}

drives!(Connection, ClientConnection, ServerConnection);

/// How far the write side of the transport is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteSide {
    Open,
    Closing,
    Closed,
}

/// A transport and a timer, and what has to be remembered of them between two polls.
#[derive(Debug)]
pub(crate) struct Driver<S, T> {
    stream: S,
    timer: T,
    /// What the timer is set to.
    alarm: Option<Instant>,
    write_side: WriteSide,
    /// The peer's stream has ended.
    read_ended: bool,
    /// Bytes were written that the transport was not yet asked to flush.
    unflushed: bool,
    /// Bytes were read since the last flush.
    read_lately: bool,
    /// Whether vectored writes were seen to be worth their name.
    vectored: bool,
    /// The first failure of the transport, where it came before that of the connection.
    error: Option<Arc<io::Error>>,
    write_failed: bool,
}

impl<S, T> Driver<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    pub(crate) const fn new(stream: S, timer: T) -> Self {
        Self {
            stream,
            timer,
            alarm: None,
            write_side: WriteSide::Open,
            read_ended: false,
            unflushed: false,
            read_lately: false,
            vectored: false,
            error: None,
            write_failed: false,
        }
    }

    pub(crate) fn into_parts(self) -> (S, T) {
        (self.stream, self.timer)
    }

    pub(crate) fn now(&self) -> Instant {
        self.timer.now()
    }

    pub(crate) const fn stream(&self) -> &S {
        &self.stream
    }

    pub(crate) const fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Returns the first failure of the transport, where it came before that of the connection.
    pub(crate) const fn error(&self) -> Option<&Arc<io::Error>> {
        self.error.as_ref()
    }

    pub(crate) const fn write_failed(&self) -> bool {
        self.write_failed
    }

    /// Whether nothing waits to be written or flushed, or never will be.
    pub(crate) const fn is_written(&self, connection: &Connection) -> bool {
        self.write_failed || (connection.is_flushed() && !self.unflushed)
    }

    /// Drives the connection until an event is ready, or nothing more can come.
    #[inline]
    pub(crate) fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut impl Drives,
    ) -> Poll<()> {
        match connection.parse_next() {
            true => self.tell(cx, connection),
            false => self.poll_unready(cx, connection),
        }
    }

    /// As [`poll_event`](Self::poll_event), where it is known that no event is ready.
    #[inline]
    pub(crate) fn poll_unready(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut impl Drives,
    ) -> Poll<()> {
        if self.timer.is_called() {
            self.timer.attend(cx, connection.connection());
        }
        for _ in 0..STEPS_PER_POLL {
            let written = self.poll_write(cx, connection.connection()).is_ready();
            if is_over(connection.connection(), written) {
                return Poll::Ready(());
            }
            if self.poll_read(cx, connection).is_pending()
                && self.poll_time(cx, connection.connection()).is_pending()
            {
                connection.connection().release_buffers();
                return Poll::Pending;
            }
            if connection.parse_next() {
                return self.tell(cx, connection);
            }
        }
        self.yield_now(cx)
    }

    /// Offers the reply to an event to the transport before the event is given out.
    #[inline]
    fn tell(&mut self, cx: &mut Context<'_>, connection: &mut impl Drives) -> Poll<()> {
        if connection.connection().has_reply() {
            let _ = self.poll_write(cx, connection.connection());
        }
        Poll::Ready(())
    }

    /// Drives the connection past its events until one is to be kept. Returns whether one is; where
    /// not, nothing more can come.
    pub(crate) fn poll_skipping(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        keep: impl Fn(&Connection) -> bool,
    ) -> Poll<bool> {
        for _ in 0..STEPS_PER_POLL {
            let event = self.poll_event(cx, connection);
            if keep(connection) {
                return Poll::Ready(true);
            }
            ready!(event);
            if connection.next_event().is_none() {
                return Poll::Ready(false);
            }
        }
        // The next poll begins with what is ready, or else by reading more.
        connection.parse_next();
        self.yield_now(cx)
    }

    /// Drives the connection until everything queued was written and flushed.
    #[inline]
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut impl Drives,
    ) -> Poll<()> {
        if self.poll_write(cx, connection.connection()).is_pending() {
            ready!(self.poll_after_write(cx, connection, false, |_, written| written));
        }
        // Who has just received goes on to do so; others may leave the connection alone for long.
        let receives = std::mem::take(&mut self.read_lately);
        if connection.connection().should_release_read_buffer(receives) {
            release_unread(connection);
        }
        Poll::Ready(())
    }

    /// Drives the connection until data can be queued.
    pub(crate) fn poll_capacity(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut impl Drives,
    ) -> Poll<()> {
        if connection.connection().has_capacity() {
            return Poll::Ready(());
        }
        self.poll_until(cx, connection, |connection, written| {
            written || connection.has_capacity()
        })
    }

    /// Drives the connection until `done`, given whether everything was written, or until it is over.
    /// Reads no further than the next message or end, which it leaves to whoever receives; so two sides
    /// that both write do not wait for each other.
    pub(crate) fn poll_until(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut impl Drives,
        done: impl Fn(&Connection, bool) -> bool,
    ) -> Poll<()> {
        let written = self.poll_write(cx, connection.connection()).is_ready();
        self.poll_after_write(cx, connection, written, done)
    }

    /// As [`poll_until`](Self::poll_until), after a first attempt to write.
    fn poll_after_write(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut impl Drives,
        written: bool,
        done: impl Fn(&Connection, bool) -> bool,
    ) -> Poll<()> {
        let before = (connection.parse_next(), connection.connection().state());
        let polled = self.poll_writing(cx, connection, written, done);
        if before != (connection.parse_next(), connection.connection().state()) {
            // The same task may have asked for a message before, and been told to wait.
            cx.waker().wake_by_ref();
        }
        polled
    }

    /// Writes until `done`, and reads meanwhile.
    fn poll_writing(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut impl Drives,
        mut written: bool,
        done: impl Fn(&Connection, bool) -> bool,
    ) -> Poll<()> {
        for _ in 0..STEPS_PER_POLL {
            let inner = connection.connection();
            if done(inner, written) || is_over(inner, written) {
                return Poll::Ready(());
            }
            if !skip_control(connection) {
                let read = !connection.parse_next() && self.poll_read(cx, connection).is_ready();
                if !read && self.poll_time(cx, connection.connection()).is_pending() {
                    connection.connection().release_buffers();
                    return Poll::Pending;
                }
            }
            written = self.poll_write(cx, connection.connection()).is_ready();
        }
        self.yield_now(cx)
    }

    /// Whether there is nothing to write, flush or close.
    #[inline]
    fn is_quiet(&self, connection: &Connection) -> bool {
        !connection.has_output() && !self.unflushed && self.write_side != WriteSide::Closing
    }

    /// Writes and flushes what is queued, then closes the write side where that is due. A failure ends
    /// the writing, and is kept.
    #[inline(always)]
    fn poll_write(&mut self, cx: &mut Context<'_>, connection: &mut Connection) -> Poll<()> {
        match self.is_quiet(connection) || self.write_failed {
            true => Poll::Ready(()),
            false => self.write(cx, connection),
        }
    }

    #[inline(never)]
    fn write(&mut self, cx: &mut Context<'_>, connection: &mut Connection) -> Poll<()> {
        let written = ready!(self.try_write(cx, connection));
        if let Err(error) = written {
            self.end_write(error, connection);
        }
        Poll::Ready(())
    }

    /// The transport has failed to write.
    #[cold]
    fn end_write(&mut self, error: io::Error, connection: &mut Connection) {
        self.write_failed = true;
        self.keep_error(error, connection);
        connection.write_failed();
    }

    /// Keeps the first failure of the transport, unless the connection had failed before.
    #[cold]
    fn keep_error(&mut self, error: io::Error, connection: &Connection) {
        if self.error.is_none() && connection.failure().is_none() {
            self.error = Some(Arc::new(error));
        }
    }

    #[inline]
    fn try_write(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
    ) -> Poll<io::Result<()>> {
        while !connection.is_flushed() {
            let mut data = connection.output();
            let stretch = data.chunk().len();
            let in_parts = !data.is_contiguous();
            let size = match write_some(&mut self.stream, cx, &data) {
                Poll::Ready(written) => written?,
                Poll::Pending => {
                    connection.write_blocked();
                    return Poll::Pending;
                }
            };
            data.advance(size);
            self.unflushed = true;
            if in_parts && !self.vectored {
                self.judge_vectored(size, stretch, connection);
            }
        }
        if connection.has_output() && connection.output().take_end() {
            self.write_side = WriteSide::Closing;
        }
        if self.unflushed {
            let flushed = uninterrupted(|| Pin::new(&mut self.stream).poll_flush(cx));
            connection.set_flush_pending(flushed.is_pending());
            ready!(flushed)?;
            self.unflushed = false;
        }
        if self.write_side == WriteSide::Closing {
            ready!(uninterrupted(|| Pin::new(&mut self.stream).poll_close(cx)))?;
            self.write_side = WriteSide::Closed;
        }
        Poll::Ready(Ok(()))
    }

    /// Judges the first vectored write, of which `size` bytes were taken: a transport that takes the first
    /// stretch alone does not support them, and gets payloads copied from now on.
    #[cold]
    fn judge_vectored(&mut self, size: usize, stretch: usize, connection: &mut Connection) {
        self.vectored = true;
        if size == stretch && !connection.is_flushed() {
            connection.disable_vectored_writes();
        }
    }

    /// Reads once. A failure is the end of the stream, and is kept.
    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>, connection: &mut impl Drives) -> Poll<()> {
        if self.read_ended {
            return Poll::Pending;
        }
        let room = connection.connection().read_buffer();
        let size = room.len();
        let read = ready!(uninterrupted(|| {
            Pin::new(&mut self.stream).poll_read(cx, room)
        }));
        let now = self.timer.now();
        match read {
            Ok(read @ 1..) if read <= size => {
                connection.connection().received(read, now);
                self.read_lately = true;
            }
            ended => self.end_read(ended, connection, now),
        }
        Poll::Ready(())
    }

    /// The peer's stream has ended, in whatever way.
    #[cold]
    fn end_read(&mut self, read: io::Result<usize>, connection: &mut impl Drives, now: Instant) {
        self.read_ended = true;
        match read {
            Ok(0) => {}
            Ok(_) => self.keep_error(lied("read"), connection.connection()),
            Err(error) => self.keep_error(error, connection.connection()),
        }
        connection.receive_eof(now);
    }

    /// Looks at the clock, and sees that the task is woken at the next deadline. Ready where a
    /// deadline brought something about.
    fn poll_time(&mut self, cx: &mut Context<'_>, connection: &mut Connection) -> Poll<()> {
        let (state, flushed) = (connection.state(), connection.is_flushed());
        connection.handle_timeout(self.timer.now());
        self.timer.attend(cx, connection);
        if connection.state() != state || connection.is_flushed() != flushed {
            return Poll::Ready(());
        }
        let deadline = connection.next_timeout();
        self.poll_alarm(cx, deadline)
    }

    /// Sets the alarm. An earlier one may stay: when it rings, the clock is asked.
    fn poll_alarm(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        if self
            .alarm
            .is_none_or(|alarm| deadline < alarm || alarm <= self.timer.now())
        {
            self.timer.set(Some(deadline));
            self.alarm = Some(deadline);
        }
        ready!(self.timer.poll(cx));
        self.alarm = None;
        Poll::Ready(())
    }

    /// Ready once a time of the caller's own has come; where it has not, the task is woken for it.
    pub(crate) fn poll_deadline(
        &mut self,
        cx: &mut Context<'_>,
        deadline: Option<Instant>,
    ) -> Poll<()> {
        while deadline.is_none_or(|deadline| self.timer.now() < deadline) {
            ready!(self.poll_alarm(cx, deadline));
        }
        Poll::Ready(())
    }

    /// Lets other tasks run, and asks to be polled again.
    fn yield_now<R>(&self, cx: &Context<'_>) -> Poll<R> {
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Gives back the buffer of a connection that only sends: nobody may receive from it before long.
#[cold]
fn release_unread(connection: &mut impl Drives) {
    if !connection.parse_next() {
        connection.connection().release_buffers();
    }
}

/// Skips a ping or pong, and returns whether there was one. Left for whoever receives, it would keep
/// this side from reading, and with it the other side from writing.
fn skip_control(connection: &mut impl Drives) -> bool {
    let ready = connection.parse_next();
    let inner = connection.connection();
    let ended = inner.failure().is_some() || inner.received_close().is_some();
    let kept = inner.is_data_ready() || ended;
    ready && !kept && inner.next_event().is_some()
}

/// Whether there is nothing to wait for: the connection has ended, and so has what it had to say.
fn is_over(connection: &Connection, written: bool) -> bool {
    connection.state() == State::Closed && (written || connection.is_flushed())
}

/// Writes as much as the transport takes at once.
fn write_some(
    stream: &mut (impl AsyncWrite + Unpin),
    cx: &mut Context<'_>,
    data: &sansock_core::DataToSend<'_>,
) -> Poll<io::Result<usize>> {
    let size = data.remaining();
    let written = ready!(uninterrupted(|| {
        let stream = Pin::new(&mut *stream);
        match data.is_contiguous() {
            true => stream.poll_write(cx, data.chunk()),
            false => write_stretches(stream, cx, data),
        }
    }))?;
    Poll::Ready(match written {
        0 => Err(io::ErrorKind::WriteZero.into()),
        lie if lie > size => Err(lied("write")),
        written => Ok(written),
    })
}

/// Writes several stretches of bytes in one call.
#[inline(never)]
fn write_stretches(
    stream: Pin<&mut impl AsyncWrite>,
    cx: &mut Context<'_>,
    data: &sansock_core::DataToSend<'_>,
) -> Poll<io::Result<usize>> {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let count = data.chunks_vectored(&mut slices);
    stream.poll_write_vectored(cx, &slices[..count])
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

/// The error of a transport that claims to have moved more bytes than there were.
fn lied(call: &str) -> io::Error {
    let text = format!("the transport claims that a {call} moved more bytes than it was given");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

//! A transport that always has something to read: the peer floods.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use sansock::clock::VirtualClock;
use sansock_core::Side;

use super::frames::{frame, parse_frame};

/// Calls after which a flood fails: whoever makes so many does not let other tasks run.
const MOST_CALLS: usize = 1 << 20;

/// A transport that has the same bytes again and again, as many as are asked for. Time passes with each call.
#[derive(Debug)]
pub struct Flood(Arc<Mutex<State>>);

/// The other end of a [`Flood`].
#[derive(Debug, Clone)]
pub struct Source(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    clock: VirtualClock,
    /// How much time a call takes.
    step: Duration,
    /// What is read first.
    first: VecDeque<u8>,
    pattern: Vec<u8>,
    /// The length of the pattern before it was repeated: a frame, after which others may be read.
    unit: usize,
    /// How far the pattern was read.
    at: usize,
    /// The most that one call reads.
    read_size: usize,
    /// How many bytes may still be written.
    room: usize,
    /// The most that one call writes.
    write_size: usize,
    /// The side that answers pings, if one does.
    answers_as: Option<Side>,
    written: Vec<u8>,
    /// Whether what is written is not kept.
    forgets: bool,
    /// How much of what was written was looked through for pings.
    seen: usize,
    calls: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Flood {
    /// Returns a transport that has nothing to read yet, and takes whatever is written.
    #[must_use]
    pub fn new(clock: &VirtualClock) -> (Self, Source) {
        let state = Arc::new(Mutex::new(State {
            clock: clock.clone(),
            step: Duration::ZERO,
            first: VecDeque::new(),
            pattern: Vec::new(),
            unit: 1,
            at: 0,
            read_size: usize::MAX,
            room: usize::MAX,
            write_size: usize::MAX,
            answers_as: None,
            written: Vec::new(),
            forgets: false,
            seen: 0,
            calls: 0,
            reader: None,
            writer: None,
        }));
        (Self(state.clone()), Source(state))
    }

    /// Begins a call. Fails if there have been too many.
    fn begin(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = lock(&self.0);
        state.calls += 1;
        let (clock, step) = (state.clock.clone(), state.step);
        if state.calls > MOST_CALLS {
            return Err(io::Error::other("the flood was drunk without a pause"));
        }
        if !step.is_zero() {
            drop(state);
            clock.advance(step);
            state = lock(&self.0);
        }
        Ok(state)
    }
}

impl Source {
    /// Lets these bytes flow again and again from now on, at most so many in one read.
    pub fn flow(&self, pattern: &[u8], read_size: usize) {
        let mut state = lock(&self.0);
        // Repeated, so that a read is a copy.
        let times = (4096 / pattern.len().max(1)).max(1);
        (state.pattern, state.at) = (pattern.repeat(times), 0);
        state.unit = pattern.len().max(1);
        state.read_size = read_size;
        wake(state.reader.take(), state);
    }

    /// Has these bytes read before anything else.
    pub fn precede(&self, bytes: &[u8]) {
        lock(&self.0).first.extend(bytes);
    }

    /// Lets each call take so much time.
    pub fn take_time(&self, step: Duration) {
        lock(&self.0).step = step;
    }

    /// Has room for so many more bytes, and takes at most so many in one write.
    pub fn take(&self, room: usize, write_size: usize) {
        let mut state = lock(&self.0);
        (state.room, state.write_size) = (room, write_size);
        wake(state.writer.take(), state);
    }

    /// Answers pings from now on, as this side; the pongs are read after the frame that is being read.
    pub fn answer_pings(&self, side: Side) {
        lock(&self.0).answers_as = Some(side);
    }

    /// Keeps nothing of what is written but the frame that is incomplete.
    pub fn forget(&self) {
        lock(&self.0).forgets = true;
    }

    /// Returns what was written since the last call.
    #[must_use]
    pub fn written(&self) -> Vec<u8> {
        let mut state = lock(&self.0);
        state.seen = 0;
        std::mem::take(&mut state.written)
    }
}

impl State {
    /// Queues a pong for each ping that was written.
    fn answer(&mut self, side: Side) {
        while let Some((ping, rest)) = parse_frame(&self.written[self.seen..]) {
            self.seen = self.written.len() - rest.len();
            if ping.first == 0x89 {
                self.first.extend(frame(side, 0x8a, &ping.payload));
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: Option<Waker>, state: MutexGuard<'_, State>) {
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl AsyncRead for Flood {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.begin()?;
        let state = &mut *state;
        let most = buf.len().min(state.read_size);
        let is_between_frames = state.at % state.unit == 0;
        let first = state.first.len().min(most);
        if first > 0 && is_between_frames {
            for (slot, byte) in buf.iter_mut().zip(state.first.drain(..first)) {
                *slot = byte;
            }
            return Poll::Ready(Ok(first));
        }
        if state.pattern.is_empty() {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        // What is to be read first waits for the end of a frame.
        let most = match state.first.is_empty() {
            true => most,
            false => most.min(state.unit - state.at % state.unit),
        };
        let mut filled = 0;
        while filled < most {
            let rest = &state.pattern[state.at..];
            let size = rest.len().min(most - filled);
            buf[filled..filled + size].copy_from_slice(&rest[..size]);
            filled += size;
            state.at = (state.at + size) % state.pattern.len();
        }
        Poll::Ready(Ok(filled))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.begin()?;
        let most = state.room.min(state.write_size);
        if most == 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = state.written.len();
        let bytes = bufs.iter().flat_map(|buf| buf.iter());
        state.written.extend(bytes.take(most));
        let size = state.written.len() - before;
        if state.room != usize::MAX {
            state.room -= size;
        }
        if let Some(side) = state.answers_as {
            state.answer(side);
        }
        if state.forgets {
            let seen = match state.answers_as {
                Some(_) => std::mem::take(&mut state.seen),
                None => state.written.len(),
            };
            state.written.drain(..seen);
        }
        Poll::Ready(Ok(size))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.begin().map(drop))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.begin().map(drop))
    }
}

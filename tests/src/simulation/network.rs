//! A connection of two directions: bytes arrive late, in pieces, joined, or not at all.
//!
//! As with TCP, a side that is dropped with bytes unread resets the connection, and so does a write to a
//! side that is gone.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use sansock::Timer;
use sansock::clock::VirtualTimer;
use sansock_core::{Instant, Side};

use super::faults::Fault;
use super::monitor::Monitor;
use super::world::World;

/// Pieces that may be underway; more are joined.
const MOST_PIECES: usize = 1000;
/// What the network holds in one direction.
const WINDOW: usize = 1 << 20;
const LATENCY: Duration = Duration::from_millis(1);

/// One direction. Nothing in it allocates once it is made, so that what the endpoints hold can be
/// counted.
#[derive(Debug)]
struct Link {
    bytes: VecDeque<u8>,
    /// When so many of the bytes arrive, in order.
    pieces: VecDeque<(Instant, usize)>,
    window: usize,
    last_arrival: Instant,
    /// When the end arrives.
    end: Option<Instant>,
    reset: bool,
    /// Nothing arrives any more.
    silent: bool,
    /// Its writer may not write any more.
    cut: bool,
    /// There is nobody to read.
    deaf: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    arrival: VirtualTimer,
}

impl Link {
    fn new(world: &World) -> Self {
        let window = match world.strikes(Fault::SmallWindow, 2) {
            true => 8 + world.below(1 << (1 + world.below(12))),
            false => WINDOW,
        };
        Self {
            bytes: VecDeque::with_capacity(window),
            pieces: VecDeque::with_capacity(MOST_PIECES),
            window,
            last_arrival: Instant::START,
            end: None,
            reset: false,
            silent: false,
            cut: false,
            deaf: false,
            reader: None,
            writer: None,
            arrival: world.clock.timer(),
        }
    }

    /// When what is written now arrives.
    fn arrival(&mut self, world: &World) -> Instant {
        let mut late = LATENCY;
        if world.strikes(Fault::Delay, 10) {
            late += world.time_up_to(500);
        }
        if world.strikes(Fault::Stall, 100) {
            late += world.time_up_to(60_000);
        }
        self.last_arrival = self.last_arrival.max(world.after(late));
        self.last_arrival
    }

    fn push(&mut self, world: &World, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let mut left = bytes.len();
        while left > 0 {
            let size = match world.strikes(Fault::Split, 3) {
                true => 1 + world.below(left.min(50)),
                false => left,
            };
            let at = self.arrival(world);
            self.push_piece(world, at, size);
            left -= size;
        }
    }

    fn push_piece(&mut self, world: &World, at: Instant, size: usize) {
        let joins = self.pieces.len() == MOST_PIECES || world.strikes(Fault::Join, 5);
        match self.pieces.back_mut() {
            Some(last) if joins => *last = (at, last.1 + size),
            _ => self.pieces.push_back((at, size)),
        }
    }

    /// How many bytes have arrived.
    fn arrived(&self, now: Instant) -> usize {
        let arrived = self.pieces.iter().take_while(|(at, _)| *at <= now);
        arrived.map(|(_, size)| size).sum()
    }

    fn has_ended(&self, now: Instant) -> bool {
        !self.silent && self.bytes.is_empty() && self.end.is_some_and(|at| at <= now)
    }

    fn is_readable(&self, now: Instant) -> bool {
        let has_arrived = !self.silent && self.arrived(now) > 0;
        self.reset || has_arrived || self.has_ended(now)
    }

    fn is_writable(&self) -> bool {
        self.reset || self.cut || self.deaf || self.bytes.len() < self.window
    }

    fn pop(&mut self, buf: &mut [u8]) {
        let mut left = buf.len();
        for (slot, byte) in buf.iter_mut().zip(self.bytes.drain(..left)) {
            *slot = byte;
        }
        while let Some((_, size)) = self.pieces.front_mut() {
            if *size > left {
                *size -= left;
                return;
            }
            left -= *size;
            self.pieces.pop_front();
        }
    }

    /// Waits for whatever arrives next.
    fn wait(&mut self, cx: &mut Context<'_>) {
        self.reader = Some(cx.waker().clone());
        let next = self.pieces.front().map(|(at, _)| *at).or(self.end);
        if !self.silent {
            self.arrival.set(next);
            let _ = self.arrival.poll(cx);
        }
    }

    fn wake_all(&mut self) {
        let wakers = [self.reader.take(), self.writer.take()];
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

type Shared = Rc<RefCell<Link>>;

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Wire {
    world: Rc<World>,
    incoming: Shared,
    outgoing: Shared,
    monitor: Rc<RefCell<Monitor>>,
    read_failed: bool,
    write_failed: bool,
    never_closes: bool,
    hesitated: bool,
    /// Whether the faults of a transport happen here.
    is_faulty: bool,
    flush: VirtualTimer,
    flushing: bool,
    /// What leaves with the next flush, where that is how this transport sends.
    kept: Option<Vec<u8>>,
}

/// What a transport keeps that sends on flush.
const MOST_KEPT: usize = 4 << 10;

/// The ends of a connection, the client's first, with what reads along what each writes.
pub(super) fn connection(world: &Rc<World>) -> [(Wire, Rc<RefCell<Monitor>>); 2] {
    let links = [(); 2].map(|()| Rc::new(RefCell::new(Link::new(world))));
    let wire = |side, incoming: &Shared, outgoing: &Shared| {
        let monitor = Rc::new(RefCell::new(Monitor::new(side)));
        let wire = Wire {
            world: world.clone(),
            incoming: incoming.clone(),
            outgoing: outgoing.clone(),
            monitor: monitor.clone(),
            read_failed: false,
            write_failed: false,
            never_closes: false,
            hesitated: false,
            is_faulty: true,
            flush: world.clock.timer(),
            flushing: false,
            kept: world
                .strikes(Fault::SendsOnFlush, 2)
                .then(|| Vec::with_capacity(MOST_KEPT)),
        };
        (wire, monitor)
    };
    let [there, back] = &links;
    [
        wire(Side::Client, back, there),
        wire(Side::Server, there, back),
    ]
}

impl Wire {
    /// Turns off the faults of this end, and what reads along.
    pub(super) fn plain(mut self) -> Self {
        self.is_faulty = false;
        self.kept = None;
        self
    }

    fn strikes(&self, fault: Fault, once_in: usize) -> bool {
        self.is_faulty && self.world.strikes(fault, once_in)
    }

    fn reset(&self) {
        for link in [&self.incoming, &self.outgoing] {
            let mut link = link.borrow_mut();
            link.reset = true;
            link.wake_all();
        }
    }

    /// What may go wrong at every call. Pending is nothing wrong, and nothing done.
    /// Pending is said only where the call would be ready, or two that wake each other never end.
    fn call(&mut self, cx: &Context<'_>, is_ready: bool) -> Poll<io::Result<()>> {
        if is_ready && !self.hesitated && self.strikes(Fault::Hesitate, 4) {
            self.hesitated = true;
            self.world.progress();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.hesitated = false;
        if self.strikes(Fault::Interrupted, 20) {
            return Poll::Ready(Err(io::ErrorKind::Interrupted.into()));
        }
        if self.strikes(Fault::Reset, 300) {
            self.reset();
        }
        Poll::Ready(Ok(()))
    }

    fn begin_write(&mut self, cx: &Context<'_>, is_ready: bool) -> Poll<io::Result<()>> {
        assert!(!self.write_failed, "written to after it has failed");
        std::task::ready!(self.call(cx, is_ready))?;
        Poll::Ready(match self.outgoing.borrow().reset {
            true => Err(io::ErrorKind::BrokenPipe.into()),
            false => Ok(()),
        })
    }

    /// Keeps in mind that a call has failed; interruptions are no failures.
    fn written<R>(&mut self, result: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if let Poll::Ready(Err(error)) = &result {
            self.write_failed |= error.kind() != io::ErrorKind::Interrupted;
        }
        if result.is_ready() {
            self.world.progress();
        }
        result
    }

    fn try_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let is_ready = self.incoming.borrow().is_readable(self.world.now());
        std::task::ready!(self.call(cx, is_ready))?;
        if self.strikes(Fault::ReadFails, 300) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if self.strikes(Fault::Lie, 500) {
            return Poll::Ready(Ok(buf.len() + 1));
        }
        let now = self.world.now();
        let mut link = self.incoming.borrow_mut();
        if link.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let arrived = if link.silent { 0 } else { link.arrived(now) };
        let size = arrived.min(buf.len());
        if size == 0 {
            if link.has_ended(now) {
                return Poll::Ready(Ok(0));
            }
            link.wait(cx);
            return Poll::Pending;
        }
        let size = match self.strikes(Fault::ShortRead, 3) {
            true => 1 + self.world.below(size.min(20)),
            false => size,
        };
        link.pop(&mut buf[..size]);
        link.reader = None;
        let writer = link.writer.take();
        drop(link);
        writer.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(size))
    }

    fn try_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let is_ready = self.outgoing.borrow().is_writable();
        std::task::ready!(self.begin_write(cx, is_ready))?;
        let given: usize = bufs.iter().map(|buf| buf.len()).sum();
        if self.strikes(Fault::WriteFails, 300) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if self.strikes(Fault::WriteZero, 300) {
            self.write_failed = true;
            return Poll::Ready(Ok(0));
        }
        if self.strikes(Fault::Lie, 500) {
            self.write_failed = true;
            return Poll::Ready(Ok(given + 1));
        }
        if self.strikes(Fault::HalfClose, 200) {
            let mut link = self.outgoing.borrow_mut();
            self.end_stream(&mut link);
            link.cut = true;
        }
        if self.strikes(Fault::Silence, 300) {
            self.outgoing.borrow_mut().silent = true;
        }
        let link = self.outgoing.borrow();
        let room = link.window.saturating_sub(link.bytes.len());
        let (cut, deaf) = (link.cut, link.deaf);
        drop(link);
        if deaf {
            self.reset();
        }
        if cut || deaf {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = self.room_to_keep(cx).unwrap_or(room);
        if room == 0 {
            self.outgoing.borrow_mut().writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let most = match self.strikes(Fault::ShortWrite, 3) {
            true => 1 + self.world.below(20),
            false => usize::MAX,
        };
        Poll::Ready(Ok(self.take(bufs, room.min(most))))
    }

    /// Takes no more than so many bytes, and transmits or keeps them.
    fn take(&mut self, bufs: &[io::IoSlice<'_>], most: usize) -> usize {
        let mut left = most;
        for buf in bufs {
            let taken = &buf[..buf.len().min(left)];
            if self.is_faulty {
                self.monitor.borrow_mut().read(taken);
            }
            match &mut self.kept {
                Some(kept) => kept.extend(taken),
                None => self.transmit(taken),
            }
            left -= taken.len();
        }
        most - left
    }

    fn transmit(&self, bytes: &[u8]) {
        let mut link = self.outgoing.borrow_mut();
        link.push(&self.world, bytes);
        let reader = link.reader.take();
        drop(link);
        reader.into_iter().for_each(Waker::wake);
    }

    /// How much can be kept; what was kept leaves where there is no more room.
    fn room_to_keep(&mut self, cx: &Context<'_>) -> Option<usize> {
        if self.kept.as_ref()?.len() == MOST_KEPT {
            let _ = self.poll_send(cx);
        }
        self.kept.as_ref().map(|kept| MOST_KEPT - kept.len())
    }

    /// Transmits what was kept, as far as there is room.
    fn poll_send(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let Some(mut kept) = self.kept.take() else {
            return Poll::Ready(Ok(()));
        };
        let link = self.outgoing.borrow();
        let (room, deaf) = (link.window.saturating_sub(link.bytes.len()), link.deaf);
        drop(link);
        if deaf && !kept.is_empty() {
            self.reset();
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let size = kept.len().min(room);
        if size > 0 {
            self.transmit(&kept[..size]);
            kept.drain(..size);
            self.world.progress();
        }
        let is_sent = kept.is_empty();
        self.kept = Some(kept);
        if is_sent {
            return Poll::Ready(Ok(()));
        }
        self.outgoing.borrow_mut().writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn end_stream(&self, link: &mut RefMut<'_, Link>) {
        let at = link.last_arrival.max(self.world.after(LATENCY));
        link.end.get_or_insert(at);
        let reader = link.reader.take();
        reader.into_iter().for_each(Waker::wake);
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        assert!(!self.read_failed, "read after the end");
        let room = buf.len();
        let result = self.try_read(cx, buf);
        match &result {
            Poll::Ready(Ok(size)) => self.read_failed = *size == 0 || *size > room,
            Poll::Ready(Err(error)) => {
                self.read_failed = error.kind() != io::ErrorKind::Interrupted;
            }
            Poll::Pending => return result,
        }
        self.world.progress();
        result
    }
}

impl AsyncWrite for Wire {
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
        let result = self.try_write(cx, bufs);
        self.written(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_ready = !self.flushing && self.outgoing.borrow().is_writable();
        if let result @ (Poll::Pending | Poll::Ready(Err(_))) = self.begin_write(cx, is_ready) {
            return self.written(result);
        }
        if !self.flushing && self.strikes(Fault::FlushFails, 200) {
            return self.written(Poll::Ready(Err(io::ErrorKind::Other.into())));
        }
        if !self.flushing && self.strikes(Fault::FlushWaits, 10) {
            let until = self.world.after(self.world.time_up_to(2000));
            self.flush.set(Some(until));
            self.flushing = true;
        }
        if self.flushing {
            std::task::ready!(self.flush.poll(cx));
            self.flushing = false;
        }
        if let result @ (Poll::Pending | Poll::Ready(Err(_))) = self.poll_send(cx) {
            return self.written(result);
        }
        self.written(Poll::Ready(Ok(())))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_ready = !self.flushing && self.outgoing.borrow().is_writable();
        if let result @ (Poll::Pending | Poll::Ready(Err(_))) = self.begin_write(cx, is_ready) {
            return self.written(result);
        }
        if self.strikes(Fault::CloseFails, 5) {
            return self.written(Poll::Ready(Err(io::ErrorKind::Other.into())));
        }
        self.never_closes |= self.strikes(Fault::CloseWaits, 4);
        if self.never_closes {
            // Until the connection is reset.
            self.outgoing.borrow_mut().writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if let result @ (Poll::Pending | Poll::Ready(Err(_))) = self.poll_send(cx) {
            return self.written(result);
        }
        let mut link = self.outgoing.borrow_mut();
        self.end_stream(&mut link);
        link.cut = true;
        drop(link);
        self.written(Poll::Ready(Ok(())))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let mut incoming = self.incoming.borrow_mut();
        incoming.deaf = true;
        let is_unread = !incoming.bytes.is_empty();
        incoming.wake_all();
        drop(incoming);
        if is_unread {
            self.reset();
        }
        let mut outgoing = self.outgoing.borrow_mut();
        self.end_stream(&mut outgoing);
        outgoing.cut = true;
    }
}

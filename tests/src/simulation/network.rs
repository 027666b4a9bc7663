//! A connection of two directions: bytes arrive late, in pieces, joined, or not at all.
//!
//! As with TCP, a side that is dropped with bytes unread resets the connection, and so does a write to a
//! side that is gone.

use std::cell::{Cell, RefCell, RefMut};
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
use super::local::Local;
use super::monitor::Monitor;
use super::paths::Path;
use super::world::World;

/// Pieces that may be underway; more are joined.
const MOST_PIECES: usize = 1000;
/// What the network holds in one direction.
const WINDOW: usize = 1 << 20;
const LATENCY: Duration = Duration::from_millis(1);
/// What a link of limited bandwidth holds, in bytes.
const SLOW_WINDOW: usize = 8 << 10;
/// The least that it carries where nothing may time out: what both queues and links hold has to arrive
/// within the close timeout.
const CALM_RATE: usize = 20 << 10;

/// Makes up what a peer sends that always has more.
pub(super) type Source = Box<dyn FnMut(&World) -> Vec<u8>>;

/// One direction. Nothing in it allocates once it is made, so that what the endpoints hold can be
/// counted.
struct Link {
    bytes: VecDeque<u8>,
    /// When so many of the bytes arrive, in order.
    pieces: VecDeque<(Instant, usize)>,
    /// How many bytes were read.
    read: u64,
    window: usize,
    latency: Duration,
    /// How many bytes it carries in a second.
    rate: Option<usize>,
    last_arrival: Instant,
    /// Where more comes from whenever everything was read.
    source: Option<Source>,
    /// When the end arrives.
    end: Option<Instant>,
    reset: bool,
    /// How many of the bytes still arrive, if nothing does that is written from now on.
    left: Option<usize>,
    /// Its writer may not write any more.
    cut: bool,
    /// There is nobody to read.
    deaf: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    arrival: VirtualTimer,
}

impl Link {
    fn new(world: &World, is_fast: bool) -> Self {
        let mut window = match world.strikes(Fault::SmallWindow, 2) {
            true => 8 + world.below(1 << (1 + world.below(12))),
            false => WINDOW,
        };
        let (mut latency, mut rate) = (LATENCY, None);
        match world.below(8) {
            0 | 1 => {
                world.walk(Path::Instant);
                latency = Duration::ZERO;
            }
            2 if !is_fast => {
                world.walk(Path::Bandwidth);
                window = window.min(SLOW_WINDOW);
                let least = if world.is_calm() { CALM_RATE } else { 1 << 10 };
                rate = Some(least << world.below(6));
            }
            _ => {}
        }
        Self {
            bytes: VecDeque::with_capacity(window),
            pieces: VecDeque::with_capacity(MOST_PIECES),
            read: 0,
            window,
            latency,
            rate,
            last_arrival: Instant::START,
            source: None,
            end: None,
            reset: false,
            left: None,
            cut: false,
            deaf: false,
            reader: None,
            writer: None,
            arrival: world.clock.timer(),
        }
    }

    /// When `size` bytes that are written now arrive.
    fn arrival(&mut self, world: &World, size: usize) -> Instant {
        let mut late = self.latency;
        if world.strikes(Fault::Delay, 10) {
            late += world.time_up_to(500);
        }
        if world.strikes(Fault::Stall, 100) {
            late += world.time_up_to(60_000);
        }
        let mut arrival = self.last_arrival.max(world.after(late));
        if let Some(rate) = self.rate {
            let takes = Duration::from_secs_f64(size as f64 / rate as f64);
            arrival = Instant::from_start(arrival.since_start() + takes);
        }
        self.last_arrival = arrival;
        arrival
    }

    fn push(&mut self, world: &World, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let mut left = bytes.len();
        while left > 0 {
            let size = match world.strikes(Fault::Split, 3) {
                true => 1 + world.below(left.min(50)),
                false => left,
            };
            let at = self.arrival(world, size);
            self.push_piece(world, at, size);
            left -= size;
        }
    }

    fn push_piece(&mut self, world: &World, at: Instant, size: usize) {
        let is_full = self.pieces.len() == MOST_PIECES;
        match self.pieces.back_mut() {
            Some(last) if is_full => last.1 += size,
            // What has arrived is not taken back.
            Some(last) if last.0 > world.now() && world.strikes(Fault::Join, 5) => {
                *last = (at, last.1 + size);
            }
            _ => self.pieces.push_back((at, size)),
        }
    }

    /// How many bytes have arrived.
    fn arrived(&self, now: Instant) -> usize {
        let arrived = self.pieces.iter().take_while(|(at, _)| *at <= now);
        let size = arrived.map(|(_, size)| size).sum::<usize>();
        size.min(self.left.unwrap_or(usize::MAX))
    }

    fn has_ended(&self, now: Instant) -> bool {
        self.left.is_none() && self.bytes.is_empty() && self.end.is_some_and(|at| at <= now)
    }

    fn is_readable(&self, now: Instant) -> bool {
        self.reset || self.arrived(now) > 0 || self.has_ended(now)
    }

    fn is_writable(&self) -> bool {
        self.reset || self.cut || self.deaf || self.bytes.len() < self.window
    }

    fn pop(&mut self, buf: &mut [u8]) {
        let mut left = buf.len();
        self.read += left as u64;
        self.left = self.left.map(|bytes| bytes - left);
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

    /// Makes up more where it never ends.
    fn refill(&mut self, world: &World, monitor: &RefCell<Monitor>) {
        if !self.bytes.is_empty() || self.end.is_some() {
            return;
        }
        if let Some(source) = &mut self.source {
            let bytes = source(world);
            monitor.borrow_mut().read(&bytes);
            let now = world.now();
            self.bytes.extend(&bytes);
            self.pieces.push_back((now, bytes.len()));
        }
    }

    /// Waits for whatever arrives next.
    fn wait(&mut self) {
        let next = self.pieces.front().map(|(at, _)| *at).or(self.end);
        if self.left != Some(0) {
            self.arrival.set(next);
            if let Some(reader) = &self.reader {
                let _ = self.arrival.poll(&mut Context::from_waker(reader));
            }
        }
    }

    fn wake_all(&mut self) {
        let wakers = [self.reader.take(), self.writer.take()];
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

type Shared = Rc<RefCell<Link>>;

/// What can be seen of one end of a connection from outside.
#[derive(Clone)]
pub(super) struct Probe {
    incoming: Shared,
    outgoing: Shared,
    work: Rc<Work>,
}

/// What an end was asked for.
#[derive(Debug, Default)]
struct Work {
    /// Calls of the transport in the current poll, and bytes that they have moved.
    calls: Cell<u32>,
    bytes: Cell<usize>,
    /// How many of the calls were pending.
    pending: Cell<u32>,
    /// Whether the last call that writes, flushes or closes was pending.
    blocked: Cell<bool>,
    /// When a flush will be done that takes long.
    flushed_at: Cell<Option<Instant>>,
    /// Whether closing is never done.
    never_closes: Cell<bool>,
    /// Whether a call has failed, or the end is no longer there.
    over: Cell<bool>,
}

impl Probe {
    /// How many bytes have arrived.
    pub(super) fn arrived(&self, now: Instant) -> u64 {
        let link = self.incoming.borrow();
        link.read + link.arrived(now) as u64
    }

    /// Whether it can be written to as soon as the driver tries.
    pub(super) fn is_blocked(&self, now: Instant) -> bool {
        let work = &*self.work;
        let is_flushing = work.flushed_at.get().is_some_and(|at| at > now);
        let is_stuck = is_flushing || work.never_closes.get();
        work.blocked.get() && (is_stuck || !self.outgoing.borrow().is_writable())
    }

    /// Whether nothing has failed, and the end is still there.
    pub(super) fn is_usable(&self) -> bool {
        let (incoming, outgoing) = (self.incoming.borrow(), self.outgoing.borrow());
        let is_broken = incoming.reset || outgoing.reset || outgoing.cut || outgoing.deaf;
        !is_broken && !self.work.over.get()
    }

    /// How many bytes the calls of the current poll have moved.
    pub(super) fn bytes_moved(&self) -> usize {
        self.work.bytes.get()
    }

    /// Returns the calls, the pending ones, and the bytes that they have moved, since the last time.
    pub(super) fn take_work(&self) -> (u32, u32, usize) {
        let work = &*self.work;
        (work.calls.take(), work.pending.take(), work.bytes.take())
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Wire(Local<RefCell<End>>);

struct End {
    world: Rc<World>,
    incoming: Shared,
    outgoing: Shared,
    monitor: Rc<RefCell<Monitor>>,
    monitor_of_peer: Rc<RefCell<Monitor>>,
    work: Rc<Work>,
    /// Whether a waker that is replaced is woken.
    wakes_replaced: bool,
    read_failed: bool,
    write_failed: bool,
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

/// The ends of a connection, the client's first, with what reads along what each writes. The bandwidth of a fast
/// one is not limited.
pub(super) fn connection(
    world: &Rc<World>,
    is_fast: bool,
) -> [(Wire, Rc<RefCell<Monitor>>, Probe); 2] {
    let links = [(); 2].map(|()| Rc::new(RefCell::new(Link::new(world, is_fast))));
    let monitors =
        [Side::Client, Side::Server].map(|side| Rc::new(RefCell::new(Monitor::new(side))));
    let wire = |here: usize, incoming: &Shared, outgoing: &Shared| {
        let work = Rc::new(Work::default());
        let wakes_replaced = world.below(2) == 0;
        world.walk(if wakes_replaced {
            Path::OneShot
        } else {
            Path::Edge
        });
        let end = End {
            world: world.clone(),
            incoming: incoming.clone(),
            outgoing: outgoing.clone(),
            monitor: monitors[here].clone(),
            monitor_of_peer: monitors[1 - here].clone(),
            work: work.clone(),
            wakes_replaced,
            read_failed: false,
            write_failed: false,
            hesitated: false,
            is_faulty: true,
            flush: world.clock.timer(),
            flushing: false,
            kept: world
                .strikes(Fault::SendsOnFlush, 2)
                .then(|| Vec::with_capacity(MOST_KEPT)),
        };
        let probe = Probe {
            incoming: incoming.clone(),
            outgoing: outgoing.clone(),
            work,
        };
        (
            Wire(Local::new(RefCell::new(end))),
            monitors[here].clone(),
            probe,
        )
    };
    let [there, back] = &links;
    [wire(0, back, there), wire(1, there, back)]
}

impl Wire {
    /// Turns off the faults of this end, and what is checked of what it writes.
    pub(super) fn plain(self) -> Self {
        let end = self.0.get();
        let mut end = end.borrow_mut();
        end.is_faulty = false;
        end.kept = None;
        end.monitor.borrow_mut().be_lenient();
        drop(end);
        self
    }

    /// The other end never runs out of what to read.
    pub(super) fn never_ends(&self, source: Source) {
        let end = self.0.get();
        let outgoing = end.borrow().outgoing.clone();
        let mut link = outgoing.borrow_mut();
        link.source = Some(source);
        let reader = link.reader.take();
        drop(link);
        reader.into_iter().for_each(Waker::wake);
    }
}

/// Keeps a waker in place of another. Returns that one if it is to be woken.
fn replace(place: &mut Option<Waker>, cx: &Context<'_>, wakes: bool) -> Option<Waker> {
    if place.as_ref().is_some_and(|old| old.will_wake(cx.waker())) {
        return None;
    }
    place.replace(cx.waker().clone()).filter(|_| wakes)
}

impl End {
    fn wait_to_read(&self, cx: &Context<'_>) {
        let mut link = self.incoming.borrow_mut();
        let replaced = replace(&mut link.reader, cx, self.wakes_replaced);
        link.wait();
        drop(link);
        replaced.into_iter().for_each(Waker::wake);
    }

    fn wait_to_write(&self, cx: &Context<'_>) {
        let mut link = self.outgoing.borrow_mut();
        let replaced = replace(&mut link.writer, cx, self.wakes_replaced);
        drop(link);
        replaced.into_iter().for_each(Waker::wake);
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

    /// A call that writes, flushes or closes.
    fn begin_write(&mut self, cx: &Context<'_>, is_ready: bool) -> Poll<io::Result<()>> {
        assert!(!self.write_failed, "written to after it has failed");
        self.work.blocked.set(false);
        std::task::ready!(self.call(cx, is_ready))?;
        self.work.blocked.set(true);
        Poll::Ready(match self.outgoing.borrow().reset {
            true => Err(io::ErrorKind::BrokenPipe.into()),
            false => Ok(()),
        })
    }

    /// Keeps in mind how a call has ended; interruptions are no failures.
    fn written<R>(&mut self, result: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if let Poll::Ready(Err(error)) = &result {
            self.write_failed |= error.kind() != io::ErrorKind::Interrupted;
        }
        if self.write_failed {
            self.work.over.set(true);
        }
        if result.is_ready() {
            self.work.blocked.set(false);
            self.world.progress();
        }
        self.counted(&result, 0);
        result
    }

    /// Counts a call. One that a signal interrupts is made again, and counts then.
    fn counted<R>(&self, result: &Poll<io::Result<R>>, bytes: usize) {
        let work = &*self.work;
        if let Poll::Ready(Err(error)) = result {
            if error.kind() == io::ErrorKind::Interrupted {
                return;
            }
        }
        work.calls.set(work.calls.get() + 1);
        work.bytes.set(work.bytes.get() + bytes);
        if result.is_pending() {
            work.pending.set(work.pending.get() + 1);
        }
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
        self.world
            .uncounted(|| link.refill(&self.world, &self.monitor_of_peer));
        let size = link.arrived(now).min(buf.len());
        if size == 0 {
            if link.has_ended(now) {
                return Poll::Ready(Ok(0));
            }
            drop(link);
            self.wait_to_read(cx);
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
            let mut link = self.outgoing.borrow_mut();
            let bytes = link.bytes.len();
            link.left.get_or_insert(bytes);
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
            self.wait_to_write(cx);
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
            self.world
                .uncounted(|| self.monitor.borrow_mut().read(taken));
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
        self.wait_to_write(cx);
        Poll::Pending
    }

    fn end_stream(&self, link: &mut RefMut<'_, Link>) {
        let at = link.last_arrival.max(self.world.after(link.latency));
        link.end.get_or_insert(at);
        let reader = link.reader.take();
        reader.into_iter().for_each(Waker::wake);
    }
}

impl End {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        assert!(!self.read_failed, "read after the end");
        let room = buf.len();
        let result = self.try_read(cx, buf);
        let mut moved = 0;
        match &result {
            Poll::Ready(Ok(size)) => {
                moved = *size;
                self.read_failed = *size == 0 || *size > room;
            }
            Poll::Ready(Err(error)) => {
                self.read_failed = error.kind() != io::ErrorKind::Interrupted;
            }
            Poll::Pending => {}
        }
        if self.read_failed {
            self.work.over.set(true);
        }
        if result.is_ready() {
            self.world.progress();
        }
        self.counted(&result, moved.min(room));
        result
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = self.try_write(cx, bufs);
        let result = self.written(result);
        if let Poll::Ready(Ok(size)) = &result {
            let work = &*self.work;
            work.bytes.set(work.bytes.get() + size);
        }
        result
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = self.try_flush(cx);
        self.written(result)
    }

    fn try_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_ready = !self.flushing && self.outgoing.borrow().is_writable();
        std::task::ready!(self.begin_write(cx, is_ready))?;
        if !self.flushing && self.strikes(Fault::FlushFails, 200) {
            return Poll::Ready(Err(io::ErrorKind::Other.into()));
        }
        if !self.flushing && self.strikes(Fault::FlushWaits, 10) {
            let until = self.world.after(self.world.time_up_to(2000));
            self.flush.set(Some(until));
            self.work.flushed_at.set(Some(until));
            self.flushing = true;
        }
        if self.flushing {
            std::task::ready!(self.flush.poll(cx));
            self.flushing = false;
        }
        self.poll_send(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = self.try_close(cx);
        self.written(result)
    }

    fn try_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_ready = !self.flushing && self.outgoing.borrow().is_writable();
        std::task::ready!(self.begin_write(cx, is_ready))?;
        if self.strikes(Fault::CloseFails, 5) {
            return Poll::Ready(Err(io::ErrorKind::Other.into()));
        }
        if !self.work.never_closes.get() && self.strikes(Fault::CloseWaits, 4) {
            self.work.never_closes.set(true);
        }
        if self.work.never_closes.get() {
            // Until the connection is reset.
            self.wait_to_write(cx);
            return Poll::Pending;
        }
        std::task::ready!(self.poll_send(cx))?;
        let mut link = self.outgoing.borrow_mut();
        self.end_stream(&mut link);
        link.cut = true;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.0.get().borrow_mut().poll_read(cx, buf)
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
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.get().borrow_mut().poll_write(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.get().borrow_mut().poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.get().borrow_mut().poll_close(cx)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.work.over.set(true);
        let mut incoming = self.incoming.borrow_mut();
        incoming.deaf = true;
        incoming.source = None;
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

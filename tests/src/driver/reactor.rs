//! Transports whose readiness comes from a reactor, as that of sockets does: in one direction at a time,
//! to one waker.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};

/// How a reactor reports readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reactor {
    /// As async-io: a call that would block registers its waker, once. A waker that is replaced is woken,
    /// as its task may wait in the same direction.
    OneShot,
    /// As tokio: readiness is a flag, cleared by a call that would block, and set by the next event. A
    /// waker that is replaced is forgotten.
    Edge,
}

impl Reactor {
    /// Both.
    pub const ALL: [Self; 2] = [Self::OneShot, Self::Edge];
}

/// A transport below a reactor.
#[derive(Debug)]
pub struct Reactive(Arc<Mutex<Kernel>>);

/// The peer of a [`Reactive`], moved by hand.
#[derive(Debug)]
pub struct Far(Arc<Mutex<Kernel>>);

#[derive(Debug)]
struct Kernel {
    reactor: Reactor,
    incoming: VecDeque<u8>,
    outgoing: VecDeque<u8>,
    capacity: usize,
    /// The peer's stream has ended.
    ended: bool,
    readable: Interest,
    writable: Interest,
}

/// What the reactor knows of one direction.
#[derive(Debug, Default)]
struct Interest {
    waker: Option<Waker>,
    /// Readiness, of an edge-triggered reactor: whether a call is worth an attempt.
    ready: bool,
    /// How often a task was woken by an event.
    events: usize,
}

impl Interest {
    /// Registers the waker of a call that would block.
    fn register(&mut self, reactor: Reactor, cx: &Context<'_>) -> Option<Waker> {
        let old = self.waker.take();
        self.ready = false;
        self.waker = Some(cx.waker().clone());
        let replaced = old.filter(|old| !old.will_wake(cx.waker()));
        replaced.filter(|_| reactor == Reactor::OneShot)
    }

    /// An event: the direction has become ready.
    fn event(&mut self) -> Option<Waker> {
        self.ready = true;
        let waker = self.waker.take();
        self.events += usize::from(waker.is_some());
        waker
    }
}

impl Reactive {
    /// Returns a transport that takes so many bytes before its peer reads, and its peer.
    #[must_use]
    pub fn new(reactor: Reactor, capacity: usize) -> (Self, Far) {
        let interest = || Interest {
            ready: true,
            ..Interest::default()
        };
        let kernel = Arc::new(Mutex::new(Kernel {
            reactor,
            incoming: VecDeque::new(),
            outgoing: VecDeque::new(),
            capacity,
            ended: false,
            readable: interest(),
            writable: interest(),
        }));
        (Self(kernel.clone()), Far(kernel))
    }
}

impl Far {
    /// Sends bytes.
    pub fn put(&self, bytes: &[u8]) {
        let mut kernel = lock(&self.0);
        kernel.incoming.extend(bytes);
        let waker = kernel.readable.event();
        wake(waker, kernel);
    }

    /// Takes everything that has arrived.
    pub fn take_all(&self) -> Vec<u8> {
        let mut kernel = lock(&self.0);
        let was_full = kernel.outgoing.len() >= kernel.capacity;
        let bytes = kernel.outgoing.drain(..).collect();
        let waker = was_full.then(|| kernel.writable.event()).flatten();
        wake(waker, kernel);
        bytes
    }

    /// Ends the stream that it sends.
    pub fn end(&self) {
        let mut kernel = lock(&self.0);
        kernel.ended = true;
        let waker = kernel.readable.event();
        wake(waker, kernel);
    }

    /// Returns how often an event has woken a task, in either direction.
    #[must_use]
    pub fn events(&self) -> usize {
        let kernel = lock(&self.0);
        kernel.readable.events + kernel.writable.events
    }
}

fn lock(kernel: &Mutex<Kernel>) -> MutexGuard<'_, Kernel> {
    kernel.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes, while nothing is locked.
fn wake(waker: Option<Waker>, kernel: MutexGuard<'_, Kernel>) {
    drop(kernel);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl AsyncRead for Reactive {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut kernel = lock(&self.0);
        let reactor = kernel.reactor;
        let is_tried = reactor == Reactor::OneShot || kernel.readable.ready;
        let would_block = kernel.incoming.is_empty() && !kernel.ended;
        if !is_tried || would_block {
            let replaced = kernel.readable.register(reactor, cx);
            wake(replaced, kernel);
            return Poll::Pending;
        }
        let size = kernel.incoming.len().min(buf.len());
        for (slot, byte) in buf.iter_mut().zip(kernel.incoming.drain(..size)) {
            *slot = byte;
        }
        if size < buf.len() && !kernel.ended {
            // A read that does not fill its buffer has found the end of what there is: tokio spares
            // itself the call that would say so.
            kernel.readable.ready = false;
        }
        Poll::Ready(Ok(size))
    }
}

impl AsyncWrite for Reactive {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut kernel = lock(&self.0);
        let reactor = kernel.reactor;
        let is_tried = reactor == Reactor::OneShot || kernel.writable.ready;
        let room = kernel.capacity.saturating_sub(kernel.outgoing.len());
        if !is_tried || room == 0 {
            let replaced = kernel.writable.register(reactor, cx);
            wake(replaced, kernel);
            return Poll::Pending;
        }
        let size = room.min(buf.len());
        kernel.outgoing.extend(&buf[..size]);
        if size < buf.len() {
            kernel.writable.ready = false;
        }
        Poll::Ready(Ok(size))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

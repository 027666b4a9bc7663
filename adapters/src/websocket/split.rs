//! Two halves of a WebSocket, for two tasks.
//!
//! Both halves work on the one WebSocket behind a lock, which is held for one poll and never while
//! anything is woken: what is woken during a poll is woken after it. A transport and a timer wake one task each; here that is everybody who waits:
//! either half may be the one that moves the bytes that the other waits for. What one half brings
//! about without the transport (room in the queue, an event) it tells the others itself.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use bytestring::ByteString;
use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::{CloseCode, Closed, Message, Outgoing, PingId, Prepared, State, Stats};

use super::WebSocket;
use crate::driver::Timer;
use crate::driver::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::driver::sync::{Mutex, MutexGuard};
use crate::error::Result;

/// The half that receives. See [`WebSocket::split`].
pub struct Receiver<S, T> {
    half: Half<S, T>,
}

/// The half that sends; a clone sends over the same connection. See [`WebSocket::split`].
pub struct Sender<S, T> {
    half: Half<S, T>,
}

/// One of those who share a WebSocket.
struct Half<S, T> {
    shared: Arc<Shared<S, T>>,
    id: u64,
}

struct Shared<S, T> {
    socket: Mutex<WebSocket<S, T>>,
    waiting: Arc<Waiting>,
    /// The waker that the transport and the timer are given.
    waker: Waker,
    next_id: AtomicU64,
    /// Nobody receives: messages are dropped, as they would keep from reading on.
    deaf: AtomicBool,
}

/// Everybody who waits.
#[derive(Default)]
struct Waiting {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    wakers: Vec<(u64, Waker)>,
    /// The WebSocket is being polled.
    polling: bool,
    /// Everybody is to be woken after the poll.
    woken: bool,
}

// A waker may do anything when it is woken or dropped: never under a lock.
impl Waiting {
    fn add(&self, id: u64, waker: &Waker) {
        let mut list = lock(&self.list);
        let old = match list.wakers.iter_mut().find(|(waiting, _)| *waiting == id) {
            Some((_, old)) if old.will_wake(waker) => None,
            Some((_, old)) => Some(std::mem::replace(old, waker.clone())),
            None => {
                list.wakers.push((id, waker.clone()));
                None
            }
        };
        drop(list);
        drop(old);
    }

    /// Takes out a waker, to be dropped where that does no harm.
    fn remove(&self, id: u64) -> Option<Waker> {
        let wakers = &mut lock(&self.list).wakers;
        let index = wakers.iter().position(|(waiting, _)| *waiting == id)?;
        Some(wakers.swap_remove(index).1)
    }

    /// Wakes everybody but `id`; after the poll, if there is one.
    fn wake_others(&self, id: Option<u64>) {
        let mut list = lock(&self.list);
        if list.polling {
            list.woken = true;
            return;
        }
        let others = list.wakers.iter();
        let others = others.filter(|(waiting, _)| Some(*waiting) != id);
        let others: Vec<Waker> = others.map(|(_, waker)| waker.clone()).collect();
        drop(list);
        others.into_iter().for_each(Waker::wake);
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_others(None);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_others(None);
    }
}

/// The WebSocket, locked for one poll. Who is woken during the poll is woken when this is dropped.
struct Turn<'a, S, T> {
    socket: Option<MutexGuard<'a, WebSocket<S, T>>>,
    waiting: &'a Waiting,
    /// Who has changed what the others may wait for.
    changed_by: Option<u64>,
}

impl<'a, S, T> Turn<'a, S, T> {
    fn new(shared: &'a Shared<S, T>) -> Self {
        let socket = lock(&shared.socket);
        lock(&shared.waiting.list).polling = true;
        Self {
            socket: Some(socket),
            waiting: &shared.waiting,
            changed_by: None,
        }
    }
}

impl<S, T> Drop for Turn<'_, S, T> {
    fn drop(&mut self) {
        let mut list = lock(&self.waiting.list);
        list.polling = false;
        let woken = std::mem::take(&mut list.woken);
        drop(list);
        self.socket = None;
        if woken {
            self.waiting.wake_others(None);
        } else if self.changed_by.is_some() {
            self.waiting.wake_others(self.changed_by);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the others may wait for.
#[derive(PartialEq, Eq)]
struct Marks {
    capacity: bool,
    written: bool,
    event: bool,
    state: State,
    pongs: u64,
    over: bool,
}

impl<S, T> Half<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Polls the WebSocket on behalf of this half.
    fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut WebSocket<S, T>, &mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        let shared = &*self.shared;
        shared.waiting.add(self.id, cx.waker());
        let mut turn = Turn::new(shared);
        let mut result = Poll::Pending;
        if let Some(socket) = &mut turn.socket {
            let before = marks(socket);
            result = poll(socket, &mut Context::from_waker(&shared.waker));
            let deaf = shared.deaf.load(Ordering::Relaxed);
            if result.is_pending() && socket.skip_event(deaf) {
                shared.waker.wake_by_ref();
            }
            let changed = marks(socket) != before;
            turn.changed_by = changed.then_some(self.id);
        }
        let ready = result.is_ready();
        let waker = ready.then(|| shared.waiting.remove(self.id));
        drop(turn);
        drop(waker);
        result
    }
}

fn marks<S, T>(socket: &WebSocket<S, T>) -> Marks
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    let connection = socket.connection();
    Marks {
        capacity: connection.has_capacity(),
        written: socket.is_written(),
        event: connection.is_data_ready(),
        state: connection.state(),
        pongs: connection.stats().pongs_received,
        over: socket.get_ref().is_none(),
    }
}

impl<S, T> Half<S, T> {
    fn new(shared: Arc<Shared<S, T>>) -> Self {
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        Self { shared, id }
    }

    fn socket(&self) -> MutexGuard<'_, WebSocket<S, T>> {
        lock(&self.shared.socket)
    }
}

impl<S, T> Drop for Half<S, T> {
    fn drop(&mut self) {
        self.shared.waiting.remove(self.id);
    }
}

impl<S, T> WebSocket<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Splits into a half that receives and one that sends, for two tasks. The sender can be cloned.
    ///
    /// Deadlines are kept and pings answered while either half is awaited. Keep receiving: a
    /// connection that is only sent to does not notice a Close frame. Without a receiver, messages that
    /// arrive are dropped. When all halves are dropped, the transport is.
    #[must_use]
    pub fn split(self) -> (Receiver<S, T>, Sender<S, T>) {
        let waiting = Arc::new(Waiting::default());
        let shared = Arc::new(Shared {
            socket: Mutex::new(self),
            waker: Waker::from(waiting.clone()),
            waiting,
            next_id: AtomicU64::new(0),
            deaf: AtomicBool::new(false),
        });
        let receiver = Receiver {
            half: Half::new(shared.clone()),
        };
        let sender = Sender {
            half: Half::new(shared),
        };
        (receiver, sender)
    }
}

impl<S, T> Receiver<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Receives the next message, `None` once the connection was closed.
    ///
    /// # Errors
    /// As [`WebSocket::recv`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::recv`].
    pub async fn recv(&mut self) -> Result<Option<Message>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Receives the next message; the poll form of [`recv`](Self::recv).
    ///
    /// # Errors
    /// As [`WebSocket::recv`].
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>>> {
        self.half.poll(cx, WebSocket::poll_recv)
    }

    /// Returns a sender over the same connection.
    #[must_use]
    pub fn sender(&self) -> Sender<S, T> {
        Sender {
            half: Half::new(self.half.shared.clone()),
        }
    }

    /// Returns which Close frames were exchanged and whose was first, once no more can follow.
    #[must_use]
    pub fn closed(&self) -> Option<Closed> {
        self.half.socket().closed().cloned()
    }

    /// Returns the counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.half.socket().stats()
    }
}

impl<S, T> Sender<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Sends a message: when this returns, it is in the hands of the transport.
    ///
    /// # Errors
    /// As [`WebSocket::send`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::send`].
    pub async fn send<'a>(&mut self, message: impl Into<Outgoing<'a>>) -> Result<()> {
        let mut message = Some(message);
        poll_fn(|cx| {
            self.half.poll(cx, |socket, cx| {
                if message.is_some() {
                    ready!(socket.poll_capacity(cx))?;
                }
                if let Some(message) = message.take() {
                    socket.queue(|connection| connection.send(message))?;
                }
                socket.poll_flush(cx)
            })
        })
        .await
    }

    /// Queues a message, and waits only where the queue is full. [`flush`](Self::flush) writes it, and
    /// so does the receiver before it waits.
    ///
    /// # Errors
    /// As [`WebSocket::send`].
    ///
    /// # Cancel safety
    /// The message is queued whole or not at all.
    pub async fn feed<'a>(&mut self, message: impl Into<Outgoing<'a>>) -> Result<()> {
        let mut message = Some(message);
        poll_fn(|cx| {
            self.half.poll(cx, |socket, cx| {
                ready!(socket.poll_capacity(cx))?;
                let Some(message) = message.take() else {
                    return Poll::Ready(Ok(()));
                };
                Poll::Ready(socket.queue(|connection| connection.send(message)))
            })
        })
        .await
    }

    /// Sends a message that was prepared for many connections.
    ///
    /// # Errors
    /// As [`WebSocket::send`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::send`].
    pub async fn send_prepared(&mut self, prepared: &Prepared) -> Result<()> {
        let mut queued = false;
        poll_fn(|cx| {
            self.half.poll(cx, |socket, cx| {
                if !queued {
                    ready!(socket.poll_capacity(cx))?;
                    socket.queue(|connection| connection.send_prepared(prepared))?;
                    queued = true;
                }
                socket.poll_flush(cx)
            })
        })
        .await
    }

    /// Writes everything that is queued, and flushes the transport.
    ///
    /// # Errors
    /// As [`WebSocket::flush`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::flush`].
    pub async fn flush(&mut self) -> Result<()> {
        poll_fn(|cx| self.half.poll(cx, WebSocket::poll_flush)).await
    }

    /// Pings the peer, and returns the round trip. The pong is received by the receiving half, which
    /// must be kept busy.
    ///
    /// # Errors
    /// What ended the connection.
    ///
    /// # Cancel safety
    /// The ping is sent, and its pong ignored.
    pub async fn ping(&mut self) -> Result<Duration> {
        let mut id: Option<PingId> = None;
        poll_fn(|cx| {
            self.half.poll(cx, |socket, cx| {
                let id = match id {
                    Some(id) => id,
                    None => *id.insert(socket.queue_ping()?),
                };
                socket.poll_answer(cx, id)
            })
        })
        .await
    }

    /// Closes the connection: sends a Close frame, and waits for the peer's and for the end of the
    /// stream. Messages that arrive meanwhile go to the receiver.
    ///
    /// # Errors
    /// As [`WebSocket::close`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::close`].
    pub async fn close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<ByteString>,
    ) -> Result<()> {
        let mut frame = Some((code.into(), reason.into()));
        poll_fn(|cx| {
            self.half.poll(cx, |socket, cx| {
                if let Some((code, reason)) = frame.take() {
                    socket.start_close(code, reason)?;
                }
                socket.poll_over(cx)
            })
        })
        .await
    }

    /// Returns which Close frames were exchanged and whose was first, once no more can follow.
    #[must_use]
    pub fn closed(&self) -> Option<Closed> {
        self.half.socket().closed().cloned()
    }

    /// Returns the counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.half.socket().stats()
    }

    pub(crate) fn write_failed(&self) -> bool {
        self.half.socket().write_failed()
    }
}

impl<S, T> Drop for Receiver<S, T> {
    fn drop(&mut self) {
        self.half.shared.deaf.store(true, Ordering::Relaxed);
        self.half.shared.waiting.wake_others(Some(self.half.id));
    }
}

impl<S, T> Clone for Sender<S, T> {
    fn clone(&self) -> Self {
        Self {
            half: Half::new(self.half.shared.clone()),
        }
    }
}

impl<S, T> fmt::Debug for Receiver<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

impl<S, T> fmt::Debug for Sender<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

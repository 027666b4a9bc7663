//! Two halves of a WebSocket, for two tasks.
//!
//! All halves work on the one WebSocket behind a lock, which is held for one poll and never while
//! anything is woken: wakes that occur during a poll are delivered after it. A transport and a timer
//! wake one task each; here they wake all tasks that wait, since any half may be the one that moves the
//! bytes that another waits for. What one half brings about without the transport (room in the queue,
//! an event) it reports to the others itself.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytestring::ByteString;
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::Stream;
use futures_sink::Sink;
use sansock_core::{
    Chunk, CloseCode, Closed, Compression, Connection, Delivery, FrameRef, Kind, Message,
    MessageRef, OpCode, Outgoing, PingId, Prepared, SendError, State, Stats,
};

use super::{FragmentSink, MessageWriter, WebSocket};
use crate::driver::sync::atomic::{AtomicU64, Ordering};
use crate::driver::sync::{Mutex, MutexGuard};
use crate::driver::{Timer, WakerSet};
use crate::error::{Error, Result};

/// The half that receives. See [`WebSocket::split`].
pub struct Receiver<S, T> {
    shared: Arc<Shared<S, T>>,
    id: u64,
    /// What was received and is borrowed.
    borrowed: Borrowed,
    /// The stream of messages has returned its error.
    fused: bool,
}

/// The half that sends; a clone sends over the same connection. See [`WebSocket::split`].
///
/// All methods take `&self`: several tasks may share one sender, or have a clone each. The messages of
/// one task are sent in the order of its calls; those of several tasks in any order, each whole.
pub struct Sender<S, T> {
    shared: Arc<Shared<S, T>>,
    /// Under which the sink waits.
    id: u64,
}

/// A WebSocket and the tasks that wait for it.
struct Shared<S, T> {
    socket: Mutex<WebSocket<S, T>>,
    waiting: Arc<WakerSet>,
    /// Wakes all tasks that wait; passed to the transport and the timer.
    waker: Waker,
    next_id: AtomicU64,
}

/// What a receiver lends: the connection itself is needed by the senders.
#[derive(Debug)]
enum Borrowed {
    Nothing,
    Message(Message),
    Frame {
        opcode: OpCode,
        fin: bool,
        payload: Vec<u8>,
    },
    Chunk {
        kind: Kind,
        first: bool,
        last: bool,
        payload: Vec<u8>,
    },
}

/// One operation of a task, registered while it waits.
struct Waiter<'a, S, T> {
    shared: &'a Shared<S, T>,
    id: u64,
}

/// The WebSocket, locked for one poll. Wakes that occur during the poll are delivered when this is dropped.
struct PollGuard<'a, S, T> {
    socket: Option<MutexGuard<'a, WebSocket<S, T>>>,
    waiting: &'a WakerSet,
    /// The task that has changed what the others may wait for.
    changed_by: Option<u64>,
}

impl<'a, S, T> PollGuard<'a, S, T> {
    fn new(shared: &'a Shared<S, T>) -> Self {
        let socket = shared.lock();
        shared.waiting.begin_poll();
        Self {
            socket: Some(socket),
            waiting: &shared.waiting,
            changed_by: None,
        }
    }
}

impl<S, T> Drop for PollGuard<'_, S, T> {
    fn drop(&mut self) {
        let is_woken = self.waiting.end_poll();
        self.socket = None;
        if is_woken {
            self.waiting.wake_others(None);
        } else if self.changed_by.is_some() {
            self.waiting.wake_others(self.changed_by);
        }
    }
}

/// What the tasks in other halves may wait for.
#[derive(PartialEq, Eq)]
struct Readiness {
    capacity: bool,
    written: bool,
    event: bool,
    state: State,
    pongs: u64,
    over: bool,
}

impl Readiness {
    fn of<S, T>(socket: &mut WebSocket<S, T>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin,
        T: Timer,
    {
        let event = socket.inner.driver.is_data_ready();
        let connection = socket.connection();
        Self {
            capacity: connection.has_capacity(),
            written: socket.is_written(),
            event,
            state: connection.state(),
            pongs: connection.stats().pongs_received,
            over: socket.get_ref().is_none(),
        }
    }
}

impl<S, T> Shared<S, T> {
    fn lock(&self) -> MutexGuard<'_, WebSocket<S, T>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn waiter(&self) -> Waiter<'_, S, T> {
        Waiter {
            shared: self,
            id: self.next_id(),
        }
    }
}

impl<S, T> Shared<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Polls the WebSocket for the task `id`, which is registered until the poll is ready.
    fn poll<R>(
        &self,
        id: u64,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut WebSocket<S, T>, &mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        self.waiting.add(id, cx.waker());
        let mut guard = PollGuard::new(self);
        let mut result = Poll::Pending;
        if let Some(socket) = &mut guard.socket {
            let before = Readiness::of(socket);
            result = poll(socket, &mut Context::from_waker(&self.waker));
            let is_changed = Readiness::of(socket) != before;
            guard.changed_by = is_changed.then_some(id);
        }
        let waker = result.is_ready().then(|| self.waiting.remove(id));
        drop(guard);
        drop(waker);
        result
    }
}

impl<S, T> Waiter<'_, S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut WebSocket<S, T>, &mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        self.shared.poll(self.id, cx, poll)
    }
}

impl<S, T> Drop for Waiter<'_, S, T> {
    fn drop(&mut self) {
        drop(self.shared.waiting.remove(self.id));
    }
}

impl<S, T> WebSocket<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Splits into a half that sends and one that receives, for two tasks, in the order of
    /// `futures::StreamExt::split` and `std::sync::mpsc::channel`. The sender can be cloned.
    ///
    /// Deadlines are kept and pings answered while either half is awaited. Without a receiver, messages
    /// that arrive are dropped. When all halves are dropped, the transport is.
    ///
    /// ```no_run
    /// # async fn run() -> sansock::Result<()> {
    /// let ws = sansock::smol::connect("ws://localhost:9001/").await?;
    /// let (sender, mut receiver) = ws.split();
    /// sender.send("hello").await?;
    /// println!("{:?}", receiver.recv().await?);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn split(mut self) -> (Sender<S, T>, Receiver<S, T>) {
        self.inner.driver.leave_waking_to_owner();
        let waiting = Arc::new(WakerSet::default());
        let shared = Arc::new(Shared {
            socket: Mutex::new(self),
            waker: Waker::from(waiting.clone()),
            waiting,
            next_id: AtomicU64::new(0),
        });
        let receiver = Receiver {
            id: shared.next_id(),
            shared: shared.clone(),
            borrowed: Borrowed::Nothing,
            fused: false,
        };
        (Sender::new(shared), receiver)
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
    /// As [`WebSocket::recv`]. [`Error::Discarded`] if another task has closed the connection and this
    /// one did not receive in time.
    ///
    /// # Cancel safety
    /// As [`WebSocket::recv`].
    pub async fn recv(&mut self) -> Result<Option<Message>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Receives the next message; the poll form of [`recv`](Self::recv).
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>>> {
        self.shared.poll(self.id, cx, WebSocket::poll_recv)
    }

    /// Receives the next message, and lends it until the next call. The receiver owns it, since the
    /// connection is needed by the senders; so it is copied as by [`recv`](Self::recv).
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    /// As [`recv`](Self::recv).
    pub async fn recv_ref(&mut self) -> Result<Option<MessageRef<'_>>> {
        self.borrowed = match self.recv().await? {
            Some(message) => Borrowed::Message(message),
            None => Borrowed::Nothing,
        };
        Ok(match &self.borrowed {
            Borrowed::Message(message) => Some(message.into()),
            Borrowed::Nothing | Borrowed::Frame { .. } | Borrowed::Chunk { .. } => None,
        })
    }

    /// Receives the next data frame as the peer framed it, `None` once the connection was closed. It is
    /// lent as by [`recv_ref`](Self::recv_ref).
    ///
    /// # Errors
    /// As [`WebSocket::recv_frame`].
    ///
    /// # Cancel safety
    /// As [`recv`](Self::recv).
    pub async fn recv_frame(&mut self) -> Result<Option<FrameRef<'_>>> {
        self.borrowed = poll_fn(|cx| {
            self.poll_part(cx, Delivery::Frames, |socket| {
                let frame = socket.take_frame()?;
                Some(Borrowed::Frame {
                    opcode: frame.opcode,
                    fin: frame.fin,
                    payload: frame.payload.to_vec(),
                })
            })
        })
        .await?;
        Ok(match &self.borrowed {
            Borrowed::Frame {
                opcode,
                fin,
                payload,
            } => Some(FrameRef {
                opcode: *opcode,
                fin: *fin,
                payload: payload[..].into(),
            }),
            Borrowed::Nothing | Borrowed::Message(_) | Borrowed::Chunk { .. } => None,
        })
    }

    /// Receives what has arrived of a message, `None` once the connection was closed. It is lent as by
    /// [`recv_ref`](Self::recv_ref).
    ///
    /// # Errors
    /// As [`WebSocket::recv_chunk`].
    ///
    /// # Cancel safety
    /// As [`recv`](Self::recv).
    pub async fn recv_chunk(&mut self) -> Result<Option<Chunk<'_>>> {
        self.borrowed = poll_fn(|cx| {
            self.poll_part(cx, Delivery::Chunks, |socket| {
                let chunk = socket.take_chunk()?;
                Some(Borrowed::Chunk {
                    kind: chunk.kind,
                    first: chunk.first,
                    last: chunk.last,
                    payload: chunk.payload.to_vec(),
                })
            })
        })
        .await?;
        Ok(match &self.borrowed {
            Borrowed::Chunk {
                kind,
                first,
                last,
                payload,
            } => Some(Chunk {
                kind: *kind,
                first: *first,
                last: *last,
                payload,
            }),
            Borrowed::Nothing | Borrowed::Message(_) | Borrowed::Frame { .. } => None,
        })
    }

    fn poll_part(
        &self,
        cx: &mut Context<'_>,
        delivery: Delivery,
        take: impl FnOnce(&mut WebSocket<S, T>) -> Option<Borrowed>,
    ) -> Poll<Result<Borrowed>> {
        self.shared.poll(self.id, cx, |socket, cx| {
            let taken = match ready!(socket.poll_part(cx, delivery))? {
                true => take(socket),
                false => None,
            };
            Poll::Ready(Ok(taken.unwrap_or(Borrowed::Nothing)))
        })
    }

    /// Returns a sender over the same connection.
    #[must_use]
    pub fn sender(&self) -> Sender<S, T> {
        Sender::new(self.shared.clone())
    }

    /// Returns which Close frames were exchanged and whose was first, once no more can follow.
    #[must_use]
    pub fn closed(&self) -> Option<Closed> {
        self.shared.lock().closed().cloned()
    }

    /// Returns `Ok` if the connection was closed normally; see [`WebSocket::close_result`].
    ///
    /// # Errors
    /// As [`WebSocket::close_result`].
    pub fn close_result(&self) -> Result<()> {
        self.shared.lock().close_result()
    }

    /// Returns the counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.lock().stats()
    }
}

impl<S, T> Sender<S, T> {
    fn new(shared: Arc<Shared<S, T>>) -> Self {
        Self {
            id: shared.next_id(),
            shared,
        }
    }
}

impl<S, T> Sender<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Sends a message: when this returns, the transport has taken it.
    ///
    /// # Errors
    /// As [`WebSocket::send`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::send`].
    pub async fn send<'a>(&self, message: impl Into<Outgoing<'a>>) -> Result<()> {
        let mut message = Some(message);
        self.queue_and_flush(|connection| match message.take() {
            Some(message) => connection.send(message),
            None => Ok(()),
        })
        .await
    }

    /// Sends a message, and chooses whether it is compressed; see [`WebSocket::send_with`].
    ///
    /// # Errors
    /// As [`WebSocket::send`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::send`].
    pub async fn send_with<'a>(
        &self,
        message: impl Into<Outgoing<'a>>,
        compression: Compression,
    ) -> Result<()> {
        let mut message = Some(message);
        self.queue_and_flush(|connection| match message.take() {
            Some(message) => connection.send_with(message, compression),
            None => Ok(()),
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
    pub async fn send_prepared(&self, prepared: &Prepared) -> Result<()> {
        self.queue_and_flush(|connection| connection.send_prepared(prepared))
            .await
    }

    /// Queues a message, and waits only while the queue is full. [`flush`](Self::flush) writes it, and
    /// so does the receiver before it waits.
    ///
    /// # Errors
    /// As [`WebSocket::send`].
    ///
    /// # Cancel safety
    /// The message is queued whole or not at all.
    pub async fn feed<'a>(&self, message: impl Into<Outgoing<'a>>) -> Result<()> {
        let mut message = Some(message);
        self.queue(|connection| match message.take() {
            Some(message) => connection.send(message),
            None => Ok(()),
        })
        .await
    }

    /// Starts a message that is sent in fragments. Until it is finished, messages of other senders fail
    /// with [`Error::Misuse`]: fragments of two messages must not be mixed (RFC 6455 section 5.4). One
    /// sender writes one message at a time; clone it for more tasks.
    #[must_use]
    pub const fn writer(&self, kind: Kind) -> MessageWriter<&Self> {
        MessageWriter::new(self, kind)
    }

    /// Writes everything that is queued, and flushes the transport.
    ///
    /// # Errors
    /// As [`WebSocket::flush`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::flush`].
    pub async fn flush(&self) -> Result<()> {
        let waiter = self.shared.waiter();
        poll_fn(|cx| waiter.poll(cx, WebSocket::poll_flush)).await
    }

    /// Queues data once there is room.
    async fn queue(
        &self,
        mut command: impl FnMut(&mut Connection) -> Result<(), SendError>,
    ) -> Result<()> {
        let waiter = self.shared.waiter();
        poll_fn(|cx| {
            waiter.poll(cx, |socket, cx| {
                ready!(socket.poll_room(cx))?;
                Poll::Ready(socket.queue(&mut command))
            })
        })
        .await
    }

    /// Queues data once there is room, and writes it.
    async fn queue_and_flush(
        &self,
        mut command: impl FnMut(&mut Connection) -> Result<(), SendError>,
    ) -> Result<()> {
        let waiter = self.shared.waiter();
        let mut is_queued = false;
        poll_fn(|cx| {
            waiter.poll(cx, |socket, cx| {
                if !is_queued {
                    ready!(socket.poll_room(cx))?;
                    socket.queue(&mut command)?;
                    is_queued = true;
                }
                socket.poll_flush(cx)
            })
        })
        .await
    }

    /// Pings the peer, and returns the round trip. A pong that follows a message is seen once the
    /// receiver has taken that message.
    ///
    /// # Errors
    /// What ended the connection.
    ///
    /// # Cancel safety
    /// Dropped before the ping is queued, it is not sent. Dropped later, it is sent, and its pong ignored.
    pub async fn ping(&self) -> Result<Duration> {
        let waiter = self.shared.waiter();
        let mut ping: Option<PingId> = None;
        poll_fn(|cx| {
            waiter.poll(cx, |socket, cx| {
                let ping = match ping {
                    Some(ping) => {
                        socket.inner.driver.begin_poll();
                        ping
                    }
                    None => {
                        ready!(socket.poll_room(cx))?;
                        *ping.insert(socket.queue_ping()?)
                    }
                };
                socket.poll_answer(cx, ping)
            })
        })
        .await
    }

    /// Sends a ping with a payload; see [`WebSocket::send_ping`].
    ///
    /// # Errors
    /// As [`WebSocket::send_ping`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::send`].
    pub async fn send_ping(&self, payload: &[u8]) -> Result<()> {
        self.queue_and_flush(|connection| connection.send_ping(payload))
            .await
    }

    /// Sends a pong that answers no ping; see [`WebSocket::send_pong`].
    ///
    /// # Errors
    /// As [`WebSocket::send_pong`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::send`].
    pub async fn send_pong(&self, payload: &[u8]) -> Result<()> {
        self.queue_and_flush(|connection| connection.send_pong(payload))
            .await
    }

    /// Sends a Close frame and returns. The receiver still gets every message that the peer sent before
    /// its own Close frame; see [`WebSocket::send_close`].
    ///
    /// # Errors
    /// As [`WebSocket::send_close`].
    ///
    /// # Cancel safety
    /// The Close frame is queued in the first poll.
    pub async fn send_close(
        &self,
        code: impl Into<CloseCode>,
        reason: impl Into<ByteString>,
    ) -> Result<()> {
        let mut frame = Some((code.into(), reason.into()));
        let waiter = self.shared.waiter();
        poll_fn(|cx| {
            waiter.poll(cx, |socket, cx| {
                if let Some((code, reason)) = frame.take() {
                    socket.start_close(code, reason)?;
                }
                socket.poll_write_once(cx).map(Ok)
            })
        })
        .await
    }

    /// Closes the connection: sends a Close frame, and waits for the peer's and for the end of the
    /// stream, within the close timeout.
    ///
    /// Messages that arrive meanwhile go to the receiver. A message that it does not take within 100 ms
    /// is discarded with all that follow; [`Receiver::recv`] then ends with [`Error::Discarded`].
    ///
    /// # Errors
    /// As [`WebSocket::close`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::close`].
    pub async fn close(
        &self,
        code: impl Into<CloseCode>,
        reason: impl Into<ByteString>,
    ) -> Result<()> {
        let mut frame = Some((code.into(), reason.into()));
        let waiter = self.shared.waiter();
        poll_fn(|cx| {
            waiter.poll(cx, |socket, cx| {
                if let Some((code, reason)) = frame.take() {
                    socket.start_close(code, reason)?;
                }
                socket.poll_end(cx)
            })
        })
        .await
    }

    /// Fails the connection; see [`WebSocket::fail`].
    ///
    /// # Errors
    /// As [`WebSocket::fail`].
    ///
    /// # Cancel safety
    /// As [`WebSocket::fail`].
    pub async fn fail(
        &self,
        code: impl Into<CloseCode>,
        reason: impl Into<ByteString>,
    ) -> Result<()> {
        let mut frame = Some((code.into(), reason.into()));
        let waiter = self.shared.waiter();
        poll_fn(|cx| {
            waiter.poll(cx, |socket, cx| {
                if let Some((code, reason)) = frame.take() {
                    socket.start_fail(code, reason)?;
                }
                // The failure that this reports is the caller's.
                socket.poll_discarding(cx).map(|_| Ok(()))
            })
        })
        .await
    }

    /// Returns which Close frames were exchanged and whose was first, once no more can follow.
    #[must_use]
    pub fn closed(&self) -> Option<Closed> {
        self.shared.lock().closed().cloned()
    }

    /// Returns `Ok` if the connection was closed normally; see [`WebSocket::close_result`].
    ///
    /// # Errors
    /// As [`WebSocket::close_result`].
    pub fn close_result(&self) -> Result<()> {
        self.shared.lock().close_result()
    }

    /// Returns the counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.lock().stats()
    }

    pub(crate) fn write_failed(&self) -> bool {
        self.shared.lock().write_failed()
    }

    /// Closes the connection for the server, which has this half; see [`close`](Self::close).
    pub(crate) fn poll_close_for_server(
        &self,
        cx: &mut Context<'_>,
        code: CloseCode,
        reason: ByteString,
    ) -> Poll<()> {
        self.shared.poll(self.id, cx, |socket, cx| {
            // Refused if the connection is closing already.
            let _ = socket.start_close(code, reason);
            socket.poll_end(cx).map(drop)
        })
    }

    /// Does what can be done without the halves. The task is woken when there is more to do.
    pub(crate) fn poll_attend(&self, cx: &mut Context<'_>) {
        let _ = self.shared.poll(self.id, cx, |socket, cx| {
            socket.poll_attend(cx);
            Poll::<()>::Pending
        });
    }
}

impl<S, T> FragmentSink for &Sender<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    fn poll_fragment(
        &mut self,
        cx: &mut Context<'_>,
        command: &mut dyn FnMut(&mut Connection) -> Result<(), SendError>,
    ) -> Poll<Result<()>> {
        self.shared.poll(self.id, cx, |socket, cx| {
            ready!(socket.poll_room(cx))?;
            Poll::Ready(socket.queue(command))
        })
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.shared.poll(self.id, cx, WebSocket::poll_flush)
    }
}

/// The messages, then the error if there was one, then `None`.
impl<S, T> Stream for Receiver<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    type Item = Result<Message>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let receiver = self.get_mut();
        if receiver.fused {
            return Poll::Ready(None);
        }
        let received = ready!(receiver.poll_recv(cx));
        receiver.fused = received.is_err();
        Poll::Ready(received.transpose())
    }
}

/// Ready if the queue has room; closes with 1000. Each clone is a sink for one task.
impl<S, T> Sink<Message> for Sender<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer + Unpin,
{
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.shared.poll(self.id, cx, WebSocket::poll_room)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<()> {
        self.shared
            .lock()
            .queue(|connection| connection.send(message))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.shared.poll(self.id, cx, WebSocket::poll_flush)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.shared.poll(self.id, cx, |socket, cx| {
            socket.start_close(CloseCode::NORMAL, ByteString::new())?;
            socket.poll_end(cx)
        })
    }
}

impl<S, T> Drop for Receiver<S, T> {
    fn drop(&mut self) {
        let waker = self.shared.waiting.remove(self.id);
        // Nothing is received any more: unread messages must not stop the reading.
        self.shared.lock().inner.driver.discard(u64::MAX);
        self.shared.waiting.wake_others(None);
        drop(waker);
    }
}

impl<S, T> Drop for Sender<S, T> {
    fn drop(&mut self) {
        drop(self.shared.waiting.remove(self.id));
    }
}

impl<S, T> Clone for Sender<S, T> {
    fn clone(&self) -> Self {
        Self::new(self.shared.clone())
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

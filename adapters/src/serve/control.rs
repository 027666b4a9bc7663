//! What reaches a connection from outside: messages for many, a Close frame, the order to end.
//!
//! Nobody but the owner of a WebSocket touches it. Others leave what they want in a box and wake the
//! owner's task; its timer, which the driver asks before it waits, hands the box over. So nobody ever
//! waits for a slow client, and no lock is held across anything that waits or wakes.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::{fmt, mem, ptr};

use bytestring::ByteString;
use sansock_core::{
    CloseCode, CloseFrame, Closed, Connection, Instant, Prepared, SendError, Stats,
};

use crate::driver::Timer;
use crate::driver::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::driver::sync::{Mutex, MutexGuard};
use crate::error::{Error, Result};
use crate::transport::Peer;

/// A connection of a server, in the hands of everybody but its handler: to send to it without waiting,
/// and to close it. A clone is the same connection.
///
/// It is not typed by transport, so that one room holds clients over TCP, TLS and Unix sockets.
#[derive(Clone)]
pub struct Handle {
    control: Arc<Control>,
}

/// What is done about a client that does not keep up: more waits for it than its
/// [backlog](super::Serve::max_backlog) may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OverflowPolicy {
    /// It does not get this message.
    #[default]
    Skip,
    /// It gets this message in place of the oldest that wait: for values of which the latest counts.
    DropOldest,
    /// It is closed with 1008 (policy violation).
    Disconnect,
}

/// What became of a message for one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Push {
    /// It will be sent.
    Queued,
    /// The client lags; see [`OverflowPolicy`].
    Overflow,
    /// The connection is closed or closing.
    Closed,
}

struct Control {
    peer: Peer,
    totals: Arc<Totals>,
    max_backlog: usize,
    /// The box holds something.
    called: AtomicBool,
    inbox: Mutex<Inbox>,
    counted: Counted,
}

#[derive(Default)]
struct Inbox {
    messages: VecDeque<Prepared>,
    backlog: usize,
    close: Option<CloseFrame>,
    order: Order,
    /// The transport is to be dropped by whoever has it.
    cut: bool,
    /// A Close frame was asked for, or the connection is over: nothing more is sent.
    closing: bool,
    /// The WebSocket was given back to the server, or its transport was dropped.
    given_back: bool,
    /// How the connection has ended, as far as it is known.
    code: Option<CloseCode>,
    /// The task that uses the WebSocket, and the one that waits for orders. Often they are the same.
    socket: Option<Waker>,
    task: Option<Waker>,
}

/// What the task of a connection is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Order {
    #[default]
    Stay,
    /// Open no connection any more.
    Leave,
    /// End at once.
    Abort,
}

/// Bytes of all connections of a server.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
}

/// Bytes of this connection that the totals have.
#[derive(Debug, Default)]
struct Counted {
    received: AtomicU64,
    sent: AtomicU64,
}

/// What a message takes in a backlog beside its payload, at least.
const OVERHEAD: usize = 64;

impl Handle {
    pub(super) fn new(peer: Peer, totals: Arc<Totals>, max_backlog: usize) -> Self {
        Self {
            control: Arc::new(Control {
                peer,
                totals,
                max_backlog,
                called: AtomicBool::new(false),
                inbox: Mutex::default(),
                counted: Counted::default(),
            }),
        }
    }

    /// Returns whose connection it is.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.control.peer
    }

    /// Whether messages can still be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.inbox().closing
    }

    /// Returns how many bytes wait in the backlog: what the transport and the queue of the connection
    /// have not taken yet.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.inbox().backlog
    }

    /// Sends a message without waiting. It leaves when the handler next uses the WebSocket, which a
    /// handler that receives does at once, and after a message that the handler is sending in parts.
    pub fn push(&self, message: &Prepared, lagging: OverflowPolicy) -> Push {
        let size = message.payload().len().saturating_add(OVERHEAD);
        let mut inbox = self.inbox();
        if inbox.closing {
            return Push::Closed;
        }
        let lags = !inbox.has_room(size, self.control.max_backlog);
        match (lags, lagging) {
            (false, _) => {}
            (true, OverflowPolicy::Skip) => return Push::Overflow,
            (true, OverflowPolicy::DropOldest) => inbox.drop_oldest(size, self.control.max_backlog),
            (true, OverflowPolicy::Disconnect) => {
                drop(inbox);
                let reason = ByteString::from_static("too slow");
                self.start_close(CloseCode::POLICY_VIOLATION, reason, Waiting::Drop);
                return Push::Overflow;
            }
        }
        let called = !inbox.messages.is_empty();
        inbox.backlog = inbox.backlog.saturating_add(size);
        inbox.messages.push_back(message.clone());
        // For those that wait already, the owner was woken, or waits for room.
        match called {
            true => drop(inbox),
            false => self.call(inbox),
        }
        match lags {
            true => Push::Overflow,
            false => Push::Queued,
        }
    }

    /// Closes the connection without waiting, after what was pushed before. The handler sees its end as
    /// if it had closed it itself.
    ///
    /// # Errors
    /// [`Error::Misuse`] for a code or reason that may not be sent.
    pub fn close(&self, code: impl Into<CloseCode>, reason: impl Into<ByteString>) -> Result<()> {
        let (code, reason) = (code.into(), reason.into());
        if !code.is_sendable() {
            return Err(Error::Misuse(SendError::InvalidCloseCode(code)));
        }
        if reason.len() > CloseFrame::MAX_REASON {
            return Err(Error::Misuse(SendError::ReasonTooLong(reason.len())));
        }
        self.start_close(code, reason, Waiting::Keep);
        Ok(())
    }

    /// Ends the connection at once: the handler's future is dropped. A Close frame is sent if that takes
    /// no waiting: that of [`close`](Self::close), or one with 1001 (going away).
    pub fn abort(&self) {
        self.order(Order::Abort);
    }

    pub(super) fn start_close(&self, code: CloseCode, reason: ByteString, waiting: Waiting) {
        let mut inbox = self.inbox();
        if mem::replace(&mut inbox.closing, true) {
            return;
        }
        let dropped = match waiting {
            Waiting::Keep => None,
            Waiting::Drop => Some(inbox.take_messages()),
        };
        inbox.close = Some(CloseFrame { code, reason });
        self.call(inbox);
        drop(dropped);
    }

    /// Has the task of the connection do something other than stay, unless it has a stricter order.
    pub(super) fn order(&self, order: Order) {
        let mut inbox = self.inbox();
        if inbox.order != Order::Abort {
            inbox.order = order;
        }
        let task = inbox.task.clone();
        self.call(inbox);
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Waits for an order at least this strict.
    pub(super) fn poll_order(&self, cx: &mut Context<'_>, order: Order) -> Poll<()> {
        self.poll_task(cx, |inbox| match order {
            Order::Stay => true,
            Order::Leave => inbox.order != Order::Stay,
            Order::Abort => inbox.order == Order::Abort,
        })
    }

    /// Waits until the WebSocket is given back, or its transport dropped.
    pub(super) fn poll_given_back(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_task(cx, |inbox| inbox.given_back)
    }

    /// The WebSocket is given back to the server.
    pub(super) fn give_back(&self) {
        let mut inbox = self.inbox();
        inbox.given_back = true;
        let task = inbox.task.clone();
        drop(inbox);
        if let Some(task) = task {
            task.wake();
        }
    }

    fn poll_task(&self, cx: &mut Context<'_>, done: impl FnOnce(&Inbox) -> bool) -> Poll<()> {
        let mut inbox = self.inbox();
        if done(&inbox) {
            return Poll::Ready(());
        }
        let old = keep(&mut inbox.task, cx.waker());
        drop(inbox);
        drop(old);
        Poll::Pending
    }

    /// Returns the code with which the connection has closed, as far as it is known.
    pub(super) fn code(&self) -> Option<CloseCode> {
        self.inbox().code
    }

    /// Adds what has passed since the last time to the totals, and notes how the connection has ended.
    pub(super) fn note(&self, stats: &Stats, closed: Option<&Closed>) {
        let (counted, totals) = (&self.control.counted, &self.control.totals);
        count(&counted.received, &totals.received, stats.bytes_received);
        count(&counted.sent, &totals.sent, stats.bytes_sent);
        if let Some(closed) = closed {
            let mut inbox = self.inbox();
            inbox.code = Some(first_code(closed));
            inbox.closing = true;
            drop(inbox.take_messages());
        }
    }

    /// Has whoever has the WebSocket drop the transport.
    pub(super) fn cut(&self) {
        let mut inbox = self.inbox();
        inbox.cut = true;
        inbox.closing = true;
        self.call(inbox);
    }

    /// Takes the Close frame that an aborted connection is to have, if it has sent none.
    pub(super) fn last_word(&self) -> CloseFrame {
        self.inbox().close.take().unwrap_or(CloseFrame {
            code: CloseCode::GOING_AWAY,
            reason: ByteString::new(),
        })
    }

    /// Gives the connection what waits for it.
    fn deliver(&self, connection: &mut Connection, now: Instant) {
        let mut inbox = self.inbox();
        if inbox.cut {
            // The code is one that may be given; nothing is left to be said or heard.
            let _ = connection.fail(CloseCode::ABNORMAL_CLOSURE, "");
            connection.receive_eof(now);
        }
        inbox.send_messages(connection);
        if inbox.messages.is_empty() {
            if let Some(CloseFrame { code, reason }) = inbox.close.take() {
                // Refused where the connection is closing already.
                let _ = connection.send_close(code, reason);
            }
            self.control.called.store(false, Ordering::Relaxed);
        }
    }

    /// Wakes the owner of the WebSocket, to empty the box.
    fn call(&self, inbox: MutexGuard<'_, Inbox>) {
        self.control.called.store(true, Ordering::Relaxed);
        let socket = inbox.socket.clone();
        drop(inbox);
        if let Some(socket) = socket {
            socket.wake();
        }
    }

    fn is_called(&self) -> bool {
        self.control.called.load(Ordering::Relaxed)
    }

    /// Takes note of whom to wake when the box is filled.
    fn listen(&self, waker: &Waker) {
        let old = keep(&mut self.inbox().socket, waker);
        drop(old);
    }

    /// The transport was dropped.
    fn leave(&self) {
        let mut inbox = self.inbox();
        inbox.given_back = true;
        inbox.closing = true;
        let wakers = (inbox.socket.take(), inbox.task.take());
        let messages = inbox.take_messages();
        drop(inbox);
        drop((wakers.0, messages));
        if let Some(task) = wakers.1 {
            task.wake();
        }
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        let inbox = self.control.inbox.lock();
        inbox.unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of messages that wait when a Close frame is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    Keep,
    Drop,
}

impl Inbox {
    /// Whether a message fits; one does in any case.
    fn has_room(&self, size: usize, max: usize) -> bool {
        self.messages.is_empty() || self.backlog.saturating_add(size) <= max
    }

    fn drop_oldest(&mut self, size: usize, max: usize) {
        while !self.has_room(size, max) {
            self.pop();
        }
    }

    fn send_messages(&mut self, connection: &mut Connection) {
        while let Some(message) = self.messages.front() {
            match connection.send_prepared(message) {
                Ok(()) => self.pop(),
                Err(SendError::State(_)) => drop(self.take_messages()),
                // The queue is full, or a message is being sent in parts: later.
                Err(_) => return,
            }
        }
    }

    fn pop(&mut self) {
        if let Some(message) = self.messages.pop_front() {
            let size = message.payload().len().saturating_add(OVERHEAD);
            self.backlog = self.backlog.saturating_sub(size);
        }
    }

    fn take_messages(&mut self) -> VecDeque<Prepared> {
        self.backlog = 0;
        mem::take(&mut self.messages)
    }
}

/// Keeps a waker, and returns the one it replaces: to be dropped where no lock is held.
fn keep(place: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    match place {
        Some(old) if old.will_wake(waker) => None,
        _ => place.replace(waker.clone()),
    }
}

fn count(counted: &AtomicU64, total: &AtomicU64, now: u64) {
    let before = counted.swap(now, Ordering::Relaxed);
    if now != before {
        total.fetch_add(now.saturating_sub(before), Ordering::Relaxed);
    }
}

/// The code of the Close frame that came first, whoever sent it.
fn first_code(closed: &Closed) -> CloseCode {
    let first = match matches!(closed, Closed::SentThenReceived { .. }) {
        true => closed.sent(),
        false => closed.received().or(closed.sent()),
    };
    first.map_or(CloseCode::ABNORMAL_CLOSURE, |frame| frame.code)
}

impl PartialEq for Handle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.control, &other.control)
    }
}

impl Eq for Handle {}

impl Hash for Handle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        ptr::hash(Arc::as_ptr(&self.control), state);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("peer", self.peer())
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}

/// The timer of a server's connection: the time, and what others want of the connection.
pub struct ServerTimer<T> {
    timer: T,
    handle: Handle,
    /// Who is woken when the box is filled, so that the lock is taken only when that changes.
    waker: Option<Waker>,
}

impl<T> ServerTimer<T> {
    pub(super) const fn new(timer: T, handle: Handle) -> Self {
        Self {
            timer,
            handle,
            waker: None,
        }
    }
}

impl<T: Timer> Timer for ServerTimer<T> {
    fn now(&self) -> Instant {
        self.timer.now()
    }

    fn set(&mut self, deadline: Option<Instant>) {
        self.timer.set(deadline);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.poll(cx)
    }

    fn is_called(&self) -> bool {
        self.handle.is_called()
    }

    fn attend(&mut self, cx: &mut Context<'_>, connection: &mut Connection) {
        let known = self.waker.as_ref();
        if !known.is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            self.handle.listen(cx.waker());
        }
        if self.handle.is_called() {
            self.handle.deliver(connection, self.timer.now());
        }
        self.handle.note(&connection.stats(), connection.closed());
    }
}

impl<T> Drop for ServerTimer<T> {
    fn drop(&mut self) {
        self.handle.leave();
    }
}

impl<T> fmt::Debug for ServerTimer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTimer")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

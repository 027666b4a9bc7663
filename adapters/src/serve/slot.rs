//! Where a server keeps the WebSocket of a connection: its handler and the connection's task both use it.
//!
//! Each poll of the handler's [`Socket`](super::Socket) locks the slot for that poll. Whenever the
//! handler waits for something else, the connection's task drives the WebSocket itself (D9): pings are
//! answered, keepalive runs, a Close frame is answered and pushed messages leave.
//!
//! - No task blocks on the lock to poll: a task that finds it taken leaves its waker, and is woken when
//!   the other unlocks.
//! - While the handler borrows a message, the WebSocket is not here, and nothing drives it.
//! - However the handler ends, the WebSocket stays here, so that the server can close it.

use std::sync::{Arc, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::CloseFrame;

use crate::driver::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::driver::sync::{Mutex, MutexGuard, this_thread};
use crate::driver::{Inbox, Role, Timer};
use crate::error::Result;
use crate::websocket::{Sender, WebSocket};

/// The place of one WebSocket.
pub(super) struct Slot<S, T> {
    content: Mutex<Content<S, T>>,
    /// The thread that polls the handler's future.
    polled_by: AtomicUsize,
    /// Whether the handler has driven the WebSocket and waits for it, in the current poll of its future.
    is_driven: AtomicBool,
    missed: Missed,
    inbox: Arc<Inbox>,
}

struct Content<S, T> {
    held: Held<S, T>,
    /// Whether the handler's socket was dropped.
    is_returned: bool,
}

enum Held<S, T> {
    Socket(WebSocket<S, T>),
    /// The WebSocket is shared by its halves.
    Half(Sender<S, T>),
    /// The handler borrows a message from it, or has taken it out.
    Nothing,
}

/// The slot is locked by another task.
struct Locked;

/// The content of a slot. When this is dropped, the slot is unlocked, then the task that has found it
/// locked is woken: the fields are dropped in this order.
struct ContentGuard<'a, S, T> {
    content: MutexGuard<'a, Content<S, T>>,
    _wakes: WakesMissed<'a>,
}

/// The task that has found the slot locked. Two tasks use a slot, and the other has the lock.
#[derive(Default)]
struct Missed {
    is_waiting: AtomicBool,
    task: Mutex<Option<Waker>>,
}

struct WakesMissed<'a>(&'a Missed);

impl Missed {
    #[cold]
    fn wait(&self, waker: &Waker) {
        let old = self.task().replace(waker.clone());
        drop(old);
        self.is_waiting.swap(true, Ordering::AcqRel);
    }

    #[cold]
    fn wake(&self) {
        let task = self.task().take();
        if let Some(task) = task {
            task.wake();
        }
    }

    fn task(&self) -> MutexGuard<'_, Option<Waker>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for WakesMissed<'_> {
    #[inline]
    fn drop(&mut self) {
        // A load might miss a flag that was set before the lock was found taken.
        if self.0.is_waiting.swap(false, Ordering::AcqRel) {
            self.0.wake();
        }
    }
}

impl<S, T> Slot<S, T> {
    pub(super) fn new(socket: WebSocket<S, T>, inbox: Arc<Inbox>) -> Self {
        Self {
            content: Mutex::new(Content {
                held: Held::Socket(socket),
                is_returned: false,
            }),
            polled_by: AtomicUsize::new(0),
            is_driven: AtomicBool::new(false),
            missed: Missed::default(),
            inbox,
        }
    }

    /// Locks the slot for a poll, or arranges that the task is woken when it is unlocked.
    #[inline]
    fn poll_lock(&self, cx: &Context<'_>) -> Result<ContentGuard<'_, S, T>, Locked> {
        self.try_lock().or_else(|Locked| {
            self.missed.wait(cx.waker());
            // It may have been unlocked before the task was seen to wait.
            self.try_lock()
        })
    }

    #[inline]
    fn try_lock(&self) -> Result<ContentGuard<'_, S, T>, Locked> {
        match self.content.try_lock() {
            Ok(content) => Ok(self.guard(content)),
            Err(TryLockError::Poisoned(poisoned)) => Ok(self.guard(poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => Err(Locked),
        }
    }

    /// Locks the slot. Another task has it for no longer than a poll.
    fn lock(&self) -> ContentGuard<'_, S, T> {
        let content = self.content.lock();
        self.guard(content.unwrap_or_else(PoisonError::into_inner))
    }

    const fn guard<'a>(&'a self, content: MutexGuard<'a, Content<S, T>>) -> ContentGuard<'a, S, T> {
        ContentGuard {
            content,
            _wakes: WakesMissed(&self.missed),
        }
    }
}

impl<S, T> Slot<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    // For the handler.

    /// Polls the WebSocket for the handler. What it had borrowed comes back first.
    #[inline]
    pub(super) fn poll<R>(
        &self,
        borrowed: &mut Option<WebSocket<S, T>>,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut WebSocket<S, T>, &mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        let Ok(mut guard) = self.poll_lock(cx) else {
            return Poll::Pending;
        };
        let is_back = borrowed.is_some();
        if let Some(socket) = borrowed.take() {
            guard.content.held = Held::Socket(socket);
        }
        let polled = match &mut guard.content.held {
            Held::Socket(socket) => poll(socket, cx),
            Held::Half(_) | Held::Nothing => Poll::Pending,
        };
        // A task of its own may leave the WebSocket without the connection's task being polled.
        let is_here = self.polled_by.load(Ordering::Relaxed) == this_thread();
        self.is_driven
            .store(polled.is_pending() && is_here, Ordering::Relaxed);
        drop(guard);
        if is_back && !is_here {
            // The connection's task has not driven the WebSocket while it was borrowed, and was not woken for it.
            self.inbox.call_supervisor();
        }
        polled
    }

    /// Takes the WebSocket out, to be borrowed from or for good.
    pub(super) fn take(&self) -> Option<WebSocket<S, T>> {
        let held = std::mem::replace(&mut self.lock().content.held, Held::Nothing);
        match held {
            Held::Socket(socket) => Some(socket),
            Held::Half(_) | Held::Nothing => None,
        }
    }

    /// Uses the WebSocket for a moment.
    pub(super) fn with<R>(&self, use_it: impl FnOnce(&mut WebSocket<S, T>) -> R) -> Option<R> {
        self.is_driven.store(false, Ordering::Relaxed);
        match &mut self.lock().content.held {
            Held::Socket(socket) => Some(use_it(socket)),
            Held::Half(_) | Held::Nothing => None,
        }
    }

    /// The WebSocket was split: the server keeps a half.
    pub(super) fn set_half(&self, half: Sender<S, T>) {
        self.lock().content.held = Held::Half(half);
        self.inbox.call_supervisor();
    }

    // For the task of the connection.

    /// Call before the handler's future is polled.
    #[inline]
    pub(super) fn begin_poll(&self) {
        self.polled_by.store(this_thread(), Ordering::Relaxed);
        self.is_driven.store(false, Ordering::Relaxed);
    }

    /// Call after the handler's future has returned `Pending`. D9: drives the WebSocket, unless the
    /// handler has just done so.
    #[inline]
    pub(super) fn attend_unless_driven(&self, cx: &mut Context<'_>) {
        self.polled_by.store(0, Ordering::Relaxed);
        if !self.is_driven.load(Ordering::Relaxed) {
            self.attend(cx);
        }
    }

    /// Drives the WebSocket as far as possible without the handler.
    pub(super) fn attend(&self, cx: &mut Context<'_>) {
        let Ok(mut guard) = self.poll_lock(cx) else {
            return;
        };
        match &mut guard.content.held {
            Held::Socket(socket) => socket.poll_attend(cx),
            Held::Half(half) => half.poll_attend(cx),
            Held::Nothing => {}
        }
    }

    /// Waits until the server has the WebSocket for itself, or its transport was dropped. Drives it
    /// meanwhile.
    pub(super) fn poll_returned(&self, cx: &mut Context<'_>) -> Poll<()> {
        // The task is registered before it looks.
        if self.inbox.poll_gone(cx).is_ready() || self.is_returned() {
            return Poll::Ready(());
        }
        self.attend(cx);
        Poll::Pending
    }

    /// Whether the handler has no part in the WebSocket any more. Halves do not count: the server has
    /// one itself.
    pub(super) fn is_returned(&self) -> bool {
        let content = &self.lock().content;
        content.is_returned || matches!(content.held, Held::Half(_))
    }

    /// Whether the connection is over, as far as is known: a handler that cannot write any more was told
    /// so, even if the end of the stream is still to be read.
    pub(super) fn is_over(&self) -> bool {
        match &self.lock().content.held {
            Held::Socket(socket) => socket.closed().is_some() || socket.write_failed(),
            Held::Half(half) => half.closed().is_some() || half.write_failed(),
            Held::Nothing => false,
        }
    }

    /// Closes the connection, and waits for its end.
    pub(super) fn poll_close(&self, cx: &mut Context<'_>, frame: &CloseFrame) -> Poll<()> {
        let CloseFrame { code, reason } = frame.clone();
        match &mut self.lock().content.held {
            Held::Socket(socket) => {
                // Refused if the connection is closing already.
                let _ = socket.start_close(code, reason);
                socket.poll_discarding_as(cx, Role::Attend).map(drop)
            }
            Held::Half(half) => half.poll_close_for_server(cx, code, reason),
            Held::Nothing => Poll::Ready(()),
        }
    }
}

impl<S, T> Slot<S, T> {
    /// The handler's socket was dropped.
    pub(super) fn give_back(&self, borrowed: Option<WebSocket<S, T>>) {
        let mut guard = self.lock();
        if let Some(socket) = borrowed {
            guard.content.held = Held::Socket(socket);
        }
        guard.content.is_returned = true;
        drop(guard);
        self.inbox.call_supervisor();
    }
}

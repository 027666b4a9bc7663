//! Where a server keeps the WebSocket of a connection: its handler and the connection's task both use it.
//!
//! Each poll of the handler's [`Socket`](super::Socket) locks the slot for that poll. Whenever the
//! handler waits for something else, the connection's task drives the WebSocket itself (D9): pings are
//! answered, keepalive runs, a Close frame is answered and pushed messages leave.
//!
//! - No task waits for the lock: a task that finds it taken is woken, and polled again.
//! - While the handler borrows a message, the WebSocket is not here, and nothing drives it.
//! - However the handler ends, the WebSocket stays here, so that the server can close it.

use std::sync::{Arc, TryLockError};
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::CloseFrame;

use crate::driver::sync::atomic::{AtomicBool, Ordering};
use crate::driver::sync::{Mutex, MutexGuard};
use crate::driver::{Inbox, Role, Timer};
use crate::error::Result;
use crate::websocket::{Sender, WebSocket};

/// The place of one WebSocket.
pub(super) struct Slot<S, T> {
    content: Mutex<Content<S, T>>,
    /// Whether the handler has driven the WebSocket and waits for it, in the current poll of its future.
    is_driven: AtomicBool,
    /// Whether the connection's task has found the slot locked.
    is_missed: AtomicBool,
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

impl<S, T> Slot<S, T> {
    pub(super) fn new(socket: WebSocket<S, T>, inbox: Arc<Inbox>) -> Self {
        Self {
            content: Mutex::new(Content {
                held: Held::Socket(socket),
                is_returned: false,
            }),
            is_driven: AtomicBool::new(false),
            is_missed: AtomicBool::new(false),
            inbox,
        }
    }

    fn try_lock(&self) -> Result<MutexGuard<'_, Content<S, T>>, Locked> {
        match self.content.try_lock() {
            Ok(content) => Ok(content),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(Locked),
        }
    }

    /// Unlocks the slot. If the connection's task has found it locked, it is woken.
    #[inline]
    fn unlock(&self, content: MutexGuard<'_, Content<S, T>>) {
        drop(content);
        if self.is_missed.load(Ordering::Acquire) && self.is_missed.swap(false, Ordering::AcqRel) {
            self.inbox.call_supervisor();
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
        let Ok(mut content) = self.try_lock() else {
            // The connection's task has it for the time of one poll.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        if let Some(socket) = borrowed.take() {
            content.held = Held::Socket(socket);
        }
        let polled = match &mut content.held {
            Held::Socket(socket) => poll(socket, cx),
            Held::Half(_) | Held::Nothing => Poll::Pending,
        };
        if polled.is_pending() {
            self.is_driven.store(true, Ordering::Relaxed);
        }
        self.unlock(content);
        polled
    }

    /// Takes the WebSocket out, to be borrowed from or for good.
    pub(super) fn take(&self) -> Option<WebSocket<S, T>> {
        let mut content = self.wait_for_lock();
        let held = std::mem::replace(&mut content.held, Held::Nothing);
        match held {
            Held::Socket(socket) => Some(socket),
            Held::Half(_) | Held::Nothing => None,
        }
    }

    /// Uses the WebSocket for a moment.
    pub(super) fn with<R>(&self, use_it: impl FnOnce(&mut WebSocket<S, T>) -> R) -> Option<R> {
        let mut content = self.wait_for_lock();
        let used = match &mut content.held {
            Held::Socket(socket) => Some(use_it(socket)),
            Held::Half(_) | Held::Nothing => None,
        };
        self.unlock(content);
        used
    }

    /// The WebSocket was split: the server keeps a half.
    pub(super) fn set_half(&self, half: Sender<S, T>) {
        self.wait_for_lock().held = Held::Half(half);
        self.inbox.call_supervisor();
    }

    /// Another task holds the lock for no longer than a poll.
    fn wait_for_lock(&self) -> MutexGuard<'_, Content<S, T>> {
        let content = self.content.lock();
        content.unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    // For the task of the connection.

    /// Call before the handler's future is polled.
    #[inline]
    pub(super) fn begin_poll(&self) {
        self.is_driven.store(false, Ordering::Relaxed);
    }

    /// Call after the handler's future has returned `Pending`. D9: drives the WebSocket, unless the
    /// handler has just done so.
    #[inline]
    pub(super) fn attend_unless_driven(&self, cx: &mut Context<'_>) {
        if !self.is_driven.load(Ordering::Relaxed) {
            self.attend(cx);
        }
    }

    /// Drives the WebSocket as far as possible without the handler.
    pub(super) fn attend(&self, cx: &mut Context<'_>) {
        self.is_missed.store(true, Ordering::Release);
        let Ok(mut content) = self.try_lock() else {
            // Whoever has the lock wakes this task.
            return;
        };
        self.is_missed.store(false, Ordering::Relaxed);
        match &mut content.held {
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
        let content = self.wait_for_lock();
        content.is_returned || matches!(content.held, Held::Half(_))
    }

    /// Whether the connection is over, as far as is known: a handler that cannot write any more was told
    /// so, even if the end of the stream is still to be read.
    pub(super) fn is_over(&self) -> bool {
        let content = self.wait_for_lock();
        match &content.held {
            Held::Socket(socket) => socket.closed().is_some() || socket.write_failed(),
            Held::Half(half) => half.closed().is_some() || half.write_failed(),
            Held::Nothing => false,
        }
    }

    /// Closes the connection, and waits for its end.
    pub(super) fn poll_close(&self, cx: &mut Context<'_>, frame: &CloseFrame) -> Poll<()> {
        let mut content = self.wait_for_lock();
        let CloseFrame { code, reason } = frame.clone();
        match &mut content.held {
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
        let content = self.content.lock();
        let mut content = content.unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(socket) = borrowed {
            content.held = Held::Socket(socket);
        }
        content.is_returned = true;
        drop(content);
        self.inbox.call_supervisor();
    }
}

//! What reaches a connection from outside: messages, a Close frame, the command to drop the transport.
//!
//! Only the task that owns a WebSocket touches it. Other tasks leave what they want in its inbox and
//! wake the owner; the driver empties the inbox at the start of every step, and before it queues a
//! message of the owner. So what the owner's task pushed before it sends leaves before it, and no
//! caller waits for a slow peer. No lock is held while anything waits, is woken or is dropped.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use sansock_core::{CloseCode, CloseFrame, Closed, Prepared, SendError, Stats};

use super::DriveTarget;
use super::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use super::sync::{Mutex, MutexGuard};

/// The inbox of one connection, shared with all who push to it.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// Whether there is a command that the driver has not taken. Set after the command was left.
    called: AtomicBool,
    state: Mutex<State>,
    /// One more than the frames of messages that were received and sent; 0 unless they are counted.
    data_frames: AtomicU64,
    /// Bytes of this connection that `totals` include.
    counted: Totals,
    totals: Arc<Totals>,
}

/// Bytes that were received and sent.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) received: AtomicU64,
    pub(crate) sent: AtomicU64,
}

/// What the driver did with the contents of an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivered {
    /// Whether a message or a Close frame was queued.
    pub(super) queued: bool,
    /// Whether messages are left. They are sent as soon as there is room, which wakes no task.
    pub(super) is_left: bool,
    /// Whether a Close frame waits for a boundary between messages.
    pub(super) waits_for_boundary: bool,
    /// Whether the transport is to be dropped.
    pub(super) drops_transport: bool,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Prepared>,
    /// Bytes that `messages` hold, each with its overhead.
    backlog: usize,
    close: Option<CloseFrame>,
    /// Whether the Close frame waits for a boundary between messages.
    at_boundary: bool,
    life: Life,
    /// The code of the Close frame that came first, once it is known.
    code: Option<CloseCode>,
    command: Command,
    /// The waker of the tasks that drive the connection.
    driver: Option<Waker>,
    /// The waker of the task that supervises the connection.
    supervisor: Option<Waker>,
}

/// What the task that supervises the connection is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Command {
    #[default]
    Stay,
    /// Open no connection any more.
    Leave,
    /// End at once.
    Abort,
}

/// How far the connection is from its end, as seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Life {
    #[default]
    Open,
    /// A Close frame was asked for, or the connection is over: nothing more is sent.
    Closing,
    /// The transport is to be dropped at once.
    Dropping,
    /// The transport was dropped.
    Gone,
}

/// What became of a message for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    Queued,
    /// It was queued in place of the oldest.
    Replaced,
    /// It was not queued: more than the limit waits.
    Full,
    Closed,
}

/// What a message takes in a backlog beside its payload, at least.
const OVERHEAD: usize = 64;

impl Inbox {
    /// Returns an empty inbox of a connection whose bytes are added to `totals`.
    pub(crate) fn new(totals: Arc<Totals>) -> Self {
        Self {
            totals,
            ..Self::default()
        }
    }

    /// Queues a message unless more than `max` bytes wait then. One message fits in any case.
    /// `replace` drops the oldest to make room.
    pub(crate) fn push(&self, message: &Prepared, max: usize, replace: bool) -> Pushed {
        let size = size_of_message(message);
        let mut state = self.state();
        if state.life != Life::Open {
            return Pushed::Closed;
        }
        let fits = state.has_room(size, max);
        if !fits && !replace {
            return Pushed::Full;
        }
        let mut dropped = Vec::new();
        while !state.has_room(size, max) {
            dropped.extend(state.pop());
        }
        // For messages that wait already, the driver was called, or waits for room.
        let is_called = !state.messages.is_empty();
        state.backlog = state.backlog.saturating_add(size);
        state.messages.push_back(message.clone());
        match is_called {
            true => drop(state),
            false => self.call(state),
        }
        drop(dropped);
        match fits {
            true => Pushed::Queued,
            false => Pushed::Replaced,
        }
    }

    /// Requests a Close frame, after the messages that wait unless they are to be dropped. Only the first request
    /// counts.
    pub(crate) fn close(&self, frame: CloseFrame, drop_messages: bool) {
        let mut state = self.state();
        if state.life != Life::Open {
            return;
        }
        let dropped = drop_messages.then(|| state.take_messages());
        state.life = Life::Closing;
        state.close = Some(frame);
        state.at_boundary = false;
        self.call(state);
        drop(dropped);
    }

    /// Requests a Close frame for when no message is being received, answered or sent; until then, messages
    /// can be pushed. [`close`](Self::close) takes precedence.
    pub(crate) fn close_at_boundary(&self, frame: CloseFrame) {
        let mut state = self.state();
        if state.life == Life::Open && state.close.is_none() {
            state.close = Some(frame);
            state.at_boundary = true;
            self.call(state);
        }
    }

    /// Requests that the driver drop the transport.
    pub(crate) fn drop_transport(&self) {
        let mut state = self.state();
        if state.life < Life::Dropping {
            state.life = Life::Dropping;
            self.call(state);
        }
    }

    /// Gives the supervisor a command, unless it has a stricter one.
    pub(crate) fn command(&self, command: Command) {
        let mut state = self.state();
        state.command = state.command.max(command);
        self.wake_supervisor(state);
    }

    /// Counts the frames of messages from now on.
    pub(crate) fn count_data_frames(&self) {
        self.data_frames.fetch_max(1, Ordering::Relaxed);
    }

    /// Returns a number that changes whenever a frame of a message was received or sent, once the driver has
    /// waited or has looked at its deadlines.
    pub(crate) fn data_frames(&self) -> u64 {
        self.data_frames.load(Ordering::Relaxed)
    }

    /// Waits for a command that is at least this strict.
    pub(crate) fn poll_command(&self, cx: &mut Context<'_>, command: Command) -> Poll<()> {
        self.poll_supervisor(cx, |state| state.command >= command)
    }

    /// Waits until the transport was dropped.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_supervisor(cx, |state| state.life == Life::Gone)
    }

    /// Wakes the supervisor: something that it waits for elsewhere has changed.
    pub(crate) fn call_supervisor(&self) {
        self.wake_supervisor(self.state());
    }

    fn wake_supervisor(&self, state: MutexGuard<'_, State>) {
        let supervisor = state.supervisor.clone();
        drop(state);
        if let Some(supervisor) = supervisor {
            supervisor.wake();
        }
    }

    fn poll_supervisor(&self, cx: &mut Context<'_>, done: impl FnOnce(&State) -> bool) -> Poll<()> {
        let mut state = self.state();
        if done(&state) {
            return Poll::Ready(());
        }
        let old = match &state.supervisor {
            Some(known) if known.will_wake(cx.waker()) => None,
            _ => state.supervisor.replace(cx.waker().clone()),
        };
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// Takes the Close frame that was requested and not yet queued.
    pub(crate) fn take_close(&self) -> Option<CloseFrame> {
        self.state().close.take()
    }

    /// Whether messages can still be pushed.
    pub(crate) fn is_open(&self) -> bool {
        self.state().life == Life::Open
    }

    /// Returns how many bytes wait, each message with its overhead.
    pub(crate) fn backlog(&self) -> usize {
        self.state().backlog
    }

    /// Returns the code of the Close frame that came first, once it is known.
    pub(crate) fn code(&self) -> Option<CloseCode> {
        self.state().code
    }

    /// Records how the connection has ended. Nothing can be pushed any more.
    fn ended(&self, closed: &Closed) {
        let mut state = self.state();
        let first = closed.first().map(|frame| frame.code);
        state.code = Some(first.unwrap_or(CloseCode::ABNORMAL_CLOSURE));
        state.life = state.life.max(Life::Closing);
        let messages = state.take_messages();
        drop(state);
        drop(messages);
    }

    // For the driver.

    /// Whether there is something to take. Costs a load.
    #[inline]
    pub(super) fn is_called(&self) -> bool {
        self.called.load(Ordering::Acquire)
    }

    /// Hands the connection what waits for it, as far as its output queue has room.
    #[cold]
    pub(super) fn deliver(&self, connection: &mut impl DriveTarget) -> Delivered {
        let mut state = self.state();
        let waiting = state.messages.len();
        let dropped = state.send_messages(connection);
        let mut queued = state.messages.len() < waiting;
        if state.messages.is_empty() && !state.at_boundary {
            if let Some(frame) = state.close.take() {
                // Refused if the connection is closing already.
                queued |= connection.send_close(frame).is_ok();
            }
        }
        let is_left = !state.messages.is_empty();
        self.called.store(false, Ordering::Relaxed);
        let drops_transport = state.life == Life::Dropping;
        let waits_for_boundary = state.at_boundary;
        drop(state);
        drop(dropped);
        Delivered {
            queued,
            is_left,
            waits_for_boundary,
            drops_transport,
        }
    }

    /// The Close frame that waits for a boundary is to be sent now. The driver takes it in its next step.
    #[cold]
    pub(super) fn reached_boundary(&self) {
        let mut state = self.state();
        if mem::take(&mut state.at_boundary) {
            state.life = state.life.max(Life::Closing);
            self.called.store(true, Ordering::Release);
        }
    }

    /// Adds the bytes since the last call to the totals, and records the end of the connection.
    pub(crate) fn note(&self, stats: &Stats, closed: Option<&Closed>) {
        add(
            &self.counted.received,
            &self.totals.received,
            stats.bytes_received,
        );
        add(&self.counted.sent, &self.totals.sent, stats.bytes_sent);
        if self.data_frames() != 0 {
            let frames = stats
                .data_frames_received()
                .saturating_add(stats.data_frames_sent());
            self.data_frames
                .store(frames.saturating_add(1), Ordering::Relaxed);
        }
        if let Some(closed) = closed {
            self.ended(closed);
        }
    }

    /// Registers the waker of the tasks that drive the connection.
    pub(super) fn listen(&self, waker: &Waker) {
        let mut state = self.state();
        let old = state.driver.replace(waker.clone());
        drop(state);
        drop(old);
    }

    /// The transport was dropped.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        state.life = Life::Gone;
        let driver = state.driver.take();
        let messages = state.take_messages();
        self.wake_supervisor(state);
        drop((driver, messages));
    }

    /// Wakes the tasks that drive the connection.
    fn call(&self, state: MutexGuard<'_, State>) {
        self.called.store(true, Ordering::Release);
        let driver = state.driver.clone();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, size: usize, max: usize) -> bool {
        self.messages.is_empty() || self.backlog.saturating_add(size) <= max
    }

    /// Queues messages as long as the connection takes them. Returns those that it will never take.
    fn send_messages(&mut self, connection: &mut impl DriveTarget) -> VecDeque<Prepared> {
        while let Some(message) = self.messages.front() {
            match connection.send_prepared(message) {
                Ok(()) => drop(self.pop()),
                Err(SendError::State(_)) => return self.take_messages(),
                // The queue is full, or a message is being sent in parts: later.
                Err(_) => break,
            }
        }
        VecDeque::new()
    }

    fn pop(&mut self) -> Option<Prepared> {
        let message = self.messages.pop_front()?;
        self.backlog = self.backlog.saturating_sub(size_of_message(&message));
        Some(message)
    }

    fn take_messages(&mut self) -> VecDeque<Prepared> {
        self.backlog = 0;
        mem::take(&mut self.messages)
    }
}

fn size_of_message(message: &Prepared) -> usize {
    message.payload().len().saturating_add(OVERHEAD)
}

/// Adds what was counted since the last time to a total.
fn add(counted: &AtomicU64, total: &AtomicU64, now: u64) {
    let before = counted.swap(now, Ordering::Relaxed);
    if now != before {
        total.fetch_add(now.saturating_sub(before), Ordering::Relaxed);
    }
}

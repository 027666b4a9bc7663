//! The driver: moves bytes between a transport and a connection, and keeps its guarantees on every path.
//!
//! Every operation that waits is one call of [`Driver::drive_until`] with a [`Goal`], which repeats one
//! step: take commands from outside, write, parse, read, look at the clock. Operations that do not have
//! to wait use [`Driver::poll_flush`] or nothing at all. So each duty is decided once, here:
//!
//! - **D1, keep reading.** Every step reads unless a message was not taken yet. A flush that completes
//!   at once reads as well, at most every [`READ_INTERVAL`]: [`Driver::look_around`].
//! - **D2, deadlines always fire.** A poll that calls the transport looks at the clock once, whether it
//!   waits or not: [`Driver::mind_deadlines`], [`Driver::poll_time`].
//! - **D3, yield fairly.** Whatever is ready spends from a [`Budget`]; once it is spent, the task yields:
//!   [`Driver::yield_now`].
//! - **D4, wake the right tasks.** The transport gets the waker of all tasks that wait, and a task whose
//!   goal another task has met is woken: [`Wakers`].
//! - **D5, one outcome.** A transport that fails to write is read to its end, so that a Close frame that
//!   was received is what every operation reports: [`Driver::is_met`], [`FAREWELL`].
//! - **D6, progress counts as liveness.** The connection is told when the transport is full; it knows
//!   what was received and what was sent: [`Driver::write`].
//! - **D7, bounded memory.** Events that no operation waits for are dropped, or kept up to a bound:
//!   [`Unclaimed`]. What reaches the connection from outside is counted: [`Inbox`].
//! - **D8, few replies, sent first.** All control frames before the next message are parsed before one
//!   write, and that write is made before the message is delivered: [`Driver::step`].
//!
//! All progress is kept in the struct, so that a future may be dropped at any time.

mod budget;
mod inbox;
pub(crate) mod interim;
pub(crate) mod sync;
mod system;
mod timer;
pub(crate) mod trace;
mod transfer;
mod unclaimed;
mod wakers;

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use sansock_core::{ClientConnection, Connection, Instant, PingId, ServerConnection, State};

use budget::Budget;
use transfer::WriteSide;
use wakers::Wakers;

pub(crate) use inbox::{Command, Inbox, Pushed, Totals};
pub use system::{SystemEntropy, ThreadBuffers, config};
pub use timer::{NoTimer, Timer};
pub(crate) use unclaimed::{ControlEvent, Unclaimed};
pub(crate) use wakers::{Role, WakerSet};

/// How often a connection that only sends is read, and its deadlines are looked at.
const READ_INTERVAL: Duration = Duration::from_millis(20);

/// How long the transport is read after it has failed to write, if it has nothing to read then.
const FAREWELL: Duration = Duration::from_millis(100);

/// How long messages wait for a task that receives, while another closes the connection.
const UNREAD_GRACE: Duration = Duration::from_millis(100);

/// What an operation waits for. Every goal is also met by the end of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// An event of any kind.
    Event,
    /// A message, or a part of one.
    Data,
    /// Room in the output queue.
    Capacity,
    /// Everything that is queued was written and flushed.
    Written,
    /// The pong of a ping.
    Pong(PingId),
    /// The pong of a ping, or data that has to be taken before it can be seen.
    PongOrData(PingId),
    /// Nothing but the end.
    End,
}

/// A connection, before or after its opening handshake: what the driver needs of it.
pub(crate) trait DriveTarget {
    /// Whether the transport is dropped once the connection is over.
    const DROPS_TRANSPORT: bool;

    /// Parses up to the next event that an operation waits for. Returns whether there is one.
    fn parse(&mut self, unclaimed: &mut Unclaimed, goal: Goal) -> bool;

    /// Takes the end of the peer's stream.
    fn receive_eof(&mut self, now: Instant);

    fn connection(&self) -> &Connection;

    fn connection_mut(&mut self) -> &mut Connection;
}

impl DriveTarget for Connection {
    const DROPS_TRANSPORT: bool = true;

    #[inline]
    fn parse(&mut self, unclaimed: &mut Unclaimed, goal: Goal) -> bool {
        unclaimed.parse(self, goal)
    }

    fn receive_eof(&mut self, now: Instant) {
        Self::receive_eof(self, now);
    }

    #[inline]
    fn connection(&self) -> &Connection {
        self
    }

    #[inline]
    fn connection_mut(&mut self) -> &mut Connection {
        self
    }
}

/// The first event of an opening handshake is always waited for.
macro_rules! drive_handshake {
    ($($connection:ty),*) => {$(
        impl DriveTarget for $connection {
            const DROPS_TRANSPORT: bool = false;

            fn parse(&mut self, _: &mut Unclaimed, _: Goal) -> bool {
                self.parse_next()
            }

            fn receive_eof(&mut self, now: Instant) {
                Self::receive_eof(self, now);
            }

            fn connection(&self) -> &Connection {
                self
            }

            fn connection_mut(&mut self) -> &mut Connection {
                self
            }
        }
    )*};
}

drive_handshake!(ClientConnection, ServerConnection);

/// A connection with its transport and its timer, and what must be remembered between two polls.
#[derive(Debug)]
pub(crate) struct Driver<S, T, C = Connection> {
    pub(crate) connection: C,
    /// Dropped as soon as the connection is over.
    transport: Option<S>,
    timer: T,
    /// What the timer is set to.
    alarm: Option<Instant>,
    /// When to read and to look at the deadlines although no operation waits.
    look_at: Instant,
    pub(crate) budget: Budget,
    pub(crate) unclaimed: Unclaimed,
    wakers: Wakers,
    /// A message that was not taken stops the reading of a task that waits in another role than to
    /// receive: it is woken once the message is taken.
    pub(crate) is_reading_stopped: bool,
    inbox: Option<Owner>,
    write_side: WriteSide,
    /// The peer's stream has ended.
    read_ended: bool,
    /// Bytes were written that the transport was not yet asked to flush.
    unflushed: bool,
    /// Bytes were read to receive, since the last flush.
    read_lately: bool,
    /// Whether the first vectored write was judged.
    vectored: bool,
    write_failed: bool,
    /// Until when a transport that has failed to write is read.
    farewell: Option<Instant>,
    /// When messages that are not taken are discarded, while the connection is being closed.
    discard_at: Option<Instant>,
    /// The first failure of the transport, unless the connection had failed before.
    error: Option<Arc<io::Error>>,
}

/// The side of an inbox that takes commands. Dropped with the driver, whoever drops it.
#[derive(Debug)]
struct Owner(Arc<Inbox>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Whether a step starts with an attempt to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Try,
    /// The transport has just been asked.
    Blocked,
}

/// How a poll has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The goal is met, or the connection is over.
    Met,
    /// The transport and the timer will wake the task.
    Waiting,
    /// The budget is spent.
    Spent,
}

impl<S, T, C> Driver<S, T, C> {
    pub(crate) fn new(transport: S, timer: T, connection: C) -> Self {
        Self {
            connection,
            transport: Some(transport),
            timer,
            alarm: None,
            look_at: Instant::START,
            budget: Budget::full(),
            unclaimed: Unclaimed::default(),
            wakers: Wakers::default(),
            is_reading_stopped: false,
            inbox: None,
            write_side: WriteSide::Open,
            read_ended: false,
            unflushed: false,
            read_lately: false,
            vectored: false,
            write_failed: false,
            farewell: None,
            discard_at: None,
            error: None,
        }
    }

    /// Returns the transport, the timer and the connection; `None` once the transport was dropped.
    pub(crate) fn into_parts(self) -> Option<(S, T, C)> {
        Some((self.transport?, self.timer, self.connection))
    }

    /// Takes commands from this inbox as well.
    pub(crate) fn set_inbox(&mut self, inbox: Arc<Inbox>) {
        self.inbox = Some(Owner(inbox));
    }

    /// Replaces the connection by what it has become.
    pub(crate) fn map<D>(self, map: impl FnOnce(C) -> D) -> Driver<S, T, D> {
        Driver {
            connection: map(self.connection),
            transport: self.transport,
            timer: self.timer,
            alarm: self.alarm,
            look_at: self.look_at,
            budget: self.budget,
            unclaimed: self.unclaimed,
            wakers: self.wakers,
            is_reading_stopped: self.is_reading_stopped,
            inbox: self.inbox,
            write_side: self.write_side,
            read_ended: self.read_ended,
            unflushed: self.unflushed,
            read_lately: self.read_lately,
            vectored: self.vectored,
            write_failed: self.write_failed,
            farewell: self.farewell,
            discard_at: self.discard_at,
            error: self.error,
        }
    }

    /// Leaves it to the owner to wake the other tasks that wait, as halves do.
    pub(crate) fn leave_waking_to_owner(&mut self) {
        self.wakers.leave_to_owner();
    }

    /// Returns the transport, `None` once it was dropped.
    pub(crate) const fn transport(&self) -> Option<&S> {
        self.transport.as_ref()
    }

    pub(crate) const fn transport_mut(&mut self) -> Option<&mut S> {
        self.transport.as_mut()
    }

    /// Returns the first failure of the transport, unless the connection had failed before.
    pub(crate) const fn error(&self) -> Option<&Arc<io::Error>> {
        self.error.as_ref()
    }

    /// Whether there is a transport, and it takes what is written.
    #[inline]
    pub(crate) const fn can_write(&self) -> bool {
        self.transport.is_some() && !self.write_failed
    }

    /// Whether the transport has failed to write: nothing that is queued will leave.
    pub(crate) const fn write_failed(&self) -> bool {
        self.write_failed
    }
}

impl<S, T, C> Driver<S, T, C>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
    C: DriveTarget,
{
    pub(crate) fn now(&self) -> Instant {
        self.timer.now()
    }

    /// Whether nothing waits to be written or flushed, or never will be.
    pub(crate) fn is_written(&self) -> bool {
        self.write_failed || (self.connection.connection().is_flushed() && !self.unflushed)
    }

    /// Drives the connection until the goal is met, or the connection is over.
    ///
    /// A message that no operation has taken stops reading; it is left to the operation that receives.
    /// So two sides that both write do not wait for each other's reading, and the socket is the queue.
    pub(crate) fn drive_until(&mut self, cx: &mut Context<'_>, role: Role, goal: Goal) -> Poll<()> {
        self.drive(cx, role, goal, Write::Try)
    }

    fn drive(&mut self, cx: &mut Context<'_>, role: Role, goal: Goal, write: Write) -> Poll<()> {
        let mut progress = self.repeat_for_all(cx, role, goal, write);
        if progress == Progress::Waiting && self.registers_late(cx, role, goal) {
            progress = self.repeat_for_all(cx, role, goal, Write::Try);
        }
        if progress == Progress::Met {
            self.wakers.stop_waiting(role);
        }
        if self.wakers.others_wait(role) {
            self.wake_others(role);
        }
        match role {
            Role::Receive => self.resume_reading(),
            Role::Send | Role::Attend => {
                let is_stopped = self.connection.connection().is_data_ready();
                self.is_reading_stopped |= is_stopped && !self.wakers.are_left_to_owner();
                self.read_lately = false;
            }
        }
        match progress {
            Progress::Met => Poll::Ready(()),
            Progress::Spent => self.yield_now(cx),
            Progress::Waiting => {
                self.budget.refill();
                Poll::Pending
            }
        }
    }

    /// D5: drives the connection to its end, while another task may receive. A message that it does not
    /// take within [`UNREAD_GRACE`] is discarded, with all that follow, and counted.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>, role: Role) -> Poll<()> {
        loop {
            let ended = self.drive_until(cx, role, Goal::End);
            if ended.is_ready() || !self.connection.connection().is_data_ready() {
                self.discard_at = None;
                return ended;
            }
            let now = self.now();
            let discard_at = self
                .discard_at
                .get_or_insert_with(|| now.checked_add(UNREAD_GRACE).unwrap_or(now));
            let discard_at = Some(*discard_at);
            ready!(match self.wakers.shared(role, cx.waker()) {
                Some(waker) => self.poll_deadline(&mut Context::from_waker(&waker), discard_at),
                None => self.poll_deadline(cx, discard_at),
            });
            self.unclaimed.discard_unread();
        }
    }

    /// Repeats the step, with the waker of all tasks that wait if there are several.
    fn repeat_for_all(
        &mut self,
        cx: &mut Context<'_>,
        role: Role,
        goal: Goal,
        write: Write,
    ) -> Progress {
        let was_shared = self.wakers.is_shared();
        match self.wakers.shared(role, cx.waker()) {
            Some(waker) => {
                // The transport may have been asked with the waker of this task alone.
                let write = if was_shared { write } else { Write::Try };
                self.repeat(&mut Context::from_waker(&waker), goal, write)
            }
            None => self.repeat(cx, goal, write),
        }
    }

    /// Registers the task that waits. Returns whether the step is to be repeated: a command that was left
    /// before the inbox knew the waker has woken no task.
    fn registers_late(&mut self, cx: &Context<'_>, role: Role, goal: Goal) -> bool {
        if !self.wakers.wait(role, goal, cx.waker()) {
            return false;
        }
        self.listen(role, cx);
        self.has_commands()
    }

    /// Tells the inbox whom to wake.
    #[cold]
    fn listen(&mut self, role: Role, cx: &Context<'_>) {
        if let Some(Owner(inbox)) = &self.inbox {
            let shared = self.wakers.shared(role, cx.waker());
            inbox.listen(shared.as_ref().unwrap_or(cx.waker()));
        }
    }

    /// D4: wakes the tasks in other roles whose goal was met by this poll.
    #[cold]
    fn wake_others(&mut self, role: Role) {
        let (written, has_event) = (
            self.is_written(),
            self.connection.connection().is_event_at_hand(),
        );
        let mut wakers = std::mem::take(&mut self.wakers);
        wakers.wake_others(role, |goal| {
            self.transport.is_none() || self.is_met(goal, written, has_event)
        });
        self.wakers = wakers;
    }

    /// D1: wakes the tasks that go on reading once the message is taken that stops them: the caller takes
    /// or discards it before they are polled.
    #[inline]
    pub(crate) fn resume_reading(&mut self) {
        if self.is_reading_stopped {
            self.is_reading_stopped = false;
            self.wakers.wake_readers();
        }
    }

    /// D3: lets other tasks run, and asks to be polled again.
    pub(crate) fn yield_now<R>(&mut self, cx: &Context<'_>) -> Poll<R> {
        self.budget.refill();
        // A clock that stands still must not keep a connection that only sends from being read.
        self.look_at = Instant::START;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Repeats the step until the goal is met or the transport has nothing to do.
    fn repeat(&mut self, cx: &mut Context<'_>, goal: Goal, mut write: Write) -> Progress {
        let mut clock = Clock::default();
        loop {
            if self.budget.is_spent() {
                return Progress::Spent;
            }
            if let Some(progress) = self.step(cx, goal, write, &mut clock) {
                return progress;
            }
            write = Write::Try;
        }
    }

    /// One step. Returns how the poll ends, `None` if another step is due.
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        goal: Goal,
        write: Write,
        clock: &mut Clock,
    ) -> Option<Progress> {
        let took_commands = self.take_commands();
        let mut written = write == Write::Try && self.poll_write(cx).is_ready();
        if took_commands && written && self.has_commands() {
            // There was no room for all of them.
            return None;
        }
        let has_event = self.connection.parse(&mut self.unclaimed, goal);
        if written {
            // D8: replies are offered to the transport before the event that follows is delivered.
            written = self.poll_write(cx).is_ready();
        }
        if self.is_over(written) {
            self.drop_transport();
            return Some(Progress::Met);
        }
        if self.is_met(goal, written, has_event) {
            return Some(Progress::Met);
        }
        self.budget.spend_call(0);
        // D1: a message that was not taken is the only reason not to read.
        if !has_event && self.poll_read(cx, clock).is_ready() {
            return None;
        }
        if self.poll_time(cx, clock).is_ready() {
            return None;
        }
        if self.budget.is_spent() {
            return Some(Progress::Spent);
        }
        self.wait();
        Some(Progress::Waiting)
    }

    /// Whether there is nothing to wait for: the connection has ended, and all that it had to send was sent.
    fn is_over(&self, written: bool) -> bool {
        let connection = self.connection.connection();
        self.transport.is_none()
            || (connection.state() == State::Closed && (written || connection.is_flushed()))
    }

    fn is_met(&self, goal: Goal, written: bool, has_event: bool) -> bool {
        let connection = self.connection.connection();
        // D5: after a failed write, how the connection ended is known only once the transport was read
        // to its end. A message that was not taken is in the way.
        let is_written = written && (!self.write_failed || has_event);
        match goal {
            Goal::Event => has_event,
            Goal::Data => connection.is_data_ready(),
            Goal::Capacity => is_written || (!self.write_failed && connection.has_capacity()),
            Goal::Written => is_written,
            Goal::Pong(ping) => connection.is_ping_answered(ping),
            Goal::PongOrData(ping) => {
                connection.is_ping_answered(ping) || connection.is_data_ready()
            }
            Goal::End => false,
        }
    }

    /// Writes and flushes what is queued. As [`drive_until`](Self::drive_until) with
    /// [`Goal::Written`], which it turns to only if the transport does not take everything at once.
    #[inline]
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>, role: Role) -> Poll<()> {
        let is_simple =
            !self.wakers.is_shared() && !self.budget.is_spent() && !self.has_commands();
        if !is_simple {
            ready!(self.drive(cx, role, Goal::Written, Write::Try));
        } else if self.poll_write(cx).is_pending() {
            ready!(self.drive(cx, role, Goal::Written, Write::Blocked));
        } else if !self.can_write() {
            ready!(self.drive(cx, role, Goal::Written, Write::Try));
        }
        // A task that has just received usually receives again; others may not use the connection for long.
        let receives = std::mem::take(&mut self.read_lately);
        if !receives && self.timer.now() >= self.look_at {
            self.look_around(cx, role);
        }
        let connection = self.connection.connection_mut();
        if connection.should_release_read_buffer(receives) {
            self.release_unread();
        }
        Poll::Ready(())
    }

    /// D1, D2: reads what has arrived and minds the deadlines, without waiting.
    #[cold]
    fn look_around(&mut self, cx: &mut Context<'_>, role: Role) {
        match self.wakers.shared(role, cx.waker()) {
            Some(waker) => self.look(&mut Context::from_waker(&waker)),
            None => self.look(cx),
        }
        self.read_lately = false;
        self.wakers.stop_waiting(role);
        if self.wakers.others_wait(role) {
            self.wake_others(role);
        }
    }

    fn look(&mut self, cx: &mut Context<'_>) {
        let mut clock = Clock::default();
        // With this goal, pings and pongs are passed over.
        let goal = Goal::End;
        while !self.connection.parse(&mut self.unclaimed, goal)
            && !self.budget.is_spent()
            && self.poll_read(cx, &mut clock).is_ready()
        {}
        let now = clock.read(&self.timer);
        self.mind_deadlines(now);
        let written = self.poll_write(cx).is_ready();
        if self.is_over(written) {
            self.drop_transport();
        }
    }

    /// D2: does what is due.
    #[cold]
    fn mind_deadlines(&mut self, now: Instant) {
        let connection = self.connection.connection_mut();
        connection.handle_timeout(now);
        let soon = now.checked_add(READ_INTERVAL).unwrap_or(now);
        self.look_at = connection
            .next_timeout()
            .map_or(soon, |next| next.min(soon));
    }

    /// Looks at the clock, and arranges that the task is woken at the next deadline. Ready if a deadline
    /// changed something.
    fn poll_time(&mut self, cx: &mut Context<'_>, clock: &mut Clock) -> Poll<()> {
        let now = clock.read(&self.timer);
        let connection = self.connection.connection_mut();
        let before = (connection.state(), connection.is_flushed());
        connection.handle_timeout(now);
        if (connection.state(), connection.is_flushed()) != before {
            return Poll::Ready(());
        }
        let mut deadline = connection.next_timeout();
        if self.write_failed && !self.read_ended {
            let farewell = *self
                .farewell
                .get_or_insert_with(|| now.checked_add(FAREWELL).unwrap_or(now));
            if farewell <= now {
                self.end_reading(now);
                return Poll::Ready(());
            }
            deadline = Some(deadline.map_or(farewell, |deadline| deadline.min(farewell)));
        }
        self.poll_alarm(cx, deadline, clock)
    }

    /// Sets the alarm. An earlier one may stay: when it fires, the clock is asked.
    fn poll_alarm(
        &mut self,
        cx: &mut Context<'_>,
        deadline: Option<Instant>,
        clock: &mut Clock,
    ) -> Poll<()> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        let now = clock.read(&self.timer);
        if self
            .alarm
            .is_none_or(|alarm| deadline < alarm || alarm <= now)
        {
            self.timer.set(Some(deadline));
            self.alarm = Some(deadline);
        }
        ready!(self.timer.poll(cx));
        self.alarm = None;
        *clock = Clock::default();
        Poll::Ready(())
    }

    /// Ready once a time of the caller's has come; the task is woken for it.
    pub(crate) fn poll_deadline(
        &mut self,
        cx: &mut Context<'_>,
        deadline: Option<Instant>,
    ) -> Poll<()> {
        let mut clock = Clock::default();
        while deadline.is_none_or(|deadline| clock.read(&self.timer) < deadline) {
            ready!(self.poll_alarm(cx, deadline, &mut clock));
        }
        Poll::Ready(())
    }

    // Commands from outside.

    /// Whether the inbox holds something.
    #[inline]
    fn has_commands(&self) -> bool {
        self.inbox
            .as_ref()
            .is_some_and(|Owner(inbox)| inbox.is_called())
    }

    /// Takes what was left in the inbox. Returns whether something was queued.
    #[inline]
    pub(crate) fn take_commands(&mut self) -> bool {
        self.has_commands() && self.deliver()
    }

    #[cold]
    fn deliver(&mut self) -> bool {
        let Some(Owner(inbox)) = &self.inbox else {
            return false;
        };
        let delivered = inbox.deliver(self.connection.connection_mut());
        if delivered.drops_transport {
            self.abort();
        }
        delivered.queued
    }

    /// Ends the connection at once, as if the transport had been lost.
    fn abort(&mut self) {
        let now = self.now();
        let connection = self.connection.connection_mut();
        // The code may be given; nothing is sent.
        let _ = connection.fail(sansock_core::CloseCode::ABNORMAL_CLOSURE, "");
        self.connection.receive_eof(now);
        self.drop_transport();
    }

    // Resources.

    /// Gives back what is not needed while nothing happens.
    fn wait(&mut self) {
        let connection = self.connection.connection_mut();
        connection.release_buffers();
        if let Some(Owner(inbox)) = &self.inbox {
            inbox.note(&connection.stats(), connection.closed());
        }
    }

    /// Gives back the read buffer of a connection that only sends, unless it holds something.
    #[cold]
    fn release_unread(&mut self) {
        let connection = self.connection.connection_mut();
        if !connection.parse_next() {
            connection.release_buffers();
        }
    }

    /// The connection is over: closes the socket and frees the timer.
    #[cold]
    fn drop_transport(&mut self) {
        if !C::DROPS_TRANSPORT {
            return;
        }
        self.transport = None;
        self.timer.set(None);
        self.alarm = None;
        self.connection.connection_mut().release_buffers();
        if let Some(Owner(inbox)) = &self.inbox {
            let connection = self.connection.connection();
            inbox.note(&connection.stats(), connection.closed());
            inbox.leave();
        }
    }
}

/// The time of one poll: the clock is asked once, when the time is first needed.
#[derive(Debug, Default)]
struct Clock {
    now: Option<Instant>,
}

impl Clock {
    #[inline]
    fn read(&mut self, timer: &impl Timer) -> Instant {
        *self.now.get_or_insert_with(|| timer.now())
    }
}

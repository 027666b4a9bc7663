//! The driver: moves bytes between a transport and a connection, and keeps its guarantees on every path.
//!
//! Every operation that waits is one call of [`Driver::drive_until`] with a [`Goal`], which repeats one
//! step: take commands from outside, write, parse, read, look at the clock. Operations that do not have
//! to wait use [`Driver::poll_flush`] or nothing at all. So each duty is decided once, here:
//!
//! - **D1, keep reading.** Every step reads unless a message was not taken yet. A flush that completes
//!   at once reads as well, at most every [`READ_INTERVAL`]: [`Driver::check`].
//! - **D2, deadlines always fire.** A poll that calls the transport looks at the clock once, whether it
//!   waits or not: [`Driver::mind_deadlines`], [`Driver::poll_time`].
//! - **D3, yield fairly.** Whatever is ready spends from a [`Budget`]; once it is spent, the task yields:
//!   [`Driver::yield_now`].
//! - **D4, wake the right tasks.** The transport gets the waker of all tasks that wait, and a task whose
//!   goal another task has met is woken: [`Wakers`].
//! - **D5, one outcome.** A transport that fails to write is read to its end, so that a Close frame that
//!   was received is what every operation reports: [`Driver::is_met`], [`FAREWELL`].
//! - **D6, progress counts as liveness.** The connection counts what was received and what was sent. The
//!   driver reports a full transport to it: [`Driver::write`]. What has arrived is read before the deadline
//!   of a pong is looked at: [`Driver::step`].
//! - **D7, bounded memory.** Events that no operation waits for are dropped, or kept up to a bound:
//!   [`Unclaimed`]. What reaches the connection from outside is counted: [`Inbox`].
//! - **D8, few replies, sent first.** All control frames before the next message are parsed before one
//!   write, and that write is made before the message is delivered: [`Driver::step`].
//!
//! All progress is kept in the struct, so that a future may be dropped at any time.

mod budget;
mod inbox;
mod rate;
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
use sansock_core::{
    ClientConnection, CloseCode, CloseFrame, Connection, Instant, PingId, Prepared, Protocol,
    Ready, SendError, ServerConnection, State,
};

use budget::Budget;
use rate::Limiter;
use transfer::WriteSide;
use wakers::{Registered, Wakers};

pub(crate) use inbox::{Command, Inbox, Pushed, Totals};
pub use rate::RateLimit;
pub use system::{ThreadBuffers, config};
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

/// A connection, before or after its opening handshake: what the driver needs beside [`Protocol`].
pub(crate) trait DriveTarget: Protocol {
    /// Whether the transport is dropped once the connection is over.
    const DROPS_TRANSPORT: bool;

    /// Parses up to the next event that an operation waits for. Returns whether there is one.
    fn parse(&mut self, unclaimed: &mut Unclaimed, goal: Goal) -> bool;

    fn send_prepared(&mut self, message: &Prepared) -> Result<(), SendError>;

    fn send_close(&mut self, frame: CloseFrame) -> Result<(), SendError>;

    fn fail(&mut self, code: CloseCode) -> Result<(), SendError>;

    /// Whether the connection is not read for now. A handshake always is.
    fn set_reading_paused(&mut self, paused: bool);
}

macro_rules! drive_targets {
    ($($connection:ty, drops_transport: $drops:literal, parse: $parse:expr, pause: $pause:expr;)*) => {$(
        impl DriveTarget for $connection {
            const DROPS_TRANSPORT: bool = $drops;

            #[inline]
            fn parse(&mut self, unclaimed: &mut Unclaimed, goal: Goal) -> bool {
                $parse(self, unclaimed, goal)
            }

            fn send_prepared(&mut self, message: &Prepared) -> Result<(), SendError> {
                Self::send_prepared(self, message)
            }

            fn send_close(&mut self, frame: CloseFrame) -> Result<(), SendError> {
                Self::send_close(self, frame.code, frame.reason)
            }

            fn fail(&mut self, code: CloseCode) -> Result<(), SendError> {
                Self::fail(self, code, "")
            }

            fn set_reading_paused(&mut self, paused: bool) {
                $pause(self, paused);
            }
        }
    )*};
}

// The first event of an opening handshake is always waited for.
drive_targets! {
    Connection, drops_transport: true,
        parse: |this, unclaimed: &mut Unclaimed, goal| unclaimed.parse(this, goal),
        pause: |this: &mut Self, paused| Self::set_reading_paused(this, paused);
    ClientConnection, drops_transport: false, parse: |this: &mut Self, _, _| this.parse_next(), pause: |_, _| ();
    ServerConnection, drops_transport: false, parse: |this: &mut Self, _, _| this.parse_next(), pause: |_, _| ();
}

/// A connection with its transport and its timer, and what must be remembered between two polls.
#[derive(Debug)]
pub(crate) struct Driver<S, T, C = Connection> {
    pub(crate) connection: C,
    /// Dropped as soon as the connection is over.
    transport: Option<S>,
    timer: T,
    /// What the timer is set to.
    alarm: Option<Instant>,
    /// The time of the current poll, once it was asked for.
    now: Option<Instant>,
    /// When to read and to look at the deadlines although no operation waits.
    check_at: Instant,
    pub(crate) budget: Budget,
    pub(crate) unclaimed: Unclaimed,
    wakers: Wakers,
    inbox: Option<Owner>,
    write_side: WriteSide,
    /// The peer's stream has ended.
    read_ended: bool,
    /// Bytes were written that the transport was not yet asked to flush.
    unflushed: bool,
    /// Bytes were read since the last flush.
    read_lately: bool,
    /// Whether the first vectored write was judged.
    vectored: bool,
    /// Why the quick ways do not apply.
    detours: Detours,
    /// Whether whoever polls passes a waker of all tasks, and wakes them itself.
    owner_wakes: bool,
    /// What ends the connection before its own deadlines do, and what limits how it is read. Absent until it is
    /// being closed, unless there is a limit.
    grace: Option<Box<Grace>>,
    /// The first failure of the transport, unless the connection had failed before.
    error: Option<Arc<io::Error>>,
}

/// Why an operation may not take a quick way. Several reasons may hold at a time; usually none does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Detours(u16);

impl Detours {
    const NONE: Self = Self(0);
    /// Several tasks wait.
    const SHARED: Self = Self(1);
    /// The transport has failed to write: nothing that is queued will leave.
    const WRITE_FAILED: Self = Self(1 << 1);
    /// The transport was dropped.
    const TRANSPORT_GONE: Self = Self(1 << 2);
    /// The task has yielded since the last step: what was read may not have been parsed.
    const YIELDED: Self = Self(1 << 3);
    /// A message that was not taken stops another task from reading: that task is woken once the message
    /// is taken.
    const READING_STOPPED: Self = Self(1 << 4);
    /// Messages are left in the inbox, as the connection did not take them.
    const COMMANDS_LEFT: Self = Self(1 << 5);
    /// There is an inbox, which may have been called.
    const INBOX: Self = Self(1 << 6);
    /// Data is discarded.
    const DISCARDING: Self = Self(1 << 7);
    /// There is a limit of the rate.
    const LIMITED: Self = Self(1 << 8);

    #[inline]
    const fn has(self, detour: Self) -> bool {
        self.0 & detour.0 != 0
    }

    /// Whether there are no others than these.
    #[inline]
    const fn are_within(self, others: Self) -> bool {
        self.0 & !others.0 == 0
    }

    #[inline]
    const fn add(&mut self, detour: Self) {
        self.0 |= detour.0;
    }

    #[inline]
    const fn remove(&mut self, detour: Self) {
        self.0 &= !detour.0;
    }
}

/// What few connections have: deadlines of the driver, and a limit of the rate.
#[derive(Debug, Default)]
struct Grace {
    /// Until when a transport that has failed to write is read.
    farewell: Option<Instant>,
    /// When messages that are not taken are discarded, while the connection is being closed.
    discard: Option<Instant>,
    /// Present while a Close frame waits for a boundary between messages: how many data frames had been sent
    /// when it was requested.
    leaving: Option<u64>,
    limiter: Option<Limiter>,
}

/// The side of an inbox that takes commands. Dropped with the driver, whoever drops it.
#[derive(Debug)]
struct Owner(Arc<Inbox>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// What the transport was asked for just before a step, in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blocked {
    Nothing,
    /// It does not take what is queued.
    Write,
    /// It has nothing to read, there is nothing to write, and everything that arrived was parsed.
    Read,
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
            now: None,
            check_at: Instant::START,
            budget: Budget::full(),
            unclaimed: Unclaimed::default(),
            wakers: Wakers::default(),
            inbox: None,
            write_side: WriteSide::Open,
            read_ended: false,
            unflushed: false,
            read_lately: false,
            vectored: false,
            detours: Detours::default(),
            owner_wakes: false,
            grace: None,
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
        self.detours.add(Detours::INBOX);
    }

    /// Replaces the connection by what it has become.
    ///
    /// It takes a box, from which every field is moved on its own: passed by value, the whole driver would be
    /// copied once more.
    #[inline]
    #[expect(clippy::boxed_local, reason = "the block is freed here")]
    pub(crate) fn map<D>(self: Box<Self>, map: impl FnOnce(C) -> D) -> Driver<S, T, D> {
        Driver {
            connection: map(self.connection),
            transport: self.transport,
            timer: self.timer,
            alarm: self.alarm,
            now: self.now,
            check_at: self.check_at,
            budget: self.budget,
            unclaimed: self.unclaimed,
            wakers: self.wakers,
            inbox: self.inbox,
            write_side: self.write_side,
            read_ended: self.read_ended,
            unflushed: self.unflushed,
            read_lately: self.read_lately,
            vectored: self.vectored,
            detours: self.detours,
            owner_wakes: self.owner_wakes,
            grace: self.grace,
            error: self.error,
        }
    }

    /// Leaves it to the owner to wake the other tasks that wait, as halves do.
    pub(crate) fn leave_waking_to_owner(&mut self) {
        self.owner_wakes = true;
        // A task that has polled before does not wait any more.
        self.wakers = Wakers::default();
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

    /// Whether something was put into the inbox since it was looked into.
    #[inline]
    fn is_called(&self) -> bool {
        let inbox = self.inbox.as_ref();
        inbox.is_some_and(|Owner(inbox)| inbox.is_called())
    }

    /// Whether nothing came from outside, and there is a transport that takes what is written.
    #[inline]
    pub(crate) fn is_undisturbed(&self) -> bool {
        self.detours == Detours::NONE
            || (self
                .detours
                .are_within(Detours(Detours::INBOX.0 | Detours::DISCARDING.0))
                && !self.is_called())
    }

    /// Whether there is a transport, and it takes what is written.
    #[inline]
    pub(crate) const fn can_write(&self) -> bool {
        !self
            .detours
            .has(Detours(Detours::WRITE_FAILED.0 | Detours::TRANSPORT_GONE.0))
    }

    /// Whether the transport has failed to write: nothing that is queued will leave.
    #[inline]
    pub(crate) const fn write_failed(&self) -> bool {
        self.detours.has(Detours::WRITE_FAILED)
    }

    /// Whether a message that was not taken stops another task from reading.
    #[inline]
    const fn is_reading_stopped(&self) -> bool {
        self.detours.has(Detours::READING_STOPPED)
    }

    /// Whether a message that is ready may be returned without driving the connection: no task waits for
    /// that, messages are not discarded, and the connection is not over.
    #[inline]
    pub(crate) const fn may_return_data(&self) -> bool {
        !self.detours.has(Detours(
            Detours::READING_STOPPED.0
                | Detours::DISCARDING.0
                | Detours::LIMITED.0
                | Detours::TRANSPORT_GONE.0,
        ))
    }

    /// Limits how fast the connection is read from now on.
    pub(crate) fn limit_rate(&mut self, limit: RateLimit)
    where
        C: DriveTarget,
    {
        let limiter = Limiter::new(limit, &self.connection.connection().stats());
        self.grace.get_or_insert_default().limiter = Some(limiter);
        self.detours.add(Detours::LIMITED);
    }

    /// Whether data is discarded.
    pub(crate) const fn is_discarding(&self) -> bool {
        self.detours.has(Detours::DISCARDING)
    }

    /// Discards data from now on, up to `limit` bytes.
    pub(crate) fn discard(&mut self, limit: u64) {
        self.detours.add(Detours::DISCARDING);
        self.unclaimed.discard(limit);
        // D1: no task receives any more, so the next flush reads.
        self.read_lately = false;
    }
}

impl<S, T> Driver<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Timer,
{
    /// Drives the connection until data is ready, or it is over. As [`drive_until`](Self::drive_until) with
    /// [`Goal::Data`], but quicker if the transport has a whole message.
    #[inline]
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.now = None;
        if self.has_yielded() {
            self.parse_rest();
        }
        if self.budget.is_spent() {
            return self.yield_now(cx);
        }
        let mut blocked = Blocked::Nothing;
        // An event that is ready stops reading.
        let is_simple = self.is_undisturbed()
            && self.connection.io().ready().is_none()
            && (!self.wakers.another_waits(Role::Receive)
                || (!self.others_wait(Role::Receive)
                    && self.wakers.is_alone(Role::Receive, cx.waker())));
        if is_simple && self.poll_write(cx).is_pending() {
            blocked = Blocked::Write;
        } else if is_simple && !self.read_ended {
            if self.poll_read(cx).is_pending() {
                blocked = Blocked::Read;
            } else if self.connection.parse_next()
                && self.is_data_ready()
                && !self.is_discarding()
                && !self.connection.io().has_output()
            {
                self.wakers.stop_waiting(Role::Receive);
                return Poll::Ready(());
            }
        }
        if self.detours.has(Detours::TRANSPORT_GONE) {
            // D3: nothing else would end a chain of messages that are left.
            self.budget.spend_message();
        }
        self.drive(cx, Role::Receive, Goal::Data, blocked)
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

    /// Whether a message, or a part of one, is ready.
    #[inline]
    pub(crate) fn is_data_ready(&mut self) -> bool {
        self.connection.io().ready() == Some(Ready::Data)
    }

    /// D2: returns the time of the current poll. The clock is asked once, when the time is first needed.
    #[inline]
    pub(crate) fn current_time(&mut self) -> Instant {
        *self.now.get_or_insert_with(|| self.timer.now())
    }

    /// Whether nothing waits to be written or flushed, or never will be.
    pub(crate) fn is_written(&self) -> bool {
        self.write_failed() || (self.connection.connection().is_flushed() && !self.unflushed)
    }

    /// Whether the last poll has ended as the budget was spent, not to wait.
    pub(crate) const fn has_yielded(&self) -> bool {
        self.detours.has(Detours::YIELDED)
    }

    /// Drives the connection until the goal is met, or the connection is over.
    ///
    /// A message that no operation has taken stops reading; it is left to the operation that receives.
    /// So two sides that both write do not wait for each other's reading, and the socket is the queue.
    pub(crate) fn drive_until(&mut self, cx: &mut Context<'_>, role: Role, goal: Goal) -> Poll<()> {
        self.now = None;
        self.drive(cx, role, goal, Blocked::Nothing)
    }

    /// As [`drive_until`](Self::drive_until), in a poll that has [begun](Self::begin_poll).
    pub(crate) fn continue_until(
        &mut self,
        cx: &mut Context<'_>,
        role: Role,
        goal: Goal,
    ) -> Poll<()> {
        self.drive(cx, role, goal, Blocked::Nothing)
    }

    /// Begins a poll that needs the time before it drives the connection.
    pub(crate) const fn begin_poll(&mut self) {
        self.now = None;
    }

    fn drive(
        &mut self,
        cx: &mut Context<'_>,
        role: Role,
        goal: Goal,
        blocked: Blocked,
    ) -> Poll<()> {
        self.detours.remove(Detours::YIELDED);
        self.share_with_others(cx, role);
        let mut progress = self.repeat_for_all(cx, role, goal, blocked);
        if progress == Progress::Waiting && self.registers_another(cx, role, goal) {
            progress = self.repeat_for_all(cx, role, goal, Blocked::Nothing);
        }
        if progress == Progress::Met {
            self.wakers.stop_waiting(role);
        }
        if self.others_wait(role) {
            self.wake_others(role);
        }
        match role {
            Role::Receive if self.wakers.is_shared() => self.resume_reading(),
            // The task that reads on is this one.
            Role::Receive => self.detours.remove(Detours::READING_STOPPED),
            Role::Send | Role::Attend => {
                let may_wait = self.wakers.is_shared() || progress == Progress::Waiting;
                match self.is_data_ready() {
                    true if may_wait => self.detours.add(Detours::READING_STOPPED),
                    true => {}
                    // This task has taken the message, to keep it while it waits for a pong.
                    false => self.resume_reading_of_others(role),
                }
                // What was read while a pong or the end was awaited does not make this a receiver.
                self.read_lately &= matches!(goal, Goal::Written | Goal::Capacity);
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
            let is_over = ended.is_ready() || !self.is_data_ready();
            let grace = self.grace.get_or_insert_default();
            if is_over {
                grace.discard = None;
                return ended;
            }
            let now = *self.now.get_or_insert_with(|| self.timer.now());
            let soon = now.checked_add(UNREAD_GRACE).unwrap_or(now);
            let discard_at = Some(*grace.discard.get_or_insert(soon));
            ready!(match self.wakers.shared(role, cx.waker()) {
                Some(waker) => self.poll_deadline(&mut Context::from_waker(&waker), discard_at),
                None => self.poll_deadline(cx, discard_at),
            });
            self.detours.add(Detours::DISCARDING);
            self.unclaimed.discard_unread();
        }
    }

    /// D4: if another task waits, the transport gets the waker of both from now on: this task's would take the
    /// place of the other's.
    #[inline]
    fn share_with_others(&mut self, cx: &Context<'_>, role: Role) {
        if !self.wakers.is_alone(role, cx.waker()) {
            self.wakers.share();
            self.detours.add(Detours::SHARED);
            self.listen(role, cx);
        }
    }

    /// Repeats the step with the waker of all tasks that wait.
    fn repeat_for_all(
        &mut self,
        cx: &mut Context<'_>,
        role: Role,
        goal: Goal,
        blocked: Blocked,
    ) -> Progress {
        match self.wakers.shared(role, cx.waker()) {
            Some(waker) => self.repeat(&mut Context::from_waker(&waker), goal, blocked),
            None => self.repeat(cx, goal, blocked),
        }
    }

    /// Registers the task that waits. Returns whether the step is to be repeated: D4: the transport is
    /// asked again once it needs the waker of another task as well. And a command that was left before
    /// the inbox had this waker has woken no task.
    fn registers_another(&mut self, cx: &Context<'_>, role: Role, goal: Goal) -> bool {
        let registered = self.wakers.wait(role, goal, cx.waker());
        if registered == Registered::Known {
            return false;
        }
        self.listen(role, cx);
        if registered == Registered::Shared {
            self.detours.add(Detours::SHARED);
        }
        registered == Registered::Shared || self.has_commands()
    }

    /// Tells the inbox whom to wake.
    #[cold]
    fn listen(&mut self, role: Role, cx: &Context<'_>) {
        if let Some(Owner(inbox)) = &self.inbox {
            let shared = self.wakers.shared(role, cx.waker());
            inbox.listen(shared.as_ref().unwrap_or(cx.waker()));
            if inbox.is_called() {
                // It was called after this poll had emptied it, and did not know whom to wake.
                cx.waker().wake_by_ref();
            }
        }
    }

    /// D4: wakes the tasks in other roles whose goal was met by this poll.
    #[cold]
    fn wake_others(&mut self, role: Role) {
        // As a step would find: the write side may still have to be closed.
        let written = self.write_failed() || self.is_quiet();
        let has_event = self.connection.io().ready().is_some();
        let mut wakers = std::mem::take(&mut self.wakers);
        wakers.wake_others(role, |goal| {
            self.transport.is_none() || self.is_met(goal, written, has_event)
        });
        self.wakers = wakers;
    }

    /// D1: wakes the tasks that read on once the message is taken that stops them. The caller takes or
    /// discards it before they are polled.
    #[inline]
    pub(crate) fn resume_reading(&mut self) {
        self.resume_reading_of_others(Role::Receive);
    }

    #[inline]
    fn resume_reading_of_others(&mut self, role: Role) {
        if self.is_reading_stopped() {
            self.detours.remove(Detours::READING_STOPPED);
            self.wakers.wake_readers(role);
        }
    }

    /// D3: lets other tasks run, and asks to be polled again.
    pub(crate) fn yield_now<R>(&mut self, cx: &Context<'_>) -> Poll<R> {
        self.budget.refill();
        self.detours.add(Detours::YIELDED);
        // A connection that only sends is read in the end, though the clock may stand still.
        let sooner = self
            .check_at
            .since_start()
            .saturating_sub(READ_INTERVAL / 16);
        self.check_at = Instant::from_start(sooner);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Repeats the step until the goal is met or the transport has nothing to do.
    fn repeat(&mut self, cx: &mut Context<'_>, goal: Goal, mut blocked: Blocked) -> Progress {
        let mut is_first = true;
        loop {
            if self.budget.is_spent() {
                return Progress::Spent;
            }
            if let Some(progress) = self.step(cx, goal, blocked) {
                return progress;
            }
            blocked = Blocked::Nothing;
            // D2: what was not written since the last poll gets its deadline, though there is always more to read.
            if let (true, false, Some(now)) = (is_first, self.is_quiet(), self.now) {
                self.mind_deadlines(now);
            }
            is_first = false;
        }
    }

    /// One step. Returns how the poll ends, `None` if another step is due.
    fn step(&mut self, cx: &mut Context<'_>, goal: Goal, blocked: Blocked) -> Option<Progress> {
        if blocked != Blocked::Read {
            let took_commands = self.take_commands();
            // D8: everything before the next message is parsed before one write, which is made before that
            // message is delivered.
            let has_event = self.connection.parse(&mut self.unclaimed, goal);
            if self.detours.has(Detours::LIMITED) {
                self.hold_message();
            }
            let written = blocked == Blocked::Nothing && self.poll_write(cx).is_ready();
            // There was no room for all of them. They come before what this task sends, and before what is received.
            let may_have_room = took_commands || self.detours.has(Detours::COMMANDS_LEFT);
            if written && may_have_room && self.take_commands() {
                return None;
            }
            if self.is_over(written) {
                self.drop_transport();
                return Some(Progress::Met);
            }
            if self.is_met(goal, written, has_event) {
                return Some(Progress::Met);
            }
            self.budget.spend_message();
            // D1: a message that was not taken is the only reason not to read.
            if !has_event && self.read(cx).is_ready() {
                return None;
            }
            if let Some(at) = self.held_until() {
                if self.poll_alarm(cx, Some(at)).is_ready() {
                    return None;
                }
            }
        }
        if self.poll_time(cx).is_ready() {
            return None;
        }
        if self.budget.is_spent() {
            return Some(Progress::Spent);
        }
        if self.grace.is_some() && self.leaves(goal) {
            return None;
        }
        self.wait();
        Some(Progress::Waiting)
    }

    /// Whether there is nothing to wait for: the connection has ended, and all that it had to send was sent. The end of
    /// its stream is a part of that if the stream shares its connection: the peer would take a stream that is dropped
    /// for one that was reset.
    fn is_over(&self, written: bool) -> bool {
        let connection = self.connection.connection();
        let is_sent = || connection.is_flushed() && !connection.is_end_pending();
        self.transport.is_none() || (connection.state() == State::Closed && (written || is_sent()))
    }

    fn is_met(&mut self, goal: Goal, written: bool, has_event: bool) -> bool {
        let is_held = self.held_until().is_some();
        let is_data_ready = self.is_data_ready() && !is_held;
        let connection = self.connection.connection();
        // D5: after a failed write, how the connection ended is known only once the transport was read
        // to its end. A message that was not taken is in the way.
        let is_written = written && (!self.write_failed() || has_event);
        match goal {
            Goal::Event => has_event && !is_held,
            Goal::Data => is_data_ready,
            Goal::Capacity => is_written || (!self.write_failed() && connection.has_capacity()),
            Goal::Written => is_written,
            Goal::Pong(ping) => connection.is_ping_answered(ping),
            Goal::PongOrData(ping) => connection.is_ping_answered(ping) || is_data_ready,
            Goal::End => false,
        }
    }

    /// Until when a message that is ready is not delivered, for a limit of the rate.
    #[inline]
    fn held_until(&self) -> Option<Instant> {
        if !self.detours.has(Detours::LIMITED) {
            return None;
        }
        let limiter = self.grace.as_ref()?.limiter.as_ref()?;
        limiter.held_until()
    }

    /// Holds the message that is ready if it is beyond the limit of the rate, or closes the connection for it.
    #[cold]
    fn hold_message(&mut self) {
        let is_limited =
            self.is_data_ready() && self.connection.connection().state() == State::Open;
        let now = self.current_time();
        let Some(limiter) = self.grace.as_mut().and_then(|grace| grace.limiter.as_mut()) else {
            return;
        };
        if !is_limited {
            limiter.release();
        } else if limiter.hold(&self.connection.connection().stats(), now) {
            // Refused if it has failed already.
            let _ = self.connection.fail(CloseCode::POLICY_VIOLATION);
        }
    }

    /// Whether another role waits for something that this one may bring about.
    #[inline]
    const fn others_wait(&self, role: Role) -> bool {
        !self.owner_wakes && self.wakers.others_wait(role)
    }

    /// Parses what was read before the task has yielded.
    #[cold]
    fn parse_rest(&mut self) {
        self.detours.remove(Detours::YIELDED);
        self.connection.parse(&mut self.unclaimed, Goal::Data);
    }

    /// Drives the connection as an operation does that cannot take its quick way.
    #[cold]
    fn take_detour(&mut self, cx: &mut Context<'_>, role: Role, goal: Goal) -> Poll<()> {
        match self.budget.is_spent() {
            true => self.yield_now(cx),
            false => self.drive_until(cx, role, goal),
        }
    }

    /// Writes and flushes what is queued. As [`drive_until`](Self::drive_until) with
    /// [`Goal::Written`], which it turns to only if the transport does not take everything at once.
    #[inline(always)]
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>, role: Role) -> Poll<()> {
        let is_simple = self.is_undisturbed()
            && !self.budget.is_spent()
            && self.wakers.is_first(role, cx.waker());
        let is_driven = if !is_simple {
            ready!(self.take_detour(cx, role, Goal::Written));
            true
        } else if self.poll_write(cx).is_pending() {
            self.now = None;
            ready!(self.drive(cx, role, Goal::Written, Blocked::Write));
            true
        } else if self.write_failed() {
            ready!(self.drive_until(cx, role, Goal::Written));
            true
        } else {
            // D3: nothing else would end a chain of flushes that have nothing to write.
            self.budget.spend_message();
            false
        };
        // A task that has just received usually receives again; others may not use the connection for long.
        let receives = std::mem::take(&mut self.read_lately);
        if !receives {
            let now = match is_driven {
                true => self.current_time(),
                false => self.timer.now(),
            };
            if now >= self.check_at {
                self.now = Some(now);
                ready!(self.check(cx, role));
            }
        }
        let connection = &mut self.connection;
        if connection.io().should_release_read_buffer(receives) && connection.io().ready().is_none()
        {
            self.release_unread();
        }
        Poll::Ready(())
    }

    /// Drives the connection until data can be queued.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>, role: Role) -> Poll<()> {
        ready!(self.drive_until(cx, role, Goal::Capacity));
        match self.current_time() >= self.check_at {
            true => self.check(cx, role),
            false => Poll::Ready(()),
        }
    }

    /// D1, D2: reads what has arrived and minds the deadlines, without waiting. Pending if a reply could not be written: then
    /// what was received decides how the connection ended (D5), or the task has to yield first (D3).
    #[cold]
    fn check(&mut self, cx: &mut Context<'_>, role: Role) -> Poll<()> {
        // It reads as much as a task that has just begun, though this one may have done much before.
        let before = std::mem::replace(&mut self.budget, Budget::full());
        match self.wakers.shared(role, cx.waker()) {
            Some(waker) => self.check_now(&mut Context::from_waker(&waker)),
            None => self.check_now(cx),
        }
        let after = std::mem::replace(&mut self.budget, before);
        self.budget.spend_as(after);
        self.read_lately = false;
        if self.others_wait(role) {
            self.wake_others(role);
        }
        if self.write_failed() || (self.budget.is_spent() && !self.is_quiet()) {
            return self.drive(cx, role, Goal::Written, Blocked::Nothing);
        }
        self.wakers.stop_waiting(role);
        Poll::Ready(())
    }

    fn check_now(&mut self, cx: &mut Context<'_>) {
        // With this goal, pings and pongs are passed over.
        while !self.connection.parse(&mut self.unclaimed, Goal::End)
            && !self.budget.is_spent()
            && self.read(cx).is_ready()
        {}
        let now = self.current_time();
        self.mind_deadlines(now);
        if self.grace.is_some() && self.leaves(Goal::End) {
            self.take_commands();
        }
        let written = self.poll_write(cx).is_ready();
        if self.is_over(written) {
            self.drop_transport();
        }
    }

    /// D2: does what is due.
    #[cold]
    fn mind_deadlines(&mut self, now: Instant) {
        let connection = &mut self.connection;
        connection.handle_timeout(now);
        let soon = now.checked_add(READ_INTERVAL).unwrap_or(now);
        self.check_at = connection
            .next_timeout()
            .map_or(soon, |next| next.min(soon));
        // It may never wait.
        self.note();
    }

    /// D2: does what is due, while the peer has more to read all the time.
    #[cold]
    fn mind_deadlines_after_read(&mut self, now: Instant) {
        match self.check_at {
            // Nothing has been waited for yet.
            Instant::START => self.check_at = now.checked_add(READ_INTERVAL).unwrap_or(now),
            _ => self.mind_deadlines(now),
        }
    }

    /// Looks at the clock, and arranges that the task is woken at the next deadline. Ready if a deadline
    /// changed something.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.current_time();
        let state = |connection: &Connection| (connection.state(), connection.is_flushed());
        let before = state(self.connection.connection());
        self.connection.handle_timeout(now);
        if state(self.connection.connection()) != before {
            return Poll::Ready(());
        }
        let mut deadline = self.connection.next_timeout();
        if deadline.is_none() && self.is_over(false) {
            // The end of the stream could not be written in time.
            return Poll::Ready(());
        }
        if self.write_failed() && !self.read_ended {
            let soon = now.checked_add(FAREWELL).unwrap_or(now);
            let grace = self.grace.get_or_insert_default();
            let farewell = *grace.farewell.get_or_insert(soon);
            if farewell <= now {
                self.end_reading(now);
                return Poll::Ready(());
            }
            deadline = Some(deadline.map_or(farewell, |deadline| deadline.min(farewell)));
        }
        self.poll_alarm(cx, deadline)
    }

    /// Sets the alarm. An earlier one may stay: when it fires, the clock is asked.
    fn poll_alarm(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        let now = self.current_time();
        if self
            .alarm
            .is_none_or(|alarm| deadline < alarm || alarm <= now)
        {
            self.timer.set(Some(deadline));
            self.alarm = Some(deadline);
        }
        ready!(self.timer.poll(cx));
        self.alarm = None;
        self.now = None;
        Poll::Ready(())
    }

    /// Ready once a time of the caller's has come; the task is woken for it.
    pub(crate) fn poll_deadline(
        &mut self,
        cx: &mut Context<'_>,
        deadline: Option<Instant>,
    ) -> Poll<()> {
        while deadline.is_none_or(|deadline| self.current_time() < deadline) {
            ready!(self.poll_alarm(cx, deadline));
        }
        Poll::Ready(())
    }

    // Commands from outside.

    /// Whether the inbox holds something.
    #[inline]
    fn has_commands(&self) -> bool {
        self.detours.has(Detours::COMMANDS_LEFT) || self.is_called()
    }

    /// Whether a message can be queued at once, and nothing is known to prevent it from being sent. What was
    /// pushed from outside is queued first, so that it leaves in the order of the calls.
    #[inline]
    pub(crate) fn has_capacity(&mut self) -> bool {
        if !self.is_undisturbed() {
            self.take_commands();
            if !self.can_write() {
                return false;
            }
        }
        // A connection that has failed refuses the command.
        self.connection.connection().has_capacity()
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
        let delivered = inbox.deliver(&mut self.connection);
        match delivered.is_left {
            true => self.detours.add(Detours::COMMANDS_LEFT),
            false => self.detours.remove(Detours::COMMANDS_LEFT),
        }
        if delivered.waits_for_boundary {
            let sent = self.connection.connection().stats().data_frames_sent();
            let grace = self.grace.get_or_insert_default();
            grace.leaving.get_or_insert(sent);
        }
        if delivered.drops_transport {
            self.abort();
        }
        delivered.queued
    }

    /// Whether a Close frame waited for a boundary between messages, and the connection is at one: no message is
    /// incomplete or unread, and none may be about to be answered. One may be unless the application waits for a
    /// message, has sent one since, or has not received any.
    #[cold]
    fn leaves(&mut self, goal: Goal) -> bool {
        let leaving = self.grace.as_ref().and_then(|grace| grace.leaving);
        let (Some(sent_before), Some(Owner(inbox))) = (leaving, &self.inbox) else {
            return false;
        };
        let io = self.connection.io();
        if io.ready().is_some() || !io.is_between_messages() {
            return false;
        }
        let stats = self.connection.connection().stats();
        let waits = matches!(goal, Goal::Data | Goal::Event);
        if !waits && stats.data_frames_received() > 0 && stats.data_frames_sent() == sent_before {
            return false;
        }
        inbox.reached_boundary();
        if let Some(grace) = &mut self.grace {
            grace.leaving = None;
        }
        true
    }

    /// Ends the connection at once, as if the transport had been lost.
    fn abort(&mut self) {
        let now = self.now();
        // The code may be given; nothing is sent.
        let _ = self.connection.fail(CloseCode::ABNORMAL_CLOSURE);
        self.connection.receive_eof(now);
        self.drop_transport();
    }

    // Resources.

    /// Gives back what is not needed while nothing happens.
    fn wait(&mut self) {
        self.connection.io().release_buffers();
        self.note();
    }

    /// Tells the inbox what was counted, and how the connection has ended.
    #[inline]
    fn note(&self) {
        if let Some(Owner(inbox)) = &self.inbox {
            let connection = self.connection.connection();
            inbox.note(&connection.stats(), connection.closed());
        }
    }

    /// Gives back the read buffer of a connection that only sends, unless it holds something.
    #[cold]
    fn release_unread(&mut self) {
        let connection = &mut self.connection;
        if !connection.parse_next() {
            connection.io().release_buffers();
        }
    }

    /// The connection is over: closes the socket and frees the timer.
    #[cold]
    fn drop_transport(&mut self) {
        if !C::DROPS_TRANSPORT {
            return;
        }
        self.transport = None;
        self.detours.add(Detours::TRANSPORT_GONE);
        self.timer.set(None);
        self.alarm = None;
        let connection = &mut self.connection;
        // What is queued never leaves: that decides how the connection was closed.
        connection.write_failed();
        connection.io().release_buffers();
        if let Some(Owner(inbox)) = &self.inbox {
            let connection = self.connection.connection();
            inbox.note(&connection.stats(), connection.closed());
            inbox.leave();
        }
    }
}

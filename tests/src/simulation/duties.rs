//! What the driver owes on every path, as numbers: the labels D1 to D9 are those of the driver's
//! documentation.
//!
//! A task that was woken is polled before the time passes. So whatever is due at once must have happened
//! whenever no task is woken: then everything here is checked. What an application does not promise, or
//! prevents, does not count: it may leave a message unread, or use its connection only now and then.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use sansock::serve::Handle;
use sansock_core::{Delivery, Instant, Side};

use super::faults::Fault;
use super::ledger::Ledger;
use super::monitor::{Monitor, Seen};
use super::network::Probe;
use super::time::Alarm;
use super::world::World;

/// D1: how old a ping may get while an application sends now and then.
const SENDING: Duration = Duration::from_millis(50);
/// D1: a call that has moved this many bytes may leave the rest for a later one.
const MOST_READ: usize = 64 << 10;
/// D3: calls of the transport, bytes and results between two yields, of one operation that waits in
/// between.
const MOST_CALLS: u32 = 256 + 8;
const MOST_BYTES: usize = (256 << 10) + (128 << 10);
const MOST_RESULTS: u32 = 256 + 16;

/// D2: polls of other tasks that may come first where every poll takes a time.
const POLLS_BETWEEN: u32 = 20;

/// The largest numbers that were measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbers {
    /// D1: age of a ping that should have been answered.
    pub ping_age: Duration,
    /// D2: time past a deadline.
    pub past_deadline: Duration,
    /// D3: calls of the transport in one poll.
    pub calls: u32,
    /// D3: bytes moved in one poll.
    pub bytes: usize,
    /// D3: operations in one poll that were ready.
    pub results: u32,
    /// D4: polls in a row that changed nothing.
    pub idle_polls: u32,
    /// D7: bytes held.
    pub held: i64,
}

impl Numbers {
    /// Takes the larger of each.
    pub fn add(&mut self, other: &Self) {
        self.ping_age = self.ping_age.max(other.ping_age);
        self.past_deadline = self.past_deadline.max(other.past_deadline);
        self.calls = self.calls.max(other.calls);
        self.bytes = self.bytes.max(other.bytes);
        self.results = self.results.max(other.results);
        self.idle_polls = self.idle_polls.max(other.idle_polls);
        self.held = self.held.max(other.held);
    }
}

/// The duties of one endpoint.
pub(super) struct Duties {
    world: Rc<World>,
    side: Side,
    probe: Probe,
    monitor: Rc<RefCell<Monitor>>,
    monitor_of_peer: Rc<RefCell<Monitor>>,
    /// What the peer sends.
    theirs: Rc<Ledger>,
    promise: Promise,
    inbound: RefCell<Inbound>,
    alarms: RefCell<Vec<Rc<Alarm>>>,
    /// Operations that were ready in this poll.
    results: Cell<u32>,
    /// A message was received since the last was sent: it is assumed that another will be.
    has_received: Cell<bool>,
    numbers: Cell<Numbers>,
}

/// What the application does at the moment.
#[derive(Default)]
struct Promise {
    /// The opening handshake is done.
    opened: Cell<bool>,
    /// Operations that wait, and drive the connection.
    driving: Cell<u32>,
    /// Operations that wait for a message.
    receiving: Cell<u32>,
    /// A server drives the connection, unless something is borrowed.
    served: Cell<bool>,
    /// The handle of the connection, once there was one.
    handle: OnceCell<Handle>,
    /// What was received is borrowed.
    borrowed: Cell<u32>,
    /// What was received was borrowed from the WebSocket of a handler, and nothing was called since.
    lent: Cell<bool>,
    /// A message is being sent in parts: no other can leave.
    writing: Cell<u32>,
    /// How parts of messages are received, if they are.
    parts: Cell<Option<Delivery>>,
    /// What arrives is discarded.
    discards: Cell<bool>,
}

/// What has arrived and may have to be reacted to.
#[derive(Default)]
struct Inbound {
    pings: VecDeque<Arrived<Vec<u8>>>,
    close: Option<Arrived<()>>,
    /// Whole messages.
    messages: usize,
    /// A message has begun.
    in_message: bool,
}

/// Something that has arrived.
struct Arrived<T> {
    what: T,
    /// Whole messages before it.
    messages: usize,
    /// It is between the parts of a message.
    in_message: bool,
    /// Since when the application is not in the way.
    visible_since: Option<Instant>,
}

/// Counts one until it is dropped.
pub(super) struct Guard<'a>(&'a Cell<u32>);

impl<'a> Guard<'a> {
    fn new(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// An operation that waits for a message, until it is dropped.
pub(super) struct Receiving<'a> {
    _guards: [Guard<'a>; 2],
    has_received: &'a Cell<bool>,
}

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        self.has_received.set(true);
    }
}

impl Duties {
    pub(super) fn new(
        world: &Rc<World>,
        side: Side,
        probe: Probe,
        monitors: [Rc<RefCell<Monitor>>; 2],
        theirs: &Rc<Ledger>,
    ) -> Rc<Self> {
        let [monitor, monitor_of_peer] = monitors;
        Rc::new(Self {
            world: world.clone(),
            side,
            probe,
            monitor,
            monitor_of_peer,
            theirs: theirs.clone(),
            promise: Promise::default(),
            inbound: RefCell::default(),
            alarms: RefCell::default(),
            results: Cell::new(0),
            has_received: Cell::new(false),
            numbers: Cell::default(),
        })
    }

    // What the application promises.

    /// The opening handshake is done.
    pub(super) fn opened(&self) {
        self.promise.opened.set(true);
        // The opening handshake was received.
        self.has_received.set(true);
    }

    /// An operation waits.
    pub(super) fn drive(&self) -> Guard<'_> {
        self.promise.lent.set(false);
        Guard::new(&self.promise.driving)
    }

    /// An operation waits for a message.
    pub(super) fn receive(&self) -> Receiving<'_> {
        self.has_received.set(true);
        Receiving {
            _guards: [self.drive(), Guard::new(&self.promise.receiving)],
            has_received: &self.has_received,
        }
    }

    /// Something is borrowed.
    pub(super) fn borrow(&self) -> Guard<'_> {
        Guard::new(&self.promise.borrowed)
    }

    /// Something was borrowed from the WebSocket of a handler, which is driven again from the next
    /// operation on.
    pub(super) fn lend(&self) {
        self.promise.lent.set(true);
    }

    /// A message is sent in parts.
    pub(super) fn write(&self) -> Guard<'_> {
        Guard::new(&self.promise.writing)
    }

    /// How many bytes were pushed and wait.
    pub(super) fn pushed(&self) -> usize {
        self.promise.handle.get().map_or(0, Handle::backlog)
    }

    /// A server drives the connection from now on, or no longer.
    pub(super) fn set_served(&self, by: Option<Handle>) {
        self.promise.served.set(by.is_some());
        if let Some(handle) = by {
            self.promise.handle.get_or_init(|| handle);
        }
    }

    /// Messages are received whole from now on, or in parts.
    pub(super) fn set_parts(&self, parts: Option<Delivery>) {
        self.promise.parts.set(parts);
    }

    /// What arrives is discarded from now on, and no task receives.
    pub(super) fn set_discards(&self) {
        self.promise.discards.set(true);
        self.has_received.set(false);
    }

    /// Returns the alarm of another timer of the connection.
    pub(super) fn alarm(&self) -> Rc<Alarm> {
        let alarm = Rc::new(Alarm::default());
        self.world
            .uncounted(|| self.alarms.borrow_mut().push(alarm.clone()));
        alarm
    }

    /// An operation was ready.
    pub(super) fn result(&self) {
        self.results.set(self.results.get() + 1);
    }

    /// Counts it when an operation is pending whose task does something else then: the next operation
    /// starts with a full budget.
    pub(super) async fn beside_others<T>(&self, operation: impl Future<Output = T>) -> T {
        let mut operation = pin!(operation);
        poll_fn(|cx| {
            let polled = operation.as_mut().poll(cx);
            if polled.is_pending() {
                self.world.goes_on();
            }
            polled
        })
        .await
    }

    /// D1: a message was sent: a ping has been answered that came well before.
    pub(super) fn has_sent(&self) {
        let now = self.world.now();
        // A read that is short, or pending and ready a moment later, is not repeated. A task that has just received may
        // not be polled again.
        let faults = [Fault::ShortRead, Fault::Hesitate, Fault::Starve];
        let is_read_once = faults.iter().any(|fault| self.world.faults().has(*fault));
        let is_over = self.monitor.borrow().closes() > 0 || !self.probe.is_usable();
        if self.has_received.take() || is_read_once || is_over || self.probe.is_blocked(now) {
            return;
        }
        let age = self.world.uncounted(|| {
            self.notice(now);
            if self.probe.bytes_moved() >= MOST_READ {
                for ping in &mut self.inbound.borrow_mut().pings {
                    ping.visible_since = None;
                }
            }
            self.ping_age(now).unwrap_or_default()
        });
        self.note(|numbers| numbers.ping_age = age);
        assert!(age <= SENDING, "{:?}: a ping is {age:?} old", self.side);
    }

    /// D2: something with a deadline took so long. It may be late by as much as alarms were late and the
    /// clock has jumped.
    #[track_caller]
    pub(super) fn took(&self, start: Instant, limit: Duration) {
        let took = self.world.now().saturating_since(start);
        let excuse = self.world.disturbed() + POLLS_BETWEEN * self.world.poll_time();
        let late = took.saturating_sub(limit + self.world.disturbed());
        self.note(|numbers| numbers.past_deadline = late);
        assert!(took <= limit + excuse, "took {took:?} instead of {limit:?}");
    }

    // What is measured.

    pub(super) fn numbers(&self) -> Numbers {
        self.numbers.get()
    }

    fn note(&self, set: impl FnOnce(&mut Numbers)) {
        let mut numbers = Numbers::default();
        set(&mut numbers);
        let mut all = self.numbers.get();
        all.add(&numbers);
        self.numbers.set(all);
    }

    /// D3: a poll of one of its tasks has ended.
    pub(super) fn end_poll(&self) {
        self.world.uncounted(|| self.notice(self.world.now()));
        let (calls, pending, bytes) = self.probe.take_work();
        let results = self.results.take();
        self.note(|numbers| {
            numbers.calls = calls;
            numbers.bytes = bytes;
            numbers.results = results;
        });
        // An operation that waits starts the next with a full budget.
        let budgets = 1 + pending + self.world.take_pending();
        let side = self.side;
        assert!(calls <= budgets * MOST_CALLS, "{side:?}: {calls} calls");
        assert!(
            bytes <= budgets as usize * MOST_BYTES,
            "{side:?}: {bytes} bytes"
        );
        assert!(
            results <= budgets * MOST_RESULTS,
            "{side:?}: {results} results"
        );
    }

    /// No task is woken: whatever is due has happened.
    pub(super) fn check(&self, now: Instant) {
        self.notice(now);
        self.pongs();
        self.look(now);
        if !self.promise.opened.get() || !self.probe.is_usable() {
            return;
        }
        let side = self.side;
        let is_lent = self.promise.borrowed.get() > 0 || self.promise.lent.get();
        let is_served = self.promise.served.get() && !is_lent;
        if self.promise.driving.get() == 0 && !is_served {
            return;
        }
        // D2: deadlines always fire.
        let overdue = self
            .alarms
            .borrow()
            .iter()
            .filter_map(|alarm| alarm.overdue(now))
            .max();
        let overdue = overdue.unwrap_or_default();
        self.note(|numbers| numbers.past_deadline = overdue);
        assert!(overdue.is_zero(), "{side:?}: {overdue:?} past a deadline");
        if self.monitor.borrow().closes() > 0 || self.probe.is_blocked(now) {
            return;
        }
        // D4: the task that receives is woken.
        let unread = self.unread();
        let is_receiving = self.promise.receiving.get() > 0;
        assert!(
            !is_receiving || unread == 0,
            "{side:?}: {unread} messages not received"
        );
        // D1: pings are answered, and a Close frame.
        let age = self.ping_age(now);
        self.note(|numbers| numbers.ping_age = age.unwrap_or_default());
        assert!(
            age.is_none(),
            "{side:?}: a ping is not answered, {age:?} old"
        );
        let close = self.inbound.borrow();
        let close = close.close.as_ref().filter(|close| self.is_visible(close));
        assert!(close.is_none(), "{side:?}: a Close frame is not answered");
        // D9: what was pushed leaves.
        if self.promise.served.get() && self.promise.writing.get() == 0 {
            let waiting = self.pushed();
            assert!(
                waiting == 0,
                "{side:?}: {waiting} bytes that were pushed wait"
            );
        }
    }

    /// How many messages have arrived and were not delivered.
    fn unread(&self) -> usize {
        if self.promise.discards.get() || self.theirs.plan().as_bytes {
            return 0;
        }
        let messages = self.inbound.borrow().messages;
        messages.saturating_sub(self.theirs.messages_delivered())
    }

    /// Takes what has arrived.
    fn notice(&self, now: Instant) {
        let arrived = self.probe.arrived(now);
        let mut inbound = self.inbound.borrow_mut();
        let inbound = &mut *inbound;
        while let Some(seen) = self.monitor_of_peer.borrow_mut().take_seen(arrived) {
            let (messages, in_message) = (inbound.messages, inbound.in_message);
            match seen {
                Seen::Ping(what) => {
                    // One pong answers all that are the same.
                    let is_same = inbound.pings.back().is_some_and(|ping| {
                        ping.what == what
                            && (ping.messages, ping.in_message) == (messages, in_message)
                    });
                    if !is_same {
                        inbound.pings.push_back(Arrived {
                            what,
                            messages,
                            in_message,
                            visible_since: None,
                        });
                    }
                }
                Seen::Close => {
                    let what = ();
                    inbound.close.get_or_insert(Arrived {
                        what,
                        messages,
                        in_message,
                        visible_since: None,
                    });
                }
                Seen::Data { is_last } => {
                    inbound.messages += usize::from(is_last);
                    inbound.in_message = !is_last;
                }
            }
        }
    }

    /// Notes what the application is not in the way of any more.
    fn look(&self, now: Instant) {
        let mut inbound = self.inbound.borrow_mut();
        for ping in &mut inbound.pings {
            if self.is_visible(ping) {
                ping.visible_since.get_or_insert(now);
            }
        }
    }

    /// Compares the pongs that were written with the pings. Section 5.5.3: of several pings, only the
    /// last has to be answered.
    fn pongs(&self) {
        let mut inbound = self.inbound.borrow_mut();
        while let Some(pong) = self.monitor.borrow_mut().take_pong() {
            let answered = inbound.pings.iter().rposition(|ping| ping.what == pong);
            if let Some(last) = answered {
                inbound.pings.drain(..=last);
            }
        }
    }

    /// Whether the application is not in the way of something that has arrived.
    fn is_visible<T>(&self, arrived: &Arrived<T>) -> bool {
        let promise = &self.promise;
        let is_receiving = promise.receiving.get() > 0;
        if promise.discards.get() || is_receiving {
            return true;
        }
        if self.theirs.plan().as_bytes {
            return arrived.messages == 0 && !arrived.in_message;
        }
        arrived.messages <= self.theirs.messages_delivered()
            && !(arrived.in_message && promise.parts.get().is_some())
    }

    /// Returns the age of the oldest ping that is not answered and should be.
    fn ping_age(&self, now: Instant) -> Option<Duration> {
        self.pongs();
        self.look(now);
        let inbound = self.inbound.borrow();
        let pings = inbound.pings.iter().filter(|ping| self.is_visible(ping));
        let ages = pings.filter_map(|ping| Some(now.saturating_since(ping.visible_since?)));
        ages.max()
    }
}

//! The connections of a server, how many there were, and whether the server continues.
//!
//! Which opening handshakes give way to others is decided in `handshakes.rs`. Operations on a single
//! connection take constant or logarithmic time; listing all connections and shutting down take linear
//! time. No task is woken while the lock is held.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::mem;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytestring::ByteString;
use sansock_core::handshake::StatusCode;
use sansock_core::{CloseCode, CloseFrame, Instant};

use super::addresses::Addresses;
use super::handle::Handle;
use super::handshakes::{Group, HandshakeId, Handshakes};
use crate::driver::sync::atomic::Ordering;
use crate::driver::sync::{Mutex, MutexGuard};
use crate::driver::{Command, Totals};
use crate::transport::Peer;

/// Numbers of a server, as they were at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// Connections that are open now, those that are being closed included.
    pub open: usize,
    /// Opening handshakes in progress now, including those of TLS, and clients that stay after a refusal.
    pub handshakes: usize,
    /// Transports accepted so far.
    pub accepted: u64,
    /// Connections opened so far.
    pub opened: u64,
    /// Requests answered with another status than 101, by status: as it was decided, even if the client
    /// did not wait for the answer.
    pub rejected: BTreeMap<u16, u64>,
    /// Opening handshakes that ended without an answer: out of time, given up, failed transports, clients that
    /// have left without a byte. Not those that were evicted.
    pub failed: u64,
    /// Opening handshakes that were dropped before their request was complete, as another connection
    /// needed their place; see [`max_handshakes`](super::Serve::max_handshakes).
    pub evicted: u64,
    /// Connections closed so far, by the code of the Close frame that came first, whoever sent it; 1006
    /// where there was none, or the connection was aborted.
    pub closed: BTreeMap<u16, u64>,
    /// Handlers that returned an error or panicked. To return the error that says that the connection is
    /// over is no failure.
    pub handler_failures: u64,
    /// Attempts to accept that failed, for want of descriptors for example.
    pub accept_errors: u64,
    /// Bytes received, opening handshakes included.
    pub bytes_received: u64,
    /// Bytes handed to transports.
    pub bytes_sent: u64,
}

/// What one server knows.
pub(super) struct Registry {
    limits: Limits,
    totals: Arc<Totals>,
    state: Mutex<State>,
}

/// How many of what there may be at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) connections: usize,
    pub(super) connections_per_address: Option<usize>,
    pub(super) handshakes: usize,
    pub(super) backlog: usize,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// Present once the server drains.
    drain: Option<Drain>,
    handshakes: Handshakes,
    open: HashSet<Handle>,
    /// The open connections of each address, if they are limited.
    addresses: Addresses,
    counts: Snapshot,
    /// Loops that wait for room for a handshake.
    for_room: Waiters,
    /// Tasks that wait for a later phase.
    for_phase: Waiters,
    /// Tasks that wait until no connection is left.
    for_empty: Waiters,
}

/// The tasks that wait for one kind of change.
#[derive(Default)]
struct Waiters {
    wakers: HashMap<u64, Waker>,
    next_id: u64,
}

/// What a task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Room,
    Phase(Phase),
    Empty,
}

/// Waits for a change. Ready with `false` if the server is shutting down and it will not come.
pub(super) struct Wait<R: Deref<Target = Registry>> {
    registry: R,
    change: Change,
    /// Present while the task is among those to be woken.
    id: Option<u64>,
}

/// How far a server is on its way down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Phase {
    #[default]
    Serving,
    /// No connection is opened any more, and those that are left may finish.
    Draining,
    Closing,
    Stopped,
}

/// How a server drains, in time since it has begun to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drain {
    /// When it shuts down.
    pub(super) deadline: Duration,
    /// Over how long before that the closes are spread.
    pub(super) spread: Duration,
}

/// Why a connection is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    /// The address has as many connections as one may have.
    AddressFull,
    Draining(Drain),
    Closing,
}

impl Registry {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        let limits = Limits {
            handshakes: limits.handshakes.max(1),
            ..limits
        };
        Arc::new(Self {
            limits,
            totals: Arc::default(),
            state: Mutex::default(),
        })
    }

    /// Takes in a transport that was accepted now. If there is no room, a handshake that can be evicted gives
    /// way to it.
    pub(super) fn enter(self: &Arc<Self>, peer: Peer, now: Instant) -> Registration {
        let totals = self.totals.clone();
        let handle = Handle::new(peer, totals, self.limits.backlog);
        let mut state = self.state();
        state.counts.accepted += 1;
        let is_full = state.handshakes.in_progress() >= self.limits.handshakes;
        let evicted = match is_full {
            true => state.handshakes.evict(now),
            false => None,
        };
        let id = state.handshakes.insert(handle.clone(), now);
        let is_leaving = state.phase >= Phase::Closing;
        drop(state);
        if let Some(evicted) = evicted {
            evicted.abort();
        }
        if is_leaving {
            handle.inbox().command(Command::Leave);
        }
        Registration {
            registry: self.clone(),
            handle,
            id,
            stage: Stage::Handshake,
        }
    }

    /// Waits for room for an opening handshake; `false` once the server does not serve any more.
    pub(super) fn room(&self) -> Wait<&Self> {
        self.wait(Change::Room)
    }

    /// Waits until the server is in this phase, or a later one.
    pub(super) fn phase(&self, phase: Phase) -> Wait<&Self> {
        self.wait(Change::Phase(phase))
    }

    /// As [`phase`](Self::phase), for a future that outlives the caller.
    pub(super) const fn phase_of(registry: Arc<Self>, phase: Phase) -> Wait<Arc<Self>> {
        Wait {
            registry,
            change: Change::Phase(phase),
            id: None,
        }
    }

    /// Waits until neither a connection nor a handshake is left.
    pub(super) fn empty(&self) -> Wait<&Self> {
        self.wait(Change::Empty)
    }

    const fn wait(&self, change: Change) -> Wait<&Self> {
        Wait {
            registry: self,
            change,
            id: None,
        }
    }

    /// Opens no connection any more. Done once, unless the server is shutting down already.
    pub(super) fn drain(&self, drain: Drain) {
        let mut state = self.state();
        if state.phase == Phase::Serving {
            state.drain = Some(drain);
            self.enter_phase(state, Phase::Draining);
        }
    }

    /// Returns how the server drains, `None` if it does not.
    pub(super) fn draining(&self) -> Option<Drain> {
        self.state().drain
    }

    /// Stops taking connections in, and closes those that there are. Done once.
    pub(super) fn close(&self, code: CloseCode, reason: &ByteString) {
        let state = self.state();
        if state.phase >= Phase::Closing {
            return;
        }
        let handshakes: Vec<Handle> = state.handshakes.iter().cloned().collect();
        let open: Vec<Handle> = state.open.iter().cloned().collect();
        self.enter_phase(state, Phase::Closing);
        for handle in handshakes {
            handle.inbox().command(Command::Leave);
        }
        for handle in open {
            let frame = CloseFrame::new(code, reason.clone());
            handle.inbox().close(frame, false);
        }
    }

    /// Ends every connection at once.
    pub(super) fn abort(&self) {
        let state = self.state();
        let handshakes = state.handshakes.iter();
        let all: Vec<Handle> = handshakes.chain(&state.open).cloned().collect();
        drop(state);
        all.iter().for_each(Handle::abort);
    }

    /// Nothing is served any more.
    pub(super) fn stop(&self) {
        self.enter_phase(self.state(), Phase::Stopped);
    }

    fn enter_phase(&self, mut state: MutexGuard<'_, State>, phase: Phase) {
        state.phase = phase;
        let waiters = [state.for_phase.take(), state.for_room.take()];
        drop(state);
        wake(waiters);
    }

    pub(super) fn accept_failed(&self) {
        self.state().counts.accept_errors += 1;
    }

    pub(super) fn handler_failed(&self) {
        self.state().counts.handler_failures += 1;
    }

    pub(super) fn open(&self) -> Vec<Handle> {
        self.state().open.iter().cloned().collect()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let state = self.state();
        Snapshot {
            open: state.open.len(),
            handshakes: state.handshakes.len(),
            bytes_received: self.totals.received.load(Ordering::Relaxed),
            bytes_sent: self.totals.sent.load(Ordering::Relaxed),
            ..state.counts.clone()
        }
    }

    /// Whether a transport may be accepted: there is room for one more handshake, or one that gives way.
    ///
    /// Those that were evicted go as soon as their tasks run. If the executor does not keep up with that, no
    /// more are evicted.
    fn has_room(&self, state: &State) -> bool {
        let handshakes = &state.handshakes;
        let most = self.limits.handshakes;
        handshakes.evicted() < most && (handshakes.in_progress() < most || handshakes.can_evict())
    }

    /// Changes the connections, and wakes the tasks that waited for that.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state();
        let had_room = self.has_room(&state);
        let result = change(&mut state);
        let mut waiters = [Waiters::default(), Waiters::default()];
        let [for_room, for_empty] = &mut waiters;
        if !had_room && self.has_room(&state) {
            *for_room = state.for_room.take();
        }
        if state.is_empty() {
            *for_empty = state.for_empty.take();
        }
        drop(state);
        wake(waiters);
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.open.is_empty() && self.handshakes.len() == 0
    }

    const fn waiters(&mut self, change: Change) -> &mut Waiters {
        match change {
            Change::Room => &mut self.for_room,
            Change::Phase(_) => &mut self.for_phase,
            Change::Empty => &mut self.for_empty,
        }
    }
}

impl Waiters {
    /// Takes all of them, to be woken while no lock is held.
    fn take(&mut self) -> Self {
        let next_id = self.next_id;
        mem::replace(
            self,
            Self {
                next_id,
                ..Self::default()
            },
        )
    }

    /// Registers a waker, in place of an earlier one of the same task, which is returned.
    fn add(&mut self, id: &mut Option<u64>, waker: &Waker) -> Option<Waker> {
        let id = *id.get_or_insert_with(|| {
            self.next_id += 1;
            self.next_id
        });
        match self.wakers.get(&id) {
            Some(known) if known.will_wake(waker) => None,
            _ => self.wakers.insert(id, waker.clone()),
        }
    }
}

fn wake(waiters: [Waiters; 2]) {
    let wakers = waiters.into_iter().flat_map(|waiters| waiters.wakers);
    wakers.for_each(|(_, waker)| waker.wake());
}

impl<R: Deref<Target = Registry> + Unpin> Future for Wait<R> {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let this = self.get_mut();
        let (registry, change) = (&*this.registry, this.change);
        let mut state = registry.state();
        // While it drains, requests are answered.
        let is_serving = state.phase < Phase::Closing;
        let result = match change {
            Change::Room if is_serving => registry.has_room(&state).then_some(true),
            Change::Room => Some(false),
            Change::Phase(phase) => (state.phase >= phase).then_some(true),
            Change::Empty => state.is_empty().then_some(true),
        };
        if let Some(result) = result {
            return Poll::Ready(result);
        }
        let old = state.waiters(change).add(&mut this.id, cx.waker());
        drop(state);
        drop(old);
        Poll::Pending
    }
}

/// A task that does not wait any more leaves nothing.
impl<R: Deref<Target = Registry>> Drop for Wait<R> {
    fn drop(&mut self) {
        let Some(id) = self.id else {
            return;
        };
        let mut state = self.registry.state();
        let waker = state.waiters(self.change).wakers.remove(&id);
        drop(state);
        drop(waker);
    }
}

/// The place of one connection in the registry. When it is dropped, the outcome of the connection is counted.
#[allow(unreachable_pub, reason = "hidden methods of public traits have it")]
pub struct Registration {
    registry: Arc<Registry>,
    handle: Handle,
    id: HandshakeId,
    stage: Stage,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

/// How far a connection came.
enum Stage {
    Handshake,
    /// The request is answered with another status than 101.
    Rejected(StatusCode),
    Opened,
}

impl Registration {
    pub(super) const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// A trusted proxy has named the client.
    pub(super) fn set_client(&self, client: Peer) {
        self.handle.set_client(client);
        self.registry
            .change(|state| state.handshakes.regroup(self.id));
    }

    /// The request is complete: the handshake keeps its place from now on. Returns whether it has one: it may
    /// have been evicted.
    pub(super) fn keep_place(&self) -> bool {
        self.registry.change(|state| state.handshakes.keep(self.id))
    }

    /// The request was refused, and only the end of the client's stream is waited for: the handshake gives
    /// way to others again.
    pub(super) fn release_place(&self) {
        self.registry
            .change(|state| state.handshakes.release(self.id));
    }

    /// Whether the handshake had to give way.
    pub(super) fn is_evicted(&self) -> bool {
        self.registry.state().handshakes.is_evicted(self.id)
    }

    /// Whether it was decided that the request is answered with another status than 101.
    pub(super) const fn is_rejected(&self) -> bool {
        matches!(self.stage, Stage::Rejected(_))
    }

    /// Gives the connection a place among the open ones, if there may be one more.
    pub(super) fn open(&self) -> Result<(), Refused> {
        self.registry.change(|state| {
            match (state.phase, state.drain) {
                (Phase::Serving, _) => {}
                (Phase::Draining, Some(drain)) => return Err(Refused::Draining(drain)),
                _ => return Err(Refused::Closing),
            }
            if state.open.len() >= self.registry.limits.connections {
                return Err(Refused::Full);
            }
            let most = self.registry.limits.connections_per_address;
            let group = Group::of(self.handle.peer());
            if most.is_some_and(|most| !state.addresses.add(group, most)) {
                return Err(Refused::AddressFull);
            }
            state.open.insert(self.handle.clone());
            state.handshakes.remove(self.id);
            Ok(())
        })
    }

    /// The connection is open.
    pub(super) fn opened(&mut self) {
        self.stage = Stage::Opened;
        self.registry.state().counts.opened += 1;
    }

    /// The request is answered with another status than 101.
    pub(super) const fn rejected(&mut self, status: StatusCode) {
        self.stage = Stage::Rejected(status);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let code = self.handle.inbox().code();
        let code = code.unwrap_or(CloseCode::ABNORMAL_CLOSURE);
        self.registry.change(|state| {
            let was_evicted = state.handshakes.remove(self.id);
            let was_open = state.open.remove(&self.handle);
            if was_open && self.registry.limits.connections_per_address.is_some() {
                state.addresses.remove(Group::of(self.handle.peer()));
            }
            let counts = &mut state.counts;
            match self.stage {
                Stage::Handshake if was_evicted => counts.evicted += 1,
                Stage::Handshake => counts.failed += 1,
                Stage::Rejected(status) => {
                    *counts.rejected.entry(status.number()).or_default() += 1;
                }
                Stage::Opened => *counts.closed.entry(code.number()).or_default() += 1,
            }
        });
    }
}

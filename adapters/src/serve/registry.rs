//! Who is connected to a server, how many there were, and whether it goes on.
//!
//! Everything here takes the same time however many connections there are, but for what concerns all
//! of them: to list them, and to shut down. Nobody is woken while the lock is held.

use std::collections::{BTreeMap, HashSet};
use std::mem;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use bytestring::ByteString;
use sansock_core::handshake::StatusCode;
use sansock_core::{CloseCode, CloseFrame};

use super::handle::Handle;
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
    /// Opening handshakes in progress now.
    pub handshakes: usize,
    /// Transports accepted so far.
    pub accepted: u64,
    /// Connections opened so far.
    pub opened: u64,
    /// Requests answered with another status than 101, by status.
    pub rejected: BTreeMap<u16, u64>,
    /// Opening handshakes that came to no answer: out of time, given up, failed transports.
    pub failed: u64,
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
    pub(super) handshakes: usize,
    pub(super) backlog: usize,
}

#[derive(Default)]
struct State {
    phase: Phase,
    handshakes: HashSet<Handle>,
    open: HashSet<Handle>,
    counts: Snapshot,
    /// Those who wait for any of this to change: loops that accept, and for the end.
    wakers: Vec<Waker>,
}

/// How far a server is on its way down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Phase {
    #[default]
    Serving,
    Closing,
    Stopped,
}

/// Why a connection is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Closing,
}

impl Registry {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            totals: Arc::default(),
            state: Mutex::default(),
        })
    }

    /// Takes in a transport that was accepted.
    pub(super) fn enter(self: &Arc<Self>, peer: Peer) -> Registration {
        let totals = self.totals.clone();
        let handle = Handle::new(peer, totals, self.limits.backlog);
        let mut state = self.state();
        state.counts.accepted += 1;
        state.handshakes.insert(handle.clone());
        if state.phase != Phase::Serving {
            handle.inbox().command(Command::Leave);
        }
        drop(state);
        Registration {
            registry: self.clone(),
            handle,
            stage: Stage::Handshake,
        }
    }

    /// Waits for room for an opening handshake; `false` once the server does not serve any more.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let most = self.limits.handshakes.max(1);
        self.poll_state(cx, |state| match state.phase {
            Phase::Serving => (state.handshakes.len() < most).then_some(true),
            Phase::Closing | Phase::Stopped => Some(false),
        })
    }

    /// Waits until the server is in this phase, or a later one.
    pub(super) fn poll_phase(&self, cx: &mut Context<'_>, phase: Phase) -> Poll<()> {
        self.poll_state(cx, |state| (state.phase >= phase).then_some(()))
    }

    /// Waits until nobody is left.
    pub(super) fn poll_empty(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_state(cx, |state| {
            let empty = state.open.is_empty() && state.handshakes.is_empty();
            empty.then_some(())
        })
    }

    fn poll_state<R>(
        &self,
        cx: &mut Context<'_>,
        look: impl FnOnce(&State) -> Option<R>,
    ) -> Poll<R> {
        let mut state = self.state();
        if let Some(result) = look(&state) {
            return Poll::Ready(result);
        }
        let known = |waker: &Waker| waker.will_wake(cx.waker());
        if !state.wakers.iter().any(known) {
            state.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Stops taking connections in, and closes those that there are. Done once.
    pub(super) fn close(&self, code: CloseCode, reason: &ByteString) {
        let mut state = self.state();
        if state.phase != Phase::Serving {
            return;
        }
        state.phase = Phase::Closing;
        let handshakes: Vec<Handle> = state.handshakes.iter().cloned().collect();
        let open: Vec<Handle> = state.open.iter().cloned().collect();
        state.wake();
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
        let mut state = self.state();
        state.phase = Phase::Stopped;
        state.wake();
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

    /// An opening handshake is over. Wakes those who wait for that: few do.
    fn handshake_finished(&self, mut state: MutexGuard<'_, State>, handle: &Handle) {
        let full = state.handshakes.len() >= self.limits.handshakes.max(1);
        state.handshakes.remove(handle);
        if full || state.phase != Phase::Serving {
            state.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

trait WakeAll {
    fn wake(self);
}

impl WakeAll for MutexGuard<'_, State> {
    /// Wakes everybody who waits, after the lock is given back.
    fn wake(mut self) {
        let wakers = mem::take(&mut self.wakers);
        drop(self);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// The place of one connection in the registry. Dropped when the connection is over, however that came,
/// it counts what has become of it.
pub(super) struct Registration {
    registry: Arc<Registry>,
    handle: Handle,
    stage: Stage,
}

/// How far a connection came.
enum Stage {
    Handshake,
    /// The request was answered with another status than 101.
    Rejected(StatusCode),
    Opened,
}

impl Registration {
    pub(super) const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Gives the connection a place among the open ones, if there may be one more.
    pub(super) fn open(&self) -> Result<(), Refused> {
        let mut state = self.registry.state();
        if state.phase != Phase::Serving {
            return Err(Refused::Closing);
        }
        if state.open.len() >= self.registry.limits.connections {
            return Err(Refused::Full);
        }
        state.open.insert(self.handle.clone());
        self.registry.handshake_finished(state, &self.handle);
        Ok(())
    }

    /// The connection is open.
    pub(super) fn opened(&mut self) {
        self.stage = Stage::Opened;
        self.registry.state().counts.opened += 1;
    }

    /// The request was answered with another status than 101.
    pub(super) const fn rejected(&mut self, status: StatusCode) {
        self.stage = Stage::Rejected(status);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let code = self
            .handle
            .inbox()
            .code()
            .unwrap_or(CloseCode::ABNORMAL_CLOSURE);
        let mut state = self.registry.state();
        let counts = &mut state.counts;
        match self.stage {
            Stage::Handshake => counts.failed += 1,
            Stage::Rejected(status) => *counts.rejected.entry(status.number()).or_default() += 1,
            Stage::Opened => *counts.closed.entry(code.number()).or_default() += 1,
        }
        state.open.remove(&self.handle);
        self.registry.handshake_finished(state, &self.handle);
    }
}

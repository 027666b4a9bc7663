//! A clock that is moved by hand, so that applications can test their timeouts without waiting.
//!
//! ```
//! use std::time::Duration;
//! use sansock::Timer;
//! use sansock::clock::VirtualClock;
//!
//! let clock = VirtualClock::new();
//! let timer = clock.timer();
//! clock.advance(Duration::from_secs(20));
//! assert_eq!(timer.now().since_start(), Duration::from_secs(20));
//! ```

use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sansock_core::Instant;

use crate::driver::Timer;
use crate::driver::sync::{Mutex, MutexGuard};

/// A clock that stands still until it is [advanced](Self::advance). Clones show the same time.
#[derive(Debug, Clone, Default)]
pub struct VirtualClock {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    now: Instant,
    next_id: u64,
    /// The alarms that are set, with whom to wake.
    alarms: Vec<Alarm>,
}

#[derive(Debug)]
struct Alarm {
    id: u64,
    at: Instant,
    waker: Option<Waker>,
}

impl VirtualClock {
    /// Returns a clock that shows [`Instant::START`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a timer that follows this clock.
    #[must_use]
    pub fn timer(&self) -> VirtualTimer {
        let mut shared = self.lock();
        let id = shared.next_id;
        shared.next_id += 1;
        drop(shared);
        VirtualTimer {
            clock: self.clone(),
            id,
        }
    }

    /// Returns the time that the clock shows.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.lock().now
    }

    /// Returns the earliest alarm that is set and has not rung.
    #[must_use]
    pub fn next_alarm(&self) -> Option<Instant> {
        let shared = self.lock();
        let times = shared.alarms.iter().map(|alarm| alarm.at);
        times.filter(|at| *at > shared.now).min()
    }

    /// Moves the clock forward and rings what is due.
    pub fn advance(&self, by: Duration) {
        let mut shared = self.lock();
        shared.now = shared.now.checked_add(by).unwrap_or(shared.now);
        let now = shared.now;
        let due = shared.alarms.iter_mut().filter(|alarm| alarm.at <= now);
        let wakers: Vec<Waker> = due.filter_map(|alarm| alarm.waker.take()).collect();
        drop(shared);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Moves the clock to the earliest alarm. Returns whether there was one.
    pub fn advance_to_next_alarm(&self) -> bool {
        let Some(at) = self.next_alarm() else {
            return false;
        };
        self.advance(at.saturating_since(self.now()));
        true
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The timer of one connection, on a [`VirtualClock`].
#[derive(Debug)]
pub struct VirtualTimer {
    clock: VirtualClock,
    id: u64,
}

impl Timer for VirtualTimer {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn set(&mut self, deadline: Option<Instant>) {
        let mut shared = self.clock.lock();
        shared.alarms.retain(|alarm| alarm.id != self.id);
        if let Some(at) = deadline {
            let (id, waker) = (self.id, None);
            shared.alarms.push(Alarm { id, at, waker });
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut shared = self.clock.lock();
        let now = shared.now;
        let Some(index) = shared.alarms.iter().position(|alarm| alarm.id == self.id) else {
            return Poll::Pending;
        };
        if shared.alarms[index].at <= now {
            shared.alarms.swap_remove(index);
            return Poll::Ready(());
        }
        shared.alarms[index].waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for VirtualTimer {
    fn drop(&mut self) {
        self.set(None);
    }
}

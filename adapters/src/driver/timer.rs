//! The time that the driver needs: a clock and one alarm.
//!
//! The rule: the clock decides whether a deadline has passed, never the alarm. An alarm only wakes the task,
//! so one that fires early or late does no harm.

use std::task::{Context, Poll};

use sansock_core::Instant;

/// A clock and one alarm: all the time that a connection needs.
///
/// Implemented by `async_io::Timer` (feature `smol` or `async-std`), by [`NoTimer`] for a first
/// experiment, and by [`VirtualTimer`](crate::clock::VirtualTimer) for tests. Any executor's timer fits
/// in a dozen lines: see the example `own_executor` and, for tokio, [`runtimes`](crate::runtimes).
///
/// A connection asks the clock, not the alarm, whether a deadline has passed: an alarm that rings too
/// early or too late does no harm.
pub trait Timer {
    /// Returns the present time, since a start that all timers of one connection share.
    fn now(&self) -> Instant;

    /// Sets the alarm in place of any earlier one; `None` turns it off.
    fn set(&mut self, deadline: Option<Instant>);

    /// Waits for the alarm; pending for ever while it is off.
    ///
    /// Called after [`set`](Self::set), and again whenever the task is woken.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// No time at all: no deadline ever passes, and no keepalive ping is sent.
///
/// A peer that stops answering keeps its connection for ever. Good for a first experiment only.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTimer;

impl Timer for NoTimer {
    fn now(&self) -> Instant {
        Instant::START
    }

    fn set(&mut self, _deadline: Option<Instant>) {}

    fn poll(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

#[cfg(any(feature = "smol", feature = "async-std"))]
mod async_io {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::OnceLock;
    use std::task::{Context, Poll};
    use std::time::Instant as StdInstant;

    use sansock_core::Instant;

    /// The start of time: when it was first asked for.
    fn start() -> StdInstant {
        static START: OnceLock<StdInstant> = OnceLock::new();
        *START.get_or_init(StdInstant::now)
    }

    /// The timer of smol and of async-std. Time is measured from when it was first asked for.
    impl super::Timer for async_io::Timer {
        fn now(&self) -> Instant {
            Instant::from_start(start().elapsed())
        }

        fn set(&mut self, deadline: Option<Instant>) {
            match deadline.and_then(|at| start().checked_add(at.since_start())) {
                Some(at) => self.set_at(at),
                None => *self = Self::never(),
            }
        }

        fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            Future::poll(Pin::new(self), cx).map(|_| ())
        }
    }
}

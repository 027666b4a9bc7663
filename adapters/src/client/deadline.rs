//! The deadline for opening a connection.
//!
//! It is one point in time for all phases, not one for each. When it passes, the error names the phase
//! that was in progress, the host, and the whole time that was allowed.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use sansock_core::Instant;

use crate::driver::Timer;
use crate::error::{ConnectError, ConnectPhase, Error, Result};

/// An absolute deadline, from the first step to the last.
pub(crate) struct ConnectDeadline<T> {
    timer: T,
    deadline: Option<Instant>,
    after: Duration,
}

impl<T: Timer> ConnectDeadline<T> {
    /// Starts to run.
    pub(crate) fn new(timer: T, after: Option<Duration>) -> Self {
        let deadline = after.and_then(|after| timer.now().checked_add(after));
        Self {
            timer,
            deadline,
            after: after.unwrap_or(Duration::MAX),
        }
    }

    /// Returns when it passes.
    pub(crate) const fn at(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether it has passed.
    pub(crate) fn is_over(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline <= self.timer.now())
    }

    /// Returns the error of a phase that was in progress when it passed.
    pub(crate) fn error(&self, phase: ConnectPhase, target: &str) -> Error {
        let (target, after) = (target.into(), self.after);
        let error = ConnectError::TimedOut {
            phase,
            target,
            after,
        };
        error.into()
    }

    /// Runs one step. If that takes too long, the error names the phase and the host.
    pub(crate) async fn within<O>(
        &mut self,
        phase: ConnectPhase,
        target: &str,
        step: impl Future<Output = Result<O>>,
    ) -> Result<O> {
        let mut step = pin!(step);
        self.timer.set(self.deadline);
        poll_fn(|cx| {
            // The step is polled last: at the deadline it may return a better error.
            let over = self.poll_over(cx);
            match step.as_mut().poll(cx) {
                Poll::Pending => over.map(|()| Err(self.error(phase, target))),
                output => output,
            }
        })
        .await
    }

    /// Waits until it has passed. The clock decides, not the alarm.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_over() {
            return Poll::Ready(());
        }
        ready!(self.timer.poll(cx));
        if self.is_over() {
            return Poll::Ready(());
        }
        self.timer.set(self.deadline);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

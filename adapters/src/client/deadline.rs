//! The deadline for opening a connection.
//!
//! It is one point in time for all phases, not one for each. When it passes, the error names the phase
//! that was in progress, the host, and the whole time that was allowed.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use sansock_core::Instant;

use crate::driver::Timer;
use crate::error::{ConnectError, ConnectPhase, Result};

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

    /// Does one step, of which the error tells where it takes too long.
    pub(crate) async fn within<O>(
        &mut self,
        phase: ConnectPhase,
        target: &str,
        step: impl Future<Output = Result<O>>,
    ) -> Result<O> {
        let mut step = pin!(step);
        self.timer.set(self.deadline);
        poll_fn(|cx| {
            if let Poll::Ready(output) = step.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            self.timer.poll(cx).map(|()| {
                let (target, after) = (target.into(), self.after);
                Err(ConnectError::TimedOut {
                    phase,
                    target,
                    after,
                }
                .into())
            })
        })
        .await
    }
}

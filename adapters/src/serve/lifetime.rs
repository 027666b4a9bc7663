//! How long a connection may live: its greatest age, and how long it may be without a message.
//!
//! The rules: both are off unless they are set, and then cost a connection nothing; the clock decides; and a
//! connection is closed at a [boundary](crate::driver) between messages, or [`BOUNDARY_WAIT`] later.

use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::Duration;

use sansock_core::{CloseCode, CloseFrame, Entropy, SystemEntropy};

use super::drain::sleep_until;
use crate::driver::{Inbox, Timer};

/// How long a connection that has to be closed may take to get to a boundary between messages.
const BOUNDARY_WAIT: Duration = Duration::from_secs(10);

/// Limits of the life of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lifetime {
    pub(super) max_age: Option<Duration>,
    /// By how much less than `max_age` a connection may get, at random.
    pub(super) jitter: Duration,
    pub(super) idle_timeout: Option<Duration>,
}

impl Lifetime {
    pub(super) const fn is_limited(&self) -> bool {
        self.max_age.is_some() || self.idle_timeout.is_some()
    }

    /// Closes a connection that has just been opened at its limits. It is polled with the connection.
    pub(super) async fn keep<T: Timer>(&self, inbox: &Inbox, timer: impl Fn() -> T) {
        if self.idle_timeout.is_some() {
            inbox.count_data_frames();
        }
        let reason = self.expired(inbox, timer()).await;
        let frame = CloseFrame::new(CloseCode::GOING_AWAY, reason);
        inbox.close_at_boundary(frame.clone());
        let mut timer = timer();
        let latest = timer.now().checked_add(BOUNDARY_WAIT);
        sleep_until(&mut timer, latest).await;
        inbox.close(frame, false);
    }

    /// Waits until a limit is reached. Returns which, for the peer.
    async fn expired<T: Timer>(&self, inbox: &Inbox, mut timer: T) -> &'static str {
        let start = timer.now();
        let after = |time: Option<Duration>| time.and_then(|time| start.checked_add(time));
        let age_at = after(
            self.max_age
                .map(|age| age.saturating_sub(self.draw_jitter())),
        );
        let mut idle_at = after(self.idle_timeout);
        let mut seen = inbox.data_frames();
        timer.set([age_at, idle_at].into_iter().flatten().min());
        poll_fn(|cx| {
            loop {
                let frames = inbox.data_frames();
                if let (Some(idle), true) = (self.idle_timeout, frames != seen) {
                    seen = frames;
                    idle_at = timer.now().checked_add(idle);
                }
                // It may fire for a deadline that has moved.
                ready!(timer.poll(cx));
                let now = timer.now();
                let has_passed = |at: Option<_>| at.is_some_and(|at| at <= now);
                if has_passed(age_at) {
                    return Poll::Ready("maximum age");
                }
                if has_passed(idle_at) {
                    return Poll::Ready("idle");
                }
                timer.set([age_at, idle_at].into_iter().flatten().min());
            }
        })
        .await
    }

    /// Draws a time of up to `jitter`. Without randomness of the system, there is none.
    fn draw_jitter(&self) -> Duration {
        if self.jitter.is_zero() {
            return Duration::ZERO;
        }
        let [a, b, c, d, ..] = SystemEntropy.seed().unwrap_or_default();
        let drawn = u32::from_le_bytes([a, b, c, d]);
        self.jitter.mul_f64(f64::from(drawn) / f64::from(u32::MAX))
    }
}

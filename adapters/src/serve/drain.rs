//! Draining: a server that is to be replaced opens no more connections, and lets go of those that it has.
//!
//! The rules: every request is answered, with 503, until the server shuts down; a connection is closed at a
//! [boundary](crate::driver) between messages, so that an answer that is being prepared still leaves; and
//! closes are spread, so that clients that reconnect do not arrive all at once. What is left at the deadline
//! is shut down.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytestring::ByteString;
use futures_lite::future::or;
use sansock_core::handshake::{Response, StatusCode};
use sansock_core::{CloseCode, CloseFrame, Instant};

use super::registry::{Drain, Phase, Registry, Wait};
use crate::driver::Timer;

/// The longest time after which clients are asked to come back, in seconds. A load balancer has noticed by then.
const MAX_RETRY_AFTER: u64 = 10;

/// Returns the answer of a server that drains to every request.
pub(super) fn response(drain: Drain) -> Response {
    let seconds = drain.deadline.as_secs().clamp(1, MAX_RETRY_AFTER);
    let text = "The server is about to shut down. Try again later.\n";
    let mut response = Response::text(StatusCode::SERVICE_UNAVAILABLE, text);
    // Digits are well-formed.
    let headers = response.headers_mut();
    let _ = headers.append("Retry-After", seconds.to_string());
    response
}

/// Drains the server once that was asked for, and shuts it down at the deadline, or as soon as nothing is left.
pub(super) async fn drain<T: Timer>(registry: &Registry, timer: impl Fn() -> T) {
    registry.phase(Phase::Draining).await;
    // Without it, the server shuts down already.
    let Some(drain) = registry.draining() else {
        return;
    };
    let empty = async {
        registry.empty().await;
    };
    or(empty, close_spread(registry, timer(), drain)).await;
    registry.close(CloseCode::GOING_AWAY, &ByteString::new());
}

/// Asks the connections to close, one after the other at equal intervals. Returns at the deadline.
async fn close_spread<T: Timer>(registry: &Registry, mut timer: T, drain: Drain) {
    let start = timer.now();
    let at = |time: Duration| start.checked_add(time);
    let spread = drain.spread.min(drain.deadline);
    let before = drain.deadline.saturating_sub(spread);
    sleep_until(&mut timer, at(before)).await;
    // No other connection is opened meanwhile.
    let connections = registry.open();
    let count = u32::try_from(connections.len()).unwrap_or(u32::MAX);
    for (index, connection) in (0..).zip(connections) {
        if connection.is_open() {
            let time = spread.mul_f64(f64::from(index) / f64::from(count));
            sleep_until(&mut timer, at(before.saturating_add(time))).await;
            let frame = CloseFrame::new(CloseCode::GOING_AWAY, "");
            connection.inbox().close_at_boundary(frame);
        }
    }
    sleep_until(&mut timer, at(drain.deadline)).await;
}

/// Waits until this time; for ever if it is beyond the end of the clock.
pub(super) async fn sleep_until(timer: &mut impl Timer, at: Option<Instant>) {
    while at.is_none_or(|at| timer.now() < at) {
        timer.set(at);
        poll_fn(|cx| timer.poll(cx)).await;
    }
}

/// Waits until a server drains or shuts down; see [`Socket::draining`](super::Socket::draining).
#[must_use = "a future does nothing unless it is awaited"]
pub struct Draining {
    phase: Wait<Arc<Registry>>,
}

impl Draining {
    pub(super) const fn new(registry: Arc<Registry>) -> Self {
        Self {
            phase: Registry::phase_of(registry, Phase::Draining),
        }
    }
}

impl Future for Draining {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.phase).poll(cx).map(drop)
    }
}

impl fmt::Debug for Draining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draining").finish_non_exhaustive()
    }
}

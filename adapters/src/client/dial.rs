//! Connects to one of the addresses of a host (RFC 8305, Happy Eyeballs).
//!
//! IPv6 and IPv4 addresses alternate. The next attempt starts when the previous one fails, or after a
//! quarter of a second. The first connection that succeeds is used, and the other attempts are dropped.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::driver::Timer;

/// RFC 8305 section 8: the Connection Attempt Delay.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Which addresses failed, and why, in the order in which they did.
pub(crate) type Attempts = Vec<(SocketAddr, Arc<io::Error>)>;

/// Connects to the first of the addresses that answers.
pub(crate) async fn first<S, F>(
    addresses: &[SocketAddr],
    timer: impl Timer,
    connect: impl FnMut(SocketAddr) -> F,
) -> Result<S, Attempts>
where
    F: Future<Output = io::Result<S>>,
{
    let mut race = Race {
        waiting: interleave(addresses).into_iter(),
        running: Vec::new(),
        failed: Vec::new(),
        timer,
        connect,
    };
    poll_fn(|cx| race.poll(cx)).await
}

/// RFC 8305 section 4: the families take turns, that of the first address first.
fn interleave(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_first = |address: &&SocketAddr| {
        let first = addresses.first();
        first.is_some_and(|first| first.is_ipv6() == address.is_ipv6())
    };
    let mut other = addresses.iter().filter(|address| !is_first(address));
    let mut order = Vec::with_capacity(addresses.len());
    for address in addresses.iter().filter(is_first) {
        order.push(*address);
        order.extend(other.next());
    }
    order.extend(other);
    order
}

/// The attempts to connect.
struct Race<T, C, F> {
    waiting: std::vec::IntoIter<SocketAddr>,
    running: Vec<(SocketAddr, Pin<Box<F>>)>,
    failed: Attempts,
    timer: T,
    connect: C,
}

impl<S, T, C, F> Race<T, C, F>
where
    T: Timer,
    C: FnMut(SocketAddr) -> F,
    F: Future<Output = io::Result<S>>,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<S, Attempts>> {
        loop {
            let failures = self.failed.len();
            if let Some(stream) = self.poll_running(cx) {
                return Poll::Ready(Ok(stream));
            }
            // Of those that run, none may be waited for any longer before the next one begins.
            let is_due = self.running.is_empty()
                || self.failed.len() > failures
                || self.timer.poll(cx).is_ready();
            if !is_due {
                return Poll::Pending;
            }
            match self.waiting.next() {
                Some(address) => self.begin(address),
                None if self.running.is_empty() => {
                    return Poll::Ready(Err(std::mem::take(&mut self.failed)));
                }
                None => return Poll::Pending,
            }
        }
    }

    fn begin(&mut self, address: SocketAddr) {
        let attempt = Box::pin((self.connect)(address));
        self.running.push((address, attempt));
        let next = self.timer.now().checked_add(ATTEMPT_DELAY);
        self.timer.set(next);
    }

    /// Sees to every attempt that runs. Returns the stream of the first that succeeds.
    fn poll_running(&mut self, cx: &mut Context<'_>) -> Option<S> {
        let mut connected = None;
        self.running.retain_mut(|(address, attempt)| {
            if connected.is_some() {
                return false;
            }
            match attempt.as_mut().poll(cx) {
                Poll::Pending => true,
                Poll::Ready(Ok(stream)) => {
                    connected = Some(stream);
                    false
                }
                Poll::Ready(Err(error)) => {
                    self.failed.push((*address, Arc::new(error)));
                    false
                }
            }
        });
        connected
    }
}

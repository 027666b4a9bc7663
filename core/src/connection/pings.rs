//! Pings of our own, matched with their pongs by payload (RFC 6455 sections 5.5.2 and 5.5.3).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::num::NonZeroU64;
use core::time::Duration;

use crate::time::Instant;

/// A ping that this side sent; see [`Connection::ping`](crate::Connection::ping).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PingId(u32);

impl PingId {
    /// Returns the payload that the ping carries.
    #[must_use]
    pub const fn payload(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }
}

/// A ping whose pong has not come.
#[derive(Debug)]
struct SentPing {
    id: PingId,
    /// When the transport took it; before that, when it was queued.
    sent: Instant,
    /// Where it ends in the output.
    ends: u64,
    is_taken: bool,
}

/// The pings of one connection, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Pings {
    /// Absent while none waits, which is most of the time.
    #[expect(clippy::box_collection, reason = "an idle connection has none")]
    waiting: Option<Box<VecDeque<SentPing>>>,
    last: u32,
    /// The last that was answered, and all before it with it.
    answered: u32,
    /// In nanoseconds, and one more.
    latency: Option<NonZeroU64>,
}

impl Pings {
    /// Of more pings than this, the oldest are not timed: a later pong answers them as well.
    const MAX: usize = 16;

    pub(super) fn next_id(&mut self) -> PingId {
        self.last = self.last.wrapping_add(1);
        PingId(self.last)
    }

    /// Remembers a ping that was queued and ends there in the output.
    pub(super) fn queued(&mut self, id: PingId, now: Instant, ends: u64) {
        let waiting = self.waiting.get_or_insert_default();
        if waiting.len() >= Self::MAX {
            waiting.pop_front();
        }
        waiting.push_back(SentPing {
            id,
            sent: now,
            ends,
            is_taken: false,
        });
    }

    /// Starts the clock of the pings that have been handed to the transport.
    #[inline]
    pub(super) fn taken(&mut self, taken: u64, now: Instant) {
        if let Some(waiting) = &mut self.waiting {
            Self::start(waiting, taken, now);
        }
    }

    #[cold]
    fn start(waiting: &mut VecDeque<SentPing>, taken: u64, now: Instant) {
        for ping in waiting {
            if !ping.is_taken && ping.ends <= taken {
                ping.sent = now;
                ping.is_taken = true;
            }
        }
    }

    /// Matches a pong, and returns where its ping ends in the output. It answers the pings before its own
    /// too, as the peer may skip pongs.
    pub(super) fn pong(&mut self, payload: &[u8], now: Instant) -> Option<u64> {
        let waiting = self.waiting.as_mut()?;
        let position = waiting
            .iter()
            .position(|ping| ping.id.payload() == payload)?;
        let answered = waiting.drain(..=position).next_back()?;
        if waiting.is_empty() {
            self.waiting = None;
        }
        self.answered = answered.id.0;
        let latency = now.saturating_since(answered.sent);
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latency = NonZeroU64::new(nanos.saturating_add(1));
        Some(answered.ends)
    }

    /// Returns the round trip of the last ping that was answered.
    pub(super) fn latency(&self) -> Option<Duration> {
        let nanos = self.latency?.get().saturating_sub(1);
        Some(Duration::from_nanos(nanos))
    }

    pub(super) fn is_waiting(&self, id: PingId) -> bool {
        // Numbers wrap around, and are compared by their distance.
        id.0.wrapping_sub(self.answered) <= self.last.wrapping_sub(self.answered)
            && id.0 != self.answered
    }
}

//! Pings of our own, matched with their pongs by payload (RFC 6455 sections 5.5.2 and 5.5.3).

use alloc::collections::VecDeque;
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
struct Waiting {
    id: PingId,
    /// When it was sent, as far as is known.
    sent: Instant,
    /// Where it ends in the output; `None` once it was handed to the transport.
    ends: Option<u64>,
}

/// The pings of one connection, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Pings {
    waiting: VecDeque<Waiting>,
    last: u32,
    /// The last that was answered, and all before it with it.
    answered: u32,
    latency: Option<Duration>,
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
        if self.waiting.len() >= Self::MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Waiting {
            id,
            sent: now,
            ends: Some(ends),
        });
    }

    /// Starts the clock of the pings that have been handed to the transport.
    pub(super) fn taken(&mut self, taken: u64, now: Instant) {
        for ping in &mut self.waiting {
            if ping.ends.is_some_and(|ends| ends <= taken) {
                ping.sent = now;
                ping.ends = None;
            }
        }
    }

    /// Matches a pong. It answers the pings before its own too, as the peer may skip pongs.
    pub(super) fn pong(&mut self, payload: &[u8], now: Instant) -> Option<Duration> {
        let position = self
            .waiting
            .iter()
            .position(|ping| ping.id.payload() == payload)?;
        let answered = self.waiting.drain(..=position).next_back()?;
        self.answered = answered.id.0;
        let latency = now.saturating_since(answered.sent);
        self.latency = Some(latency);
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        Some(latency)
    }

    /// Returns the round trip of the last ping that was answered.
    pub(super) const fn latency(&self) -> Option<Duration> {
        self.latency
    }

    pub(super) fn is_waiting(&self, id: PingId) -> bool {
        // Numbers wrap around, and are compared by their distance.
        id.0.wrapping_sub(self.answered) <= self.last.wrapping_sub(self.answered)
            && id.0 != self.answered
    }
}

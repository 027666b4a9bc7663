//! The pace of a message that has begun to arrive; see
//! [`Config::min_receive_rate`](crate::Config::min_receive_rate).
//!
//! Each byte that arrives is evidence of a living peer, so that no other deadline ends a message that
//! trickles. The pace is measured over whole periods in which this side was reading.

use core::num::NonZeroU64;

use crate::deadline::Deadline;

/// How far an incomplete message has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    /// A number that no other message of the connection has.
    pub(super) message: NonZeroU64,
    /// Bytes of its payload, as they are on the wire.
    pub(super) bytes: u64,
}

impl Arrival {
    /// Whether this is a later state of the same message.
    pub(super) const fn follows(self, earlier: Self) -> bool {
        self.message.get() == earlier.message.get()
    }

    /// Whether too little has arrived in the period since `earlier`.
    pub(super) const fn is_too_slow(self, earlier: Self, rate: NonZeroU64) -> bool {
        let needed = rate
            .get()
            .saturating_mul(Deadline::RECEIVE_PERIOD.as_secs());
        self.bytes.saturating_sub(earlier.bytes) < needed
    }
}

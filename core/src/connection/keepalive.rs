//! Keepalive: whether the peer is alive (RFC 6455 sections 5.5.2 and 5.5.3).
//!
//! The pong of a ping is missed only if nothing has happened since that requires a living peer. Evidence
//! of life is any byte received, and any byte taken by a transport that was full before; bytes taken by
//! a transport that had room prove nothing. Each evidence restarts the deadline of the pong in full.
//! While this side does not read, the deadline does not run: the pong may wait to be read.
//!
//! A ping cannot be answered before it arrives. The bytes ahead of it extend its deadline at an assumed
//! minimum rate, by at most once its timeout. `InFlight` estimates them.

use core::num::NonZeroU64;
use core::ops::Range;
use core::time::Duration;

use crate::time::Instant;

use super::deadlines::Alarm;
use super::pings::{PingId, Pings};

/// What a connection knows when it looks at the time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    pub(super) now: Instant,
    /// Bytes received since the start.
    pub(super) received: u64,
    /// Bytes taken by the transport since the start.
    pub(super) taken: u64,
    /// Whether the transport keeps bytes that it has taken.
    pub(super) flush_pending: bool,
    /// Whether an event waits to be taken.
    pub(super) event_waits: bool,
}

/// The ping of the keepalive, and the evidence of life since.
#[derive(Debug)]
pub(super) struct Keepalive {
    /// The ping whose pong has not come.
    ping: Option<PingId>,
    /// Where it ends in the output, until the transport has taken it.
    ends: Option<NonZeroU64>,
    /// The length of its frame.
    size: u8,
    /// When it is estimated to arrive.
    arrives: Instant,
    /// Bytes received when the time was last looked at.
    received: u64,
    /// Bytes that a full transport had taken; `NOT_FULL` if it was not.
    full_at: u64,
    /// Whether a full transport has taken more, and was full again since.
    drained: bool,
    /// Whether the transport could not pass on what it had taken.
    flush_blocked: bool,
    /// Whether reading has resumed.
    resumed: bool,
    reading_paused: bool,
    in_flight: InFlight,
}

impl Keepalive {
    const NOT_FULL: u64 = u64::MAX;

    pub(super) const fn new() -> Self {
        Self {
            ping: None,
            ends: None,
            size: 0,
            arrives: Instant::START,
            received: 0,
            full_at: Self::NOT_FULL,
            drained: false,
            flush_blocked: false,
            resumed: false,
            reading_paused: false,
            in_flight: InFlight::new(),
        }
    }

    /// A ping was queued, and is there in the output.
    pub(super) fn start(&mut self, ping: PingId, position: Range<u64>) {
        self.ping = Some(ping);
        self.ends = NonZeroU64::new(position.end);
        let size = position.end.saturating_sub(position.start);
        self.size = u8::try_from(size).unwrap_or(u8::MAX);
    }

    pub(super) fn stop(&mut self) {
        self.ping = None;
        self.ends = None;
    }

    /// Whether a pong is awaited.
    #[inline]
    pub(super) const fn is_waiting(&self) -> bool {
        self.ping.is_some()
    }

    /// Whether more than a few bytes were taken that have not been [counted](Self::count_taken).
    #[inline]
    pub(super) const fn is_behind(&self, taken: u64) -> bool {
        taken.wrapping_sub(self.in_flight.counted) >= InFlight::FEW
    }

    /// Whether the pong that was awaited has come, or that of a later ping.
    pub(super) fn is_answered(&self, pings: &Pings) -> bool {
        self.ping.is_some_and(|ping| !pings.is_waiting(ping))
    }

    /// The transport is full.
    pub(super) const fn write_blocked(&mut self, taken: u64) {
        self.drained |= self.full_at < taken;
        self.full_at = taken;
    }

    /// The transport cannot pass on what it has taken.
    pub(super) const fn flush_blocked(&mut self) {
        self.flush_blocked = true;
    }

    pub(super) const fn set_reading_paused(&mut self, paused: bool) {
        self.resumed |= self.reading_paused && !paused;
        self.reading_paused = paused;
    }

    pub(super) const fn is_paused(&self, event_waits: bool) -> bool {
        event_waits || self.reading_paused
    }

    /// Whether [`observe`](Self::observe) would set the deadline of the pong that is awaited.
    pub(super) fn wants_attention(&self, seen: Situation) -> bool {
        match self.ends {
            Some(ends) => ends.get() <= seen.taken,
            None => {
                self.is_waiting() && !self.is_paused(seen.event_waits) && self.has_evidence(seen)
            }
        }
    }

    fn has_evidence(&self, seen: Situation) -> bool {
        self.resumed
            || self.drained
            || self.flush_blocked && !seen.flush_pending
            || self.received != seen.received
            || self.full_at < seen.taken
    }

    /// Returns the deadline of the pong that is awaited, if it has to be set anew.
    pub(super) fn observe(
        &mut self,
        seen: Situation,
        timeout: Option<Duration>,
        rate: Option<NonZeroU64>,
    ) -> Option<Alarm> {
        let has_left = match self.ends {
            Some(ends) if ends.get() > seen.taken => return None,
            Some(ends) => {
                let taken = ends.get().saturating_sub(u64::from(self.size));
                self.arrives = self.in_flight.count(Situation { taken, ..seen }, rate);
                self.ends = None;
                true
            }
            None => false,
        };
        let evidence = self.has_evidence(seen);
        let paused = self.is_paused(seen.event_waits);
        self.received = seen.received;
        self.drained = false;
        if self.full_at < seen.taken {
            self.full_at = Self::NOT_FULL;
        }
        self.flush_blocked &= seen.flush_pending;
        self.resumed = paused;
        match paused {
            true => Some(Alarm::NEVER),
            false => (has_left || evidence).then(|| self.deadline(seen.now, timeout)),
        }
    }

    /// Returns the deadline of the pong as of now.
    fn deadline(&self, now: Instant, timeout: Option<Duration>) -> Alarm {
        let deadline = timeout.and_then(|timeout| {
            let on_its_way = self.arrives.saturating_since(now).min(timeout);
            now.checked_add(on_its_way.saturating_add(timeout))
        });
        deadline.map_or(Alarm::NEVER, Alarm::at)
    }

    /// Counts the bytes that the transport has taken.
    pub(super) fn count_taken(&mut self, seen: Situation, rate: Option<NonZeroU64>) {
        self.in_flight.count(seen, rate);
    }

    /// Everything up to this byte has arrived.
    pub(super) fn arrived(&mut self, ends: u64, seen: Situation, rate: Option<NonZeroU64>) {
        self.in_flight.arrived(ends, seen, rate);
    }
}

/// An estimate of when what the transport has taken is delivered.
///
/// Bytes are assumed to arrive one after the other, at a minimum rate from when they were taken. A pong
/// proves that the bytes up to its ping have arrived: then no more than the rest is in flight.
#[derive(Debug)]
struct InFlight {
    /// Bytes taken that are in the estimate.
    counted: u64,
    delivered_at: Instant,
}

impl InFlight {
    /// Fewer bytes than this are counted later, together with more.
    const FEW: u64 = 4096;

    const fn new() -> Self {
        Self {
            counted: 0,
            delivered_at: Instant::START,
        }
    }

    /// Adds what was taken since the last time. Returns when all is delivered.
    fn count(&mut self, seen: Situation, rate: Option<NonZeroU64>) -> Instant {
        let added = seen.taken.saturating_sub(self.counted);
        self.counted = self.counted.max(seen.taken);
        self.delivered_at = after(self.delivered_at.max(seen.now), added, rate);
        self.delivered_at
    }

    fn arrived(&mut self, ends: u64, seen: Situation, rate: Option<NonZeroU64>) {
        let left = seen.taken.saturating_sub(ends);
        let estimated = self.count(seen, rate);
        self.delivered_at = estimated.min(after(seen.now, left, rate));
    }
}

/// Returns the time that this many bytes take at a rate; none without a rate.
fn after(start: Instant, bytes: u64, rate: Option<NonZeroU64>) -> Instant {
    const SECOND: u64 = 1_000_000_000;
    let nanos = rate.map_or(0, |rate| bytes.saturating_mul(SECOND) / rate);
    let end = start.checked_add(Duration::from_nanos(nanos));
    end.unwrap_or(Instant::from_nanos(u64::MAX))
}

//! Keepalive: whether the peer is alive (RFC 6455 sections 5.5.2 and 5.5.3).
//!
//! The pong of a ping is missed only if nothing has happened since that requires a living peer. Evidence
//! of life is any byte received, and any byte taken by a transport that was full before; bytes taken by
//! a transport that had room prove nothing. Each evidence restarts the deadline of the pong in full.
//! While this side does not read, the deadline does not run: the pong may wait to be read.
//!
//! A ping cannot be answered before it arrives. The bytes ahead of it extend its deadline at an assumed
//! minimum rate, by at most once its timeout. They are assumed to arrive one after the other, at that rate
//! from when they were taken. A pong proves that the bytes up to its ping have arrived: then no more than
//! the rest is in flight.
//!
//! Each byte that arrives is evidence, so that no pong is missed while a message trickles. Its
//! [minimum rate](crate::Config::min_receive_rate) is measured over whole periods in which this side was
//! reading.
//!
//! An idle connection holds no more than the estimate of what is in flight: the rest is in a block that is
//! there only while something is awaited.

use alloc::boxed::Box;
use core::num::NonZeroU64;
use core::ops::Range;
use core::time::Duration;

use crate::deadline::Deadline;
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
    /// Whether an event waits to be taken.
    pub(super) event_waits: bool,
}

/// What is awaited of the peer, and what is known of its progress.
#[derive(Debug)]
pub(super) struct Keepalive {
    awaited: Option<Box<Awaited>>,
    /// When it is estimated that everything counted is delivered.
    delivered_at: Instant,
    /// Bytes taken that are in the estimate, without the upper half of the number.
    counted: u32,
    /// The transport keeps output that it has taken.
    flush_pending: bool,
    reading_paused: bool,
}

#[derive(Debug, Default)]
struct Awaited {
    pong: Option<AwaitedPong>,
    /// Bytes of the incomplete message that had arrived when the current period of its rate began.
    message: Option<u64>,
}

/// The ping of the keepalive whose pong has not come, and the evidence of life since.
#[derive(Debug)]
struct AwaitedPong {
    ping: PingId,
    /// Where it begins and ends in the output.
    position: Range<u64>,
    /// Whether the transport has taken it.
    has_left: bool,
    /// When it is estimated to arrive.
    arrives: Instant,
    /// Bytes received when the time was last looked at.
    received: u64,
    /// Bytes that a full transport had taken, if it was full.
    full_at: Option<u64>,
    /// Whether a full transport has taken more, and was full again since.
    drained: bool,
    /// Whether the transport could not pass on what it had taken.
    flush_blocked: bool,
    /// Whether reading has resumed.
    resumed: bool,
}

impl Keepalive {
    /// Fewer bytes than this are counted later, together with more.
    const FEW: u32 = 4096;

    pub(super) const fn new() -> Self {
        Self {
            awaited: None,
            delivered_at: Instant::START,
            counted: 0,
            flush_pending: false,
            reading_paused: false,
        }
    }

    /// A ping was queued, and has this position in the output.
    pub(super) fn start(&mut self, ping: PingId, position: Range<u64>) {
        self.awaited.get_or_insert_default().pong = Some(AwaitedPong {
            ping,
            position,
            has_left: false,
            arrives: Instant::START,
            received: 0,
            full_at: None,
            drained: false,
            flush_blocked: self.flush_pending,
            resumed: false,
        });
    }

    pub(super) fn stop(&mut self) {
        if let Some(awaited) = &mut self.awaited {
            awaited.pong = None;
            self.tidy();
        }
    }

    /// Frees the block unless something is awaited.
    fn tidy(&mut self) {
        if let Some(Awaited {
            pong: None,
            message: None,
        }) = self.awaited.as_deref()
        {
            self.awaited = None;
        }
    }

    fn pong(&self) -> Option<&AwaitedPong> {
        self.awaited.as_ref()?.pong.as_ref()
    }

    fn pong_mut(&mut self) -> Option<&mut AwaitedPong> {
        self.awaited.as_mut()?.pong.as_mut()
    }

    /// Whether a pong is awaited.
    pub(super) fn is_waiting(&self) -> bool {
        self.pong().is_some()
    }

    /// Whether a pong, or the rest of a message, is awaited, or more than a few bytes were taken that have
    /// not been [counted](Self::count_taken).
    #[inline]
    pub(super) const fn is_concerned(&self, taken: u64) -> bool {
        self.awaited.is_some() || self.uncounted(taken) >= Self::FEW
    }

    /// Whether the pong that was awaited has come, or that of a later ping.
    pub(super) fn is_answered(&self, pings: &Pings) -> bool {
        self.pong().is_some_and(|pong| !pings.is_waiting(pong.ping))
    }

    /// The transport is full.
    pub(super) fn write_blocked(&mut self, taken: u64) {
        if let Some(pong) = self.pong_mut() {
            pong.drained |= pong.full_at.is_some_and(|full_at| full_at < taken);
            pong.full_at = Some(taken);
        }
    }

    /// Whether the transport keeps output that it has taken.
    #[inline]
    pub(super) const fn flush_pending(&self) -> bool {
        self.flush_pending
    }

    /// If so, it cannot pass on what it has taken.
    pub(super) fn set_flush_pending(&mut self, pending: bool) {
        self.flush_pending = pending;
        if let (true, Some(pong)) = (pending, self.pong_mut()) {
            pong.flush_blocked = true;
        }
    }

    pub(super) fn set_reading_paused(&mut self, paused: bool) {
        let resumed = self.reading_paused && !paused;
        self.reading_paused = paused;
        if let (true, Some(pong)) = (resumed, self.pong_mut()) {
            pong.resumed = true;
        }
    }

    pub(super) const fn is_paused(&self, event_waits: bool) -> bool {
        event_waits || self.reading_paused
    }

    /// Whether [`observe`](Self::observe) would set the deadline of the pong that is awaited.
    pub(super) fn wants_attention(&self, seen: Situation) -> bool {
        self.pong().is_some_and(|pong| match pong.has_left {
            true => {
                !self.is_paused(seen.event_waits) && pong.has_evidence(seen, self.flush_pending)
            }
            false => pong.position.end <= seen.taken,
        })
    }

    /// Returns the deadline of the pong that is awaited, if it has to be set anew.
    pub(super) fn observe(
        &mut self,
        seen: Situation,
        timeout: Option<Duration>,
        rate: Option<NonZeroU64>,
    ) -> Option<Alarm> {
        let (paused, flush_pending) = (self.is_paused(seen.event_waits), self.flush_pending);
        let pong = self.pong()?;
        if pong.position.end > seen.taken {
            return None;
        }
        let leaves = !pong.has_left;
        if leaves {
            let taken = pong.position.start;
            let arrives = self.count_taken(Situation { taken, ..seen }, rate);
            self.pong_mut()?.arrives = arrives;
        }
        let pong = self.pong_mut()?;
        let restarts = leaves || pong.has_evidence(seen, flush_pending);
        pong.has_left = true;
        pong.note(seen, flush_pending);
        pong.resumed = paused;
        match paused {
            true => Some(Alarm::NEVER),
            false => restarts.then(|| pong.deadline(seen.now, timeout)),
        }
    }

    /// Bytes taken that are not in the estimate. Far fewer than 2 GiB are taken between two looks.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the difference is what counts"
    )]
    const fn uncounted(&self, taken: u64) -> u32 {
        (taken as u32).wrapping_sub(self.counted)
    }

    /// Adds what was taken since the last time to the estimate. Returns when all is delivered.
    pub(super) fn count_taken(&mut self, seen: Situation, rate: Option<NonZeroU64>) -> Instant {
        // The first bytes of a ping may be in the estimate before it has left.
        let added = match self.uncounted(seen.taken) {
            added if added <= u32::MAX / 2 => added,
            _ => 0,
        };
        self.counted = self.counted.wrapping_add(added);
        let start = self.delivered_at.max(seen.now);
        self.delivered_at = after(start, u64::from(added), rate);
        self.delivered_at
    }

    /// Everything up to this byte has arrived.
    pub(super) fn arrived(&mut self, ends: u64, seen: Situation, rate: Option<NonZeroU64>) {
        let left = seen.taken.saturating_sub(ends);
        let estimated = self.count_taken(seen, rate);
        self.delivered_at = estimated.min(after(seen.now, left, rate));
    }

    /// Whether the rate of an incomplete message is measured.
    pub(super) fn is_measuring(&self) -> bool {
        let awaited = self.awaited.as_ref();
        awaited.is_some_and(|awaited| awaited.message.is_some())
    }

    /// Begins a period, in which this much of a message has arrived.
    pub(super) fn measure(&mut self, arrived: u64) {
        self.awaited.get_or_insert_default().message = Some(arrived);
    }

    /// The message is complete, or another has begun, or this side does not read.
    #[inline]
    pub(super) fn stop_measuring(&mut self) {
        if let Some(awaited) = &mut self.awaited {
            awaited.message = None;
            self.tidy();
        }
    }

    /// Whether too little of the message has arrived in the period that ends now.
    pub(super) fn is_too_slow(&self, arrived: u64, rate: NonZeroU64) -> bool {
        let needed = rate
            .get()
            .saturating_mul(Deadline::RECEIVE_PERIOD.as_secs());
        let earlier = self.awaited.as_ref().and_then(|awaited| awaited.message);
        earlier.is_some_and(|earlier| arrived.saturating_sub(earlier) < needed)
    }
}

impl AwaitedPong {
    fn has_drained(&self, seen: Situation) -> bool {
        self.full_at.is_some_and(|full_at| full_at < seen.taken)
    }

    fn has_evidence(&self, seen: Situation, flush_pending: bool) -> bool {
        self.resumed
            || self.drained
            || self.flush_blocked && !flush_pending
            || self.received != seen.received
            || self.has_drained(seen)
    }

    /// Records the evidence, so that it counts once.
    fn note(&mut self, seen: Situation, flush_pending: bool) {
        self.received = seen.received;
        self.drained = false;
        if self.has_drained(seen) {
            self.full_at = None;
        }
        self.flush_blocked &= flush_pending;
    }

    /// Returns the deadline of the pong as of now.
    fn deadline(&self, now: Instant, timeout: Option<Duration>) -> Alarm {
        let deadline = timeout.and_then(|timeout| {
            let on_its_way = self.arrives.saturating_since(now).min(timeout);
            now.checked_add(on_its_way.saturating_add(timeout))
        });
        deadline.map_or(Alarm::NEVER, Alarm::at)
    }
}

/// Returns the time that this many bytes take at a rate; none without a rate.
fn after(start: Instant, bytes: u64, rate: Option<NonZeroU64>) -> Instant {
    const SECOND: u64 = 1_000_000_000;
    let nanos = rate.map_or(0, |rate| bytes.saturating_mul(SECOND) / rate);
    let end = start.checked_add(Duration::from_nanos(nanos));
    end.unwrap_or(Instant::from_nanos(u64::MAX))
}

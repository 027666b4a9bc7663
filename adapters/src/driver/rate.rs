//! How fast a connection may be received from: limits of the rate of messages and of bytes, by token buckets.
//!
//! The rules: a message beyond the limit waits as one does that the application has not taken, so that it stops
//! reading; bytes beyond the limit are not read; and the clock decides when either goes on.

use std::num::NonZeroU64;
use std::time::Duration;

use sansock_core::{Instant, Stats};

/// A limit of how fast a peer may send messages and bytes, on average and at once; see
/// [`Serve::rate_limit`](crate::serve::Serve::rate_limit). What is not limited is free.
///
/// Both limits are token buckets: a connection may receive `burst` at once, and `per_second` more each second.
///
/// # What happens at the limit
///
/// By default, the connection is slowed: a message that exceeds the limit is delivered later, and bytes that do are
/// not read. What the peer sends then waits in its own buffers, and its sends block, as they do if a handler is
/// slow.
///
/// While a connection waits for its limit, messages leave as ever, and deadlines run, except that of a pong, which
/// the peer may have sent. A ping of the peer is answered in its place among its messages: once everything
/// that it has sent before was received, at the rate of the limit. So a peer gives up if its own timeout is
/// shorter than that, and its Close frame is noticed as late. Once this side has sent a Close frame, the limits
/// do not apply.
///
/// With [`closes`](Self::closes), a connection that exceeds a limit fails with 1008 (policy violation).
///
/// ```
/// use sansock::serve::RateLimit;
///
/// // 20 messages a second, 100 at once; 64 KiB a second, 1 MiB at once.
/// let limit = RateLimit::new().messages(20, 100).bytes(64 << 10, 1 << 20);
/// assert_ne!(limit, limit.closes());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimit {
    messages: Option<Rate>,
    bytes: Option<Rate>,
    excess: Excess,
}

/// What a bucket holds, and how fast it is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rate {
    per_second: NonZeroU64,
    burst: NonZeroU64,
}

/// What is done about a peer that exceeds its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Excess {
    #[default]
    Slows,
    Closes,
}

impl RateLimit {
    /// Returns a limit of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            messages: None,
            bytes: None,
            excess: Excess::Slows,
        }
    }

    /// Limits messages. A message in fragments counts once for each. Each number is at least 1.
    #[must_use]
    pub const fn messages(mut self, per_second: u32, burst: u32) -> Self {
        self.messages = Some(Rate::new(per_second as u64, burst as u64));
        self
    }

    /// Limits bytes, as the transport delivers them: those of headers and of control frames as well, and those
    /// of compressed messages before they are decompressed. Each number is at least 1.
    #[must_use]
    pub const fn bytes(mut self, per_second: u64, burst: u64) -> Self {
        self.bytes = Some(Rate::new(per_second, burst));
        self
    }

    /// Closes a connection that exceeds a limit with 1008, instead of reading it more slowly.
    #[must_use]
    pub const fn closes(mut self) -> Self {
        self.excess = Excess::Closes;
        self
    }
}

impl Rate {
    const fn new(per_second: u64, burst: u64) -> Self {
        Self {
            per_second: at_least_one(per_second),
            burst: at_least_one(burst),
        }
    }

    /// Returns how long it takes to fill a bucket with this much.
    fn time_for(self, amount: u64) -> Duration {
        let nanos = u128::from(amount) * 1_000_000_000 / u128::from(self.per_second.get());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Returns how much fills a bucket in this time.
    fn amount_in(self, time: Duration) -> u64 {
        let amount = time.as_nanos() * u128::from(self.per_second.get()) / 1_000_000_000;
        u64::try_from(amount).unwrap_or(u64::MAX)
    }
}

const fn at_least_one(number: u64) -> NonZeroU64 {
    match NonZeroU64::new(number) {
        Some(number) => number,
        None => NonZeroU64::MIN,
    }
}

/// A bucket of tokens: full when what was taken has been filled up again.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    rate: Rate,
    full_at: Instant,
    /// The count of the connection up to which tokens were taken.
    counted: u64,
}

impl Bucket {
    const fn new(rate: Rate, counted: u64) -> Self {
        Self {
            rate,
            full_at: Instant::START,
            counted,
        }
    }

    /// Takes tokens for what was counted since the last time. Returns what is left; `None` if more was taken
    /// than there was.
    fn take(&mut self, count: u64, now: Instant) -> Option<u64> {
        let amount = count.saturating_sub(self.counted);
        self.counted = count;
        let base = self.full_at.max(now);
        let missing = self.rate.time_for(amount);
        self.full_at = Instant::from_start(base.since_start().saturating_add(missing));
        let until_full = self.full_at.saturating_since(now);
        let left = self.time_to_fill().checked_sub(until_full)?;
        Some(self.rate.amount_in(left).min(self.rate.burst.get()))
    }

    /// Returns when this much is in it.
    fn ready_at(&self, amount: u64) -> Instant {
        // Rounded up, so that the amount is there then.
        let nanos = u128::from(amount) * 1_000_000_000;
        let nanos = nanos.div_ceil(u128::from(self.rate.per_second.get()));
        let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let at = self.full_at.since_start().saturating_add(time);
        Instant::from_start(at.saturating_sub(self.time_to_fill()))
    }

    fn time_to_fill(&self) -> Duration {
        self.rate.time_for(self.rate.burst.get())
    }
}

/// What may be done about reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowance {
    /// Up to this many bytes may be read.
    Read(usize),
    /// Nothing may be read before.
    Wait(Instant),
    Exceeded,
}

/// The limit of one connection.
#[derive(Debug)]
pub(super) struct Limiter {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
    excess: Excess,
    /// Until when a message that is ready is not delivered.
    held_until: Option<Instant>,
    /// Whether the connection knows that it is not read.
    pub(super) is_paused: bool,
}

impl Limiter {
    /// How many pauses a second are made at most for want of bytes.
    const PAUSES: u64 = 20;

    /// Returns the limiter of a connection that has these counts.
    pub(super) fn new(limit: RateLimit, stats: &Stats) -> Self {
        let (messages, bytes) = (stats.data_frames_received(), stats.bytes_received);
        Self {
            messages: limit.messages.map(|rate| Bucket::new(rate, messages)),
            bytes: limit.bytes.map(|rate| Bucket::new(rate, bytes)),
            excess: limit.excess,
            held_until: None,
            is_paused: false,
        }
    }

    /// Until when a message that is ready is not delivered.
    pub(super) const fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    /// No message is held.
    pub(super) const fn release(&mut self) {
        self.held_until = None;
    }

    /// Charges a message that is ready, and holds it if it is beyond the limit. Returns whether the connection is to
    /// be closed for it.
    pub(super) fn hold(&mut self, stats: &Stats, now: Instant) -> bool {
        self.held_until = None;
        let Some(bucket) = &mut self.messages else {
            return false;
        };
        let is_within = bucket.take(stats.data_frames_received(), now).is_some();
        if !is_within && self.excess == Excess::Slows {
            self.held_until = Some(bucket.ready_at(0));
        }
        !is_within && self.excess == Excess::Closes
    }

    /// Charges the bytes that were read, and returns how many may be read now.
    pub(super) fn allowance(&mut self, stats: &Stats, now: Instant) -> Allowance {
        let Some(bucket) = &mut self.bytes else {
            return Allowance::Read(usize::MAX);
        };
        let left = bucket.take(stats.bytes_received, now);
        if self.excess == Excess::Closes {
            return left.map_or(Allowance::Exceeded, |_| Allowance::Read(usize::MAX));
        }
        let portion = bucket.rate.per_second.get() / Self::PAUSES;
        let portion = portion.clamp(1, bucket.rate.burst.get());
        match left {
            Some(left) if left >= portion => {
                Allowance::Read(usize::try_from(left).unwrap_or(usize::MAX))
            }
            _ => Allowance::Wait(bucket.ready_at(portion)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(Rate::new(10, 5), 100);
        assert_eq!(bucket.take(100, at(0)), Some(5));
        assert_eq!(bucket.take(103, at(0)), Some(2));
        assert_eq!(bucket.take(103, at(100)), Some(3));
        assert_eq!(
            bucket.take(103, at(10_000)),
            Some(5),
            "no more than the burst"
        );
        assert_eq!(bucket.take(108, at(10_000)), Some(0));
        assert_eq!(bucket.take(109, at(10_000)), None);
        assert_eq!(bucket.take(109, at(10_100)), Some(0));
        assert_eq!(bucket.take(109, at(10_200)), Some(1));
    }

    #[test]
    fn what_is_waited_for_is_there_then() {
        for (per_second, burst) in [
            (1, 1),
            (3, 2),
            (7, 100),
            (1_000_000_007, 3),
            (1 << 40, 1 << 50),
        ] {
            let mut bucket = Bucket::new(Rate::new(per_second, burst), 0);
            let mut now = at(5);
            for count in 1..100 {
                bucket.take(count * burst, now);
                let ready = bucket.ready_at(1);
                now = ready.max(now);
                assert!(
                    bucket.take(count * burst, now) >= Some(1),
                    "{per_second} {burst} {count}"
                );
            }
        }
    }

    #[test]
    fn extremes_do_not_overflow() {
        let limit = RateLimit::new().messages(0, 0).bytes(u64::MAX, u64::MAX);
        let mut limiter = Limiter::new(limit, &Stats::default());
        let mut stats = Stats::default();
        assert_eq!(
            limiter.allowance(&stats, at(0)),
            Allowance::Read(usize::MAX)
        );
        stats.frames_received = u64::MAX;
        stats.bytes_received = u64::MAX;
        assert!(matches!(
            limiter.allowance(&stats, at(0)),
            Allowance::Wait(_)
        ));
        assert!(!limiter.hold(&stats, at(0)));
        assert!(limiter.held_until() > Some(at(1_000_000_000)));
        assert!(matches!(
            limiter.allowance(&stats, at(u64::MAX)),
            Allowance::Read(_)
        ));
    }
}

//! Points in time, as the core sees them.
//!
//! The core has no clock: every call that needs the time is given it. An [`Instant`] is the time since
//! a start that the caller chose, so that a virtual clock is a number and no_std is no obstacle.

use core::time::Duration;

/// A point in time, measured from an arbitrary start.
///
/// All instants given to one connection must be measured from the same start. They may stand still;
/// where they go back, the connection waits until they catch up. Resolution is one nanosecond, the
/// range 584 years; beyond it arithmetic saturates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant {
    nanos: u64,
}

impl Instant {
    /// The start from which instants are measured.
    pub const START: Self = Self { nanos: 0 };

    /// Returns the instant that lies this far after the start.
    #[must_use]
    pub fn from_start(elapsed: Duration) -> Self {
        Self {
            nanos: saturating_nanos(elapsed),
        }
    }

    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self { nanos }
    }

    pub(crate) const fn nanos(self) -> u64 {
        self.nanos
    }

    /// Returns how far after the start this instant lies.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// Returns the time from `earlier` to `self`, zero where `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }

    /// Returns the instant `duration` later; `None` where it lies out of range, which means never.
    #[must_use]
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        let nanos = self.nanos.checked_add(saturating_nanos(duration))?;
        (nanos != u64::MAX).then_some(Self { nanos })
    }
}

fn saturating_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_forever_gives_never() {
        let now = Instant::from_start(Duration::from_secs(1));
        assert_eq!(now.checked_add(Duration::MAX), None);
        assert_eq!(Instant::START.checked_add(Duration::MAX), None);
    }

    #[test]
    fn time_that_goes_back_measures_zero() {
        let later = Instant::from_start(Duration::from_secs(2));
        assert_eq!(Instant::START.saturating_since(later), Duration::ZERO);
        assert_eq!(
            later.saturating_since(Instant::START),
            Duration::from_secs(2)
        );
    }
}

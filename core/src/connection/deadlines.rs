//! Deadlines as data: the core says when it must be woken, and never waits itself.
//!
//! A command does not know the time. It leaves its alarm [`Alarm::UNARMED`], which requests a wakeup at
//! once; the next call that brings the time arms it. So every duration is measured from a time that
//! the caller gave.

use core::fmt;
use core::time::Duration;

use crate::time::Instant;

/// One deadline, as the nanosecond at which it fires; the last few mean something else.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Alarm(u64);

impl Alarm {
    pub(super) const OFF: Self = Self(u64::MAX);
    /// Runs, and never fires: its time is unlimited or out of range.
    const NEVER: Self = Self(u64::MAX - 1);
    /// Runs from the next time that is given.
    pub(super) const UNARMED: Self = Self(u64::MAX - 2);

    pub(super) fn at(time: Instant) -> Self {
        match time.nanos() {
            nanos if nanos < Self::UNARMED.0 => Self(nanos),
            _ => Self::NEVER,
        }
    }

    /// Gives the alarm its time, if it waits for one.
    #[inline]
    pub(super) fn arm(&mut self, now: Instant, after: Option<Duration>) {
        if *self == Self::UNARMED {
            *self = match after.and_then(|after| now.checked_add(after)) {
                Some(at) => Self::at(at),
                None => Self::NEVER,
            };
        }
    }

    /// Moves the alarm to this time, unless it fires earlier.
    pub(super) fn bring_forward(&mut self, at: Option<Instant>) {
        let at = at.map_or(Self::NEVER, Self::at);
        self.0 = self.0.min(at.0);
    }

    /// Returns whether the alarm fires now, and turns it off if so.
    #[inline]
    pub(super) fn fire(&mut self, now: Instant) -> bool {
        let fires = self.0 <= now.nanos() && self.0 < Self::UNARMED.0;
        if fires {
            *self = Self::OFF;
        }
        fires
    }

    /// Returns when the alarm wants attention: an unarmed one at once.
    #[inline]
    fn time(self, now: Instant) -> u64 {
        match self {
            Self::UNARMED => now.nanos(),
            Self(nanos) => nanos,
        }
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::OFF => f.write_str("Off"),
            Self::NEVER => f.write_str("Never"),
            Self::UNARMED => f.write_str("Unarmed"),
            Self(nanos) => write!(f, "At({:?})", Duration::from_nanos(nanos)),
        }
    }
}

impl Default for Alarm {
    fn default() -> Self {
        Self::OFF
    }
}

/// The alarms of one connection.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    pub(super) open: Alarm,
    pub(super) close: Alarm,
    pub(super) ping: Alarm,
    pub(super) pong: Alarm,
    pub(super) write: Alarm,
    /// When to release what the codecs hold, if the connection has been idle.
    pub(super) idle: Alarm,
}

impl Deadlines {
    /// Returns the first alarm. While input waits to be read, the pong may be in there.
    pub(super) fn next(&self, now: Instant, input_waits: bool) -> Option<Instant> {
        let pong = if input_waits { Alarm::OFF } else { self.pong };
        let alarms = [
            self.open, self.close, self.ping, pong, self.write, self.idle,
        ];
        let first = alarms.into_iter().map(|alarm| alarm.time(now)).min()?;
        (first < Alarm::UNARMED.0).then(|| Instant::from_nanos(first))
    }

    /// Turns off everything but the deadline for the end, which goes on if it runs already.
    pub(super) fn only_close(&mut self) {
        let close = match self.close {
            Alarm::OFF => Alarm::UNARMED,
            running => running,
        };
        *self = Self {
            close,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    fn second(count: u64) -> Instant {
        Instant::from_start(Duration::from_secs(count))
    }

    #[test]
    fn an_alarm_is_armed_once_and_fires_once() {
        let mut alarm = Alarm::UNARMED;
        alarm.arm(second(1), Some(Duration::from_secs(2)));
        alarm.arm(second(2), Some(Duration::from_secs(2)));
        assert_eq!(alarm, Alarm::at(second(3)));
        assert!(!alarm.fire(Instant::from_nanos(2_999_999_999)));
        assert!(alarm.fire(second(3)));
        assert_eq!(alarm, Alarm::OFF);
        assert!(!alarm.fire(second(3)));
    }

    #[test]
    fn an_alarm_only_ever_moves_forward() {
        for (before, at, after) in [
            (Alarm::OFF, Some(second(2)), Alarm::at(second(2))),
            (Alarm::at(second(3)), Some(second(2)), Alarm::at(second(2))),
            (Alarm::at(second(1)), Some(second(2)), Alarm::at(second(1))),
            (Alarm::at(second(1)), None, Alarm::at(second(1))),
            (Alarm::OFF, None, Alarm::NEVER),
        ] {
            let mut alarm = before;
            alarm.bring_forward(at);
            assert_eq!(alarm, after, "{before:?}, {at:?}");
        }
    }

    #[test]
    fn without_a_limit_and_beyond_the_end_of_time_is_never() {
        for (now, after) in [
            (Instant::START, None),
            (second(1), Some(Duration::MAX)),
            (
                Instant::from_nanos(u64::MAX - 5),
                Some(Duration::from_nanos(3)),
            ),
        ] {
            let mut alarm = Alarm::UNARMED;
            alarm.arm(now, after);
            assert_eq!(alarm, Alarm::NEVER, "{now:?}, {after:?}");
        }
        let end = Instant::from_nanos(u64::MAX);
        for mut alarm in [Alarm::UNARMED, Alarm::NEVER, Alarm::OFF] {
            assert!(!alarm.fire(end), "{alarm:?}");
        }
        let last = Instant::from_nanos(Alarm::UNARMED.0 - 1);
        assert!(Alarm::at(last).fire(end));
    }

    #[test]
    fn the_first_alarm_is_next() {
        let deadlines = Deadlines {
            open: Alarm::at(second(3)),
            close: Alarm::NEVER,
            pong: Alarm::at(second(2)),
            ..Deadlines::default()
        };
        assert_eq!(deadlines.next(second(1), false), Some(second(2)));
        assert_eq!(deadlines.next(second(1), true), Some(second(3)));
        assert_eq!(Deadlines::default().next(second(1), false), None);
        let due = Deadlines {
            write: Alarm::UNARMED,
            ..Deadlines::default()
        };
        assert_eq!(due.next(second(1), false), Some(second(1)));
        // An alarm that is set so late does not fire.
        let late = Instant::from_nanos(Alarm::UNARMED.0);
        assert_eq!(due.next(late, false), None);
    }

    #[test]
    fn debug_tells_what_a_number_means() {
        let alarms = [
            Alarm::OFF,
            Alarm::NEVER,
            Alarm::UNARMED,
            Alarm::at(second(2)),
        ];
        assert_eq!(format!("{alarms:?}"), "[Off, Never, Unarmed, At(2s)]");
    }
}

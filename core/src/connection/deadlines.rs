//! Deadlines as data: the core says when it must be woken, and never waits itself.
//!
//! A command does not know the time. It leaves its alarm [`Alarm::Due`], which makes the connection
//! ask to be woken at once; the next call that brings the time arms it. So every duration is measured
//! from a time that somebody really gave.

use core::fmt;
use core::time::Duration;

use crate::time::Instant;

/// What a connection waits for no longer than a configured time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Deadline {
    /// The opening handshake.
    Open,
    /// The end of the stream, after a Close frame or a failure.
    Close,
    /// Silence between two pings; its passing sends a ping and fails nothing.
    Ping,
    /// The pong that answers a ping.
    Pong,
    /// Progress in writing what is queued.
    Write,
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "opening handshake",
            Self::Close => "closing handshake",
            Self::Ping => "ping interval",
            Self::Pong => "keepalive ping",
            Self::Write => "write",
        })
    }
}

/// One deadline, as the nanosecond at which it rings; the last few mean something else.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Alarm(u64);

impl Alarm {
    pub(super) const OFF: Self = Self(u64::MAX);
    /// Runs, and will not ring: its time is not limited, or lies out of range.
    const NEVER: Self = Self(u64::MAX - 1);
    /// Runs from the next time that is given.
    pub(super) const DUE: Self = Self(u64::MAX - 2);

    pub(super) fn at(time: Instant) -> Self {
        match time.nanos() {
            nanos if nanos < Self::DUE.0 => Self(nanos),
            _ => Self::NEVER,
        }
    }

    /// Gives the alarm its time, if it waits for one.
    #[inline]
    pub(super) fn arm(&mut self, now: Instant, after: Option<Duration>) {
        if *self == Self::DUE {
            *self = match after.and_then(|after| now.checked_add(after)) {
                Some(at) => Self::at(at),
                None => Self::NEVER,
            };
        }
    }

    /// Has the alarm ring at this time, where it would not have done so before.
    pub(super) fn hasten(&mut self, at: Option<Instant>) {
        let at = at.map_or(Self::NEVER, Self::at);
        self.0 = self.0.min(at.0);
    }

    /// Returns whether the alarm rings, and turns it off if so.
    #[inline]
    pub(super) fn rings(&mut self, now: Instant) -> bool {
        let rings = self.0 <= now.nanos() && self.0 < Self::DUE.0;
        if rings {
            *self = Self::OFF;
        }
        rings
    }

    /// Returns when the alarm wants attention: an unarmed one at once.
    #[inline]
    fn time(self, now: Instant) -> u64 {
        match self {
            Self::DUE => now.nanos(),
            Self(nanos) => nanos,
        }
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::OFF => f.write_str("Off"),
            Self::NEVER => f.write_str("Never"),
            Self::DUE => f.write_str("Due"),
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
    /// When to see whether the connection has been quiet.
    pub(super) quiet: Alarm,
}

impl Deadlines {
    /// Returns the first alarm. While input waits to be read, the pong may be in there.
    pub(super) fn next(&self, now: Instant, input_waits: bool) -> Option<Instant> {
        let pong = if input_waits { Alarm::OFF } else { self.pong };
        let alarms = [
            self.open, self.close, self.ping, pong, self.write, self.quiet,
        ];
        let first = alarms.into_iter().map(|alarm| alarm.time(now)).min()?;
        (first < Alarm::DUE.0).then(|| Instant::from_nanos(first))
    }

    /// Turns off everything but the deadline for the end, which goes on if it runs already.
    pub(super) fn only_close(&mut self) {
        let close = match self.close {
            Alarm::OFF => Alarm::DUE,
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
    fn each_has_a_name_for_errors() {
        let names = [
            (Deadline::Open, "opening handshake"),
            (Deadline::Close, "closing handshake"),
            (Deadline::Ping, "ping interval"),
            (Deadline::Pong, "keepalive ping"),
            (Deadline::Write, "write"),
        ];
        for (deadline, name) in names {
            assert_eq!(format!("{deadline}"), name);
        }
    }

    #[test]
    fn an_alarm_is_armed_once_and_rings_once() {
        let mut alarm = Alarm::DUE;
        alarm.arm(second(1), Some(Duration::from_secs(2)));
        alarm.arm(second(2), Some(Duration::from_secs(2)));
        assert_eq!(alarm, Alarm::at(second(3)));
        assert!(!alarm.rings(Instant::from_nanos(2_999_999_999)));
        assert!(alarm.rings(second(3)));
        assert_eq!(alarm, Alarm::OFF);
        assert!(!alarm.rings(second(3)));
    }

    #[test]
    fn an_alarm_is_only_ever_hastened() {
        for (before, at, after) in [
            (Alarm::OFF, Some(second(2)), Alarm::at(second(2))),
            (Alarm::at(second(3)), Some(second(2)), Alarm::at(second(2))),
            (Alarm::at(second(1)), Some(second(2)), Alarm::at(second(1))),
            (Alarm::at(second(1)), None, Alarm::at(second(1))),
            (Alarm::OFF, None, Alarm::NEVER),
        ] {
            let mut alarm = before;
            alarm.hasten(at);
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
            let mut alarm = Alarm::DUE;
            alarm.arm(now, after);
            assert_eq!(alarm, Alarm::NEVER, "{now:?}, {after:?}");
        }
        let end = Instant::from_nanos(u64::MAX);
        for mut alarm in [Alarm::DUE, Alarm::NEVER, Alarm::OFF] {
            assert!(!alarm.rings(end), "{alarm:?}");
        }
        let last = Instant::from_nanos(Alarm::DUE.0 - 1);
        assert!(Alarm::at(last).rings(end));
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
            write: Alarm::DUE,
            ..Deadlines::default()
        };
        assert_eq!(due.next(second(1), false), Some(second(1)));
        // An alarm that is set so late will not ring.
        let late = Instant::from_nanos(Alarm::DUE.0);
        assert_eq!(due.next(late, false), None);
    }

    #[test]
    fn debug_tells_what_a_number_means() {
        let alarms = [Alarm::OFF, Alarm::NEVER, Alarm::DUE, Alarm::at(second(2))];
        assert_eq!(format!("{alarms:?}"), "[Off, Never, Due, At(2s)]");
    }
}

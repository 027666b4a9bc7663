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

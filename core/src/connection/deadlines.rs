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

/// One deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Alarm {
    #[default]
    Off,
    /// Runs, and will not ring: its time is not limited, or lies out of range.
    Never,
    /// Runs from the next time that is given.
    Due,
    At(Instant),
}

impl Alarm {
    /// Gives the alarm its time, if it waits for one.
    pub(super) fn arm(&mut self, now: Instant, after: Option<Duration>) {
        if *self == Self::Due {
            *self = match after.and_then(|after| now.checked_add(after)) {
                Some(at) => Self::At(at),
                None => Self::Never,
            };
        }
    }

    /// Returns whether the alarm rings, and turns it off if so.
    pub(super) fn rings(&mut self, now: Instant) -> bool {
        let rings = matches!(*self, Self::At(at) if at <= now);
        if rings {
            *self = Self::Off;
        }
        rings
    }

    /// Returns when the alarm wants attention: an unarmed one at once.
    pub(super) fn time(self, now: Instant) -> Option<Instant> {
        match self {
            Self::Off | Self::Never => None,
            Self::Due => Some(now),
            Self::At(at) => Some(at),
        }
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
        let pong = if input_waits { Alarm::Off } else { self.pong };
        let alarms = [
            self.open, self.close, self.ping, pong, self.write, self.quiet,
        ];
        alarms.into_iter().filter_map(|alarm| alarm.time(now)).min()
    }

    /// Turns off everything but the deadline for the end, which goes on if it runs already.
    pub(super) fn only_close(&mut self) {
        let close = match self.close {
            Alarm::Off => Alarm::Due,
            Alarm::Never | Alarm::Due | Alarm::At(_) => self.close,
        };
        *self = Self {
            close,
            ..Self::default()
        };
    }
}

//! Deadlines as data: the core says when it must be woken, and never waits itself.
//!
//! A command does not know the time. It leaves its alarm [`Alarm::UNARMED`], which requests a wakeup at
//! once; the next call that brings the time arms it. So every duration is measured from a time that
//! the caller gave. The earliest alarm is remembered, as most looks at the time find nothing to do.

use core::fmt;
use core::time::Duration;

use crate::time::Instant;

/// One deadline, as the nanosecond at which it fires; the last few mean something else.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Alarm(u64);

impl Alarm {
    pub(super) const OFF: Self = Self(u64::MAX);
    /// Runs, and never fires: its time is unlimited or out of range.
    pub(super) const NEVER: Self = Self(u64::MAX - 1);
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

    /// Returns whether the alarm fires now, and turns it off if so.
    #[inline]
    pub(super) fn fire(&mut self, now: Instant) -> bool {
        let fires = self.0 <= now.nanos() && self.0 < Self::UNARMED.0;
        if fires {
            *self = Self::OFF;
        }
        fires
    }

    /// Returns when the alarm wants attention: an unarmed one at any time.
    #[inline]
    const fn attention(self) -> u64 {
        match self {
            Self::UNARMED => 0,
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

/// What an alarm is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Timer {
    /// Of the opening handshake. [`Ping`](Self::Ping) has the same alarm afterwards.
    Open,
    Close,
    Ping,
    Pong,
    Receive,
    Write,
    /// Releases what the codecs hold, if the connection has been idle.
    Idle,
}

/// The alarms of one connection.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// There is no keepalive before the connection is open.
    open_or_ping: Alarm,
    close: Alarm,
    pong: Alarm,
    receive: Alarm,
    write: Alarm,
    idle: Alarm,
    /// When the first alarm wants attention; 0 if one may wait for its time.
    first: u64,
}

impl Deadlines {
    pub(super) const fn new() -> Self {
        Self {
            open_or_ping: Alarm::OFF,
            close: Alarm::OFF,
            pong: Alarm::OFF,
            receive: Alarm::OFF,
            write: Alarm::OFF,
            idle: Alarm::OFF,
            first: u64::MAX,
        }
    }

    /// Sets an alarm, which runs from the next time that is given.
    #[inline]
    pub(super) const fn start(&mut self, timer: Timer) {
        *self.alarm(timer) = Alarm::UNARMED;
        self.first = 0;
    }

    /// Turns an alarm off. If one waits for its time, the first is found when that is given.
    #[inline]
    pub(super) fn stop(&mut self, timer: Timer) {
        *self.alarm(timer) = Alarm::OFF;
        if self.first > 0 {
            self.find_first();
        }
    }

    pub(super) fn set(&mut self, timer: Timer, alarm: Alarm) {
        *self.alarm(timer) = alarm;
        self.find_first();
    }

    pub(super) fn is_off(&self, timer: Timer) -> bool {
        let alarm = match timer {
            Timer::Open | Timer::Ping => self.open_or_ping,
            Timer::Close => self.close,
            Timer::Pong => self.pong,
            Timer::Receive => self.receive,
            Timer::Write => self.write,
            Timer::Idle => self.idle,
        };
        alarm == Alarm::OFF
    }

    /// Gives those of these alarms their time that wait for one.
    pub(super) fn arm<const N: usize>(
        &mut self,
        now: Instant,
        times: [(Timer, Option<Duration>); N],
    ) {
        for (timer, after) in times {
            self.alarm(timer).arm(now, after);
        }
        self.find_first();
    }

    /// Moves an alarm to this time, unless it fires earlier.
    pub(super) fn bring_forward(&mut self, timer: Timer, at: Option<Instant>) {
        let alarm = self.alarm(timer);
        let at = at.map_or(Alarm::NEVER, Alarm::at);
        alarm.0 = alarm.0.min(at.0);
        self.find_first();
    }

    /// Whether an alarm waits for its time, or fires now.
    #[inline]
    pub(super) const fn is_due(&self, now: Instant) -> bool {
        self.first <= now.nanos()
    }

    /// Returns whether an alarm fires now, and turns it off if so.
    pub(super) fn fire(&mut self, timer: Timer, now: Instant) -> bool {
        let fires = self.alarm(timer).fire(now);
        if fires {
            self.find_first();
        }
        fires
    }

    /// Returns when the first alarm fires: at once, if one waits for its time.
    #[inline]
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let first = match self.first {
            0 => now.nanos(),
            first => first,
        };
        (first < Alarm::UNARMED.0).then(|| Instant::from_nanos(first))
    }

    /// Turns off everything but the deadline for the end, which continues if it runs already.
    pub(super) fn only_close(&mut self) {
        let close = match self.close {
            Alarm::OFF => Alarm::UNARMED,
            running => running,
        };
        *self = Self::new();
        self.set(Timer::Close, close);
    }

    const fn alarm(&mut self, timer: Timer) -> &mut Alarm {
        match timer {
            Timer::Open | Timer::Ping => &mut self.open_or_ping,
            Timer::Close => &mut self.close,
            Timer::Pong => &mut self.pong,
            Timer::Receive => &mut self.receive,
            Timer::Write => &mut self.write,
            Timer::Idle => &mut self.idle,
        }
    }

    fn find_first(&mut self) {
        let alarms = [
            self.open_or_ping,
            self.close,
            self.pong,
            self.receive,
            self.write,
            self.idle,
        ];
        let first = alarms.into_iter().map(Alarm::attention).min();
        self.first = first.unwrap_or(u64::MAX);
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
            let mut deadlines = Deadlines::new();
            deadlines.set(Timer::Close, before);
            deadlines.bring_forward(Timer::Close, at);
            assert_eq!(deadlines.close, after, "{before:?}, {at:?}");
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
        let mut deadlines = Deadlines::new();
        assert_eq!(deadlines.next(second(1)), None);
        deadlines.set(Timer::Open, Alarm::at(second(3)));
        deadlines.set(Timer::Close, Alarm::NEVER);
        deadlines.set(Timer::Pong, Alarm::at(second(2)));
        assert_eq!(deadlines.next(second(1)), Some(second(2)));
        assert!(deadlines.is_due(second(2)) && !deadlines.is_due(second(1)));
        deadlines.stop(Timer::Pong);
        assert_eq!(deadlines.next(second(1)), Some(second(3)));
        deadlines.start(Timer::Write);
        assert!(deadlines.is_due(Instant::START));
        assert_eq!(deadlines.next(second(1)), Some(second(1)));
        // An alarm that is set so late does not fire.
        let late = Instant::from_nanos(Alarm::UNARMED.0);
        assert_eq!(deadlines.next(late), None);
        deadlines.arm(second(1), [(Timer::Write, Some(Duration::from_secs(1)))]);
        assert_eq!(deadlines.next(second(1)), Some(second(2)));
        assert!(deadlines.fire(Timer::Write, second(2)));
        assert_eq!(deadlines.next(second(2)), Some(second(3)));
    }

    #[test]
    fn only_the_deadline_for_the_end_is_kept() {
        for (before, after) in [
            (Alarm::OFF, Alarm::UNARMED),
            (Alarm::at(second(2)), Alarm::at(second(2))),
        ] {
            let mut deadlines = Deadlines::new();
            deadlines.start(Timer::Ping);
            deadlines.set(Timer::Close, before);
            deadlines.only_close();
            assert!(deadlines.is_off(Timer::Ping));
            assert_eq!(deadlines.close, after);
        }
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

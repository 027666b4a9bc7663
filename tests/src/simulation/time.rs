//! Time that is early or late.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use sansock::Timer;
use sansock::clock::VirtualTimer;
use sansock_core::Instant;

use super::faults::Fault;
use super::local::Local;
use super::world::World;

/// What the timer of a connection is set to, and when it was last asked.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    at: Cell<Option<Instant>>,
    asked: Cell<Instant>,
}

impl Alarm {
    /// Returns how long ago an alarm rang after which the clock was not looked at.
    pub(super) fn overdue(&self, now: Instant) -> Option<Duration> {
        let at = self.at.get()?;
        (at <= now && self.asked.get() < at).then(|| now.saturating_since(at))
    }
}

/// The timer of a connection.
#[derive(Debug)]
pub(super) struct SimulatedTimer {
    world: Local<Rc<World>>,
    timer: VirtualTimer,
    alarm: Local<Rc<Alarm>>,
}

impl SimulatedTimer {
    pub(super) fn new(world: &Rc<World>, alarm: Rc<Alarm>) -> Self {
        Self {
            world: Local::new(world.clone()),
            timer: world.clock.timer(),
            alarm: Local::new(alarm),
        }
    }
}

impl Drop for SimulatedTimer {
    fn drop(&mut self) {
        self.alarm.get().at.set(None);
    }
}

impl Timer for SimulatedTimer {
    fn now(&self) -> Instant {
        let now = self.timer.now();
        self.alarm.get().asked.set(now);
        now
    }

    fn set(&mut self, deadline: Option<Instant>) {
        let world = self.world.get();
        let late = deadline.is_some() && world.strikes(Fault::LateAlarm, 20);
        let by = match late {
            true => world.time_up_to(3000),
            false => Duration::ZERO,
        };
        world.disturb(by);
        let at = deadline.map(|at| Instant::from_start(at.since_start() + by));
        self.alarm.get().at.set(at);
        self.timer.set(at);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let world = self.world.get();
        let rings = self.timer.poll(cx).is_ready() || world.strikes(Fault::EarlyAlarm, 30);
        if rings {
            world.progress();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// Waits.
pub(super) async fn sleep(world: &World, time: Duration) {
    let mut timer = world.clock.timer();
    world.note(format_args!("sleeps {time:?}"));
    timer.set(Some(world.after(time)));
    poll_fn(|cx| timer.poll(cx)).await;
    world.progress();
}

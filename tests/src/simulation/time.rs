//! Time that is early or late.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use sansock::Timer;
use sansock::clock::VirtualTimer;
use sansock_core::Instant;

use super::faults::Fault;
use super::world::World;

/// The timer of a connection.
#[derive(Debug)]
pub(super) struct SimulatedTimer {
    world: Rc<World>,
    timer: VirtualTimer,
}

impl SimulatedTimer {
    pub(super) fn new(world: &Rc<World>) -> Self {
        Self {
            world: world.clone(),
            timer: world.clock.timer(),
        }
    }
}

impl Timer for SimulatedTimer {
    fn now(&self) -> Instant {
        self.timer.now()
    }

    fn set(&mut self, deadline: Option<Instant>) {
        let late = deadline.is_some() && self.world.strikes(Fault::LateAlarm, 20);
        let by = match late {
            true => self.world.time_up_to(3000),
            false => Duration::ZERO,
        };
        self.world.disturb(by);
        self.timer
            .set(deadline.map(|at| Instant::from_start(at.since_start() + by)));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let rings = self.timer.poll(cx).is_ready() || self.world.strikes(Fault::EarlyAlarm, 30);
        if rings {
            self.world.progress();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// Waits.
pub(super) async fn sleep(world: &World, time: Duration) {
    let mut timer = world.clock.timer();
    timer.set(Some(world.after(time)));
    poll_fn(|cx| timer.poll(cx)).await;
    world.progress();
}

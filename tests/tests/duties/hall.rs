//! Several tasks in virtual time: a server with all its connections, and clients.

use std::future::Future;
use std::time::Duration;

use futures_lite::future::block_on;
use sansock::Config;
use sansock::clock::VirtualClock;
use sansock::runtime::{BoxFuture, Threads};
use sansock::serve::{Accepted, Acceptor, Origins, Outcome, Peer, Serve, ServerHandle};
use sansock_core::Instant;
use sansock_tests::driver::{Meter, MeteredTimer, Runs, Task};

use super::rig::{Duplex, Opened, Shared, Socket, Transport, lock};

/// Polls after which tasks that never wait count as a spin.
const MOST_POLLS: usize = 1_000_000;

/// An executor with one thread, on a clock that is moved by hand.
#[derive(Default)]
pub(crate) struct Tasks {
    pub(crate) clock: VirtualClock,
    tasks: Vec<Task<'static, ()>>,
    spawned: Shared<Vec<BoxFuture<Threads, ()>>>,
}

/// A server, to be run by [`Tasks`].
pub(crate) struct Hall {
    pub(crate) server: ServerHandle,
    pub(crate) meter: Meter,
    acceptor: Acceptor<Transport, MeteredTimer>,
}

impl Tasks {
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        lock(&self.spawned).push(Box::pin(future));
    }

    /// Starts a server.
    pub(crate) fn serve<F, R>(
        &self,
        config: Config,
        handler: impl Fn(Socket) -> F + Send + Sync + 'static,
        set: impl FnOnce(Serve<Transport, MeteredTimer>) -> Serve<Transport, MeteredTimer>,
    ) -> Hall
    where
        F: Future<Output = R> + Send + 'static,
        R: Outcome + 'static,
    {
        let meter = Meter::default();
        let (clock, spawned) = (self.clock.clone(), self.spawned.clone());
        let timers = meter.clone();
        let timer = move || timers.timer(clock.timer());
        let serve = Serve::new(handler, timer, move |task| lock(&spawned).push(task));
        let serve = set(serve.origins(Origins::Any).config(config));
        let server = block_on(serve.bind()).unwrap();
        let hall = Hall {
            server: server.handle(),
            meter,
            acceptor: server.acceptor(),
        };
        self.spawn(server.run());
        hall
    }

    /// Connects a client that has sent its request; its transport begins after the handshake.
    pub(crate) fn connect(&self, hall: &Hall, transport: impl Duplex + 'static) {
        let transport: Transport = Box::new(hall.meter.transport(Opened::new(transport)));
        let accepted = Accepted::new(transport, Peer::Unknown);
        self.spawn(hall.acceptor.serve(accepted));
    }

    /// Polls each task that is woken once. Returns how many there were.
    pub(crate) fn turn(&mut self) -> usize {
        self.tasks.retain(|task| !task.is_done());
        let spawned = std::mem::take(&mut *lock(&self.spawned));
        self.tasks.extend(spawned.into_iter().map(Task::new));
        let polled = self.tasks.iter_mut().map(|task| usize::from(task.step()));
        polled.sum()
    }

    /// Polls tasks until none is woken. Returns how many polls that took.
    #[track_caller]
    pub(crate) fn settle(&mut self) -> usize {
        let mut polls = 0;
        loop {
            let polled = self.turn();
            polls += polled;
            assert!(polls < MOST_POLLS, "the tasks spin");
            if polled == 0 && lock(&self.spawned).is_empty() {
                return polls;
            }
        }
    }

    /// Moves the clock to this time, alarm by alarm. Returns how many polls that took.
    #[track_caller]
    pub(crate) fn run_until(&mut self, time: Duration) -> usize {
        let end = Instant::from_start(time);
        let mut polls = self.settle();
        while self.clock.now() < end {
            let next = self.clock.next_alarm().unwrap_or(end).min(end);
            self.clock.advance(next.saturating_since(self.clock.now()));
            polls += self.settle();
        }
        polls
    }

    /// Returns how many tasks are left.
    pub(crate) fn count(&self) -> usize {
        self.tasks.iter().filter(|task| !task.is_done()).count() + lock(&self.spawned).len()
    }
}

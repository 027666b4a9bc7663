//! One run: the tasks, the order in which they are polled, and what is checked after every poll.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use sansock_core::Side;

use super::application::{Application, Ending};
use super::faults::{Fault, Fired};
use super::hostile;
use super::ledger::Ledger;
use super::monitor::Monitor;
use super::network::{Wire, connection};
use super::world::World;
use crate::driver::peer_of;

/// Polls after which a run counts as endless.
const MOST_POLLS: u64 = 200_000;
/// Polls in a row in which a task may wake itself and get nowhere that can be seen from outside: what
/// one read brings, 4 KiB of frames of two bytes, is looked at in portions of 64.
const MOST_IDLE: u32 = 4096 / 2 / 64 + 1;
/// A run that lasts longer than this, disturbances aside, has missed its deadlines.
const LONGEST: Duration = Duration::from_secs(3600);
/// What an endpoint may hold: a message that is put together, in a buffer that has just grown; the
/// queue, and one message over its limit; what is read and masked meanwhile; a message of its own.
const BOUND: i64 = 4 * Application::MAX_MESSAGE as i64 + (64 << 10);
/// The same for the compressor and the inflater.
const BOUND_OF_COMPRESSION: i64 = 400 << 10;

/// What work has allocated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Held {
    /// What it has left allocated, in bytes; below zero where it freed more.
    pub left: i64,
    /// The most that was allocated meanwhile.
    pub most: i64,
}

/// Counts what work allocates.
pub type Meter = fn(&mut dyn FnMut()) -> Held;

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How often each fault has struck.
    pub fired: Fired,
    /// A digest of everything that happened.
    pub digest: u64,
    /// Polls that it took.
    pub polls: u64,
    /// Messages that were delivered.
    pub delivered: usize,
    /// Endpoints that ended cleanly.
    pub clean: usize,
    /// The most that an endpoint held, in bytes.
    pub most_held: i64,
}

/// Plays the run of a seed.
///
/// # Panics
/// If anything is not as it must be.
#[must_use]
pub fn play(seed: u64, tells: bool, meter: Meter) -> Report {
    let world = Rc::new(World::new(seed, tells));
    world.note(format_args!("{:?}", world.faults()));
    let mut run = Run::new(world, meter);
    run.run_to_the_end();
    run.judge()
}

/// A future that is polled by hand.
struct Task {
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    owner: Side,
    bell: Arc<Bell>,
    /// Polls in a row that got nowhere.
    idle: u32,
}

#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Task {
    fn new(owner: Side, future: impl Future<Output = ()> + 'static) -> Self {
        let bell = Arc::new(Bell::default());
        bell.wake_by_ref();
        Self {
            future: Some(Box::pin(future)),
            owner,
            bell,
            idle: 0,
        }
    }

    fn is_woken(&self) -> bool {
        self.future.is_some() && self.bell.0.load(Ordering::Relaxed)
    }
}

/// One side of a run.
struct Endpoint {
    side: Side,
    /// `None` for a hostile peer.
    application: Option<Rc<Application>>,
    monitor: Rc<RefCell<Monitor>>,
    /// What this side has sent.
    ledger: Rc<Ledger>,
    held: i64,
}

struct Run {
    world: Rc<World>,
    tasks: Vec<Task>,
    endpoints: [Endpoint; 2],
    meter: Meter,
    polls: u64,
    most_held: i64,
}

impl Run {
    fn new(world: Rc<World>, meter: Meter) -> Self {
        let ledgers = [Side::Client, Side::Server].map(|side| {
            let planned = 1 + world.below(if world.below(4) == 0 { 40 } else { 12 });
            Rc::new(Ledger::new(&world, side, planned))
        });
        // A hostile peer in every fourth world that is not calm.
        let hostile = (!world.is_calm() && world.below(4) == 0).then(|| {
            if world.below(2) == 0 {
                Side::Client
            } else {
                Side::Server
            }
        });
        let closer = if world.below(2) == 0 {
            Side::Client
        } else {
            Side::Server
        };
        let both_close = world.strikes(Fault::BothClose, 2);
        let setting = Application::setting(&world);
        let mut tasks = Vec::new();
        let endpoints = connection(&world).map(|(wire, monitor)| {
            let side = if tasks.is_empty() {
                Side::Client
            } else {
                Side::Server
            };
            let ledger = ledgers[usize::from(side == Side::Server)].clone();
            let application = if hostile == Some(side) {
                tasks.push(Task::new(
                    side,
                    hostile::act(world.clone(), side, ledger.clone(), wire.plain()),
                ));
                None
            } else {
                let theirs = ledgers[usize::from(side == Side::Client)].clone();
                let closes = both_close || side == closer || hostile == Some(peer_of(side));
                let application =
                    Application::new(&world, side, closes, &setting, &ledger, &theirs);
                start(&mut tasks, side, &application, wire);
                Some(application)
            };
            Endpoint {
                side,
                application,
                monitor,
                ledger,
                held: 0,
            }
        });
        Self {
            world,
            tasks,
            endpoints,
            meter,
            polls: 0,
            most_held: 0,
        }
    }

    fn run_to_the_end(&mut self) {
        while self.tasks.iter().any(|task| self.matters(task)) {
            self.step();
            let lasted = self.world.now().since_start();
            assert!(lasted <= LONGEST + self.world.disturbed(), "endless");
            assert!(self.polls < MOST_POLLS, "too many polls");
        }
    }

    /// Whether the run goes on for this task: a hostile peer may wait for ever.
    fn matters(&self, task: &Task) -> bool {
        let [client, server] = &self.endpoints;
        let endpoint = if task.owner == Side::Client {
            client
        } else {
            server
        };
        task.future.is_some() && endpoint.application.is_some()
    }

    fn step(&mut self) {
        let woken = self.tasks.iter().filter(|task| task.is_woken()).count();
        if woken == 0 {
            if self.has_no_excuse() && self.world.below(3) == 0 {
                self.look_for_lost_wakeups();
            }
            self.let_time_pass();
        } else if self.world.strikes(Fault::Starve, 100) {
            let by = self.world.time_up_to(5000);
            self.world.disturb(by);
            self.world.clock.advance(by);
        } else {
            let choice = self.world.below(woken);
            let mut indices = 0..self.tasks.len();
            let index = indices
                .by_ref()
                .filter(|index| self.tasks[*index].is_woken())
                .nth(choice);
            self.poll(index.expect("a task that was woken"));
        }
        if self.world.strikes(Fault::SpuriousPoll, 20) {
            let index = self.world.below(self.tasks.len());
            self.poll(index);
        }
    }

    /// Whether a task that was not woken has nothing to do. Something may be due whose alarm is late, and
    /// a reply that is queued while a flush is pending is written when that is done.
    fn has_no_excuse(&self) -> bool {
        let faults = self.world.faults();
        let excuses = [Fault::LateAlarm, Fault::FlushWaits, Fault::SendsOnFlush];
        !excuses.into_iter().any(|fault| faults.has(fault))
    }

    /// Nobody was woken: then nobody who is polled may get anywhere.
    fn look_for_lost_wakeups(&mut self) {
        self.world.mute(true);
        (0..self.tasks.len()).for_each(|index| self.poll(index));
        self.world.mute(false);
    }

    fn let_time_pass(&self) {
        if self.world.strikes(Fault::ClockJump, 200) {
            let by = Duration::from_secs(1 + self.world.below(10_000) as u64);
            self.world.disturb(by);
            self.world.clock.advance(by);
            return;
        }
        let advanced = self.world.clock.advance_to_next_alarm();
        assert!(advanced, "nobody is woken and nothing is to come");
    }

    fn poll(&mut self, index: usize) {
        let task = &mut self.tasks[index];
        let Some(future) = &mut task.future else {
            return;
        };
        if self.world.strikes(Fault::OtherWaker, 3) {
            task.bell = Arc::default();
        }
        task.bell.0.store(false, Ordering::Relaxed);
        let before = self.world.progress_made();
        let waker = Waker::from(task.bell.clone());
        let mut cx = Context::from_waker(&waker);
        let mut poll = Poll::Pending;
        let mut held = (self.meter)(&mut || poll = future.as_mut().poll(&mut cx));
        if poll.is_ready() {
            let left = (self.meter)(&mut || task.future = None).left;
            held.left += left;
        }
        self.polls += 1;
        self.world
            .note(format_args!("task {index} {}", poll.is_ready()));

        let idles = poll.is_pending() && self.world.progress_made() == before && task.is_woken();
        task.idle = if idles { task.idle + 1 } else { 0 };
        assert!(task.idle <= MOST_IDLE, "task {index} spins");
        let owner = task.owner;
        self.check(owner, held);
    }

    /// What must hold after every poll.
    fn check(&mut self, owner: Side, held: Held) {
        let [client, server] = &mut self.endpoints;
        let (endpoint, peer) = match owner {
            Side::Client => (client, server),
            Side::Server => (server, client),
        };
        assert!(endpoint.monitor.borrow().closes() <= 1);
        let Some(application) = &endpoint.application else {
            return;
        };
        let most = endpoint.held + held.most;
        endpoint.held += held.left;
        let compression = if application.is_compressed() {
            BOUND_OF_COMPRESSION
        } else {
            0
        };
        // What arrives before a pong is kept for whoever receives.
        let early = peer.ledger.bytes_underway() as i64;
        assert!(most <= BOUND + compression + early, "holds {most} bytes");
        self.most_held = self.most_held.max(most);
    }

    /// What must hold in the end.
    fn judge(self) -> Report {
        let mut clean = 0;
        for endpoint in &self.endpoints {
            let Some(application) = &endpoint.application else {
                continue;
            };
            let ending = application.ending();
            self.world
                .note(format_args!("{:?} {ending:?}", endpoint.side));
            clean += usize::from(ending == Ending::Clean);
            if self.world.is_calm() {
                assert_eq!(endpoint.monitor.borrow().closes(), 1, "Close frames");
                assert_eq!(ending, Ending::Clean, "{:?}", endpoint.side);
                assert!(
                    endpoint.ledger.is_complete(),
                    "not everything was delivered"
                );
            }
        }
        let delivered = self
            .endpoints
            .iter()
            .map(|endpoint| endpoint.ledger.messages_delivered());
        Report {
            delivered: delivered.sum(),
            fired: self.world.fired(),
            digest: self.world.digest(),
            polls: self.polls,
            clean,
            most_held: self.most_held,
        }
    }
}

fn start(tasks: &mut Vec<Task>, side: Side, application: &Rc<Application>, wire: Wire) {
    let (one, two) = application.clone().start(wire);
    tasks.push(Task::new(side, one));
    tasks.push(Task::new(side, two));
}

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

use super::application::{Application, Ending, Role, Setting, number};
use super::duties::{Duties, Numbers};
use super::faults::Fault;
use super::hostile;
use super::ledger::{LANES, Ledger};
use super::monitor::Monitor;
use super::network::{Wire, connection};
use super::paths::Path;
use super::switches::Counts;
use super::world::{Held, Meter, Spawned, World};
use crate::driver::peer_of;

/// Polls after which a run counts as endless.
const MOST_POLLS: u64 = 2_000_000;
/// Polls in a row in which a task may wake itself and get nowhere that can be seen from outside: what
/// one read brings, 4 KiB of frames of two bytes, is looked at in portions of 64.
const MOST_IDLE: u32 = 4096 / 2 / 64 + 1;
/// Polls in a row in which no task gets anywhere, and no time passes: every event may wake each task once.
const MOST_IN_VAIN: u32 = MOST_IDLE * 8;
/// A run that lasts longer than this, disturbances aside, has missed its deadlines.
const LONGEST: Duration = Duration::from_secs(3600);
/// What an endpoint may hold: a message that is put together, in a buffer that has just grown; the
/// queue, and one message over its limit; what is read and masked meanwhile; a message of its own for
/// each of its tasks.
const BOUND: i64 = (4 + LANES as i64) * Application::MAX_MESSAGE as i64 + (64 << 10);
/// The same for the compressor and the inflater.
const BOUND_OF_COMPRESSION: i64 = 400 << 10;
/// What a message takes that is kept, beside its payload.
const OVERHEAD: i64 = 128;

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How often each fault has struck.
    pub fired: Counts<Fault>,
    /// How often each path was taken.
    pub walked: Counts<Path>,
    /// The largest numbers.
    pub numbers: Numbers,
    /// A digest of everything that happened.
    pub digest: u64,
    /// Polls that it took.
    pub polls: u64,
    /// Messages that were delivered.
    pub delivered: usize,
    /// Endpoints that ended cleanly.
    pub clean: usize,
}

/// Plays the run of a seed.
///
/// # Panics
/// If anything is not as it must be.
#[must_use]
pub fn play(seed: u64, tells: bool, meter: Meter) -> Report {
    let world = Rc::new(World::new(seed, tells, meter));
    world.note(format_args!("{:?}", world.faults()));
    let mut run = Run::new(world);
    run.run_to_the_end();
    run.judge()
}

/// A future that is polled by hand.
struct Task {
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    owner: Side,
    matters: bool,
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
    fn new(spawned: Spawned) -> Self {
        let bell = Arc::new(Bell::default());
        bell.wake_by_ref();
        Self {
            future: Some(spawned.future),
            owner: spawned.side,
            matters: spawned.matters,
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
    duties: Rc<Duties>,
    /// What this side has sent.
    ledger: Rc<Ledger>,
    held: i64,
}

struct Run {
    world: Rc<World>,
    tasks: Vec<Task>,
    endpoints: [Endpoint; 2],
    polls: u64,
    /// Polls in a row that got nowhere, of any task, since the time has passed.
    in_vain: u32,
    numbers: Numbers,
}

impl Run {
    fn new(world: Rc<World>) -> Self {
        let side = |world: &World| match world.below(2) {
            0 => Side::Client,
            _ => Side::Server,
        };
        // A hostile peer in every fourth world that is not calm.
        let hostile = (!world.is_calm() && world.below(4) == 0).then(|| side(&world));
        let closer = side(&world);
        let both_close = world.strikes(Fault::BothClose, 2);
        let sides = [Side::Client, Side::Server];
        let closes =
            sides.map(|side| both_close || side == closer || hostile == Some(peer_of(side)));
        let setting = Setting::new(&world, closes, hostile);
        let ledgers =
            sides.map(|side| Rc::new(Ledger::new(&world, side, setting.plans[number(side)])));
        // Where nothing may time out, two that send before they receive do not wait for each other.
        let is_fast = world.is_calm() && setting.roles.iter().all(Role::sends_before_it_receives);
        let [client, server] = connection(&world, is_fast);
        let monitors = [client.1.clone(), server.1.clone()];
        let mut ends = [client, server].into_iter();
        let endpoints = sides.map(|side| {
            let (wire, monitor, probe) = ends.next().expect("two ends");
            let ours = ledgers[number(side)].clone();
            let theirs = ledgers[number(peer_of(side))].clone();
            let both = [monitor.clone(), monitors[number(peer_of(side))].clone()];
            let duties = Duties::new(&world, side, probe, both, &theirs);
            let application = match hostile == Some(side) {
                true => {
                    be_hostile(&world, side, &ours, wire);
                    None
                }
                false => {
                    let application =
                        Application::new(&world, side, &setting, &duties, &ours, &theirs);
                    application.start(wire);
                    Some(application)
                }
            };
            Endpoint {
                side,
                application,
                monitor,
                duties,
                ledger: ours,
                held: 0,
            }
        });
        Self {
            world,
            tasks: Vec::new(),
            endpoints,
            polls: 0,
            in_vain: 0,
            numbers: Numbers::default(),
        }
    }

    fn run_to_the_end(&mut self) {
        self.take_spawned();
        while self
            .tasks
            .iter()
            .any(|task| task.matters && task.future.is_some())
        {
            self.step();
            self.take_spawned();
            let lasted = self.world.now().since_start();
            assert!(lasted <= LONGEST + self.world.disturbed(), "endless");
            assert!(self.polls < MOST_POLLS, "too many polls");
        }
        // What is left of a server, and a hostile peer that waits for ever.
        self.tasks.clear();
    }

    fn take_spawned(&mut self) {
        let spawned = self.world.spawned.take();
        self.tasks.extend(spawned.into_iter().map(Task::new));
    }

    fn step(&mut self) {
        let woken = self.tasks.iter().filter(|task| task.is_woken()).count();
        if woken == 0 {
            self.in_vain = 0;
            let now = self.world.now();
            for endpoint in &self.endpoints {
                if endpoint.application.is_some() {
                    endpoint.duties.check(now);
                }
            }
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

    /// What an endpoint may hold since it arrived before a pong: it is kept for whoever receives.
    fn early(&self, owner: Side) -> i64 {
        let (bytes, messages) = self.endpoints[number(peer_of(owner))].ledger.underway();
        bytes as i64 + messages as i64 * OVERHEAD
    }

    fn poll(&mut self, index: usize) {
        let early = self.early(self.tasks[index].owner);
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
        let counted = self.world.meter.counted;
        let mut held = counted(&mut || poll = future.as_mut().poll(&mut cx));
        if poll.is_ready() {
            held.left += counted(&mut || task.future = None).left;
        }
        self.polls += 1;
        if !self.world.is_muted() {
            self.world.clock.advance(self.world.poll_time());
        }
        assert!(!self.world.has_panicked(), "a handler has panicked");
        self.world
            .note(format_args!("task {index} {}", poll.is_ready()));

        let is_in_vain = self.world.progress_made() == before;
        let idles = poll.is_pending() && is_in_vain && task.is_woken();
        task.idle = if idles { task.idle + 1 } else { 0 };
        assert!(task.idle <= MOST_IDLE, "task {index} spins");
        let owner = task.owner;
        self.in_vain = if is_in_vain { self.in_vain + 1 } else { 0 };
        self.numbers.idle_polls = self.numbers.idle_polls.max(self.in_vain);
        assert!(
            self.in_vain <= MOST_IN_VAIN,
            "tasks wake each other for nothing"
        );
        self.check(owner, held, early);
    }

    /// What must hold after every poll. `early` is what was kept at its start.
    fn check(&mut self, owner: Side, held: Held, early: i64) {
        let early = early.max(self.early(owner));
        let endpoint = &mut self.endpoints[number(owner)];
        let Some(application) = &endpoint.application else {
            return;
        };
        assert!(endpoint.monitor.borrow().closes() <= 1);
        let most = endpoint.held + held.most;
        endpoint.held += held.left;
        let compression = if application.is_compressed() {
            BOUND_OF_COMPRESSION
        } else {
            0
        };
        assert!(most <= BOUND + compression + early, "holds {most} bytes");
        self.numbers.held = self.numbers.held.max(most);
        endpoint.duties.end_poll();
    }

    /// What must hold in the end.
    fn judge(mut self) -> Report {
        let mut clean = 0;
        for endpoint in &self.endpoints {
            let Some(application) = &endpoint.application else {
                continue;
            };
            let ending = application.ending();
            self.world
                .note(format_args!("{:?} {ending:?}", endpoint.side));
            clean += usize::from(ending == Ending::Clean);
            self.numbers.add(&endpoint.duties.numbers());
            if self.world.is_calm() {
                assert_eq!(endpoint.monitor.borrow().closes(), 1, "Close frames");
                assert_eq!(ending, Ending::Clean, "{:?}", endpoint.side);
                let ledger = &endpoint.ledger;
                let plan = ledger.plan();
                assert!(
                    ledger.is_complete() || !plan.is_received,
                    "not everything was delivered: {ledger:?}"
                );
                assert!(
                    ledger.is_accounted_for() || !plan.is_counted,
                    "messages were lost: {ledger:?}"
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
            walked: self.world.walked(),
            numbers: self.numbers,
            digest: self.world.digest(),
            polls: self.polls,
            clean,
        }
    }
}

fn be_hostile(world: &Rc<World>, side: Side, ledger: &Rc<Ledger>, wire: Wire) {
    let acting = hostile::act(world.clone(), side, ledger.clone(), wire.plain());
    world.spawn_in_background(side, acting);
}

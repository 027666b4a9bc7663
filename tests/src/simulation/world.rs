//! What everything else of a run is made from: one clock, one source of randomness, the switches.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use sansock::clock::VirtualClock;
use sansock_core::{Instant, Side};

use super::faults::Fault;
use super::paths::Path;
use super::switches::{Counts, Set, Switch};
use crate::random::Random;

/// What work has allocated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Held {
    /// What it has left allocated, in bytes; below zero where it freed more.
    pub left: i64,
    /// The most that was allocated meanwhile.
    pub most: i64,
}

/// Counts what work allocates.
#[derive(Debug, Clone, Copy)]
pub struct Meter {
    /// Counts what this work allocates.
    pub counted: fn(&mut dyn FnMut()) -> Held,
    /// Does work within that which is counted, without counting it.
    pub uncounted: fn(&mut dyn FnMut()),
}

/// A future that some side wants to be polled.
pub(super) struct Spawned {
    pub(super) side: Side,
    pub(super) future: Pin<Box<dyn Future<Output = ()>>>,
    /// Whether the run waits for its end.
    pub(super) matters: bool,
}

/// One run's clock, dice and switches.
pub struct World {
    /// The number that everything follows from.
    pub seed: u64,
    /// The time.
    pub clock: VirtualClock,
    /// Counts what endpoints hold.
    pub meter: Meter,
    faults: Set<Fault>,
    random: RefCell<Random>,
    fired: RefCell<Counts<Fault>>,
    walked: RefCell<Counts<Path>>,
    /// Counts whatever counts as getting somewhere.
    progress: Cell<u64>,
    /// By how much alarms were late and the clock has jumped.
    disturbed: Cell<Duration>,
    /// How long every poll takes.
    poll_time: Cell<Duration>,
    /// Operations that were pending in this poll while their task went on.
    pending: Cell<u32>,
    /// A digest of everything that happened.
    digest: Cell<u64>,
    /// Whether faults strike at all at the moment.
    muted: Cell<bool>,
    /// Whether what happens is printed.
    tells: bool,
    has_panicked: Cell<bool>,
    pub(super) spawned: RefCell<Vec<Spawned>>,
}

impl World {
    /// The world of a seed. A quarter of the worlds have no faults, another quarter harmless ones.
    #[must_use]
    pub fn new(seed: u64, tells: bool, meter: Meter) -> Self {
        let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.below(2);
        let mut faults = Set::NONE;
        for fault in Fault::ALL {
            let may_strike = match seed % 4 {
                0 => false,
                1 => fault.is_harmless(),
                _ => true,
            };
            if may_strike && random.below(3) == 0 {
                faults = faults.with(*fault);
            }
        }
        Self {
            seed,
            clock: VirtualClock::new(),
            meter,
            faults,
            random: RefCell::new(random),
            fired: RefCell::default(),
            walked: RefCell::default(),
            progress: Cell::new(0),
            disturbed: Cell::new(Duration::ZERO),
            poll_time: Cell::new(Duration::ZERO),
            pending: Cell::new(0),
            digest: Cell::new(seed),
            muted: Cell::new(false),
            tells,
            has_panicked: Cell::new(false),
            spawned: RefCell::default(),
        }
    }

    /// Whether nothing can go wrong that a side should notice.
    #[must_use]
    pub const fn is_calm(&self) -> bool {
        self.seed % 4 < 2
    }

    /// The switches.
    #[must_use]
    pub const fn faults(&self) -> Set<Fault> {
        self.faults
    }

    /// A number below `limit`.
    pub fn below(&self, limit: usize) -> usize {
        self.random.borrow_mut().below(limit)
    }

    /// Whether a fault strikes now, which it does once in so many times where it is switched on.
    pub fn strikes(&self, fault: Fault, once_in: usize) -> bool {
        let may_strike = self.faults.has(fault) && !self.muted.get();
        let strikes = may_strike && self.below(once_in) == 0;
        if strikes {
            self.uncounted(|| {
                self.fired.borrow_mut().count(fault);
                self.note(format_args!("{fault:?}"));
            });
        }
        strikes
    }

    /// An application, or a transport, takes a path.
    pub fn walk(&self, path: Path) {
        self.uncounted(|| {
            self.walked.borrow_mut().count(path);
            self.note(format_args!("{path:?}"));
        });
    }

    /// How often each path was taken.
    #[must_use]
    pub fn walked(&self) -> Counts<Path> {
        self.walked.borrow().clone()
    }

    /// Does work that is not to count as an endpoint's.
    pub fn uncounted<T>(&self, work: impl FnOnce() -> T) -> T {
        let (mut work, mut result) = (Some(work), None);
        (self.meter.uncounted)(&mut || result = work.take().map(|work| work()));
        result.expect("the work was done")
    }

    /// Has a future polled for a side, from the next step on.
    pub fn spawn(&self, side: Side, future: impl Future<Output = ()> + 'static) {
        self.spawned.borrow_mut().push(Spawned {
            side,
            future: Box::pin(future),
            matters: true,
        });
    }

    /// As `spawn`, and the run may end before it.
    pub fn spawn_in_background(&self, side: Side, future: impl Future<Output = ()> + 'static) {
        self.spawned.borrow_mut().push(Spawned {
            side,
            future: Box::pin(future),
            matters: false,
        });
    }

    /// A panic was caught.
    pub fn panicked(&self) {
        self.has_panicked.set(true);
    }

    /// Whether a panic was caught.
    #[must_use]
    pub fn has_panicked(&self) -> bool {
        self.has_panicked.get()
    }

    /// Every poll takes so long from now on: tasks that never wait would stop the time.
    pub fn set_poll_time(&self, time: Duration) {
        self.poll_time.set(time);
    }

    /// How long every poll takes.
    #[must_use]
    pub fn poll_time(&self) -> Duration {
        self.poll_time.get()
    }

    /// An operation is pending, and its task goes on with something else in the same poll.
    pub fn goes_on(&self) {
        self.pending.set(self.pending.get() + 1);
    }

    /// Returns how often a task went on in this poll, and begins to count anew.
    pub fn take_pending(&self) -> u32 {
        self.pending.take()
    }

    /// Keeps faults from striking, or no longer does.
    pub fn mute(&self, muted: bool) {
        self.muted.set(muted);
    }

    /// Whether faults are kept from striking.
    #[must_use]
    pub fn is_muted(&self) -> bool {
        self.muted.get()
    }

    /// A time of up to so many milliseconds, of any order of magnitude.
    pub fn time_up_to(&self, milliseconds: usize) -> Duration {
        let limit = (milliseconds >> self.below(10)).max(1);
        Duration::from_micros(self.below(limit * 1000) as u64 + 1)
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The time after this one by so much.
    #[must_use]
    pub fn after(&self, time: Duration) -> Instant {
        Instant::from_start(self.now().since_start() + time)
    }

    /// Something got somewhere.
    ///
    /// # Panics
    /// If nobody should get anywhere.
    pub fn progress(&self) {
        assert!(!self.muted.get(), "a task was not woken for something");
        self.progress.set(self.progress.get() + 1);
    }

    /// How often something got somewhere.
    #[must_use]
    pub fn progress_made(&self) -> u64 {
        self.progress.get()
    }

    /// Deadlines may be missed by so much more.
    pub fn disturb(&self, by: Duration) {
        self.disturbed.set(self.disturbed.get().saturating_add(by));
    }

    /// By how much deadlines may be missed.
    #[must_use]
    pub fn disturbed(&self) -> Duration {
        self.disturbed.get()
    }

    /// How often the faults have struck.
    #[must_use]
    pub fn fired(&self) -> Counts<Fault> {
        self.fired.borrow().clone()
    }

    /// Adds to the digest of what happened, and tells it where it is asked for.
    pub fn note(&self, what: std::fmt::Arguments<'_>) {
        if self.tells {
            eprintln!("{:>12?} {what}", self.now().since_start());
        }
        let mut digest = Digest(self.digest.get());
        let _ = std::fmt::write(&mut digest, what);
        digest.add(&self.now().since_start().as_nanos().to_le_bytes());
        self.digest.set(digest.0);
    }

    /// The digest of what happened.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.get()
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// FNV-1a, over what is written to it.
struct Digest(u64);

impl Digest {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl std::fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.add(text.as_bytes());
        Ok(())
    }
}

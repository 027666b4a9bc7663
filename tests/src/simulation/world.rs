//! What everything else of a run is made from: one clock, one source of randomness, the switches.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use sansock::clock::VirtualClock;
use sansock_core::Instant;

use super::faults::{Fault, FaultSet, Fired};
use crate::random::Random;

/// One run's clock, dice and switches.
#[derive(Debug)]
pub struct World {
    /// The number that everything follows from.
    pub seed: u64,
    /// The time.
    pub clock: VirtualClock,
    faults: FaultSet,
    random: RefCell<Random>,
    fired: RefCell<Fired>,
    /// Counts whatever counts as getting somewhere.
    progress: Cell<u64>,
    /// By how much alarms were late and the clock has jumped.
    disturbed: Cell<Duration>,
    /// A digest of everything that happened.
    digest: Cell<u64>,
    /// Whether faults strike at all at the moment.
    muted: Cell<bool>,
    /// Whether what happens is printed.
    tells: bool,
}

impl World {
    /// The world of a seed. A quarter of the worlds have no faults, another quarter harmless ones.
    #[must_use]
    pub fn new(seed: u64, tells: bool) -> Self {
        let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.below(2);
        let mut faults = FaultSet::NONE;
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
            faults,
            random: RefCell::new(random),
            fired: RefCell::default(),
            progress: Cell::new(0),
            disturbed: Cell::new(Duration::ZERO),
            digest: Cell::new(seed),
            muted: Cell::new(false),
            tells,
        }
    }

    /// Whether nothing can go wrong that a side should notice.
    #[must_use]
    pub const fn is_calm(&self) -> bool {
        self.seed % 4 < 2
    }

    /// The switches.
    #[must_use]
    pub const fn faults(&self) -> FaultSet {
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
            self.fired.borrow_mut().count(fault);
            self.note(format_args!("{fault:?}"));
        }
        strikes
    }

    /// Keeps faults from striking, or no longer does.
    pub fn mute(&self, muted: bool) {
        self.muted.set(muted);
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
    pub fn fired(&self) -> Fired {
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

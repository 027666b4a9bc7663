//! Named switches, and how often each was used.

use std::fmt;
use std::marker::PhantomData;

/// An enum whose variants are switches.
pub trait Switch: Copy + fmt::Debug + 'static {
    /// All of them, in the order of their numbers.
    const ALL: &'static [Self];

    /// The number of the switch.
    fn number(self) -> usize;
}

macro_rules! switches {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $switch:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$about])* $switch,)*
        }

        impl $crate::simulation::switches::Switch for $name {
            const ALL: &'static [Self] = &[$(Self::$switch,)*];

            fn number(self) -> usize {
                self as usize
            }
        }
    };
}

pub(super) use switches;

/// Switches that are on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Set<S> {
    bits: u64,
    switches: PhantomData<S>,
}

impl<S: Switch> Set<S> {
    /// All are off.
    pub const NONE: Self = Self {
        bits: 0,
        switches: PhantomData,
    };

    /// The set with this switch on.
    #[must_use]
    pub fn with(self, switch: S) -> Self {
        Self {
            bits: self.bits | 1 << switch.number(),
            ..self
        }
    }

    /// Whether the switch is on.
    #[must_use]
    pub fn has(self, switch: S) -> bool {
        self.bits >> switch.number() & 1 != 0
    }
}

impl<S: Switch> fmt::Debug for Set<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = S::ALL.iter().filter(|switch| self.has(**switch));
        f.debug_set().entries(on).finish()
    }
}

/// How often each switch was used.
#[derive(Clone, PartialEq, Eq)]
pub struct Counts<S> {
    counts: Vec<u64>,
    switches: PhantomData<S>,
}

impl<S: Switch> Counts<S> {
    /// Counts one.
    pub fn count(&mut self, switch: S) {
        self.counts[switch.number()] += 1;
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// Returns how often a switch was used.
    #[must_use]
    pub fn of(&self, switch: S) -> u64 {
        self.counts[switch.number()]
    }

    /// Returns the switches that were never used.
    pub fn never(&self) -> impl Iterator<Item = S> {
        let all = S::ALL.iter().copied();
        all.filter(|switch| self.of(*switch) == 0)
    }
}

impl<S: Switch> Default for Counts<S> {
    fn default() -> Self {
        Self {
            counts: vec![0; S::ALL.len()],
            switches: PhantomData,
        }
    }
}

impl<S: Switch> fmt::Debug for Counts<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let switches = S::ALL.iter();
        f.debug_map()
            .entries(switches.map(|switch| (switch, self.of(*switch))))
            .finish()
    }
}

//! What can go wrong: named switches, and how often each has struck.

use std::fmt;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Something that goes wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

faults! {
    // The network.
    /// What is written arrives in pieces.
    Split,
    /// What was written in pieces arrives at once.
    Join,
    /// Bytes take long.
    Delay,
    /// One direction stands still for a while.
    Stall,
    /// The network holds a few bytes only.
    SmallWindow,
    /// The connection is reset.
    Reset,
    /// One direction ends early, the other goes on.
    HalfClose,
    /// One direction swallows everything from now on.
    Silence,
    // The transport.
    /// A read moves fewer bytes than there are.
    ShortRead,
    /// A write moves fewer bytes than there is room for.
    ShortWrite,
    /// A call is pending at first, and wakes at once.
    Hesitate,
    /// A call is interrupted by a signal.
    Interrupted,
    /// A read fails once; the next would succeed.
    ReadFails,
    /// A write fails once; the next would succeed.
    WriteFails,
    /// A write moves nothing.
    WriteZero,
    /// A read or a write claims too much.
    Lie,
    /// What is written leaves when it is flushed, and not before.
    SendsOnFlush,
    /// A flush takes long.
    FlushWaits,
    /// A flush fails.
    FlushFails,
    /// Closing is never done.
    CloseWaits,
    /// Closing fails.
    CloseFails,
    // Time.
    /// An alarm rings early.
    EarlyAlarm,
    /// An alarm rings late.
    LateAlarm,
    /// The clock jumps far ahead.
    ClockJump,
    // The scheduler.
    /// A task is polled that nobody has woken.
    SpuriousPoll,
    /// A task that was woken waits for long.
    Starve,
    /// A task brings another waker to every poll, and does not heed the earlier ones.
    OtherWaker,
    // The applications.
    /// A future is dropped while it waits, and made anew.
    DropFuture,
    /// An application does not receive for a while.
    StopReading,
    /// An application closes in the middle of everything.
    CloseEarly,
    /// An application drops its WebSocket without closing.
    Abandon,
    /// Both applications close.
    BothClose,
    // A hostile peer.
    /// It sends a malformed frame, and goes on.
    BadFrame,
    /// It sends bytes at random.
    Noise,
    /// It never reads.
    NeverReads,
    /// It does not answer pings, or not the Close frame.
    NeverAnswers,
    /// It stops in the middle of a frame.
    Unfinished,
    /// It floods with pings and empty frames.
    Flood,
    /// Its part of the opening handshake is malformed.
    BadHandshake,
}

impl Fault {
    /// Whether neither side should notice.
    #[must_use]
    pub const fn is_harmless(self) -> bool {
        matches!(
            self,
            Self::Split
                | Self::Join
                | Self::ShortRead
                | Self::ShortWrite
                | Self::Hesitate
                | Self::Interrupted
                | Self::SendsOnFlush
                | Self::EarlyAlarm
                | Self::SpuriousPoll
                | Self::OtherWaker
                | Self::DropFuture
                | Self::BothClose
        )
    }
}

/// Switches, one for each fault.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FaultSet(u64);

impl FaultSet {
    /// Nothing goes wrong.
    pub const NONE: Self = Self(0);

    /// The set with this fault switched on.
    #[must_use]
    pub const fn with(self, fault: Fault) -> Self {
        Self(self.0 | 1 << fault as u64)
    }

    /// Whether the fault is switched on.
    #[must_use]
    pub const fn has(self, fault: Fault) -> bool {
        self.0 >> fault as u64 & 1 != 0
    }
}

impl fmt::Debug for FaultSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = Fault::ALL.iter().filter(|fault| self.has(**fault));
        f.debug_set().entries(on).finish()
    }
}

/// How often each fault has struck.
#[derive(Clone, PartialEq, Eq)]
pub struct Fired([u64; Fault::ALL.len()]);

impl fmt::Debug for Fired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = Fault::ALL.iter();
        f.debug_map()
            .entries(faults.map(|fault| (fault, self.of(*fault))))
            .finish()
    }
}

impl Default for Fired {
    fn default() -> Self {
        Self([0; Fault::ALL.len()])
    }
}

impl Fired {
    /// Counts one.
    pub fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }

    /// Returns how often a fault has struck.
    #[must_use]
    pub const fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// Returns the faults that never struck.
    pub fn never(&self) -> impl Iterator<Item = Fault> {
        Fault::ALL
            .iter()
            .copied()
            .filter(|fault| self.of(*fault) == 0)
    }
}

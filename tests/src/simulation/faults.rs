//! What can go wrong.

use super::switches::switches;

switches! {
    /// Something that goes wrong.
    Fault {
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
    /// An application fails the connection.
    FailsItself,
    /// A server shuts down.
    Shutdown,
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
    /// It always has more to read: messages, pings, empty fragments, or a head without an end.
    Endless,
}
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

//! The life of a connection: which phase it is in, and how it is closed (RFC 6455 section 7).
//!
//! ```text
//! Connecting ──opened──▶ Open ──close_queued──▶ CloseQueued ──close_received──▶ Ending ──ended──▶ Ended
//!     │                   ├──close_received (and echoed)────────────────────────▲
//!     │                   └──failed─────────────────────────────────────────────┤
//!     └──refused──▶ Refused ──ended──▶ Ended          CloseQueued ──failed──────┤
//!                                                                               │
//! Open, CloseQueued ──write_failed──▶ ReadOnly ──close_received, failed─────────┘
//! ```
//!
//! Data is read in Open, CloseQueued and ReadOnly, and written in Open alone. Only this file changes a
//! [`Phase`]. A Close frame counts as sent once the transport has taken it; until that is decided, an
//! [`Ending`] has both outcomes.

use alloc::boxed::Box;
use core::fmt;

use crate::error::Failure;
use crate::frame::{CloseCode, CloseFrame};
use crate::handshake::HandshakeError;
use crate::state::State;

/// Which Close frames were exchanged, and whose was first.
///
/// A Close frame counts as sent once the transport has taken it. If both sides close at once, each has
/// sent its frame before it received the other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Closed {
    /// No Close frame was sent or received.
    Abnormal,
    /// The peer's came, and ours never left.
    Received(CloseFrame),
    /// Ours was sent, and the peer's never came.
    Sent(CloseFrame),
    /// The peer's came, then ours was sent.
    ReceivedThenSent {
        /// The peer's frame.
        received: CloseFrame,
        /// Our answer.
        sent: CloseFrame,
    },
    /// Ours was sent, then the peer's came.
    SentThenReceived {
        /// Our frame.
        sent: CloseFrame,
        /// The peer's answer.
        received: CloseFrame,
    },
}

impl Closed {
    /// Returns the Close frame of the peer.
    #[must_use]
    pub const fn received(&self) -> Option<&CloseFrame> {
        match self {
            Self::Received(received)
            | Self::ReceivedThenSent { received, .. }
            | Self::SentThenReceived { received, .. } => Some(received),
            Self::Abnormal | Self::Sent(_) => None,
        }
    }

    /// Returns the Close frame of this side.
    #[must_use]
    pub const fn sent(&self) -> Option<&CloseFrame> {
        match self {
            Self::Sent(sent)
            | Self::ReceivedThenSent { sent, .. }
            | Self::SentThenReceived { sent, .. } => Some(sent),
            Self::Abnormal | Self::Received(_) => None,
        }
    }

    /// Returns the Close frame that came first: it says why the connection was closed.
    #[must_use]
    pub const fn first(&self) -> Option<&CloseFrame> {
        match self {
            Self::Received(first)
            | Self::Sent(first)
            | Self::ReceivedThenSent {
                received: first, ..
            }
            | Self::SentThenReceived { sent: first, .. } => Some(first),
            Self::Abnormal => None,
        }
    }

    /// Whether the peer took part in closing, and nothing was wrong: its Close frame came, and the
    /// [first](Self::first) one has the code 1000, 1001 or none.
    ///
    /// ```
    /// use sansock_core::{CloseFrame, Closed};
    ///
    /// assert!(Closed::Received(CloseFrame::new(1001, "restarting")).is_normal());
    /// assert!(!Closed::Received(CloseFrame::new(1011, "out of memory")).is_normal());
    /// assert!(!Closed::Abnormal.is_normal());
    /// ```
    #[must_use]
    pub fn is_normal(&self) -> bool {
        let normal = [
            CloseCode::NORMAL,
            CloseCode::GOING_AWAY,
            CloseCode::NO_STATUS_RECEIVED,
        ];
        let first = self.first().filter(|_| self.received().is_some());
        first.is_some_and(|frame| normal.contains(&frame.code))
    }

    /// Whether the closing handshake was completed, by whichever side and with whatever code.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        matches!(
            self,
            Self::ReceivedThenSent { .. } | Self::SentThenReceived { .. }
        )
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abnormal => f.write_str("no close frame received or sent"),
            Self::Received(received) => {
                write!(f, "received {received}; no close frame sent")
            }
            Self::Sent(sent) => write!(f, "sent {sent}; no close frame received"),
            Self::ReceivedThenSent { received, sent } => {
                write!(f, "received {received}; then sent {sent}")
            }
            Self::SentThenReceived { sent, received } => {
                write!(f, "sent {sent}; then received {received}")
            }
        }
    }
}

/// How a connection came to its end.
#[derive(Debug)]
pub(super) struct Ending {
    /// What was exchanged once our Close frame, if there is one, has been taken.
    pub(super) closed: Closed,
    /// What was exchanged if our Close frame never leaves.
    pub(super) closed_unsent: Closed,
    /// What ended the connection other than a Close frame of the peer.
    pub(super) failure: Option<Failure>,
    /// Why the opening handshake failed, if that ended it.
    pub(super) handshake_error: Option<HandshakeError>,
}

impl Ending {
    /// An end without a Close frame.
    fn abnormal(failure: Failure) -> Box<Self> {
        Box::new(Self {
            closed: Closed::Abnormal,
            closed_unsent: Closed::Abnormal,
            failure: Some(failure),
            handshake_error: None,
        })
    }
}

/// What the connection is doing, with what belongs to it. See the module for the transitions.
#[derive(Debug)]
pub(super) enum Phase {
    Connecting,
    Refused(Box<Ending>),
    Open,
    CloseQueued(Box<CloseFrame>),
    /// The transport takes nothing any more. With our Close frame, if one was queued before.
    ReadOnly(Option<Box<CloseFrame>>),
    Ending(Box<Ending>),
    Ended(Box<Ending>),
}

impl Phase {
    pub(super) const fn state(&self) -> State {
        match self {
            Self::Connecting | Self::Refused(_) => State::Connecting,
            Self::Open => State::Open,
            Self::CloseQueued(_) | Self::ReadOnly(_) | Self::Ending(_) => State::Closing,
            Self::Ended(_) => State::Closed,
        }
    }

    /// Whether the opening handshake goes on.
    pub(super) const fn is_connecting(&self) -> bool {
        matches!(self, Self::Connecting)
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// Whether frames are read and their events delivered.
    pub(super) const fn reads_frames(&self) -> bool {
        matches!(self, Self::Open | Self::CloseQueued(_) | Self::ReadOnly(_))
    }

    /// Whether control frames may be sent.
    pub(super) const fn writes_control(&self) -> bool {
        matches!(self, Self::Open | Self::CloseQueued(_))
    }

    /// Whether whatever still arrives is thrown away.
    pub(super) const fn discards(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Ending(_) | Self::Ended(_))
    }

    pub(super) const fn is_ended(&self) -> bool {
        matches!(self, Self::Ended(_))
    }

    pub(super) fn ending(&self) -> Option<&Ending> {
        match self {
            Self::Refused(ending) | Self::Ending(ending) | Self::Ended(ending) => Some(ending),
            Self::Connecting | Self::Open | Self::CloseQueued(_) | Self::ReadOnly(_) => None,
        }
    }

    /// The opening handshake succeeded.
    pub(super) fn opened(&mut self) {
        debug_assert!(self.is_connecting());
        if self.is_connecting() {
            *self = Self::Open;
        }
    }

    /// The opening handshake failed.
    pub(super) fn refused(&mut self, error: HandshakeError, failure: Failure) {
        debug_assert!(self.is_connecting());
        let mut ending = Ending::abnormal(failure);
        ending.handshake_error = Some(error);
        *self = Self::Refused(ending);
    }

    /// There is a better reason why the opening handshake failed.
    pub(super) fn replace_handshake_error(&mut self, error: HandshakeError) {
        match self {
            Self::Refused(ending) | Self::Ending(ending) | Self::Ended(ending) => {
                ending.handshake_error = Some(error);
            }
            Self::Connecting | Self::Open | Self::CloseQueued(_) | Self::ReadOnly(_) => {}
        }
    }

    /// This side queued the first Close frame.
    pub(super) fn close_queued(&mut self, sent: CloseFrame) {
        debug_assert!(self.is_open());
        *self = Self::CloseQueued(Box::new(sent));
    }

    /// The transport failed to write.
    pub(super) fn write_failed(&mut self) {
        debug_assert!(self.reads_frames());
        *self = Self::ReadOnly(self.take_sent().map(Box::new));
    }

    /// The peer's Close frame came. `taken` is whether the transport had taken ours before.
    pub(super) fn close_received(&mut self, received: CloseFrame, taken: bool) {
        let answers = self.is_open();
        let closed_unsent = Closed::Received(received.clone());
        let closed = match self.take_sent() {
            Some(sent) if taken => Closed::SentThenReceived { sent, received },
            Some(sent) => Closed::ReceivedThenSent { received, sent },
            None if answers => Closed::ReceivedThenSent {
                sent: received.clone(),
                received,
            },
            None => closed_unsent.clone(),
        };
        *self = Self::Ending(Box::new(Ending {
            closed,
            closed_unsent,
            failure: None,
            handshake_error: None,
        }));
    }

    /// The connection failed; `sent` is the Close frame that reports it, if one was queued.
    pub(super) fn failed(&mut self, failure: Failure, sent: Option<CloseFrame>) {
        let mut ending = Ending::abnormal(failure);
        if let Some(sent) = self.take_sent().or(sent) {
            ending.closed = Closed::Sent(sent);
        }
        *self = Self::Ending(ending);
    }

    /// The stream ended, or the time that it had for that. What ended the connection is known.
    pub(super) fn ended(&mut self) {
        debug_assert!(self.discards());
        let ending = match core::mem::replace(self, Self::Connecting) {
            Self::Refused(ending) | Self::Ending(ending) | Self::Ended(ending) => ending,
            Self::Connecting | Self::Open | Self::CloseQueued(_) | Self::ReadOnly(_) => {
                Ending::abnormal(Failure::Lost)
            }
        };
        *self = Self::Ended(ending);
    }

    /// Takes our Close frame out of the phase, which is about to change.
    fn take_sent(&mut self) -> Option<CloseFrame> {
        match core::mem::replace(self, Self::Connecting) {
            Self::CloseQueued(sent) | Self::ReadOnly(Some(sent)) => Some(*sent),
            Self::Connecting
            | Self::Refused(_)
            | Self::Open
            | Self::ReadOnly(None)
            | Self::Ending(_)
            | Self::Ended(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn what_was_exchanged_is_told_in_its_order() {
        let (ours, theirs) = (CloseFrame::new(1000, "bye"), CloseFrame::new(1001, ""));
        let (sent, received) = (ours.clone(), theirs.clone());
        let (our, their) = (Some(&ours), Some(&theirs));
        for (closed, sent, received, text) in [
            (
                Closed::Abnormal,
                None,
                None,
                "no close frame received or sent",
            ),
            (
                Closed::Received(theirs.clone()),
                None,
                their,
                "received 1001 (going away); no close frame sent",
            ),
            (
                Closed::Sent(ours.clone()),
                our,
                None,
                "sent 1000 (OK) bye; no close frame received",
            ),
            (
                Closed::ReceivedThenSent {
                    received: received.clone(),
                    sent: sent.clone(),
                },
                our,
                their,
                "received 1001 (going away); then sent 1000 (OK) bye",
            ),
            (
                Closed::SentThenReceived { sent, received },
                our,
                their,
                "sent 1000 (OK) bye; then received 1001 (going away)",
            ),
        ] {
            assert_eq!((closed.sent(), closed.received()), (sent, received));
            assert_eq!(closed.is_clean(), sent.is_some() && received.is_some());
            assert_eq!(closed.to_string(), text);
        }
    }

    #[test]
    fn the_first_close_frame_decides_whether_the_end_is_normal() {
        let ok = || CloseFrame::new(1000, "");
        for code in [1000, 1001, 1005, 1002, 1011, 1012, 3000, 4000] {
            let frame = || CloseFrame::new(code, "");
            let is_normal = matches!(code, 1000 | 1001 | 1005);
            for (closed, expected) in [
                (Closed::Received(frame()), is_normal),
                (Closed::Sent(frame()), false),
                (
                    Closed::ReceivedThenSent {
                        received: frame(),
                        sent: ok(),
                    },
                    is_normal,
                ),
                (
                    Closed::SentThenReceived {
                        sent: frame(),
                        received: ok(),
                    },
                    is_normal,
                ),
            ] {
                assert_eq!(closed.first(), Some(&frame()), "{closed}");
                assert_eq!(closed.is_normal(), expected, "{closed}");
            }
        }
        assert_eq!(Closed::Abnormal.first(), None);
        assert!(!Closed::Abnormal.is_normal());
    }
}

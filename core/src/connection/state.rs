//! The life of a connection: which phase it is in, and how it is closed (RFC 6455 section 7).
//!
//! ```text
//! Connecting ──opened──▶ Open ──close_sent──▶ CloseSent ──close_received──▶ Ending ──ended──▶ Ended
//!     │                   ├──close_received (and echoed)──────────────────────▲
//!     │                   └──failed───────────────────────────────────────────┤
//!     └──refused──▶ Refused ──ended──▶ Ended          CloseSent ──failed──────┘
//! ```
//!
//! Data is read in Open and CloseSent, and written in Open alone. Only this file changes a [`Phase`].

use alloc::boxed::Box;
use core::fmt;

use crate::error::Failure;
use crate::frame::CloseFrame;
use crate::state::State;

/// Which Close frames were exchanged, and whose was first.
///
/// Where both sides close at once, each has sent its frame before it received the other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Closed {
    /// No Close frame was sent or received.
    Abnormal,
    /// The peer's came, and none could be sent.
    Received(CloseFrame),
    /// Ours was sent, and the peer's did not come.
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
    pub(super) closed: Closed,
    pub(super) failure: Option<Failure>,
}

/// What the connection is doing, with what belongs to it. See the module for the transitions.
#[derive(Debug)]
pub(super) enum Phase {
    Connecting,
    Refused,
    Open,
    CloseSent(Box<CloseFrame>),
    Ending(Box<Ending>),
    Ended(Box<Ending>),
}

impl Phase {
    pub(super) const fn state(&self) -> State {
        match self {
            Self::Connecting | Self::Refused => State::Connecting,
            Self::Open => State::Open,
            Self::CloseSent(_) | Self::Ending(_) => State::Closing,
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

    /// Whether frames are read and their events given out.
    pub(super) const fn reads_frames(&self) -> bool {
        matches!(self, Self::Open | Self::CloseSent(_))
    }

    /// Whether whatever still arrives is thrown away.
    pub(super) const fn discards(&self) -> bool {
        matches!(self, Self::Refused | Self::Ending(_) | Self::Ended(_))
    }

    pub(super) const fn is_ended(&self) -> bool {
        matches!(self, Self::Ended(_))
    }

    pub(super) fn ending(&self) -> Option<&Ending> {
        match self {
            Self::Ending(ending) | Self::Ended(ending) => Some(ending),
            Self::Connecting | Self::Refused | Self::Open | Self::CloseSent(_) => None,
        }
    }

    /// The opening handshake succeeded.
    pub(super) fn opened(&mut self) {
        debug_assert!(matches!(self, Self::Connecting));
        *self = Self::Open;
    }

    /// The opening handshake failed.
    pub(super) fn refused(&mut self) {
        debug_assert!(matches!(self, Self::Connecting));
        *self = Self::Refused;
    }

    /// This side sent the first Close frame.
    pub(super) fn close_sent(&mut self, sent: CloseFrame) {
        debug_assert!(self.is_open());
        *self = Self::CloseSent(Box::new(sent));
    }

    /// The peer's Close frame came; `echo` is our answer where ours was not sent before.
    pub(super) fn close_received(&mut self, received: CloseFrame, echo: CloseFrame) {
        let closed = match self.take_sent() {
            Some(sent) => Closed::SentThenReceived { sent, received },
            None => Closed::ReceivedThenSent {
                received,
                sent: echo,
            },
        };
        self.end_with(closed, None);
    }

    /// The connection failed; `sent` is the Close frame that said so, where one could be sent.
    pub(super) fn failed(&mut self, failure: Failure, sent: Option<CloseFrame>) {
        let closed = match self.take_sent().or(sent) {
            Some(sent) => Closed::Sent(sent),
            None => Closed::Abnormal,
        };
        self.end_with(closed, Some(failure));
    }

    /// The stream ended, or the time that it had for that.
    pub(super) fn ended(&mut self) {
        let ending = match core::mem::replace(self, Self::Connecting) {
            Self::Ending(ending) | Self::Ended(ending) => ending,
            Self::CloseSent(sent) => Box::new(Ending {
                closed: Closed::Sent(*sent),
                failure: None,
            }),
            Self::Connecting | Self::Refused | Self::Open => Box::new(Ending {
                closed: Closed::Abnormal,
                failure: None,
            }),
        };
        *self = Self::Ended(ending);
    }

    fn end_with(&mut self, closed: Closed, failure: Option<Failure>) {
        *self = Self::Ending(Box::new(Ending { closed, failure }));
    }

    /// Takes our Close frame out of the phase, which is about to change.
    fn take_sent(&mut self) -> Option<CloseFrame> {
        match core::mem::replace(self, Self::Connecting) {
            Self::CloseSent(sent) => Some(*sent),
            Self::Connecting | Self::Refused | Self::Open | Self::Ending(_) | Self::Ended(_) => {
                None
            }
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
}

//! What a connection is doing, as its user and its errors name it.

use core::fmt;

/// What a connection is doing, as its user sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// The opening handshake is not complete.
    Connecting,
    /// Messages may be sent and received.
    Open,
    /// A Close frame was sent, or the connection failed; the end of the stream has not come.
    Closing,
    /// The stream has ended, or the deadline for its end has passed: drop the transport.
    Closed,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connecting",
            Self::Open => "open",
            Self::Closing => "closing",
            Self::Closed => "closed",
        })
    }
}

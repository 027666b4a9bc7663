//! What a connection waits for, as errors and the configuration name it.

use core::fmt;
use core::time::Duration;

/// What a connection waits for no longer than a configured time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Deadline {
    /// The opening handshake.
    Open,
    /// The end of the stream, after a Close frame or a failure.
    Close,
    /// Silence between two pings; its passing sends a ping and fails nothing.
    Ping,
    /// The pong that answers a ping.
    Pong,
    /// Progress in receiving a message that has begun, at the configured minimum rate.
    Receive,
    /// Progress in writing what is queued.
    Write,
}

impl Deadline {
    /// The period over which [`Receive`](Self::Receive) measures.
    pub(crate) const RECEIVE_PERIOD: Duration = Duration::from_secs(5);
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "opening handshake",
            Self::Close => "closing handshake",
            Self::Ping => "ping interval",
            Self::Pong => "keepalive ping",
            Self::Receive => "receiving a message",
            Self::Write => "write",
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn each_has_a_name_for_errors() {
        let names = [
            (Deadline::Open, "opening handshake"),
            (Deadline::Close, "closing handshake"),
            (Deadline::Ping, "ping interval"),
            (Deadline::Pong, "keepalive ping"),
            (Deadline::Receive, "receiving a message"),
            (Deadline::Write, "write"),
        ];
        for (deadline, name) in names {
            assert_eq!(format!("{deadline}"), name);
        }
    }
}

//! Counters of a connection, as plain integers.

use core::time::Duration;

/// What passed over a connection so far.
///
/// Bytes include headers and the opening handshake; a length that is still queued is not counted as
/// sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes received from the transport.
    pub bytes_received: u64,
    /// Bytes handed to the transport.
    pub bytes_sent: u64,
    /// Frames received, of every kind.
    pub frames_received: u64,
    /// Frames queued for sending, of every kind.
    pub frames_sent: u64,
    /// Frames of `frames_sent` that are control frames: pings, pongs and Close frames.
    pub control_frames_sent: u64,
    /// Pings received.
    pub pings_received: u64,
    /// Pongs received, asked for or not.
    pub pongs_received: u64,
    /// Bytes that wait to be sent.
    pub queued: usize,
    /// The round trip of the last ping that was answered.
    pub latency: Option<Duration>,
}

impl Stats {
    /// Returns how many frames of messages were received. A Close frame counts as well: it is the last.
    #[must_use]
    pub const fn data_frames_received(&self) -> u64 {
        let control = self.pings_received.saturating_add(self.pongs_received);
        self.frames_received.saturating_sub(control)
    }

    /// Returns how many frames of messages were queued for sending.
    #[must_use]
    pub const fn data_frames_sent(&self) -> u64 {
        self.frames_sent.saturating_sub(self.control_frames_sent)
    }
}

/// The counters that a connection keeps.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) bytes_received: u64,
    pub(super) frames_received: u64,
    pub(super) frames_sent: u64,
    pub(super) control_frames_sent: u64,
    pub(super) pings_received: u64,
    pub(super) pongs_received: u64,
}

impl Counters {
    /// One of the frames that are sent is a control frame.
    pub(super) const fn control_sent(&mut self) {
        self.control_frames_sent = self.control_frames_sent.saturating_add(1);
    }
}

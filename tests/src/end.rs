//! One end of a connection, with a clock that is set by hand.

use std::ops::{Deref, DerefMut};
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Buf;
use sansock_core::{Config, Connection, FixedSeed, Instant, Negotiated, Side};

use crate::seen::Seen;
use crate::wire::{PeerOf, Sent, sent_by};

/// Both sides, for tests that hold for each.
pub const SIDES: [Side; 2] = [Side::Client, Side::Server];

/// A configuration whose masking keys can be foretold.
#[must_use]
pub fn config() -> Config {
    static CONFIG: LazyLock<Config> = LazyLock::new(|| Config::new().entropy(FixedSeed([7; 32])));
    CONFIG.clone()
}

/// The instant so many milliseconds after the start.
#[must_use]
pub fn at(milliseconds: u64) -> Instant {
    Instant::from_start(Duration::from_millis(milliseconds))
}

/// One end of an open connection, and the peer that the test plays.
///
/// It takes output and events as a driver does. Whenever it minds the time, it checks that the
/// connection does not ask for that again and again.
#[derive(Debug)]
pub struct End {
    connection: Connection,
    /// The time that every feed is given.
    pub now: Instant,
    has_ended: bool,
}

impl End {
    /// An end with the default configuration.
    #[must_use]
    pub fn open(side: Side) -> Self {
        Self::with(side, config())
    }

    /// An end with this configuration.
    ///
    /// # Panics
    /// If a client's configuration has no seed.
    #[must_use]
    pub fn with(side: Side, config: Config) -> Self {
        let connection = Connection::new(side, Negotiated::default(), config);
        Self::of(connection.expect("a seed"))
    }

    /// An end that goes on with this connection.
    #[must_use]
    pub const fn of(connection: Connection) -> Self {
        Self {
            connection,
            now: Instant::START,
            has_ended: false,
        }
    }

    /// Writes as the peer.
    #[must_use]
    pub const fn peer(&self) -> PeerOf {
        PeerOf(self.connection.side())
    }

    /// Receives bytes.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.connection.receive_data(bytes, self.now);
    }

    /// Receives the end of the stream.
    pub fn end_of_stream(&mut self) {
        self.connection.receive_eof(self.now);
    }

    /// Takes the next event.
    pub fn event(&mut self) -> Option<Seen> {
        self.connection.next_event().map(Seen::from)
    }

    /// Takes all events, and leaves the output in its queue.
    pub fn events(&mut self) -> Vec<Seen> {
        std::iter::from_fn(|| self.event()).collect()
    }

    /// Receives bytes and takes the events.
    pub fn events_of(&mut self, bytes: &[u8]) -> Vec<Seen> {
        self.receive(bytes);
        self.events()
    }

    /// Takes the output as bytes. Once nothing remains, nothing is pending.
    #[track_caller]
    pub fn output(&mut self) -> Vec<u8> {
        let mut output = Vec::new();
        let mut data = self.connection.data_to_send();
        assert!(data.is_empty() || !self.has_ended, "bytes after the end");
        while data.has_remaining() {
            let chunk = data.chunk();
            let size = chunk.len();
            output.extend_from_slice(chunk);
            data.advance(size);
        }
        let ends = data.take_end();
        assert!(!(ends && self.has_ended), "a second end of the stream");
        self.has_ended |= ends;
        assert!(self.connection.is_flushed() && !self.connection.io().has_output());
        output
    }

    /// Takes the output as frames.
    #[track_caller]
    pub fn frames(&mut self) -> Vec<Sent> {
        let side = self.connection.side();
        sent_by(side, &self.output())
    }

    /// Takes the output as pairs of first byte and payload.
    #[track_caller]
    pub fn sent(&mut self) -> Vec<(u8, Vec<u8>)> {
        let frames = self.frames().into_iter();
        frames.map(|frame| (frame.first, frame.payload)).collect()
    }

    /// Whether the write side has to be closed, as far as output was taken.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Lets time pass, and does what is due then. Output and events are left where they are.
    #[track_caller]
    pub fn pass(&mut self, time: Duration) {
        self.now = Instant::from_start(self.now.since_start().saturating_add(time));
        self.mind_the_time();
    }

    /// Does what is due now; doing it must leave something else to wait for.
    #[track_caller]
    pub fn mind_the_time(&mut self) {
        let before = self.trace();
        self.connection.handle_timeout(self.now);
        if self
            .connection
            .next_timeout()
            .is_some_and(|at| at <= self.now)
        {
            assert_ne!(self.trace(), before, "busy loop at {:?}", self.now);
        }
    }

    /// Lets time pass up to what the connection waits for.
    ///
    /// # Panics
    /// If it waits for nothing.
    #[track_caller]
    pub fn pass_to_timeout(&mut self) {
        let next = self.connection.next_timeout().expect("a timeout");
        self.now = self.now.max(next);
        self.mind_the_time();
    }

    /// What can be seen to change when a deadline passes.
    fn trace(&mut self) -> impl PartialEq + std::fmt::Debug + use<> {
        let stats = self.connection.stats();
        (
            self.connection.state(),
            self.connection.parse_next(),
            stats.frames_sent,
            stats.queued,
        )
    }
}

impl Deref for End {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for End {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

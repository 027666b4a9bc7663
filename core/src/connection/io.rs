//! The view for drivers: buffers that save a copy, and what waits inside a connection.

use super::Connection;
use super::output::DataToSend;
use crate::error::ProtocolError;
use crate::message::MessageRef;
use crate::time::Instant;

/// What a driver needs beside the verbs of a [`Connection`]; see [`Connection::io`].
///
/// A loop that feeds slices, takes events and sends what [`data_to_send`](Connection::data_to_send)
/// returns needs none of it. A driver uses it to read into the connection's own buffer, to give buffers back
/// before it waits, and to tell the connection what the transport does. Nothing here parses: bytes that were
/// received become events in [`parse_next`](Connection::parse_next) and
/// [`next_event`](Connection::next_event).
///
/// ```
/// use sansock_core::{Config, Connection, Event, Instant, Negotiated, Side};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut server = Connection::new(Side::Server, Negotiated::default(), Config::new())?;
/// // An empty message, as a transport would read it.
/// let frame = b"\x82\x80\x01\x02\x03\x04";
/// server.io().read_buffer()[..frame.len()].copy_from_slice(frame);
/// server.io().received(frame.len(), Instant::START);
/// assert!(matches!(server.next_event(), Some(Event::Message(_))));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Io<'a>(pub(super) &'a mut Connection);

/// The kind of an event that is ready; see [`Io::ready`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// A message, or a part of one.
    Data,
    /// A ping, a pong, a Close frame or the failure of the connection.
    Control,
}

impl<'a> Io<'a> {
    // What was read.

    /// Returns room to read into: initialised bytes of any content, at least one.
    ///
    /// Say with [`received`](Self::received) how many of them were filled.
    #[inline]
    #[must_use]
    pub fn read_buffer(self) -> &'a mut [u8] {
        self.0.incoming.room(self.0.link.config.settings())
    }

    /// Takes `count` bytes that were read into [`read_buffer`](Self::read_buffer). More than it had count as
    /// all of it.
    #[inline(always)]
    pub fn received(self, count: usize, now: Instant) {
        self.0.link.note_pings();
        self.0.link.set_now(now);
        self.0.incoming.received(count, &mut self.0.link);
    }

    /// Returns what kind of event is ready, as far as what was received has been parsed.
    #[must_use]
    #[inline]
    pub const fn ready(&self) -> Option<Ready> {
        match self.0.incoming.is_ready() {
            false => None,
            true if self.0.incoming.is_data_ready() => Some(Ready::Data),
            true => Some(Ready::Control),
        }
    }

    /// Returns the message that is ready, `None` if there is none. As [`next_event`](Connection::next_event), for
    /// a driver that waits for nothing else: other events stay where they are.
    ///
    /// # Errors
    /// [`ProtocolError::InvalidUtf8`] for text that is not UTF-8: the connection has failed.
    #[inline]
    pub fn next_message(self) -> Result<Option<MessageRef<'a>>, ProtocolError> {
        self.0.incoming.take_message(&mut self.0.link)
    }

    /// Whether no message is incomplete: none is partly received, and none is being sent in parts.
    #[must_use]
    pub const fn is_between_messages(&self) -> bool {
        let incoming = &self.0.incoming;
        incoming.is_between_messages()
            && incoming.buffer.is_empty()
            && self.0.link.open_message.is_none()
    }

    // What is to be written.

    /// As [`data_to_send`](Connection::data_to_send), but parses nothing first: for drivers that call
    /// [`parse_next`](Connection::parse_next) on their own.
    #[inline]
    #[must_use]
    pub fn output(self) -> DataToSend<'a> {
        let buffers = &self.0.link.config.settings().buffers;
        self.0.link.output.offer(buffers)
    }

    /// Whether there is anything for [`output`](Self::output): bytes, or the end of the stream.
    #[must_use]
    #[inline]
    pub const fn has_output(&self) -> bool {
        self.0.link.output.has_any()
    }

    /// Copies large payloads to the other bytes that wait, from now on. For a transport that does not support
    /// vectored writes: one larger write is cheaper than two.
    pub const fn disable_vectored_writes(self) {
        self.0.link.output.disable_vectored_writes();
    }

    /// Says whether the transport keeps output that it has taken, as TLS may: whether a flush is pending.
    ///
    /// Until it is done, that is output which waits, for as long as the configured
    /// [`write_timeout`](crate::Config::write_timeout).
    pub fn set_flush_pending(self, pending: bool) {
        self.0.link.keepalive.set_flush_pending(pending);
    }

    /// The transport is full: it took less than it was offered, and will report when it has room.
    ///
    /// The bytes that it takes next are evidence that the peer is alive, as it has made room for them.
    #[cold]
    #[inline(never)]
    pub fn write_blocked(self) {
        self.0.link.write_blocked();
    }

    /// The transport has closed its write side, as [`DataToSend::take_end`] requested.
    ///
    /// A [multiplexed](crate::Config::multiplexed) connection that reads nothing more is [closed](crate::State::Closed)
    /// then. Any other waits for the end of the peer's stream.
    pub fn end_written(self) {
        self.0.link.end_written();
    }

    // Buffers.

    /// Whether a buffer for what is received should be given back though nothing is waited for. One that goes
    /// on to receive may keep it, while the pool [has enough](crate::BufferPool::has_spare).
    #[must_use]
    #[inline]
    pub const fn should_release_read_buffer(&self, receives: bool) -> bool {
        let buffer = &self.0.incoming.buffer;
        buffer.is_leased() && !(receives && buffer.may_be_kept())
    }

    /// Gives leased buffers back to their pool, unless they hold something. Drivers call it before they wait.
    pub fn release_buffers(self) {
        let buffers = &self.0.link.config.settings().buffers;
        self.0.incoming.release(buffers);
        self.0.link.output.release(buffers);
    }

    /// Names the peer in the events of `tracing`, for example by its address. Call it first: earlier events
    /// do not have it.
    #[cfg(feature = "tracing")]
    pub fn set_peer(self, peer: impl core::fmt::Display) {
        self.0.link.trace.set_peer(peer);
    }
}

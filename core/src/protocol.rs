//! What a loop needs of a connection, before and after its opening handshake.

use crate::client::ClientConnection;
use crate::connection::{Connection, DataToSend, Io};
use crate::event::Event;
use crate::server::ServerConnection;
use crate::time::Instant;

/// A connection from its first byte on, or one whose handshake was done elsewhere: what a loop over a
/// transport is written against.
///
/// [`ClientConnection`] and [`ServerConnection`] read their opening handshake in these methods. So a loop
/// that takes `&mut impl Protocol` works for them and for a [`Connection`]. The types have the same methods
/// themselves, as well as the commands (`send`, `send_close`, ...), which an application calls when an event
/// tells it that the connection is open.
///
/// ```
/// use bytes::Buf;
/// use sansock_core::{Event, Instant, Protocol};
///
/// /// Feeds what was read, and returns what is to be written.
/// fn exchange(
///     connection: &mut impl Protocol,
///     read: &[u8],
///     now: Instant,
///     mut on_event: impl FnMut(Event<'_>),
/// ) -> Vec<u8> {
///     connection.receive_data(read, now);
///     connection.handle_timeout(now);
///     while let Some(event) = connection.next_event() {
///         on_event(event);
///     }
///     let mut data = connection.data_to_send();
///     data.copy_to_bytes(data.remaining()).to_vec()
/// }
/// ```
pub trait Protocol {
    /// Takes bytes that came from the peer; see [`Connection::receive_data`].
    fn receive_data(&mut self, data: &[u8], now: Instant);

    /// Takes the end of the peer's stream; see [`Connection::receive_eof`].
    fn receive_eof(&mut self, now: Instant);

    /// Does what is due at `now`; see [`Connection::handle_timeout`].
    fn handle_timeout(&mut self, now: Instant);

    /// Returns when [`handle_timeout`](Self::handle_timeout) wants to be called; see
    /// [`Connection::next_timeout`].
    fn next_timeout(&self) -> Option<Instant>;

    /// Returns the next event; see [`Connection::next_event`]. The first event of an opening handshake is the
    /// request, or the response.
    fn next_event(&mut self) -> Option<Event<'_>>;

    /// Parses until an event is ready; see [`Connection::parse_next`].
    fn parse_next(&mut self) -> bool;

    /// Returns what is to be sent now; see [`Connection::data_to_send`].
    fn data_to_send(&mut self) -> DataToSend<'_>;

    /// The transport failed to write; see [`Connection::write_failed`].
    fn write_failed(&mut self);

    /// Returns the view for drivers; see [`Connection::io`].
    fn io(&mut self) -> Io<'_>;

    /// Returns what can be asked of a connection: its [`state`](Connection::state), how it was
    /// [`closed`](Connection::closed), and more.
    fn connection(&self) -> &Connection;
}

macro_rules! protocol {
    ($($connection:ty),*) => {$(
        impl Protocol for $connection {
            fn receive_data(&mut self, data: &[u8], now: Instant) {
                Self::receive_data(self, data, now);
            }

            fn receive_eof(&mut self, now: Instant) {
                Self::receive_eof(self, now);
            }

            fn handle_timeout(&mut self, now: Instant) {
                Self::handle_timeout(self, now);
            }

            fn next_timeout(&self) -> Option<Instant> {
                Connection::next_timeout(self)
            }

            #[inline]
            fn next_event(&mut self) -> Option<Event<'_>> {
                Self::next_event(self)
            }

            #[inline]
            fn parse_next(&mut self) -> bool {
                Self::parse_next(self)
            }

            fn data_to_send(&mut self) -> DataToSend<'_> {
                Self::data_to_send(self)
            }

            fn write_failed(&mut self) {
                Self::write_failed(self);
            }

            #[inline]
            fn io(&mut self) -> Io<'_> {
                Self::io(self)
            }

            #[inline]
            fn connection(&self) -> &Connection {
                self
            }
        }
    )*};
}

protocol!(Connection, ClientConnection, ServerConnection);

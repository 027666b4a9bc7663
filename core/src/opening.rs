//! What the connections of both sides have in common while they open: the verbs of [`Connection`] look
//! at the opening handshake first.
//!
//! [`Connection`]: crate::Connection

/// Gives a connection these verbs. Its own are `advance`, which goes on with the handshake, and
/// `take_first` and `has_first`, for the event that it begins with.
macro_rules! opening_verbs {
    ($type:ident, $first:literal) => {
        impl $type {
            /// Takes the end of the peer's stream; see [`Connection::receive_eof`].
            pub fn receive_eof(&mut self, now: $crate::Instant) {
                self.connection.receive_eof(now);
                self.advance();
            }

            /// Returns the next event; see [`Connection::next_event`]. The first is the
            #[doc = concat!($first, ".")]
            pub fn next_event(&mut self) -> Option<$crate::Event<'_>> {
                self.advance();
                match self.take_first() {
                    Some(event) => Some(event),
                    None => self.connection.next_event(),
                }
            }

            /// Parses until an event is ready; see [`Connection::parse_next`].
            pub fn parse_next(&mut self) -> bool {
                self.advance();
                self.has_first() || self.connection.parse_next()
            }

            /// Returns what is to be sent now; see [`Connection::data_to_send`].
            pub fn data_to_send(&mut self) -> $crate::DataToSend<'_> {
                self.advance();
                self.connection.data_to_send()
            }

            /// Drops what only the opening handshake needed.
            #[must_use]
            pub fn into_connection(self) -> Connection {
                self.connection
            }
        }

        impl core::ops::Deref for $type {
            type Target = Connection;

            fn deref(&self) -> &Connection {
                &self.connection
            }
        }

        impl core::ops::DerefMut for $type {
            fn deref_mut(&mut self) -> &mut Connection {
                &mut self.connection
            }
        }
    };
}

pub(crate) use opening_verbs;

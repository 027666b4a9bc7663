//! What the connections of both sides have in common while they open: those verbs of [`Connection`] that
//! look at the opening handshake first, and the others. A connection is never lent as a mutable [`Connection`]
//! before it is open: a loop over that one would skip the handshake.
//!
//! [`Connection`]: crate::Connection

/// Gives a connection these verbs. Its own are `advance`, which goes on with the handshake, and
/// `take_first` and `has_first`, for the event that it begins with. What it drops once it is open is named.
macro_rules! opening_verbs {
    ($type:ident, $first:literal, $($only_opening:ident),*) => {
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

            /// Takes bytes that came from the peer; see [`Connection::receive_data`].
            pub fn receive_data(&mut self, data: &[u8], now: $crate::Instant) {
                self.connection.receive_data(data, now);
            }

            /// Does what is due at `now`; see [`Connection::handle_timeout`].
            pub fn handle_timeout(&mut self, now: $crate::Instant) {
                self.connection.handle_timeout(now);
            }

            /// The transport failed to write; see [`Connection::write_failed`].
            pub fn write_failed(&mut self) {
                self.connection.write_failed();
            }

            /// Returns the view for drivers; see [`Connection::io`].
            #[inline]
            pub fn io(&mut self) -> $crate::Io<'_> {
                self.connection.io()
            }

            /// Queues a whole message; see [`Connection::send`].
            ///
            /// # Errors
            /// As [`Connection::send`]; [`SendError::State`]($crate::SendError::State) before the connection
            /// is open. The same holds for every command.
            pub fn send<'a>(
                &mut self,
                message: impl Into<$crate::Outgoing<'a>>,
            ) -> Result<(), $crate::SendError> {
                self.connection.send(message)
            }

            /// Queues a whole message, and chooses whether it is compressed; see [`Connection::send_with`].
            ///
            /// # Errors
            /// As [`send`](Self::send).
            pub fn send_with<'a>(
                &mut self,
                message: impl Into<$crate::Outgoing<'a>>,
                compression: $crate::Compression,
            ) -> Result<(), $crate::SendError> {
                self.connection.send_with(message, compression)
            }

            /// Queues a text message, or its first fragment; see [`Connection::send_text`].
            ///
            /// # Errors
            /// As [`send`](Self::send).
            pub fn send_text<'a>(
                &mut self,
                text: impl Into<$crate::TextPayload<'a>>,
                fin: $crate::Fin,
            ) -> Result<(), $crate::SendError> {
                self.connection.send_text(text, fin)
            }

            /// Queues a text message, or its first fragment, that may be cut inside a character; see
            /// [`Connection::send_text_part`].
            ///
            /// # Errors
            /// As [`Connection::send_text_part`].
            pub fn send_text_part<'a>(
                &mut self,
                text: impl Into<$crate::Payload<'a>>,
                fin: $crate::Fin,
            ) -> Result<(), $crate::SendError> {
                self.connection.send_text_part(text, fin)
            }

            /// Queues a binary message, or its first fragment; see [`Connection::send_binary`].
            ///
            /// # Errors
            /// As [`send`](Self::send).
            pub fn send_binary<'a>(
                &mut self,
                payload: impl Into<$crate::Payload<'a>>,
                fin: $crate::Fin,
            ) -> Result<(), $crate::SendError> {
                self.connection.send_binary(payload, fin)
            }

            /// Queues a further fragment of the open message; see [`Connection::send_continuation`].
            ///
            /// # Errors
            /// As [`Connection::send_continuation`].
            pub fn send_continuation<'a>(
                &mut self,
                payload: impl Into<$crate::Payload<'a>>,
                fin: $crate::Fin,
            ) -> Result<(), $crate::SendError> {
                self.connection.send_continuation(payload, fin)
            }

            /// Queues a message that was prepared for many connections; see [`Connection::send_prepared`].
            ///
            /// # Errors
            /// As [`send`](Self::send).
            pub fn send_prepared(
                &mut self,
                prepared: &$crate::Prepared,
            ) -> Result<(), $crate::SendError> {
                self.connection.send_prepared(prepared)
            }

            /// Queues a ping with a payload of the caller's; see [`Connection::send_ping`].
            ///
            /// # Errors
            /// As [`Connection::send_ping`].
            pub fn send_ping(&mut self, payload: &[u8]) -> Result<(), $crate::SendError> {
                self.connection.send_ping(payload)
            }

            /// Queues a pong that nobody asked for; see [`Connection::send_pong`].
            ///
            /// # Errors
            /// As [`Connection::send_pong`].
            pub fn send_pong(&mut self, payload: &[u8]) -> Result<(), $crate::SendError> {
                self.connection.send_pong(payload)
            }

            /// Queues a ping whose pong is matched and timed; see [`Connection::ping`].
            ///
            /// # Errors
            /// As [`Connection::ping`].
            pub fn ping(
                &mut self,
                now: $crate::Instant,
            ) -> Result<$crate::PingId, $crate::SendError> {
                self.connection.ping(now)
            }

            /// Starts the closing handshake; see [`Connection::send_close`].
            ///
            /// # Errors
            /// As [`Connection::send_close`].
            pub fn send_close(
                &mut self,
                code: impl Into<$crate::CloseCode>,
                reason: impl Into<bytestring::ByteString>,
            ) -> Result<(), $crate::SendError> {
                self.connection.send_close(code, reason)
            }

            /// Fails the connection, or the opening handshake; see [`Connection::fail`].
            ///
            /// # Errors
            /// As [`Connection::fail`].
            pub fn fail(
                &mut self,
                code: impl Into<$crate::CloseCode>,
                reason: impl Into<bytestring::ByteString>,
            ) -> Result<(), $crate::SendError> {
                self.connection.fail(code, reason)
            }

            /// Changes in which portions received data is given out; see [`Connection::set_delivery`].
            pub fn set_delivery(&mut self, delivery: $crate::Delivery) -> bool {
                self.connection.set_delivery(delivery)
            }

            /// Drops what only the opening handshake needed.
            #[must_use]
            #[inline]
            pub fn into_connection(self) -> Connection {
                // First, so that the connection is moved once, to where the caller wants it.
                $(drop(self.$only_opening);)*
                self.connection
            }
        }

        impl core::ops::Deref for $type {
            type Target = Connection;

            fn deref(&self) -> &Connection {
                &self.connection
            }
        }
    };
}

pub(crate) use opening_verbs;

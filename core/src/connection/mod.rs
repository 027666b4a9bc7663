//! The whole life of a WebSocket connection after its opening handshake (RFC 6455 sections 5 to 7).
//!
//! [`Connection`] joins two halves: `receive` turns bytes into events, `link` holds our end (phase,
//! output, deadlines). Neither does I/O, reads a clock or draws randomness.

mod deadlines;
mod decode;
mod gather;
mod io;
mod keepalive;
mod lend;
mod link;
mod output;
mod pings;
mod reassembly;
mod receive;
mod send;
mod state;
mod stats;
#[cfg(feature = "tracing")]
mod trace;

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::config::{Config, Delivery};
use crate::entropy::Generator;
use crate::error::{ConnectionError, Failure, SendError};
use crate::event::Event;
use crate::extension::Extension;
use crate::frame::{CloseCode, CloseFrame, Fin, Kind, Payload, Side, TextPayload};
use crate::handshake::{ExtensionList, HandshakeError, HeadLimits, Negotiated};
use crate::message::Outgoing;
use crate::prepared::Prepared;
use crate::state::State;
use crate::time::Instant;

use link::Link;
use receive::Incoming;

pub use io::{Io, Ready};
pub use output::DataToSend;
pub use pings::PingId;
pub use send::Compression;
pub use state::Closed;
pub use stats::Stats;

/// One WebSocket connection, as a state machine: no I/O, no clock.
///
/// | family | verbs |
/// |---|---|
/// | feed | [`receive_data`](Self::receive_data), [`receive_eof`](Self::receive_eof), [`handle_timeout`](Self::handle_timeout) |
/// | take | [`next_event`](Self::next_event), [`data_to_send`](Self::data_to_send), [`next_timeout`](Self::next_timeout) |
/// | command | [`send`](Self::send), [`send_text`](Self::send_text), [`send_binary`](Self::send_binary), [`send_continuation`](Self::send_continuation), [`send_prepared`](Self::send_prepared), [`send_ping`](Self::send_ping), [`send_pong`](Self::send_pong), [`ping`](Self::ping), [`send_close`](Self::send_close), [`fail`](Self::fail) |
/// | ask | [`state`](Self::state), [`close_expected`](Self::close_expected), [`close_code`](Self::close_code), [`close_reason`](Self::close_reason), [`closed`](Self::closed), [`failure`](Self::failure), [`subprotocol`](Self::subprotocol), [`stats`](Self::stats) |
///
/// **After any feed or command, take until empty**: first what is to be sent, then the events; after
/// the events once more what is to be sent, as reading them answers the peer's pings and closes:
///
/// ```
/// use bytes::Buf;
/// use sansock_core::{Connection, Event};
///
/// /// Takes everything, after a feed or a command.
/// fn take(
///     connection: &mut Connection,
///     mut write: impl FnMut(&[u8]),
///     mut handle: impl FnMut(Event<'_>),
/// ) {
///     let mut send = |connection: &mut Connection| {
///         let mut data = connection.data_to_send();
///         while data.has_remaining() {
///             let size = data.chunk().len();
///             write(data.chunk());
///             data.advance(size);
///         }
///         if data.take_end() {
///             // Shut the write side of the transport down.
///         }
///     };
///     send(connection);
///     while let Some(event) = connection.next_event() {
///         handle(event);
///     }
///     send(connection);
/// }
/// ```
///
/// A loop that sends only after it has received is correct as well if it waits no longer than until
/// [`next_timeout`](Self::next_timeout), which is due at once while there is something new to send.
///
/// What the peer does wrong never comes out of a feed. It fails the connection, and arrives as the
/// last event. An `Err` is a mistake of the caller's, and has changed nothing.
///
/// # Example
/// ```
/// use bytes::Buf;
/// use sansock_core::{Config, Connection, Event, Instant, Negotiated, Outgoing, Side};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut server = Connection::new(Side::Server, Negotiated::default(), Config::new())?;
/// // A masked text frame, as a client sends it.
/// server.receive_data(b"\x81\x82\x01\x02\x03\x04\x69\x6b", Instant::START);
/// let Some(Event::Message(message)) = server.next_event() else { panic!() };
/// assert_eq!(message.as_text(), Some("hi"));
///
/// server.send("hello")?;
/// assert_eq!(server.data_to_send().chunk(), b"\x81\x05hello");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Connection {
    incoming: Incoming,
    link: Link,
    /// Absent where nothing was agreed on.
    negotiated: Option<Box<Negotiated>>,
}

impl Connection {
    /// Returns a connection whose opening handshake was done elsewhere, by an HTTP stack. Bytes that
    /// the stack has read beyond it are fed with [`receive_data`](Self::receive_data).
    ///
    /// # Errors
    /// [`ConnectionError`] for a client whose configuration has no source of seeds, and for extensions
    /// that the configuration does not have.
    pub fn new(
        side: Side,
        negotiated: Negotiated,
        config: Config,
    ) -> Result<Self, ConnectionError> {
        let generator = match side {
            Side::Client => Some(Generator::new(&*config.settings().entropy)?),
            Side::Server => None,
        };
        let mut connection = Self::connecting(side, generator, config);
        connection.open(negotiated)?;
        Ok(connection)
    }

    /// Returns a connection before its opening handshake. A client has a generator.
    pub(crate) fn connecting(side: Side, generator: Option<Generator>, config: Config) -> Self {
        let settings = config.settings();
        Self {
            incoming: Incoming::new(settings.delivery),
            link: Link::new(side, generator, config),
            negotiated: None,
        }
    }

    // Feed.

    /// Takes bytes that came from the peer.
    ///
    /// A driver with a buffer to read into uses [`Io::read_buffer`] and saves a copy.
    /// After the end of the stream, or of the connection, bytes are ignored.
    pub fn receive_data(&mut self, mut data: &[u8], now: Instant) {
        while !data.is_empty() {
            let room = self.io().read_buffer();
            let size = room.len().min(data.len());
            let Some((part, rest)) = data.split_at_checked(size) else {
                return;
            };
            if let Some(room) = room.get_mut(..size) {
                room.copy_from_slice(part);
            }
            self.io().received(size, now);
            data = rest;
        }
        self.link.set_now(now);
    }

    /// Takes the end of the peer's stream, or the failure to read from it.
    ///
    /// Before it, everything that was received is given out. Without a Close frame the connection was
    /// [lost](Failure::Lost). Calling it again does nothing.
    pub fn receive_eof(&mut self, now: Instant) {
        self.link.set_now(now);
        self.incoming.eof = true;
        self.parse_next();
        self.incoming.end_if_discarded(&mut self.link);
    }

    /// Does what is due at `now`, and starts the clock of what was begun since the last feed.
    ///
    /// Calling it early, or twice, does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        let event_waits = self.parse_next();
        let arrived = self.incoming.arrived();
        self.link.handle_timeout(now, event_waits, arrived);
    }

    // Take.

    /// Returns the next event, `None` where more input is needed.
    ///
    /// Parsing goes no further than the event. What it lends is valid until the connection is used
    /// again.
    #[doc(alias = "events_received")]
    #[inline]
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        self.parse_next();
        self.incoming.take_event(&mut self.link)
    }

    /// Parses until an event is ready, and returns whether [`next_event`](Self::next_event) will give
    /// one. The replies that come before it are queued.
    #[inline]
    pub fn parse_next(&mut self) -> bool {
        self.incoming.advance(&mut self.link)
    }

    /// Returns everything to be sent now, and whether the write side must be closed then.
    ///
    /// It includes the replies to what was received, up to the first event that was not taken. A few pings
    /// that arrive together are all answered; of many, or while the transport does not take an earlier pong,
    /// at least the last (RFC 6455 section 5.5.3). It is empty only if nothing is pending.
    #[inline]
    pub fn data_to_send(&mut self) -> DataToSend<'_> {
        self.parse_next();
        self.io().output()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) wants to be called, `None` for never.
    ///
    /// A time that has passed means: at once. That is so while something new is to be sent. It may
    /// change with every feed, command, event and write.
    pub fn next_timeout(&self) -> Option<Instant> {
        let (event_waits, arrived) = (self.incoming.is_ready(), self.incoming.arrived());
        self.link.next_timeout(event_waits, arrived)
    }

    /// Whether this side does not read for now, though no event waits: because data is lent to the
    /// application, or for a limit of the rate.
    ///
    /// The deadline of a pong, and that of an incomplete message, do not run meanwhile, and restart in
    /// full when reading resumes. While an [event](Self::next_event) waits to be taken, that holds
    /// without this call.
    pub fn set_reading_paused(&mut self, paused: bool) {
        self.link.keepalive.set_reading_paused(paused);
    }

    /// The transport failed to write, and will not be written to again.
    ///
    /// What is queued is dropped, and nothing more can be sent. What arrives is still received: a Close
    /// frame of the peer, or the end of its stream, ends the connection. Otherwise the
    /// [`close_timeout`](crate::Config::close_timeout) does.
    #[cold]
    #[inline(never)]
    pub fn write_failed(&mut self) {
        self.link.write_failed();
    }

    /// Returns the view for drivers: buffers that save a copy, and what waits.
    #[inline]
    pub const fn io(&mut self) -> Io<'_> {
        Io(self)
    }

    // Commands.

    /// Queues a whole message.
    ///
    /// # Errors
    /// In this order: [`SendError::ExpectedContinuation`] inside a fragmented message,
    /// [`SendError::State`] unless the connection is open, [`SendError::QueueFull`] where the output
    /// queue is at its limit. The same holds for every command that sends data.
    #[inline]
    pub fn send<'a>(&mut self, message: impl Into<Outgoing<'a>>) -> Result<(), SendError> {
        match message.into() {
            Outgoing::Text(text) => self.link.send_message(Kind::Text, text.into()),
            Outgoing::Binary(payload) => self.link.send_message(Kind::Binary, payload),
        }
    }

    /// Queues a whole message, and chooses whether it is compressed.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_with<'a>(
        &mut self,
        message: impl Into<Outgoing<'a>>,
        compression: Compression,
    ) -> Result<(), SendError> {
        let before = core::mem::replace(&mut self.link.compression, compression);
        let sent = self.send(message);
        self.link.compression = before;
        sent
    }

    /// Queues a text message, or its first fragment.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    #[inline]
    pub fn send_text<'a>(
        &mut self,
        text: impl Into<TextPayload<'a>>,
        fin: Fin,
    ) -> Result<(), SendError> {
        self.link.send_text(text.into(), fin)
    }

    /// Queues a text message, or its first fragment, that may be cut inside a character.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`SendError::InvalidUtf8`] where the text would not be UTF-8.
    pub fn send_text_part<'a>(
        &mut self,
        text: impl Into<Payload<'a>>,
        fin: Fin,
    ) -> Result<(), SendError> {
        self.link.send_text_part(text.into(), fin)
    }

    /// Queues a binary message, or its first fragment.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    #[inline]
    pub fn send_binary<'a>(
        &mut self,
        payload: impl Into<Payload<'a>>,
        fin: Fin,
    ) -> Result<(), SendError> {
        self.link.send_binary(payload.into(), fin)
    }

    /// Queues a further fragment of the open message. Fragments of text may be cut inside a character.
    ///
    /// # Errors
    /// As [`send`](Self::send), but [`SendError::UnexpectedContinuation`] where no message is open,
    /// and [`SendError::InvalidUtf8`] where the text would not be UTF-8.
    pub fn send_continuation<'a>(
        &mut self,
        payload: impl Into<Payload<'a>>,
        fin: Fin,
    ) -> Result<(), SendError> {
        self.link.send_continuation(payload.into(), fin)
    }

    /// Queues a message that was prepared for many connections.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError> {
        self.link.send_prepared(prepared)
    }

    /// Queues a ping with a payload of the caller's, whose pong is given out and not matched.
    ///
    /// It passes a queue that is full: to bound the queue, look at [`has_capacity`](Self::has_capacity) first.
    ///
    /// # Errors
    /// [`SendError::State`] unless the connection is open or waits for the peer's Close frame;
    /// [`SendError::ControlTooLong`] over 125 bytes.
    pub fn send_ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.link.send_ping(payload)
    }

    /// Queues a pong that nobody asked for. Pings are answered without it.
    ///
    /// # Errors
    /// As [`send_ping`](Self::send_ping).
    pub fn send_pong(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.link.send_pong(payload)
    }

    /// Queues a ping of the connection's own, whose pong is matched and timed.
    ///
    /// # Errors
    /// As [`send_ping`](Self::send_ping).
    pub fn ping(&mut self, now: Instant) -> Result<PingId, SendError> {
        self.link.set_now(now);
        self.link.ping()
    }

    /// Starts the closing handshake (RFC 6455 section 7.1.2). Messages of the peer go on to arrive
    /// until its Close frame.
    ///
    /// # Errors
    /// [`SendError::State`] unless the connection is open; [`SendError::InvalidCloseCode`] and
    /// [`SendError::ReasonTooLong`] for what may not stand in a Close frame.
    pub fn send_close(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<bytestring::ByteString>,
    ) -> Result<(), SendError> {
        self.link.send_close(CloseFrame::new(code, reason))
    }

    /// Fails the connection (RFC 6455 section 7.1.7): a Close frame is sent where that is possible,
    /// and nothing more is received. [`ABNORMAL_CLOSURE`](CloseCode::ABNORMAL_CLOSURE) sends none.
    ///
    /// Before the connection is open, the opening handshake fails. Does nothing where the connection
    /// has ended already.
    ///
    /// # Errors
    /// [`SendError::InvalidCloseCode`] and [`SendError::ReasonTooLong`] for what may not stand in a
    /// Close frame.
    pub fn fail(
        &mut self,
        code: impl Into<CloseCode>,
        reason: impl Into<bytestring::ByteString>,
    ) -> Result<(), SendError> {
        self.link.fail_with(CloseFrame::new(code, reason))
    }

    /// Changes in which portions received data is given out, from the next message on.
    ///
    /// Returns `false`, and changes nothing, inside a message. As long as no part of that message was given
    /// out, it can still be received whole: a change to [`Delivery::Messages`] puts together what has arrived
    /// of it. If that exceeds the limit of messages, the connection fails.
    pub fn set_delivery(&mut self, delivery: Delivery) -> bool {
        self.incoming.set_delivery(delivery, &mut self.link)
    }

    // Ask.

    /// Returns which side of the connection this is.
    #[must_use]
    pub const fn side(&self) -> Side {
        self.link.side
    }

    /// Returns the configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.link.config
    }

    /// Returns what the connection is doing.
    #[must_use]
    pub const fn state(&self) -> State {
        self.link.phase.state()
    }

    /// Whether the end of the peer's stream is expected soon, so that the transport should be dropped
    /// where it does not come. [`next_timeout`](Self::next_timeout) counts that time.
    #[must_use]
    pub fn close_expected(&self) -> bool {
        match self.state() {
            State::Connecting => self.link.output.is_ended(),
            State::Closing => true,
            State::Open | State::Closed => false,
        }
    }

    /// Returns the code of the peer's Close frame once the connection is closed, and
    /// [`ABNORMAL_CLOSURE`](CloseCode::ABNORMAL_CLOSURE) where none came.
    #[must_use]
    pub fn close_code(&self) -> Option<CloseCode> {
        let received = self.is_closed().then(|| self.received_close())?;
        Some(received.map_or(CloseCode::ABNORMAL_CLOSURE, |frame| frame.code))
    }

    /// Returns the reason of the peer's Close frame once the connection is closed; empty where none
    /// came.
    #[must_use]
    pub fn close_reason(&self) -> Option<&str> {
        let received = self.is_closed().then(|| self.received_close())?;
        Some(received.map_or("", |frame| &frame.reason))
    }

    /// Returns which Close frames were exchanged and whose was first, once that is decided.
    ///
    /// A Close frame counts as sent once the transport has taken it. While ours waits, this is `None`.
    /// If it never leaves, the outcome is [`Closed::Received`] or [`Closed::Abnormal`].
    #[must_use]
    pub fn closed(&self) -> Option<&Closed> {
        self.link.closed()
    }

    /// Returns the peer's Close frame as soon as it was received.
    #[must_use]
    pub fn received_close(&self) -> Option<&CloseFrame> {
        self.link.received_close()
    }

    /// Returns what ended the connection, where that was not the closing handshake.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.link.failure()
    }

    /// Returns the subprotocol that was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.negotiated().subprotocol.as_deref()
    }

    /// Returns what was agreed on in the opening handshake.
    #[must_use]
    pub fn negotiated(&self) -> &Negotiated {
        static NOTHING: Negotiated = Negotiated {
            subprotocol: None,
            extensions: ExtensionList::new(),
        };
        self.negotiated.as_deref().unwrap_or(&NOTHING)
    }

    /// Returns in which portions received data is given out.
    #[must_use]
    pub const fn delivery(&self) -> Delivery {
        self.incoming.delivery()
    }

    /// Whether the output queue is below its limit, so that data would not be refused for that.
    #[must_use]
    pub fn has_capacity(&self) -> bool {
        self.link.has_capacity()
    }

    /// Whether everything that was queued has been sent, the end of the stream aside.
    #[must_use]
    pub const fn is_flushed(&self) -> bool {
        self.link.output.is_empty()
    }

    /// Whether a [multiplexed](crate::Config::multiplexed) connection has to end its stream, and the transport has not
    /// [written](Io::end_written) that. Do not drop the transport before, even if the connection is closed.
    #[must_use]
    pub fn is_end_pending(&self) -> bool {
        self.link.is_end_pending()
    }

    /// Whether the pong of this ping, or of a later one, has come.
    #[must_use]
    pub fn is_ping_answered(&self, ping: PingId) -> bool {
        !self.link.pings.is_waiting(ping)
    }

    /// Returns the counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            bytes_received: self.link.counters.bytes_received,
            bytes_sent: self.link.output.taken(),
            frames_received: self.link.counters.frames_received,
            frames_sent: self.link.counters.frames_sent,
            control_frames_sent: self.link.counters.control_frames_sent,
            pings_received: self.link.counters.pings_received,
            pongs_received: self.link.counters.pongs_received,
            queued: self.link.output.queued(),
            latency: self.link.pings.latency(),
        }
    }

    const fn is_closed(&self) -> bool {
        matches!(self.state(), State::Closed)
    }

    // For the opening handshake, which precedes the frames on the same stream.

    /// Whether it goes on: it has neither succeeded nor failed.
    pub(crate) const fn is_connecting(&self) -> bool {
        self.link.phase.is_connecting()
    }

    /// Returns what was received and not consumed.
    pub(crate) fn unread(&self) -> &[u8] {
        self.incoming.buffer.filled()
    }

    /// Drops bytes of the opening handshake.
    pub(crate) fn consume(&mut self, count: usize) {
        self.incoming.buffer.consume(count);
    }

    /// Whether the peer's stream has ended behind what is [unread](Self::unread).
    pub(crate) const fn is_eof(&self) -> bool {
        self.incoming.eof
    }

    /// Queues bytes of the opening handshake: an answer in the block in which the request came, unless more
    /// came with it.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.incoming.buffer.is_empty() && self.link.output.is_empty() {
            core::mem::swap(&mut self.incoming.buffer, &mut self.link.output.buffer);
        }
        let buffers = &self.link.config.settings().buffers;
        self.link.output.push(bytes, buffers);
    }

    /// Returns the limits of the heads in the opening handshake.
    pub(crate) fn head_limits(&self) -> HeadLimits {
        self.link.settings().head_limits
    }

    /// Returns how much is kept of the body of a response that refuses the handshake.
    pub(crate) fn max_refusal_body(&self) -> usize {
        self.link.settings().max_refusal_body
    }

    /// The opening handshake is complete.
    pub(crate) fn open(&mut self, negotiated: Negotiated) -> Result<(), HandshakeError> {
        self.link.start(&negotiated.extensions)?;
        let agreed = negotiated.subprotocol.is_some() || !negotiated.extensions.is_empty();
        self.negotiated = agreed.then(|| Box::new(negotiated));
        self.link.open();
        Ok(())
    }

    /// Returns the extensions that are offered, or accepted.
    pub(crate) fn extensions(&self) -> &[Arc<dyn Extension>] {
        &self.link.settings().extensions
    }

    /// The opening handshake failed.
    pub(crate) fn refuse(&mut self, error: HandshakeError) {
        let failure = Failure::Handshake(Box::new(error.clone()));
        self.link.refuse(error, failure);
        self.incoming.end_if_discarded(&mut self.link);
    }

    /// Returns why the opening handshake failed.
    pub(crate) fn handshake_error(&self) -> Option<&HandshakeError> {
        self.link.phase.ending()?.handshake_error.as_ref()
    }

    /// Replaces why the opening handshake failed.
    pub(crate) fn replace_handshake_error(&mut self, error: HandshakeError) {
        self.link.phase.replace_handshake_error(error);
    }

    /// The stream ended during the opening handshake.
    pub(crate) fn end(&mut self) {
        self.link.eof();
    }
}

/// Gives leased buffers back, whatever is in them.
impl Drop for Connection {
    fn drop(&mut self) {
        let buffers = &self.link.config.settings().buffers;
        self.incoming.buffer.give_back(buffers);
        self.link.output.buffer.give_back(buffers);
    }
}

//! A server's connection from its first byte on (RFC 6455 section 4.2).

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ops::{Deref, DerefMut};

use crate::config::Config;
use crate::connection::{Connection, DataToSend, State};
use crate::error::SendError;
use crate::event::Event;
use crate::extension;
use crate::frame::Side;
use crate::handshake::{
    HandshakeError, HeadError, HeadScanner, Request, Response, ServerOptions, StatusCode, agreed,
    refuse, reject,
};
use crate::time::Instant;

/// A server's connection: the opening handshake, then everything that [`Connection`] does.
///
/// It dereferences to [`Connection`], whose verbs it has from the first byte on, so that one receive
/// loop serves the handshake and the messages. Its first event is the request. A request that is
/// malformed gets its response without one, and [`handshake_error`](Self::handshake_error) tells why.
///
/// Bytes that follow the request are kept until the response was sent, and no request after the first
/// is ever read.
///
/// # Example
/// ```
/// use sansock_core::{Config, Event, Instant, ServerConnection, State};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut server = ServerConnection::new(Default::default(), Config::new());
/// server.receive_data(
///     b"GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
///     Instant::START,
/// );
/// let Some(Event::Request(request)) = server.next_event() else { panic!() };
/// let response = server.accept(&request);
/// server.send_response(&response)?;
/// assert_eq!(server.state(), State::Open);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[doc(alias = "ServerProtocol")]
pub struct ServerConnection {
    connection: Connection,
    handshake: Box<Opening>,
}

/// What only the opening handshake needs.
#[derive(Debug)]
struct Opening {
    options: Arc<ServerOptions>,
    scanner: HeadScanner,
    request: Arrival,
    error: Option<HandshakeError>,
}

/// The request, on its way to the user.
#[derive(Debug)]
enum Arrival {
    Awaited,
    Ready(Request),
    Given,
}

impl Arrival {
    fn take(&mut self) -> Option<Request> {
        match core::mem::replace(self, Self::Given) {
            Self::Ready(request) => Some(request),
            Self::Given => None,
            Self::Awaited => {
                *self = Self::Awaited;
                None
            }
        }
    }
}

impl ServerConnection {
    /// Returns a connection that waits for a request.
    #[must_use]
    pub fn new(options: Arc<ServerOptions>, config: Config) -> Self {
        let scanner = HeadScanner::new(config.settings().head_limits);
        Self {
            connection: Connection::connecting(Side::Server, None, config),
            handshake: Box::new(Opening {
                options,
                scanner,
                request: Arrival::Awaited,
                error: None,
            }),
        }
    }

    /// Checks a request and returns the response to it: 101, or the one that says what is wrong, in
    /// which case [`handshake_error`](Self::handshake_error) says it too.
    ///
    /// It may be edited, or replaced, before it is sent.
    pub fn accept(&mut self, request: &Request) -> Response {
        let extensions = self.connection.extensions();
        let options = &self.handshake.options;
        let (response, result) =
            options.accept_with(request, |offers| extension::answer(offers, extensions));
        self.handshake.error = result.err();
        response
    }

    /// Returns a response that refuses the request with a text.
    #[must_use]
    pub fn reject(&self, status: StatusCode, text: &str) -> Response {
        reject(status, text)
    }

    /// Queues the response. With status 101 the connection is open, with the subprotocol and the
    /// extensions that the response names; with any other it has failed, and the end of the stream
    /// follows.
    ///
    /// # Errors
    /// [`SendError::State`] where a response was sent already; [`SendError::SwitchingProtocols`] for
    /// status 101 where no request was given out, or with a body, or with extensions that the
    /// configuration does not have.
    pub fn send_response(&mut self, response: &Response) -> Result<(), SendError> {
        if !self.connection.is_connecting() {
            return Err(SendError::State(self.connection.state()));
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.open(response)?;
            response.pieces(|piece| self.connection.push(piece));
        } else {
            response.pieces(|piece| self.connection.push(piece));
            let error = || HandshakeError::rejected(response.status(), response.reason());
            self.handshake.error.get_or_insert_with(error);
            self.connection.refuse();
        }
        Ok(())
    }

    /// Opens the connection as the client will understand the response.
    fn open(&mut self, response: &Response) -> Result<(), SendError> {
        if !matches!(self.handshake.request, Arrival::Given) {
            return Err(SendError::SwitchingProtocols("no request was given out"));
        }
        if !response.body().is_empty() {
            return Err(SendError::SwitchingProtocols("the response has a body"));
        }
        let opened = agreed(response).and_then(|agreed| self.connection.open(agreed));
        opened.map_err(|_| {
            SendError::SwitchingProtocols("the response names what cannot be agreed on")
        })?;
        self.handshake.error = None;
        Ok(())
    }

    /// Takes the end of the client's stream; see [`Connection::receive_eof`].
    pub fn receive_eof(&mut self, now: Instant) {
        self.connection.receive_eof(now);
        self.advance();
    }

    /// Returns the next event; see [`Connection::next_event`]. The first is the request.
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        self.advance();
        match self.handshake.request.take() {
            Some(request) => Some(Event::Request(request)),
            None => self.connection.next_event(),
        }
    }

    /// Parses until an event is ready; see [`Connection::is_event_ready`].
    pub fn is_event_ready(&mut self) -> bool {
        self.advance();
        matches!(self.handshake.request, Arrival::Ready(_)) || self.connection.is_event_ready()
    }

    /// Returns what is to be sent now; see [`Connection::data_to_send`].
    pub fn data_to_send(&mut self) -> DataToSend<'_> {
        self.advance();
        self.connection.data_to_send()
    }

    /// Returns why the opening handshake failed, `None` where it succeeded or goes on.
    #[must_use]
    #[doc(alias = "handshake_exc")]
    pub fn handshake_error(&self) -> Option<&HandshakeError> {
        self.handshake.error.as_ref()
    }

    /// Drops what only the opening handshake needed.
    #[must_use]
    pub fn into_connection(self) -> Connection {
        self.connection
    }

    /// Reads the request as far as it has arrived.
    fn advance(&mut self) {
        let awaits = matches!(self.handshake.request, Arrival::Awaited);
        if awaits && self.connection.is_connecting() {
            match self.read_request() {
                Ok(Some(request)) => self.handshake.request = Arrival::Ready(request),
                Ok(None) => {}
                Err(error) => self.fail(error.into()),
            }
        }
        if self.connection.is_eof() && self.connection.state() == State::Connecting {
            self.connection.end();
        }
    }

    fn read_request(&mut self) -> Result<Option<Request>, HeadError> {
        let unread = self.connection.unread();
        let scanner = &mut self.handshake.scanner;
        match scanner.read(unread, Request::parse_front)? {
            Some((request, size)) => {
                self.connection.consume(size);
                Ok(Some(request))
            }
            None if self.connection.is_eof() => Err(HeadError::Incomplete {
                bytes: unread.len(),
            }),
            None => Ok(None),
        }
    }

    /// The request cannot be read: answers it, unless there is nobody to answer.
    fn fail(&mut self, error: HandshakeError) {
        if !self.connection.is_eof() {
            refuse(&error).pieces(|piece| self.connection.push(piece));
        }
        self.handshake.error = Some(error);
        self.connection.refuse();
    }
}

impl Deref for ServerConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for ServerConnection {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

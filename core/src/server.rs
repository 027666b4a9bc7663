//! A server's connection from its first byte on (RFC 6455 section 4.2).

use alloc::sync::Arc;

use crate::config::Config;
use crate::connection::Connection;
use crate::error::SendError;
use crate::event::Event;
use crate::extension;
use crate::frame::Side;
use crate::handshake::{
    HandshakeError, HeadError, HeadScanner, Negotiated, Request, Response, ServerOptions,
    StatusCode, agreed, refuse, reject,
};
use crate::opening::opening_verbs;
use crate::state::State;

/// A server's connection: the opening handshake, then everything that [`Connection`] does.
///
/// It has the verbs of [`Connection`] from the first byte on, so that one loop serves the handshake and
/// the messages; [`Protocol`](crate::Protocol) is what such a loop is written against. What can be asked of a
/// [`Connection`] can be asked of it by dereferencing. Its first event is the request. A request that is
/// malformed gets its response without one. However the handshake fails,
/// [`handshake_error`](Self::handshake_error) returns why, and the last event is [`Event::Failed`].
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
pub struct ServerConnection {
    connection: Connection,
    options: Arc<ServerOptions>,
    scanner: HeadScanner,
    request: Arrival,
    /// Whether the request has the method `HEAD`, so that the response has no body.
    is_head: bool,
    /// Why the request was not accepted, until the response is sent.
    error: Option<HandshakeError>,
}

opening_verbs!(ServerConnection, "request", options, request, error);

/// The request, on its way to the user.
#[derive(Debug)]
enum Arrival {
    Awaited {
        /// Whether an empty line in front of it was looked for.
        after_empty_line: bool,
    },
    Ready(Request),
    Given,
}

impl ServerConnection {
    /// Returns a connection that waits for a request.
    #[must_use]
    pub fn new(options: Arc<ServerOptions>, config: Config) -> Self {
        let scanner = HeadScanner::new(config.settings().head_limits);
        Self {
            connection: Connection::connecting(Side::Server, None, config),
            options,
            scanner,
            request: Arrival::Awaited {
                after_empty_line: false,
            },
            is_head: false,
            error: None,
        }
    }

    /// Replaces what is accepted, for a server whose decision depends on the request or on how it came.
    pub fn set_options(&mut self, options: Arc<ServerOptions>) {
        self.options = options;
    }

    /// Checks a request and returns the response to it: 101, or the one that says what is wrong, in
    /// which case [`handshake_error`](Self::handshake_error) says it too.
    ///
    /// It may be edited, or replaced, before it is sent.
    pub fn accept(&mut self, request: &Request) -> Response {
        let extensions = self.connection.extensions();
        let answer = |offers: &_| extension::answer(offers, extensions);
        let (response, result) = self.options.accept_with_extensions(request, answer);
        self.error = result.err();
        response
    }

    /// Checks a request and queues the response to it: as [`accept`](Self::accept) and
    /// [`send_response`](Self::send_response), for who has nothing to edit in between.
    ///
    /// # Errors
    /// As [`send_response`](Self::send_response).
    pub fn answer(&mut self, request: &Request) -> Result<(), SendError> {
        request.version().check_written_as_text()?;
        self.check_unanswered()?;
        let extensions = self.connection.extensions();
        let answer = |offers: &_| extension::answer(offers, extensions);
        match self.options.negotiate(request, answer) {
            Ok(acceptance) => {
                self.open(Ok(acceptance.negotiated.clone()))?;
                acceptance.pieces(|piece| self.connection.push(piece));
                Ok(())
            }
            Err(error) => {
                let response = refuse(&error);
                self.error = Some(error);
                self.send_response(&response)
            }
        }
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
    /// configuration does not have; [`SendError::HttpVersion`] for the response to a request by
    /// [Extended CONNECT](Request::extended_connect), which an HTTP stack sends.
    pub fn send_response(&mut self, response: &Response) -> Result<(), SendError> {
        response.version().check_written_as_text()?;
        self.check_unanswered()?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            if !response.body().is_empty() {
                return Err(SendError::SwitchingProtocols("the response has a body"));
            }
            self.open(agreed(response))?;
            response.pieces(|piece| self.connection.push(piece));
        } else {
            self.push_response(response);
            let rejected = || HandshakeError::rejected(response.status(), response.reason());
            let error = self.error.take().unwrap_or_else(rejected);
            self.connection.refuse(error);
        }
        Ok(())
    }

    /// Returns why the opening handshake failed, or why [`accept`](Self::accept) does not accept the
    /// request; `None` if it succeeded or is in progress.
    #[must_use]
    #[doc(alias = "handshake_exc")]
    pub fn handshake_error(&self) -> Option<&HandshakeError> {
        self.connection.handshake_error().or(self.error.as_ref())
    }

    fn check_unanswered(&self) -> Result<(), SendError> {
        match self.connection.is_connecting() {
            true => Ok(()),
            false => Err(SendError::State(self.connection.state())),
        }
    }

    /// Opens the connection as the client will understand the response.
    fn open(&mut self, agreed: Result<Negotiated, HandshakeError>) -> Result<(), SendError> {
        if !matches!(self.request, Arrival::Given) {
            return Err(SendError::SwitchingProtocols("no request was given out"));
        }
        let opened = agreed.and_then(|agreed| self.connection.open(agreed));
        opened.map_err(|_| {
            SendError::SwitchingProtocols("the response names what cannot be agreed on")
        })?;
        self.error = None;
        Ok(())
    }

    fn has_first(&self) -> bool {
        matches!(self.request, Arrival::Ready(_))
    }

    fn take_first(&mut self) -> Option<Event<'static>> {
        if !self.has_first() {
            return None;
        }
        match core::mem::replace(&mut self.request, Arrival::Given) {
            Arrival::Ready(request) => Some(Event::Request(request)),
            Arrival::Awaited { .. } | Arrival::Given => None,
        }
    }

    /// Reads the request as far as it has arrived.
    fn advance(&mut self) {
        let awaits = matches!(self.request, Arrival::Awaited { .. });
        if awaits && self.connection.is_connecting() {
            match self.read_request() {
                Ok(Some(request)) => {
                    self.is_head = request.is_head();
                    self.request = Arrival::Ready(request);
                }
                Ok(None) => {}
                Err(error) => self.fail_handshake(error.into()),
            }
        }
        if self.connection.is_eof() && self.connection.state() == State::Connecting {
            self.connection.end();
        }
    }

    fn read_request(&mut self) -> Result<Option<Request>, HeadError> {
        if !self.skip_empty_line() {
            return self.incomplete();
        }
        let unread = self.connection.unread();
        let scanner = &mut self.scanner;
        match scanner.read(unread, Request::parse_front)? {
            Some((request, size)) => {
                self.connection.consume(size);
                Ok(Some(request))
            }
            None => self.incomplete(),
        }
    }

    /// Skips one empty line in front of the request, as RFC 9112 section 2.2 asks of servers: some clients send
    /// one too many behind a request before. Returns whether what stands in front is known.
    fn skip_empty_line(&mut self) -> bool {
        if !matches!(
            self.request,
            Arrival::Awaited {
                after_empty_line: false
            }
        ) {
            return true;
        }
        let size = match self.connection.unread() {
            [] | [b'\r'] => return false,
            [b'\r', b'\n', ..] => 2,
            _ => 0,
        };
        self.connection.consume(size);
        self.request = Arrival::Awaited {
            after_empty_line: true,
        };
        true
    }

    fn incomplete(&self) -> Result<Option<Request>, HeadError> {
        match self.connection.is_eof() {
            true => Err(HeadError::Incomplete {
                bytes: self.connection.unread().len(),
            }),
            false => Ok(None),
        }
    }

    /// The request cannot be read: answers it, unless there is nobody to answer.
    fn fail_handshake(&mut self, error: HandshakeError) {
        if !self.connection.is_eof() {
            self.is_head = self.connection.unread().starts_with(b"HEAD ");
            self.push_response(&refuse(&error));
        }
        self.connection.refuse(error);
    }

    /// Queues a response, without its body if the request is `HEAD` (RFC 9110 section 9.3.2).
    fn push_response(&mut self, response: &Response) {
        let push = |piece: &[u8]| self.connection.push(piece);
        match self.is_head {
            true => response.head_pieces(push),
            false => response.pieces(push),
        }
    }
}

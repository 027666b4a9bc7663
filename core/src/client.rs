//! A client's connection from its first byte on (RFC 6455 section 4.1).

use alloc::boxed::Box;
use core::ops::{Deref, DerefMut};

use bytes::Bytes;

use crate::config::Config;
use crate::connection::{Connection, DataToSend};
use crate::entropy::Generator;
use crate::error::{ConnectionError, SendError};
use crate::event::Event;
use crate::frame::Side;
use crate::handshake::{
    BodyReader, ClientHandshake, ClientOptions, HandshakeError, HeadError, HeadScanner, Request,
    Response, StatusCode, Uri, check_first_byte,
};
use crate::time::Instant;

/// A client's connection: the opening handshake, then everything that [`Connection`] does.
///
/// It dereferences to [`Connection`], whose verbs it has from the first byte on, so that one receive
/// loop serves the handshake and the messages. Its first event is the response.
///
/// # Example
/// ```
/// use bytes::Buf;
/// use sansock_core::handshake::{ClientOptions, Uri};
/// use sansock_core::{ClientConnection, Config, FixedSeed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let uri: Uri = "ws://example.com/chat".parse()?;
/// let config = Config::new().entropy(FixedSeed([1; 32]));
/// let mut client = ClientConnection::new(&uri, &ClientOptions::new(), config)?;
///
/// let request = client.connect();
/// client.send_request(request)?;
/// assert!(client.data_to_send().chunk().starts_with(b"GET /chat HTTP/1.1\r\n"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[doc(alias = "ClientProtocol")]
pub struct ClientConnection {
    connection: Connection,
    handshake: Box<Opening>,
}

/// What only the opening handshake needs.
#[derive(Debug)]
struct Opening {
    handshake: ClientHandshake,
    scanner: HeadScanner,
    interim: u8,
    refusal: Option<(Response, BodyReader)>,
    response: Option<Response>,
    error: Option<HandshakeError>,
    sent: bool,
}

impl ClientConnection {
    /// Interim responses (1xx) that are skipped before the answer.
    const MAX_INTERIM: u8 = 8;

    /// Returns a connection to be opened at `uri`.
    ///
    /// # Errors
    /// [`ConnectionError`] where the configuration has no source of seeds, or the options a header that
    /// cannot be sent.
    pub fn new(
        uri: &Uri,
        options: &ClientOptions,
        config: Config,
    ) -> Result<Self, ConnectionError> {
        let mut generator = Generator::new(&*config.settings().entropy)?;
        let extensions = &config.settings().extensions;
        let offers = extensions.iter().flat_map(|extension| extension.offers());
        let options = options.clone().extensions(offers.collect());
        let handshake = ClientHandshake::new(uri, generator.nonce(), &options)?;
        let scanner = HeadScanner::new(config.settings().head_limits);
        Ok(Self {
            connection: Connection::connecting(Side::Client, Some(generator), config),
            handshake: Box::new(Opening {
                handshake,
                scanner,
                interim: 0,
                refusal: None,
                response: None,
                error: None,
                sent: false,
            }),
        })
    }

    /// Returns the request of the opening handshake, to be sent as it is or with further headers.
    #[must_use]
    pub fn connect(&self) -> Request {
        self.handshake.handshake.request().clone()
    }

    /// Queues the request.
    ///
    /// # Errors
    /// [`SendError::State`] where a request was sent already.
    pub fn send_request(&mut self, request: Request) -> Result<(), SendError> {
        if self.handshake.sent || !self.connection.is_connecting() {
            return Err(SendError::State(self.connection.state()));
        }
        request.pieces(|piece| self.connection.push(piece));
        self.handshake.handshake = request.into();
        self.handshake.sent = true;
        Ok(())
    }

    /// Takes the end of the server's stream; see [`Connection::receive_eof`].
    pub fn receive_eof(&mut self, now: Instant) {
        self.connection.receive_eof(now);
        self.advance();
    }

    /// Returns the next event; see [`Connection::next_event`]. The first is the response.
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        self.advance();
        match self.handshake.response.take() {
            Some(response) => Some(Event::Response(response)),
            None => self.connection.next_event(),
        }
    }

    /// Parses until an event is ready; see [`Connection::is_event_ready`].
    pub fn is_event_ready(&mut self) -> bool {
        self.advance();
        self.handshake.response.is_some() || self.connection.is_event_ready()
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

    /// Reads the response as far as it has arrived.
    fn advance(&mut self) {
        while self.connection.is_connecting() {
            match self.step() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => self.fail(error),
            }
        }
    }

    /// Returns whether there was progress.
    fn step(&mut self) -> Result<bool, HandshakeError> {
        if self.handshake.refusal.is_some() {
            return self.read_body();
        }
        let unread = self.connection.unread();
        if !is_http(unread, self.connection.is_eof())? {
            return Ok(false);
        }
        let scanner = &mut self.handshake.scanner;
        match scanner.read(unread, Response::parse_front)? {
            Some((response, size)) => {
                self.connection.consume(size);
                self.answered(response)?;
                Ok(true)
            }
            None if self.connection.is_eof() => Err(HeadError::Incomplete {
                bytes: unread.len(),
            }
            .into()),
            None => Ok(false),
        }
    }

    /// The head of a response has arrived.
    fn answered(&mut self, response: Response) -> Result<(), HandshakeError> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let checked = self.handshake.handshake.check(&response);
            self.handshake.response = Some(response);
            self.connection.open(checked?)?;
        } else if response.status().is_interim() && self.handshake.interim < Self::MAX_INTERIM {
            self.handshake.interim = self.handshake.interim.saturating_add(1);
            self.handshake.scanner = HeadScanner::new(self.connection.head_limits());
        } else {
            self.refused(response)?;
        }
        Ok(())
    }

    /// The server refuses the handshake: its response is given out with its body, or with as much of
    /// the body as can be understood.
    fn refused(&mut self, mut response: Response) -> Result<(), HandshakeError> {
        match BodyReader::new(&response, self.connection.max_refusal_body()) {
            Ok(body) => {
                self.handshake.refusal = Some((response, body));
                Ok(())
            }
            Err(_) => {
                response.receive_body(Bytes::new(), true);
                Err(self.give_refusal(response))
            }
        }
    }

    /// Reads the body of a response that refuses the handshake.
    fn read_body(&mut self) -> Result<bool, HandshakeError> {
        let Some((mut response, mut body)) = self.handshake.refusal.take() else {
            return Ok(false);
        };
        let bytes = self.connection.unread();
        let size = bytes.len();
        let mut done = body.receive(bytes).unwrap_or(true);
        self.connection.consume(size);
        if !done && self.connection.is_eof() {
            let _ = body.receive_eof();
            done = true;
        }
        if !done {
            self.handshake.refusal = Some((response, body));
            return Ok(false);
        }
        body.finish(&mut response);
        Err(self.give_refusal(response))
    }

    fn give_refusal(&mut self, response: Response) -> HandshakeError {
        self.handshake.response = Some(response.clone());
        HandshakeError::Refused(Box::new(response))
    }

    fn fail(&mut self, error: HandshakeError) {
        self.handshake.error = Some(error);
        self.connection.refuse();
        if self.connection.is_eof() {
            self.connection.end();
        }
    }
}

/// Whether the response is HTTP so far; `false` where its first line decides. A server of another protocol
/// may say no more than one line, and wait for an answer.
fn is_http(received: &[u8], is_all: bool) -> Result<bool, HandshakeError> {
    const SHOWN: usize = 32;

    if received.iter().zip(b"HTTP/").all(|(is, must)| is == must) {
        return Ok(true);
    }
    check_first_byte(received)?;
    let start = received.get(..SHOWN).unwrap_or(received);
    match start.split_inclusive(|byte| *byte == b'\n').next() {
        Some(line) if is_all || line.len() == SHOWN || line.ends_with(b"\n") => {
            let start = Bytes::copy_from_slice(line);
            Err(HandshakeError::NotHttp { start })
        }
        _ => Ok(false),
    }
}

impl Deref for ClientConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for ClientConnection {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

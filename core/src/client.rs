//! A client's connection from its first byte on (RFC 6455 section 4.1).

use alloc::boxed::Box;

use bytes::Bytes;

use crate::config::Config;
use crate::connection::Connection;
use crate::entropy::Generator;
use crate::error::{ConnectionError, SendError};
use crate::event::Event;
use crate::frame::Side;
use crate::handshake::{
    BodyReader, ClientHandshake, ClientOptions, HandshakeError, HeadError, HeadScanner,
    HttpVersion, Request, Response, StatusCode, Uri, check_first_byte,
};
use crate::opening::opening_verbs;

/// A client's connection: the opening handshake, then everything that [`Connection`] does.
///
/// It has the verbs of [`Connection`] from the first byte on, so that one loop serves the handshake and
/// the messages; [`Protocol`](crate::Protocol) is what such a loop is written against. What can be asked of a
/// [`Connection`] can be asked of it by dereferencing. Its first event is the response. However the handshake
/// fails, [`handshake_error`](Self::handshake_error) returns why, and the last event is
/// [`Event::Failed`].
///
/// # Example
/// ```
/// use bytes::Buf;
/// use sansock_core::handshake::{ClientOptions, Uri};
/// use sansock_core::{ClientConnection, Config};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let uri: Uri = "ws://example.com/chat".parse()?;
/// let mut client = ClientConnection::new(&uri, &ClientOptions::new(), Config::new())?;
///
/// let request = client.connect();
/// client.send_request(request)?;
/// assert!(client.data_to_send().chunk().starts_with(b"GET /chat HTTP/1.1\r\n"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ClientConnection {
    connection: Connection,
    handshake: ClientHandshake,
    scanner: HeadScanner,
    interim: u8,
    refusal: Option<(Response, BodyReader)>,
    response: Option<Response>,
    sent: bool,
}

opening_verbs!(ClientConnection, "response", handshake, refusal, response);

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
        let options = options.clone().extensions(config.extension_offers());
        let handshake = ClientHandshake::new(uri, generator.nonce(), &options)?;
        let scanner = HeadScanner::new(config.settings().head_limits);
        Ok(Self {
            connection: Connection::connecting(Side::Client, Some(generator), config),
            handshake,
            scanner,
            interim: 0,
            refusal: None,
            response: None,
            sent: false,
        })
    }

    /// Returns the request of the opening handshake, to be sent as it is or with further headers.
    #[must_use]
    pub fn connect(&self) -> Request {
        self.handshake.request().clone()
    }

    /// Queues the request.
    ///
    /// # Errors
    /// [`SendError::State`] where a request was sent already; [`SendError::HttpVersion`] for one by
    /// [Extended CONNECT](ClientHandshake::extended_connect), which an HTTP stack sends.
    pub fn send_request(&mut self, request: Request) -> Result<(), SendError> {
        request.version().check_written_as_text()?;
        if self.sent || !self.connection.is_connecting() {
            return Err(SendError::State(self.connection.state()));
        }
        request.pieces(|piece| self.connection.push(piece));
        self.handshake = request.into();
        self.sent = true;
        Ok(())
    }

    /// Whether what has arrived can still become a response of HTTP.
    ///
    /// If it cannot, the error is known once the first line of the server has ended. A driver that has nothing
    /// more to read need not wait for that: see [`conclude`](Self::conclude).
    #[must_use]
    pub fn is_http_so_far(&self) -> bool {
        let awaits = self.connection.is_connecting() && self.refusal.is_none();
        !awaits || starts_as_http(self.connection.unread())
    }

    /// Concludes from what has arrived why there is no connection: for a driver that does not wait any longer.
    ///
    /// A response that refuses the handshake, whose body has not ended, becomes the next event, with what has
    /// arrived of the body ([truncated](Response::is_body_truncated)). Bytes that are not HTTP are
    /// [`HandshakeError::NotHttp`], even if their first line has not ended. Otherwise nothing changes.
    pub fn conclude(&mut self) {
        if let Some((response, body)) = self.refusal.take() {
            self.end_refusal(response, body);
        } else if !self.is_http_so_far() {
            if let Err(error) = is_http(self.connection.unread(), true) {
                self.connection.refuse(error);
            }
        }
    }

    /// Returns why the opening handshake failed; `None` if it succeeded or is in progress.
    #[must_use]
    #[doc(alias = "handshake_exc")]
    pub fn handshake_error(&self) -> Option<&HandshakeError> {
        self.connection.handshake_error()
    }

    const fn has_first(&self) -> bool {
        self.response.is_some()
    }

    fn take_first(&mut self) -> Option<Event<'static>> {
        self.response.take().map(Event::Response)
    }

    /// Reads the response as far as it has arrived.
    fn advance(&mut self) {
        while self.connection.is_connecting() {
            match self.step() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => self.connection.refuse(error),
            }
        }
        if let Some((response, body)) = self.refusal.take() {
            self.end_refusal(response, body);
        }
    }

    /// The body of a refusal is not read to its end. If the handshake has ended already, the refusal is why
    /// it failed.
    #[cold]
    fn end_refusal(&mut self, mut response: Response, body: BodyReader) {
        body.finish(&mut response);
        let error = self.give_refusal(response);
        match self.connection.is_connecting() {
            true => self.connection.refuse(error),
            false => self.connection.replace_handshake_error(error),
        }
    }

    /// Returns whether there was progress.
    fn step(&mut self) -> Result<bool, HandshakeError> {
        if self.refusal.is_some() {
            return self.read_body();
        }
        let unread = self.connection.unread();
        if !is_http(unread, self.connection.is_eof())? {
            return Ok(false);
        }
        let scanner = &mut self.scanner;
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
            let checked = self.handshake.check(&response);
            self.response = Some(response);
            self.connection.open(checked?)?;
        } else if response.status().is_interim() && self.interim < Self::MAX_INTERIM {
            self.interim = self.interim.saturating_add(1);
            self.scanner = HeadScanner::new(self.connection.head_limits());
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
                self.refusal = Some((response, body));
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
        let Some((mut response, mut body)) = self.refusal.take() else {
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
            self.refusal = Some((response, body));
            return Ok(false);
        }
        body.finish(&mut response);
        Err(self.give_refusal(response))
    }

    fn give_refusal(&mut self, response: Response) -> HandshakeError {
        self.response = Some(response.clone());
        HandshakeError::Refused(Box::new(response))
    }
}

/// Whether the response is HTTP so far; `false` where its first line decides. A server of another protocol
/// may say no more than one line, and wait for an answer.
fn is_http(received: &[u8], is_all: bool) -> Result<bool, HandshakeError> {
    const SHOWN: usize = 32;

    if starts_as_http(received) {
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

fn starts_as_http(received: &[u8]) -> bool {
    received.iter().zip(b"HTTP/").all(|(is, must)| is == must)
}

impl ClientHandshake {
    /// Makes the request for a URI over HTTP/2 or HTTP/3 (RFC 8441, RFC 9220), which offers the extensions of the
    /// configuration.
    ///
    /// The HTTP stack sends the [pseudo-headers](Request::pseudo_headers) and the [headers](Request::headers) of the
    /// [request](Self::request). The names are in lower case (RFC 9113 section 8.2.1), and there is no `Host`. With the
    /// feature `http`, the request converts to an `http::Request`, to which the stack's own type for `:protocol` is
    /// added. A server has to allow such requests first, with `SETTINGS_ENABLE_CONNECT_PROTOCOL` (RFC 8441 section 3).
    ///
    /// # Errors
    ///
    /// The version has no Extended CONNECT, an option cannot be sent as a header, or a header belongs to the handshake
    /// itself or to a connection of HTTP/1.1.
    ///
    /// # Example
    /// ```
    /// use sansock_core::handshake::{
    ///     ClientHandshake, ClientOptions, HttpVersion, Response, StatusCode, Uri,
    /// };
    /// use sansock_core::{Config, Connection, Side};
    ///
    /// let uri = Uri::parse("wss://example.com/chat")?;
    /// let config = Config::new().multiplexed(true);
    /// let options = ClientOptions::new().subprotocols(["chat"]);
    /// let handshake =
    ///     ClientHandshake::extended_connect(&uri, HttpVersion::Http2, &options, &config)?;
    /// let pseudo = handshake.request().pseudo_headers().expect("it is an Extended CONNECT");
    /// assert_eq!((pseudo.scheme, pseudo.authority), ("https", "example.com"));
    /// assert_eq!(handshake.request().headers().get_str("sec-websocket-protocol"), Some("chat"));
    ///
    /// // The HTTP stack sends the request, and returns the response.
    /// let response = Response::new(StatusCode::OK);
    /// let client = Connection::new(Side::Client, handshake.check(&response)?, config)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn extended_connect(
        uri: &Uri,
        version: HttpVersion,
        options: &ClientOptions,
        config: &Config,
    ) -> Result<Self, ConnectionError> {
        let options = options.clone().extensions(config.extension_offers());
        let (authority, headers) = (options.authority(uri), options.extended_headers(uri)?);
        Ok(Self::with_extended_connect(
            uri, version, &authority, headers,
        )?)
    }
}

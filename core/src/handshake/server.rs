//! The server's side of the opening handshake (RFC 6455 section 4.2).
//!
//! Every check is made on every request, in one order, and whatever fails gets a complete HTTP response
//! that closes the connection. Responses carry no `Date`, for the core has no clock: a server that
//! has one adds it with [`Response::headers_mut`].

use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::{error::Error, fmt, fmt::Write as _};

use bytestring::ByteString;

use crate::handshake::{
    ExtensionList, GrammarError, HandshakeError, Headers, HttpVersion, Negotiated, Origins,
    Request, Response, StatusCode,
    body::parse_length,
    grammar::{has_token, tokens},
    key, uri,
};

const BROWSER_HINT: &str = "\n\
    You cannot access a WebSocket server directly with a browser. You need a WebSocket client.\n";

type SelectSubprotocol =
    dyn Fn(&Request, &[&str]) -> Result<Option<ByteString>, HandshakeError> + Send + Sync;

/// What a server accepts.
#[derive(Clone, Default)]
pub struct ServerOptions {
    origins: Origins,
    subprotocols: Vec<ByteString>,
    select_subprotocol: Option<Arc<SelectSubprotocol>>,
}

impl ServerOptions {
    /// Returns options that accept requests from the server's own pages and from programs, without
    /// subprotocols or extensions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets which pages may connect. Default: [`Origins::SameHost`].
    #[must_use]
    pub fn origins(mut self, origins: impl Into<Origins>) -> Self {
        self.origins = origins.into();
        self
    }

    /// Sets the supported subprotocols, the preferred one first. Default: none.
    ///
    /// The first that the client offers is selected. If it offers none of them, the connection has no
    /// subprotocol, and the client decides whether to go on.
    #[must_use]
    pub fn subprotocols<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<ByteString>,
    {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Lets the application select among the offered subprotocols, which may be none.
    ///
    /// It may refuse the request, best with [`HandshakeError::rejected`]. Default: the first of
    /// [`subprotocols`](Self::subprotocols) that is offered.
    #[must_use]
    pub fn select_subprotocol<F>(mut self, select: F) -> Self
    where
        F: Fn(&Request, &[&str]) -> Result<Option<ByteString>, HandshakeError>
            + Send
            + Sync
            + 'static,
    {
        self.select_subprotocol = Some(Arc::new(select));
        self
    }

    /// Checks a request and returns the response to it: 101 if it is accepted, otherwise the one
    /// that tells the client what is wrong.
    ///
    /// `answer` decides which of the offered extensions are accepted, and with which parameters.
    pub fn accept(
        &self,
        request: &Request,
        answer: impl Fn(&ExtensionList) -> ExtensionList,
    ) -> (Response, Result<Negotiated, HandshakeError>) {
        match self.negotiate(request, answer) {
            Ok((key, negotiated)) => (switching_protocols(key, &negotiated), Ok(negotiated)),
            Err(error) => (refuse(&error), Err(error)),
        }
    }

    fn negotiate<'a>(
        &self,
        request: &'a Request,
        answer: impl Fn(&ExtensionList) -> ExtensionList,
    ) -> Result<(&'a [u8], Negotiated), HandshakeError> {
        let headers = request.headers();
        check_request_line(request)?;
        check_host(headers)?;
        check_no_body(headers)?;
        check_upgrade(headers)?;
        let key = check_key(headers)?;
        check_version(headers)?;
        self.origins.check(headers)?;
        let negotiated = Negotiated {
            extensions: extensions(headers, answer)?,
            subprotocol: self.subprotocol(request)?,
        };
        Ok((key, negotiated))
    }

    fn subprotocol(&self, request: &Request) -> Result<Option<ByteString>, HandshakeError> {
        let offered: Vec<&str> =
            tokens(request.headers(), "Sec-WebSocket-Protocol").collect::<Result<_, _>>()?;
        let Some(select) = &self.select_subprotocol else {
            let mut ours = self.subprotocols.iter();
            return Ok(ours.find(|name| offered.contains(&&***name)).cloned());
        };
        match select(request, &offered)? {
            Some(name) if !offered.contains(&&*name) => {
                Err(HandshakeError::SubprotocolNotOffered(name))
            }
            selected => Ok(selected),
        }
    }
}

fn extensions(
    headers: &Headers,
    answer: impl Fn(&ExtensionList) -> ExtensionList,
) -> Result<ExtensionList, HandshakeError> {
    let offers = ExtensionList::from_headers(headers)?;
    Ok(match offers.is_empty() {
        true => offers,
        false => answer(&offers),
    })
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerOptions")
            .field("origins", &self.origins)
            .field("subprotocols", &self.subprotocols)
            .finish_non_exhaustive()
    }
}

/// Returns the response with which an application refuses a request: a body of plain text, after which
/// the connection is closed.
#[must_use]
pub fn reject(status: StatusCode, text: &str) -> Response {
    Response::text(status, text)
}

/// Returns the response to a request that failed so, malformed ones included.
#[must_use]
pub fn refuse(error: &HandshakeError) -> Response {
    let mut response = Response::text(error.status(), explanation(error));
    let headers = response.headers_mut();
    if *error == HandshakeError::Method {
        headers.push(b"Allow", b"GET");
    }
    if *error == HandshakeError::WebSocketVersion {
        headers.push(b"Sec-WebSocket-Version", b"13");
    }
    if error.status() == StatusCode::UPGRADE_REQUIRED {
        headers.push(b"Upgrade", b"websocket");
    }
    response
}

fn explanation(error: &HandshakeError) -> String {
    if let HandshakeError::Rejected { text, .. } = error {
        return text.to_string();
    }
    if error.status() == StatusCode::INTERNAL_SERVER_ERROR {
        return "Failed to open a WebSocket connection. See the server's log.\n".into();
    }
    let mut text = String::from("Failed to open a WebSocket connection: ");
    let _ = write!(text, "{error}");
    if let Some(cause) = error.source() {
        let _ = write!(text, "; {cause}");
    }
    text.push_str(".\n");
    if error.status() == StatusCode::UPGRADE_REQUIRED {
        text.push_str(BROWSER_HINT);
    }
    text
}

/// §4.2.2: the response that opens the connection.
fn switching_protocols(key: &[u8], negotiated: &Negotiated) -> Response {
    let mut headers = Headers::with_capacity(5, 192);
    headers.push(b"Upgrade", b"websocket");
    headers.push(b"Connection", b"Upgrade");
    headers.push(b"Sec-WebSocket-Accept", &key::accept_value(key));
    if !negotiated.extensions.is_empty() {
        let extensions = negotiated.extensions.to_string();
        headers.push(b"Sec-WebSocket-Extensions", extensions.as_bytes());
    }
    if let Some(name) = &negotiated.subprotocol {
        headers.push(b"Sec-WebSocket-Protocol", name.as_bytes());
    }
    Response::with_headers(StatusCode::SWITCHING_PROTOCOLS, headers)
}

/// §4.2.1 item 1.
fn check_request_line(request: &Request) -> Result<(), HandshakeError> {
    if request.method() != "GET" {
        return Err(HandshakeError::Method);
    }
    match request.version() {
        HttpVersion::Http11 => Ok(()),
        version @ HttpVersion::Http10 => Err(HandshakeError::HttpVersion(version)),
    }
}

/// §4.2.1 item 2.
fn check_host(headers: &Headers) -> Result<(), HandshakeError> {
    match uri::is_authority(headers.required("Host")?) {
        true => Ok(()),
        false => Err(invalid("Host", "a host and an optional port")),
    }
}

/// A body would be taken for the first frames by us and for a body by a proxy.
fn check_no_body(headers: &Headers) -> Result<(), HandshakeError> {
    let is_zero = |length| parse_length(length, 10) == Some(0);
    let has_body =
        headers.contains("Transfer-Encoding") || !headers.get_all("Content-Length").all(is_zero);
    match has_body {
        true => Err(HandshakeError::RequestBody),
        false => Ok(()),
    }
}

/// §4.2.1 items 3 and 4.
fn check_upgrade(headers: &Headers) -> Result<(), HandshakeError> {
    for (name, token) in [("Connection", "upgrade"), ("Upgrade", "websocket")] {
        if !has_token(headers, name, token)? {
            return Err(HandshakeError::NoUpgrade { name });
        }
    }
    Ok(())
}

/// §4.2.1 item 5.
fn check_key(headers: &Headers) -> Result<&[u8], HandshakeError> {
    const NAME: &str = "Sec-WebSocket-Key";

    let key = headers.required(NAME)?;
    match key::is_valid(key) {
        true => Ok(key),
        false => Err(invalid(NAME, "the base64 of 16 bytes")),
    }
}

/// §4.2.1 item 6; §4.4 tells how to answer other versions.
fn check_version(headers: &Headers) -> Result<(), HandshakeError> {
    match headers.single("Sec-WebSocket-Version") {
        Ok(Some(b"13")) => Ok(()),
        _ => Err(HandshakeError::WebSocketVersion),
    }
}

const fn invalid(name: &'static str, expected: &'static str) -> HandshakeError {
    HandshakeError::InvalidHeader {
        name,
        cause: GrammarError::new(expected, 0),
    }
}
